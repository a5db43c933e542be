//! A metadata file that is being signed, with its text, the keys that must sign it, and the signatures so far.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use lastmile_client::text::printable;
use lastmile_keys::PublicKey;
use lastmile_metadata::{
    Envelope, KeyId, KeyRing, Role, RoleName, Root, Signature, Snapshot, Targets, Timestamp, Version, assemble,
};

use crate::check::faults;
use crate::check::finding::Finding;
use crate::files::spool::{Spool, SpooledText};
use crate::{DraftError, Error};

/// The text of a [`Document`] in a pending change, with the signatures that it has so far.
#[derive(Clone, Debug)]
pub struct Prior {
    /// The canonical bytes that the signatures cover.
    pub signed: String,
    /// The signatures that the document has so far.
    pub signatures: Vec<Signature>,
}

/// The key rings whose keys must sign a [`Document`], and a key ring whose signatures are useful but optional.
#[derive(Clone, Debug, Default)]
pub struct Rings {
    /// The key rings that must all reach their threshold.
    pub required: Vec<KeyRing>,
    /// The role's key ring in the previous root; `None` if the root does not change. If this key ring also reaches its
    /// threshold, clients that still trust the previous root accept the file.
    pub wanted: Option<KeyRing>,
}

/// The signatures that a [`Document`] still needs from the keys of one key ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The number of keys that must still sign.
    pub count: u32,
    /// The IDs of the keys that have not signed yet.
    pub candidates: Vec<KeyId>,
}

impl Missing {
    /// Describes the missing signatures. Identifies each key by the first 8 digits of its ID, and also by its name if
    /// `name_of` returns one.
    #[must_use]
    pub fn describe(&self, name_of: impl Fn(&KeyId) -> Option<String>) -> String {
        let described = |id: &KeyId| {
            let start: String = id.as_str().chars().take(8).collect();
            // A key ID can be any text. The `Display` implementation of `KeyId` escapes control characters.
            let start = KeyId::new(start);
            name_of(id).map_or_else(|| start.to_string(), |name| format!("{} ({start})", printable(&name)))
        };
        let signatures = if self.count == 1 { "signature" } else { "signatures" };
        let joint = if self.candidates.len() <= self.count as usize { " and " } else { " or " };
        let keys: Vec<String> = self.candidates.iter().map(described).collect();
        let keys = match keys.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{}{joint}{last}", others.join(", ")),
            _ => keys.concat(),
        };
        format!("{} more {signatures}, from {keys}", self.count)
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe(|_| None))
    }
}

/// The canonical text of a document, either in memory or in a temporary file.
#[derive(Clone, Debug)]
enum SignedText {
    Held(Arc<String>),
    Spooled(SpooledText),
}

/// A complete metadata file, with signatures. It is either in memory, or its text is on disk and is joined with the
/// signatures whenever the file is read.
#[derive(Clone, Debug)]
pub(crate) enum DocumentFile {
    Held(Bytes),
    Spooled(SpooledText, Arc<[Signature]>),
}

impl DocumentFile {
    /// Returns [`Error::File`] if the text is on disk and cannot be read.
    pub(crate) fn read(&self) -> Result<Bytes, Error> {
        match self {
            Self::Held(file) => Ok(file.clone()),
            Self::Spooled(text, signatures) => Ok(assemble(&text.read()?, signatures).into()),
        }
    }
}

impl From<Bytes> for DocumentFile {
    fn from(file: Bytes) -> Self {
        Self::Held(file)
    }
}

impl From<Vec<u8>> for DocumentFile {
    fn from(file: Vec<u8>) -> Self {
        Self::Held(file.into())
    }
}

/// A metadata file that is being signed.
#[derive(Clone, Debug)]
pub struct Document {
    /// The role of the metadata.
    pub role: RoleName,
    /// The version of the metadata.
    pub version: Version,
    /// The time at which the metadata expires.
    pub expires: DateTime<Utc>,
    /// A number that identifies the text within the process. The text of a document never changes.
    identity: u64,
    signatures: Vec<Signature>,
    signed: SignedText,
    /// The complete file with signatures, computed on first use. Empty if the text is on disk.
    file: OnceLock<Bytes>,
    /// The faults in the text, computed on first use.
    faults: OnceLock<BTreeSet<Finding>>,
    rings: Rings,
    /// The keys that have signed, with their IDs. The signatures of a partly signed text are verified before their keys
    /// are added. New signatures count as valid without verification, because verifying the signatures of many bins
    /// would be slow. Before publication, [`crate::check`] verifies all signatures as clients do.
    signers: BTreeSet<(KeyId, PublicKey)>,
}

