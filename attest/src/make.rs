//! Creates evidence: statements about a file, and Sigstore bundles with signatures over statements and files. Both
//! cosign and [`crate::Evidence`] can verify the bundles.
//!
//! The bundles do not contain the public key. Like the bundles of cosign, they contain only a hint: the SHA-256 of the
//! key's DER encoding. A verifier must already know the key.

mod build;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lastmile_keys::{PublicKey, SignError, Signer};
use lastmile_metadata::Algorithm;
use serde_json::json;
use sha2::{Digest as _, Sha256};

pub use self::build::{BUILD_TYPE, Build};
use crate::artifact::Artifact;
use crate::dsse;
use crate::json::Value;
use crate::statement::{PAYLOAD_TYPE, Statement};

/// The predicate type of statements that say only that the signer publishes the file. cosign signs images with
/// statements of this type, and rules of the kind `signature` accept this type by default.
pub const PUBLISH: &str = "https://sigstore.dev/cosign/sign/v1";

/// The predicate type of SLSA provenance v1.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The reason why evidence could not be created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// The predicate is not JSON, or verifiers might interpret it differently.
    #[error("the predicate is not strict JSON: {0}")]
    Predicate(String),
    /// Verifiers would not accept the statement.
    #[error("{0}")]
    Statement(String),
    /// At least one verifier, such as cosign, cannot verify signatures by this kind of key. For some kinds of keys,
    /// only signatures over files cannot be verified.
    #[error("{0}")]
    Scheme(&'static str),
    /// The signature could be misused, because the file could be mistaken for metadata or an envelope.
    #[error("{0}")]
    Content(&'static str),
    /// The artifact has no SHA-256 digest, which a signature over a file needs.
    #[error("the artifact has no SHA-256")]
    NoDigest,
    /// The digest of the content differs from the digest of the artifact.
    #[error("the content does not have the digest of the artifact")]
    OtherContent,
    /// The signer failed, or made an invalid signature.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// An unsigned statement about one file.
#[derive(Clone, Debug)]
pub struct NewStatement(String);

impl NewStatement {
    /// Creates a statement with the given predicate, which must be JSON.
    ///
    /// # Errors
    /// [`MakeError`] if the predicate is not strict JSON, or if verifiers would not accept the statement.
    pub fn new(artifact: &Artifact, predicate_type: &str, predicate: &str) -> Result<Self, MakeError> {
        let predicate = Value::parse(predicate.as_bytes()).map_err(|error| MakeError::Predicate(error.to_string()))?;
        let digests: serde_json::Map<String, serde_json::Value> = artifact
            .digests()
            .map(|(algorithm, digest)| (algorithm.name().into(), hex::encode(digest).into()))
            .collect();
        let name = artifact.path().as_str().rsplit('/').next();
        let subject = json!([{ "name": name, "digest": digests }]);
        let text = format!(
            "{{\"_type\":{},\"subject\":{subject},\"predicateType\":{},\"predicate\":{predicate}}}",
            json!(STATEMENT_TYPE),
            json!(predicate_type)
        );
        let unusable = |error: String| MakeError::Statement(error);
        let statement = Statement::parse(text.as_bytes()).map_err(|error| unusable(error.to_string()))?;
        statement.check_subject(artifact).map_err(|error| unusable(error.to_string()))?;
        if text.len() > dsse::MAX_PAYLOAD {
            let length = text.len();
            return Err(MakeError::Statement(format!(
                "the statement has {length} bytes, expected at most {}",
                dsse::MAX_PAYLOAD
            )));
        }
        Ok(Self(text))
    }

    /// Creates a statement of the type [`PUBLISH`], which says only that the signer publishes the file.
    ///
    /// # Errors
    /// Returns the same errors as [`NewStatement::new`].
    pub fn publish(artifact: &Artifact) -> Result<Self, MakeError> {
        Self::new(artifact, PUBLISH, "{}")
    }

    /// Returns the statement as compact JSON.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Signs the statement. Returns a bundle with a DSSE envelope, as JSON on one line.
    ///
    /// # Errors
    /// [`MakeError`] if some verifiers, such as cosign, would not accept the signature, or if the signer fails.
    pub fn sign(&self, signer: &dyn Signer) -> Result<String, MakeError> {
        check_scheme(signer.public_key())?;
        let payload = self.0.as_bytes();
        let signature = sign(signer, &dsse::signed_bytes(payload))?;
        let envelope = json!({
            "payload": STANDARD.encode(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "sig": STANDARD.encode(signature) }],
        });
        Ok(bundle(signer.public_key(), "dsseEnvelope", &envelope))
    }
}

/// Signs the content of a file itself, without a statement. Returns a bundle as JSON on one line.
///
/// # Errors
/// [`MakeError`] in these cases:
///
/// * Some verifiers, such as cosign, would not accept the signature.
/// * The artifact has no SHA-256, or `content` has a different SHA-256.
/// * `content` could be mistaken for metadata or an envelope.
/// * The signer fails.
pub fn sign_file(artifact: &Artifact, content: &[u8], signer: &dyn Signer) -> Result<String, MakeError> {
    let key = signer.public_key();
    check_scheme(key)?;
    if key.scheme() == "ed25519" {
        return Err(MakeError::Scheme(
            "an ed25519 signature over a file cannot be verified without the file; sign a statement instead",
        ));
    }
    let digest = artifact.digest(Algorithm::Sha256).ok_or(MakeError::NoDigest)?;
    if Sha256::digest(content)[..] != *digest {
        return Err(MakeError::OtherContent);
    }
    check_content(content)?;
    let signature = json!({
        "messageDigest": { "algorithm": "SHA2_256", "digest": STANDARD.encode(digest) },
        "signature": STANDARD.encode(sign(signer, content)?),
    });
    Ok(bundle(key, "messageSignature", &signature))
}

/// Refuses keys whose signatures cosign cannot verify. With a P-384 key, cosign 3.1 signs with SHA-384, but verifies
/// only with SHA-256.
fn check_scheme(key: &PublicKey) -> Result<(), MakeError> {
    match key.scheme() {
        "ed25519" | "ecdsa-sha2-nistp256" => Ok(()),
        "ecdsa-sha2-nistp384" => {
            Err(MakeError::Scheme("cosign does not verify signatures by P-384 keys; use a P-256 or an ed25519 key"))
        }
        _ => Err(MakeError::Scheme("this kind of key cannot sign evidence; use a P-256 or an ed25519 key")),
    }
}

/// Refuses a file whose signature could be misused. A JSON object with the member `_type` could be TUF or in-toto
/// metadata. A file that begins with `DSSEv1` could be the signed encoding of an envelope.
fn check_content(content: &[u8]) -> Result<(), MakeError> {
    if content.starts_with(b"DSSEv1 ") {
        return Err(MakeError::Content("the file could be mistaken for a signed envelope; sign a statement instead"));
    }
    // Parse the file leniently, because a verifier may be lenient too.
    let object = serde_json::from_slice::<serde_json::Value>(content).ok();
    if object.is_some_and(|object| object.get("_type").is_some()) {
        return Err(MakeError::Content("the file could be mistaken for signed metadata; sign a statement instead"));
    }
    Ok(())
}

/// Signs the message, and verifies the signature, because the signer may be a device with a different key than
/// expected.
fn sign(signer: &dyn Signer, message: &[u8]) -> Result<Vec<u8>, SignError> {
    let signature = signer.sign(message)?;
    if signer.public_key().verify(message, &signature) {
        Ok(signature)
    } else {
        Err(SignError::failed("the public key of the signer does not verify its signature"))
    }
}

fn bundle(key: &PublicKey, member: &str, content: &serde_json::Value) -> String {
    let hint = STANDARD.encode(Sha256::digest(key.material()));
    json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": hint } },
        member: content,
    })
    .to_string()
}

#[cfg(test)]
mod tests;
