//! All that one update has come to trust: the four top-level roles, and the delegated ones that were needed.

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
    Accepted, Delegations, Error, ErrorKind, FileContent, KeyRing, Limit, Limits, RoleName, Root, Snapshot, TargetFile,
    TargetPath, Targets, Timestamp, Verified, Version,
};

/// The trusted metadata of one update. It was judged, and what is still to come will be, at one time: its start.
#[derive(Clone, Debug)]
pub struct TrustedMetadata {
    pub(crate) update: Update,
    pub(crate) timestamp: Verified<Timestamp>,
    pub(crate) snapshot: Verified<Snapshot>,
    pub(crate) targets: VerifiedTargets,
    /// Delegated roles, each as it is trusted with certain keys. Another delegator may trust other keys.
    pub(crate) delegated: BTreeMap<TrustedWith, VerifiedTargets>,
    /// The way from the top-level role on, where very many searches take it.
    pub(crate) router: Option<Arc<Router>>,
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
    pub fn targets(&self) -> &VerifiedTargets {
        &self.targets
    }

    /// The top-level targets role for later updates in this process; none where it is read where it is stored.
    #[must_use]
    pub fn reusable_targets(&self) -> Option<ReusableTargets> {
        let ring = self.update.root.key_ring(&RoleName::TARGETS).ok()?;
        Some(ReusableTargets { targets: Arc::clone(self.targets.held()?), ring: ring.fingerprint() })
    }

    /// The delegated roles that were needed so far; one that is trusted with several sets of keys comes once for each.
    pub fn delegated(&self) -> impl Iterator<Item = (&RoleName, &VerifiedTargets)> {
        self.delegated.iter().map(|((role, _), targets)| (role, targets))
    }

    /// A delegated role that was needed so far, as the top-level targets role trusts it.
    #[must_use]
    pub fn delegated_by_targets(&self, role: &RoleName) -> Option<&VerifiedTargets> {
        let ring = self.targets.delegations()?.key_ring(&RoleName::TARGETS, role).ok()?;
        self.delegated.get(&(role.clone(), ring.fingerprint()))
    }

    /// The time at which everything here was judged (5.1).
    #[must_use]
    pub fn start_time(&self) -> DateTime<Utc> {
        self.update.start_time
    }

    /// Very many searches follow: what each would look for among the delegations of the top-level role is found once for
    /// all. The searches take the same way and come to the same end.
    pub fn expect_many_searches(&mut self) {
        self.router = self.targets.delegations().and_then(Delegations::router_for_searches).map(Arc::new);
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

    /// The file of a delegated role, to be fetched for [`TrustedMetadata::verify_delegated`] (5.6.1).
    ///
    /// # Errors
    /// [`ErrorKind::NotListed`], or a limit that its listed length exceeds.
    pub fn delegated_request(&self, role: &RoleName) -> Result<Request, Error> {
        let request = request_targets(&self.update, &self.snapshot, role);
        request.ok_or_else(|| missing_targets(&self.update, &self.snapshot, role))
    }

    /// Judges the file of a delegated role that a delegator trusts with `ring` (5.6.1 to 5.6.6), which is one of its
    /// [`Delegations::rings`].
    ///
    /// # Errors
    /// The verdict.
    pub fn verify_delegated(
        &self,
        role: &RoleName,
        ring: &KeyRing,
        file: FileContent,
    ) -> Result<VerifiedTargets, Error> {
        verify_targets(&self.update, &self.snapshot, role, ring, file, None)
    }

    /// The same metadata for those who maintain the repository: expiry is not checked for roles that are loaded from here
    /// on, and `limits` replace those of the client.
    #[must_use]
    pub fn for_maintenance(&self, limits: Limits) -> Self {
        let mut trusted = self.clone();
        (trusted.update.start_time, trusted.update.limits) = (DateTime::<Utc>::MIN_UTC, limits);
        trusted
    }

    /// What the role says in its delegator's eyes; none if it was not needed yet.
    pub(crate) fn role(&self, edge: &Edge) -> Option<&VerifiedTargets> {
        self.delegated.get(&edge.trusted_with())
    }

    /// Judges the file of a delegated role as its delegator says (5.6.1 to 5.6.6).
    pub(crate) fn verify(&self, edge: &Edge, file: FileContent) -> Result<VerifiedTargets, Error> {
        // The same bytes that are trusted with other keys are read once.
        let known = self.delegated.range((edge.role.clone(), Fingerprint::default())..).next();
        let known = known.filter(|((role, _), _)| *role == edge.role).and_then(|(_, targets)| targets.held());
        verify_targets(&self.update, &self.snapshot, &edge.role, &edge.ring, file, known)
    }

    /// Keeps a role that was judged so.
    pub(crate) fn insert(&mut self, edge: &Edge, role: VerifiedTargets) {
        self.delegated.insert(edge.trusted_with(), role);
    }
}

/// The top-level targets role as an update came to trust it. A later update of the same process that meets the same bytes
/// under the same keys need not read and verify them again; all else is judged anew.
#[derive(Clone, Debug)]
pub struct ReusableTargets {
    targets: Arc<Verified<Targets>>,
    ring: Fingerprint,
}

impl ReusableTargets {
    fn is(&self, role: &RoleName, ring: &KeyRing, bytes: &[u8]) -> bool {
        *role == RoleName::TARGETS && **self.targets.bytes() == *bytes && self.ring == ring.fingerprint()
    }
}

/// A targets role that is trusted: held in memory, or read where it is stored.
#[derive(Clone, Debug)]
pub struct VerifiedTargets(Backing);

#[derive(Clone, Debug)]
enum Backing {
    Held(Arc<Verified<Targets>>),
    Stored(Arc<StoredTargets>),
}

impl VerifiedTargets {
    /// 5.6.2 and 5.6.3: the file that is listed, signed by the ring. What was verified before in this process, or with
    /// other keys, is not read again.
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
        // What cannot be read where it is may still be good.
        let bytes = file.into_bytes().ok_or_else(|| ErrorKind::StoredFileChanged.of(role))?;
        if let Some(known) = known.filter(|known| known.is(role, required.ring, &bytes)) {
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

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        match &self.0 {
            Backing::Held(targets) => targets.version,
            Backing::Stored(targets) => targets.version(),
        }
    }

