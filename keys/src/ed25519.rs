//! Ed25519 (RFC 8032) keys as spec 4.2.2 writes them, verified strictly.

use alloc::string::String;

use ed25519_dalek::{Signature, VerifyingKey};
use spki::{Document, EncodePublicKey as _};

use crate::public::KeyError;

#[derive(Clone)]
pub(crate) struct Ed25519Key(VerifyingKey);

impl Ed25519Key {
    /// 64 hexadecimal digits. Upper case is the same key, and is written back in lower case.
    pub(crate) fn from_hex(public: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(public, &mut bytes)
            .map_err(|_| KeyError::invalid("an ed25519 key must be 64 hexadecimal digits"))?;
        let key = VerifyingKey::from_bytes(&bytes)
            .map_err(|_| KeyError::invalid("an ed25519 key must be a point of the curve"))?;
        // One point, one encoding: else one key could be listed as two.
        if key.to_edwards().compress().to_bytes() != bytes {
            return Err(KeyError::invalid("the point of the ed25519 key is not in canonical form"));
        }
        // Under such a key one signature fits nearly every message.
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

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        // Strict: S below the group order and R not of small order, so that all verifiers agree.
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

#[cfg(feature = "sign")]
impl From<VerifyingKey> for Ed25519Key {
    fn from(key: VerifyingKey) -> Self {
        Self(key)
    }
}
