//! Verifies Sigstore bundles that contain certificates, log entries or timestamps. Only this module uses
//! `sigstore-verify`.
//!
//! The library verifies signatures, certificate chains, signed certificate timestamps, inclusion proofs, checkpoints
//! and RFC 3161 timestamps. This module works around its limitations:
//!
//! * The library reads the system clock, in `verify.rs`, `helpers.rs`, `tlog.rs` and `trusted_root.rs`. It uses the
//!   clock only to refuse times in the future and keys that are not valid yet, so the clock can only make the
//!   verification stricter. This crate uses the time that the caller passes: `Evidence::check` refuses an authenticated
//!   time that is later than the caller's time, or outside the validity period of the certificate or of a log's key.
//! * The library verifies every log entry, but does not report which log signed it. A checkpoint identifies its log by
//!   only 4 bytes, and the log ID in the entry is not signed. Therefore, `TrustRoot::logs` verifies each checkpoint
//!   again with the key of the log that the entry names, so that distinct logs can be counted.
//! * The library does not report who authenticated a time. `TrustRoot::times` determines the source of each time, so
//!   that distinct sources can be counted.
//! * The library compares only one digest in a statement with the artifact. Therefore, `Statement::check_subject`
//!   compares all digests before the library verifies the bundle.
//! * The library does not check the type of a statement, so `Statement::parse` checks it. The library accepts some
//!   malformed bundles; the module `bundle` refuses them.
//! * The library does not support revocation. Instead, a policy can limit the period in which a signer is trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};
use lastmile_keys::PublicKey;
use lastmile_metadata::Algorithm;
use sigstore_verify::crypto::{CertificateInfo, SubjectAltName, VerificationKey, parse_certificate_info};
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{self, ArtifactDigest, DerPublicKey, HashAlgorithm, SignatureContent, TsaAuthority};
use sigstore_verify::{Error, Policy, PublicKeyVerificationPolicy, TransparencyLogError, VerificationPolicy, Verifier};

use crate::artifact::Artifact;
use crate::bundle::{Bundle, BundleContent, FileSignature};
use crate::json::Value;
use crate::key_signature;
use crate::rejection::Rejection;
use crate::signed::{Certificate, Claim, Signed, SignedBy, Subject};
use crate::trust::{LogDemand, SctDemand, Trust};

/// The maximum length of a trusted root in bytes.
pub const MAX_TRUST_ROOT_LENGTH: u64 = 1 << 20;

/// The media types of trusted roots.
const ROOT_TYPES: [&str; 3] = [
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "application/vnd.dev.sigstore.trustedroot.v0.1+json",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
];

/// The certificate authorities, logs and timestamp authorities of a Sigstore instance, read from a `trusted_root.json`.
pub struct TrustRoot {
    verifier: Verifier,
    logs: Vec<Log>,
    authorities: Vec<Authority>,
}

/// The reason why a trusted root cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TrustRootError(String);

impl TrustRootError {
    pub(crate) fn too_long(length: u64) -> Self {
        Self(format!("the trusted root has {length} bytes, expected at most {MAX_TRUST_ROOT_LENGTH}"))
    }
}

struct Log {
    id: Vec<u8>,
    key: VerificationKey,
    window: Window,
}

struct Authority {
    authority: TsaAuthority,
    /// The key of the authority's certificate. Authorities that share a key count as one source of time.
    key: Vec<u8>,
}

/// The period in which a key or a certificate is valid. Both ends are inclusive.
#[derive(Clone, Copy)]
struct Window {
    start: Option<DateTime<Utc>>,
    end: Option<DateTime<Utc>>,
}

/// The source that authenticated a time. Logs are distinguished by their IDs, and timestamp authorities by their keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Log(Vec<u8>),
    Authority(Vec<u8>),
}

