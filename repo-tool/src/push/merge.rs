//! Publishes the changes of this folder on top of what another machine pushed (`push --catch-up`).
//!
//! The changes are the difference between two states of this folder: the newest state that the folder and the
//! destination have in common ([`base`]), and the current state. A merge adopts the state of the destination, which
//! means that it copies this state into the folder. It then publishes the changes again with new versions. Before the
//! adoption, it records the two states in the user's configuration, so that a later command can finish an interrupted
//! merge. The files of the two states stay in the folder.

use std::path::Path;

use lastmile_client::BaseUrl;
use lastmile_metadata::{Role, RoleName, Snapshot, TargetFile, TargetPath, Targets, Verified};

use crate::check::simulated_client::{self, from_client};
use crate::config::Config;
use crate::document::Prior;
use crate::draft::Draft;
use crate::edit::revert::{MissingFiles, has_same_content};
use crate::files::access::MAX_METADATA_LENGTH;
use crate::files::layout::{Layout, Lock};
use crate::files::roots;
use crate::invocation::{Invocation, ServedState};
use crate::publish::observer::Unobserved;
use crate::publish::staged;
use crate::publish::transaction;
use crate::published::Published;
use crate::push::destination::Destination;
use crate::push::settings::{ServedSnapshot, Unpushed};
use crate::push::{base, guard};
use crate::role_content::RoleContent;
use crate::root_digest::RootDigest;
use crate::served::catch_up::{adopt, check_lead, check_pin, check_root};
use crate::{Error, NotFound, Outcome, Plan, PushError, Repository, Signing, names};

pub(crate) struct Merge<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) invocation: &'a Invocation,
    pub(crate) destination: &'a dyn Destination,
    /// The name of the destination in the user's configuration.
    pub(crate) name: &'a str,
    /// The URL of the destination in the user's configuration.
    pub(crate) url: &'a BaseUrl,
    /// Whether the files of changed targets may be missing from the folder.
    pub(crate) missing: MissingFiles,
}

#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub(crate) republished: Vec<TargetPath>,
    /// Whether the change is pending, because signatures are missing.
    pub(crate) is_pending: bool,
    /// The plan that was published or staged, if the folder had changes.
    pub(crate) plan: Option<Plan>,
}

struct Change {
    /// The role that lists the target. If a bin lists the target, this is the role to which the bin belongs.
    role: RoleName,
    path: TargetPath,
    before: Option<TargetFile>,
    after: Option<TargetFile>,
}

/// The changes between two states, and the differences that cannot be published again.
#[derive(Default)]
struct Difference {
    changes: Vec<Change>,
    conflicts: Vec<String>,
}

