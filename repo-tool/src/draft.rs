//! A change before publication (spec 6.3). Versions and dates are computed, never typed.
//!
//! Edits (`edit/`) change the content of roles without signing. [`Draft::complete`] then makes documents of the changed
//! roles and signs them with the available keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use lastmile_metadata::{
    Delegations, Header, KeyRing, MetaFile, Role, RoleName, Root, Snapshot, TargetPath, Timestamp, Version,
};

use crate::config::Config;
use crate::document::{Document, Prior, Rings};
use crate::edit::same_ring;
use crate::files::digest::FileDigest;
use crate::key_store::KeyStore;
use crate::pin::Authority;
use crate::publish::snapshot::{VersionOnlyBins, list_with_hash};
use crate::publish::versions::Issued;
use crate::published::Published;
use crate::report::diff::{RoleDiff, explain};
use crate::role_content::RoleContent;
use crate::sign::review::{Accepted, Reviewed};
use crate::{DraftError, Error, NotFound, VersionError, names, parallel};

/// If fewer than this number of roles change, the key rings of each role are looked up individually.
const FEW: usize = 8;

/// A new target file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewTargetFile {
    /// Its current path: absolute, inside the repository.
    pub(crate) from: PathBuf,
    /// Its final path, relative to `targets/`.
    pub(crate) to: PathBuf,
    /// Its length and hash, if known.
    pub(crate) content: Option<FileDigest>,
}

/// A change to a repository, before it is signed.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The new root, if it changes.
    pub(crate) root: Option<Root>,
    /// The targets roles that change: the top-level role and delegated roles.
    pub(crate) targets: BTreeMap<RoleName, RoleContent>,
    /// The delegators of each delegated role that changes.
    pub(crate) delegators: BTreeMap<RoleName, BTreeSet<RoleName>>,
    /// Which of the roles timestamp and snapshot are signed again even if no file that they list changes.
    pub(crate) again: BTreeSet<RoleName>,
    /// New target files.
    pub(crate) files: Vec<NewTargetFile>,
    /// Targets that were added, changed or removed. The simulated clients search for them.
    pub(crate) touched: BTreeSet<TargetPath>,
    /// Roles that received more targets than `touched` can name. The simulated clients must find each new target of
    /// these roles.
    pub(crate) bulk_filled: BTreeSet<RoleName>,
    /// Partly signed documents of the pending change that have not been edited since.
    pub(crate) prior: BTreeMap<RoleName, Prior>,
    /// Whether this draft continues the pending change in `staged/`.
    pub(crate) from_staged: bool,
    /// The configuration, if it changes.
    pub(crate) config: Option<Config>,
    /// The requests of other publishers that are published with this draft.
    pub(crate) requests: Vec<String>,
    /// Additional key rings that must sign a role, so that a pending change that is not part of this draft can be
    /// published later.
    pub(crate) later_rings: BTreeMap<RoleName, Vec<KeyRing>>,
}

/// The documents of a draft, signed as far as the available keys allow.
#[derive(Debug)]
pub struct Completed {
    /// All documents except the root, in the order of publication.
    pub documents: Vec<Document>,
    /// The root, if it changes.
    pub root: Option<Document>,
    /// The changes in each document.
    pub(crate) changes: BTreeMap<RoleName, RoleDiff>,
    /// Snapshot entries that get a length and a hash although their roles do not change.
    pub entries: BTreeMap<RoleName, MetaFile>,
    /// The new record of issued versions, which is written during publication.
    pub(crate) record: Vec<u8>,
}

impl Draft {
    /// Returns a draft that signs the timestamp again.
    #[must_use]
    pub fn renew_timestamp() -> Self {
        Self { again: [RoleName::TIMESTAMP].into(), ..Self::default() }
    }

    /// Returns a draft that signs snapshot and timestamp again.
    #[must_use]
    pub fn renew_online_roles() -> Self {
        Self { again: [RoleName::SNAPSHOT, RoleName::TIMESTAMP].into(), ..Self::default() }
    }

    /// Publishes this configuration with the change.
    pub fn set_config(&mut self, config: Config) {
        self.config = Some(config);
    }

    /// Returns the new configuration, if it changes.
    #[must_use]
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// Returns whether this draft continues the pending change.
    #[must_use]
    pub fn continues_pending(&self) -> bool {
        self.from_staged
    }