impl TrustRoot {
    /// Reads a trusted root in JSON.
    ///
    /// # Errors
    /// [`TrustRootError`] if the text is not a supported trusted root in strict JSON, or contains a key or a
    /// certificate that cannot be used.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustRootError> {
        let length = bytes.len() as u64;
        if length > MAX_TRUST_ROOT_LENGTH {
            return Err(TrustRootError::too_long(length));
        }
        let value = Value::parse(bytes)
            .map_err(|error| TrustRootError(format!("the trusted root is not strict JSON: {error}")))?;
        let media_type = value.pointer("/mediaType").and_then(Value::as_str).unwrap_or_default();
        if !ROOT_TYPES.contains(&media_type) {
            return Err(TrustRootError(format!("trusted roots of the type {media_type:?} are not supported")));
        }
        let invalid = |error: &dyn fmt::Display| TrustRootError(format!("the trusted root is invalid: {error}"));
        let root = TrustedRoot::from_json(&value.to_string()).map_err(|error| invalid(&error))?;
        let verifier = Verifier::new(&root).map_err(|error| invalid(&error))?;
        let logs = root.tlogs.iter().map(Log::read).collect::<Result<Vec<_>, _>>().map_err(|error| invalid(&error))?;
        let mut keys = BTreeSet::new();
        if !logs.iter().all(|log| keys.insert(log.key.as_bytes())) {
            return Err(TrustRootError("the trusted root lists one key under two log IDs".to_owned()));
        }
        let authorities = root.timestamp_authorities.iter().filter_map(Authority::read).collect();
        Ok(Self { verifier, logs, authorities })
    }

    /// Returns the logs that recorded the signature, after checking that each signed its checkpoint. The library must
    /// already have verified the log entries.
    fn logs(&self, bundle: &types::Bundle) -> Result<Vec<&Log>, Rejection> {
        let entries = bundle.verification_material.tlog_entries.iter();
        entries
            .map(|entry| {
                let id = entry.log_id.key_id.as_bytes();
                let log = self.logs.iter().find(|log| log.id == id).ok_or_else(|| {
                    Rejection::Log(format!("the trusted root does not list the log {}", hex::encode(id)))
                })?;
                let checkpoint = entry.inclusion_proof.as_ref().and_then(|proof| proof.checkpoint.checkpoint());
                if checkpoint.is_none_or(|checkpoint| !log.signed(checkpoint)) {
                    let id = hex::encode(id);
                    return Err(Rejection::Log(format!("the checkpoint is not signed by the log {id} of the entry")));
                }
                Ok(log)
            })
            .collect()
    }

    /// Returns the authenticated times of the signature and their sources. The library must already have verified the
    /// log entries and their times.
    fn times(&self, bundle: &types::Bundle) -> Result<Vec<(DateTime<Utc>, Source)>, Rejection> {
        let mut times = Vec::new();
        for entry in &bundle.verification_material.tlog_entries {
            // Without an inclusion promise, the time of an entry is not signed.
            if let (Some(_), Some(time)) = (&entry.inclusion_promise, entry.integrated_time) {
                let source = Source::Log(entry.log_id.key_id.as_bytes().to_vec());
                times.push((utc(time.as_second(), time.subsec_nanosecond())?, source));
            }
        }
        let signature = match &bundle.content {
            SignatureContent::MessageSignature(message) => &message.signature,
            SignatureContent::DsseEnvelope(envelope) => &envelope.signature.sig,
            _ => return Err(Rejection::Unsupported("the bundle has content of an unknown kind".to_owned())),
        };
        for timestamp in &bundle.verification_material.timestamp_verification_data.rfc3161_timestamps {
            let verified = self.authorities.iter().find_map(|authority| {
                let token = &timestamp.signed_timestamp;
                let time = sigstore_verify::tsa::verify_timestamp_for_authority(token, signature, &authority.authority);
                time.ok().map(|time| (time, authority))
            });
            let Some((time, authority)) = verified else {
                let text = "no trusted authority issued the RFC 3161 timestamp for this signature";
                return Err(Rejection::Timestamp(text.to_owned()));
            };
            let source = Source::Authority(authority.key.clone());
            times.push((utc(time.as_second(), time.subsec_nanosecond())?, source));
        }
        Ok(times)
    }
}

impl fmt::Debug for TrustRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let logs: Vec<String> = self.logs.iter().map(Log::name).collect();
        f.debug_struct("TrustRoot").field("logs", &logs).finish_non_exhaustive()
    }
}

impl Log {
    fn read(log: &sigstore_verify::trust_root::TransparencyLog) -> Result<Self, String> {
        let key = VerificationKey::from_spki(&log.public_key.raw_bytes).map_err(|error| error.to_string())?;
        let window = log.public_key.valid_for.map_or(Ok(Window::ALWAYS), |range| Window::read(&range));
        let window = window.map_err(|error| error.to_string())?;
        Ok(Self { id: log.log_id.key_id.as_bytes().to_vec(), key, window })
    }

    fn name(&self) -> String {
        hex::encode(&self.id)
    }

