//! Ed25519 keys (RFC 8032, TUF specification 4.2.2), with strict verification.

use alloc::string::String;

use ed25519_dalek::{Signature, VerifyingKey, hazmat};
use sha2::digest::Digest as _;
use spki::{Document, EncodePublicKey as _};

use crate::error::KeyError;
use crate::sha512::{Precomputed, Sha512};

#[derive(Clone)]
pub(crate) struct Ed25519Key(VerifyingKey);

impl Ed25519Key {
    /// Reads 64 hexadecimal digits in lower or upper case (TUF specification 4.2.2).
    pub(crate) fn from_hex(public: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(public, &mut bytes)
            .map_err(|_| KeyError::invalid("an ed25519 key must be 64 hexadecimal digits"))?;
        let key = VerifyingKey::from_bytes(&bytes)
            .map_err(|_| KeyError::invalid("an ed25519 key must be a point on the curve"))?;
        // Only one encoding of each point is accepted. Otherwise the same key could be listed as two keys.
        if key.to_edwards().compress().to_bytes() != bytes {
            return Err(KeyError::invalid("the point of the ed25519 key is not in canonical form"));
        }
        // With a key of small order, one signature is valid for nearly every message.
        if key.is_weak() {
            return Err(KeyError::invalid("the point of the ed25519 key has small order"));
        }
        Ok(Self(key))
    }

    pub(crate) fn to_hex(&self) -> String {
        hex::encode(self.0.as_bytes())
    }

    pub(crate) fn material(&self) -> spki::Result<Document> {
        self.0.to_public_key_der()
    }

    /// Starts the verification of a signature. Returns `None` if the signature is malformed.
    ///
    /// Verification is strict, so that all verifiers agree: S must be below the group order, and R must be a point that
    /// is not of small order. Keys of small order were already refused when the key was read.
    pub(crate) fn check(&self, signature: &[u8]) -> Option<Ed25519Check> {
        let signature = Signature::from_slice(signature).ok()?;
        VerifyingKey::from_bytes(signature.r_bytes()).ok().filter(|r| !r.is_weak())?;
        let hash = Sha512::new().chain_update(signature.r_bytes()).chain_update(self.0.as_bytes());
        Some(Ed25519Check { key: self.0, signature, hash })
    }
}

pub(crate) struct Ed25519Check {
    key: VerifyingKey,
    signature: Signature,
    /// The hash of R, the key and the message so far (RFC 8032, 5.1.7).
    hash: Sha512,
}

impl Ed25519Check {
    pub(crate) fn update(&mut self, part: &[u8]) {
        self.hash.update(part);
    }

    pub(crate) fn finish(self) -> bool {
        hazmat::raw_verify::<Precomputed>(&self.key, &self.hash.finalize(), &self.signature).is_ok()
    }
}

#[cfg(feature = "sign")]
impl From<VerifyingKey> for Ed25519Key {
    fn from(key: VerifyingKey) -> Self {
        Self(key)
    }
}
