//! Reads evidence files, which contain signatures and attestations for a package.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use lastmile_keys::PublicKey;

use crate::artifact::Artifact;
use crate::bundle::{Bundle, BundleContent, FileSignature, SignerKind};
use crate::dsse::{Alphabet, Envelope, MAX_SIGNATURE};
use crate::fields::FormatError;
use crate::json::{Object, Value};
use crate::rejection::Rejection;
use crate::signed::{Content, Signed, SignedBy};
use crate::trust::Trust;
use crate::{key_signature, npm, pep740, sigstore};

/// The maximum length of an evidence file in bytes.
pub const MAX_EVIDENCE_LENGTH: u64 = 4 << 20;

const MAX_ITEMS: usize = 256;

/// The minimum length of a signature, in bytes. No supported scheme has shorter signatures.
const MIN_SIGNATURE: usize = 8;

/// The content of an evidence file. Its signatures have not been verified yet.
///
/// | content | format |
/// |---|---|
/// | Sigstore bundle v0.1, v0.2 or v0.3 | JSON |
/// | DSSE envelope with an in-toto statement | JSON |
/// | attestation object of the Python Package Index (PEP 740) | JSON |
/// | provenance object of the Python Package Index, which contains several attestation objects | JSON |
/// | object of an npm registry that contains several attestations, each a bundle | JSON |
/// | signature of `cosign sign-blob` | one line of base64 |
///
/// A JSON file contains either one document, or one object per line.
#[derive(Clone, Debug)]
pub struct Evidence(Vec<Item>);

/// One signature over a file or a statement, or several signatures over the same statement. None of them has been
/// verified yet.
#[derive(Clone, Debug)]
pub struct Item(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Bundle(Box<Bundle>),
    Envelope(Box<Envelope>),
    FileSignature(FileSignature),
}

/// The reason why an evidence file cannot be read. A single invalid line makes the whole file unreadable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The file is too large.
    #[error("the evidence has {0} bytes, expected at most {MAX_EVIDENCE_LENGTH}")]
    TooLong(u64),
    /// The file has too many items.
    #[error("the evidence has more than {MAX_ITEMS} items")]
    TooMany,
    /// The file has no items.
    #[error("the evidence has no items")]
    Empty,
    /// The file is neither JSON nor a signature.
    #[error("the evidence is neither JSON nor a signature in base64")]
    Unknown,
    /// A line is not valid.
    #[error("line {line}: {error}")]
    Line {
        /// The line number, starting at 1.
        line: usize,
        /// A description of the problem.
        error: FormatError,
    },
}

impl Evidence {
    /// Reads an evidence file.
    ///
    /// # Errors
    /// [`EvidenceError`] if any part of the file cannot be read.
    pub fn parse(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let length = bytes.len() as u64;
        if length > MAX_EVIDENCE_LENGTH {
            return Err(EvidenceError::TooLong(length));
        }
        let items = if bytes.trim_ascii_start().starts_with(b"{") {
            read_json(bytes)?
        } else {
            vec![Item(Kind::FileSignature(read_signature(bytes)?))]
        };
        match items.len() {
            0 => Err(EvidenceError::Empty),
            1..=MAX_ITEMS => Ok(Self(items)),
            _ => Err(EvidenceError::TooMany),
        }
    }

    /// Returns the items, at least one.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.0
    }
}

/// Reads either JSON Lines or a single JSON document, which may span several lines.
fn read_json(bytes: &[u8]) -> Result<Vec<Item>, EvidenceError> {
    let lines: Vec<&[u8]> = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n').collect();
    let is_one_document = lines.first().is_some_and(|line| !line.trim_ascii_end().ends_with(b"}"));
    if is_one_document || lines.len() == 1 {
        return read_document(bytes).map_err(|error| EvidenceError::Line { line: 1, error });
    }
    let mut items = Vec::new();
    for (index, line) in lines.into_iter().enumerate() {
        items.extend(read_document(line).map_err(|error| EvidenceError::Line { line: index + 1, error })?);
    }
    Ok(items)
}

fn read_document(bytes: &[u8]) -> Result<Vec<Item>, FormatError> {
    let value = Value::parse(bytes).map_err(|error| FormatError::new(error.to_string()))?;
    let object = value.as_object().ok_or_else(|| FormatError::new("the evidence is not an object"))?;
    let bundle = |bundle| Item(Kind::Bundle(Box::new(bundle)));
    match DocumentKind::of(object)? {
        DocumentKind::Bundle => Ok(vec![bundle(Bundle::read(&value)?)]),
        DocumentKind::Envelope => Ok(vec![Item(Kind::Envelope(Box::new(Envelope::read(&value, Alphabet::Any)?)))]),
        DocumentKind::Attestation => Ok(vec![bundle(pep740::read_attestation(&value)?)]),
        DocumentKind::Provenance => Ok(pep740::read_provenance(&value)?.into_iter().map(bundle).collect()),
        DocumentKind::Npm => Ok(npm::read_attestations(&value)?.into_iter().map(bundle).collect()),
    }
}

