//! Reads and writes PEM (RFC 7468) with exactly one block. White space may vary; everything else is strict.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use spki::SubjectPublicKeyInfoRef;
use spki::der::Decode as _;
use spki::der::pem::{Base64Decoder, LineEnding, encode_string};
use zeroize::Zeroizing;

use crate::error::KeyError;

/// The content may be secret.
pub(crate) struct Block<'a> {
    pub(crate) label: &'a str,
    pub(crate) der: Zeroizing<Vec<u8>>,
}

pub(crate) fn decode(text: &str) -> Result<Block<'_>, &'static str> {
    let rest = text.trim_ascii().strip_prefix("-----BEGIN ").ok_or("no PEM block at the start")?;
    let (label, rest) = rest.split_once("-----").ok_or("the first line of the PEM block is invalid")?;
    let content = rest
        .strip_suffix("-----")
        .and_then(|rest| rest.strip_suffix(label))
        .and_then(|rest| rest.strip_suffix("-----END "))
        .ok_or("the PEM block is truncated or followed by other text")?;
    if content.contains("-----") {
        return Err("more than one PEM block");
    }
    let blank = [' ', '\t'];
    let end_of_line = ['\r', '\n'];
    if !content.trim_start_matches(blank).starts_with(end_of_line)
        || !content.trim_end_matches(blank).ends_with(end_of_line)
    {
        return Err("the BEGIN and END markers of the PEM block must be on lines of their own");
    }
    let mut base64 = Zeroizing::new(Vec::with_capacity(content.len()));
    base64.extend(content.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let mut der = Zeroizing::new(Vec::with_capacity(base64.len()));
    Base64Decoder::new(&base64)
        .and_then(|mut decoder| decoder.decode_to_end(&mut der).map(|_| ()))
        .map_err(|_| "the content of the PEM block is not base64")?;
    Ok(Block { label, der })
}

/// Decodes text that consists of one `PUBLIC KEY` block (TUF specification 4.2.2), and returns its DER.
pub(crate) fn decode_public(text: &str) -> Result<Vec<u8>, KeyError> {
    let mut block = decode(text).map_err(KeyError::invalid)?;
    match block.label {
        "PUBLIC KEY" => Ok(core::mem::take(&mut block.der)),
        label if label.ends_with("PRIVATE KEY") => {
            Err(KeyError::invalid("this is a private key; only the public key belongs here"))
        }
        label => Err(KeyError::Invalid(format!("the PEM block must have the label \"PUBLIC KEY\", found {label:?}"))),
    }
}

/// Parses the content of a `PUBLIC KEY` block (RFC 5280, 4.1). Refuses bytes after the key.
pub(crate) fn public_info(der: &[u8]) -> Result<SubjectPublicKeyInfoRef<'_>, KeyError> {
    SubjectPublicKeyInfoRef::from_der(der)
        .map_err(|error| KeyError::Invalid(format!("the PEM block does not contain a public key: {error}")))
}

#[expect(clippy::expect_used, reason = "fails only if the label is not ASCII or if the text does not fit in memory")]
pub(crate) fn encode_public(der: &[u8]) -> String {
    encode_string("PUBLIC KEY", LineEnding::LF, der).expect("the label is ASCII, and `der` is in memory")
}
