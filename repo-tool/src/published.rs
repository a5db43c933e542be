//! What a repository publishes now, read as a client reads it — but at the epoch, when nothing has expired yet,
//! so that an expired repository can be renewed. Delegated roles are read when they are asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use lastmile_client::MemoryStore;
use lastmile_keys::KeyMaterial;
use lastmile_metadata::{
    DelegatedRoles, Delegations, Error as MetadataError, ErrorKind, FileContent, Found, KeyRing, Request,
    ReusableTargets, RoleName, Root, Snapshot, Stage as _, TargetPath, Targets, Timestamp, TrustedMetadata, Verified,
    VerifiedTargets, Version,
};

use crate::draft::Draft;
use crate::edit::Edit;
use crate::files::layout::{self, Layout};
use crate::{Error, NotFound, check, names, parallel};

/// Published metadata, as the judge of all clients trusts it: this module reads the files, and decides nothing.
#[derive(Clone, Debug)]
pub struct Published {
    /// The newest root.
    pub root: Verified<Root>,
    /// The timestamp.
    pub timestamp: Verified<Timestamp>,
    /// The snapshot.
    pub snapshot: Verified<Snapshot>,
    trusted: TrustedMetadata,
    roles: BTreeMap<RoleName, Role>,
    layout: Layout,
    shipped: Arc<[u8]>,
    memory: MemoryStore,
}

/// A targets role that has been read.
#[derive(Clone, Debug)]
struct Role {
    /// Shared: a role that delegates to very many is large.
    targets: Arc<Verified<Targets>>,
    /// Who delegates to it; none for the top-level role.
    delegator: Option<RoleName>,
}

/// A role, who delegates to it, and whom that delegator trusts; nobody delegates to the top-level one.
type Edge = (RoleName, Option<(RoleName, KeyRing)>);

impl Published {
    /// What a client that was shipped with this root has come to trust, which stored it in `memory`.
    pub(crate) fn new(
        layout: &Layout,
        trusted: &TrustedMetadata,
        shipped: Vec<u8>,
        memory: MemoryStore,
    ) -> Result<Self, Error> {
        let top = Role { targets: held(&RoleName::TARGETS, trusted.targets())?, delegator: None };
        Ok(Self {
            root: trusted.root().clone(),
            timestamp: trusted.timestamp().clone(),
            snapshot: trusted.snapshot().clone(),
            trusted: trusted.for_maintenance(check::reading_limits()),
            roles: BTreeMap::from([(RoleName::TARGETS, top)]),
            layout: layout.clone(),
            shipped: shipped.into(),
            memory,
        })
    }

    /// Where it is published.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What the client stored that has come here: to go on as one that trusts what is published, fork it.
    pub(crate) fn memory(&self) -> &MemoryStore {
        &self.memory
    }

    /// The root with which the client was shipped that has come here.
    pub(crate) fn shipped(&self) -> &[u8] {
        &self.shipped
    }

    /// The top-level targets, for clients of the same process.
    pub(crate) fn reusable_targets(&self) -> Option<ReusableTargets> {
        self.trusted.reusable_targets()
    }

    /// The version of a targets role that clients are told of; none when it was never published.
    #[must_use]
    pub fn version(&self, role: &RoleName) -> Option<Version> {
        match role.as_str() {
            "root" => Some(self.root.version),
            "timestamp" => Some(self.timestamp.version),
            "snapshot" => Some(self.snapshot.version),
            _ => self.snapshot.meta(role).map(|meta| meta.version),
        }
    }

    /// The top-level targets role.
    ///
    /// # Errors
    /// Never in a repository that was opened.
    pub fn targets(&self) -> Result<&Verified<Targets>, Error> {
        self.read_already(&RoleName::TARGETS).map(|targets| &**targets)
    }

    /// A role that was read before.
    fn read_already(&self, role: &RoleName) -> Result<&Arc<Verified<Targets>>, Error> {
        let found = self.roles.get(role).map(|role| &role.targets);
        found.ok_or_else(|| NotFound::Role { role: role.clone() }.into())
    }

