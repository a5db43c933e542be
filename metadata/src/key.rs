//! Keys as metadata writes them (spec 4.2.2), and the one place where signatures are counted.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

use lastmile_keys::{KeyError, KeyMaterial, PublicKey, SignatureChecks};
use sha2::{Digest, Sha256};

use crate::canonical;
use crate::changes::member;
use crate::reader::Reader;
use crate::{ErrorKind, Json, Signature};

/// Names a key within one file: opaque text (TAP 12), by convention the hash of the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// Any text is a key id.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_debug())
    }
}

/// How many distinct keys must sign: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Threshold(NonZeroU32);

impl Threshold {
    /// One key is enough.
    pub const ONE: Self = Self(NonZeroU32::MIN);

    /// The threshold, if it is at least one.
    #[must_use]
    pub fn new(threshold: u32) -> Option<Self> {
        NonZeroU32::new(threshold).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, ErrorKind> {
        let start = reader.position();
        let number = reader.unsigned().ok().and_then(|number| u32::try_from(number).ok());
        number.and_then(Self::new).ok_or_else(|| reader.expected_at(start, "a threshold of at least 1"))
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key as metadata writes it, unknown members included.
///
/// A key of an unknown type or scheme, or one that is broken, is useless but does no harm: it never counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    canonical: String,
    public: Result<PublicKey, KeyError>,
}

impl Key {
    /// The standard way to write `key`.
    #[must_use]
    pub fn from_public(key: &PublicKey) -> Self {
        let none = BTreeMap::new();
        let keyval = canonical::object([("public", canonical::string(&key.public()))], &none);
        let members = [
            ("keytype", canonical::string(key.keytype())),
            ("keyval", keyval),
            ("scheme", canonical::string(key.scheme())),
        ];
        Self { canonical: canonical::object(members, &none), public: Ok(key.clone()) }
    }

    /// Reads a key in canonical text.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for what is no key at all.
    pub fn parse(canonical: &str) -> Result<Self, ErrorKind> {
        let mut reader = Reader::new(canonical);
        let key = Self::read(&mut reader)?;
        reader.end().map(|()| key)
    }

    /// The key itself, or why it cannot be used.
    ///
    /// # Errors
    /// [`KeyError`] for unknown types and schemes and for values that are no such key.
    pub fn public_key(&self) -> Result<&PublicKey, &KeyError> {
        self.public.as_ref()
    }

    /// What makes it this key, whatever its type and scheme: also where it cannot be used here.
    #[must_use]
    pub fn material(&self) -> KeyMaterial {
        if let Ok(key) = &self.public {
            return key.into();
        }
        let keyval = member(&self.canonical, "keyval").ok().flatten().unwrap_or_default();
        let public = member(keyval, "public").ok().flatten();
        let text = public.and_then(|public| Reader::new(public).string().ok());
        KeyMaterial::of_text(text.as_deref().unwrap_or(keyval))
    }

    /// The member `keytype`.
    #[must_use]
    pub fn keytype(&self) -> String {
        self.text("keytype")
    }

    /// The member `scheme`.
    #[must_use]
    pub fn scheme(&self) -> String {
        self.text("scheme")
    }

    /// The key as metadata writes it, unknown members included.
    #[must_use]
    pub fn to_json(&self) -> Json {
        Json::from_canonical(&self.canonical)
    }

    #[expect(clippy::expect_used, reason = "`Key::read` refuses a key in which one of the two is no text")]
    fn text(&self, name: &str) -> String {
        let value = member(&self.canonical, name).expect("canonical text").expect("a member of every key");
        Reader::new(value).string().expect("text").into_owned()
    }

    /// The id that the specification gives to this key (4.2.1): SHA-256 of its canonical form, in hexadecimal.
    #[must_use]
    pub fn keyid(&self) -> KeyId {
        KeyId::new(hex::encode(Sha256::digest(self.canonical.as_bytes())))
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, ErrorKind> {
        let start = reader.position();
        let (mut keytype, mut scheme, mut public) = (None, None, None);
        reader.object(|name, value| {
            match name {
                "keytype" => keytype = Some(value.string()?),
                "scheme" => scheme = Some(value.string()?),
                "keyval" => value.object(|name, value| {
                    // A value of another shape makes this key useless, not the document.
                    let text = value.skip()?;
                    if name == "public" {
                        public = Reader::new(text).string().ok();
                    }
                    Ok(())
                })?,
                _ => {
                    value.skip()?;
                }
            }
            Ok(())
        })?;
        let keytype = keytype.ok_or_else(|| ErrorKind::missing("keytype"))?;
        let scheme = scheme.ok_or_else(|| ErrorKind::missing("scheme"))?;
        let public = match public {
            Some(public) => PublicKey::from_tuf(&keytype, &scheme, &public),
            None => Err(KeyError::Unsupported { keytype: keytype.to_string(), scheme: scheme.to_string() }),
        };
        Ok(Self { canonical: reader.since(start).to_string(), public })
    }

    pub(crate) fn write(&self) -> String {
        self.canonical.clone()
    }
}

/// Reads an object of keys by key id.
pub(crate) fn read_keys(reader: &mut Reader<'_>) -> Result<BTreeMap<KeyId, Key>, ErrorKind> {
    let mut keys = BTreeMap::new();
    reader.object(|id, key| {
        keys.insert(KeyId::new(id), Key::read(key)?);
        Ok(())
    })?;
    Ok(keys)
}

pub(crate) fn write_keys(keys: &BTreeMap<KeyId, Key>) -> String {
    canonical::object(keys.iter().map(|(id, key)| (id.as_str(), key.write())), &BTreeMap::new())
}

/// Reads an array of key ids. An id that stands there twice is one id. Where an id is the one at the same place in `like`,
/// that one is shared: very many delegations may have the same few.
pub(crate) fn read_keyids(reader: &mut Reader<'_>, like: &[KeyId]) -> Result<Vec<KeyId>, ErrorKind> {
    let mut keyids = Vec::with_capacity(like.len());
    reader.array(|id| {
        let id = id.string()?;
        let same = like.get(keyids.len()).filter(|same| same.as_str() == id);
        keyids.push(same.cloned().unwrap_or_else(|| KeyId::new(id)));
        Ok(())
    })?;
    Ok(keyids)
}

pub(crate) fn write_keyids(keyids: &[KeyId]) -> String {
    canonical::array(keyids.iter().map(|id| canonical::string(id.as_str())))
}

/// "These keys, this threshold": what a delegator says about a role. Clones share it.
#[derive(Clone, Debug)]
pub struct KeyRing(Arc<Ring>);

#[derive(Debug)]
struct Ring {
    keys: BTreeMap<KeyId, PublicKey>,
    threshold: Threshold,
    fingerprint: Fingerprint,
}

/// A digest that changes when a ring does: key ids, key material or threshold.
pub(crate) type Fingerprint = [u8; 32];

impl KeyRing {
    /// The ring of a role with `keyids` in a file with `keys`. Ids without a usable key are left out.
    pub(crate) fn new(keys: &BTreeMap<KeyId, Key>, keyids: &[KeyId], threshold: Threshold) -> Self {
        let usable = |id: &KeyId| Some((id.clone(), keys.get(id)?.public_key().ok()?.clone()));
        let keys: BTreeMap<KeyId, PublicKey> = keyids.iter().filter_map(usable).collect();
        let fingerprint = fingerprint(&keys, threshold);
        Self(Arc::new(Ring { keys, threshold, fingerprint }))
    }

    /// How many distinct keys must sign.
    #[must_use]
    pub fn threshold(&self) -> Threshold {
        self.0.threshold
    }

    /// The usable keys of the ring.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyId, &PublicKey)> {
        self.0.keys.iter()
    }

    /// The distinct keys of the ring that have validly signed `signed`, in the order of `signatures`, which must
    /// not repeat key ids.
    #[must_use]
    pub fn signers(&self, signed: &[u8], signatures: &[Signature]) -> Vec<KeyId> {
        let mut check = self.check(signatures);
        check.update(signed);
        check.signers()
    }

    /// The check of `signatures` over a text that comes in parts.
    pub(crate) fn check(&self, signatures: &[Signature]) -> RingCheck {
        let mut check =
            RingCheck { threshold: self.0.threshold, keys: Vec::new(), signatures: SignatureChecks::default() };
        for signature in signatures {
            if let Some(key) = self.0.keys.get(&signature.keyid) {
                check.keys.push((signature.keyid.clone(), key.clone()));
                check.signatures.add(key, &signature.sig);
            }
        }
        check
    }

    /// A digest that changes when the ring does.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }
}

fn fingerprint(keys: &BTreeMap<KeyId, PublicKey>, threshold: Threshold) -> Fingerprint {
    let mut digest = Sha256::new();
    digest.update(threshold.get().to_be_bytes());
    for (id, key) in keys {
        for part in [id.as_str().as_bytes(), key.material()] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
    digest.finalize().into()
}

/// Whether enough keys of a ring have signed what comes in parts.
pub(crate) struct RingCheck {
    threshold: Threshold,
    /// Whose signatures are checked, and under which ids.
    keys: Vec<(KeyId, PublicKey)>,
    signatures: SignatureChecks,
}

impl RingCheck {
    pub(crate) fn update(&mut self, part: &[u8]) {
        self.signatures.update(part);
    }

    /// Thresholds are counted here and nowhere else: by public key, whatever its ids (5.3.4).
    fn signers(self) -> Vec<KeyId> {
        let mut counted: BTreeSet<PublicKey> = BTreeSet::new();
        let valid = self.keys.into_iter().zip(self.signatures.finish()).filter(|(_, is_valid)| *is_valid);
        valid.filter_map(|((id, key), _)| counted.insert(key).then_some(id)).collect()
    }

    pub(crate) fn finish(self) -> Result<(), ErrorKind> {
        let threshold = self.threshold;
        let valid = u32::try_from(self.signers().len()).unwrap_or(u32::MAX);
        if valid < threshold.get() {
            return Err(ErrorKind::ThresholdNotMet { valid, threshold });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lastmile_keys::{PrivateKey, Scheme, Signer as _};

    use super::*;

    #[test]
    fn a_key_has_one_material_under_schemes_that_are_not_known() {
        let public = PrivateKey::from_seed(Scheme::Ed25519, &[7; 32]).unwrap().public_key().clone();
        let known = Key::from_public(&public);
        let with = |keytype: &str, keyval: &str| {
            let text = alloc::format!(r#"{{"keytype":"{keytype}","keyval":{keyval},"scheme":"of tomorrow"}}"#);
            Key::parse(&text).unwrap()
        };
        let upper = alloc::format!(r#"{{"public":"{}"}}"#, public.public().to_uppercase());
        for keytype in ["ed25519", "of tomorrow", "rsa"] {
            let key = with(keytype, &upper);
            assert!(key.public_key().is_err());
            assert_eq!(
                (key.material(), key.keytype(), key.scheme()),
                (known.material(), keytype.into(), "of tomorrow".into())
            );
        }
        // Without a text there is no more to go by than what stands there.
        let without = ["{}", r#"{"public":1}"#, r#"{"identity":"a"}"#].map(|keyval| with("x", keyval).material());
        assert!(without.iter().all(|material| *material != known.material()) && without[0] != without[1]);
        assert!(Key::parse("{}").is_err());
    }
}
