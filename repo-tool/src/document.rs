//! One metadata file in the making: what is to be signed, by whom, and who has.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use lastmile_keys::PublicKey;
use lastmile_metadata::{
    Envelope, KeyId, KeyRing, Role, RoleName, Root, Signature, Snapshot, Targets, Timestamp, Version, assemble,
};

use crate::check::gate;
use crate::key_store::KeyStore;
use crate::pin::Authority;
use crate::sign::review::Reviewed;
use crate::{DraftError, Error, PublicationError};

/// A document of a pending change, exactly as it is to be signed.
#[derive(Clone, Debug)]
pub struct Prior {
    /// The canonical bytes that were signed.
    pub signed: String,
    /// The signatures so far.
    pub signatures: Vec<Signature>,
}

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
    /// Tells this text from every other one of this process; what is signed never changes.
    identity: u64,
    signatures: Vec<Signature>,
    signed: String,
    /// The file with these signatures, once it was asked for.
    file: OnceLock<Bytes>,
    /// The faults of the text, once they were asked for.
    faults: OnceLock<BTreeSet<String>>,
    rings: Rings,
    /// Whose signatures are valid, and under which ids. Verifying is slow and bins are many, so what an available signer has
    /// just made is taken for valid here; before it is published, [`crate::check`] verifies it as clients do.
    signers: BTreeSet<(KeyId, PublicKey)>,
}

impl Document {
    /// A document that nobody has signed.
    pub fn new<R: Role>(role: &RoleName, content: &R, rings: Rings) -> Self {
        Self {
            role: role.clone(),
            version: content.version,
            expires: content.expires,
            identity: next_identity(),
            signatures: Vec::new(),
            signed: content.write(),
            file: OnceLock::new(),
            faults: OnceLock::new(),
            rings,
            signers: BTreeSet::new(),
        }
    }

    /// A document that some have signed already. Of its signatures it keeps those that are valid for a key of `rings`,
    /// each as `keyid` and `sig` alone.
    ///
    /// # Errors
    /// When its bytes are no metadata of this role.
    pub fn prior(role: &RoleName, prior: &Prior, rings: Rings) -> Result<Self, Error> {
        let (version, expires) = header(role, assemble(&prior.signed, &prior.signatures))?;
        let signed = prior.signed.clone();
        // Anybody who can write to `staged/` can add to the list, which no review shows: only what counts is kept.
        let mut signatures: Vec<Signature> = Vec::new();
        let mut signers = BTreeSet::new();
        for signature in &prior.signatures {
            let valid: Vec<&PublicKey> = (rings.required.iter().chain(&rings.wanted))
                .filter(|ring| !ring.signers(signed.as_bytes(), std::slice::from_ref(signature)).is_empty())
                .flat_map(|ring| ring.keys().filter(|(id, _)| **id == signature.keyid).map(|(_, key)| key))
                .collect();
            if !valid.is_empty() && signatures.iter().all(|kept| kept.keyid != signature.keyid) {
                signers.extend(valid.into_iter().map(|key| (signature.keyid.clone(), key.clone())));
                signatures.push(Signature::new(signature.keyid.clone(), signature.sig.clone()));
            }
        }
        let (role, identity) = (role.clone(), next_identity());
        Ok(Self {
            role,
            version,
            expires,
            identity,
            signatures,
            signed,
            file: OnceLock::new(),
            faults: OnceLock::new(),
            rings,
            signers,
        })
    }

    /// Tells the text of this document from every other one; clones share it.
    pub(crate) fn identity(&self) -> u64 {
        self.identity
    }

    /// The file as it is published.
    #[must_use]
    pub fn file(&self) -> Bytes {
        self.file.get_or_init(|| assemble(&self.signed, &self.signatures).into()).clone()
    }

    /// The signatures so far.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The canonical bytes that signatures cover.
    #[must_use]
    pub fn signed(&self) -> &str {
        &self.signed
    }

