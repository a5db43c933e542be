//! The published state of a repository. A client whose clock is set to the Unix epoch verifies this state, so that an
//! expired repository can still be read and renewed. Delegated roles are read on demand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lastmile_client::MemoryStore;
use lastmile_metadata::{
    DelegatedRoles, Delegations, Error as MetadataError, ErrorKind, FileContent, Found, KeyRing, Request,
    ReusableTargets, RoleName, Root, Snapshot, Stage as _, TargetPath, Targets, Timestamp, TrustedMetadata, Verified,
    VerifiedTargets, Version,
};

use crate::check::folder_state;
use crate::check::overlay::Overlay;
use crate::check::simulated_client;
use crate::files::layout::Layout;
use crate::{Error, NotFound, names, parallel};

/// The published metadata of a repository. Its methods never change the files. They verify the metadata with the code
/// of the client.
#[derive(Clone, Debug)]
pub struct Published {
    /// The newest root.
    pub root: Verified<Root>,
    /// The timestamp.
    pub timestamp: Verified<Timestamp>,
    /// The snapshot.
    pub snapshot: Verified<Snapshot>,
    trusted: TrustedMetadata,
    roles: BTreeMap<RoleName, KnownRole>,
    /// The metadata files. In a preview, some of these files exist only in memory.
    files: Overlay,
    shipped: Arc<[u8]>,
    memory: MemoryStore,
}

#[derive(Clone, Debug)]
struct KnownRole {
    /// Shared with callers instead of copied, because a role with many delegations is large.
    targets: Arc<Verified<Targets>>,
    /// `None` for the top-level targets role.
    delegator: Option<RoleName>,
}

/// A role and the delegation to it: the delegating role and the key ring. The top-level targets role has no delegation.
type DelegationEdge = (RoleName, Option<(RoleName, KeyRing)>);

impl Published {
    /// Creates the published state from the metadata that a client trusts. This client was shipped with the root
    /// `shipped`, and its store is `memory`.
    pub(crate) fn new(
        files: Overlay,
        trusted: &TrustedMetadata,
        shipped: Vec<u8>,
        memory: MemoryStore,
    ) -> Result<Self, Error> {
        let top = KnownRole { targets: held(&RoleName::TARGETS, trusted.targets())?, delegator: None };
        Ok(Self {
            root: trusted.root().clone(),
            timestamp: trusted.timestamp().clone(),
            snapshot: trusted.snapshot().clone(),
            trusted: trusted.for_maintenance(simulated_client::reading_limits()),
            roles: BTreeMap::from([(RoleName::TARGETS, top)]),
            files,
            shipped: shipped.into(),
            memory,
        })
    }

    /// Reads and verifies the published state with a client that was shipped with `root`. The client's clock is set to
    /// the Unix epoch, so that the client does not refuse expired metadata.
    pub(crate) fn open(layout: &Layout, root: Vec<u8>) -> Result<Self, Error> {
        let limits = simulated_client::reading_limits();
        let memory = MemoryStore::default();
        let client = simulated_client::client(root.clone(), Overlay::published(layout), memory.clone(), limits, None)?;
        let session = client.refresh_at(DateTime::<Utc>::UNIX_EPOCH);
        let session = session.map_err(|error| folder_state::explain(layout, simulated_client::from_client(error)))?;
        Self::new(Overlay::published(layout), session.trusted(), root, memory)
    }

    pub(crate) fn layout(&self) -> &Layout {
        self.files.layout()
    }

    pub(crate) fn files(&self) -> &Overlay {
        &self.files
    }

    /// Returns the same state, but reads all files from the folder. Call this only after the files that were in memory
    /// have been written to the folder.
    pub(crate) fn written(self) -> Self {
        let files = Overlay::published(self.files.layout());
        Self { files, ..self }
    }

    /// Returns the store of the client that verified the published state. A client with a copy of this store trusts the
    /// published state.
    pub(crate) fn memory(&self) -> &MemoryStore {
        &self.memory
    }

    /// Returns the root that was shipped with the client that verified the published state.
    pub(crate) fn shipped(&self) -> &[u8] {
        &self.shipped
    }

    /// Returns the top-level targets role in a form that other clients in this process can use without parsing it
    /// again.
    pub(crate) fn reusable_targets(&self) -> Option<ReusableTargets> {
        self.trusted.reusable_targets()
    }

    /// Returns the published version of a role, or `None` if the published snapshot does not list the role.
    #[must_use]
    pub fn version(&self, role: &RoleName) -> Option<Version> {
        match role.as_str() {
            "root" => Some(self.root.version),
            "timestamp" => Some(self.timestamp.version),
            "snapshot" => Some(self.snapshot.version),
            _ => self.snapshot.meta(role).map(|meta| meta.version),
        }
    }

