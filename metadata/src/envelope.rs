//! The envelope of every metadata file (spec 4.2.1): `signed`, and the signatures over its canonical form.
//!
//! Trust is a type: an [`Envelope`] is parsed and not yet trusted, [`Verified`] is made by [`Envelope::verify`]
//! and nowhere else.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use crate::canonical::{self, Canonical};
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
                    unknown.insert(name.to_string(), Json::from_canonical(value.skip()));
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

/// A metadata file that has been read and not yet verified: nothing in it can be used.
#[derive(Clone)]
pub struct Envelope<R> {
    received: Arc<Vec<u8>>,
    signed: Arc<String>,
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
        let mut parts = canonical::read_document(&received, Parts)?;
        let signed = parts.remove("signed").ok_or_else(|| ErrorKind::Malformed("no member `signed`".to_string()))?;
        let signatures =
            parts.remove("signatures").ok_or_else(|| ErrorKind::Malformed("no member `signatures`".to_string()))?;
        let signatures = read_signatures(&signatures).map_err(|error| error.within("signatures"))?;
        let unknown = parts.into_iter().map(|(name, value)| (name, Json::from_canonical(&value))).collect();
        let signed = Arc::new(signed);
        let content = R::read(&signed).map_err(|error| error.within("signed"))?;
        Ok(Self { received: Arc::new(received), signed, signatures, unknown, content })
    }

    /// Verifies the file against what its delegator says about `role` — and a root also against itself (5.3.4).
    ///
    /// # Errors
    /// [`ErrorKind::ThresholdNotMet`] about `role`.
    pub fn verify(self, role: &RoleName, ring: &KeyRing) -> Result<Verified<R>, Error> {
        for ring in [Some(ring), self.content.own_key_ring().as_ref()].into_iter().flatten() {
            ring.check(self.signed.as_bytes(), &self.signatures).map_err(|kind| kind.of(role))?;
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
        self.signed.as_bytes()
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
        write(self.signed.as_str(), &signatures, &self.unknown)
    }
}

/// Metadata that a threshold of the right keys has signed. It derefs to what it says.
pub struct Verified<R>(Envelope<R>);

impl<R: Role> Verified<R> {
    /// The file as it was received, byte for byte.
    #[must_use]
    pub fn bytes(&self) -> &Arc<Vec<u8>> {
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

fn read_signatures(canonical: &str) -> Result<Vec<Signature>, ErrorKind> {
    let mut signatures = Vec::new();
    let mut seen = BTreeSet::new();
    Reader::new(canonical).array(|value| {
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

/// The members of the envelope, each in canonical form.
struct Parts;

impl<'de> DeserializeSeed<'de> for Parts {
    type Value = BTreeMap<String, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Parts {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `signed` and `signatures`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut parts = BTreeMap::new();
        while let Some(name) = members.next_key::<String>()? {
            let mut value = String::new();
            members.next_value_seed(Canonical::below_the_top(&mut value))?;
            if parts.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate member"));
            }
        }
        Ok(parts)
    }
}
