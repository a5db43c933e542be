//! All that one update has come to trust: the four top-level roles, and the delegated ones that were needed.

use alloc::collections::BTreeMap;
use alloc::string::String;

use chrono::{DateTime, Utc};

use crate::update::Update;
use crate::update::listing::Listing;
use crate::update::search::TargetSearch;
use crate::update::targets::verify_targets;
use crate::{Error, KeyRing, RoleName, Root, Snapshot, TargetPath, Targets, Timestamp, Verified};

/// The trusted metadata of one update. It was judged, and what is still to come will be, at one time: its start.
#[derive(Clone, Debug)]
pub struct TrustedMetadata {
    pub(crate) update: Update,
    pub(crate) timestamp: Verified<Timestamp>,
    pub(crate) snapshot: Verified<Snapshot>,
    pub(crate) targets: Verified<Targets>,
    /// Delegated roles as they are trusted by one delegator with certain keys. Another delegator, or the same one
    /// reached on another way, may trust other keys.
    pub(crate) delegated: BTreeMap<EdgeId, Verified<Targets>>,
}

impl TrustedMetadata {
    /// The root.
    #[must_use]
    pub fn root(&self) -> &Verified<Root> {
        &self.update.root
    }

    /// The timestamp.
    #[must_use]
    pub fn timestamp(&self) -> &Verified<Timestamp> {
        &self.timestamp
    }

    /// The snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Verified<Snapshot> {
        &self.snapshot
    }

    /// The top-level targets role.
    #[must_use]
    pub fn targets(&self) -> &Verified<Targets> {
        &self.targets
    }

    /// The delegated roles that were needed so far: delegator, name, and what it says.
    pub fn delegated(&self) -> impl Iterator<Item = (&RoleName, &RoleName, &Verified<Targets>)> {
        self.delegated.iter().map(|((delegator, role, _), targets)| (delegator, role, targets))
    }

    /// The time at which everything here was judged (5.1).
    #[must_use]
    pub fn start_time(&self) -> DateTime<Utc> {
        self.update.start_time
    }

    /// Looks for a target (5.6.7): a stage that asks for the delegated roles on the way.
    #[must_use]
    pub fn search(&mut self, path: TargetPath) -> TargetSearch<'_> {
        TargetSearch::start(self, path)
    }

    /// Lists all targets that a search would find: a stage that asks for every delegated role.
    #[must_use]
    pub fn listing(&mut self) -> Listing<'_> {
        Listing::start(self)
    }

    /// What the role says in its delegator's eyes; none if it was not needed yet.
    pub(crate) fn role(&self, edge: &Edge) -> Option<&Verified<Targets>> {
        self.delegated.get(&edge.id)
    }

    /// Judges the file of a delegated role as its delegator says (5.6.1 to 5.6.6).
    pub(crate) fn verify(&self, edge: &Edge, bytes: alloc::vec::Vec<u8>) -> Result<Verified<Targets>, Error> {
        verify_targets(&self.update, &self.snapshot, edge.role(), &edge.ring, bytes)
    }
}

/// Who trusts, who is trusted, and a digest of the keys.
pub(crate) type EdgeId = (RoleName, RoleName, String);

/// One step of a walk over delegations.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) id: EdgeId,
    ring: KeyRing,
}

impl Edge {
    /// The step from `delegator` to `role`, for which `ring` vouches.
    pub(crate) fn new(delegator: &RoleName, role: RoleName, ring: KeyRing) -> Self {
        Self { id: (delegator.clone(), role, ring.fingerprint()), ring }
    }

    pub(crate) fn role(&self) -> &RoleName {
        &self.id.1
    }

    /// Who trusts, and who is trusted.
    pub(crate) fn names(&self) -> (RoleName, RoleName) {
        (self.id.0.clone(), self.id.1.clone())
    }
}