impl Merge<'_> {
    /// Adopts the state of the destination, and publishes the changes of this folder on top of it. If an earlier merge
    /// was interrupted, finishes that merge instead of starting a new one.
    ///
    /// # Errors
    /// [`PushError::Conflicts`] if the same target was changed both in the folder and at the destination, or if the
    /// folder changed keys or delegations. In these cases, nothing is changed. [`PushError::Unmerged`] if an earlier
    /// merge was interrupted after the adoption, and its changes conflict with later changes of this folder.
    pub(crate) fn run(&self) -> Result<Merged, Error> {
        // A push does not take the lock on the folder, so a merge takes the lock on the destination, too. Until the
        // merge has recorded the adoption, these locks keep pushes and other commands in this folder from changing the
        // settings that are read here.
        let lease = self.destination.lock(&self.invocation.lock_wait)?;
        let (layout, lock) = self.lock()?;
        let config = Config::read(&layout)?;
        let oldest = roots::oldest_root(&layout)?;
        let repository = RootDigest::of(&oldest);
        let stored = self.invocation.user.destination(repository, self.name)?;
        let no_base = || PushError::NoBase { url: self.destination.url().clone() };
        let settings = stored.filter(|stored| stored.url == *self.url).ok_or_else(no_base)?;
        if let Some(unpushed) = &settings.unpushed {
            drop(lease);
            return self.publish(layout, lock, unpushed);
        }
        let mut ours = Published::open(&layout, oldest)?;
        let mut served = guard::read(self.destination, &config, &ours)?;
        check_pin(&layout, self.invocation, repository, ours.shipped(), &served)?;
        check_root(&ours, &served)?;
        check_lead(&ours, &served)?;
        let (base, state) = base::find(&ours, self.destination, &served, &settings)?.ok_or_else(no_base)?;
        let current = ours.snapshot.clone();
        let mut difference = difference(&mut ours, &state, &current)?;
        if served.trusted().root().version < ours.root.version {
            difference.conflicts.push("this folder has a new root".to_string());
        }
        let listed = |role: &RoleName| served.trusted().snapshot().meta(role).is_some();
        for change in difference.changes.iter().filter(|change| !listed(&change.role)) {
            difference.conflicts.push(format!("{}: the destination no longer has role {}", change.path, change.role));
        }
        let session = &mut served.session;
        let difference = difference
            .on_top_of(|path| Ok(session.find(path).map_err(from_client)?.map(|target| target.file().clone())))?;
        difference.refuse_conflicts(self.destination)?;
        let user = &self.invocation.user;
        user.record_adoption(repository, served.trusted().snapshot())?;
        let unpushed = Unpushed { base, ours: ServedSnapshot::of(&ours.snapshot) };
        user.set_unpushed(repository, self.name, Some(&unpushed))?;
        adopt(&layout, &lock, &ours, &mut served)?;
        user.set_served(repository, self.name, &ServedSnapshot::of(served.trusted().snapshot()))?;
        drop(lease);
        self.publish(layout, lock, &unpushed)
    }

    fn lock(&self) -> Result<(Layout, Lock), Error> {
        let layout = self.invocation.layout(self.dir);
        let wait = &self.invocation.lock_wait;
        let lock = layout.lock_within(wait.at_most, wait.on_wait.as_ref())?;
        transaction::recover(&layout, &lock)?;
        Ok((layout, lock))
    }

    /// Publishes the changes that the adopted state does not contain yet.
    fn publish(&self, layout: Layout, lock: Lock, unpushed: &Unpushed) -> Result<Merged, Error> {
        let invocation = Invocation { served: ServedState::Ignore, ..self.invocation.clone() };
        let mut repository = Repository::open_layout(layout, &invocation, Some(lock))?;
        repository.move_pin()?;
        staged::clear_if_published(&repository.layout, &repository.published)?;
        let published = &mut repository.published;
        let lost = || PushError::NoBase { url: self.destination.url().clone() };
        let (difference, ours) = difference_to_published(published, unpushed)?.ok_or_else(lost)?;
        if !difference.conflicts.is_empty() {
            let url = self.destination.url().clone();
            return Err(PushError::Unmerged { url, changes: difference.unpublished() }.into());
        }
        let mut merged = Merged::default();
        if !difference.changes.is_empty() {
            let mut edit = repository.edit(Draft::default());
            for Change { role, path, after, .. } in difference.changes {
                match after {
                    Some(target) => drop(edit.add_target(&role, target)?),
                    None => drop(edit.remove_target(Some(&role), &path)?),
                }
                merged.republished.push(path);
            }
            let draft = edit.finish()?;
            let draft = keep_signed(&mut repository, draft, &ours)?;
            repository.check_restored_files(&draft, self.missing)?;
            let plan = repository.plan(draft, Signing::Now)?;
            merged.is_pending = matches!(repository.conclude(&plan, &mut Unobserved)?, Outcome::Staged(_));
            merged.plan = Some(plan);
        }
        invocation.user.set_unpushed(repository.digest, self.name, None)?;
        Ok(merged)
    }
}

impl Difference {
    /// Removes the changes that the current state already contains. Adds a conflict for each target that was changed
    /// both in this folder and in the current state. `current` returns the metadata of a target in the current state.
    fn on_top_of(
        mut self,
        mut current: impl FnMut(&TargetPath) -> Result<Option<TargetFile>, Error>,
    ) -> Result<Self, Error> {
        let mut changes = Vec::new();
        for change in self.changes {
            let there = current(&change.path)?;
            if there == change.after {
                continue;
            }
            if there != change.before {
                self.conflicts.push(conflict(&change.path));
            }
            changes.push(change);
        }
        Ok(Self { changes, conflicts: self.conflicts })
    }

