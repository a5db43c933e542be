//! Reads and writes private keys in PEM. The PEM block contains PKCS#8 (RFC 5958), either plain or encrypted with a
//! pass-phrase (RFC 8018).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Decode as _, ErrorKind, Tag};
use pkcs8::pkcs5::{self, EncryptionScheme, pbes2, scrypt};
use pkcs8::{
    AlgorithmIdentifierRef, EncodePrivateKey as _, EncryptedPrivateKeyInfoRef, LineEnding, ObjectIdentifier,
    PrivateKeyInfoRef, SecretDocument,
};
use zeroize::Zeroizing;

use crate::ecdsa::{Curve, EC_PUBLIC_KEY};
use crate::pem;
use crate::private::Secret;
use crate::{PrivateKey, SignError};

/// `id-Ed25519` (RFC 8410, 3).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The scrypt parameters with which new keys are encrypted: five passes over 16 MiB, which take a few tenths of a
/// second. OWASP lists these parameters as equivalent to N = 2^17, p = 1. `openssl` cannot read a larger N: twice this
/// N needs slightly more than 32 MiB, the most that `openssl` allows for scrypt.
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 5;

/// Upper limits of the key derivation parameters in a file. They prevent a damaged file from making the program use too
/// much memory or time.
pub(crate) const MAX_SCRYPT_BYTES: u64 = 1 << 30;
pub(crate) const MAX_SCRYPT_P: u16 = 16;
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;

/// The reason why a private key could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// The key is encrypted and no pass-phrase was given.
    #[error("the private key needs a pass-phrase")]
    PassPhraseNeeded,
    /// The pass-phrase does not decrypt the key. A damaged file causes the same error.
    #[error("wrong pass-phrase, or the file is damaged")]
    WrongPassPhrase,
    /// The algorithm of the key, the format of the file, or the encryption is not supported.
    #[error("{0}")]
    Unsupported(String),
    /// The text is not a private key in PEM.
    #[error("{0}")]
    Malformed(String),
}

impl PrivateKey {
    /// Reads a private key from a PEM block with PKCS#8, either plain (`PRIVATE KEY`) or encrypted (`ENCRYPTED PRIVATE
    /// KEY`). The encryption must be PBES2 with AES, and with scrypt or PBKDF2 (HMAC-SHA-2) as the key derivation
    /// function. `openssl` and Python's `cryptography` write such files.
    ///
    /// If the key is not encrypted, `pass_phrase` is ignored.
    pub fn from_pem(pem: &str, pass_phrase: Option<&[u8]>) -> Result<PrivateKey, PemError> {
        let block = pem::decode(pem).map_err(malformed)?;
        match block.label {
            "PRIVATE KEY" => {
                let info = PrivateKeyInfoRef::from_der(&block.der).map_err(malformed)?;
                read(&info)
            }
            "ENCRYPTED PRIVATE KEY" => {
                let pass_phrase = pass_phrase.ok_or(PemError::PassPhraseNeeded)?;
                let der = decrypt(&block.der, pass_phrase)?;
                // About one in 256 wrong pass-phrases yields valid padding, so `decrypt` does not report an error. But
                // the decrypted bytes are then not a key.
                let info = PrivateKeyInfoRef::from_der(&der).map_err(|_| PemError::WrongPassPhrase)?;
                read(&info)
            }
            label if label.ends_with("PRIVATE KEY") => Err(PemError::Unsupported(format!(
                "private keys in the format {label:?} are not supported; convert the key with `openssl pkcs8 -topk8`"
            ))),
            label => Err(PemError::Malformed(format!("the PEM block must be a private key, found {label:?}"))),
        }
    }

    /// Writes the key as an `ENCRYPTED PRIVATE KEY` block. It contains PKCS#8, encrypted by PBES2 with scrypt and
    /// AES-256-CBC.
    pub fn to_encrypted_pem(&self, pass_phrase: &[u8]) -> Result<Zeroizing<String>, SignError> {
        if pass_phrase.is_empty() {
            return Err(SignError::EmptyPassPhrase);
        }
        let parameters = new_parameters()?;
        let der = self.to_der().map_err(SignError::failed)?;
        let encrypted = parameters.encrypt(pass_phrase, der.as_bytes()).map_err(SignError::failed)?;
        let encrypted_data = OctetStringRef::new(&encrypted).map_err(SignError::failed)?;
        let info = EncryptedPrivateKeyInfoRef { encryption_algorithm: parameters.into(), encrypted_data };
        SecretDocument::try_from(info)
            .and_then(|document| Ok(document.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)?))
            .map_err(SignError::failed)
    }

    /// Writes the key as a `PRIVATE KEY` block, which contains PKCS#8 without encryption.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, SignError> {
        self.to_der()
            .and_then(|document| Ok(document.to_pem("PRIVATE KEY", LineEnding::LF)?))
            .map_err(SignError::failed)
    }

    fn to_der(&self) -> pkcs8::Result<SecretDocument> {
        match &self.secret {
            Secret::Ed25519(key) => {
                // RFC 8410, 7: the key is an OCTET STRING in an OCTET STRING. The public key is left out, because
                // openssl 3.0 can read only version 1 of PKCS#8.
                let mut octets = Zeroizing::new(Vec::with_capacity(34));
                octets.extend([0x04, 0x20]);
                octets.extend(Zeroizing::new(key.to_bytes()).iter());
                let algorithm = AlgorithmIdentifierRef { oid: ED25519, parameters: None };
                PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(&octets)?).try_into()
            }
            Secret::EcdsaP256(key) => p256::SecretKey::from(key.as_nonzero_scalar()).to_pkcs8_der(),
            Secret::EcdsaP384(key) => p384::SecretKey::from(key.as_nonzero_scalar()).to_pkcs8_der(),
        }
    }
}

