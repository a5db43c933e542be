//! Public keys in metadata (TUF specification 4.2.2).

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::KeyError;
use crate::digest::MessageDigest;
use crate::ecdsa::{Curve, EcdsaKey};
use crate::ed25519::Ed25519Key;
use crate::rsa::{Padding, RsaKey};

/// A public key, which verifies signatures. Clones share the data.
///
/// Equality, order and hash use only the key *material*. So a key that is listed twice counts once towards a threshold,
/// even if the two entries differ in keytype, scheme, white space in PEM, or the encoding of the point.
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

impl PublicKey {
    /// Creates a key from the members `keytype`, `scheme` and `keyval.public` of a key in metadata.
    ///
    /// | keytype | scheme | public |
    /// |---|---|---|
    /// | `ed25519` | `ed25519` | 64 hexadecimal digits |
    /// | `ecdsa`, or (legacy) the scheme's name | `ecdsa-sha2-nistp256`, `ecdsa-sha2-nistp384` | PEM, or (legacy) the SEC1 point in hexadecimal |
    /// | `rsa` | `rsassa-pss-sha256`, `-sha384`, `-sha512`, `rsa-pkcs1v15-sha256` | PEM, 2048 to 8192 bits |
    ///
    /// PEM must be one `PUBLIC KEY` block (SubjectPublicKeyInfo) with the algorithm and curve of the scheme.
    ///
    /// # Errors
    /// [`KeyError`] if the keytype and the scheme are not supported, or if `public` is not a valid key.
    pub fn from_tuf(keytype: &str, scheme: &str, public: &str) -> Result<PublicKey, KeyError> {
        // Spec 4.2.2: the specification defines the schemes `ed25519`, `ecdsa-sha2-nistp256` and `rsassa-pss-sha256`.
        // Existing repositories also use the other schemes below, and the names of the ecdsa schemes as keytypes.
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
        let document = match &algorithm {
            Algorithm::Ed25519(key) => key.material(),
            Algorithm::Ecdsa(key) => key.material(),
            Algorithm::Rsa(key) => key.material(),
        };
        let material = document.map_err(KeyError::invalid)?.into_vec();
        Ok(Self(Arc::new(Parts { algorithm, material })))
    }

    /// Returns the standard keytype: `ed25519`, `ecdsa` or `rsa`.
    #[must_use]
    pub fn keytype(&self) -> &'static str {
        match self.algorithm() {
            Algorithm::Ed25519(_) => "ed25519",
            Algorithm::Ecdsa(_) => "ecdsa",
            Algorithm::Rsa(_) => "rsa",
        }
    }

    /// Returns the scheme, as in the table of [`PublicKey::from_tuf`].
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self.algorithm() {
            Algorithm::Ed25519(_) => "ed25519",
            Algorithm::Ecdsa(key) => key.scheme(),
            Algorithm::Rsa(key) => key.padding().scheme(),
        }
    }

    /// Returns the value of `keyval.public`: 64 lower-case hexadecimal digits for ed25519, otherwise a PEM `PUBLIC KEY`
    /// block with lines of 64 characters and a final line feed.
    #[must_use]
    pub fn public(&self) -> String {
        match self.algorithm() {
            Algorithm::Ed25519(key) => key.to_hex(),
            Algorithm::Ecdsa(_) | Algorithm::Rsa(_) => crate::pem::encode_public(self.material()),
        }
    }

    /// Returns the key material, which is the SubjectPublicKeyInfo in DER (RFC 5280). The point of an ecdsa key
    /// is not compressed.
    #[must_use]
    pub fn material(&self) -> &[u8] {
        &self.0.material
    }

    /// Returns the digest algorithms that [`PublicKey::verify_digest`] accepts for this key. The first algorithm in the
    /// list is the one that the scheme specifies. The list is empty for ed25519, which signs the message itself.
    ///
    /// The list for P-384 also contains SHA-256, because cosign digested files with SHA-256 for every curve until
    /// version 2.6. SHA-256 makes a signature by a P-384 key no easier to forge than a signature by a P-256 key.
    #[must_use]
    pub fn message_digests(&self) -> &'static [MessageDigest] {
        match self.algorithm() {
            Algorithm::Ed25519(_) => &[],
            Algorithm::Ecdsa(EcdsaKey::P256(_)) => &[MessageDigest::Sha256],
            Algorithm::Ecdsa(EcdsaKey::P384(_)) => &[MessageDigest::Sha384, MessageDigest::Sha256],
            Algorithm::Rsa(key) => match key.digest() {
                MessageDigest::Sha256 => &[MessageDigest::Sha256],
                MessageDigest::Sha384 => &[MessageDigest::Sha384],
                MessageDigest::Sha512 => &[MessageDigest::Sha512],
            },
        }
    }

    /// Returns whether `signature` is a valid signature by this key over a message whose digest is `digest`. Returns
    /// `false` if [`PublicKey::message_digests`] does not list `algorithm`. TUF metadata is verified with
    /// [`PublicKey::verify`], which takes the algorithm from the key.
    #[must_use]
    pub fn verify_digest(&self, algorithm: MessageDigest, digest: &[u8], signature: &[u8]) -> bool {
        if !self.message_digests().contains(&algorithm) || digest.len() != algorithm.length() {
            return false;
        }
        match self.algorithm() {
            Algorithm::Ed25519(_) => false,
            Algorithm::Ecdsa(key) => key.is_valid(digest, signature),
            Algorithm::Rsa(key) => key.is_valid(digest, signature),
        }
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