    /// Returns a line for each conflict, and for each of the other changes.
    fn unpublished(mut self) -> Vec<String> {
        let others = self.changes.iter().filter(|change| !self.conflicts.contains(&conflict(&change.path)));
        let others: Vec<String> = others.map(|change| format!("{}: not published yet", change.path)).collect();
        self.conflicts.extend(others);
        self.conflicts
    }

    fn refuse_conflicts(&self, destination: &dyn Destination) -> Result<(), Error> {
        if self.conflicts.is_empty() {
            return Ok(());
        }
        Err(PushError::Conflicts { url: destination.url().clone(), conflicts: self.conflicts.clone() }.into())
    }
}

fn conflict(path: &TargetPath) -> String {
    format!("{path}: changed both in this folder and at the destination")
}

/// A change that [`give_up`] has discarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// The folder had added or replaced this target.
    Listed(TargetPath),
    /// The folder had removed this target.
    Removed(TargetPath),
}

/// Discards the records of interrupted merges with the destination at `metadata_url`, because the user adopts the state
/// of the destination instead. Returns the changes that these merges have not published.
pub(crate) fn give_up(
    dir: &Path,
    invocation: &Invocation,
    repository: RootDigest,
    metadata_url: &BaseUrl,
) -> Result<Vec<GivenUp>, Error> {
    let user = &invocation.user;
    let mut given_up = Vec::new();
    for name in user.destinations(repository)? {
        let stored = user.destination(repository, &name)?;
        let stored = stored.filter(|stored| stored.url.folder("metadata") == *metadata_url);
        let Some(unpushed) = stored.and_then(|stored| stored.unpushed) else { continue };
        let published = &mut Repository::open(dir, invocation)?.published;
        if let Some((difference, _)) = difference_to_published(published, &unpushed)? {
            given_up.extend(difference.changes.into_iter().map(|change| match change.after {
                Some(_) => GivenUp::Listed(change.path),
                None => GivenUp::Removed(change.path),
            }));
        }
        user.set_unpushed(repository, &name, None)?;
    }
    Ok(given_up)
}

/// Finds the changes of an interrupted merge that are not in the published state yet. Returns these changes, and the
/// snapshot that this folder had before the merge. Returns `None` if one of the two snapshots that the merge recorded
/// is missing from the folder.
fn difference_to_published(
    published: &mut Published,
    unpushed: &Unpushed,
) -> Result<Option<(Difference, Verified<Snapshot>)>, Error> {
    let Some(base) = base::find_snapshot(published, &unpushed.base)? else { return Ok(None) };
    let Some(ours) = base::find_snapshot(published, &unpushed.ours)? else { return Ok(None) };
    let difference = difference(published, &base, &ours)?;
    let difference = difference.on_top_of(|path| Ok(published.find(path)?.map(|found| found.target)))?;
    Ok(Some((difference, ours)))
}

fn difference(published: &mut Published, base: &Snapshot, ours: &Snapshot) -> Result<Difference, Error> {
    let mut difference = Difference::default();
    let changed = ours.roles().filter(|(role, listed)| base.meta(role).as_ref() != Some(listed));
    for (role, _) in changed.collect::<Vec<_>>() {
        match published.role(&role) {
            Ok(_) => {}
            // No client reads a role whose delegation was removed.
            Err(Error::NotFound(NotFound::Delegation { .. } | NotFound::Role { .. })) => continue,
            Err(error) => return Err(error),
        }
        let after = role_at(published, ours, &role)?;
        let (Some(after), Some(before)) = (after, role_at(published, base, &role)?) else {
            difference.conflicts.push(format!("{role}: this folder has a new delegated role"));
            continue;
        };
        if !has_same_delegations(&before, &after) {
            difference.conflicts.push(format!("{role}: this folder changed parts of this role other than its targets"));
            continue;
        }
        for target in after.targets() {
            let earlier = before.target(&target.path);
            if earlier.as_ref() != Some(&target) {
                let role = holder(published, &role, &target.path);
                let path = target.path.clone();
                difference.changes.push(Change { role, path, before: earlier, after: Some(target) });
            }
        }
        for target in before.targets().filter(|target| after.target(&target.path).is_none()) {
            let role = holder(published, &role, &target.path);
            let path = target.path.clone();
            difference.changes.push(Change { role, path, before: Some(target), after: None });
        }
    }
    Ok(difference)
}