impl Document {
    /// Creates an unsigned document.
    pub fn new<R: Role>(role: &RoleName, content: &R, rings: Rings) -> Self {
        Self {
            role: role.clone(),
            version: content.version,
            expires: content.expires,
            identity: next_identity(),
            signatures: Vec::new(),
            signed: SignedText::Held(Arc::new(content.write())),
            file: OnceLock::new(),
            faults: OnceLock::new(),
            rings,
            signers: BTreeSet::new(),
        }
    }

    /// Creates a document from a partly signed text. Keeps only valid signatures by keys in `rings`. Removes all
    /// members of these signatures except `keyid` and `sig`.
    ///
    /// # Errors
    /// Returns an error if the text is not metadata of this role.
    pub fn prior(role: &RoleName, prior: &Prior, rings: Rings) -> Result<Self, Error> {
        let (version, expires) = header(role, assemble(&prior.signed, &prior.signatures))?;
        let signed = prior.signed.clone();
        // Keep only valid signatures, because anyone who can write to `staged/` can add signatures, and a review of the
        // document does not show them.
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
        Ok(Self {
            role: role.clone(),
            version,
            expires,
            identity: next_identity(),
            signatures,
            signed: SignedText::Held(Arc::new(signed)),
            file: OnceLock::new(),
            faults: OnceLock::new(),
            rings,
            signers,
        })
    }

    /// Returns a number that identifies the text of this document. Clones have the same number.
    pub(crate) fn identity(&self) -> u64 {
        self.identity
    }

    /// Returns the content of the file that will be published.
    ///
    /// # Errors
    /// [`Error::File`] if the text is on disk and cannot be read.
    pub fn file(&self) -> Result<Bytes, Error> {
        self.document_file().read()
    }

    /// Returns the file that will be published. Does not read text that is on disk; [`DocumentFile::read`] does.
    pub(crate) fn document_file(&self) -> DocumentFile {
        match &self.signed {
            SignedText::Held(text) => {
                DocumentFile::Held(self.file.get_or_init(|| assemble(text, &self.signatures).into()).clone())
            }
            SignedText::Spooled(text) => DocumentFile::Spooled(text.clone(), self.signatures.as_slice().into()),
        }
    }

    /// Moves the text to the temporary file `spool`, because the documents of a large draft would take up too much
    /// memory.
    ///
    /// # Errors
    /// [`Error::File`] if the text cannot be written, for example because the disk is full.
    pub(crate) fn spool(&mut self, spool: &Arc<Spool>) -> Result<(), Error> {
        self.signed = SignedText::Spooled(spool.add(&self.signed()?)?);
        self.file.take();
        Ok(())
    }

    /// Returns the signatures that the document has so far.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Returns the canonical text that signatures cover.
    ///
    /// # Errors
    /// [`Error::File`] if the text is on disk and cannot be read.
    pub fn signed(&self) -> Result<Arc<String>, Error> {
        match &self.signed {
            SignedText::Held(text) => Ok(Arc::clone(text)),
            SignedText::Spooled(text) => text.read().map(Arc::new),
        }
    }

    /// Returns the faults in the text because of which other TUF clients refuse the document. See [`faults::faults`].
    ///
    /// # Errors
    /// [`Error::File`] if the text is on disk and cannot be read.
    pub(crate) fn faults(&self) -> Result<&BTreeSet<Finding>, Error> {
        if let Some(found) = self.faults.get() {
            return Ok(found);
        }
        let found = faults::faults(&self.role, &self.signed()?);
        Ok(self.faults.get_or_init(|| found))
    }

