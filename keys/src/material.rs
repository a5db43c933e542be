//! Compares public keys independently of their encoding. When a repository revokes a key, this comparison finds all
//! entries of the key in metadata, whatever their scheme.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use spki::der::pem::Base64Decoder;

use crate::public::PublicKey;

/// The key material, independent of its representation in metadata.
///
/// The material does not depend on the keytype, the scheme, the encoding (PEM, hexadecimal, base64, DER) or variants of
/// an encoding, such as the length of lines in PEM. So the same key is found even under a scheme whose signatures this
/// crate cannot verify. RSA keys are equal if their moduli are equal, because anyone who can sign with one exponent can
/// sign with all of them. Text in an unknown encoding is compared character by character.
///
/// This comparison is coarser than the equality of [`PublicKey`], and is never used to count signatures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyMaterial(Form);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    /// The modulus of an RSA key, without leading zeros.
    Rsa(Vec<u8>),
    /// A point on an elliptic curve, compressed (SEC 1, 2.3.3). The curve is not recorded, because keys on different
    /// curves practically never have the same bytes by chance.
    Point(Vec<u8>),
    /// The bytes of a key of another kind, such as ed25519.
    Bytes(Vec<u8>),
    /// Text that is not in a known encoding.
    Text(String),
}

impl KeyMaterial {
    /// Returns the material of a key whose `keyval.public` in metadata is `public`. The keytype and the scheme may be
    /// anything.
    #[must_use]
    pub fn of_text(public: &str) -> Self {
        let text = public.trim();
        let bytes = pem(text).or_else(|| hexadecimal(text)).or_else(|| base64(text));
        Self(bytes.map_or_else(|| Form::Text(text.to_string()), |bytes| Form::of_bytes(&bytes)))
    }
}

impl From<&PublicKey> for KeyMaterial {
    fn from(key: &PublicKey) -> Self {
        Self(Form::of_bytes(key.material()))
    }
}

impl fmt::Display for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Rsa(bytes) | Form::Point(bytes) | Form::Bytes(bytes) => f.write_str(&hex::encode(bytes)),
            Form::Text(text) => write!(f, "{}", text.escape_debug()),
        }
    }
}

impl Form {
    fn of_bytes(bytes: &[u8]) -> Self {
        if let Some(form) = Self::of_info(bytes).or_else(|| Self::of_rsa(bytes)) {
            return form;
        }
        Self::of_point(bytes).unwrap_or_else(|| Self::Bytes(bytes.to_vec()))
    }

    /// Reads a SubjectPublicKeyInfo (RFC 5280, 4.1) that consists of an algorithm and a bit string. Any algorithm is
    /// accepted.
    fn of_info(der: &[u8]) -> Option<Self> {
        let info = whole(SEQUENCE, der)?;
        let (_, rest) = element(SEQUENCE, info)?;
        let (bits, rest) = element(BIT_STRING, rest)?;
        let (unused, key) = bits.split_first()?;
        if *unused != 0 || !rest.is_empty() {
            return None;
        }
        Some(Self::of_rsa(key).or_else(|| Self::of_point(key)).unwrap_or_else(|| Self::Bytes(key.to_vec())))
    }

    /// Reads an RSAPublicKey (RFC 8017, A.1.1), which consists of the modulus and the exponent.
    fn of_rsa(der: &[u8]) -> Option<Self> {
        let (modulus, rest) = element(INTEGER, whole(SEQUENCE, der)?)?;
        let (_, rest) = element(INTEGER, rest)?;
        let first = modulus.iter().position(|byte| *byte != 0)?;
        rest.is_empty().then_some(Self::Rsa(modulus.get(first..)?.to_vec()))
    }

    /// Reads a point (SEC 1, 2.3.3) on a curve of 256, 384 or 521 bits. The result is compressed: it contains x and the
    /// sign of y.
    fn of_point(bytes: &[u8]) -> Option<Self> {
        let (kind, coordinates) = bytes.split_first()?;
        let is_length = |length: usize| matches!(length, 32 | 48 | 66);
        let (sign, x) = match kind {
            2 | 3 if is_length(coordinates.len()) => (*kind, coordinates),
            4 | 6 | 7 if is_length(coordinates.len() / 2) && coordinates.len().is_multiple_of(2) => {
                (2 + (coordinates.last()? & 1), coordinates.get(..coordinates.len() / 2)?)
            }
            _ => return None,
        };
        let mut point = alloc::vec![sign];
        point.extend(x);
        Some(Self::Point(point))
    }
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// Returns the content of `der`, which must be a single element with the tag `tag`.
fn whole(tag: u8, der: &[u8]) -> Option<&[u8]> {
    element(tag, der).filter(|(_, rest)| rest.is_empty()).map(|(content, _)| content)
}

/// Returns the content of the first element, which must have the tag `tag`, and the bytes after the element. Lengths
/// with unnecessary bytes are accepted, because other parsers accept them.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    if *found == tag { rest.split_at_checked(length) } else { None }
}

/// Decodes the first PEM block, with any label and line length.
fn pem(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (_, rest) = rest.split_once("-----")?;
    let (content, _) = rest.split_once("-----END ")?;
    base64(content)
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b':').collect();
    let digits = digits.strip_prefix(b"0x").unwrap_or(&digits);
    hex::decode(digits).ok().filter(|bytes| !bytes.is_empty())
}

/// Decodes base64 in the standard or the URL-safe alphabet, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let standard = |byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    };
    let mut padded: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).map(standard).collect();
    while padded.last() == Some(&b'=') {
        padded.pop();
    }
    padded.resize(padded.len().next_multiple_of(4), b'=');
    let mut bytes = Vec::new();
    Base64Decoder::new(&padded).ok()?.decode_to_end(&mut bytes).ok()?;
    if bytes.is_empty() { None } else { Some(bytes) }
}
