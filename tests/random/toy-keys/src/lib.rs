//! A fast and insecure replacement for the crate `keys/`. A signature is a digest of the public key and the message, so
//! anybody can forge one.
//!
//! `cargo xtask random` builds the client with this crate instead of `keys/`, in a separate workspace. With the real
//! crate, the random tests would spend nine tenths of their time on elliptic-curve computations. No shipped program can
//! be built with this crate.

use std::fmt;

use sha2::{Digest, Sha256};

/// A public key, which has the type `ed25519` but is not a real ed25519 key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// The reason why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The algorithm with this `keytype` and `scheme` is not supported.
    #[error("keys of keytype {keytype:?} with scheme {scheme:?} are not supported")]
    Unsupported {
        /// The `keytype` as found.
        keytype: String,
        /// The `scheme` as found.
        scheme: String,
    },
    /// The algorithm is supported, but `keyval.public` is not a valid key.
    #[error("{0}")]
    Invalid(String),
}

impl PublicKey {
    /// Parses a key from the members `keytype`, `scheme` and `keyval.public` of metadata.
    ///
    /// # Errors
    /// Returns [`KeyError`] for a key that does not have the form of an ed25519 key.
    pub fn from_tuf(keytype: &str, scheme: &str, public: &str) -> Result<PublicKey, KeyError> {
        if (keytype, scheme) != ("ed25519", "ed25519") {
            return Err(KeyError::Unsupported { keytype: keytype.to_owned(), scheme: scheme.to_owned() });
        }
        let mut key = [0; 32];
        hex::decode_to_slice(public, &mut key).map_err(|error| KeyError::Invalid(error.to_string()))?;
        Ok(PublicKey(key))
    }

    /// Returns the key type.
    #[must_use]
    pub fn keytype(&self) -> &'static str {
        "ed25519"
    }

    /// Returns the scheme.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        "ed25519"
    }

    /// Returns the value of `keyval.public`.
    #[must_use]
    pub fn public(&self) -> String {
        hex::encode(self.0)
    }

    /// Returns an empty list, because this crate does not support signatures over digests. The real crate returns an
    /// empty list for ed25519 as well.
    #[must_use]
    pub fn message_digests(&self) -> &'static [MessageDigest] {
        &[]
    }

    /// Returns `false`, because a signature over a digest is not supported.
    #[must_use]
    pub fn verify_digest(&self, _algorithm: MessageDigest, _digest: &[u8], _signature: &[u8]) -> bool {
        false
    }

    /// Returns the bytes of the key.
    #[must_use]
    pub fn material(&self) -> &[u8] {
        &self.0
    }

    /// Returns `true` if `signature` is a valid signature by this key over `message`.
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

/// The digest algorithm of a signature scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageDigest {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// The identity of a key. In the real crate, the identity does not depend on how metadata encodes the key. In this
/// crate, the identity is the text of `keyval.public`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyMaterial(String);

impl KeyMaterial {
    /// Returns the identity of the key whose `keyval.public` is `public`.
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

/// Verifies several signatures over one message, which is passed in parts.
#[derive(Default)]
pub struct SignatureChecks(Vec<(Sha256, Vec<u8>)>);

impl SignatureChecks {
    /// Adds a signature by `key`.
    pub fn add(&mut self, key: &PublicKey, signature: &[u8]) {
        self.0.push((Sha256::new_with_prefix(key.0), signature.to_vec()));
    }

    /// Adds the next part of the message.
    pub fn update(&mut self, part: &[u8]) {
        self.0.iter_mut().for_each(|(digest, _)| digest.update(part));
    }

    /// Returns `true` for each valid signature and `false` for each invalid one, in the order of the calls of
    /// [`SignatureChecks::add`].
    #[must_use]
    pub fn finish(self) -> Vec<bool> {
        self.0.into_iter().map(|(digest, signature)| *digest.finalize() == *signature).collect()
    }
}

/// The signature schemes. This crate supports only `ed25519`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The scheme `ed25519`.
    Ed25519,
}

/// An error while creating or using a private key. This error never occurs in this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this error never occurs")]
pub struct SignError;

/// A key that signs.
pub trait Signer: Send + Sync {
    /// Returns the public key.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message`.
    ///
    /// # Errors
    /// Never fails in this crate.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// The replacement for a private key.
pub struct PrivateKey(PublicKey);

impl PrivateKey {
    /// Returns the key for `seed`.
    ///
    /// # Errors
    /// Never fails in this crate.
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