    /// Returns the top-level targets role.
    ///
    /// # Errors
    /// Returns an error only if the role has not been read. This cannot happen, because opening the repository reads
    /// the role.
    pub fn targets(&self) -> Result<&Verified<Targets>, Error> {
        self.read_already(&RoleName::TARGETS).map(|targets| &**targets)
    }

    fn read_already(&self, role: &RoleName) -> Result<&Arc<Verified<Targets>>, Error> {
        let found = self.roles.get(role).map(|role| &role.targets);
        found.ok_or_else(|| NotFound::Role { role: role.clone() }.into())
    }

    /// Reads and verifies `role`. The role `delegator` must delegate to `role`, and `view` must be the content of
    /// `delegator`.
    pub fn read_delegated(&mut self, delegator: &RoleName, view: &Targets, role: &RoleName) -> Result<(), Error> {
        let ring = view
            .delegations
            .as_ref()
            .ok_or_else(|| error(role, ErrorKind::NotDelegated(delegator.clone())))
            .and_then(|delegations| delegations.key_ring(delegator, role))?;
        let targets = self.verify(role, &ring)?;
        self.roles.insert(role.clone(), KnownRole { targets, delegator: Some(delegator.clone()) });
        Ok(())
    }

    /// Reads those of `roles` that the published snapshot lists and that have not been read yet. `delegator` must
    /// delegate to all of `roles`. Does nothing if `delegator` has not been read or has no delegations.
    ///
    /// # Errors
    /// Returns an error if one of the roles does not verify.
    pub fn read_children(&mut self, delegator: &RoleName, roles: &[RoleName]) -> Result<(), Error> {
        let Some(delegations) = self.known(delegator).and_then(|view| view.delegations.as_ref()) else {
            return Ok(());
        };
        let is_wanted = |role: &&RoleName| !self.roles.contains_key(*role) && self.snapshot.meta(role).is_some();
        let wanted: BTreeSet<&RoleName> = roles.iter().filter(is_wanted).collect();
        let rings: Vec<_> = match &delegations.roles {
            DelegatedRoles::Listed(_) => delegations.rings().filter(|(role, _)| wanted.contains(role)).collect(),
            DelegatedRoles::Succinct(_) => {
                let ring = |role: &&RoleName| Ok(((*role).clone(), delegations.key_ring(delegator, role)?));
                wanted.iter().map(ring).collect::<Result<_, MetadataError>>()?
            }
        };
        let read = parallel::try_map(&rings, |(role, ring)| self.verify(role, ring))?;
        for ((role, _), targets) in rings.into_iter().zip(read) {
            self.roles.insert(role, KnownRole { targets, delegator: Some(delegator.clone()) });
        }
        Ok(())
    }

    /// Returns a targets role at any depth of delegation. Reads the role if necessary.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no role delegates to `role`, and [`Error::Untrusted`] if metadata does not verify.
    pub fn role(&mut self, role: &RoleName) -> Result<&Verified<Targets>, Error> {
        if !self.roles.contains_key(role) {
            let delegator = self.find_delegator(role)?;
            let view = Arc::clone(self.read_already(&delegator)?);
            self.read_delegated(&delegator, &view, role)?;
        }
        self.read_already(role).map(|targets| &**targets)
    }

    /// Returns the content of a role, if it has been read.
    #[must_use]
    pub fn known(&self, role: &RoleName) -> Option<&Targets> {
        self.roles.get(role).map(|role| &**role.targets)
    }

    /// Returns the canonical text of a role that has been read. Signatures cover this text.
    #[must_use]
    pub fn signed_text(&self, role: &RoleName) -> Option<&str> {
        Some(match role.as_str() {
            "root" => self.root.signed(),
            "timestamp" => self.timestamp.signed(),
            "snapshot" => self.snapshot.signed(),
            _ => self.roles.get(role)?.targets.signed(),
        })
    }

    /// Returns the canonical text of root, timestamp, snapshot and each targets role that has been read.
    pub(crate) fn signed_texts(&self) -> impl Iterator<Item = (&RoleName, &str)> {
        let top_level = [
            (&RoleName::ROOT, self.root.signed()),
            (&RoleName::TIMESTAMP, self.timestamp.signed()),
            (&RoleName::SNAPSHOT, self.snapshot.signed()),
        ];
        top_level.into_iter().chain(self.roles.iter().map(|(role, known)| (role, known.targets.signed())))
    }

    /// Returns the bytes of a targets role as they were read, or `None` if the role has not been read.
    #[cfg(feature = "http")]
    pub(crate) fn file(&self, role: &RoleName) -> Option<&[u8]> {
        self.roles.get(role).map(|role| &**role.targets.bytes())
    }

