//! The trusted metadata of one update: the four top-level roles, and the delegated roles loaded so far.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use chrono::{DateTime, Utc};

use crate::key::Fingerprint;
use crate::role::router::Router;
use crate::stored::StoredTargets;
use crate::update::listing::Listing;
use crate::update::search::TargetSearch;
use crate::update::targets::{missing_targets, request_targets, verify_targets};
use crate::update::{Request, Update};
use crate::verify::Required;
use crate::{
    Accepted, Delegations, Error, ErrorKind, FileContent, Header, KeyRing, Limit, Limits, RoleName, Root, Snapshot,
    TargetFile, TargetPath, Targets, Timestamp, Verified, Version,
};

/// The trusted metadata of one update. All roles, including delegated roles that are loaded later, are verified at the
/// start time of the update.
#[derive(Clone, Debug)]
pub struct TrustedMetadata {
    pub(crate) update: Update,
    pub(crate) timestamp: Verified<Timestamp>,
    pub(crate) snapshot: Verified<Snapshot>,
    pub(crate) targets: VerifiedTargets,
    /// Delegated roles, by name and trusted keys. Two delegators may trust different keys for the same role.
    pub(crate) delegated: BTreeMap<TrustedWith, VerifiedTargets>,
    /// Routers for the delegations of the roles, if very many searches are expected.
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

    /// Returns the top-level targets role for reuse by later updates in this process, or `None` if it is read from a
    /// file.
    #[must_use]
    pub fn reusable_targets(&self) -> Option<ReusableTargets> {
        let ring = self.update.root.key_ring(&RoleName::TARGETS).ok()?;
        Some(ReusableTargets { targets: Arc::clone(self.targets.held()?), ring: ring.fingerprint() })
    }

    /// Returns the delegated roles loaded so far. A role that is trusted with several sets of keys occurs once per set.
    pub fn delegated(&self) -> impl Iterator<Item = (&RoleName, &VerifiedTargets)> {
        self.delegated.iter().map(|((role, _), targets)| (role, targets))
    }

    /// Returns a delegated role, verified with the keys that the top-level targets role lists, or `None` if it has not
    /// been loaded.
    #[must_use]
    pub fn delegated_by_targets(&self, role: &RoleName) -> Option<&VerifiedTargets> {
        let ring = self.targets.delegations()?.key_ring(&RoleName::TARGETS, role).ok()?;
        self.delegated.get(&(role.clone(), ring.fingerprint()))
    }

    /// Returns the time at which this metadata was verified (5.1).
    #[must_use]
    pub fn start_time(&self) -> DateTime<Utc> {
        self.update.start_time
    }

    /// Prepares for very many searches by indexing the delegations of each role once. This does not change the results
    /// of searches.
    pub fn expect_many_searches(&mut self) {
        if self.routers.is_some() {
            return;
        }
        let top = (top_level(), &self.targets);
        let roles = self.delegated.iter().map(|(with, role)| (with.clone(), role));
        let routers = [top].into_iter().chain(roles).filter_map(|(with, role)| Some((with, router_of(role)?)));
        self.routers = Some(routers.collect());
    }

    /// Returns the router for the delegations of the top-level targets role, if there is one.
    pub(crate) fn top_level_router(&self) -> Option<&Router> {
        self.routers.as_ref()?.get(&top_level()).map(|router| &**router)
    }

    /// Returns the router for the delegations of a delegated role, if there is one.
    pub(crate) fn router(&self, edge: &Edge) -> Option<&Router> {
        self.routers.as_ref()?.get(&edge.trusted_with()).map(|router| &**router)
    }

    /// Starts a search for a target (5.6.7): a stage that requests the delegated roles on the path to it.
    #[must_use]
    pub fn search(&mut self, path: TargetPath) -> TargetSearch<'_> {
        TargetSearch::start(self, path)
    }

    /// Starts to list all targets that a search would find: a stage that requests every delegated role.
    #[must_use]
    pub fn listing(&mut self) -> Listing<'_> {
        Listing::start(self)
    }

    /// Returns the request for the file of a delegated role, for [`TrustedMetadata::verify_delegated`] (5.6.1).
    ///
    /// # Errors
    /// [`ErrorKind::NotListed`], or [`ErrorKind::ListedTooLong`] if the listed length exceeds a limit.
    pub fn delegated_request(&self, role: &RoleName) -> Result<Request, Error> {
        let request = request_targets(&self.update, &self.snapshot, role);
        request.ok_or_else(|| missing_targets(&self.update, &self.snapshot, role))
    }

    /// Verifies the file of a delegated role (5.6.1 to 5.6.6). `ring` must be one of the [`Delegations::rings`] of a
    /// delegator.
    ///
    /// # Errors
    /// An error if the file is refused.
    pub fn verify_delegated(
        &self,
        role: &RoleName,
        ring: &KeyRing,
        file: FileContent,
    ) -> Result<VerifiedTargets, Error> {
        verify_targets(&self.update, &self.snapshot, role, ring, file, None)
    }

    /// Returns the same metadata for repository maintenance: roles that are loaded later may have expired, and `limits`
    /// replace the limits of the client.
    #[must_use]
    pub fn for_maintenance(&self, limits: Limits) -> Self {
        let mut trusted = self.clone();
        trusted.update.start_time = DateTime::<Utc>::MIN_UTC;
        trusted.update.limits = limits;
        trusted
    }

    /// Returns the role, verified with the keys that its delegator lists, or `None` if it was not loaded yet.
    pub(crate) fn role(&self, edge: &Edge) -> Option<&VerifiedTargets> {
        self.delegated.get(&edge.trusted_with())
    }

    /// Verifies the file of a delegated role with the keys that its delegator lists (5.6.1 to 5.6.6).
    pub(crate) fn verify(&self, edge: &Edge, file: FileContent) -> Result<VerifiedTargets, Error> {
        // Reuse the parsed content if the same bytes are already trusted with other keys.
        let next = self.delegated.range((edge.role.clone(), Fingerprint::default())..).next();
        let same = next.filter(|((role, _), _)| *role == edge.role).and_then(|(_, targets)| targets.held());
        verify_targets(&self.update, &self.snapshot, &edge.role, &edge.ring, file, same)
    }

    /// Adds a role that [`TrustedMetadata::verify`] has accepted.
    pub(crate) fn insert(&mut self, edge: &Edge, role: VerifiedTargets) {
        if let (Some(routers), Some(router)) = (&mut self.routers, router_of(&role)) {
            routers.insert(edge.trusted_with(), router);
        }
        self.delegated.insert(edge.trusted_with(), role);
    }
}

