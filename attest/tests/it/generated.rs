//! Creates keys and transparency logs from fixed seeds, and bundles that are signed with these keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lastmile_attest::TrustRoot;
use lastmile_keys::{PrivateKey, PublicKey, Scheme, Signer as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) const FILE: &[u8] = b"lastmile";

/// The time at which generated logs record entries: 2026-01-01.
pub(crate) const RECORDED: i64 = 1_767_225_600;

const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";

pub(crate) fn key(scheme: Scheme, seed: u8) -> PrivateKey {
    PrivateKey::from_seed(scheme, &[seed; 32]).unwrap()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// Returns a statement about [`FILE`].
pub(crate) fn statement() -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "app.tar.gz", "digest": { "sha256": sha256(FILE) } }],
        "predicateType": "https://example.com/review/v1",
        "predicate": { "result": "PASSED" },
    })
}

pub(crate) fn signed_bytes(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

pub(crate) fn envelope(payload: &[u8], keys: &[&PrivateKey]) -> Value {
    let signatures: Vec<Value> = keys
        .iter()
        .map(|key| json!({ "sig": base64(key.sign(&signed_bytes(STATEMENT_TYPE, payload)).unwrap()) }))
        .collect();
    json!({ "payloadType": STATEMENT_TYPE, "payload": base64(payload), "signatures": signatures })
}

/// Returns a v0.3 bundle without a certificate.
pub(crate) fn bundle(content: (&str, Value), entries: &[Value]) -> Value {
    let mut bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": "any" }, "tlogEntries": entries },
    });
    bundle[content.0] = content.1;
    bundle
}

/// Returns the bundle member `messageSignature` as its name and value. The value contains the key's signature over
/// [`FILE`].
pub(crate) fn message_signature(key: &PrivateKey) -> (&'static str, Value) {
    let digest = json!({ "algorithm": "SHA2_256", "digest": base64(Sha256::digest(FILE)) });
    let signature = json!({ "messageDigest": digest, "signature": base64(key.sign(FILE).unwrap()) });
    ("messageSignature", signature)
}

/// Returns the body of a Rekor v1 entry for the key's signature over [`FILE`]. With different `white_space`, a test
/// gets two different entries for the same signature.
pub(crate) fn body(key: &PrivateKey, white_space: &str) -> String {
    let hash = json!({ "algorithm": "sha256", "value": sha256(FILE) });
    let public_key = json!({ "content": base64(key.public_key().public()) });
    let signature = json!({ "content": base64(key.sign(FILE).unwrap()), "publicKey": public_key });
    let spec = json!({ "data": { "hash": hash }, "signature": signature });
    format!("{{\"apiVersion\":\"0.0.1\",\"kind\":\"hashedrekord\",\"spec\":{spec}{white_space}}}")
}

/// Whether an entry contains an inclusion promise, which is the log's signature over the entry and its time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    Signed,
    Absent,
}

/// A transparency log.
pub(crate) struct Log {
    key: PrivateKey,
    pub(crate) valid_for: Value,
}

impl Log {
    pub(crate) fn new(seed: u8) -> Self {
        Self { key: key(Scheme::EcdsaP256, seed), valid_for: json!({ "start": "2020-01-01T00:00:00Z" }) }
    }

    fn id(&self) -> Vec<u8> {
        Sha256::digest(self.key.public_key().material()).to_vec()
    }

    pub(crate) fn key_id(&self) -> String {
        base64(self.id())
    }

    pub(crate) fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    /// Records the bodies in the log, and returns one entry for each body.
    pub(crate) fn record(&self, bodies: &[&str], promise: Promise) -> Vec<Value> {
        let entries = bodies.iter().enumerate();
        entries.map(|(index, body)| self.entry(bodies, index, body, promise)).collect()
    }

    fn entry(&self, bodies: &[&str], index: usize, body: &str, promise: Promise) -> Value {
        let leaves: Vec<Vec<u8>> = bodies.iter().map(|body| leaf(body.as_bytes())).collect();
        let (root, hashes) = match leaves.as_slice() {
            [only] => (only.clone(), vec![]),
            [left, right] => {
                let root = Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize();
                (root.to_vec(), vec![if index == 0 { right } else { left }])
            }
            _ => panic!("only trees with one or two leaves are supported"),
        };
        let hashes: Vec<String> = hashes.into_iter().map(base64).collect();
        let size = leaves.len();
        let note = format!("log.example\n{size}\n{}\n", base64(&root));
        let mut entry = json!({
            "logIndex": index.to_string(),
            "logId": { "keyId": self.key_id() },
            "kindVersion": { "kind": "hashedrekord", "version": "0.0.1" },
            "integratedTime": RECORDED.to_string(),
            "inclusionProof": {
                "logIndex": index.to_string(),
                "rootHash": base64(&root),
                "treeSize": size.to_string(),
                "hashes": hashes,
                "checkpoint": { "envelope": format!("{note}\n{}", self.signature_line(&note)) },
            },
            "canonicalizedBody": base64(body),
        });
        if promise == Promise::Signed {
            entry["inclusionPromise"] = json!({ "signedEntryTimestamp": self.promise(body, index) });
        }
        entry
    }

    /// Returns the signature line of a checkpoint (<https://github.com/C2SP/C2SP/blob/main/signed-note.md>).
    pub(crate) fn signature_line(&self, note: &str) -> String {
        let signature = [&self.id()[..4], &self.key.sign(note.as_bytes()).unwrap()].concat();
        format!("\u{2014} log.example {}\n", base64(signature))
    }

    fn promise(&self, body: &str, index: usize) -> String {
        let id = hex::encode(self.id());
        let text =
            format!(r#"{{"body":"{}","integratedTime":{RECORDED},"logID":"{id}","logIndex":{index}}}"#, base64(body));
        base64(self.key.sign(text.as_bytes()).unwrap())
    }
}

fn leaf(body: &[u8]) -> Vec<u8> {
    Sha256::new().chain_update([0]).chain_update(body).finalize().to_vec()
}

/// Returns the JSON form of a trusted root that contains logs, but no authorities.
pub(crate) fn root_json(logs: &[&Log]) -> Value {
    let logs: Vec<Value> = logs
        .iter()
        .map(|log| {
            json!({
                "baseUrl": "https://log.example",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": base64(log.public_key().material()),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": log.valid_for,
                },
                "logId": { "keyId": log.key_id() },
            })
        })
        .collect();
    json!({ "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "tlogs": logs })
}

pub(crate) fn root(logs: &[&Log]) -> TrustRoot {
    TrustRoot::parse(root_json(logs).to_string().as_bytes()).unwrap()
}
