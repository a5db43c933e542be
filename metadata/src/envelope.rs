//! The envelope of every metadata file (spec 4.2.1): `signed`, and the signatures over its canonical form.
//!
//! Trust is a type: an [`Envelope`] is parsed and not yet trusted, [`Verified`] is made by [`Envelope::verify`]
//! and nowhere else.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, Range};

use crate::canonical;
use crate::reader::Reader;
use crate::{Error, ErrorKind, Json, KeyId, KeyRing, Role, RoleName, Unknown};

/// One signature. Whether it is valid, a [`KeyRing`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The key that is said to have signed.
    pub keyid: KeyId,
    /// The signature's bytes; empty where the text was not hexadecimal, which is a signature that is never valid.
    pub sig: Vec<u8>,
    /// Other members, preserved.
    pub unknown: Unknown,
}

impl Signature {
    /// A signature by the key that `keyid` names.
    #[must_use]
    pub fn new(keyid: KeyId, sig: Vec<u8>) -> Self {
        Self { keyid, sig, unknown: Unknown::new() }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ErrorKind> {
        let (mut keyid, mut sig, mut unknown) = (None, None, Unknown::new());
        reader.object(|name, value| {
            match name {
                "keyid" => keyid = Some(KeyId::new(value.string()?)),
                "sig" => sig = Some(hex::decode(value.string()?.as_bytes()).unwrap_or_default()),
                _ => {
                    unknown.insert(name.to_string(), Json::from_canonical(value.skip()?));
                }
            }
            Ok(())
        })?;
        match (keyid, sig) {
            (Some(keyid), Some(sig)) => Ok(Self { keyid, sig, unknown }),
            _ => Err(ErrorKind::expected("a signature with keyid and sig")),
        }
    }

    fn write(&self) -> String {
        let members =
            [("keyid", canonical::string(self.keyid.as_str())), ("sig", canonical::string(&hex::encode(&self.sig)))];
        canonical::object(members, &self.unknown)
    }
}

/// The bytes of a file as they were received; clones share them.
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

/// A metadata file that has been read and not yet verified: nothing in it can be used.
#[derive(Clone)]
pub struct Envelope<R> {
    received: Received,
    /// The canonical form of the file: what was received, wherever that is canonical already.
    canonical: Arc<String>,
    /// Where `signed` stands in it.
    signed: Range<usize>,
    signatures: Vec<Signature>,
    unknown: Unknown,
    content: R,
}

impl<R: Role> Envelope<R> {
    /// Reads the bytes of a file of the role `role`.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`], [`ErrorKind::WrongType`], [`ErrorKind::UnsupportedSpecVersion`] and
    /// [`ErrorKind::DuplicateSignature`], about `role`.
    pub fn parse(role: &RoleName, received: Vec<u8>) -> Result<Self, Error> {
        Self::read(received).map_err(|kind| kind.of(role))
    }

    fn read(received: Vec<u8>) -> Result<Self, ErrorKind> {
        let received = String::from_utf8(received).map_err(|error| ErrorKind::Malformed(error.to_string()))?;
        let received = Arc::new(received);
        // Most files are published in canonical form. Control characters are raw in canonical text and escaped in JSON.
        let has_controls = |part: &[u8]| part.iter().fold(false, |any, byte| any | (*byte < 0x20));
        let may_be_canonical = !received.as_bytes().chunks(4096).any(has_controls);
        if let Some(envelope) = may_be_canonical.then(|| Self::read_canonical(&received, &received).ok()).flatten() {
            return Ok(envelope);
        }
        let canonical = Arc::new(canonical::canonicalize(&received)?);
        Self::read_canonical(&received, &canonical)
    }

    fn read_canonical(received: &Arc<String>, canonical: &Arc<String>) -> Result<Self, ErrorKind> {
        let (mut signatures, mut signed, mut unknown) = (None, None, Unknown::new());
        let mut reader = Reader::new(canonical);
        reader.object(|name, value| {
            match name {
                "signatures" => signatures = Some(read_signatures(value)?),
                "signed" => {
                    let start = value.position();
                    let content = R::read(value, canonical)?;
                    signed = Some((start..value.position(), content));
                }
                _ => {
                    unknown.insert(name.to_string(), Json::from_canonical(value.skip()?));
                }
            }
            Ok(())
        })?;
        reader.end()?;
        let missing = |member| ErrorKind::Malformed(format!("no member `{member}`"));
        let (signed, content) = signed.ok_or_else(|| missing("signed"))?;
        let signatures = signatures.ok_or_else(|| missing("signatures"))?;
        let (received, canonical) = (Received(Arc::clone(received)), Arc::clone(canonical));
        Ok(Self { received, canonical, signed, signatures, unknown, content })
    }

    /// Verifies the file against what its delegator says about `role` — and a root also against itself (5.3.4).
    ///
    /// # Errors
    /// [`ErrorKind::ThresholdNotMet`] about `role`.
    pub fn verify(self, role: &RoleName, ring: &KeyRing) -> Result<Verified<R>, Error> {
        for ring in [Some(ring), self.content.own_key_ring().as_ref()].into_iter().flatten() {
            ring.check(self.signed(), &self.signatures).map_err(|kind| kind.of(role))?;
        }
        Ok(Verified(self))
    }

    /// The signatures as received, each key id once.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The canonical bytes that signatures cover.
    #[must_use]
    pub fn signed(&self) -> &[u8] {
        self.signed_text().as_bytes()
    }