    /// Returns the targets that were added, changed or removed one by one.
    #[must_use]
    pub fn touched(&self) -> &BTreeSet<TargetPath> {
        &self.touched
    }

    /// Returns the names of the requests of other publishers that are published with this draft.
    #[must_use]
    pub fn requests(&self) -> &[String] {
        &self.requests
    }

    /// Returns the new root, or the published root if the root does not change.
    ///
    /// # Errors
    /// [`Error::Draft`] when there is no root.
    pub(crate) fn root_after<'r>(&'r self, published: Option<&'r Published>) -> Result<&'r Root, Error> {
        let root = self.root.as_ref().or(published.map(|published| &*published.root));
        root.ok_or_else(|| DraftError::NoRoot.into())
    }
}

impl Completed {
    fn push(&mut self, (document, changes): (Document, RoleDiff)) {
        self.changes.insert(document.role.clone(), changes);
        self.documents.push(document);
    }

    /// Returns all documents.
    pub fn all(&self) -> impl Iterator<Item = &Document> {
        self.root.iter().chain(&self.documents)
    }

    /// Returns the documents that lack signatures.
    pub fn incomplete(&self) -> impl Iterator<Item = &Document> {
        self.all().filter(|document| !document.missing().is_empty())
    }
}

/// The inputs for completing a draft.
pub struct Completion<'a> {
    /// The published metadata; `None` in a new repository.
    pub published: Option<&'a Published>,
    /// The configuration.
    pub config: &'a Config,
    /// The available keys; `None` to compute the changes without signing.
    pub keys: Option<&'a KeyStore>,
    /// The versions that were issued before.
    pub issued: &'a Issued,
    /// Decides which roles the keys may sign for.
    pub authority: &'a Authority,
    /// New snapshot entries for roles that do not change: see [`crate::publish::snapshot`].
    pub entries: BTreeMap<RoleName, MetaFile>,
    /// Whether the keys also sign the pending change. This requires that a person has reviewed the change, because
    /// other users may be able to write to `staged/`.
    pub signs_staged: bool,
    /// Unknown members and keys that the user accepts.
    pub accepted: &'a Accepted,
    /// The time of signing.
    pub now: DateTime<Utc>,
}

