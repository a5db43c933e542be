//! All that one update has come to trust: the four top-level roles, and the delegated ones that were needed.

use alloc::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::update::Update;
use crate::update::listing::Listing;
use crate::update::search::TargetSearch;
use crate::update::targets::verify_targets;
use crate::{Error, ErrorKind, KeyRing, RoleName, Root, Snapshot, TargetPath, Targets, Timestamp, Verified};

/// The trusted metadata of one update. It was judged, and what is still to come will be, at one time: its start.
#[derive(Clone, Debug)]
pub struct TrustedMetadata {
    pub(crate) update: Update,
    pub(crate) timestamp: Verified<Timestamp>,
    pub(crate) snapshot: Verified<Snapshot>,
    pub(crate) targets: Verified<Targets>,
    /// Delegated roles by edge: who trusts, and who is trusted. Another delegator may trust other keys.
    pub(crate) delegated: BTreeMap<(RoleName, RoleName), Verified<Targets>>,
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
        self.delegated.iter().map(|((delegator, role), targets)| (delegator, role, targets))
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

    /// What `role` says in its delegator's eyes; none if it was not needed yet.
    pub(crate) fn role(&self, edge: &Edge) -> Option<&Verified<Targets>> {
        self.delegated.get(&(edge.delegator.clone(), edge.role.clone()))
    }

    /// Judges the file of a delegated role as its delegator says (5.6.1 to 5.6.6).
    pub(crate) fn verify(&self, edge: &Edge, bytes: alloc::vec::Vec<u8>) -> Result<Verified<Targets>, Error> {
        verify_targets(&self.update, &self.snapshot, &edge.role, &self.key_ring(edge)?, bytes)
    }

    fn key_ring(&self, edge: &Edge) -> Result<KeyRing, Error> {
        let not_delegated = || ErrorKind::NotDelegated(edge.delegator.clone()).of(&edge.role);
        let delegator: &Targets = match &edge.above {
            None => &self.targets,
            Some(above) => self.delegated.get(&(above.clone(), edge.delegator.clone())).ok_or_else(not_delegated)?,
        };
        let delegations = delegator.delegations.as_ref().ok_or_else(not_delegated)?;
        delegations.key_ring(&edge.delegator, &edge.role)
    }
}

/// One step of a walk over delegations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    /// Who trusted the delegator; none above the top-level targets role.
    pub(crate) above: Option<RoleName>,
    /// Who trusts.
    pub(crate) delegator: RoleName,
    /// Who is trusted.
    pub(crate) role: RoleName,
}
