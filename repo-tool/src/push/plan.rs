//! Determines the files of a push from the difference between the served snapshot and the snapshot of the folder.
//!
//! All names come from verified metadata. The cost grows with the number of changed roles and targets, not with the
//! size of the repository.

use std::collections::BTreeSet;

use lastmile_metadata::{RoleName, TargetFile, TargetNames, Targets, Version};

use crate::edit::intake;
use crate::edit::revert::read_role;
use crate::files::access;
use crate::publish::journal::FileKind;
use crate::published::Published;
use crate::served::Served;
use crate::{Error, NotFound, names};

pub(crate) struct Plan {
    /// The new roots, oldest first.
    pub(crate) roots: Vec<MetadataItem>,
    pub(crate) root_place: RootPlace,
    /// The files of targets that the served metadata does not list.
    pub(crate) targets: Vec<TargetItem>,
    /// The metadata of changed roles in the order of publication: delegated roles, role `targets`,
    /// snapshot.
    pub(crate) roles: Vec<MetadataItem>,
    /// The names of the snapshots between the served version and the new version. No client reads them, but interrupted
    /// pushes may have uploaded them.
    pub(crate) skipped_snapshots: Vec<String>,
    /// The timestamp, if it changed.
    pub(crate) timestamp: Option<MetadataItem>,
}

pub(crate) struct MetadataItem {
    pub(crate) name: String,
    pub(crate) kind: FileKind,
    /// Its verified content.
    pub(crate) bytes: Vec<u8>,
    /// Whether its name contains its version.
    pub(crate) is_versioned: bool,
}

pub(crate) struct TargetItem {
    pub(crate) name: String,
    pub(crate) target: TargetFile,
}

/// When a push uploads new roots. The time is chosen so that clients can update without errors during the push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RootPlace {
    /// Before all other files, because the served files are also valid under the newest root.
    First,
    /// After the timestamp, because the new files are also valid under the served root.
    Last,
    /// Just before the timestamp, because some served files are not valid under the newest root, and some new files are
    /// not valid under the served root.
    BeforeTimestamp,
}

