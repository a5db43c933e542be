//! The error for an unusable key.

use alloc::string::{String, ToString as _};
use core::fmt;

/// The reason why a key in metadata cannot be used. The metadata that contains the key can still be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The keytype or the scheme is unknown, or the keytype does not belong to the scheme.
    #[error("keys of keytype {keytype:?} with scheme {scheme:?} are not supported")]
    Unsupported {
        /// The `keytype` in the metadata.
        keytype: String,
        /// The `scheme` in the metadata.
        scheme: String,
    },
    /// The keytype and the scheme are supported, but `keyval.public` is not a valid key. The text says why.
    #[error("{0}")]
    Invalid(String),
}

impl KeyError {
    pub(crate) fn invalid(reason: impl fmt::Display) -> Self {
        Self::Invalid(reason.to_string())
    }
}
