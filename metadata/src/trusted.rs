//! The trusted metadata of one update: the four top-level roles, and the delegated roles loaded so far.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use chrono::{DateTime, Utc};

use crate::key::Fingerprint;
use crate::role::router::Router;
use crate::update::Update;
use crate::{
    ErrorKind, KeyRing, Limit, Limits, ReusableTargets, RoleName, Root, Snapshot, Timestamp, Verified, VerifiedTargets,
};

/// The trusted metadata of one update. All roles, including delegated roles that are loaded later, are verified as of
/// the start time of the update.
#[derive(Clone, Debug)]
pub struct TrustedMetadata {
    pub(crate) update: Update,
    pub(crate) timestamp: Verified<Timestamp>,
    pub(crate) snapshot: Verified<Snapshot>,
    pub(crate) targets: VerifiedTargets,
    /// The delegated roles. A role occurs once for each set of keys with which it was verified, because two delegators
    /// may trust different keys for the same role.
    pub(crate) delegated: BTreeMap<TrustedWith, VerifiedTargets>,
    /// For each role, an index of its delegations. `None` before [`TrustedMetadata::expect_many_searches`] is called.
    routers: Option<BTreeMap<TrustedWith, Arc<Router>>>,
}

impl TrustedMetadata {
    pub(crate) fn new(
        update: Update,
        timestamp: Verified<Timestamp>,
        snapshot: Verified<Snapshot>,
        targets: VerifiedTargets,
    ) -> Self {
        Self { update, timestamp, snapshot, targets, delegated: BTreeMap::new(), routers: None }
    }

    /// Returns the root.
    #[must_use]
    pub fn root(&self) -> &Verified<Root> {
        &self.update.root
    }

    /// Returns the timestamp.
    #[must_use]
    pub fn timestamp(&self) -> &Verified<Timestamp> {
        &self.timestamp
    }

    /// Returns the snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Verified<Snapshot> {
        &self.snapshot
    }

    /// Returns the top-level targets role.
    #[must_use]
    pub fn targets(&self) -> &VerifiedTargets {
        &self.targets
    }

    /// Returns the top-level targets role in a form that later updates in this process can reuse. Returns `None` if the
    /// role is read from a file.
    #[must_use]
    pub fn reusable_targets(&self) -> Option<ReusableTargets> {
        let ring = self.update.root.key_ring(&RoleName::TARGETS).ok()?;
        Some(ReusableTargets::new(Arc::clone(self.targets.held()?), &ring))
    }

    /// Returns the delegated roles loaded so far. A role that is trusted with several sets of keys occurs once for each
    /// set.
    pub fn delegated(&self) -> impl Iterator<Item = (&RoleName, &VerifiedTargets)> {
        self.delegated.iter().map(|((role, _), targets)| (role, targets))
    }

    /// Returns a role to which the top-level targets role delegates. The role was verified with the keys that the
    /// top-level role lists for it. Returns `None` if the role has not been loaded.
    #[must_use]
    pub fn delegated_by_targets(&self, role: &RoleName) -> Option<&VerifiedTargets> {
        let ring = self.targets.delegations()?.key_ring(&RoleName::TARGETS, role).ok()?;
        self.delegated.get(&(role.clone(), ring.fingerprint()))
    }

    /// Returns the start time of the update. All metadata must expire after this time (TUF specification 5.1).
    #[must_use]
    pub fn start_time(&self) -> DateTime<Utc> {
        self.update.start_time
    }

    /// Prepares for a large number of searches by indexing the delegations of each role once. This does not change the
    /// results of searches.
    pub fn expect_many_searches(&mut self) {
        if self.routers.is_some() {
            return;
        }
        let top = (top_level(), &self.targets);
        let roles = self.delegated.iter().map(|(with, role)| (with.clone(), role));
        let routers = [top].into_iter().chain(roles).filter_map(|(with, role)| Some((with, router_of(role)?)));
        self.routers = Some(routers.collect());
    }

    pub(crate) fn top_level_router(&self) -> Option<&Router> {
        self.routers.as_ref()?.get(&top_level()).map(|router| &**router)
    }

    pub(crate) fn router(&self, edge: &Edge) -> Option<&Router> {
        self.routers.as_ref()?.get(&edge.trusted_with()).map(|router| &**router)
    }

    /// Returns a copy of the metadata for repository tools. Delegated roles that are loaded into the copy may have
    /// expired, and must satisfy `limits` instead of the limits of this update.
    #[must_use]
    pub fn for_maintenance(&self, limits: Limits) -> Self {
        let mut trusted = self.clone();
        trusted.update.start_time = DateTime::<Utc>::MIN_UTC;
        trusted.update.limits = limits;
        trusted
    }

    /// Returns the role at the end of `edge`, verified with the keys that its delegator lists. Returns `None` if it has
    /// not been loaded.
    pub(crate) fn role(&self, edge: &Edge) -> Option<&VerifiedTargets> {
        self.delegated.get(&edge.trusted_with())
    }

    /// Adds a role that [`TrustedMetadata::verify`] has accepted.
    pub(crate) fn insert(&mut self, edge: &Edge, role: VerifiedTargets) {
        if let (Some(routers), Some(router)) = (&mut self.routers, router_of(&role)) {
            routers.insert(edge.trusted_with(), router);
        }
        self.delegated.insert(edge.trusted_with(), role);
    }
}

/// Returns the key of the top-level targets role in the map of routers. The key cannot collide with the key of a
/// delegated role, because no delegated role can be named `targets`.
fn top_level() -> TrustedWith {
    (RoleName::TARGETS, Fingerprint::default())
}

fn router_of(role: &VerifiedTargets) -> Option<Arc<Router>> {
    role.delegations().map(|delegations| Arc::new(Router::of(delegations)))
}

/// The name of a role, and a digest of the key ring with which the role was verified.
pub(crate) type TrustedWith = (RoleName, Fingerprint);

/// A delegation from one role to another, as an edge of the delegation graph.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    delegator: RoleName,
    role: RoleName,
    ring: KeyRing,
    /// The length of the delegation chain from the top-level targets role to the delegated role.
    pub(crate) depth: u32,
}

impl Edge {
    pub(crate) fn new(delegator: &RoleName, role: RoleName, ring: KeyRing, depth: u32) -> Self {
        Self { delegator: delegator.clone(), role, ring, depth }
    }

    pub(crate) fn role(&self) -> &RoleName {
        &self.role
    }

    pub(crate) fn ring(&self) -> &KeyRing {
        &self.ring
    }

    fn trusted_with(&self) -> TrustedWith {
        (self.role.clone(), self.ring.fingerprint())
    }

    pub(crate) fn check_depth(&self, most: u32) -> Result<(), ErrorKind> {
        if self.depth > most {
            return Err(ErrorKind::LimitReached { limit: Limit::DelegationDepth, value: most.into() });
        }
        Ok(())
    }

    /// Returns the delegator and the delegated role.
    pub(crate) fn names(&self) -> (RoleName, RoleName) {
        (self.delegator.clone(), self.role.clone())
    }
}
