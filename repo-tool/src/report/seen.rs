//! The versions that earlier checks of a repository found, in one file for each metadata URL. The files are in the
//! user's state folder. The versions are used only for comparison, and never to decide what to trust.

use std::path::{Path, PathBuf};

use lastmile_client::BaseUrl;
use lastmile_metadata::{RoleName, TrustedMetadata};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::files::own;
use crate::published::Published;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Versions {
    pub(crate) root: u64,
    pub(crate) timestamp: u64,
    pub(crate) snapshot: u64,
    pub(crate) targets: u64,
    /// The keys and thresholds of timestamp and snapshot, as in [`lastmile_metadata::Root::online_keys`]. After these
    /// keys or thresholds change, versions may be lower than before (TUF specification 5.3.11).
    online_keys: String,
}

impl Versions {
    pub(crate) fn of(trusted: &TrustedMetadata) -> Self {
        Self {
            root: trusted.root().version.get(),
            timestamp: trusted.timestamp().version.get(),
            snapshot: trusted.snapshot().version.get(),
            targets: trusted.targets().version().get(),
            online_keys: trusted.root().online_keys(),
        }
    }

    pub(crate) fn of_published(published: &Published) -> Result<Self, Error> {
        Ok(Self {
            root: published.root.version.get(),
            timestamp: published.timestamp.version.get(),
            snapshot: published.snapshot.version.get(),
            targets: published.targets()?.version.get(),
            online_keys: published.root.online_keys(),
        })
    }

    pub(crate) fn by_role(&self) -> [(RoleName, u64); 4] {
        [
            (RoleName::ROOT, self.root),
            (RoleName::TIMESTAMP, self.timestamp),
            (RoleName::SNAPSHOT, self.snapshot),
            (RoleName::TARGETS, self.targets),
        ]
    }

    /// Returns each role with a lower version in `self` than in `other`: its name, the lower version, and the higher
    /// version. Root versions are always comparable. The versions of other roles are comparable only if `self` and
    /// `other` have the same timestamp and snapshot keys.
    pub(crate) fn behind(&self, other: &Self) -> Vec<(RoleName, u64, u64)> {
        let is_comparable = |role: &RoleName| *role == RoleName::ROOT || self.online_keys == other.online_keys;
        let pairs = self.by_role().into_iter().zip(other.by_role());
        let behind = pairs.filter(|((role, ours), (_, theirs))| is_comparable(role) && ours < theirs);
        behind.map(|((role, ours), (_, theirs))| (role, ours, theirs)).collect()
    }

    /// Returns, for each role, the higher of the versions in `self` and `before`. If the online keys were replaced,
    /// returns the higher version only for the root, and the versions in `self` for all other roles.
    ///
    /// Because the higher versions are kept, every check reports a rollback by the server until the server catches up.
    fn highest(&self, before: &Self) -> Self {
        let keeps = self.online_keys == before.online_keys;
        let most = |now: u64, before: u64| if keeps { now.max(before) } else { now };
        Self {
            root: self.root.max(before.root),
            timestamp: most(self.timestamp, before.timestamp),
            snapshot: most(self.snapshot, before.snapshot),
            targets: most(self.targets, before.targets),
            online_keys: self.online_keys.clone(),
        }
    }
}

/// The content of the file that stores the versions at one URL.
#[derive(Serialize, Deserialize)]
struct SeenFile {
    /// The URL, without credentials, for people who read the file.
    url: String,
    versions: Versions,
}

#[derive(Clone, Debug)]
pub(crate) struct SeenVersions {
    folder: Option<PathBuf>,
}

impl SeenVersions {
    /// If there is no state folder, no versions are stored.
    pub(crate) fn below(state: Option<&Path>) -> Self {
        Self { folder: state.map(|state| state.join("seen")) }
    }

    pub(crate) fn file(&self, url: &BaseUrl) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{}.json", own::name_of(url.as_str()))))
    }

    /// An invalid file counts as missing.
    pub(crate) fn read(&self, url: &BaseUrl) -> Result<Option<Versions>, Error> {
        let Some(path) = self.file(url) else { return Ok(None) };
        let text = own::read(&path)?;
        Ok(text.and_then(|text| serde_json::from_str::<SeenFile>(&text).ok()).map(|look| look.versions))
    }

    /// Stores the versions `now` that a check found. `before` contains the versions that are already stored. A higher
    /// version in `before` is kept. If the online keys were replaced, only a higher root version is kept.
    pub(crate) fn write(&self, url: &BaseUrl, now: &Versions, before: Option<&Versions>) -> Result<(), Error> {
        let Some(path) = self.file(url) else { return Ok(()) };
        let versions = before.map_or_else(|| now.clone(), |before| now.highest(before));
        if before == Some(&versions) {
            return Ok(());
        }
        own::write_json(&path, &SeenFile { url: url.to_string(), versions })
    }
}
