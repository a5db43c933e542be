//! Errors about restoring the content from before the last publication.

use std::path::PathBuf;

use lastmile_client::text::printable_path;

use super::text::lines;
use crate::check::finding::Finding;

/// The reason why the last publication cannot be reverted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevertError {
    /// The folder contains no earlier metadata, because without consistent snapshots, new metadata overwrites the old
    /// files.
    #[error("the repository keeps no earlier metadata, because `consistent_snapshot` is false")]
    NotKept,
    /// An earlier file no longer exists.
    #[error("{} does not exist, so the content before the last publication cannot be restored", printable_path(path))]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// An earlier file does not verify with the current keys.
    #[error("{} cannot be restored, because it does not verify with the current keys: {error}", printable_path(path))]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// The reason why the file does not verify.
        error: lastmile_metadata::Error,
    },
    /// The earlier delegations list keys that the current delegations do not list.
    #[error("the last publication removed keys, and reverting it would make them trusted again:{}", removed(.keys))]
    RemovedKeys {
        /// The removed keys. Each pair contains the role for which the key would be trusted again, and the first
        /// characters of the key. For succinct bins, the role is `PREFIX-*`.
        keys: Vec<(String, String)>,
    },
    /// Target files that the earlier content lists are missing or were changed.
    #[error("these targets would be listed again, but their files are missing or were changed:{}", lines(.files))]
    TargetFiles {
        /// One finding for each missing or changed file.
        files: Vec<Finding>,
    },
}

fn removed(keys: &[(String, String)]) -> String {
    let all: Vec<String> = keys.iter().map(|(role, key)| format!("{role}: key {key}")).collect();
    lines(&all)
}