    /// From when on it is not trusted.
    #[must_use]
    pub fn expires(&self) -> DateTime<Utc> {
        match &self.0 {
            Backing::Held(targets) => targets.expires,
            Backing::Stored(targets) => targets.expires(),
        }
    }

    /// Whom it trusts with what.
    #[must_use]
    pub fn delegations(&self) -> Option<&Delegations> {
        match &self.0 {
            Backing::Held(targets) => targets.delegations.as_ref(),
            Backing::Stored(targets) => targets.delegations(),
        }
    }

    /// What this role itself lists about `path`. Whether it may is for the search to say.
    ///
    /// # Errors
    /// [`ErrorKind::StoredFileChanged`].
    pub fn target(&self, path: &TargetPath) -> Result<Option<TargetFile>, ErrorKind> {
        match &self.0 {
            Backing::Held(targets) => Ok(targets.target(path)),
            Backing::Stored(targets) => targets.target(path),
        }
    }

    /// The paths of all that this role itself lists, in their order.
    pub(crate) fn paths(&self) -> Box<dyn Iterator<Item = Result<TargetPath, ErrorKind>> + '_> {
        match &self.0 {
            Backing::Held(targets) => Box::new(targets.paths().map(Ok)),
            Backing::Stored(targets) => Box::new(targets.paths()),
        }
    }

    /// How many targets this role itself lists.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Backing::Held(targets) => targets.len(),
            Backing::Stored(targets) => targets.len(),
        }
    }

    /// Whether this role itself lists none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file as it was received, to be kept.
    pub(crate) fn kept(&self) -> Accepted {
        match &self.0 {
            Backing::Held(targets) => Accepted::Received(targets.bytes().clone()),
            Backing::Stored(targets) => Accepted::File(Arc::clone(targets.file())),
        }
    }

    /// The file, where it is held in memory and not read in parts.
    #[must_use]
    pub fn held(&self) -> Option<&Arc<Verified<Targets>>> {
        match &self.0 {
            Backing::Held(targets) => Some(targets),
            Backing::Stored(_) => None,
        }
    }
}

/// A role, and a digest of the keys that it is trusted with.
pub(crate) type TrustedWith = (RoleName, Fingerprint);

/// One step of a walk over delegations.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    delegator: RoleName,
    role: RoleName,
    ring: KeyRing,
    /// How many delegations lead from the top-level role to here.
    pub(crate) depth: u32,
}

impl Edge {
    /// The step from `delegator` to `role`, for which `ring` vouches: the one that is `depth` steps from the top.
    pub(crate) fn new(delegator: &RoleName, role: RoleName, ring: KeyRing, depth: u32) -> Self {
        Self { delegator: delegator.clone(), role, ring, depth }
    }

    pub(crate) fn role(&self) -> &RoleName {
        &self.role
    }

    fn trusted_with(&self) -> TrustedWith {
        (self.role.clone(), self.ring.fingerprint())
    }

    /// An error where this is too far from the top.
    pub(crate) fn check_depth(&self, most: u32) -> Result<(), ErrorKind> {
        if self.depth > most {
            return Err(ErrorKind::LimitReached { limit: Limit::DelegationDepth, value: most.into() });
        }
        Ok(())
    }

    /// Who trusts, and who is trusted.
    pub(crate) fn names(&self) -> (RoleName, RoleName) {
        (self.delegator.clone(), self.role.clone())
    }
}
