//! A simulated transparency log, which is either a Rekor log or a certificate transparency log.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::certificate::public_key;
use super::{base64, base64_decode, pem, signed_bytes};
use crate::{TestKey, hash};

/// A transparency log. Each call that records entries creates a new Merkle tree, which contains only the entries from
/// this call.
#[derive(Debug, Clone)]
pub struct Log {
    key: TestKey,
    /// The name of the log, which is the origin of its checkpoints.
    name: String,
    version: Version,
}

/// The version of Rekor that determines the format of the log's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// Rekor v1, which signs the time of each entry.
    V1,
    /// Rekor v2, which does not sign times.
    V2,
}

/// The certificate or the public key with which a signature can be verified.
#[derive(Debug, Clone, Copy)]
pub enum Verifier<'a> {
    /// A certificate in DER.
    Certificate(&'a [u8]),
    /// An ECDSA key.
    Key(&'a TestKey),
}

impl Verifier<'_> {
    fn pem(self) -> String {
        match self {
            Verifier::Certificate(certificate) => pem(certificate),
            Verifier::Key(key) => key.object()["keyval"]["public"].as_str().expect("a key in PEM").to_owned(),
        }
    }

    fn in_v2(self) -> Value {
        let (name, bytes) = match self {
            Verifier::Certificate(certificate) => ("x509Certificate", base64(certificate)),
            Verifier::Key(key) => ("publicKey", base64(public_key(key))),
        };
        json!({ "keyDetails": "PKIX_ECDSA_P256_SHA_256", name: { "rawBytes": bytes } })
    }
}

impl Log {
    /// Returns the log called `name`. The name determines the log's key.
    #[must_use]
    pub fn new(name: &str) -> Log {
        Log { key: TestKey::p256(&format!("the log {name}")), name: name.to_owned(), version: Version::V1 }
    }

    /// Like [`Log::new`], but the log has entries in the format of Rekor v2, which does not sign times.
    #[must_use]
    pub fn v2(name: &str) -> Log {
        Log { version: Version::V2, ..Log::new(name) }
    }

    /// Returns the body of the log entry for `envelope`, which must have exactly one signature.
    #[must_use]
    pub fn body(&self, envelope: &Value, verifier: Verifier<'_>) -> String {
        let text = |value: &Value| base64_decode(value.as_str().expect("base64"));
        let payload = text(&envelope["payload"]);
        let signature = &envelope["signatures"][0]["sig"];
        let body = match self.version {
            Version::V1 => json!({
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": { "algorithm": "sha256", "value": hash(envelope.to_string().as_bytes()) },
                    "payloadHash": { "algorithm": "sha256", "value": hash(&payload) },
                    "signatures": [{ "signature": signature, "verifier": base64(verifier.pem()) }],
                },
            }),
            Version::V2 => {
                let payload = String::from_utf8(payload).expect("JSON");
                let signed = signed_bytes(envelope["payloadType"].as_str().expect("a type"), &payload);
                json!({
                    "apiVersion": "0.0.2",
                    "kind": "hashedrekord",
                    "spec": { "hashedRekordV002": {
                        "data": { "algorithm": "SHA2_256", "digest": base64(Sha256::digest(signed)) },
                        "signature": { "content": signature, "verifier": verifier.in_v2() },
                    } },
                })
            }
        };
        body.to_string()
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

    /// Records `body`, and returns the log entry as JSON, as in a bundle.
    ///
    /// # Panics
    ///
    /// Panics if the body is not JSON.
    #[must_use]
    pub fn record(&self, body: &str, time: DateTime<Utc>) -> Value {
        let leaf = leaf(body);
        self.entry(body, time, &Tree { index: 0, size: 1, root: leaf, hashes: Vec::new() })
    }

    /// Records two bodies in one tree, and returns one entry for each body.
    ///
    /// # Panics
    ///
    /// Panics if a body is not JSON.
    #[must_use]
    pub fn record_both(&self, bodies: [&str; 2], time: DateTime<Utc>) -> [Value; 2] {
        let [first, second] = bodies.map(leaf);
        let root = Sha256::new().chain_update([1]).chain_update(&first).chain_update(&second).finalize().to_vec();
        let tree = |index, other: &[u8]| Tree { index, size: 2, root: root.clone(), hashes: vec![base64(other)] };
        [self.entry(bodies[0], time, &tree(0, &second)), self.entry(bodies[1], time, &tree(1, &first))]
    }

    fn entry(&self, body: &str, time: DateTime<Utc>, tree: &Tree) -> Value {
        let fields: Value = serde_json::from_str(body).expect("a JSON body");
        let Tree { index, size, root, hashes } = tree;
        let root = base64(root);
        let note = format!("{}\n{size}\n{root}\n", self.name);
        let signature = [&self.id()[..4], &self.key.sign(note.as_bytes())].concat();
        let checkpoint = format!("{note}\n\u{2014} {} {}\n", self.name, base64(signature));
        let time = time.timestamp();
        let body = base64(body);
        let id = hex::encode(self.id());
        let promise = format!(r#"{{"body":"{body}","integratedTime":{time},"logID":"{id}","logIndex":{index}}}"#);
        let mut entry = json!({
            "logIndex": index.to_string(),
            "logId": { "keyId": base64(self.id()) },
            "kindVersion": { "kind": fields["kind"], "version": fields["apiVersion"] },
            "inclusionProof": {
                "logIndex": index.to_string(),
                "rootHash": root,
                "treeSize": size.to_string(),
                "hashes": hashes,
                "checkpoint": { "envelope": checkpoint },
            },
            "canonicalizedBody": body,
        });
        if self.version == Version::V1 {
            entry["integratedTime"] = time.to_string().into();
            let promise = base64(self.key.sign(promise.as_bytes()));
            entry["inclusionPromise"] = json!({ "signedEntryTimestamp": promise });
        }
        entry
    }

    /// Returns the JSON object that describes this log in a trusted root.
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

/// The inclusion proof of an entry.
struct Tree {
    index: usize,
    size: usize,
    root: Vec<u8>,
    hashes: Vec<String>,
}

/// Returns the hash of a leaf (RFC 6962 2.1).
fn leaf(body: &str) -> Vec<u8> {
    Sha256::new().chain_update([0]).chain_update(body).finalize().to_vec()
}
