//! Completes a draft (spec 6.3): creates the documents of the roles that change, with new versions and expiry dates,
//! and signs them with the available keys.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use lastmile_metadata::{Delegations, Header, MetaFile, Role, RoleName, Root, Snapshot, Timestamp, Version};

use crate::config::Config;
use crate::document::{Document, Rings};
use crate::draft::Draft;
use crate::edit::same_ring;
use crate::key_store::KeyStore;
use crate::pin::Authority;
use crate::publish::completed::Completed;
use crate::publish::snapshot::{VersionOnlyBins, list_with_hash};
use crate::publish::versions::Issued;
use crate::published::Published;
use crate::report::diff::{RoleDiff, explain};
use crate::role_content::RoleContent;
use crate::sign::review::{Accepted, Reviewed};
use crate::{Error, NotFound, VersionError, parallel};

/// If fewer than this number of delegated roles change, their key rings are looked up role by role. Otherwise, they are
/// looked up delegator by delegator.
const MANY_ROLES: usize = 8;

/// The inputs for completing a draft.
pub struct Completion<'a> {
    /// The published metadata; `None` in a new repository.
    pub published: Option<&'a Published>,
    /// The configuration.
    pub config: &'a Config,
    /// The keys that can sign. With `None`, the changes are computed, but nothing is signed.
    pub keys: Option<&'a KeyStore>,
    /// The versions that were issued before.
    pub issued: &'a Issued,
    /// The roles for which the keys may sign.
    pub authority: &'a Authority,
    /// New snapshot entries for roles that do not change; see [`crate::publish::snapshot`].
    pub entries: BTreeMap<RoleName, MetaFile>,
    /// Whether the keys also sign the pending change. This requires that a person has reviewed the change, because
    /// other users may be able to write to `staged/`.
    pub signs_staged: bool,
    /// The unknown members and unusable keys that the user accepts by name.
    pub accepted: &'a Accepted,
    /// The time of signing.
    pub now: DateTime<Utc>,
}

impl Draft {
    /// Creates and signs the documents (spec 6.3): the root if it changes, and the targets roles that change. If no
    /// document lacks signatures, or if `with.keys` is `None`, also creates the snapshot and the timestamp if they
    /// change.
    ///
    /// # Errors
    /// Returns an error if an available key cannot be opened, or if a role already has the maximum version.
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
        // TUF specification 6.1: the keys of roles other than snapshot and timestamp can be offline. The change is
        // pending until these keys have signed.
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
        // TUF specification 5.3.5: the version is exactly one more than the version of the previous root.
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

    /// Creates and signs the snapshot and the timestamp (TUF specification 6.3.2, 6.3.3).
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
                // TUF specification 4.4: the snapshot lists every targets role.
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

    /// Returns the key rings whose keys must sign `role`, so that clients accept it after publication. If the root
    /// changes and `role` is a top-level role, also returns the key ring that the old root lists for `role`. Keys of
    /// this key ring should sign too, so that clients accept `role` even before they have the new root.
    pub fn rings(&self, role: &RoleName, with: &Completion<'_>) -> Result<Rings, Error> {
        let old_root = with.published.map(|published| &*published.root);
        let mut rings = Rings::default();
        if role.is_top_level() {
            let new_root = self.root.as_ref().or(old_root);
            rings.required.extend(new_root.map(|root| root.key_ring(role)).transpose()?);
            let replaced = if self.root.is_some() { old_root } else { None };
            let old_ring = replaced.map(|root| root.key_ring(role)).transpose()?;
            if *role == RoleName::ROOT {
                // TUF specification 5.3.4, 6.1: the keys of the old root and of the new root must sign.
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

    /// Returns each delegated role that changes, with the key rings whose keys must sign the role. If there are many
    /// such roles, the delegations of each delegator are read only once, because a delegator may delegate to many
    /// roles.
    pub fn delegated_rings(&self, with: &Completion<'_>) -> Result<Vec<(RoleName, Rings)>, Error> {
        let delegated = self.targets.keys().filter(|role| !role.is_top_level());
        let mut found: BTreeMap<&RoleName, Rings> = delegated.map(|role| (role, Rings::default())).collect();
        if found.len() < MANY_ROLES {
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

    /// Returns the delegations of `delegator` after the change, together with the delegator's name.
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

    /// Creates the document of `role`, and returns it with its changes. The document keeps its earlier signatures. The
    /// available keys also sign it, unless it belongs to a pending change that they must not sign
    /// ([`Completion::signs_staged`]).
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
        // Also review documents that only other people sign, because this user's keys sign the snapshot that lists
        // these documents.
        let reviewed = Reviewed::of(with.published, self, &document, with.accepted)?;
        let is_new = !self.from_staged && !self.prior.contains_key(role);
        if with.signs_staged || is_new || role.is_online() {
            document.sign(keys, with.authority, &reviewed)?;
        }
        Ok((document, reviewed.into_changes()))
    }
}

fn unknown(role: &RoleName) -> Error {
    NotFound::DelegationInDraft { role: role.clone() }.into()
}

/// Returns the version after the highest issued version (rule F-4.4-4 in `tests/spec-rows.txt`).
fn free_version(role: &RoleName, with: &Completion<'_>) -> Result<Version, Error> {
    with.issued.next(role, with.published.and_then(|published| published.version(role)))
}
