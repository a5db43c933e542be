//! A change that has not been published. First, an [`Edit`](crate::Edit) changes the content of roles. Then
//! `publish/completion.rs` creates and signs the documents of the changed roles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use lastmile_metadata::{KeyRing, RoleName, Root, TargetPath};

use crate::config::Config;
use crate::document::Prior;
use crate::files::digest::FileDigest;
use crate::published::Published;
use crate::role_content::RoleContent;
use crate::{DraftError, Error};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewTargetFile {
    /// The current absolute path of the file, which is inside the repository.
    pub(crate) from: PathBuf,
    /// The final path of the file, relative to `targets/`.
    pub(crate) to: PathBuf,
    pub(crate) content: Option<FileDigest>,
}

/// A change to a repository, before it is signed.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    pub(crate) root: Option<Root>,
    /// The content of each targets role that changes.
    pub(crate) targets: BTreeMap<RoleName, RoleContent>,
    /// The roles that delegate to each changed delegated role. The keys of each of these delegations must sign the
    /// role.
    pub(crate) delegators: BTreeMap<RoleName, BTreeSet<RoleName>>,
    /// The online roles (timestamp and snapshot) to sign again even if no file that they list changes.
    pub(crate) again: BTreeSet<RoleName>,
    pub(crate) files: Vec<NewTargetFile>,
    /// The targets that were added, changed or removed. Before publication, [`crate::check`] checks that clients find
    /// the added and changed targets.
    pub(crate) touched: BTreeSet<TargetPath>,
    /// The roles to which many targets were added at once. These targets are not in `touched`. Before publication,
    /// [`crate::check`] checks that clients find every new target of these roles.
    pub(crate) bulk_filled: BTreeSet<RoleName>,
    /// The partly signed documents from the pending change, or from a change that was made on another machine. A new
    /// edit of a role removes its document from this map.
    pub(crate) prior: BTreeMap<RoleName, Prior>,
    /// Whether this draft continues the pending change in `staged/`.
    pub(crate) from_staged: bool,
    pub(crate) config: Option<Config>,
    /// The names of the requests in the queue (`publish/queue.rs`) whose changes are published with this draft.
    pub(crate) requests: Vec<String>,
    /// The key rings that roles will have after the pending change, if this draft is published before it. The keys in
    /// these key rings must also sign the documents of this draft, so that the pending change can still be published.
    pub(crate) later_rings: BTreeMap<RoleName, Vec<KeyRing>>,
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

    /// Returns whether no role changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_none() && self.targets.is_empty() && self.again.is_empty()
    }

    pub(crate) fn renews_only_online_roles(&self) -> bool {
        self.root.is_none() && self.targets.is_empty() && !self.again.is_empty()
    }

    /// Sets the configuration that is published with the change.
    pub fn set_config(&mut self, config: Config) {
        self.config = Some(config);
    }

    /// Returns the new configuration, or `None` if the configuration does not change.
    #[must_use]
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// Returns whether this draft continues the pending change.
    #[must_use]
    pub fn continues_pending(&self) -> bool {
        self.from_staged
    }

    /// Returns the targets that were individually added, changed or removed.
    #[must_use]
    pub fn touched(&self) -> &BTreeSet<TargetPath> {
        &self.touched
    }

    /// Returns the names of the requests in the queue whose changes are published with this draft.
    #[must_use]
    pub fn requests(&self) -> &[String] {
        &self.requests
    }

    /// Returns the new root, or the published root if the root does not change.
    ///
    /// # Errors
    /// [`Error::Draft`] if neither the draft nor the published state has a root.
    pub(crate) fn root_after<'r>(&'r self, published: Option<&'r Published>) -> Result<&'r Root, Error> {
        let root = self.root.as_ref().or(published.map(|published| &*published.root));
        root.ok_or_else(|| DraftError::NoRoot.into())
    }
}
