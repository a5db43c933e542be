//! The root that the user trusts. Whether there is such a root determines for which roles keys may sign.
//!
//! A repository's folder cannot authenticate itself, because in a forged folder, all files verify with the forged root.
//! Therefore, keys sign for root, targets, delegated roles and bins only if the published state was verified from a
//! root that this user trusts: a root that the user has pinned, or that the user specifies for this run. If there is no
//! such root, keys may sign only snapshots and timestamps, which cannot list packages. Even for these roles, a key may
//! sign only if no other role lists it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lastmile_keys::PublicKey;
use lastmile_metadata::{RoleName, Version};

use crate::files::access;
use crate::files::layout::Layout;
use crate::files::links;
use crate::files::roots;
use crate::published::Published;
use crate::root_digest::RootDigest;
use crate::user::{PinnedRoot, UserConfig};
use crate::{Error, PinError};

/// A root that the user specifies for this run. The user needs it, for example, for a repository that is new to them,
/// or on a machine without their stored configuration.
#[derive(Clone, Debug)]
pub struct GivenRoot {
    /// The digest of the root.
    pub digest: RootDigest,
    /// Whether to pin the root. If so, later runs trust it too.
    pub remember: bool,
}

impl GivenRoot {
    /// Reads a root file and computes its digest.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn read(file: &Path) -> Result<Self, Error> {
        Ok(Self { digest: RootDigest::of(&links::read_named_root(file)?), remember: true })
    }
}

/// The root from which a repository is verified, and whether the user trusts it.
#[derive(Debug)]
pub(crate) struct Start {
    /// The digest of the oldest root in the folder. It identifies the repository in the user's configuration.
    pub(crate) repository: RootDigest,
    pub(crate) root: Vec<u8>,
    /// Whether the user trusts this root.
    pub(crate) is_pinned: bool,
}

impl Start {
    /// Returns the pinned root, or the root that the user specified. If there is neither, returns the oldest root in
    /// the folder, which is not trusted.
    ///
    /// # Errors
    /// [`Error::Pin`] if the folder does not contain the root that the user trusts, or if the user pinned a root of a
    /// different repository in this folder.
    pub(crate) fn find(layout: &Layout, user: &UserConfig, given: Option<&GivenRoot>) -> Result<Self, Error> {
        let oldest = roots::oldest_root(layout)?;
        let repository = RootDigest::of(&oldest);
        let pinned = user.pinned_root(repository)?;
        let given = given.map(|given| find_root(layout, given.digest)).transpose()?;
        let known = user.repository_in(layout.dir())?.filter(|known| *known != repository && given.is_none());
        if let Some(known) = known {
            let folder = layout.dir().to_path_buf();
            return Err(PinError::OtherRepository { folder, pinned: known, found: repository }.into());
        }
        let Some(PinnedRoot { version, digest }) = pinned else {
            let is_pinned = given.is_some();
            return Ok(Self { repository, root: given.unwrap_or(oldest), is_pinned });
        };
        // Start from the pinned root even if the user specified a different root. The pin may move only to a root that
        // was verified from the pinned root.
        let path = root_file(layout, version);
        match access::read_if_there(&path)? {
            Some(root) if RootDigest::of(&root) == digest => Ok(Self { repository, root, is_pinned: true }),
            Some(_) => Err(PinError::Changed { path, digest }.into()),
            None => Err(PinError::Missing { path, version }.into()),
        }
    }
}

fn root_file(layout: &Layout, version: Version) -> PathBuf {
    layout.metadata().join(format!("{version}.root.json"))
}

/// Searches the metadata folder for the root file with this digest, and returns its content.
///
/// # Errors
/// [`PinError::GivenRootMissing`] if there is no such file.
pub(crate) fn find_root(layout: &Layout, digest: RootDigest) -> Result<Vec<u8>, Error> {
    for version in roots::root_versions(layout)? {
        let path = root_file(layout, version);
        if let Some(root) = access::read_if_there(&path)?.filter(|root| RootDigest::of(root) == digest) {
            return Ok(root);
        }
    }
    Err(PinError::GivenRootMissing { folder: layout.metadata(), digest }.into())
}

/// The roles for which keys may sign in a repository.
#[derive(Clone, Debug)]
pub struct Authority(Scope);

#[derive(Clone, Debug)]
enum Scope {
    /// All roles, because the user trusts the root, or because this process is creating the repository.
    Everything,
    /// Only snapshots and timestamps, with keys that sign for no other role.
    OnlineRoles { content_keys: Arc<BTreeSet<PublicKey>>, folder: PathBuf, digest: RootDigest },
}

impl Authority {
    pub(crate) fn of_new_repository() -> Self {
        Self(Scope::Everything)
    }

    pub(crate) fn of(start: &Start, published: &Published, layout: &Layout) -> Self {
        if start.is_pinned {
            return Self(Scope::Everything);
        }
        let root = published.root.roles.iter().filter(|(role, _)| !role.is_online());
        let root = root.flat_map(|(_, listed)| &listed.keyids).filter_map(|id| published.root.keys.get(id));
        let delegated = published.read_roles().filter_map(|(_, targets)| targets.delegations.as_ref());
        let delegated = delegated.flat_map(|delegations| delegations.keys.values());
        // Omit unusable keys, because they cannot sign.
        let usable = root.chain(delegated).filter_map(|key| key.public_key().ok().cloned());
        let content_keys = Arc::new(usable.collect());
        let folder = layout.dir().to_path_buf();
        let digest = start.repository;
        Self(Scope::OnlineRoles { content_keys, folder, digest })
    }

    /// Returns [`Error::NotPinned`] if signing for `role` with `key` requires a pinned root.
    pub(crate) fn check(&self, role: &RoleName, key: &PublicKey) -> Result<(), Error> {
        match &self.0 {
            Scope::OnlineRoles { content_keys, .. } if role.is_online() && !content_keys.contains(key) => Ok(()),
            _ => self.require_pin(),
        }
    }

    pub(crate) fn require_pin(&self) -> Result<(), Error> {
        match &self.0 {
            Scope::Everything => Ok(()),
            Scope::OnlineRoles { folder, digest, .. } => {
                Err(Error::NotPinned { folder: folder.clone(), digest: digest.to_string() })
            }
        }
    }

    /// Returns whether keys may sign for all roles. This is the case if the user trusts the root, or if this process is
    /// creating the repository.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        matches!(self.0, Scope::Everything)
    }
}
