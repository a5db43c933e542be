//! The trait [`Signer`], which private keys in memory, hardware tokens and key services implement.

use alloc::string::String;
use alloc::vec::Vec;

use crate::PublicKey;

/// A private key that can sign. It may be stored outside of this process.
pub trait Signer: Send + Sync {
    /// Returns the public key.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message`. The signature must have the form that [`PublicKey::verify`] expects.
    ///
    /// # Errors
    /// [`SignError`] if the signer refuses or fails.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// The reason why a key could not be generated, used or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The operating system provides no randomness.
    #[error("the operating system provides no randomness")]
    Randomness,
    /// The pass-phrase is empty, so it would not protect the key.
    #[error("the pass-phrase is empty")]
    EmptyPassPhrase,
    /// The signer refused or failed. The text gives the reason.
    #[error("{0}")]
    Failed(String),
}

impl SignError {
    /// Creates a [`SignError::Failed`] with the text of `reason`.
    pub fn failed(reason: impl core::fmt::Display) -> Self {
        Self::Failed(alloc::string::ToString::to_string(&reason))
    }
}
