//! Checks the structure of Sigstore bundles (v0.1, v0.2 and v0.3) before `sigstore-verify` reads them.
//!
//! `sigstore-verify` ignores unknown members, and if two members contradict each other, it uses one of them and ignores
//! the other. Therefore, this module refuses unknown and contradictory members. It then serializes the checked values
//! to JSON, and `sigstore-verify` reads this JSON instead of the original text.
//!
//! Source: `sigstore_bundle.proto` in <https://github.com/sigstore/protobuf-specs>.

use lastmile_metadata::Algorithm;

use crate::dsse::{Alphabet, Envelope, MAX_SIGNATURE};
use crate::fields::{Fields, FormatError};
use crate::json::Value;
use crate::log_entry;
use crate::signed::Content;

/// The maximum length of a bundle, in bytes.
pub(crate) const MAX_BUNDLE: usize = 1 << 20;

const MAX_CHAIN: usize = 8;

/// The maximum length of a certificate, in bytes.
const MAX_CERTIFICATE: usize = 16 << 10;

const MAX_TIMESTAMPS: usize = 4;

/// The maximum length of an RFC 3161 timestamp, in bytes. A timestamp may contain certificates.
const MAX_TIMESTAMP: usize = 32 << 10;

/// A bundle with a valid structure. Neither its signature nor its certificates have been verified yet.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    text: String,
    signer: SignerKind,
    content: BundleContent,
    log_entries: usize,
    timestamps: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignerKind {
    Certificate,
    /// The signer is identified by a key, which is not in the bundle.
    Key,
}

#[derive(Clone, Debug)]
pub(crate) enum BundleContent {
    File(FileSignature),
    /// A statement in a DSSE envelope with exactly one signature.
    Statement(Box<Envelope>),
}

#[derive(Clone, Debug)]
pub(crate) struct FileSignature {
    /// The signed digest, if the bundle contains it.
    pub(crate) digest: Option<(Algorithm, Vec<u8>)>,
    pub(crate) signature: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    /// Bundle v0.1 or v0.2, which may contain a certificate chain.
    Chain,
    /// Bundle v0.3, which may contain one certificate.
    Certificate,
}

impl Version {
    fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            "application/vnd.dev.sigstore.bundle+json;version=0.1"
            | "application/vnd.dev.sigstore.bundle+json;version=0.2" => Some(Self::Chain),
            "application/vnd.dev.sigstore.bundle.v0.3+json"
            | "application/vnd.dev.sigstore.bundle+json;version=0.3" => Some(Self::Certificate),
            _ => None,
        }
    }

    fn certificate_member(self) -> &'static str {
        match self {
            Self::Chain => "x509CertificateChain",
            Self::Certificate => "certificate",
        }
    }
}

impl Bundle {
    pub(crate) fn read(value: &Value) -> Result<Self, FormatError> {
        let known = ["mediaType", "verificationMaterial", "messageSignature", "dsseEnvelope"];
        let fields = Fields::read(value, "bundle", &known)?;
        let media_type = fields.string("mediaType")?;
        let version = Version::of_media_type(media_type)
            .ok_or_else(|| FormatError::new(format!("bundles of the type {media_type:?} are not supported")))?;
        let content = match (fields.optional("messageSignature"), fields.optional("dsseEnvelope")) {
            (Some(signature), None) => BundleContent::File(FileSignature::read(signature)?),
            (None, Some(envelope)) => BundleContent::Statement(Box::new(read_envelope(envelope)?)),
            _ => return Err(FormatError::new("a bundle must have `messageSignature` or `dsseEnvelope`, but not both")),
        };
        // Check all members before serializing the bundle for the library.
        let material = Material::read(fields.required("verificationMaterial")?, version)?;
        let text = value.to_string();
        if text.len() > MAX_BUNDLE {
            let error = format!("the bundle has {} bytes, expected at most {MAX_BUNDLE}", text.len());
            return Err(FormatError::new(error));
        }
        Ok(Self {
            text,
            signer: material.signer,
            content,
            log_entries: material.log_entries,
            timestamps: material.timestamps,
        })
    }

    /// Returns the bundle as compact JSON.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn signer(&self) -> SignerKind {
        self.signer
    }

    pub(crate) fn content(&self) -> &BundleContent {
        &self.content
    }

    pub(crate) fn signed_content(&self) -> Content {
        match &self.content {
            BundleContent::File(_) => Content::File,
            BundleContent::Statement(envelope) => Content::Statement(envelope.statement().clone()),
        }
    }

    pub(crate) fn has_log_entries(&self) -> bool {
        self.log_entries > 0
    }

    /// Returns whether the bundle contains log entries or RFC 3161 timestamps.
    pub(crate) fn has_times(&self) -> bool {
        self.log_entries + self.timestamps > 0
    }
}