/// For each role that this machine cannot sign for, copies the signed metadata of the state `ours` into the draft.
/// Metadata is copied only if its content is the same as in the draft and its version is newer than the published
/// version.
fn keep_signed(repository: &mut Repository, mut draft: Draft, ours: &Snapshot) -> Result<Draft, Error> {
    for role in draft.targets.keys().cloned().collect::<Vec<_>>() {
        let Some(signed) = role_at(&repository.published, ours, &role)? else { continue };
        let is_newer = repository.published.version(&role).is_none_or(|version| signed.version > version);
        let is_repeated = |content: &RoleContent| content.read().map(|content| has_same_content(&content, &signed));
        let is_repeated = draft.targets.get(&role).map_or(Ok(false), is_repeated)?;
        if is_newer && is_repeated && !repository.can_sign(&role) {
            let text = signed.signed().to_string();
            draft.prior.insert(role.clone(), Prior { signed: text, signatures: signed.signatures().to_vec() });
            draft.targets.insert(role, RoleContent::Held((*signed).clone()));
        }
    }
    Ok(draft)
}

/// Returns whether two versions of a role differ only in their targets.
fn has_same_delegations(one: &Targets, other: &Targets) -> bool {
    let (mut one, mut other) = (one.clone(), other.clone());
    one.clear();
    other.clear();
    has_same_content(&one, &other)
}

/// If `role` is a bin for `path`, returns the role to which the bin belongs. Otherwise, returns `role` itself. If a
/// target with this path is added to the returned role, `role` lists the target.
fn holder(published: &Published, role: &RoleName, path: &TargetPath) -> RoleName {
    let mut role = role;
    while let Some(delegator) = published.delegator(role) {
        let delegations = published.known(delegator).and_then(|targets| targets.delegations.as_ref());
        if delegations.and_then(|delegations| delegations.bin_for(path)).as_ref() != Some(role) {
            break;
        }
        role = delegator;
    }
    role.clone()
}

/// Reads the version of a role that a snapshot lists. `published` must already have read the role,
/// because the keys of the role are needed.
fn role_at(published: &Published, snapshot: &Snapshot, role: &RoleName) -> Result<Option<Verified<Targets>>, Error> {
    let Some(listed) = snapshot.meta(role) else { return Ok(None) };
    let name = names::metadata_file(role, published.root.version_in_name(role, listed.version));
    let fitting = copies(published.layout(), &name)?.into_iter().filter(|bytes| listed.check(bytes).is_ok());
    let mut verified = fitting.filter_map(|bytes| verified::<Targets>(published, role, bytes));
    Ok(verified.find(|targets| targets.version == listed.version))
}

pub(super) fn verified<R: Role>(published: &Published, role: &RoleName, bytes: Vec<u8>) -> Option<Verified<R>> {
    let ring = published.key_ring(role).ok()?;
    Verified::<R>::of_file(role, bytes, &ring, &simulated_client::reading_limits()).ok()
}

/// Returns all copies of a metadata file: the file in `metadata/`, and the earlier files that
/// adoptions copied to `superseded/`.
pub(super) fn copies(layout: &Layout, name: &str) -> Result<Vec<Vec<u8>>, Error> {
    let mut copies = Vec::new();
    if let Some(metadata) = layout.open()?.enter("metadata")? {
        copies.extend(metadata.read(name, MAX_METADATA_LENGTH)?);
    }
    if let Some(superseded) = layout.open_superseded()? {
        let mut name = name.to_string();
        while let Some(bytes) = superseded.read(&name, MAX_METADATA_LENGTH)? {
            copies.push(bytes);
            name.push('~');
        }
    }
    Ok(copies)
}