    /// Returns whether the log signed the checkpoint. The signature must contain the name of the log, which is also the
    /// origin of the checkpoint. Rekor v1 appends a shard number to the origin, but not to the name.
    fn signed(&self, checkpoint: &types::Checkpoint) -> bool {
        checkpoint.signatures().iter().any(|signature| {
            let shard = checkpoint.origin().strip_prefix(&signature.name);
            let is_named = shard.is_some_and(|shard| shard.is_empty() || shard.starts_with(" - "));
            is_named && self.key.verify(checkpoint.signed_data(), &signature.signature).is_ok()
        })
    }
}

impl Authority {
    /// Reads a timestamp authority. Unlike `TrustedRoot::tsa_authorities`, this function does not check whether the
    /// authority is valid now, so it does not use the system clock.
    fn read(authority: &sigstore_verify::trust_root::TimestampAuthority) -> Option<Self> {
        let certificates: Vec<_> = authority.cert_chain.certificates.iter().map(|entry| &entry.raw_bytes).collect();
        let leaf = *certificates.first()?;
        let root = *certificates.last()?;
        let inner = certificates.get(1..certificates.len().saturating_sub(1)).unwrap_or_default();
        let intermediates = inner.iter().map(|certificate| (*certificate).clone()).collect();
        let key = parse_certificate_info(leaf)
            .map_or_else(|_| leaf.as_bytes().to_vec(), |certificate| certificate.public_key.as_bytes().to_vec());
        let authority = TsaAuthority::new(leaf.clone(), intermediates, root.clone(), authority.valid_for);
        Some(Self { authority, key })
    }
}

impl Window {
    const ALWAYS: Self = Self { start: None, end: None };

    fn read(range: &types::TimeRange) -> Result<Self, Rejection> {
        let start = utc(range.start.as_second(), range.start.subsec_nanosecond())?;
        let end = range.end.map(|end| utc(end.as_second(), end.subsec_nanosecond())).transpose()?;
        Ok(Self { start: Some(start), end })
    }

    fn contains(&self, time: DateTime<Utc>) -> bool {
        self.start.is_none_or(|start| start <= time) && self.end.is_none_or(|end| time <= end)
    }
}

/// Verifies a bundle that was signed with a certificate.
pub(crate) fn verify_certificate(
    bundle: &Bundle,
    artifact: &Artifact,
    trust: &Trust<'_>,
    now: DateTime<Utc>,
) -> Result<Signed, Rejection> {
    trust.demands.check_entries(bundle.has_log_entries())?;
    let mut policy = VerificationPolicy::any_identity();
    // Even if the policy does not require a log entry, every log entry in the bundle must be valid.
    if trust.demands.log == LogDemand::None && !bundle.has_log_entries() {
        policy = policy.skip_tlog_unsafe();
    }
    if trust.demands.sct == SctDemand::None {
        policy = policy.skip_sct();
    }
    let parsed = parse(bundle)?;
    let info = parsed.signing_certificate().ok_or(Rejection::NoCertificate)?;
    let info = parse_certificate_info(info)
        .map_err(|error| Rejection::Invalid(format!("the certificate is malformed: {error}")))?;
    let digest = digest(bundle, artifact, &info.public_key)?;
    let evidence = Evidence::verify(&parsed, digest, &policy, trust)?;
    let validity = Window {
        start: Some(utc(info.not_before.as_second(), info.not_before.subsec_nanosecond())?),
        end: Some(utc(info.not_after.as_second(), info.not_after.subsec_nanosecond())?),
    };
    let times = evidence.check(trust, now, Some(validity))?;
    let signer = SignedBy::Identity(certificate(&info)?);
    Ok(Signed { signer, content: bundle.signed_content(), times, logs: evidence.log_names() })
}

/// Verifies a bundle that was signed with a key and contains log entries or timestamps.
pub(crate) fn verify_key(
    bundle: &Bundle,
    artifact: &Artifact,
    key: &PublicKey,
    trust: &Trust<'_>,
    now: DateTime<Utc>,
) -> Result<Signed, Rejection> {
    trust.demands.check_entries(bundle.has_log_entries())?;
    // First verify the signature with the scheme in the policy. For RSA keys, the library chooses the padding itself,
    // so it could accept a signature whose padding differs from the padding of the scheme.
    key_signature::verify_bundle(bundle, artifact, key)?;
    if key.scheme().starts_with("rsassa-pss") {
        let text = "log entries for rsa keys can be verified only with the scheme rsa-pkcs1v15-sha256";
        return Err(Rejection::Unsupported(text.to_owned()));
    }
    let der = DerPublicKey::new(key.material().to_vec());
    let digest = digest(bundle, artifact, &der)?;
    let mut policy = PublicKeyVerificationPolicy::new(der);
    if trust.demands.log == LogDemand::None && !bundle.has_log_entries() {
        policy = policy.skip_tlog_unsafe();
    }
    let evidence = Evidence::verify(&parse(bundle)?, digest, &policy, trust)?;
    let times = evidence.check(trust, now, None)?;
    Ok(Signed {
        signer: SignedBy::Key(key.clone()),
        content: bundle.signed_content(),
        times,
        logs: evidence.log_names(),
    })
}