enum DocumentKind {
    Bundle,
    Envelope,
    Attestation,
    Provenance,
    Npm,
}

impl DocumentKind {
    /// Determines the kind of a document. Each kind has a member that no other kind has. The function that then reads
    /// the document refuses all members that its kind does not define.
    fn of(object: &Object) -> Result<Self, FormatError> {
        let has = |name| object.get(name).is_some();
        if has("mediaType") || has("verificationMaterial") {
            return Ok(Self::Bundle);
        }
        if has("payloadType") {
            return Ok(Self::Envelope);
        }
        if has("verification_material") {
            return Ok(Self::Attestation);
        }
        if has("attestation_bundles") {
            return Ok(Self::Provenance);
        }
        if has("attestations") {
            return Ok(Self::Npm);
        }
        let text = if has("base64Signature") {
            "bundles of cosign 1 and 2 are not supported; sign with `--new-bundle-format`"
        } else if has("signed") {
            "in-toto metadata without an envelope is not evidence"
        } else {
            "the object is not a Sigstore bundle, DSSE envelope or attestation object"
        };
        Err(FormatError::new(text))
    }
}

/// Reads the output of `cosign sign-blob`, which is one line of base64.
fn read_signature(bytes: &[u8]) -> Result<FileSignature, EvidenceError> {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if text.is_empty() {
        return Err(EvidenceError::Empty);
    }
    let signature = STANDARD.decode(text).map_err(|_| EvidenceError::Unknown)?;
    if !(MIN_SIGNATURE..=MAX_SIGNATURE).contains(&signature.len()) {
        return Err(EvidenceError::Unknown);
    }
    Ok(FileSignature { digest: None, signature })
}

impl Item {
    /// Verifies that the holder of a certificate signed the artifact or a statement about the artifact. Also verifies
    /// the certificate, the log entries and the signing times. The caller decides which identities are acceptable.
    ///
    /// `now` is the fixed update start time (TUF specification, 5.1).
    ///
    /// # Errors
    /// [`Rejection`] if the item does not prove that a certificate holder signed the artifact or a statement about it.
    pub fn verify_identity(
        &self,
        artifact: &Artifact,
        trust: &Trust<'_>,
        now: DateTime<Utc>,
    ) -> Result<Signed, Rejection> {
        match &self.0 {
            Kind::Bundle(bundle) if bundle.signer() == SignerKind::Certificate => {
                sigstore::verify_certificate(bundle, artifact, trust, now)
            }
            _ => Err(Rejection::NoCertificate),
        }
    }

    /// Checks that the item claims to be about the artifact. Does not verify any signature. A plain signature of
    /// `cosign sign-blob` always passes, because it does not identify a file.
    ///
    /// # Errors
    /// [`Rejection`] if the item is about another file.
    pub fn check_subject(&self, artifact: &Artifact) -> Result<(), Rejection> {
        let content = match &self.0 {
            Kind::Bundle(bundle) => bundle.content(),
            Kind::Envelope(envelope) => return Ok(envelope.statement().check_subject(artifact)?),
            Kind::FileSignature(signature) => return key_signature::check_digest(signature, artifact),
        };
        match content {
            BundleContent::Statement(envelope) => Ok(envelope.statement().check_subject(artifact)?),
            BundleContent::File(signature) => key_signature::check_digest(signature, artifact),
        }
    }

    /// Verifies that `key` signed the artifact or a statement about the artifact. The key counts once, even if it made
    /// several signatures in an envelope.
    ///
    /// With `trust`, also verifies the log entries and the signing times. Without `trust`, ignores the log entries and
    /// the timestamps in the evidence, and returns a result without logs and signing times.
    ///
    /// `now` is the fixed update start time (TUF specification, 5.1).
    ///
    /// # Errors
    /// [`Rejection`] if the item does not prove that the key signed the artifact or a statement about it.
    pub fn verify_key(
        &self,
        artifact: &Artifact,
        key: &PublicKey,
        trust: Option<&Trust<'_>>,
        now: DateTime<Utc>,
    ) -> Result<Signed, Rejection> {
        let content = match &self.0 {
            Kind::Bundle(bundle) => {
                if bundle.signer() == SignerKind::Certificate {
                    return Err(Rejection::Certificate);
                }
                if let Some(trust) = trust
                    && bundle.has_times()
                {
                    return sigstore::verify_key(bundle, artifact, key, trust, now);
                }
                key_signature::verify_bundle(bundle, artifact, key)?;
                bundle.signed_content()
            }
            Kind::Envelope(envelope) => {
                key_signature::verify_envelope(envelope, artifact, key)?;
                Content::Statement(envelope.statement().clone())
            }
            Kind::FileSignature(signature) => {
                key_signature::verify_file(signature, artifact, key)?;
                Content::File
            }
        };
        if let Some(trust) = trust {
            trust.demands.check(&BTreeSet::new(), &BTreeSet::<()>::new())?;
        }
        Ok(Signed { signer: SignedBy::Key(key.clone()), content, times: Vec::new(), logs: BTreeSet::new() })
    }
}
