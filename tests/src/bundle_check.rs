//! Checks one evidence file, such as a Sigstore bundle, against a policy that is created for this check.

use std::error::Error;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use lastmile_attest::{Demands, EvidenceContent, EvidenceFile, LocalPolicy, TrustRoots};
use lastmile_keys::PublicKey;
use lastmile_metadata::{Hashes, Key, TargetFile, TargetPath};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The requirements for evidence, from which a policy is created.
#[derive(Clone, Debug)]
pub struct BundleCheck {
    /// Who must have signed.
    pub signer: ExpectedSigner,
    /// The predicate type of the required attestation. `None` requires a signature instead: either over the file
    /// itself, or over a statement that counts as a signature.
    pub attestation: Option<String>,
    /// The trusted root (`trusted_root.json`), which contains the keys of the logs, the timestamp authorities and the
    /// certificate authorities. Without a trusted root, a signature by a key needs no log entry.
    pub trusted_root: Option<Vec<u8>>,
}

/// Who must have signed.
#[derive(Clone, Debug)]
pub enum ExpectedSigner {
    /// The holder of a certificate with exactly this subject from exactly this issuer.
    Identity {
        /// The subject alternative name.
        subject: String,
        /// The URL of the OpenID Connect issuer.
        issuer: String,
    },
    /// The holder of a key.
    Key(PublicKey),
}

impl BundleCheck {
    /// Checks whether `evidence` satisfies the policy for the file with these hashes.
    ///
    /// # Errors
    /// Returns the reason why the evidence does not satisfy the policy.
    pub fn judge(&self, evidence: &[u8], hashes: Hashes, now: DateTime<Utc>) -> Result<(), Box<dyn Error>> {
        self.judge_repeatedly(evidence, hashes, now, 1).map(drop)
    }

    /// Checks `evidence` `rounds` times. Like a client that checks many packages, reads the policy and the trusted root
    /// only once, before the first check. Returns the total time of the checks, without the time for reading.
    ///
    /// # Errors
    /// Returns the reason why the evidence does not satisfy the policy.
    pub fn judge_repeatedly(
        &self,
        evidence: &[u8],
        hashes: Hashes,
        now: DateTime<Utc>,
        rounds: u32,
    ) -> Result<Duration, Box<dyn Error>> {
        let local = LocalPolicy::parse(self.policy()?.to_string().as_bytes())?;
        let target = TargetFile::new(TargetPath::new("file")?, 0, hashes);
        let demands = Demands::of_chain(&[], target, &local)?;
        let mut roots = TrustRoots::default();
        for request in demands.trust_roots() {
            request.load(self.trusted_root.as_deref().ok_or("the policy requires a trusted root")?, &mut roots)?;
        }
        let file = EvidenceFile {
            path: TargetPath::new("file.intoto.jsonl")?,
            content: EvidenceContent::Read(evidence.to_vec()),
        };
        let start = Instant::now();
        for _ in 0..rounds {
            demands.judge(std::slice::from_ref(&file), &roots, now).check()?;
        }
        Ok(start.elapsed())
    }

    fn policy(&self) -> Result<Value, Box<dyn Error>> {
        let mut signer = match &self.signer {
            ExpectedSigner::Identity { subject, .. } if subject.contains('*') => {
                return Err("the identity must not contain `*`".into());
            }
            ExpectedSigner::Identity { subject, issuer } => json!({ "issuer": issuer, "subject": [subject] }),
            ExpectedSigner::Key(key) => {
                let key: Value = serde_json::from_str(&Key::from_public(key).to_json().to_text())?;
                json!({ "key": key })
            }
        };
        let mut policy = json!({ "version": 1 });
        if let Some(root) = &self.trusted_root {
            let sha256 = hex::encode(Sha256::digest(root));
            policy["trust"] = json!({ "root": { "root": "trusted_root.json", "sha256": sha256 } });
            signer["trust"] = "root".into();
        }
        policy["signer"] = json!({ "signer": signer });
        let mut rule = json!({ "name": "rule", "paths": ["*"], "by": ["signer"], "kind": "signature" });
        if let Some(predicate_type) = &self.attestation {
            rule["kind"] = "attestation".into();
            rule["type"] = json!([predicate_type]);
        }
        policy["require"] = json!([rule]);
        Ok(policy)
    }
}

/// Returns the predicate type of the statement in a bundle, or `None` if the bundle contains no statement, for example
/// because it contains a signature over the file itself. The result is not verified.
#[must_use]
pub fn predicate_type(bundle: &[u8]) -> Option<String> {
    use base64::Engine as _;
    let bundle: Value = serde_json::from_slice(bundle).ok()?;
    let payload = bundle.pointer("/dsseEnvelope/payload")?.as_str()?;
    let payload = base64::engine::general_purpose::STANDARD.decode(payload).ok()?;
    let statement: Value = serde_json::from_slice(&payload).ok()?;
    Some(statement.get("predicateType")?.as_str()?.to_owned())
}
