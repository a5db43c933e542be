//! Recognizes private keys in DER by their structure (RFC 5208, 5915, 5958, 7292, 8017).

/// The maximum length of a key in DER, in bytes. PKCS#12 files may be longer, because they also contain certificates.
const MAX_KEY_LENGTH: u64 = 64 * 1024;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// The object identifiers of encryption with a pass-phrase: 1.2.840.113549.1.5 (PKCS#5) and 1.2.840.113549.1.12.1
/// (PKCS#12).
const BY_PASS_PHRASE: [&[u8]; 2] = [b"\x2a\x86\x48\x86\xf7\x0d\x01\x05", b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01"];
/// The object identifier of the content of PKCS#12 files, 1.2.840.113549.1.7.
const PKCS7: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07";

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
}

/// Recognizes a file that contains a private key, and returns a description of the key's format. `head` contains the
/// first bytes of the file, and `length` is the length of the whole file.
pub(crate) fn private_key(head: &[u8], length: u64) -> Option<&'static str> {
    // Some tools write PKCS#12 files in BER with an indefinite length.
    if let Some(content) = head.strip_prefix(b"\x30\x80") {
        return is_pkcs12(content).then_some("a PKCS#12 key store");
    }
    if head.first() != Some(&SEQUENCE) {
        return None;
    }
    let (header, declared) = header(head)?;
    // In a DER file, the length of the header and the declared length of the content add up to the length of the file.
    if header as u64 + declared != length {
        return None;
    }
    let content = head.get(header..)?;
    if is_pkcs12(content) {
        return Some("a PKCS#12 key store");
    }
    if length > MAX_KEY_LENGTH {
        return None;
    }
    let elements = elements(content);
    let tags: Vec<u8> = elements.iter().map(|element| element.tag).collect();
    let version = elements.first().filter(|first| first.tag == INTEGER).map(|first| first.content);
    match (version, tags.as_slice()) {
        (Some([0 | 1]), [_, SEQUENCE, OCTET_STRING, ..]) if begins_with_id(elements.get(1), &[]) => {
            Some("a private key in DER (PKCS#8)")
        }
        (Some([1]), [_, OCTET_STRING, 0xa0 | 0xa1, ..] | [_, OCTET_STRING]) => Some("a private key in DER (SEC 1)"),
        (Some([0 | 1]), [_, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, ..]) => {
            Some("a private key in DER (PKCS#1 or DSA)")
        }
        (None, [SEQUENCE, OCTET_STRING]) if begins_with_id(elements.first(), &BY_PASS_PHRASE) => {
            Some("an encrypted private key in DER (PKCS#8)")
        }
        _ => None,
    }
}

/// Returns whether a sequence with the content `content` is a PKCS#12 file, which begins with the version 3 and a
/// PKCS#7 content type.
fn is_pkcs12(content: &[u8]) -> bool {
    let Some(content) = content.strip_prefix(&[INTEGER, 1, 3]) else { return false };
    let inner = match content {
        [SEQUENCE, 0x80, inner @ ..] => inner,
        [SEQUENCE, ..] => header(content).and_then(|(header, _)| content.get(header..)).unwrap_or_default(),
        _ => return false,
    };
    matches!(inner, [OBJECT_ID, 9, id @ ..] if id.starts_with(PKCS7))
}

/// Returns whether a sequence starts with an object identifier that begins with one of the prefixes. If `prefixes` is
/// empty, any object identifier is accepted.
fn begins_with_id(sequence: Option<&Element<'_>>, prefixes: &[&[u8]]) -> bool {
    let first = sequence.and_then(|sequence| elements(sequence.content).into_iter().next());
    first.is_some_and(|id| {
        id.tag == OBJECT_ID && (prefixes.is_empty() || prefixes.iter().any(|prefix| id.content.starts_with(prefix)))
    })
}

/// Returns the first 16 elements of a sequence. If an element is invalid or incomplete, the list ends with an element
/// that has the tag 0.
fn elements(mut content: &[u8]) -> Vec<Element<'_>> {
    let mut elements = Vec::new();
    while let (Some(tag), true) = (content.first(), elements.len() < 16) {
        let found = header(content).and_then(|(header, length)| {
            let end = header.checked_add(usize::try_from(length).ok()?)?;
            Some((content.get(header..end)?, content.get(end..)?))
        });
        let Some((inner, rest)) = found else {
            elements.push(Element { tag: 0, content: &[] });
            break;
        };
        elements.push(Element { tag: *tag, content: inner });
        content = rest;
    }
    elements
}

/// Returns the length of the header (the tag and the length field) and the length of the content.
fn header(bytes: &[u8]) -> Option<(usize, u64)> {
    let first = *bytes.get(1)?;
    if first < 0x80 {
        return Some((2, u64::from(first)));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return None;
    }
    let digits = bytes.get(2..2 + count)?;
    Some((2 + count, digits.iter().fold(0, |length, digit| length << 8 | u64::from(*digit))))
}
