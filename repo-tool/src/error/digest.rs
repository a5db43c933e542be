//! The error for an invalid digest.

use lastmile_client::text::printable;

/// The error for a string that is not a SHA-256 digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a SHA-256 digest of 64 hexadecimal digits", printable(text))]
pub struct InvalidDigest {
    /// The text that is not a digest.
    pub text: String,
}
