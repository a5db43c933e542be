//! A replacement for `attest/src/sigstore.rs` in the workspace of `cargo xtask random`. No evidence in random histories
//! has a certificate, and the Sigstore library would take a long time to build.

use chrono::{DateTime, Utc};
use lastmile_keys::PublicKey;

use crate::artifact::Artifact;
use crate::bundle::Bundle;
use crate::rejection::Rejection;
use crate::signed::Signed;
use crate::trust::Trust;

/// The maximum length of a trusted root, in bytes.
pub const MAX_TRUST_ROOT_LENGTH: u64 = 1 << 20;

/// A trusted root. In this workspace, no trusted root can be parsed.
#[derive(Debug)]
pub struct TrustRoot(());

/// Why a trusted root cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("trusted roots are not supported")]
pub struct TrustRootError;

impl TrustRootError {
    pub(crate) fn too_long(_length: u64) -> Self {
        Self
    }
}

impl TrustRoot {
    /// Refuses a trusted root.
    ///
    /// # Errors
    /// Always [`TrustRootError`].
    pub fn parse(_bytes: &[u8]) -> Result<Self, TrustRootError> {
        Err(TrustRootError)
    }
}

/// Refuses every bundle. The module that this module replaces verifies bundles that were signed with a certificate.
pub(crate) fn verify_certificate(
    _bundle: &Bundle,
    _artifact: &Artifact,
    _trust: &Trust<'_>,
    _now: DateTime<Utc>,
) -> Result<Signed, Rejection> {
    Err(Rejection::NoCertificate)
}

/// Refuses every bundle. The module that this module replaces verifies bundles that were signed with a key and contain
/// log entries or timestamps.
pub(crate) fn verify_key(
    _bundle: &Bundle,
    _artifact: &Artifact,
    _key: &PublicKey,
    _trust: &Trust<'_>,
    _now: DateTime<Utc>,
) -> Result<Signed, Rejection> {
    Err(Rejection::Signature)
}
