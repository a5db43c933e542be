//! Restores the targets and delegations from before the last publication that changed them.
//!
//! The files of earlier versions are still in `metadata/`, but anyone who can write to that folder may have changed
//! them. Therefore the earlier snapshot and the files that it lists are verified. If a role still exists, its earlier
//! file must also verify with the role's current keys. The root is never reverted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use lastmile_keys::KeyMaterial;
use lastmile_metadata::{
    DelegatedRoles, Delegations, Error as MetadataError, ErrorKind, KeyId, KeyRing, MetaFile, Role as _, RoleName,
    Snapshot, Targets, Verified, Version,
};

use super::Edit;
use super::keys::short_material;
use crate::check::finding::{Finding, Rule};
use crate::check::simulated_client;
use crate::draft::Draft;
use crate::files::access::{self, MAX_METADATA_LENGTH};
use crate::published::Published;
use crate::report::verify::check_target;
use crate::role_content::RoleContent;
use crate::{Error, NotFound, Repository, RevertError, names, parallel};

/// Whether to restore delegations that list removed keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedKeys {
    /// Refuse to trust removed keys again.
    Refuse,
    /// Trust removed keys again.
    Trust,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingFiles {
    Refuse,
    /// Ignore missing target files, because they may be on another server.
    Allow,
}

struct EarlierRole {
    content: Targets,
    delegators: BTreeSet<RoleName>,
}

impl Edit<'_> {
    /// Restores the targets and delegations of all roles from before the last publication that changed them.
    /// Publications that only renewed signatures are skipped. Returns the version of the snapshot that lists the
    /// restored content.
    ///
    /// # Errors
    /// [`Error::Revert`] if the repository has no consistent snapshots, or if an earlier file is missing or does not
    /// verify. With [`RemovedKeys::Refuse`], also [`Error::Revert`] if the earlier delegations list keys that have
    /// since been removed. [`Error::NotFound`] if no earlier publication has different content.
    pub fn revert(&mut self, removed: RemovedKeys) -> Result<Version, Error> {
        if !self.published.root.consistent_snapshot {
            return Err(RevertError::NotKept.into());
        }
        self.published.read_all()?;
        for version in earlier_snapshots(self.published)? {
            let snapshot = read_snapshot(self.published, version)?;
            if has_same_versions(&snapshot, &self.published.snapshot) {
                continue;
            }
            let mut roles = earlier_roles(self.published, &snapshot)?;
            roles.retain(|role, earlier| {
                self.published.known(role).is_none_or(|current| !has_same_content(current, &earlier.content))
            });
            if roles.is_empty() {
                continue;
            }
            if removed == RemovedKeys::Refuse {
                refuse_removed_keys(self.published, &roles)?;
            }
            roles.into_iter().for_each(|(role, earlier)| self.restore(role, earlier));
            return Ok(version);
        }
        Err(NotFound::EarlierContent.into())
    }

    fn restore(&mut self, role: RoleName, earlier: EarlierRole) {
        let EarlierRole { content, delegators } = earlier;
        let current = self.published.known(&role);
        let listed = |path: &_| current.and_then(|current| current.target(path));
        let changed = content.targets().filter(|target| listed(&target.path).as_ref() != Some(target));
        self.draft.touched.extend(changed.map(|target| target.path));
        let gone = current.into_iter().flat_map(Targets::paths).filter(|path| content.target(path).is_none());
        self.draft.touched.extend(gone);
        self.draft.prior.remove(&role);
        if !delegators.is_empty() {
            self.draft.delegators.entry(role.clone()).or_default().extend(delegators);
        }
        self.draft.targets.insert(role, RoleContent::Held(content));
    }
}

impl Repository {
    /// Checks that `targets/` still contains the files of the targets that the draft adds or changes.
    ///
    /// # Errors
    /// [`RevertError::TargetFiles`] if files are missing or have different content. The error lists all of them.
    pub(crate) fn check_restored_files(&self, draft: &Draft, missing: MissingFiles) -> Result<(), Error> {
        let mut targets = Vec::new();
        for content in draft.targets.values() {
            let role = content.read()?;
            targets.extend(draft.touched.iter().filter_map(|path| role.target(path)));
        }
        let checked = parallel::try_map(&targets, |target| check_target(&self.layout, target, self.target_names()))?;
        let mut files: Vec<Finding> = checked.into_iter().flat_map(|checked| checked.findings).collect();
        if missing == MissingFiles::Allow {
            files.retain(|finding| finding.rule != Rule::MissingTargetFile);
        }
        if files.is_empty() { Ok(()) } else { Err(RevertError::TargetFiles { files }.into()) }
    }
}

/// Returns the versions of the snapshots in the metadata folder that are older than the published snapshot, newest
/// first.
fn earlier_snapshots(published: &Published) -> Result<Vec<Version>, Error> {
    let folder = published.layout().metadata();
    let entries = std::fs::read_dir(&folder).map_err(|error| Error::file("list", &folder, error))?;
    let mut versions = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| Error::file("list", &folder, error))?.file_name();
        let version = name.to_str().and_then(|name| name.strip_suffix(".snapshot.json")?.parse().ok());
        versions.extend(version.and_then(Version::new).filter(|version| *version < published.snapshot.version));
    }
    versions.sort_unstable_by(|one, other| other.cmp(one));
    Ok(versions)
}

