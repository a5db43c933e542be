//! Reads public keys in the formats of other tools: PEM (RFC 7468, 8017), certificates (RFC 5280) and OpenSSH (RFC
//! 4253, 5656, 8709). Only the key is read from a certificate; nothing else in the certificate is read or verified.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use pkcs8::ObjectIdentifier;
use spki::der::pem::Base64Decoder;

use crate::{KeyError, PublicKey, pem};

/// `id-Ed25519` (RFC 8410, 3).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// `rsaEncryption` with its parameters (RFC 8017, A.1).
const RSA_ENCRYPTION: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
/// The tag `[0]` of the optional version in a certificate.
const VERSION: u8 = 0xa0;

impl PublicKey {
    /// Reads a public key in PEM (`PUBLIC KEY`, `RSA PUBLIC KEY`), in a PEM certificate, or in the one-line format of
    /// OpenSSH. RSA keys get the scheme `rsassa-pss-sha256`.
    ///
    /// # Errors
    /// [`KeyError`] for any other text, and for keys that [`PublicKey::from_tuf`] refuses.
    pub fn from_text(text: &str) -> Result<PublicKey, KeyError> {
        let text = text.trim_ascii();
        if !text.starts_with("-----BEGIN ") {
            return open_ssh(text);
        }
        let block = pem::decode(text).map_err(KeyError::invalid)?;
        match block.label {
            "PUBLIC KEY" => from_spki(&block.der),
            "RSA PUBLIC KEY" => from_spki(&rsa_info(&block.der)),
            "CERTIFICATE" => {
                let info = certified(&block.der);
                from_spki(info.ok_or_else(|| KeyError::invalid("the certificate is invalid"))?)
            }
            label if label.ends_with("PRIVATE KEY") => {
                Err(KeyError::invalid("this is a private key; only the public key belongs here"))
            }
            label => Err(KeyError::Invalid(format!(
                "the PEM block must be a public key or a certificate, found \"{}\"",
                label.escape_debug()
            ))),
        }
    }
}

fn from_spki(der: &[u8]) -> Result<PublicKey, KeyError> {
    let info = pem::public_info(der)?;
    if info.algorithm.oid == ED25519 {
        let point = info.subject_public_key.as_bytes().unwrap_or_default();
        return PublicKey::from_tuf("ed25519", "ed25519", &hex::encode(point));
    }
    let text = pem::encode_public(der);
    let schemes = [("ecdsa", "ecdsa-sha2-nistp256"), ("ecdsa", "ecdsa-sha2-nistp384")];
    let ecdsa = schemes.iter().find_map(|(keytype, scheme)| PublicKey::from_tuf(keytype, scheme, &text).ok());
    match ecdsa {
        Some(key) => Ok(key),
        None => PublicKey::from_tuf("rsa", "rsassa-pss-sha256", &text).map_err(|error| match error {
            KeyError::Invalid(reason) if reason.starts_with("the key does not match") => KeyError::Invalid(format!(
                "keys of the algorithm {} are not supported; use ed25519, ecdsa-p256, ecdsa-p384 or rsa",
                info.algorithm.oid
            )),
            error => error,
        }),
    }
}

/// The line consists of a type, the key in base64, and a comment.
fn open_ssh(line: &str) -> Result<PublicKey, KeyError> {
    let unknown = || KeyError::invalid("is neither a public key in PEM, JSON or OpenSSH format, nor a certificate");
    let mut words = line.split_ascii_whitespace();
    let (kind, base64) = words.next().zip(words.next()).ok_or_else(unknown)?;
    if !["ssh-", "ecdsa-", "sk-"].iter().any(|start| kind.starts_with(start)) {
        return Err(unknown());
    }
    let broken = || KeyError::invalid("the OpenSSH key is invalid");
    if line.contains('\n') {
        return Err(KeyError::invalid("the file has more than one OpenSSH key"));
    }
    let mut blob = Vec::new();
    Base64Decoder::new(base64.as_bytes())
        .and_then(|mut decoder| decoder.decode_to_end(&mut blob).map(|_| ()))
        .map_err(|_| broken())?;
    let mut parts = Vec::new();
    let mut rest = blob.as_slice();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| broken())?;
        parts.push(after.get(..length).ok_or_else(broken)?);
        rest = after.get(length..).unwrap_or_default();
    }
    if !rest.is_empty() || parts.first() != Some(&kind.as_bytes()) {
        return Err(broken());
    }
    match (kind, parts.as_slice()) {
        ("ssh-ed25519", [_, point]) => PublicKey::from_tuf("ed25519", "ed25519", &hex::encode(point)),
        ("ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384", [_, curve, point]) if kind.as_bytes().ends_with(curve) => {
            PublicKey::from_tuf("ecdsa", kind, &hex::encode(point))
        }
        ("ssh-rsa", [_, exponent, modulus]) => {
            let numbers = [element(INTEGER, modulus), element(INTEGER, exponent)].concat();
            from_spki(&rsa_info(&element(SEQUENCE, &numbers)))
        }
        ("ssh-ed25519" | "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ssh-rsa", _) => Err(broken()),
        _ => Err(KeyError::Unsupported { keytype: kind.to_string(), scheme: kind.to_string() }),
    }
}

/// Returns the SubjectPublicKeyInfo for an RSAPublicKey.
fn rsa_info(key: &[u8]) -> Vec<u8> {
    let bits = [&[0], key].concat();
    element(SEQUENCE, &[RSA_ENCRYPTION, element(BIT_STRING, &bits).as_slice()].concat())
}

/// Returns the SubjectPublicKeyInfo of a certificate (RFC 5280, 4.1).
fn certified(der: &[u8]) -> Option<&[u8]> {
    let certificate = split(der).filter(|certificate| certificate.tag == SEQUENCE && certificate.rest.is_empty())?;
    let to_be_signed = split(certificate.content).filter(|signed| signed.tag == SEQUENCE)?;
    let mut rest = to_be_signed.content;
    let first = split(rest)?;
    if first.tag == VERSION {
        rest = first.rest;
    }
    // Skip the serial number, the signature algorithm, the issuer, the validity and the subject.
    for expected in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        rest = split(rest).filter(|skipped| skipped.tag == expected)?.rest;
    }
    let info = split(rest).filter(|info| info.tag == SEQUENCE)?;
    rest.get(..rest.len() - info.rest.len())
}

/// A DER element, and the bytes after it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

fn split(der: &[u8]) -> Option<Element<'_>> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..=0x7f => (short, rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes(*rest.first_chunk::<2>()?)), rest.get(2..)?),
        _ => return None,
    };
    Some(Element { tag: *tag, content: rest.get(..length)?, rest: rest.get(length..)? })
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = Vec::from([tag]);
    let length = content.len().to_be_bytes();
    let significant = length.iter().position(|byte| *byte != 0).and_then(|at| length.get(at..)).unwrap_or(&[0]);
    if let (true, [short]) = (content.len() < 0x80, significant) {
        der.push(*short);
    } else {
        #[expect(clippy::expect_used, reason = "a length has at most 8 bytes")]
        der.push(0x80 | u8::try_from(significant.len()).expect("at most 8"));
        der.extend(significant);
    }
    der.extend(content);
    der
}