    /// Returns the length of a role's file in bytes, or `None` if the role has not been read.
    pub(crate) fn length(&self, role: &RoleName) -> Option<usize> {
        self.roles.get(role).map(|role| role.targets.bytes().len())
    }

    /// Returns all targets roles that have been read.
    pub fn read_roles(&self) -> impl Iterator<Item = (&RoleName, &Targets)> {
        self.roles.iter().map(|(name, role)| (name, &**role.targets))
    }

    /// Returns the role that delegates to `role`, if `role` has been read. Returns `None` for top-level roles.
    #[must_use]
    pub fn delegator(&self, role: &RoleName) -> Option<&RoleName> {
        self.roles.get(role)?.delegator.as_ref()
    }

    /// Returns the key ring of a role. For a delegated role, this is the key ring in the delegation through which the
    /// role was read.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the role is a delegated role that has not been read.
    pub fn key_ring(&self, role: &RoleName) -> Result<KeyRing, Error> {
        if role.is_top_level() {
            return Ok(self.root.key_ring(role)?);
        }
        let missing = || NotFound::Role { role: role.clone() };
        let delegator = self.delegator(role).ok_or_else(missing)?;
        let delegations = self.known(delegator).and_then(|targets| targets.delegations.as_ref()).ok_or_else(missing)?;
        Ok(delegations.key_ring(delegator, role)?)
    }

    /// Searches for `path` as clients do. Reads only the roles that the search visits.
    ///
    /// # Errors
    /// [`Error::Untrusted`] if a role that the search visits does not verify.
    pub fn find(&mut self, path: &TargetPath) -> Result<Option<Found>, Error> {
        let mut search = self.trusted.search(path.clone());
        while let Some(request) = search.request() {
            search.apply(Some(FileContent::Bytes(read(&self.files, &request)?)))?;
        }
        let found = search.finish()?;
        let mut delegator: Option<&RoleName> = None;
        for (role, targets) in found.iter().flat_map(|found| &found.chain) {
            if !self.roles.contains_key(role) {
                let read = KnownRole { targets: held(role, targets)?, delegator: delegator.cloned() };
                self.roles.insert(role.clone(), read);
            }
            delegator = Some(role);
        }
        Ok(found)
    }

    /// Reads every delegated role, at any depth. Returns the top-level targets role, and then one entry for each
    /// delegation: the delegated role and the role that delegates to it. The entries are in breadth-first order.
    pub fn read_all(&mut self) -> Result<Vec<(RoleName, Option<RoleName>)>, Error> {
        let edges = self.read_edges()?.into_iter();
        let named = edges.map(|(role, delegation)| (role, delegation.map(|(delegator, _)| delegator)));
        Ok(named.collect())
    }

    /// Like [`Published::read_all`], but also returns the key ring in each delegation.
    fn read_edges(&mut self) -> Result<Vec<DelegationEdge>, Error> {
        let mut order = vec![(RoleName::TARGETS, None)];
        let mut seen = BTreeSet::from([RoleName::TARGETS]);
        let mut waiting = VecDeque::from([RoleName::TARGETS]);
        while let Some(delegator) = waiting.pop_front() {
            let view = Arc::clone(self.read_already(&delegator)?);
            let rings: Vec<_> = view.delegations.iter().flat_map(Delegations::rings).collect();
            let unread: Vec<_> = rings.iter().filter(|(child, _)| !self.roles.contains_key(child)).collect();
            let read = parallel::try_map(&unread, |(child, ring)| self.verify(child, ring))?;
            for ((child, _), targets) in unread.into_iter().zip(read) {
                self.roles.insert(child.clone(), KnownRole { targets, delegator: Some(delegator.clone()) });
            }
            for (child, ring) in rings {
                if seen.insert(child.clone()) {
                    waiting.push_back(child.clone());
                }
                order.push((child, Some((delegator.clone(), ring))));
            }
        }
        Ok(order)
    }

    /// Returns the roles that `name` stands for. A name that ends in `*` stands for all delegated roles whose names
    /// begin with the text before `*`. Any other name stands for the role with this name, even if there is no such
    /// role.
    pub fn named(&mut self, name: &str) -> Result<Vec<RoleName>, Error> {
        Ok(self.edges_named(name)?.into_iter().map(|(role, _)| role).collect())
    }

