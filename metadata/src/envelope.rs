//! The envelope of every metadata file (TUF specification 4.2.1). It contains `signed`, and the signatures over the
//! canonical form of `signed`.
//!
//! The types show whether metadata is trusted. An [`Envelope`] is not trusted: its signatures have not been verified,
//! and its content has not been parsed. [`Envelope::verify`] converts it into a [`Verified`](crate::Verified), which is
//! trusted.

use alloc::collections::BTreeSet;
use alloc::string::{FromUtf8Error, String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, Range};

use crate::canonical;
use crate::reader::Reader;
use crate::{Error, ErrorKind, Limit, Limits, Location, Role, RoleName, Signature, Unknown};

/// The bytes of a file as they were received. Clones share the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Received(Arc<String>);

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A metadata file whose envelope has been parsed, but whose member `signed` has not.
#[derive(Clone)]
pub struct Envelope<R> {
    received: Received,
    /// The file in canonical form. If `is_canonical` is `false`, this is the received text, which is only assumed to be
    /// canonical.
    canonical: Arc<String>,
    /// Whether `canonical` is known to be canonical. If `false`, the text is checked when `signed` is parsed.
    is_canonical: bool,
    /// The range of `signed` in `canonical`.
    signed: Range<usize>,
    signatures: Vec<Signature>,
    unknown: Unknown,
    role: PhantomData<fn() -> R>,
}

impl<R> Envelope<R> {
    pub(crate) fn read(received: Vec<u8>, most_signatures: u32) -> Result<Self, ErrorKind> {
        // Spec 4.1: the text is UTF-8. It is never normalised.
        let received = Arc::new(String::from_utf8(received).map_err(|error| not_utf8(&error))?);
        match Self::read_published(&received, most_signatures)? {
            Some(envelope) => Ok(envelope),
            None => Self::read_any(received, most_signatures),
        }
    }

    /// Reads a file in the usual published form, in which the signatures come first and `signed` comes last. Returns
    /// `None` if the file has a different form. Assumes that the text is canonical; `ensure_canonical` or
    /// `Verified::of` must check the text later.
    fn read_published(received: &Arc<String>, most_signatures: u32) -> Result<Option<Self>, ErrorKind> {
        // The reader accepts unescaped control characters, because canonical text may contain them. JSON does not allow
        // them in strings, so leave every file that contains control characters to `read_any`.
        let has_controls = |part: &[u8]| part.iter().fold(false, |any, byte| any | (*byte < 0x20));
        if !received.ends_with('}') || received.as_bytes().chunks(4096).any(has_controls) {
            return Ok(None);
        }
        let Some((signatures, start)) = read_head(received, most_signatures)? else { return Ok(None) };
        let envelope = Self {
            received: Received(Arc::clone(received)),
            canonical: Arc::clone(received),
            is_canonical: false,
            signed: start..received.len() - 1,
            signatures,
            unknown: Unknown::new(),
            role: PhantomData,
        };
        Ok(Some(envelope))
    }

    /// Reads a file in any form, by converting it to canonical JSON first.
    fn read_any(received: Arc<String>, most_signatures: u32) -> Result<Self, ErrorKind> {
        let converted = canonical::canonicalize(&received)?;
        let canonical = if converted == *received { Arc::clone(&received) } else { Arc::new(converted) };
        let mut signatures = None;
        let mut signed = None;
        let mut unknown = Unknown::new();
        let mut reader = Reader::new(&canonical);
        reader.object(|name, value| {
            match name {
                "signatures" => signatures = Some(read_signatures(value, most_signatures)?),
                "signed" => {
                    let start = value.position();
                    value.skip()?;
                    signed = Some(start..value.position());
                }
                // POUF A21: no signature covers the other members of the envelope, so they are preserved, but not used.
                _ => value.keep(name, &mut unknown)?,
            }
            Ok(())
        })?;
        reader.end()?;
        // Spec 4.2.1: `signed` and `signatures` are required.
        let signed = signed.ok_or_else(|| ErrorKind::missing("signed"))?;
        let signatures = signatures.ok_or_else(|| ErrorKind::missing("signatures"))?;
        Ok(Self {
            received: Received(received),
            canonical,
            is_canonical: true,
            signed,
            signatures,
            unknown,
            role: PhantomData,
        })
    }

    /// Reads the file again, from a canonical copy. Returns `None` if the text is already known to be canonical, or if
    /// the copy contains the same `signed`.
    pub(crate) fn into_canonical(self) -> Result<Option<Self>, ErrorKind> {
        if self.is_canonical {
            return Ok(None);
        }
        let other = Self::read_any(Arc::clone(&self.received.0), self.signatures_limit())?;
        Ok(if other.signed() == self.signed() { None } else { Some(other) })
    }

