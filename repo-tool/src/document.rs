//! One metadata file in the making: what is to be signed, by whom, and who has.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};
use lastmile_keys::PublicKey;
use lastmile_metadata::{
    Envelope, KeyId, KeyRing, Role, RoleName, Root, Signature, Snapshot, Targets, Timestamp, Version, assemble,
};

use crate::Error;
use crate::draft::Prior;
use crate::key_store::KeyStore;

/// Who must sign, and who should.
#[derive(Clone, Debug, Default)]
pub struct Rings {
    /// Every one of these must be satisfied.
    pub required: Vec<KeyRing>,
    /// The ring before a rotation: satisfied, the file holds for clients in the middle of an update too.
    pub wanted: Option<KeyRing>,
}

/// What a ring lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// How many more keys must sign.
    pub count: u32,
    /// The keys that have not signed yet, by id.
    pub candidates: Vec<KeyId>,
}

impl fmt::Display for Missing {
    /// Ids are whatever a file says, and are escaped here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let candidates: Vec<String> = self.candidates.iter().map(KeyId::to_string).collect();
        write!(f, "{} more of {}", self.count, candidates.join(", "))
    }
}

/// A metadata file in the making.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its role.
    pub role: RoleName,
    /// Its version.
    pub version: Version,
    /// From when on it is not trusted.
    pub expires: DateTime<Utc>,
    /// The signatures so far.
    pub signatures: Vec<Signature>,
    signed: String,
    rings: Rings,
    /// What the required rings lack, counted when it was signed last: verifying is slow, and bins are many.
    missing: Vec<Missing>,
}

impl Document {
    /// A document that nobody has signed.
    pub fn new<R: Role>(role: &RoleName, content: &R, rings: Rings) -> Self {
        let mut document = Self {
            role: role.clone(),
            version: content.version(),
            expires: content.expires(),
            signatures: Vec::new(),
            signed: content.write(),
            rings,
            missing: Vec::new(),
        };
        document.count_missing();
        document
    }

    /// A document that some have signed already.
    ///
    /// # Errors
    /// When its bytes are no metadata of this role.
    pub fn prior(role: &RoleName, prior: &Prior, rings: Rings) -> Result<Self, Error> {
        let (version, expires) = header(role, assemble(&prior.signed, &prior.signatures))?;
        let (signed, signatures) = (prior.signed.clone(), prior.signatures.clone());
        let mut document =
            Self { role: role.clone(), version, expires, signatures, signed, rings, missing: Vec::new() };
        document.count_missing();
        Ok(document)
    }

    /// The file as it is published.
    #[must_use]
    pub fn file(&self) -> Vec<u8> {
        assemble(&self.signed, &self.signatures)
    }

    /// The canonical bytes that signatures cover.
    #[must_use]
    pub fn signed(&self) -> &str {
        &self.signed
    }

    /// Signs with the keys at hand, with as many as each ring asks for and no more.
    ///
    /// # Errors
    /// When a key at hand cannot be opened.
    pub fn sign(&mut self, keys: &KeyStore) -> Result<(), Error> {
        let rings: Vec<KeyRing> = self.rings.required.iter().chain(&self.rings.wanted).cloned().collect();
        for ring in &rings {
            let (avoided, preferred): (Vec<_>, Vec<_>) = ring.keys().partition(|(_, key)| keys.is_avoided(key));
            for (id, key) in preferred.into_iter().chain(avoided) {
                if self.lacking(ring) == 0 {
                    break;
                }
                if self.is_signed_by(ring, key) || !keys.has(key) {
                    continue;
                }
                if let Some(signer) = keys.signer(key)? {
                    let sig = signer.sign(self.signed.as_bytes()).map_err(|error| Error::key(id, error))?;
                    // 4.2.1: one signature for each key id.
                    self.signatures.retain(|signature| signature.keyid != *id);
                    self.signatures.push(Signature::new(id.clone(), sig));
                }
            }
        }
        self.count_missing();
        Ok(())
    }

    /// Whether `key` of `ring` has validly signed, under whatever id.
    fn is_signed_by(&self, ring: &KeyRing, key: &PublicKey) -> bool {
        if self.signatures.is_empty() {
            return false;
        }
        let signers: BTreeSet<KeyId> = ring.signers(self.signed.as_bytes(), &self.signatures).into_iter().collect();
        ring.keys().any(|(id, other)| other == key && signers.contains(id))
    }

    fn lacking(&self, ring: &KeyRing) -> u32 {
        if self.signatures.is_empty() {
            return ring.threshold().get();
        }
        let signers = ring.signers(self.signed.as_bytes(), &self.signatures).len();
        ring.threshold().get().saturating_sub(u32::try_from(signers).unwrap_or(u32::MAX))
    }

    /// What is lacking before it may be published; nothing if it is empty.
    #[must_use]
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    fn count_missing(&mut self) {
        let lacking = self.rings.required.iter().map(|ring| (ring, self.lacking(ring)));
        let missing = lacking.filter(|(_, count)| *count > 0);
        self.missing = missing.map(|(ring, count)| Missing { count, candidates: self.candidates(ring) }).collect();
        // The old root keys and the new ones are mostly the same.
        self.missing.dedup();
    }

    /// Whether clients that know only the root before the change trust it too.
    #[must_use]
    pub fn holds_before(&self) -> bool {
        self.rings.wanted.as_ref().is_none_or(|ring| self.lacking(ring) == 0)
    }

    /// Who may sign for it.
    #[must_use]
    pub fn rings(&self) -> &Rings {
        &self.rings
    }

    fn candidates(&self, ring: &KeyRing) -> Vec<KeyId> {
        let open = ring.keys().filter(|(_, key)| !self.is_signed_by(ring, key));
        open.map(|(id, _)| id.clone()).collect()
    }
}

/// Version and expiry of a file of any role, which nobody need have signed.
fn header(role: &RoleName, file: Vec<u8>) -> Result<(Version, DateTime<Utc>), Error> {
    fn of<R: Role>(role: &RoleName, file: Vec<u8>) -> Result<(Version, DateTime<Utc>), Error> {
        let envelope = Envelope::<R>::parse(role, file)?;
        Ok((envelope.unverified().version(), envelope.unverified().expires()))
    }
    match role.as_str() {
        "root" => of::<Root>(role, file),
        "timestamp" => of::<Timestamp>(role, file),
        "snapshot" => of::<Snapshot>(role, file),
        _ => of::<Targets>(role, file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_control_the_terminal() {
        let missing = Missing { count: 1, candidates: vec![KeyId::new("\u{1b}[2J"), KeyId::new("ab")] };
        assert_eq!(missing.to_string(), "1 more of \\u{1b}[2J, ab");
    }
}