    /// Like [`Published::named`], but returns only the first bin of each set of succinct bins. This is sufficient for a
    /// change of keys, because the bins share their keys.
    pub fn expand(&mut self, name: &str) -> Result<Vec<RoleName>, Error> {
        let mut succinct = BTreeSet::new();
        let mut fitting = Vec::new();
        for (role, delegator) in self.edges_named(name)? {
            let view = delegator.as_ref().and_then(|delegator| self.known(delegator)?.delegations.as_ref());
            let shared = view.is_some_and(|view| matches!(view.roles, DelegatedRoles::Succinct(_)));
            if !shared || succinct.insert(delegator) {
                fitting.push(role);
            }
        }
        Ok(fitting)
    }

    fn edges_named(&mut self, name: &str) -> Result<Vec<(RoleName, Option<RoleName>)>, Error> {
        let Some(start) = name.strip_suffix('*') else {
            return Ok(vec![(names::role(name)?, None)]);
        };
        let mut edges = self.read_all()?;
        edges.retain(|(role, delegator)| delegator.is_some() && role.as_str().starts_with(start));
        if edges.is_empty() { Err(NotFound::RolesBeginningWith { start: start.to_string() }.into()) } else { Ok(edges) }
    }

    /// Returns whether a metadata file for this version of `role` exists, published or not. The version number of such
    /// a file cannot be used again.
    #[must_use]
    pub fn is_taken(&self, role: &RoleName, version: Version) -> bool {
        self.files.has(role, version)
    }

    /// Returns the versions of the root files in the folder, in ascending order. Leaves out versions after the newest
    /// verified root.
    #[must_use]
    pub fn root_versions(&self) -> Vec<Version> {
        let mut versions = Vec::new();
        let mut next = Some(Version::ONE);
        while let Some(version) = next.filter(|version| *version <= self.root.version) {
            if self.is_taken(&RoleName::ROOT, version) {
                versions.push(version);
            }
            next = version.next();
        }
        versions
    }

    /// Returns the version of the oldest root in the folder. Some clients may have been shipped with this root.
    #[must_use]
    pub(crate) fn oldest_root(&self) -> Version {
        let all = std::iter::successors(Some(Version::ONE), |version| version.next());
        let mut all = all.take_while(|version| *version <= self.root.version);
        all.find(|version| self.is_taken(&RoleName::ROOT, *version)).unwrap_or(self.root.version)
    }

    fn find_delegator(&mut self, role: &RoleName) -> Result<RoleName, Error> {
        let delegates = |targets: &Targets| {
            targets.delegations.as_ref().is_some_and(|delegations| match &delegations.roles {
                DelegatedRoles::Listed(roles) => roles.iter().any(|delegation| delegation.name == *role),
                DelegatedRoles::Succinct(bins) => bins.contains(role),
            })
        };
        // Check the top-level targets role first, because it usually delegates to all bins, of which there may be many.
        if self.known(&RoleName::TARGETS).is_some_and(delegates) {
            return Ok(RoleName::TARGETS);
        }
        // Check the roles that have already been read, before reading other files.
        if let Some((name, _)) = self.roles.iter().find(|(_, known)| delegates(&known.targets)) {
            return Ok(name.clone());
        }
        let mut waiting = VecDeque::from([RoleName::TARGETS]);
        let mut seen = BTreeSet::new();
        while let Some(name) = waiting.pop_front() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let view = Arc::clone(self.read_already(&name)?);
            if delegates(&view) {
                return Ok(name);
            }
            for child in view.delegations.iter().flat_map(Delegations::names) {
                if !self.roles.contains_key(&child) {
                    self.read_delegated(&name, &view, &child)?;
                }
                waiting.push_back(child);
            }
        }
        Err(NotFound::Delegation { role: role.clone() }.into())
    }

    /// Reads and verifies a role (TUF specification 5.6). The role is verified because files in the folder are not
    /// trusted.
    fn verify(&self, role: &RoleName, ring: &KeyRing) -> Result<Arc<Verified<Targets>>, Error> {
        let verify = || {
            let file = read(&self.files, &self.trusted.delegated_request(role)?)?;
            held(role, &self.trusted.verify_delegated(role, ring, FileContent::Bytes(file))?)
        };
        verify().map_err(|error| folder_state::explain(self.files.layout(), error))
    }
}

fn read(files: &Overlay, request: &Request) -> Result<Vec<u8>, Error> {
    let file = files.metadata(&request.role, request.version, request.max_length)?;
    file.ok_or_else(|| error(&request.role, ErrorKind::Absent).into())
}

/// Returns the content of a verified role. The content is always in memory, because [`Published::verify`] verifies a
/// role from its bytes and never from an open file.
fn held(role: &RoleName, targets: &VerifiedTargets) -> Result<Arc<Verified<Targets>>, Error> {
    targets.held().cloned().ok_or_else(|| error(role, ErrorKind::Absent).into())
}

fn error(role: &RoleName, kind: ErrorKind) -> MetadataError {
    MetadataError { role: role.clone(), kind }
}