/// The logs that recorded the signature of a verified bundle, and the authenticated times of the signature.
struct Evidence<'a> {
    logs: Vec<&'a Log>,
    times: Vec<(DateTime<Utc>, Source)>,
}

impl<'a> Evidence<'a> {
    /// Verifies a bundle with `sigstore-verify`, and collects its logs and times.
    fn verify(
        bundle: &types::Bundle,
        digest: ArtifactDigest,
        policy: &dyn Policy,
        trust: &Trust<'a>,
    ) -> Result<Self, Rejection> {
        let artifact = types::Artifact::from_digest(digest);
        trust.root.verifier.verify(artifact, bundle, policy).map_err(|error| rejection(&error))?;
        Ok(Self { logs: trust.root.logs(bundle)?, times: trust.root.times(bundle)? })
    }

    /// Checks that no authenticated time is later than `now`, or outside the validity period of the certificate
    /// (`validity`) or of a log's key. Also checks that the evidence has as many distinct logs and distinct sources of
    /// time as the policy requires. Returns the sorted times.
    fn check(
        &self,
        trust: &Trust<'_>,
        now: DateTime<Utc>,
        validity: Option<Window>,
    ) -> Result<Vec<DateTime<Utc>>, Rejection> {
        for (time, _) in &self.times {
            if *time > now {
                return Err(Rejection::Future { time: *time, now });
            }
            if validity.is_some_and(|validity| !validity.contains(*time)) {
                return Err(Rejection::NotValidAt { what: "the certificate".to_owned(), time: *time });
            }
            if let Some(log) = self.logs.iter().find(|log| !log.window.contains(*time)) {
                return Err(Rejection::NotValidAt { what: format!("the key of the log {}", log.name()), time: *time });
            }
        }
        let sources: BTreeSet<&Source> = self.times.iter().map(|(_, source)| source).collect();
        trust.demands.check(&self.log_names(), &sources)?;
        let mut times: Vec<DateTime<Utc>> = self.times.iter().map(|(time, _)| *time).collect();
        times.sort();
        Ok(times)
    }

    fn log_names(&self) -> BTreeSet<String> {
        self.logs.iter().map(|log| log.name()).collect()
    }
}

fn parse(bundle: &Bundle) -> Result<types::Bundle, Rejection> {
    types::Bundle::from_json(bundle.text())
        .map_err(|error| Rejection::Unsupported(format!("the bundle cannot be read: {error}")))
}

/// Returns a digest of the artifact from the metadata. The caller passes it to the library, which compares it with the
/// digest in the bundle. Also checks that no digest in the bundle contradicts the metadata.
fn digest(bundle: &Bundle, artifact: &Artifact, key: &DerPublicKey) -> Result<ArtifactDigest, Rejection> {
    let algorithm = match bundle.content() {
        BundleContent::File(signature) => {
            let algorithm = file_algorithm(signature, key)?;
            // A log entry contains the file's digest, but the library checks this digest only if it is a SHA-256
            // digest.
            if bundle.has_log_entries() && algorithm != Algorithm::Sha256 {
                return Err(Rejection::Unsupported(format!(
                    "log entries are supported only for signatures over the sha256 of a file, not over its {}; \
                     sign a statement instead",
                    algorithm.name()
                )));
            }
            key_signature::check_digest(signature, artifact)?;
            algorithm
        }
        BundleContent::Statement(envelope) => {
            envelope.statement().check_subject(artifact)?;
            let named = envelope.statement().algorithms_of(artifact);
            let supported = [Algorithm::Sha256, Algorithm::Sha512].into_iter().find(|known| named.contains(known));
            supported.ok_or_else(|| {
                Rejection::UnlistedDigest(
                    "the statement must contain a sha256 or sha512 digest that the metadata lists".to_owned(),
                )
            })?
        }
    };
    let bytes = artifact.digest(algorithm).ok_or_else(|| Rejection::UnlistedDigest(algorithm.name().to_owned()))?;
    let name = match algorithm {
        Algorithm::Sha384 => HashAlgorithm::Sha2384,
        Algorithm::Sha512 => HashAlgorithm::Sha2512,
        _ => HashAlgorithm::Sha2256,
    };
    ArtifactDigest::new(name, bytes.to_vec()).map_err(|error| Rejection::Invalid(error.to_string()))
}

