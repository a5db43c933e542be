//! The digest of a root file, which identifies a repository in a user's configuration.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::InvalidDigest;

/// The SHA-256 of a root file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RootDigest([u8; 32]);

impl RootDigest {
    /// Computes the digest from the bytes of a root file.
    #[must_use]
    pub fn of(root: &[u8]) -> Self {
        Self(Sha256::digest(root).into())
    }
}

impl fmt::Display for RootDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for RootDigest {
    type Err = InvalidDigest;

    /// Parses 64 hexadecimal digits, which may have the prefix `sha256:`.
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let mut digest = [0; 32];
        hex::decode_to_slice(digits, &mut digest).map_err(|_| InvalidDigest { text: text.to_string() })?;
        Ok(Self(digest))
    }
}
