//! The digest algorithms of signature schemes.

use alloc::boxed::Box;

use sha2::digest::DynDigest;
use sha2::{Sha256, Sha384, Sha512};

/// The digest algorithm of a signature scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageDigest {
    Sha256,
    Sha384,
    Sha512,
}

impl MessageDigest {
    pub(crate) fn hasher(self) -> Box<dyn DynDigest + Send> {
        match self {
            Self::Sha256 => Box::new(Sha256::default()),
            Self::Sha384 => Box::new(Sha384::default()),
            Self::Sha512 => Box::new(Sha512::default()),
        }
    }
}