fn malformed(reason: impl fmt::Display) -> PemError {
    PemError::Malformed(format!("{reason}"))
}

pub(crate) fn read(info: &PrivateKeyInfoRef<'_>) -> Result<PrivateKey, PemError> {
    let curve = info.algorithm.parameters_oid().ok();
    let secret = match (info.algorithm.oid, curve) {
        (ED25519, _) => Secret::Ed25519(read_ed25519(info)?),
        (EC_PUBLIC_KEY, Some(curve)) if curve == Curve::P256.oid() => {
            let key = p256::SecretKey::try_from(info.clone()).map_err(malformed)?;
            Secret::EcdsaP256((&key).into())
        }
        (EC_PUBLIC_KEY, Some(curve)) if curve == Curve::P384.oid() => {
            let key = p384::SecretKey::try_from(info.clone()).map_err(malformed)?;
            Secret::EcdsaP384((&key).into())
        }
        (oid, curve) => {
            return Err(PemError::Unsupported(format!(
                "private keys of the algorithm {} are not supported; use ed25519, ecdsa-p256 or ecdsa-p384",
                curve.unwrap_or(oid)
            )));
        }
    };
    PrivateKey::new(secret).map_err(malformed)
}

fn read_ed25519(info: &PrivateKeyInfoRef<'_>) -> Result<ed25519_dalek::SigningKey, PemError> {
    let [0x04, 0x20, seed @ ..] = info.private_key.as_bytes() else {
        return Err(malformed("an ed25519 private key must have 32 bytes"));
    };
    let seed: &[u8; 32] = seed.try_into().map_err(malformed)?;
    let key = ed25519_dalek::SigningKey::from_bytes(seed);
    // Signing with the secret part of one key and the public part of another would reveal the secret.
    if info.public_key.is_some_and(|public| public.as_bytes() != Some(key.verifying_key().as_bytes())) {
        return Err(malformed("the public key in the file does not belong to the private key"));
    }
    Ok(key)
}

fn decrypt(der: &[u8], pass_phrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, PemError> {
    let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|error| match error.kind() {
        ErrorKind::OidUnknown { .. } | ErrorKind::Value { tag: Tag::ObjectIdentifier } => {
            PemError::Unsupported("the private key is encrypted with an unsupported or invalid method".to_string())
        }
        _ => malformed(error),
    })?;
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(PemError::Unsupported("the private key is encrypted with PBES1, which is insecure".to_string()));
    };
    check_cost(&parameters.kdf)?;
    match parameters.decrypt(pass_phrase, info.encrypted_data.as_bytes()) {
        Ok(der) => Ok(Zeroizing::new(der)),
        Err(pkcs5::Error::DecryptFailed) => Err(PemError::WrongPassPhrase),
        Err(error) => Err(PemError::Unsupported(error.to_string())),
    }
}

fn check_cost(kdf: &pbes2::Kdf) -> Result<(), PemError> {
    let in_range = match kdf {
        pbes2::Kdf::Scrypt(scrypt) => {
            let bytes = scrypt.cost_parameter.saturating_mul(u64::from(scrypt.block_size)).saturating_mul(128);
            // RFC 7914, 2: N must be a power of two greater than 1.
            scrypt.cost_parameter.is_power_of_two()
                && scrypt.cost_parameter > 1
                && (1..=MAX_SCRYPT_BYTES).contains(&bytes)
                && (1..=MAX_SCRYPT_P).contains(&scrypt.parallelization)
        }
        pbes2::Kdf::Pbkdf2(pbkdf2) => (1..=MAX_PBKDF2_ROUNDS).contains(&pbkdf2.iteration_count),
        _ => false,
    };
    if in_range {
        return Ok(());
    }
    Err(PemError::Unsupported(
        "the key derivation parameters of the encrypted private key are out of range".to_string(),
    ))
}

fn new_parameters() -> Result<pbes2::Parameters, SignError> {
    let mut salt = [0; 16];
    let mut iv = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| SignError::Randomness)?;
    getrandom::fill(&mut iv).map_err(|_| SignError::Randomness)?;
    let cost = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).map_err(SignError::failed)?;
    pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt, iv).map_err(SignError::failed)
}
