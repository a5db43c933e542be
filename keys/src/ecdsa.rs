//! ECDSA keys (FIPS 186-5) on P-256 and P-384 (TUF specification 4.2.2), with signatures in strict DER.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use spki::{Document, EncodePublicKey as _, ObjectIdentifier};

use crate::digest::MessageDigest;
use crate::error::KeyError;
use crate::pem;

/// `id-ecPublicKey` (RFC 5480, 2.1.1).
pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
}

impl Curve {
    /// Returns the object identifier of the curve (RFC 5480, 2.1.1.1).
    pub(crate) const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P256 => ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
            Self::P384 => ObjectIdentifier::new_unwrap("1.3.132.0.34"),
        }
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::P256 => "ecdsa-sha2-nistp256",
            Self::P384 => "ecdsa-sha2-nistp384",
        }
    }
}

#[derive(Clone)]
pub(crate) enum EcdsaKey {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
}

impl EcdsaKey {
    /// Reads a key in PEM or, as in the first Sigstore roots, a point in hexadecimal.
    pub(crate) fn from_text(curve: Curve, public: &str) -> Result<Self, KeyError> {
        if public.trim_ascii_start().starts_with('-') {
            return Self::from_spki(curve, &pem::decode_public(public)?);
        }
        let point = hex::decode(public)
            .map_err(|_| KeyError::invalid("an ecdsa key must be a PEM block or a point in hexadecimal"))?;
        Self::from_point(curve, &point)
    }

    fn from_spki(curve: Curve, der: &[u8]) -> Result<Self, KeyError> {
        let info = pem::public_info(der)?;
        let wanted = (EC_PUBLIC_KEY, Some(curve.oid()));
        let found = info
            .algorithm
            .oids()
            .map_err(|_| KeyError::invalid("the elliptic curve of the key must be given by its name"))?;
        if found != wanted {
            return Err(KeyError::Invalid(alloc::format!(
                "the key does not match the scheme {}: the algorithm of the key is {}",
                curve.scheme(),
                found.1.unwrap_or(found.0),
            )));
        }
        let point = info.subject_public_key.as_bytes();
        Self::from_point(curve, point.ok_or_else(|| not_a_point(curve))?)
    }

    /// Reads a SEC1 point, uncompressed or compressed. The hybrid and compact forms are refused.
    fn from_point(curve: Curve, point: &[u8]) -> Result<Self, KeyError> {
        if !matches!(point.first(), Some(2..=4)) {
            return Err(not_a_point(curve));
        }
        match curve {
            Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map(Self::P256),
            Curve::P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(point).map(Self::P384),
        }
        .map_err(|_| not_a_point(curve))
    }

    pub(crate) fn scheme(&self) -> &'static str {
        match self {
            Self::P256(_) => Curve::P256.scheme(),
            Self::P384(_) => Curve::P384.scheme(),
        }
    }

    pub(crate) fn material(&self) -> spki::Result<Document> {
        match self {
            Self::P256(key) => key.to_public_key_der(),
            Self::P384(key) => key.to_public_key_der(),
        }
    }

    pub(crate) fn digest(&self) -> MessageDigest {
        match self {
            Self::P256(_) => MessageDigest::Sha256,
            Self::P384(_) => MessageDigest::Sha384,
        }
    }

    /// Accepts the signature with s and the equivalent signature with the negative of s, because signers are not
    /// required to normalise s.
    pub(crate) fn is_valid(&self, digest: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
            Self::P384(key) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
        }
    }
}

fn not_a_point(curve: Curve) -> KeyError {
    KeyError::Invalid(alloc::format!("the key is not a point on the curve of {}", curve.scheme()))
}
