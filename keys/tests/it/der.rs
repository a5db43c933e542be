//! Writes DER by hand, so that tests can also write invalid DER.

/// Encodes the length in the shortest form.
pub(crate) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = vec![tag];
    match length {
        0..0x80 => der.push(length as u8),
        0x80..0x100 => der.extend([0x81, length as u8]),
        _ => der.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    der.extend(content);
    der
}

pub(crate) fn sequence(values: &[Vec<u8>]) -> Vec<u8> {
    value(0x30, &values.concat())
}

/// Returns an INTEGER whose content is exactly `bytes`.
pub(crate) fn raw_integer(bytes: &[u8]) -> Vec<u8> {
    value(0x02, bytes)
}

/// Returns a positive INTEGER, with a leading zero if the bytes would otherwise be a negative number.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    match bytes.first() {
        Some(0x80..) => raw_integer(&[&[0], bytes].concat()),
        _ => raw_integer(bytes),
    }
}

/// Returns a BIT STRING of whole bytes.
pub(crate) fn bits(content: &[u8]) -> Vec<u8> {
    value(0x03, &[&[0], content].concat())
}

pub(crate) const NULL: [u8; 2] = [0x05, 0x00];

pub(crate) const RSA_ENCRYPTION: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use spki::der::pem::{LineEnding, encode_string};
    encode_string(label, LineEnding::LF, der).unwrap()
}

pub(crate) fn unpem(pem: &str) -> Vec<u8> {
    spki::der::pem::decode_vec(pem.as_bytes()).unwrap().1
}