    /// Returns the number of signatures, to be used as their limit when the same file is read again. The limit of the
    /// first reading is not stored.
    fn signatures_limit(&self) -> u32 {
        u32::try_from(self.signatures.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn received(&self) -> &Received {
        &self.received
    }

    /// Returns the signatures as received, valid or not. No key ID occurs twice.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Returns the text that the signatures cover: the canonical form of the received member `signed` (TUF
    /// specification 4.1).
    #[must_use]
    #[expect(clippy::expect_used, reason = "the range was found in this text, which never changes")]
    pub fn signed(&self) -> &str {
        self.canonical.get(self.signed.clone()).expect("a range of the text")
    }

    /// Returns the file with `signature` added, replacing any signature with the same key ID.
    #[must_use]
    pub fn with_signature(&self, signature: Signature) -> Vec<u8> {
        let mut signatures = self.signatures.clone();
        signatures.retain(|other| other.keyid != signature.keyid);
        signatures.push(signature);
        write(self.signed(), &signatures, &self.unknown)
    }
}

impl<R: Role> Envelope<R> {
    /// Reads the envelope of a metadata file of `role`. Refuses a file that has more signatures than
    /// [`Limits::default`] allows.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`], [`ErrorKind::DuplicateSignature`] or [`ErrorKind::LimitReached`].
    pub fn parse(role: &RoleName, received: Vec<u8>) -> Result<Self, Error> {
        let envelope = Self::read(received, Limits::default().signatures);
        envelope.and_then(Self::ensure_canonical).map_err(|kind| kind.of(role))
    }

    /// Ensures that `signed` is canonical. Call this for a file that may be shown or signed without being verified
    /// first. For other files, verification checks that `signed` is canonical.
    pub(crate) fn ensure_canonical(self) -> Result<Self, ErrorKind> {
        let mut reader = Reader::nested_at(&self.canonical, self.signed.start, 1);
        if self.is_canonical || (reader.skip().is_ok() && reader.position() == self.signed.end) {
            return Ok(Self { is_canonical: true, ..self });
        }
        let most_signatures = self.signatures_limit();
        Self::read_any(self.received.0, most_signatures)
    }

    /// Returns the content without verifying any signature, so that it can be shown to a person who is asked to sign
    /// it.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`], [`ErrorKind::WrongType`] or [`ErrorKind::UnsupportedSpecVersion`].
    pub fn unverified(&self, role: &RoleName) -> Result<R, Error> {
        self.content().map_err(|kind| kind.of(role))
    }

    /// Parses `signed`. The values are read from the same text that the signatures cover (TUF specification 4.1).
    pub(crate) fn content(&self) -> Result<R, ErrorKind> {
        let mut reader = Reader::nested_at(&self.canonical, self.signed.start, 1);
        let content = R::read(&mut reader, &self.canonical).map_err(|kind| kind.within("signed"))?;
        if reader.position() != self.signed.end {
            return Err(reader.expected("the end of the text").within("signed"));
        }
        Ok(content)
    }
}

#[cold]
fn not_utf8(error: &FromUtf8Error) -> ErrorKind {
    let bytes = error.as_bytes();
    let offset = error.utf8_error().valid_up_to();
    let byte = bytes.get(offset).copied().unwrap_or_default();
    let found = alloc::format!("the byte 0x{byte:02x}");
    ErrorKind::expected("UTF-8 text").but_found(found).at(Location::of_offset(bytes, offset))
}

/// Returns a metadata file with `signed` and `signatures`, as valid JSON without whitespace.
///
/// `signed` must be canonical, like the text that [`Role::write`] returns.
#[must_use]
pub fn assemble(signed: &str, signatures: &[Signature]) -> Vec<u8> {
    write(signed, signatures, &Unknown::new())
}

fn write(signed: &str, signatures: &[Signature], unknown: &Unknown) -> Vec<u8> {
    let signatures = canonical::array(signatures.iter().map(Signature::write));
    let file = canonical::object([("signatures", signatures), ("signed", signed.to_string())], unknown);
    canonical::printable(&file).into_owned().into_bytes()
}

const BEFORE: &str = "{\"signatures\":";
const BETWEEN: &str = ",\"signed\":";

/// Returns the signatures at the beginning of a published file and the position of `signed`, or `None` if the file has
/// a different form.
pub(crate) fn read_head(text: &str, most_signatures: u32) -> Result<Option<(Vec<Signature>, usize)>, ErrorKind> {
    if !text.starts_with(BEFORE) {
        return Ok(None);
    }
    let mut reader = Reader::nested_at(text, BEFORE.len(), 1);
    let signatures = match read_signatures(&mut reader, most_signatures) {
        Ok(signatures) => signatures,
        // If the text is not canonical, `read_any` decides whether it is a valid metadata file.
        Err(ErrorKind::Malformed { .. }) => return Ok(None),
        Err(kind) => return Err(kind),
    };
    let follows = text.get(reader.position()..).is_some_and(|after| after.starts_with(BETWEEN));
    Ok(follows.then(|| (signatures, reader.position() + BETWEEN.len())))
}

fn read_signatures(reader: &mut Reader<'_>, most: u32) -> Result<Vec<Signature>, ErrorKind> {
    let mut signatures = Vec::new();
    let mut seen = BTreeSet::new();
    reader.array(|value| {
        if signatures.len() >= most as usize {
            return Err(ErrorKind::LimitReached { limit: Limit::Signatures, value: most.into() });
        }
        let signature = Signature::read(value)?;
        // Spec 4.2.1, POUF A1: each key ID may occur at most once, even if one of its signatures is invalid.
        if !seen.insert(signature.keyid.clone()) {
            return Err(ErrorKind::DuplicateSignature(signature.keyid));
        }
        signatures.push(signature);
        Ok(())
    })?;
    Ok(signatures)
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::{KeyId, Timestamp};

    const FILE: &str = r#"{"signatures":[{"keyid":"k","sig":"00"}],"signed":{"_type":"timestamp","expires":"2030-01-01T00:00:00Z","meta":{"snapshot.json":{"version":1}},"spec_version":"1.0","version":7,"x":[-1,{"\"":"\\"}]},"z":"a b"}"#;

    fn read(text: &str) -> Result<Envelope<Timestamp>, ErrorKind> {
        Envelope::read(text.as_bytes().to_vec(), 16).and_then(Envelope::ensure_canonical)
    }

    #[test]
    fn canonical_files_are_read_in_place_and_others_from_a_copy() {
        let verbatim = read(FILE).unwrap();
        assert!(Arc::ptr_eq(&verbatim.received.0, &verbatim.canonical));
        let signed = FILE.find("{\"_type").unwrap()..FILE.find(",\"z\"").unwrap();
        assert_eq!(verbatim.signed(), &FILE[signed]);
        let content = verbatim.content().unwrap();
        for (from, to) in [
            (":7", ": 7"),
            ("\"version\":7", "\"\\u0076ersion\":7"),
            ("\"x\":[-1,{\"\\\"\":\"\\\\\"}]", "\"x\":[-1,{\"\\u0022\":\"\\u005c\"}]"),
            ("\"spec_version\":\"1.0\",\"version\":7", "\"version\":7,\"spec_version\":\"1.0\""),
            (
                "{\"signatures\":[{\"keyid\":\"k\",\"sig\":\"00\"}],",
                "\n{\"signatures\":[{\"sig\":\"00\",\"keyid\":\"k\"}],",
            ),
        ] {
            let text = FILE.replace(from, to);
            assert_ne!(text, FILE);
            let copied = read(&text).unwrap();
            assert!(!Arc::ptr_eq(&copied.received.0, &copied.canonical), "{text}");
            assert_eq!((copied.signed(), &copied.content().unwrap()), (verbatim.signed(), &content), "{text}");
            assert_eq!((copied.signatures, copied.unknown), (verbatim.signatures.clone(), verbatim.unknown.clone()));
        }
    }

    #[test]
    fn f_cj_every_changed_byte_has_the_same_result_without_the_short_cut() {
        for at in 0..FILE.len() {
            for byte in (0..0x20).chain([b' ', b'"', b'\\', b',', b':', b'{', b'}', b'[', b']', b'-', b'0', b'9', b'a'])
            {
                let mut bytes = FILE.as_bytes().to_vec();
                bytes[at] = byte;
                let text = String::from_utf8(bytes).unwrap();
                let Ok(envelope) = read(&text) else { continue };
                assert_eq!(*envelope.canonical, canonical::canonicalize(&text).unwrap(), "{text}");
            }
        }
    }

    #[test]
    fn f_cj_any_number_of_raw_control_characters_is_refused() {
        for controls in ["\n", "\n\n", "\t\u{1}\n", "\u{1f}\u{1f}"] {
            assert!(matches!(read(&FILE.replace("a b", controls)), Err(ErrorKind::Malformed { .. })), "{controls:?}");
            // Apart from the unescaped control characters, this file has the form of a published file.
            let published = FILE.replace(",\"z\":\"a b\"", "").replace("_type\":\"", &format!("_type\":\"{controls}"));
            assert!(matches!(read(&published), Err(ErrorKind::Malformed { .. })), "{published:?}");
        }
    }

    #[test]
    fn a_signature_replaces_only_the_signature_of_its_key() {
        let one = |keyid, byte| Signature::new(KeyId::new(keyid), alloc::vec![byte]);
        let once = read(FILE).unwrap().with_signature(one("l", 1));
        let twice = Envelope::<Timestamp>::read(once, 16).unwrap().with_signature(one("k", 2));
        assert_eq!(Envelope::<Timestamp>::read(twice, 16).unwrap().signatures(), [one("l", 1), one("k", 2)]);
    }

    #[test]
    fn f_cj_invalid_utf_8_is_refused() {
        for bad in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80"] {
            let (before, after) = FILE.split_at(FILE.find("timestamp").unwrap());
            let bytes = [before.as_bytes(), bad, after.as_bytes()].concat();
            assert!(matches!(Envelope::<Timestamp>::read(bytes, 16), Err(ErrorKind::Malformed { .. })));
        }
    }
}