impl FileSignature {
    fn read(value: &Value) -> Result<Self, FormatError> {
        let fields = Fields::read(value, "messageSignature", &["messageDigest", "signature"])?;
        let digest = fields.optional("messageDigest").map(read_digest).transpose()?;
        Ok(Self { digest, signature: fields.base64("signature", MAX_SIGNATURE)? })
    }
}

fn read_digest(value: &Value) -> Result<(Algorithm, Vec<u8>), FormatError> {
    let fields = Fields::read(value, "messageDigest", &["algorithm", "digest"])?;
    let algorithm = match fields.string("algorithm")? {
        "SHA2_256" => Algorithm::Sha256,
        "SHA2_384" => Algorithm::Sha384,
        "SHA2_512" => Algorithm::Sha512,
        other => return Err(fields.error("algorithm", &format!("is {other:?}, which is not supported"))),
    };
    let digest = fields.base64("digest", algorithm.length())?;
    if digest.len() != algorithm.length() {
        return Err(fields.error("digest", &format!("does not have the length of a {} digest", algorithm.name())));
    }
    Ok((algorithm, digest))
}

/// Reads an envelope, which must have exactly one signature (`sigstore_bundle.proto`).
fn read_envelope(value: &Value) -> Result<Envelope, FormatError> {
    let envelope = Envelope::read(value, Alphabet::Standard)?;
    match envelope.signatures() {
        [_] => Ok(envelope),
        more => Err(FormatError::new(format!("the envelope has {} signatures, expected 1", more.len()))),
    }
}

struct Material {
    signer: SignerKind,
    log_entries: usize,
    timestamps: usize,
}

impl Material {
    fn read(value: &Value, version: Version) -> Result<Self, FormatError> {
        let certificate = version.certificate_member();
        let known = [certificate, "publicKey", "tlogEntries", "timestampVerificationData"];
        let fields = Fields::read(value, "verificationMaterial", &known)?;
        let signer = match (fields.optional(certificate), fields.optional("publicKey")) {
            (Some(value), None) => {
                check_certificates(value, version)?;
                SignerKind::Certificate
            }
            (None, Some(value)) => {
                let key = Fields::read(value, "publicKey", &["hint"])?;
                key.optional("hint").map(|_| key.string("hint")).transpose()?;
                SignerKind::Key
            }
            _ => {
                let error = format!("a bundle must have `{certificate}` or `publicKey`, but not both");
                return Err(FormatError::new(error));
            }
        };
        let entries = fields.array("tlogEntries", log_entry::MAX_ENTRIES)?;
        log_entry::check_all(entries)?;
        let timestamps = fields.optional("timestampVerificationData").map(count_timestamps).transpose()?;
        Ok(Self { signer, log_entries: entries.len(), timestamps: timestamps.unwrap_or_default() })
    }
}

fn check_certificates(value: &Value, version: Version) -> Result<(), FormatError> {
    let check = |value| {
        let fields = Fields::read(value, "certificate", &["rawBytes"])?;
        fields.base64("rawBytes", MAX_CERTIFICATE).map(|_| ())
    };
    if version == Version::Certificate {
        return check(value);
    }
    let chain = Fields::read(value, "x509CertificateChain", &["certificates"])?;
    let certificates = chain.array("certificates", MAX_CHAIN)?;
    if certificates.is_empty() {
        return Err(chain.error("certificates", "is empty"));
    }
    certificates.iter().try_for_each(check)
}

/// Checks the structure of RFC 3161 timestamps and returns their number.
fn count_timestamps(value: &Value) -> Result<usize, FormatError> {
    // Some tools that produce v0.1 bundles write `null` instead of omitting the member.
    if *value == Value::Null {
        return Ok(0);
    }
    let fields = Fields::read(value, "timestampVerificationData", &["rfc3161Timestamps"])?;
    let timestamps = fields.array("rfc3161Timestamps", MAX_TIMESTAMPS)?;
    for (index, value) in timestamps.iter().enumerate() {
        let fields = Fields::read(value, "rfc3161Timestamps", &["signedTimestamp"])?;
        fields.base64("signedTimestamp", MAX_TIMESTAMP)?;
        if timestamps.iter().take(index).any(|other| other == value) {
            return Err(FormatError::new("the bundle contains a timestamp twice"));
        }
    }
    Ok(timestamps.len())
}