impl Draft {
    /// Returns whether no role changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_none() && self.targets.is_empty() && self.again.is_empty()
    }

    /// Makes and signs the documents (spec 6.3): the root if it changes, the targets roles that change, and, if no
    /// document lacks signatures, snapshot and timestamp.
    ///
    /// # Errors
    /// When an available key cannot be opened, or when a role already has the maximum version.
    pub fn complete(&self, with: &Completion<'_>) -> Result<Completed, Error> {
        let root = self.root.as_ref().map(|root| self.complete_root(root, with)).transpose()?;
        let (root, root_changes) = root.unzip();
        // Delegated roles are published before the top-level role, which delegates to them.
        let delegated = self.delegated_rings(with)?;
        let completed_roles = parallel::try_map(&delegated, |(role, rings)| {
            let targets = self.targets.get(role).ok_or_else(|| unknown(role))?;
            self.complete_targets(role, targets, rings.clone(), with)
        })?;
        let mut completed = Completed {
            documents: Vec::with_capacity(completed_roles.len() + 3),
            root,
            changes: root_changes.map(|changes| (RoleName::ROOT, changes)).into_iter().collect(),
            entries: with.entries.clone(),
            record: Vec::new(),
        };
        completed_roles.into_iter().for_each(|role| completed.push(role));
        if let Some(targets) = self.targets.get(&RoleName::TARGETS) {
            let rings = self.rings(&RoleName::TARGETS, with)?;
            completed.push(self.complete_targets(&RoleName::TARGETS, targets, rings, with)?);
        }
        if with.keys.is_none() || completed.incomplete().next().is_none() {
            self.complete_online(&mut completed, with)?;
        }
        let root = self.root_after(with.published)?;
        // Record only the versions of files whose names do not contain the version. The names of the other files show
        // which versions were issued.
        let unversioned = completed
            .documents
            .iter()
            .filter(|document| root.version_in_name(&document.role, document.version).is_none());
        completed.record = with.issued.record(unversioned.map(|document| (document.role.clone(), document.version)));
        Ok(completed)
    }

    fn complete_root(&self, root: &Root, with: &Completion<'_>) -> Result<(Document, RoleDiff), Error> {
        // 5.3.5: The version is exactly one more than that of the previous root.
        let version = match with.published {
            Some(published) => {
                let next = published.root.version.next();
                next.ok_or(VersionError::Exhausted { role: RoleName::ROOT })?
            }
            None => Version::ONE,
        };
        let mut root = root.clone();
        root.version = version;
        root.expires = with.config.role(&RoleName::ROOT).expiry(with.now);
        let rings = self.rings(&RoleName::ROOT, with)?;
        self.signed(&RoleName::ROOT, &root, rings, with)
    }

    fn complete_targets(
        &self,
        role: &RoleName,
        content: &RoleContent,
        rings: Rings,
        with: &Completion<'_>,
    ) -> Result<(Document, RoleDiff), Error> {
        let mut targets = content.read()?.into_owned();
        targets.version = free_version(role, with)?;
        targets.expires = with.config.role(role).expiry(with.now);
        let (mut document, changes) = self.signed(role, &targets, rings, with)?;
        if let Some(spool) = content.spool() {
            document.spool(spool)?;
        }
        Ok((document, changes))
    }

    /// Makes and signs the snapshot and the timestamp (6.3.2, 6.3.3).
    fn complete_online(&self, completed: &mut Completed, with: &Completion<'_>) -> Result<(), Error> {
        let snapshot_role = RoleName::SNAPSHOT;
        let timestamp_role = RoleName::TIMESTAMP;
        let changed = !completed.documents.is_empty();
        let mut listed =
            with.published.map(|published| list_with_hash(published.snapshot.version, published.snapshot.bytes()));
        if changed || listed.is_none() || self.again.contains(&snapshot_role) {
            let version = free_version(&snapshot_role, with)?;
            let expires = with.config.role(&snapshot_role).expiry(with.now);
            let mut snapshot = match with.published {
                Some(published) => (*published.snapshot).clone(),
                None => Snapshot::new(version, expires),
            };
            (snapshot.version, snapshot.expires) = (version, expires);
            for (role, entry) in &with.entries {
                snapshot.insert(role, entry.clone());
            }
            if let Some(root) = self.root.as_ref().or(with.published.map(|published| &*published.root)) {
                let by_version = VersionOnlyBins::of(with.published, self);
                for document in &completed.documents {
                    snapshot.insert(&document.role, by_version.entry(document, root)?);
                }
            }
            let rings = self.rings(&snapshot_role, with)?;
            let signed = self.signed(&snapshot_role, &snapshot, rings, with)?;
            listed = Some(list_with_hash(version, &signed.0.file()?));
            completed.push(signed);
        } else if !self.again.contains(&timestamp_role) {
            return Ok(());
        }
        if with.keys.is_some() && completed.incomplete().next().is_some() {
            return Ok(());
        }
        let Some(listed) = listed else { return Ok(()) };
        let version = free_version(&timestamp_role, with)?;
        let expires = with.config.role(&timestamp_role).expiry(with.now);
        let mut timestamp = match with.published {
            Some(published) => (*published.timestamp).clone(),
            None => Timestamp { header: Header::new(version, expires), snapshot: listed.clone() },
        };
        (timestamp.version, timestamp.expires, timestamp.snapshot) = (version, expires, listed);
        let rings = self.rings(&timestamp_role, with)?;
        completed.push(self.signed(&timestamp_role, &timestamp, rings, with)?);
        Ok(())
    }

    /// Returns the key rings that must sign `role` for clients to accept it after publication.
    pub fn rings(&self, role: &RoleName, with: &Completion<'_>) -> Result<Rings, Error> {
        let old_root = with.published.map(|published| &*published.root);
        let mut rings = Rings::default();
        if role.is_top_level() {
            let new_root = self.root.as_ref().or(old_root);
            rings.required.extend(new_root.map(|root| root.key_ring(role)).transpose()?);
            let replaced = if self.root.is_some() { old_root } else { None };
            let old_ring = replaced.map(|root| root.key_ring(role)).transpose()?;
            if *role == RoleName::ROOT {
                // 5.3.4: The keys of the old root and of the new root must sign.
                rings.required.extend(old_ring);
            } else {
                rings.wanted = old_ring;
            }
            self.add_later_rings(role, &mut rings);
            return Ok(rings);
        }
        let delegators = self.delegators.get(role).into_iter().flatten();
        for delegations in delegators.filter_map(|delegator| self.delegations_of(delegator, with)) {
            rings.required.push(delegations.0.key_ring(delegations.1, role)?);
        }
        if rings.required.is_empty() {
            return Err(unknown(role));
        }
        self.add_later_rings(role, &mut rings);
        Ok(rings)
    }

    fn add_later_rings(&self, role: &RoleName, rings: &mut Rings) {
        for ring in self.later_rings.get(role).into_iter().flatten() {
            if !rings.required.iter().any(|known| same_ring(known, ring)) {
                rings.required.push(ring.clone());
            }
        }
    }

    /// Returns each delegated role that changes, with the key rings that must sign it. If there are many such roles,
    /// the delegations of each delegator are read only once, because a delegator may delegate to very many roles.
    pub fn delegated_rings(&self, with: &Completion<'_>) -> Result<Vec<(RoleName, Rings)>, Error> {
        let delegated = self.targets.keys().filter(|role| !role.is_top_level());
        let mut found: BTreeMap<&RoleName, Rings> = delegated.map(|role| (role, Rings::default())).collect();
        if found.len() < FEW {
            let rings = |role: &&RoleName| Ok(((*role).clone(), self.rings(role, with)?));
            return found.keys().map(rings).collect();
        }
        let delegators: BTreeSet<&RoleName> =
            found.keys().flat_map(|role| self.delegators.get(role)).flatten().collect();
        for (delegations, delegator) in delegators.into_iter().filter_map(|name| self.delegations_of(name, with)) {
            for (role, ring) in delegations.rings() {
                let delegates = self.delegators.get(&role).is_some_and(|all| all.contains(delegator));
                if delegates && let Some(rings) = found.get_mut(&role) {
                    rings.required.push(ring);
                }
            }
        }
        match found.iter().find(|(_, rings)| rings.required.is_empty()) {
            Some((role, _)) => Err(unknown(role)),
            None => Ok(found
                .into_iter()
                .map(|(role, mut rings)| {
                    self.add_later_rings(role, &mut rings);
                    (role.clone(), rings)
                })
                .collect()),
        }
    }

    /// Returns the delegations of `delegator` after the change, with its name.
    fn delegations_of<'d>(
        &'d self,
        delegator: &'d RoleName,
        with: &'d Completion<'_>,
    ) -> Option<(&'d Delegations, &'d RoleName)> {
        let delegations = match self.targets.get(delegator) {
            Some(content) => content.delegations(),
            None => with.published.and_then(|published| published.known(delegator)?.delegations.as_ref()),
        };
        delegations.map(|delegations| (delegations, delegator))
    }

    /// Returns the document and its changes. The document keeps its earlier signatures and is also signed with the
    /// available keys.
    fn signed<R: Role>(
        &self,
        role: &RoleName,
        content: &R,
        rings: Rings,
        with: &Completion<'_>,
    ) -> Result<(Document, RoleDiff), Error> {
        let mut document = match self.prior.get(role) {
            Some(prior) => Document::prior(role, prior, rings)?,
            None => Document::new(role, content, rings),
        };
        let Some(keys) = with.keys else {
            let changes = explain::of_document(with.published, self, &document)?;
            return Ok((document, changes));
        };
        // Documents that others have signed are also reviewed, because our keys sign the snapshot and timestamp that
        // list them.
        let reviewed = Reviewed::of(with.published, self, &document, with.accepted)?;
        if with.signs_staged || !self.from_staged || role.is_online() {
            document.sign(keys, with.authority, &reviewed)?;
        }
        Ok((document, reviewed.into_changes()))
    }
}

fn unknown(role: &RoleName) -> Error {
    NotFound::DelegationInDraft { role: role.clone() }.into()
}

/// Returns the first version that was never issued (F-4.4-4).
fn free_version(role: &RoleName, with: &Completion<'_>) -> Result<Version, Error> {
    with.issued.next(role, with.published.and_then(|published| published.version(role)))
}

/// Returns the file name of a document below `metadata/`. `root` is the root after the publication.
pub(crate) fn file_name(document: &Document, root: &Root) -> String {
    names::metadata_file(&document.role, root.version_in_name(&document.role, document.version))
}