/// The identifier of the top-level targets role, for use among the identifiers of delegated roles. No delegated role
/// can have the same name.
fn top_level() -> TrustedWith {
    (RoleName::TARGETS, Fingerprint::default())
}

fn router_of(role: &VerifiedTargets) -> Option<Arc<Router>> {
    role.delegations().map(|delegations| Arc::new(Router::of(delegations)))
}

/// The top-level targets role of an update, for reuse by later updates in the same process. A later update with the
/// same bytes and the same keys need not parse and verify the file again. All other checks are repeated.
#[derive(Clone, Debug)]
pub struct ReusableTargets {
    targets: Arc<Verified<Targets>>,
    ring: Fingerprint,
}

impl ReusableTargets {
    fn matches(&self, role: &RoleName, ring: &KeyRing, bytes: &[u8]) -> bool {
        *role == RoleName::TARGETS && **self.targets.bytes() == *bytes && self.ring == ring.fingerprint()
    }
}

/// A trusted targets role, in memory or in a file.
#[derive(Clone, Debug)]
pub struct VerifiedTargets(Backing);

#[derive(Clone, Debug)]
enum Backing {
    Held(Arc<Verified<Targets>>),
    Stored(Arc<StoredTargets>),
}

impl VerifiedTargets {
    /// Verifies the file against the listed length and hashes (5.6.2) and with the key ring (5.6.3). Reuses already
    /// parsed content: `known` from an earlier update, or `same` from a verification with other keys.
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
        // A file that is not canonical may still be valid, but must be read into memory.
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

    /// Returns the common members of the role.
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

    /// Returns the target that this role itself lists for `path`. Only a search checks whether the role is trusted for
    /// `path`.
    ///
    /// # Errors
    /// [`ErrorKind::StoredFileChanged`] if the role is read from a file that has changed.
    pub fn target(&self, path: &TargetPath) -> Result<Option<TargetFile>, ErrorKind> {
        match &self.0 {
            Backing::Held(targets) => Ok(targets.target(path)),
            Backing::Stored(targets) => targets.target(path),
        }
    }

    /// Returns the paths of all targets that this role itself lists, in order.
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

    /// Returns the file as it was received, for storing it.
    pub(crate) fn to_store(&self) -> Accepted {
        match &self.0 {
            Backing::Held(targets) => Accepted::Received(targets.bytes().clone()),
            Backing::Stored(targets) => Accepted::File(Arc::clone(targets.file())),
        }
    }

    /// Returns the metadata, or `None` if the role is read from a file.
    #[must_use]
    pub fn held(&self) -> Option<&Arc<Verified<Targets>>> {
        match &self.0 {
            Backing::Held(targets) => Some(targets),
            Backing::Stored(_) => None,
        }
    }
}

/// The name of a role, and a digest of the keys with which it is trusted.
pub(crate) type TrustedWith = (RoleName, Fingerprint);

/// A delegation from one role to another, as an edge of the delegation graph.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    delegator: RoleName,
    role: RoleName,
    ring: KeyRing,
    /// The number of delegations from the top-level targets role to the delegated role.
    pub(crate) depth: u32,
}

impl Edge {
    /// Creates the edge from `delegator` to `role`, which is trusted with `ring`. `role` is `depth` delegations below
    /// the top-level targets role.
    pub(crate) fn new(delegator: &RoleName, role: RoleName, ring: KeyRing, depth: u32) -> Self {
        Self { delegator: delegator.clone(), role, ring, depth }
    }

    pub(crate) fn role(&self) -> &RoleName {
        &self.role
    }

    fn trusted_with(&self) -> TrustedWith {
        (self.role.clone(), self.ring.fingerprint())
    }

    /// Returns an error if the delegated role is too far from the top-level targets role.
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
