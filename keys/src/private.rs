//! Private keys in memory, which are wiped when dropped and never displayed. A key is generated, derived from a seed or
//! read from PEM.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use ed25519_dalek::hazmat::{self, ExpandedSecretKey};
use p256::ecdsa::signature::Signer as _;
use sha2::{Sha256, Sha384};
use zeroize::Zeroizing;

use crate::ecdsa::EcdsaKey;
use crate::public::Algorithm;
use crate::sha512::Sha512;
use crate::{PublicKey, SignError, Signer};

/// The kind of a private key. `Display` writes `ed25519`, `ecdsa-p256` or `ecdsa-p384`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scheme {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA over P-256 with SHA-256.
    EcdsaP256,
    /// ECDSA over P-384 with SHA-384.
    EcdsaP384,
}

impl Scheme {
    /// All schemes, with the preferred scheme first.
    pub const ALL: [Scheme; 3] = [Scheme::Ed25519, Scheme::EcdsaP256, Scheme::EcdsaP384];

    fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The error for a string that is not the name of a [`Scheme`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be ed25519, ecdsa-p256 or ecdsa-p384")]
pub struct UnknownScheme;

impl FromStr for Scheme {
    type Err = UnknownScheme;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == text).ok_or(UnknownScheme)
    }
}

/// A private key in memory, which is wiped when dropped. `Debug` shows only the public key.
pub struct PrivateKey {
    pub(crate) secret: Secret,
    public: PublicKey,
}

pub(crate) enum Secret {
    Ed25519(ed25519_dalek::SigningKey),
    EcdsaP256(p256::ecdsa::SigningKey),
    EcdsaP384(p384::ecdsa::SigningKey),
}

impl PrivateKey {
    /// Generates a new key with random bytes from the operating system.
    pub fn generate(scheme: Scheme) -> Result<PrivateKey, SignError> {
        // The probability that random bytes are not a valid scalar is at most 2^-32, so repeated failures mean that the
        // source of randomness is broken.
        for _ in 0..8 {
            let mut bytes = Zeroizing::new([0; 48]);
            getrandom::fill(bytes.as_mut_slice()).map_err(|_| SignError::Randomness)?;
            if let Some(secret) = Secret::from_bytes(scheme, &bytes) {
                return Self::new(secret);
            }
        }
        Err(SignError::Randomness)
    }

    /// Derives a key from a seed. The same seed always gives the same key. Use this only in tests and simulators,
    /// because the key is only as secret as the seed.
    ///
    /// For ed25519, the seed is the private key of RFC 8032. For ecdsa, the scalar is a hash of the seed, the name of
    /// the scheme and a counter.
    pub fn from_seed(scheme: Scheme, seed: &[u8; 32]) -> Result<PrivateKey, SignError> {
        let secret = (0..=u8::MAX).find_map(|counter| {
            let mut bytes = Zeroizing::new([0; 48]);
            match scheme {
                Scheme::Ed25519 => fill(&mut bytes, seed),
                Scheme::EcdsaP256 => fill(&mut bytes, &stretch::<Sha256>(scheme, counter, seed)),
                Scheme::EcdsaP384 => fill(&mut bytes, &stretch::<Sha384>(scheme, counter, seed)),
            }
            Secret::from_bytes(scheme, &bytes)
        });
        Self::new(secret.ok_or_else(|| SignError::failed("no key can be derived from the seed"))?)
    }

    pub(crate) fn new(secret: Secret) -> Result<PrivateKey, SignError> {
        let algorithm = match &secret {
            Secret::Ed25519(key) => Algorithm::Ed25519(key.verifying_key().into()),
            Secret::EcdsaP256(key) => Algorithm::Ecdsa(EcdsaKey::P256(*key.verifying_key())),
            Secret::EcdsaP384(key) => Algorithm::Ecdsa(EcdsaKey::P384(*key.verifying_key())),
        };
        let public = PublicKey::new(algorithm).map_err(SignError::failed)?;
        Ok(PrivateKey { secret, public })
    }

    /// Returns the kind of the key.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match &self.secret {
            Secret::Ed25519(_) => Scheme::Ed25519,
            Secret::EcdsaP256(_) => Scheme::EcdsaP256,
            Secret::EcdsaP384(_) => Scheme::EcdsaP384,
        }
    }
}

impl Secret {
    /// Creates a key from the first bytes of `bytes`. The scheme determines how many bytes are used. Returns `None` if
    /// these bytes are not a valid private key.
    fn from_bytes(scheme: Scheme, bytes: &[u8; 48]) -> Option<Secret> {
        match scheme {
            Scheme::Ed25519 => bytes.first_chunk().map(|seed| Secret::Ed25519(seed.into())),
            Scheme::EcdsaP256 => {
                let scalar = bytes.first_chunk::<32>()?;
                p256::ecdsa::SigningKey::from_slice(scalar).ok().map(Secret::EcdsaP256)
            }
            Scheme::EcdsaP384 => p384::ecdsa::SigningKey::from_slice(bytes).ok().map(Secret::EcdsaP384),
        }
    }
}

fn stretch<D: sha2::Digest>(scheme: Scheme, counter: u8, seed: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    let mut digest = D::new();
    digest.update("lastmile key from seed ");
    digest.update(scheme.name());
    digest.update([counter]);
    digest.update(seed);
    Zeroizing::new(digest.finalize().to_vec())
}

fn fill(bytes: &mut [u8; 48], from: &[u8]) {
    for (to, from) in bytes.iter_mut().zip(from) {
        *to = *from;
    }
}

impl Signer for PrivateKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs deterministically: ed25519 is always deterministic, and for ecdsa the nonces are derived as in RFC 6979.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.secret {
            Secret::Ed25519(key) => {
                let expanded = ExpandedSecretKey::from(key.as_bytes());
                Ok(hazmat::raw_sign::<Sha512>(&expanded, message, &key.verifying_key()).to_vec())
            }
            Secret::EcdsaP256(key) => {
                let signature: p256::ecdsa::Signature = key.try_sign(message).map_err(SignError::failed)?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Secret::EcdsaP384(key) => {
                let signature: p384::ecdsa::Signature = key.try_sign(message).map_err(SignError::failed)?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("public", &self.public).finish_non_exhaustive()
    }
}
