//! The IDs of keys (TUF specification 4.2.1, TAP 12).

use alloc::sync::Arc;
use core::fmt;

use crate::text::Printable;

/// The ID of a key within one file. It is opaque text (POUF A2, TAP 12). By convention, it is the hash of the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// Creates a key ID from any text.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// Returns the ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printable(&self.0).fmt(f)
    }
}