/// Returns the digest algorithm of a signature over a file. If the bundle does not name an algorithm, the scheme of the
/// key determines it.
fn file_algorithm(signature: &FileSignature, key: &DerPublicKey) -> Result<Algorithm, Rejection> {
    if let Some((algorithm, _)) = &signature.digest {
        return Ok(*algorithm);
    }
    let key = VerificationKey::from_spki(key).map_err(|error| Rejection::Unsupported(error.to_string()))?;
    match key.scheme().hash_algorithm() {
        Some(HashAlgorithm::Sha2256) => Ok(Algorithm::Sha256),
        Some(HashAlgorithm::Sha2384) => Ok(Algorithm::Sha384),
        // Other schemes, such as ed25519, do not sign a digest. `from_spki` never returns a scheme that uses SHA-512.
        _ => Err(Rejection::Unsupported(key_signature::NO_DIGEST.to_owned())),
    }
}

fn certificate(info: &CertificateInfo) -> Result<Certificate, Rejection> {
    let subject = match &info.identity {
        Some(SubjectAltName::Uri(uri)) => Subject::Uri(uri.clone()),
        Some(SubjectAltName::Email(address)) => Subject::Email(address.clone()),
        _ => {
            let text = "the subject alternative name of the certificate is neither a URI nor an email address";
            return Err(Rejection::Unsupported(text.to_owned()));
        }
    };
    let issuer = info.issuer.clone().ok_or_else(|| Rejection::Invalid("the certificate names no issuer".to_owned()))?;
    let named = |claim: &Claim| claim_value(info, *claim).map(|value| (*claim, value.clone()));
    let claims: BTreeMap<Claim, String> = Claim::ALL.iter().filter_map(named).collect();
    Ok(Certificate { issuer, subject, claims })
}

fn claim_value(info: &CertificateInfo, claim: Claim) -> Option<&String> {
    let claims = &info.ci_claims;
    let value = match claim {
        Claim::BuildSignerUri => &claims.build_signer_uri,
        Claim::BuildSignerDigest => &claims.build_signer_digest,
        Claim::RunnerEnvironment => &claims.runner_environment,
        Claim::SourceRepositoryUri => &claims.source_repository_uri,
        Claim::SourceRepositoryDigest => &claims.source_repository_digest,
        Claim::SourceRepositoryRef => &claims.source_repository_ref,
        Claim::SourceRepositoryId => &claims.source_repository_identifier,
        Claim::SourceRepositoryOwnerUri => &claims.source_repository_owner_uri,
        Claim::SourceRepositoryOwnerId => &claims.source_repository_owner_identifier,
        Claim::BuildConfigUri => &claims.build_config_uri,
        Claim::BuildConfigDigest => &claims.build_config_digest,
        Claim::BuildTrigger => &claims.build_trigger,
        Claim::RunInvocationUri => &claims.run_invocation_uri,
        Claim::SourceRepositoryVisibility => &claims.source_repository_visibility_at_signing,
        Claim::DeploymentEnvironment => &claims.deployment_environment,
        Claim::TokenSubject => &claims.token_subject,
    };
    value.as_ref()
}

fn rejection(error: &Error) -> Rejection {
    match error {
        Error::TransparencyLog(TransparencyLogError::EntryMismatch(detail)) => {
            Rejection::Log(format!("the log entry is for another signature: {detail}"))
        }
        Error::TransparencyLog(error) => Rejection::Log(format!("the log entry is not valid: {error}")),
        Error::Timestamp(error) => Rejection::Timestamp(format!("the time of the signature is not trusted: {error}")),
        Error::Certificate(error) => Rejection::Invalid(format!("the certificate is not trusted: {error}")),
        Error::SignatureInvalid(detail) => Rejection::Invalid(format!("the signature is not valid: {detail}")),
        Error::ArtifactMismatch(detail) => Rejection::Log(format!("the log entry is for another file: {detail}")),
        other => Rejection::Invalid(other.to_string()),
    }
}

/// Takes the seconds and nanoseconds of a time, because the library does not export its time type.
fn utc(seconds: i64, nanoseconds: i32) -> Result<DateTime<Utc>, Rejection> {
    let time = u32::try_from(nanoseconds).ok().and_then(|nanoseconds| DateTime::from_timestamp(seconds, nanoseconds));
    time.ok_or_else(|| Rejection::Timestamp(format!("the time {seconds} is out of range")))
}

#[cfg(test)]
#[path = "sigstore_tests.rs"]
mod tests;
