//! RSA keys (RFC 8017, TUF specification 4.2.2), for verification only.

use ::rsa::pkcs1::RsaPublicKeyRef;
use ::rsa::{BoxedUint, Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::{Sha256, Sha384, Sha512};
use spki::der::Decode as _;
use spki::der::asn1::{Null, UintRef};
use spki::{Document, EncodePublicKey as _, ObjectIdentifier, SubjectPublicKeyInfoRef};

use crate::digest::MessageDigest;
use crate::error::KeyError;
use crate::pem;

/// `rsaEncryption` (RFC 8017, appendix A.1).
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// `id-RSASSA-PSS` (RFC 8017, appendix A.2.3).
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// The accepted sizes of the modulus, in bits. TUF specification 4.2.2 requires at least 2048 bits. The verification
/// time grows with the square of the size, so verification with an 8192-bit key takes 16 times as long as with a
/// 2048-bit key.
const MODULUS_BITS: core::ops::RangeInclusive<usize> = 2048..=8192;
/// The maximum size of the exponent in bits. The verification time also grows with the exponent, and nearly all keys
/// use 65537.
const EXPONENT_BITS: usize = 33;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    PssSha256,
    PssSha384,
    PssSha512,
    Pkcs1v15Sha256,
}

impl Padding {
    const ALL: [Self; 4] = [Self::PssSha256, Self::PssSha384, Self::PssSha512, Self::Pkcs1v15Sha256];

    pub(crate) fn of_scheme(scheme: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|padding| padding.scheme() == scheme)
    }

    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::PssSha256 => "rsassa-pss-sha256",
            Self::PssSha384 => "rsassa-pss-sha384",
            Self::PssSha512 => "rsassa-pss-sha512",
            Self::Pkcs1v15Sha256 => "rsa-pkcs1v15-sha256",
        }
    }
}

#[derive(Clone)]
pub(crate) struct RsaKey {
    padding: Padding,
    key: RsaPublicKey,
}

impl RsaKey {
    pub(crate) fn from_pem(padding: Padding, public: &str) -> Result<Self, KeyError> {
        let der = pem::decode_public(public)?;
        let info = pem::public_info(&der)?;
        check_algorithm(&info)?;
        let der = info
            .subject_public_key
            .as_bytes()
            .ok_or_else(|| KeyError::invalid("the length of the rsa key is not a whole number of bytes"))?;
        let numbers = RsaPublicKeyRef::from_der(der)
            .map_err(|error| KeyError::Invalid(alloc::format!("the rsa key is invalid: {error}")))?;
        check_sizes(&numbers)?;
        let modulus = integer(numbers.modulus)?;
        let exponent = integer(numbers.public_exponent)?;
        let key = RsaPublicKey::new_with_size_limits(modulus, exponent, MODULUS_BITS).map_err(KeyError::invalid)?;
        Ok(Self { padding, key })
    }

    pub(crate) fn padding(&self) -> Padding {
        self.padding
    }

    pub(crate) fn material(&self) -> spki::Result<Document> {
        self.key.to_public_key_der()
    }

    pub(crate) fn digest(&self) -> MessageDigest {
        match self.padding {
            Padding::PssSha256 | Padding::Pkcs1v15Sha256 => MessageDigest::Sha256,
            Padding::PssSha384 => MessageDigest::Sha384,
            Padding::PssSha512 => MessageDigest::Sha512,
        }
    }

    pub(crate) fn is_valid(&self, digest: &[u8], signature: &[u8]) -> bool {
        let verified = match self.padding {
            Padding::PssSha256 => self.key.verify(pss::<Sha256>(), digest, signature),
            Padding::PssSha384 => self.key.verify(pss::<Sha384>(), digest, signature),
            Padding::PssSha512 => self.key.verify(pss::<Sha512>(), digest, signature),
            Padding::Pkcs1v15Sha256 => self.key.verify(Pkcs1v15Sign::new::<Sha256>(), digest, signature),
        };
        verified.is_ok()
    }
}

/// Returns PSS padding, which hashes the message and computes MGF1 with the same hash `D`. Any salt length is accepted,
/// because TUF specification 4.2.2 requires no particular length, and signers use different lengths.
fn pss<D: sha2::Digest>() -> Pss<D> {
    Pss { salt_len: None, ..Pss::new() }
}

fn check_algorithm(info: &SubjectPublicKeyInfoRef<'_>) -> Result<(), KeyError> {
    match (info.algorithm.oid, info.algorithm.parameters) {
        (RSA_ENCRYPTION, Some(parameters)) if parameters == Null.into() => Ok(()),
        // A key with the algorithm RSASSA-PSS has parameters for the padding, which could contradict the scheme.
        (RSASSA_PSS, _) => Err(KeyError::invalid(
            "the key has the algorithm RSASSA-PSS; it must have the algorithm rsaEncryption, because the scheme determines the padding",
        )),
        (oid, _) => Err(KeyError::Invalid(alloc::format!(
            "the key does not match the keytype rsa: the algorithm of the key is {oid}"
        ))),
    }
}

/// Checks the sizes of the modulus and the exponent. Must be called before any calculation with these numbers, because
/// calculating with very large numbers is slow.
fn check_sizes(key: &RsaPublicKeyRef<'_>) -> Result<(), KeyError> {
    let modulus_bits = bit_length(key.modulus);
    // Spec 4.2.2: a modulus has at least 2048 bits.
    if !MODULUS_BITS.contains(&modulus_bits) {
        return Err(KeyError::Invalid(alloc::format!(
            "the rsa modulus has {modulus_bits} bits, expected {} to {}",
            MODULUS_BITS.start(),
            MODULUS_BITS.end()
        )));
    }
    let exponent_bits = bit_length(key.public_exponent);
    if exponent_bits > EXPONENT_BITS {
        return Err(KeyError::Invalid(alloc::format!(
            "the rsa exponent has {exponent_bits} bits, expected at most {EXPONENT_BITS}"
        )));
    }
    Ok(())
}

fn bit_length(value: UintRef<'_>) -> usize {
    let bytes = value.as_bytes();
    let zeros = bytes.first().map_or(0, |byte| byte.leading_zeros() as usize);
    (bytes.len() * 8).saturating_sub(zeros)
}

fn integer(value: UintRef<'_>) -> Result<BoxedUint, KeyError> {
    let bytes = value.as_bytes();
    let bits = u32::try_from(bytes.len() * 8).map_err(KeyError::invalid)?;
    BoxedUint::from_be_slice(bytes, bits).map_err(KeyError::invalid)
}