    /// What other clients refuse in the text: see [`gate::faults`].
    pub(crate) fn faults(&self) -> &BTreeSet<String> {
        self.faults.get_or_init(|| gate::faults(&self.role, &self.signed))
    }

    /// Signs with the available keys, with as many as each ring asks for and no more, what was reviewed.
    ///
    /// # Errors
    /// When a key on this machine cannot be opened; [`Error::NotPinned`] when it must not sign this role;
    /// [`Error::Publication`] when another document was reviewed.
    pub fn sign(&mut self, keys: &KeyStore, authority: &Authority, reviewed: &Reviewed) -> Result<(), Error> {
        if !reviewed.is_of(self) {
            return Err(PublicationError::NotReviewed { role: self.role.clone(), version: self.version }.into());
        }
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
                authority.check(&self.role, key)?;
                if let Some(signer) = keys.signer(key)? {
                    let name = || keys.name_of(key).map_or_else(|| id.to_string(), ToString::to_string);
                    let sig = signer.sign(self.signed.as_bytes()).map_err(|error| Error::key(name(), error))?;
                    self.put(id, sig);
                    self.signers.retain(|(signer, _)| signer != id);
                    self.signers.insert((id.clone(), key.clone()));
                }
            }
        }
        Ok(())
    }

    /// Puts a signature in, in place of the one under the same id. 4.2.1: one signature for each key id.
    pub(crate) fn put(&mut self, id: &KeyId, sig: Vec<u8>) {
        self.signatures.retain(|signature| signature.keyid != *id);
        self.signatures.push(Signature::new(id.clone(), sig));
        self.file.take();
    }

    /// What is lacking before it may be published; nothing if it is empty.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        let lacking = self.rings.required.iter().map(|ring| (ring, self.lacking(ring)));
        let missing = lacking.filter(|(_, count)| *count > 0);
        let mut missing: Vec<_> =
            missing.map(|(ring, count)| Missing { count, candidates: self.candidates(ring) }).collect();
        // The old root keys and the new ones are mostly the same.
        missing.dedup();
        missing
    }

    /// How many keys of `ring` have yet to sign.
    fn lacking(&self, ring: &KeyRing) -> u32 {
        let signed: BTreeSet<&PublicKey> = self.signed_in(ring).collect();
        let signed = signed.len();
        ring.threshold().get().saturating_sub(u32::try_from(signed).unwrap_or(u32::MAX))
    }

    /// Whether `key` of `ring` has validly signed, under whatever id.
    fn is_signed_by(&self, ring: &KeyRing, key: &PublicKey) -> bool {
        self.signed_in(ring).any(|signer| signer == key)
    }

    /// The keys of `ring` that have validly signed.
    fn signed_in<'s>(&'s self, ring: &'s KeyRing) -> impl Iterator<Item = &'s PublicKey> {
        let signs =
            |id: &KeyId, key: &PublicKey| self.signers.iter().any(|(other, signer)| other == id && signer == key);
        ring.keys().filter(move |(id, key)| signs(id, key)).map(|(_, key)| key)
    }

    /// Verifies the signatures, also those that were just made.
    ///
    /// # Errors
    /// [`Error::Draft`] where they do not suffice.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        let prior = Prior { signed: self.signed.clone(), signatures: self.signatures.clone() };
        let missing = Self::prior(&self.role, &prior, self.rings.clone())?.missing();
        if missing.is_empty() { Ok(()) } else { Err(DraftError::NotSigned { role: self.role.clone() }.into()) }
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

fn next_identity() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Version and expiry of a file of any role, which nobody need have signed.
fn header(role: &RoleName, file: Vec<u8>) -> Result<(Version, DateTime<Utc>), Error> {
    fn of<R: Role>(role: &RoleName, file: Vec<u8>) -> Result<(Version, DateTime<Utc>), Error> {
        let content = Envelope::<R>::parse(role, file)?.unverified(role)?;
        Ok((content.version, content.expires))
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
