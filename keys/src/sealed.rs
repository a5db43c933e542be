//! Private keys that cosign has encrypted: PKCS#8 in a NaCl secretbox (XSalsa20-Poly1305). The key of the secretbox is
//! derived from the pass-phrase with scrypt.
//!
//! cosign stores these keys as JSON. This crate does not read the JSON; the caller fills in a [`SealedKey`].

use alloc::vec::Vec;

use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::Decode as _;
use pkcs8::pkcs5::scrypt;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};
use zeroize::Zeroizing;

use crate::private_pem::{MAX_SCRYPT_BYTES, MAX_SCRYPT_P, read};
use crate::{PemError, PrivateKey};

/// The length of the Poly1305 authenticator at the start of a secretbox, in bytes.
const TAG_LENGTH: usize = 16;

/// A private key that cosign has encrypted.
#[derive(Clone, Debug)]
pub struct SealedKey {
    /// The cost parameter N of scrypt (RFC 7914).
    pub cost: u64,
    /// The block size r of scrypt.
    pub block_size: u32,
    /// The parallelization parameter p of scrypt.
    pub parallelization: u32,
    /// The salt for scrypt.
    pub salt: Vec<u8>,
    /// The nonce of the secretbox.
    pub nonce: [u8; 24],
    /// The secretbox, which consists of the authenticator and the encrypted PKCS#8.
    pub secretbox: Vec<u8>,
}

impl SealedKey {
    /// Decrypts the key.
    ///
    /// # Errors
    /// [`PemError`] if the pass-phrase is wrong, or if the parameters or the key are not supported.
    pub fn open(&self, pass_phrase: &[u8]) -> Result<PrivateKey, PemError> {
        let mut derived = Zeroizing::new([0; 32]);
        scrypt::scrypt(pass_phrase, &self.salt, &self.parameters()?, derived.as_mut_slice())
            .map_err(|_| out_of_range())?;
        let der = self.decrypt(&derived).ok_or(PemError::WrongPassPhrase)?;
        let info = PrivateKeyInfoRef::from_der(&der).map_err(|_| PemError::WrongPassPhrase)?;
        read(&info)
    }

    fn parameters(&self) -> Result<scrypt::Params, PemError> {
        let bytes = self.cost.saturating_mul(u64::from(self.block_size)).saturating_mul(128);
        // RFC 7914, 2: N must be a power of two greater than 1.
        let is_in_range = self.cost.is_power_of_two()
            && self.cost > 1
            && (1..=MAX_SCRYPT_BYTES).contains(&bytes)
            && (1..=u32::from(MAX_SCRYPT_P)).contains(&self.parallelization);
        let log_n = u8::try_from(self.cost.trailing_zeros()).map_err(|_| out_of_range())?;
        if !is_in_range {
            return Err(out_of_range());
        }
        scrypt::Params::new(log_n, self.block_size, self.parallelization).map_err(|_| out_of_range())
    }

    /// Opens the secretbox. Returns `None` if the authenticator is wrong.
    fn decrypt(&self, key: &[u8; 32]) -> Option<Zeroizing<Vec<u8>>> {
        let (tag, encrypted) = self.secretbox.split_at_checked(TAG_LENGTH)?;
        let mut cipher = XSalsa20::new(key.into(), &self.nonce.into());
        // The first 32 bytes of the key stream are the Poly1305 key. The bytes after that decrypt the message.
        let mut tag_key = Zeroizing::new([0; 32]);
        cipher.apply_keystream(tag_key.as_mut_slice());
        let expected = Poly1305::new((&*tag_key).into()).compute_unpadded(encrypted);
        // The comparison need not take constant time: anyone who can measure it has the file, and can try pass-phrases
        // without this program.
        if expected.as_slice() != tag {
            return None;
        }
        let mut message = Zeroizing::new(encrypted.to_vec());
        cipher.apply_keystream(&mut message);
        Some(message)
    }
}

fn out_of_range() -> PemError {
    PemError::Unsupported("the key derivation parameters of the encrypted private key are out of range".into())
}
