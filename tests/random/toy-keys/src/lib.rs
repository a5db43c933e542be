//! Signatures that anybody could forge, with the interface of `keys/`: a digest of the public key and the message.
//!
//! `cargo xtask random` puts this crate in the place of `keys/` in a workspace of its own, where nine tenths of the time
//! would be spent in elliptic curves otherwise. Nothing that is shipped can be built with it.

use std::fmt;

use sha2::{Digest, Sha256};

/// A public key: ed25519 by name alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No algorithm is known under these names.
    #[error("keys of keytype {keytype:?} with scheme {scheme:?} are not supported")]
    Unsupported {
        /// The `keytype` as found.
        keytype: String,
        /// The `scheme` as found.
        scheme: String,
    },
    /// The names are known, but `public` is not such a key.
    #[error("{0}")]
    Invalid(String),
}

impl PublicKey {
    /// Reads `keytype`, `scheme` and `keyval.public` of a key in metadata.
    ///
    /// # Errors
    /// [`KeyError`] for whatever is not written as an ed25519 key is.
    pub fn from_tuf(keytype: &str, scheme: &str, public: &str) -> Result<PublicKey, KeyError> {
        if (keytype, scheme) != ("ed25519", "ed25519") {
            return Err(KeyError::Unsupported { keytype: keytype.to_owned(), scheme: scheme.to_owned() });
        }
        let mut key = [0; 32];
        hex::decode_to_slice(public, &mut key).map_err(|error| KeyError::Invalid(error.to_string()))?;
        Ok(PublicKey(key))
    }

    /// The keytype.
    #[must_use]
    pub fn keytype(&self) -> &'static str {
        "ed25519"
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        "ed25519"
    }

    /// What is written into `keyval.public`.
    #[must_use]
    pub fn public(&self) -> String {
        hex::encode(self.0)
    }

    /// The key itself.
    #[must_use]
    pub fn material(&self) -> &[u8] {
        &self.0
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        sign(self, message) == signature
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public())
    }
}

/// What identifies a key, apart from how metadata writes it: here the text that is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyMaterial(String);

impl KeyMaterial {
    /// The material of a key that metadata writes so.
    #[must_use]
    pub fn of_text(public: &str) -> Self {
        Self(public.to_owned())
    }
}

impl From<&PublicKey> for KeyMaterial {
    fn from(key: &PublicKey) -> Self {
        Self(key.public())
    }
}

impl fmt::Display for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Signatures over one message that comes in parts.
#[derive(Default)]
pub struct SignatureChecks(Vec<(Sha256, Vec<u8>)>);

impl SignatureChecks {
    /// Adds a signature of `key`.
    pub fn add(&mut self, key: &PublicKey, signature: &[u8]) {
        self.0.push((Sha256::new_with_prefix(key.0), signature.to_vec()));
    }

    /// The next part of the message.
    pub fn update(&mut self, part: &[u8]) {
        self.0.iter_mut().for_each(|(digest, _)| digest.update(part));
    }

    /// Whether each fits.
    #[must_use]
    pub fn finish(self) -> Vec<bool> {
        self.0.into_iter().map(|(digest, signature)| *digest.finalize() == *signature).collect()
    }
}

/// What a key may be; here there is one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Ed25519 by name.
    Ed25519,
}

/// Why a key could not be made or used. Here that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot be")]
pub struct SignError;

/// A key that signs.
pub trait Signer: Send + Sync {
    /// The key that verifies.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message`.
    ///
    /// # Errors
    /// None here.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// What would be a private key.
pub struct PrivateKey(PublicKey);

impl PrivateKey {
    /// The key of this seed.
    ///
    /// # Errors
    /// None here.
    pub fn from_seed(_scheme: Scheme, seed: &[u8; 32]) -> Result<PrivateKey, SignError> {
        Ok(PrivateKey(PublicKey(Sha256::digest(seed).into())))
    }
}

impl Signer for PrivateKey {
    fn public_key(&self) -> &PublicKey {
        &self.0
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(sign(&self.0, message))
    }
}

fn sign(key: &PublicKey, message: &[u8]) -> Vec<u8> {
    Sha256::new_with_prefix(key.0).chain_update(message).finalize().to_vec()
}
