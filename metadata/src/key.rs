//! Keys in metadata (TUF specification 4.2.2), and the verification of signature thresholds. No other module counts
//! signatures.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use lastmile_keys::{KeyError, KeyMaterial, PublicKey, SignatureChecks};
use sha2::{Digest, Sha256};

use crate::canonical;
use crate::changes::member;
use crate::reader::Reader;
use crate::{ErrorKind, Json, KeyId, Signature, Threshold};

/// A key in metadata, including members that this crate does not know.
///
/// A key with an unknown type or scheme, or with an invalid value, is preserved when the metadata is written, but
/// signatures by such a key never count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    canonical: String,
    public: Result<PublicKey, KeyError>,
}

impl Key {
    /// Creates the metadata representation of `key`, with the standard names of its type and its scheme.
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

    /// Parses a key from canonical JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] if the text is not a key object.
    pub fn parse(canonical: &str) -> Result<Self, ErrorKind> {
        let mut reader = Reader::new(canonical);
        let key = Self::read(&mut reader)?;
        reader.end().map(|()| key)
    }

    /// Returns the public key.
    ///
    /// # Errors
    /// [`KeyError`] if the type or scheme is unknown, or if the value is not a valid key of that type.
    pub fn public_key(&self) -> Result<&PublicKey, &KeyError> {
        self.public.as_ref()
    }

    /// Returns the key material. The material depends only on the public key itself, not on the listed key type, the
    /// scheme or the encoding. Unsupported keys also have key material.
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

    /// Returns the value of the member `keytype`.
    #[must_use]
    pub fn keytype(&self) -> String {
        self.text("keytype")
    }

    /// Returns the value of the member `scheme`.
    #[must_use]
    pub fn scheme(&self) -> String {
        self.text("scheme")
    }

    /// Returns the JSON representation, including unknown members.
    #[must_use]
    pub fn to_json(&self) -> Json {
        Json::from_canonical(&self.canonical)
    }

    #[expect(clippy::expect_used, reason = "`Key::read` refuses a key in which one of these members is not a string")]
    fn text(&self, name: &str) -> String {
        let value = member(&self.canonical, name).expect("canonical text").expect("a member of every key");
        Reader::new(value).string().expect("text").into_owned()
    }

    /// Computes the key ID as TUF specification 4.2.1 and 4.3 define it. The ID is the SHA-256 of the canonical form of
    /// the key, in hexadecimal.
    #[must_use]
    pub fn keyid(&self) -> KeyId {
        KeyId::new(hex::encode(Sha256::digest(self.canonical.as_bytes())))
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, ErrorKind> {
        let start = reader.position();
        let mut keytype = None;
        let mut scheme = None;
        let mut public = None;
        reader.object(|name, value| {
            match name {
                "keytype" => keytype = Some(value.string()?),
                "scheme" => scheme = Some(value.string()?),
                "keyval" => value.object(|name, value| {
                    // If `public` is not a string, the key is unusable, but the document is still valid.
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
        // Spec 4.2.2: a key has a type, a scheme and a value.
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

/// Reads an object that maps key IDs to keys. Each ID maps to exactly one key (TUF specification 4.3), because
/// duplicate members are refused.
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

/// Reads an array of key IDs. Duplicate IDs are kept. If an ID equals the ID at the same index of `like`, both share
/// one allocation. This saves memory if many delegations list the same few IDs.
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

pub(crate) fn read_threshold(reader: &mut Reader<'_>) -> Result<Threshold, ErrorKind> {
    let start = reader.position();
    let number = reader.unsigned().ok().and_then(|number| u32::try_from(number).ok());
    number.and_then(Threshold::new).ok_or_else(|| reader.expected_at(start, "a threshold of at least 1"))
}

/// The keys and the threshold that a delegator lists for a role (TUF specification 1.5). Clones share this data.
#[derive(Clone, Debug)]
pub struct KeyRing(Arc<Ring>);

#[derive(Debug)]
struct Ring {
    keys: BTreeMap<KeyId, PublicKey>,
    threshold: Threshold,
    fingerprint: Fingerprint,
}

/// A digest of the key IDs, the key material and the threshold of a key ring.
pub(crate) type Fingerprint = [u8; 32];

impl KeyRing {
    /// Creates a key ring from the key IDs of a role, which are looked up in `keys`. IDs without a usable key are
    /// omitted.
    pub(crate) fn new(keys: &BTreeMap<KeyId, Key>, keyids: &[KeyId], threshold: Threshold) -> Self {
        // TAP 12: an ID is looked up only among the keys of the same file. Spec 4.2.2, POUF A14: an ID without a usable
        // key does not count.
        let usable = |id: &KeyId| Some((id.clone(), keys.get(id)?.public_key().ok()?.clone()));
        // Spec 4.3: an ID that is listed twice counts once.
        let keys: BTreeMap<KeyId, PublicKey> = keyids.iter().filter_map(usable).collect();
        let fingerprint = fingerprint(&keys, threshold);
        Self(Arc::new(Ring { keys, threshold, fingerprint }))
    }

    /// Returns the number of distinct keys that must sign.
    #[must_use]
    pub fn threshold(&self) -> Threshold {
        self.0.threshold
    }

    /// Returns the keys that can verify signatures, with their IDs.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyId, &PublicKey)> {
        self.0.keys.iter()
    }

    /// Returns the IDs of the keys that made valid signatures over `signed`, in the order of `signatures`. Each key
    /// occurs once. `signatures` must not repeat key IDs.
    #[must_use]
    pub fn signers(&self, signed: &[u8], signatures: &[Signature]) -> Vec<KeyId> {
        let mut check = self.check(signatures);
        check.update(signed);
        check.signers()
    }

    /// Starts to verify `signatures` over a message that the caller passes in parts.
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

/// Checks whether enough keys have signed a message that the caller passes in parts.
pub(crate) struct RingCheck {
    threshold: Threshold,
    /// The keys whose signatures are checked, in the order of the signatures.
    keys: Vec<(KeyId, PublicKey)>,
    signatures: SignatureChecks,
}

impl RingCheck {
    pub(crate) fn update(&mut self, part: &[u8]) {
        self.signatures.update(part);
    }

    /// Returns one key ID for each public key that made a valid signature. No other function counts signatures. A
    /// public key counts once, even if it is listed under several key IDs (TUF specification 5.3.4, POUF A3, TAP 12).
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
    fn a_key_has_the_same_material_under_unknown_schemes() {
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
        // If `public` is missing or is not a string, the text of `keyval` is the key material.
        let without = ["{}", r#"{"public":1}"#, r#"{"identity":"a"}"#].map(|keyval| with("x", keyval).material());
        assert!(without.iter().all(|material| *material != known.material()) && without[0] != without[1]);
        assert!(Key::parse("{}").is_err());
    }
}