    /// Reads the role that `delegator`, which says so in `view`, delegates to.
    pub fn read_delegated(&mut self, delegator: &RoleName, view: &Targets, role: &RoleName) -> Result<(), Error> {
        let ring = view
            .delegations
            .as_ref()
            .ok_or_else(|| error(role, ErrorKind::NotDelegated(delegator.clone())))
            .and_then(|delegations| delegations.key_ring(delegator, role))?;
        let targets = self.verify(role, &ring)?;
        self.roles.insert(role.clone(), Role { targets, delegator: Some(delegator.clone()) });
        Ok(())
    }

    /// Reads those of `roles` that were published and are not read yet; all of them are delegated to by `delegator`,
    /// as published.
    ///
    /// # Errors
    /// When one of them does not verify.
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
            self.roles.insert(role, Role { targets, delegator: Some(delegator.clone()) });
        }
        Ok(())
    }

    /// A role that is delegated to at any depth, with its delegator.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nobody delegates to it; [`Error::Untrusted`] when a file on the way does not verify.
    pub fn role(&mut self, role: &RoleName) -> Result<&Verified<Targets>, Error> {
        if !self.roles.contains_key(role) {
            let delegator = self.find_delegator(role)?;
            let view = Arc::clone(self.read_already(&delegator)?);
            self.read_delegated(&delegator, &view, role)?;
        }
        self.read_already(role).map(|targets| &**targets)
    }

    /// A role, if it has been read.
    #[must_use]
    pub fn known(&self, role: &RoleName) -> Option<&Targets> {
        self.roles.get(role).map(|role| &**role.targets)
    }

    /// The canonical text of a role that has been read, which its signatures cover.
    #[must_use]
    pub fn signed_text(&self, role: &RoleName) -> Option<&str> {
        Some(match role.as_str() {
            "root" => self.root.signed(),
            "timestamp" => self.timestamp.signed(),
            "snapshot" => self.snapshot.signed(),
            _ => self.roles.get(role)?.targets.signed(),
        })
    }

    /// The same of root, snapshot and timestamp and of every targets role that has been read.
    pub(crate) fn signed_texts(&self) -> impl Iterator<Item = (&RoleName, &str)> {
        let top_level = [
            (&RoleName::ROOT, self.root.signed()),
            (&RoleName::TIMESTAMP, self.timestamp.signed()),
            (&RoleName::SNAPSHOT, self.snapshot.signed()),
        ];
        top_level.into_iter().chain(self.roles.iter().map(|(role, known)| (role, known.targets.signed())))
    }

    /// The file of a targets role that has been read.
    pub(crate) fn file(&self, role: &RoleName) -> Option<&[u8]> {
        self.roles.get(role).map(|role| &**role.targets.bytes())
    }

    /// How many bytes the file of a targets role that has been read has.
    pub(crate) fn length(&self, role: &RoleName) -> Option<usize> {
        self.roles.get(role).map(|role| role.targets.bytes().len())
    }

    /// The targets roles that have been read.
    pub fn read_roles(&self) -> impl Iterator<Item = (&RoleName, &Targets)> {
        self.roles.iter().map(|(name, role)| (name, &**role.targets))
    }

    /// Who delegates to a role that was read; none for the top-level ones.
    #[must_use]
    pub fn delegator(&self, role: &RoleName) -> Option<&RoleName> {
        self.roles.get(role)?.delegator.as_ref()
    }

    /// What clients find under `path`, with the roles that list it; reads only the roles on the way.
    ///
    /// # Errors
    /// [`Error::Untrusted`] when a file on the way does not verify.
    pub fn find(&mut self, path: &TargetPath) -> Result<Option<Found>, Error> {
        let metadata = self.layout.metadata();
        let mut search = self.trusted.search(path.clone());
        while let Some(request) = search.request() {
            search.apply(Some(FileContent::Bytes(read(&metadata, &request)?)))?;
        }
        let found = search.finish()?;
        let mut delegator: Option<&RoleName> = None;
        for (role, targets) in found.iter().flat_map(|found| &found.chain) {
            if !self.roles.contains_key(role) {
                let read = Role { targets: held(role, targets)?, delegator: delegator.cloned() };
                self.roles.insert(role.clone(), read);
            }
            delegator = Some(role);
        }
        Ok(found)
    }

    /// Reads every role that is delegated to, at any depth. Returns their names, delegators first, with the
    /// delegator of each edge: a role with two delegators comes twice.
    pub fn read_all(&mut self) -> Result<Vec<(RoleName, Option<RoleName>)>, Error> {
        let edges = self.read_edges()?.into_iter();
        let named = edges.map(|(role, delegation)| (role, delegation.map(|(delegator, _)| delegator)));
        Ok(named.collect())
    }

    /// The same, each with the ring by which the delegator trusts the role.
    fn read_edges(&mut self) -> Result<Vec<Edge>, Error> {
        let mut order = vec![(RoleName::TARGETS, None)];
        let mut seen = BTreeSet::from([RoleName::TARGETS]);
        let mut waiting = VecDeque::from([RoleName::TARGETS]);
        while let Some(delegator) = waiting.pop_front() {
            let view = Arc::clone(self.read_already(&delegator)?);
            let rings: Vec<_> = view.delegations.iter().flat_map(Delegations::rings).collect();
            let unread: Vec<_> = rings.iter().filter(|(child, _)| !self.roles.contains_key(child)).collect();
            let read = parallel::try_map(&unread, |(child, ring)| self.verify(child, ring))?;
            for ((child, _), targets) in unread.into_iter().zip(read) {
                self.roles.insert(child.clone(), Role { targets, delegator: Some(delegator.clone()) });
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

    /// Every role that lists `key`, however it is written, with its delegator; none for the roles of the root. Reads all
    /// roles.
    pub fn roles_trusting(&mut self, key: impl Into<KeyMaterial>) -> Result<Vec<(RoleName, Option<RoleName>)>, Error> {
        Edit::new(self, Draft::default()).roles_trusting(key)
    }

    /// The roles that a person means: one, or with a `*` at the end all delegated ones that begin so.
    pub fn named(&mut self, name: &str) -> Result<Vec<RoleName>, Error> {
        Ok(self.edges_named(name)?.into_iter().map(|(role, _)| role).collect())
    }

    /// The same, for a change of keys: of succinct bins, which have theirs in common, the first.
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
        match edges.is_empty() {
            true => Err(NotFound::RolesBeginningWith { start: start.to_string() }.into()),
            false => Ok(edges),
        }
    }

    /// Whether a version's file is there, published or left over: its number cannot be used again.
    #[must_use]
    pub fn is_taken(&self, role: &RoleName, version: Version) -> bool {
        let path = self.layout.metadata().join(names::metadata_file(role, Some(version)));
        // What cannot be looked at may be there.
        path.symlink_metadata().map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true)
    }

    /// The versions of all roots that were ever published here, in order.
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

    /// The oldest root that is here, which clients may have been shipped with.
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
        // Bins are many, and mostly the top-level role's.
        if self.known(&RoleName::TARGETS).is_some_and(delegates) {
            return Ok(RoleName::TARGETS);
        }
        // Most are delegated to by a role that was read already, and then nothing needs to be read.
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

    /// 5.6: a file that was put into the folder is not believed because it lies there.
    fn verify(&self, role: &RoleName, ring: &KeyRing) -> Result<Arc<Verified<Targets>>, Error> {
        let file = read(&self.layout.metadata(), &self.trusted.delegated_request(role)?)?;
        held(role, &self.trusted.verify_delegated(role, ring, FileContent::Bytes(file))?)
    }
}

/// The file that clients would ask for.
fn read(metadata: &Path, request: &Request) -> Result<Vec<u8>, Error> {
    // Servers decode what clients write in URLs.
    let path = metadata.join(names::metadata_file(&request.role, request.version));
    let file = layout::read_small(&path, request.max_length)?;
    file.ok_or_else(|| error(&request.role, ErrorKind::Absent).into())
}

/// A role that was given in memory is held there.
fn held(role: &RoleName, targets: &VerifiedTargets) -> Result<Arc<Verified<Targets>>, Error> {
    targets.held().cloned().ok_or_else(|| error(role, ErrorKind::Absent).into())
}

fn error(role: &RoleName, kind: ErrorKind) -> MetadataError {
    MetadataError { role: role.clone(), kind }
}
