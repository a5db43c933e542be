//! A public key as TUF metadata spells it, and the check of one signature with it (spec 4.2.2).

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::check::SignatureChecks;
use crate::ecdsa::{Curve, EcdsaKey};
use crate::ed25519::Ed25519Key;
use crate::rsa::{Padding, RsaKey};

/// A key that can check signatures.
///
/// Equality, order and hash are those of the key's *material*, so that one key spelled twice (another keytype,
/// another scheme, other white space in its PEM, a compressed point, a point in hexadecimal) is one key where
/// thresholds are counted.
/// Clones share the key.
#[derive(Clone)]
pub struct PublicKey(Arc<Parts>);

struct Parts {
    algorithm: Algorithm,
    material: Vec<u8>,
}

#[derive(Clone)]
pub(crate) enum Algorithm {
    Ed25519(Ed25519Key),
    Ecdsa(EcdsaKey),
    Rsa(RsaKey),
}

/// Why a key in metadata cannot be used. Neither makes the metadata around it unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No algorithm is known under these names, or the two do not belong together.
    #[error("no support for keys of keytype {keytype:?} with scheme {scheme:?}")]
    Unsupported {
        /// The `keytype` as found.
        keytype: String,
        /// The `scheme` as found.
        scheme: String,
    },
    /// The names are known, but `public` is not such a key. The text says what is wrong with it.
    #[error("{0}")]
    Invalid(String),
}

impl KeyError {
    pub(crate) fn invalid(reason: impl fmt::Display) -> Self {
        Self::Invalid(reason.to_string())
    }
}

impl PublicKey {
    /// Reads `keytype`, `scheme` and `keyval.public` of a key in metadata.
    ///
    /// | keytype | scheme | public |
    /// |---|---|---|
    /// | `ed25519` | `ed25519` | 64 hexadecimal digits |
    /// | `ecdsa`, or (legacy) the scheme's name | `ecdsa-sha2-nistp256`, `ecdsa-sha2-nistp384` | PEM, or (legacy) the SEC1 point in hexadecimal |
    /// | `rsa` | `rsassa-pss-sha256`, `-sha384`, `-sha512`, `rsa-pkcs1v15-sha256` | PEM, 2048 to 8192 bits |
    ///
    /// PEM is one `PUBLIC KEY` block (SubjectPublicKeyInfo) whose algorithm and curve fit the names.
    pub fn from_tuf(keytype: &str, scheme: &str, public: &str) -> Result<PublicKey, KeyError> {
        let algorithm = match (keytype, scheme) {
            ("ed25519", "ed25519") => Algorithm::Ed25519(Ed25519Key::from_hex(public)?),
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
                Algorithm::Ecdsa(EcdsaKey::from_text(Curve::P256, public)?)
            }
            ("ecdsa" | "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384") => {
                Algorithm::Ecdsa(EcdsaKey::from_text(Curve::P384, public)?)
            }
            ("rsa", scheme) => {
                let padding = Padding::of_scheme(scheme).ok_or_else(|| unsupported(keytype, scheme))?;
                Algorithm::Rsa(RsaKey::from_pem(padding, public)?)
            }
            _ => return Err(unsupported(keytype, scheme)),
        };
        Self::new(algorithm)
    }

    pub(crate) fn new(algorithm: Algorithm) -> Result<PublicKey, KeyError> {
        let material = match &algorithm {
            Algorithm::Ed25519(key) => key.material(),
            Algorithm::Ecdsa(key) => key.material(),
            Algorithm::Rsa(key) => key.material(),
        };
        let material = material.map_err(KeyError::invalid)?.into_vec();
        Ok(Self(Arc::new(Parts { algorithm, material })))
    }

    /// The standard keytype: `ed25519`, `ecdsa` or `rsa`.
    #[must_use]
    pub fn keytype(&self) -> &'static str {
        match self.algorithm() {
            Algorithm::Ed25519(_) => "ed25519",
            Algorithm::Ecdsa(_) => "ecdsa",
            Algorithm::Rsa(_) => "rsa",
        }
    }

    /// The scheme, as in the table of [`PublicKey::from_tuf`].
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self.algorithm() {
            Algorithm::Ed25519(_) => "ed25519",
            Algorithm::Ecdsa(key) => key.scheme(),
            Algorithm::Rsa(key) => key.padding().scheme(),
        }
    }

    /// What is written into `keyval.public`: 64 lower-case hexadecimal digits for ed25519, else a PEM
    /// `PUBLIC KEY` block with lines of 64 characters and a final line feed.
    #[must_use]
    pub fn public(&self) -> String {
        match self.algorithm() {
            Algorithm::Ed25519(key) => key.to_hex(),
            Algorithm::Ecdsa(_) | Algorithm::Rsa(_) => crate::pem::encode_public(self.material()),
        }
    }

    /// The key itself, whatever its spelling: SubjectPublicKeyInfo in DER (RFC 5280), points uncompressed.
    #[must_use]
    pub fn material(&self) -> &[u8] {
        &self.0.material
    }

    /// Whether `signature` is this key's over `message`. The algorithm follows from the key alone.
    ///
    /// Signatures are 64 bytes for ed25519, DER (RFC 3279) for ecdsa, and as long as the modulus for rsa.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let mut checks = SignatureChecks::default();
        checks.add(self, signature);
        checks.update(message);
        checks.finish() == [true]
    }

    pub(crate) fn algorithm(&self) -> &Algorithm {
        &self.0.algorithm
    }
}

fn unsupported(keytype: &str, scheme: &str) -> KeyError {
    KeyError::Unsupported { keytype: keytype.to_string(), scheme: scheme.to_string() }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.material() == other.material()
    }
}

impl Eq for PublicKey {}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.material().cmp(other.material())
    }
}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.material().hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("scheme", &self.scheme())
            .field("material", &hex::encode(self.material()))
            .finish()
    }
}
