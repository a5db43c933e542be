//! A simulated Sigstore instance: a certificate authority, transparency logs and timestamp authorities. Their keys are
//! derived from their names. The instance provides a trusted root and creates bundles, so a test can create evidence
//! that is signed by any identity.

mod certificate;
mod der;
mod log;
mod timestamp;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

pub use self::certificate::Identity;
use self::certificate::Usage;
pub use self::log::{Log, Verifier};
pub use self::timestamp::TimeAuthority;
use crate::{TestKey, hash};

/// The time at which certificates are issued and signatures are recorded by default: 2026-01-01.
pub const RECORDED: DateTime<Utc> = DateTime::from_timestamp(1_767_225_600, 0).expect("a valid time");

const STATEMENT: &str = "application/vnd.in-toto+json";

/// A simulated Sigstore instance.
///
/// A test can replace every field, for example to create a bundle whose signature is recorded in another log.
#[derive(Debug, Clone)]
pub struct Sigstore {
    /// The name of the certificate authority.
    pub name: String,
    /// The key of the certificate authority.
    pub authority: TestKey,
    /// The certificate transparency log that signs a timestamp for each certificate. If it is `None`, certificates
    /// contain no such timestamp.
    pub ct_log: Option<Log>,
    /// The transparency logs that record each signature.
    pub logs: Vec<Log>,
    /// The timestamp authorities that sign the time of each signature.
    pub time_authorities: Vec<TimeAuthority>,
    /// The time at which certificates become valid. They expire 10 minutes later.
    pub issued: DateTime<Utc>,
    /// The time at which the logs record signatures.
    pub recorded: DateTime<Utc>,
}

impl Sigstore {
    /// Returns an instance called `name`, which has one transparency log. The name determines all keys.
    #[must_use]
    pub fn new(name: &str) -> Sigstore {
        Sigstore {
            name: name.to_owned(),
            authority: TestKey::p256(&format!("the authority {name}")),
            ct_log: Some(Log::new(&format!("ct.{name}"))),
            logs: vec![Log::new(&format!("rekor.{name}"))],
            time_authorities: Vec::new(),
            issued: RECORDED,
            recorded: RECORDED,
        }
    }

    /// Returns the trusted root of the instance, in the format of `trusted_root.json`.
    #[must_use]
    pub fn trusted_root(&self) -> Value {
        let start = RECORDED - Duration::days(365);
        let certificate = certificate::authority(&self.authority, &self.name, Usage::Code, start);
        let trusted = |logs: &[Log]| logs.iter().map(Log::trusted).collect::<Vec<_>>();
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": trusted(&self.logs),
            "certificateAuthorities": [{
                "subject": { "organization": "test", "commonName": self.name },
                "uri": format!("https://fulcio.{}", self.name),
                "certChain": { "certificates": [{ "rawBytes": base64(certificate) }] },
                "validFor": { "start": "2025-01-01T00:00:00Z" },
            }],
            "ctlogs": trusted(self.ct_log.as_slice()),
            "timestampAuthorities": self.time_authorities.iter().map(TimeAuthority::trusted).collect::<Vec<_>>(),
        })
    }

    /// Returns a certificate for the key of `identity`, in DER.
    #[must_use]
    pub fn certificate(&self, identity: &Identity) -> Vec<u8> {
        certificate::issue((&self.authority, &self.name), identity, self.issued, self.ct_log.as_ref())
    }

    /// Returns a bundle that contains `statement`, signed by `identity` and recorded in every log of the instance.
    #[must_use]
    pub fn attest(&self, identity: &Identity, statement: &Value) -> Value {
        let certificate = self.certificate(identity);
        let material = json!({ "certificate": { "rawBytes": base64(&certificate) } });
        self.bundle(&identity.key(), Verifier::Certificate(&certificate), material, statement)
    }

    /// Returns a bundle that contains `statement`, signed with `key` and recorded in every log of the instance. `key`
    /// must be an ECDSA key.
    #[must_use]
    pub fn attest_with_key(&self, key: &TestKey, statement: &Value) -> Value {
        self.bundle(key, Verifier::Key(key), json!({ "publicKey": { "hint": "any" } }), statement)
    }

    fn bundle(&self, key: &TestKey, verifier: Verifier<'_>, mut material: Value, statement: &Value) -> Value {
        let envelope = envelope(&statement.to_string(), &[key]);
        let record = |log: &Log| log.record(&log.body(&envelope, verifier), self.recorded);
        material["tlogEntries"] = self.logs.iter().map(record).collect();
        let signature = base64_decode(envelope["signatures"][0]["sig"].as_str().expect("a signature"));
        let stamp = |authority: &TimeAuthority| authority.timestamp(&signature, self.recorded);
        let timestamps: Vec<Value> = self.time_authorities.iter().map(stamp).collect();
        material["timestampVerificationData"] = json!({ "rfc3161Timestamps": timestamps });
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            "dsseEnvelope": envelope,
        })
    }
}

/// Returns an in-toto statement about a file with the content `content`.
#[must_use]
pub fn statement(predicate_type: &str, predicate: &Value, content: &[u8]) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "package", "digest": { "sha256": hash(content) } }],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

/// Returns a DSSE envelope with an in-toto statement, signed by each key.
#[must_use]
pub fn envelope(statement: &str, keys: &[&TestKey]) -> Value {
    let signed = signed_bytes(STATEMENT, statement);
    let signatures: Vec<Value> = keys.iter().map(|key| json!({ "sig": base64(key.sign(&signed)) })).collect();
    json!({ "payloadType": STATEMENT, "payload": base64(statement), "signatures": signatures })
}

/// Returns the bytes that a DSSE signature covers.
#[must_use]
pub fn signed_bytes(payload_type: &str, payload: &str) -> Vec<u8> {
    format!("DSSEv1 {} {payload_type} {} {payload}", payload_type.len(), payload.len()).into_bytes()
}

/// Returns `bytes` in base64.
#[must_use]
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

fn base64_decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).expect("base64")
}

/// Returns a certificate in PEM.
#[must_use]
pub fn pem(certificate: &[u8]) -> String {
    let text = base64(certificate);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
