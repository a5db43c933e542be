//! A trusted targets role, either in memory or in a file, and its reuse by later updates.

use alloc::boxed::Box;
use alloc::sync::Arc;

use chrono::{DateTime, Utc};

use crate::key::Fingerprint;
use crate::stored::StoredTargets;
use crate::verify::Required;
use crate::{
    Accepted, Delegations, Error, ErrorKind, FileContent, Header, KeyRing, RoleName, TargetFile, TargetPath, Targets,
    Verified, Version,
};

/// A trusted targets role, either in memory or in a file.
#[derive(Clone, Debug)]
pub struct VerifiedTargets(Backing);

#[derive(Clone, Debug)]
enum Backing {
    Held(Arc<Verified<Targets>>),
    Stored(Arc<StoredTargets>),
}

impl VerifiedTargets {
    /// Checks the listed length and hashes of the file, and verifies its signatures (TUF specification 5.6.2, 5.6.3).
    /// Does not parse the file again if `known` or `same` has the same bytes. `known` comes from an earlier update, and
    /// is reused only if it was verified with the same keys. `same` was verified with other keys in this update, so its
    /// signatures are verified again.
    pub(crate) fn verify(
        known: Option<&ReusableTargets>,
        same: Option<&Arc<Verified<Targets>>>,
        required: &Required<'_>,
        file: FileContent,
    ) -> Result<Self, Error> {
        let role = required.role;
        if let FileContent::File(file) = &file
            && let Ok(targets) = StoredTargets::verify(file, required)
        {
            return Ok(Self(Backing::Stored(Arc::new(targets))));
        }
        // A file that is not canonical may still be valid, but it must be read into memory.
        let bytes = file.into_bytes().ok_or_else(|| ErrorKind::StoredFileChanged.of(role))?;
        if let Some(known) = known.filter(|known| known.matches(role, required.ring, &bytes)) {
            required.check_listed(&bytes).map_err(|kind| kind.of(role))?;
            return Ok(Self(Backing::Held(Arc::clone(&known.targets))));
        }
        if let Some(same) = same.filter(|same| **same.bytes() == *bytes) {
            required.check_listed(&bytes).map_err(|kind| kind.of(role))?;
            same.verify(role, required.ring)?;
            return Ok(Self(Backing::Held(Arc::clone(same))));
        }
        required.verify(bytes).map(|targets| Self(Backing::Held(Arc::new(targets))))
    }

    /// Returns the members that all roles have.
    #[must_use]
    pub fn header(&self) -> &Header {
        match &self.0 {
            Backing::Held(targets) => &targets.header,
            Backing::Stored(targets) => targets.header(),
        }
    }

    /// Returns the version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.header().version
    }

    /// Returns the time at which the role expires.
    #[must_use]
    pub fn expires(&self) -> DateTime<Utc> {
        self.header().expires
    }

    /// Returns the delegations of the role.
    #[must_use]
    pub fn delegations(&self) -> Option<&Delegations> {
        match &self.0 {
            Backing::Held(targets) => targets.delegations.as_ref(),
            Backing::Stored(targets) => targets.delegations(),
        }
    }

    /// Returns the target that this role itself lists for `path`. This function does not check whether the role is
    /// trusted for `path`. [`TrustedMetadata::search`](crate::TrustedMetadata::search) does.
    ///
    /// # Errors
    /// Returns [`ErrorKind::StoredFileChanged`] if the role is read from a file, and the part that is read has changed
    /// since the file was verified.
    pub fn target(&self, path: &TargetPath) -> Result<Option<TargetFile>, ErrorKind> {
        match &self.0 {
            Backing::Held(targets) => Ok(targets.target(path)),
            Backing::Stored(targets) => targets.target(path),
        }
    }

    pub(crate) fn paths(&self) -> Box<dyn Iterator<Item = Result<TargetPath, ErrorKind>> + '_> {
        match &self.0 {
            Backing::Held(targets) => Box::new(targets.paths().map(Ok)),
            Backing::Stored(targets) => Box::new(targets.paths()),
        }
    }

    /// Returns the number of targets that this role itself lists.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Backing::Held(targets) => targets.len(),
            Backing::Stored(targets) => targets.len(),
        }
    }

    /// Returns whether this role itself lists no targets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the file to store, byte for byte as received.
    pub(crate) fn to_store(&self) -> Accepted {
        match &self.0 {
            Backing::Held(targets) => Accepted::Received(targets.bytes().clone()),
            Backing::Stored(targets) => Accepted::File(Arc::clone(targets.file())),
        }
    }

    /// Returns the metadata if it is held in memory, or `None` if the role is read from a file.
    #[must_use]
    pub fn held(&self) -> Option<&Arc<Verified<Targets>>> {
        match &self.0 {
            Backing::Held(targets) => Some(targets),
            Backing::Stored(_) => None,
        }
    }
}

/// The top-level targets role of an update, for reuse by later updates in the same process. A later update that finds
/// the same bytes and the same keys need not parse and verify the file again. All other checks are repeated.
#[derive(Clone, Debug)]
pub struct ReusableTargets {
    targets: Arc<Verified<Targets>>,
    ring: Fingerprint,
}

impl ReusableTargets {
    pub(crate) fn new(targets: Arc<Verified<Targets>>, ring: &KeyRing) -> Self {
        Self { targets, ring: ring.fingerprint() }
    }

    fn matches(&self, role: &RoleName, ring: &KeyRing, bytes: &[u8]) -> bool {
        *role == RoleName::TARGETS && **self.targets.bytes() == *bytes && self.ring == ring.fingerprint()
    }
}
