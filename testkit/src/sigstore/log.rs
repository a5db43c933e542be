//! A simulated transparency log: Rekor v1, or a certificate transparency log.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::certificate::public_key;
use super::base64;
use crate::TestKey;

/// A transparency log. Each entry is the only entry of a tree.
#[derive(Debug, Clone)]
pub struct Log {
    key: TestKey,
    /// The name of the log, which is the origin of its checkpoints.
    name: String,
}

impl Log {
    /// Returns the log with this name, which also determines the key.
    #[must_use]
    pub fn new(name: &str) -> Log {
        Log { key: TestKey::p256(&format!("the log {name}")), name: name.to_owned() }
    }

    /// Returns the key of the log.
    #[must_use]
    pub fn key(&self) -> &TestKey {
        &self.key
    }

    /// Returns the ID of the log: the SHA-256 of its public key.
    #[must_use]
    pub fn id(&self) -> Vec<u8> {
        Sha256::digest(public_key(&self.key)).to_vec()
    }

    /// Returns an entry of a bundle, for a record with this body.
    ///
    /// # Panics
    ///
    /// Panics if the body is not JSON.
    #[must_use]
    pub fn record(&self, body: &str, time: DateTime<Utc>) -> Value {
        let fields: Value = serde_json::from_str(body).expect("a JSON body");
        let root = base64(Sha256::new().chain_update([0]).chain_update(body).finalize());
        let note = format!("{}\n1\n{root}\n", self.name);
        let signature = [&self.id()[..4], &self.key.sign(note.as_bytes())].concat();
        let checkpoint = format!("{note}\n\u{2014} {} {}\n", self.name, base64(signature));
        let time = time.timestamp();
        let body64 = base64(body);
        let id = hex::encode(self.id());
        let promise = format!(r#"{{"body":"{body64}","integratedTime":{time},"logID":"{id}","logIndex":0}}"#);
        json!({
            "logIndex": "0",
            "logId": { "keyId": base64(self.id()) },
            "kindVersion": { "kind": fields["kind"], "version": fields["apiVersion"] },
            "integratedTime": time.to_string(),
            "inclusionPromise": { "signedEntryTimestamp": base64(self.key.sign(promise.as_bytes())) },
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": root,
                "treeSize": "1",
                "hashes": [],
                "checkpoint": { "envelope": checkpoint },
            },
            "canonicalizedBody": body64,
        })
    }

    /// Returns the entry for this log in a trusted root.
    pub(super) fn trusted(&self) -> Value {
        json!({
            "baseUrl": format!("https://{}", self.name),
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": base64(public_key(&self.key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": { "start": "2020-01-01T00:00:00Z" },
            },
            "logId": { "keyId": base64(self.id()) },
        })
    }
}