    /// Adds a signature that the caller has just made with `key`.
    pub(crate) fn add_signature(&mut self, id: &KeyId, key: &PublicKey, sig: Vec<u8>) {
        self.put(id, sig);
        self.signers.retain(|(signer, _)| signer != id);
        self.signers.insert((id.clone(), key.clone()));
    }

    /// Adds a signature. Removes an earlier signature with the same key ID, because the TUF specification (4.2.1)
    /// allows only one signature for each key ID.
    pub(crate) fn put(&mut self, id: &KeyId, sig: Vec<u8>) {
        self.signatures.retain(|signature| signature.keyid != *id);
        self.signatures.push(Signature::new(id.clone(), sig));
        self.file.take();
    }

    /// Returns the signatures that the document still needs before it can be published.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        let lacking = self.rings.required.iter().map(|ring| (ring, self.lacking(ring)));
        let missing = lacking.filter(|(_, count)| *count > 0);
        let mut missing: Vec<_> =
            missing.map(|(ring, count)| Missing { count, candidates: self.candidates(ring) }).collect();
        // Often, the same signatures are missing for the key rings in the old and the new root. Report these signatures
        // only once.
        missing.dedup();
        missing
    }

    /// Returns how many more keys of `ring` must sign to reach its threshold.
    pub(crate) fn lacking(&self, ring: &KeyRing) -> u32 {
        let signed: BTreeSet<&PublicKey> = self.valid_signers(ring).collect();
        let signed = signed.len();
        ring.threshold().get().saturating_sub(u32::try_from(signed).unwrap_or(u32::MAX))
    }

    /// Returns whether `key` has made a valid signature under any of its IDs in `ring`.
    pub(crate) fn is_signed_by(&self, ring: &KeyRing, key: &PublicKey) -> bool {
        self.valid_signers(ring).any(|signer| signer == key)
    }

    fn valid_signers<'s>(&'s self, ring: &'s KeyRing) -> impl Iterator<Item = &'s PublicKey> {
        let signs =
            |id: &KeyId, key: &PublicKey| self.signers.iter().any(|(other, signer)| other == id && signer == key);
        ring.keys().filter(move |(id, key)| signs(id, key)).map(|(_, key)| key)
    }

    /// Verifies all signatures, including new ones.
    ///
    /// # Errors
    /// [`Error::Draft`] if the valid signatures do not reach the threshold of every required key ring, and
    /// [`Error::File`] if the text is on disk and cannot be read.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        let prior = Prior { signed: (*self.signed()?).clone(), signatures: self.signatures.clone() };
        let missing = Self::prior(&self.role, &prior, self.rings.clone())?.missing();
        if missing.is_empty() { Ok(()) } else { Err(DraftError::NotSigned { role: self.role.clone() }.into()) }
    }

    /// Returns whether clients that still use the previous root would also trust the document. Also returns true if the
    /// root does not change.
    #[must_use]
    pub fn is_trusted_by_previous_root(&self) -> bool {
        self.rings.wanted.as_ref().is_none_or(|ring| self.lacking(ring) == 0)
    }

    /// Returns the key rings that must or should sign the document.
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

/// Returns the version and the expiry date of a metadata file of any role, without verifying its signatures.
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

    fn missing(count: u32, ids: &[&str]) -> Missing {
        Missing { count, candidates: ids.iter().map(|id| KeyId::new(*id)).collect() }
    }

    #[test]
    fn an_id_cannot_control_the_terminal() {
        assert_eq!(missing(1, &["\u{1b}[2J", "ab"]).to_string(), "1 more signature, from \\u{1b}[2J or ab");
    }

    #[test]
    fn missing_signatures_name_the_keys_that_can_sign() {
        let name = |id: &KeyId| (id.as_str() == "474c206a00").then(|| "office-token".to_string());
        assert_eq!(
            missing(1, &["474c206a00", "d9c6e05200"]).describe(name),
            "1 more signature, from office-token (474c206a) or d9c6e052"
        );
        assert_eq!(
            missing(2, &["474c206a00", "ab"]).describe(name),
            "2 more signatures, from office-token (474c206a) and ab"
        );
        assert_eq!(missing(1, &["a", "b", "c"]).describe(name), "1 more signature, from a, b or c");
    }
}