impl Plan {
    /// Plans the update of the destination from the state `served` to the state `ours`. `served` is `None` if the
    /// destination is empty.
    pub(crate) fn new(ours: &mut Published, served: Option<&Served>, names: TargetNames) -> Result<Self, Error> {
        let first = served.map_or(Version::ONE, |served| served.trusted().root().version);
        let roots = roots(ours, first, served.is_some())?;
        let root_place = if roots.is_empty() { RootPlace::First } else { root_place(ours, served) };
        let mut plan = Self {
            roots,
            root_place,
            targets: Vec::new(),
            roles: Vec::new(),
            skipped_snapshots: skipped_snapshots(ours, served),
            timestamp: None,
        };
        if served.is_none() {
            // Every role is uploaded, so read all of them in one step.
            ours.read_all()?;
        }
        let mut seen = BTreeSet::new();
        let changed: Vec<(RoleName, Version)> = ours
            .snapshot
            .roles()
            .filter(|(role, listed)| {
                served.and_then(|served| served.trusted().snapshot().meta(role)).as_ref() != Some(listed)
            })
            .map(|(role, listed)| (role, listed.version))
            .collect();
        for (role, version) in changed {
            match ours.role(&role) {
                Ok(_) => plan.add_role(ours, served, (&role, version), names, &mut seen)?,
                // The snapshot also lists roles whose delegation was removed. No client reads these roles.
                Err(Error::NotFound(NotFound::Delegation { .. } | NotFound::Role { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        plan.add_online_roles(ours, served);
        plan.roles.sort_by_key(|item| item.kind);
        Ok(plan)
    }

    fn add_role(
        &mut self,
        ours: &Published,
        served: Option<&Served>,
        (role, version): (&RoleName, Version),
        names: TargetNames,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        let (Some(targets), Some(bytes)) = (ours.known(role), ours.file(role)) else {
            return Err(NotFound::Role { role: role.clone() }.into());
        };
        let kind = if *role == RoleName::TARGETS { FileKind::Targets } else { FileKind::Delegated };
        self.roles.push(metadata(ours, role, version, kind, bytes));
        let before = served.and_then(|served| earlier(ours, served, role));
        for target in targets.targets() {
            let is_served = |before: &Targets| before.target(&target.path).is_some_and(|before| before == target);
            if before.as_ref().is_some_and(is_served) {
                continue;
            }
            for place in intake::published_paths(&target, names) {
                let name = format!("targets/{}", place.to_string_lossy());
                if seen.insert(name.clone()) {
                    self.targets.push(TargetItem { name, target: target.clone() });
                }
            }
        }
        Ok(())
    }

    fn add_online_roles(&mut self, ours: &Published, served: Option<&Served>) {
        let trusted = served.map(Served::trusted);
        if trusted.is_none_or(|theirs| theirs.snapshot().bytes() != ours.snapshot.bytes()) {
            let version = ours.snapshot.version;
            let item = metadata(ours, &RoleName::SNAPSHOT, version, FileKind::Snapshot, ours.snapshot.bytes());
            self.roles.push(item);
        }
        if trusted.is_none_or(|theirs| theirs.timestamp().bytes() != ours.timestamp.bytes()) {
            let version = ours.timestamp.version;
            let bytes = ours.timestamp.bytes();
            self.timestamp = Some(metadata(ours, &RoleName::TIMESTAMP, version, FileKind::Timestamp, bytes));
        }
    }

    /// Returns the number of files, without the skipped snapshots.
    pub(crate) fn len(&self) -> usize {
        self.roots.len() + self.targets.len() + self.roles.len() + usize::from(self.timestamp.is_some())
    }
}

fn metadata(ours: &Published, role: &RoleName, version: Version, kind: FileKind, bytes: &[u8]) -> MetadataItem {
    let version = ours.root.version_in_name(role, version);
    let name = format!("metadata/{}", names::metadata_file(role, version));
    MetadataItem { name, kind, bytes: bytes.to_vec(), is_versioned: version.is_some() }
}

/// Returns the roots to upload. If the destination is empty, these are all roots of the folder. Otherwise
/// (`is_served`), they are the roots after version `first`.
fn roots(ours: &Published, first: Version, is_served: bool) -> Result<Vec<MetadataItem>, Error> {
    let mut roots = Vec::new();
    for version in ours.root_versions() {
        if is_served && version <= first {
            continue;
        }
        // The chain of these roots was verified when the folder was opened.
        let path = ours.layout().metadata().join(names::metadata_file(&RoleName::ROOT, Some(version)));
        let bytes = access::read_if_there(&path)?.ok_or(NotFound::File { path })?;
        roots.push(metadata(ours, &RoleName::ROOT, version, FileKind::Root, &bytes));
    }
    Ok(roots)
}

fn skipped_snapshots(ours: &Published, served: Option<&Served>) -> Vec<String> {
    let first = served.map_or(1, |served| served.trusted().snapshot().version.get() + 1);
    let versions = (first..ours.snapshot.version.get()).filter_map(Version::new);
    let in_names = versions.filter_map(|version| ours.root.version_in_name(&RoleName::SNAPSHOT, version));
    in_names.map(|version| format!("metadata/{}", names::metadata_file(&RoleName::SNAPSHOT, Some(version)))).collect()
}

fn root_place(ours: &Published, served: Option<&Served>) -> RootPlace {
    let Some(theirs) = served.map(Served::trusted) else { return RootPlace::First };
    let is_served_valid = |role: &RoleName| {
        ours.root.key_ring(role).is_ok_and(|ring| match role.as_str() {
            "timestamp" => theirs.timestamp().verify(role, &ring).is_ok(),
            "snapshot" => theirs.snapshot().verify(role, &ring).is_ok(),
            _ => theirs.targets().held().is_some_and(|targets| targets.verify(role, &ring).is_ok()),
        })
    };
    let is_ours_valid = |role: &RoleName| {
        theirs.root().key_ring(role).is_ok_and(|ring| match role.as_str() {
            "timestamp" => ours.timestamp.verify(role, &ring).is_ok(),
            "snapshot" => ours.snapshot.verify(role, &ring).is_ok(),
            _ => ours.targets().is_ok_and(|targets| targets.verify(role, &ring).is_ok()),
        })
    };
    let roles = [RoleName::TIMESTAMP, RoleName::SNAPSHOT, RoleName::TARGETS];
    if roles.iter().all(is_served_valid) {
        RootPlace::First
    } else if roles.iter().all(is_ours_valid) {
        RootPlace::Last
    } else {
        RootPlace::BeforeTimestamp
    }
}

/// Reads the served version of a role from the folder. Returns `None` if the folder no longer has
/// this version or if it cannot be verified. In that case, the push checks every target file of the
/// role at the destination.
fn earlier(ours: &Published, served: &Served, role: &RoleName) -> Option<Targets> {
    let listed = served.trusted().snapshot().meta(role)?;
    ours.root.version_in_name(role, listed.version)?;
    read_role(ours, role, &listed, &ours.key_ring(role).ok()?).ok()
}
