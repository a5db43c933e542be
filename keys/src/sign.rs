//! What can sign: a private key in memory, a hardware token, a key service.

use alloc::string::String;
use alloc::vec::Vec;

use crate::PublicKey;

/// One private key, wherever it is kept.
pub trait Signer: Send + Sync {
    /// The key that verifies what this one signs.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message`, in the form that [`PublicKey::verify`] of [`Signer::public_key`] takes.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// Why a key could not be made, used or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The operating system gave no randomness.
    #[error("the operating system gives no randomness")]
    Randomness,
    /// An empty pass-phrase protects nothing.
    #[error("the pass-phrase is empty")]
    EmptyPassPhrase,
    /// The signer refused or failed, and says why.
    #[error("{0}")]
    Failed(String),
}

impl SignError {
    /// A failure in the signer's own words.
    pub fn failed(reason: impl core::fmt::Display) -> Self {
        Self::Failed(alloc::string::ToString::to_string(&reason))
    }
}