    fn signed_text(&self) -> &str {
        self.canonical.get(self.signed.clone()).unwrap_or_default()
    }

    /// What the file says, though nobody has vouched for it: for showing to a person who is to sign it.
    #[must_use]
    pub fn unverified(&self) -> &R {
        &self.content
    }

    /// The file with one more signature, which replaces one of the same key id.
    #[must_use]
    pub fn with_signature(&self, signature: Signature) -> Vec<u8> {
        let mut signatures = self.signatures.clone();
        signatures.retain(|other| other.keyid != signature.keyid);
        signatures.push(signature);
        write(self.signed_text(), &signatures, &self.unknown)
    }
}

/// Metadata that a threshold of the right keys has signed. It derefs to what it says.
pub struct Verified<R>(Envelope<R>);

impl<R: Role> Verified<R> {
    /// The file as it was received, byte for byte.
    #[must_use]
    pub fn bytes(&self) -> &Received {
        &self.0.received
    }

    /// The canonical bytes that signatures cover.
    #[must_use]
    pub fn signed(&self) -> &[u8] {
        self.0.signed()
    }

    /// The signatures as received; valid ones and others.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.0.signatures
    }

    /// Verifies the same file against another ring.
    ///
    /// # Errors
    /// [`ErrorKind::ThresholdNotMet`] about `role`.
    pub fn verify(&self, role: &RoleName, ring: &KeyRing) -> Result<(), Error> {
        ring.check(self.signed(), &self.0.signatures).map_err(|kind| kind.of(role))
    }
}

impl<R> Deref for Verified<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.0.content
    }
}

impl<R: Clone> Clone for Verified<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: fmt::Debug> fmt::Debug for Verified<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verified").field(&self.0.content).finish()
    }
}

/// The file as it is published: valid JSON without whitespace, `signed` in canonical form.
///
/// `signed` must be canonical, as [`Role::write`] makes it.
#[must_use]
pub fn assemble(signed: &str, signatures: &[Signature]) -> Vec<u8> {
    write(signed, signatures, &Unknown::new())
}

fn write(signed: &str, signatures: &[Signature], unknown: &Unknown) -> Vec<u8> {
    let signatures = canonical::array(signatures.iter().map(Signature::write));
    let file = canonical::object([("signatures", signatures), ("signed", signed.to_string())], unknown);
    canonical::printable(&file).into_owned().into_bytes()
}

pub(crate) fn read_signatures(reader: &mut Reader<'_>) -> Result<Vec<Signature>, ErrorKind> {
    let mut signatures = Vec::new();
    let mut seen = BTreeSet::new();
    reader.array(|value| {
        let signature = Signature::read(value)?;
        // 4.2.1: a key id at most once.
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
    use super::*;
    use crate::Timestamp;

    const FILE: &str = r#"{"signatures":[{"keyid":"k","sig":"00"}],"signed":{"_type":"timestamp","expires":"2030-01-01T00:00:00Z","meta":{"snapshot.json":{"version":1}},"spec_version":"1.0","version":7,"x":[-1,{"\"":"\\"}]},"z":"a b"}"#;

    fn read(text: &str) -> Result<Envelope<Timestamp>, ErrorKind> {
        Envelope::read(text.as_bytes().to_vec())
    }

    #[test]
    fn canonical_files_are_read_where_they_are_and_others_from_a_copy() {
        let verbatim = read(FILE).unwrap();
        assert!(Arc::ptr_eq(&verbatim.received.0, &verbatim.canonical));
        let signed = FILE.find("{\"_type").unwrap()..FILE.find(",\"z\"").unwrap();
        assert_eq!(verbatim.signed(), FILE[signed].as_bytes());
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
            assert_eq!((copied.signed(), &copied.content), (verbatim.signed(), &verbatim.content), "{text}");
            assert_eq!((copied.signatures, copied.unknown), (verbatim.signatures.clone(), verbatim.unknown.clone()));
        }
    }

    #[test]
    fn f_cj_every_change_of_one_byte_is_judged_as_if_there_were_no_short_cut() {
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
    fn f_cj_raw_control_characters_are_refused_however_many() {
        for controls in ["\n", "\n\n", "\t\u{1}\n", "\u{1f}\u{1f}"] {
            assert!(matches!(read(&FILE.replace("a b", controls)), Err(ErrorKind::Malformed(_))), "{controls:?}");
        }
    }

    #[test]
    fn a_signature_replaces_the_one_of_its_key_and_no_other() {
        let one = |keyid, byte| Signature::new(KeyId::new(keyid), alloc::vec![byte]);
        let once = read(FILE).unwrap().with_signature(one("l", 1));
        let twice = Envelope::<Timestamp>::read(once).unwrap().with_signature(one("k", 2));
        assert_eq!(Envelope::<Timestamp>::read(twice).unwrap().signatures(), [one("l", 1), one("k", 2)]);
    }

    #[test]
    fn f_cj_what_is_not_utf_8_is_refused() {
        for bad in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80"] {
            let (before, after) = FILE.split_at(FILE.find("timestamp").unwrap());
            let bytes = [before.as_bytes(), bad, after.as_bytes()].concat();
            assert!(matches!(Envelope::<Timestamp>::read(bytes), Err(ErrorKind::Malformed(_))));
        }
    }
}