fn read_snapshot(published: &Published, version: Version) -> Result<Verified<Snapshot>, Error> {
    let role = RoleName::SNAPSHOT;
    let (path, bytes) = read(published, &role, version)?;
    let ring = published.root.key_ring(&role)?;
    Verified::<Snapshot>::of_file(&role, bytes, &ring, &simulated_client::reading_limits())
        .and_then(|snapshot| has_version(&role, version, snapshot.version).map(|()| snapshot))
        .map_err(|error| RevertError::Untrusted { path, error }.into())
}

/// Follows the earlier delegations from `targets`, and reads and verifies the earlier file of each role. Skips roles
/// that the earlier snapshot does not list.
fn earlier_roles(published: &Published, snapshot: &Snapshot) -> Result<BTreeMap<RoleName, EarlierRole>, Error> {
    let mut roles: BTreeMap<RoleName, EarlierRole> = BTreeMap::new();
    let mut waiting = VecDeque::from([(RoleName::TARGETS, None, published.root.key_ring(&RoleName::TARGETS)?)]);
    while let Some((role, delegator, ring)) = waiting.pop_front() {
        if let Some(known) = roles.get_mut(&role) {
            known.delegators.extend(delegator);
            continue;
        }
        let Some(listed) = snapshot.meta(&role) else { continue };
        let content = match published.known(&role) {
            Some(current) if published.version(&role) == Some(listed.version) => current.clone(),
            _ => read_role(published, &role, &listed, &ring)?,
        };
        for (child, ring) in content.delegations.iter().flat_map(Delegations::rings) {
            waiting.push_back((child, Some(role.clone()), ring));
        }
        roles.insert(role, EarlierRole { content, delegators: delegator.into_iter().collect() });
    }
    Ok(roles)
}

pub(crate) fn read_role(
    published: &Published,
    role: &RoleName,
    listed: &MetaFile,
    ring: &KeyRing,
) -> Result<Targets, Error> {
    let (path, bytes) = read(published, role, listed.version)?;
    let verify = || {
        listed.check(&bytes).map_err(|kind| MetadataError { role: role.clone(), kind })?;
        let earlier = Verified::<Targets>::of_file(role, bytes, ring, &simulated_client::reading_limits())?;
        // Also verify with the current keys. Without this check, an attacker with a revoked key could replace the
        // earlier file with a forged file, unless the snapshot lists a hash for the role.
        if let Ok(ring) = published.key_ring(role) {
            earlier.verify(role, &ring)?;
        }
        has_version(role, listed.version, earlier.version)?;
        Ok((*earlier).clone())
    };
    verify().map_err(|error| RevertError::Untrusted { path, error }.into())
}

fn read(published: &Published, role: &RoleName, version: Version) -> Result<(PathBuf, Vec<u8>), Error> {
    let path = published.layout().metadata().join(names::metadata_file(role, Some(version)));
    match access::read_small(&path, MAX_METADATA_LENGTH)? {
        Some(bytes) => Ok((path, bytes)),
        None => Err(RevertError::Missing { path }.into()),
    }
}

fn has_version(role: &RoleName, expected: Version, found: Version) -> Result<(), MetadataError> {
    if found == expected {
        return Ok(());
    }
    let kind = ErrorKind::WrongVersion { expected, found };
    Err(MetadataError { role: role.clone(), kind })
}

fn has_same_versions(one: &Snapshot, other: &Snapshot) -> bool {
    let versions =
        |snapshot: &Snapshot| snapshot.roles().map(|(role, listed)| (role, listed.version)).collect::<Vec<_>>();
    versions(one) == versions(other)
}

/// Ignores the version numbers and the expiry dates.
pub(crate) fn has_same_content(one: &Targets, other: &Targets) -> bool {
    let mut one = one.clone();
    (one.header.version, one.header.expires) = (other.header.version, other.header.expires);
    one.write() == other.write()
}

/// Fails if the earlier delegations list a key for a role, but the current delegations do not list the key for that
/// role.
fn refuse_removed_keys(published: &Published, roles: &BTreeMap<RoleName, EarlierRole>) -> Result<(), Error> {
    let current = published.read_roles().filter_map(|(_, targets)| targets.delegations.as_ref());
    let current: BTreeSet<(String, KeyMaterial)> = current.flat_map(listed_keys).collect();
    let earlier = roles.values().filter_map(|earlier| earlier.content.delegations.as_ref());
    let keys: BTreeSet<(String, String)> = earlier
        .flat_map(listed_keys)
        .filter(|listed| !current.contains(listed))
        .map(|(role, key)| (role, short_material(&key)))
        .collect();
    if keys.is_empty() { Ok(()) } else { Err(RevertError::RemovedKeys { keys: keys.into_iter().collect() }.into()) }
}

/// Returns one pair of role name and key for each key of each delegated role. For succinct bins, which share their
/// keys, the role name is `PREFIX-*`.
fn listed_keys(delegations: &Delegations) -> Vec<(String, KeyMaterial)> {
    let material = |name: String, keyids: &[KeyId]| -> Vec<(String, KeyMaterial)> {
        let keys = keyids.iter().filter_map(|id| delegations.keys.get(id));
        keys.map(|key| (name.clone(), key.material())).collect()
    };
    match &delegations.roles {
        DelegatedRoles::Listed(roles) => {
            roles.iter().flat_map(|role| material(role.name.to_string(), &role.keyids)).collect()
        }
        DelegatedRoles::Succinct(bins) => material(format!("{}-*", bins.name_prefix()), &bins.keyids),
    }
}
