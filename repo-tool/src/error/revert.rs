//! Errors about restoring earlier content.

use std::path::PathBuf;

use super::publish::lines;
use crate::check::finding::Finding;
use lastmile_client::text::printable_path;

/// Why the last publication cannot be reverted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevertError {
    /// The folder keeps no earlier metadata.
    #[error("the repository keeps no earlier metadata, because `consistent_snapshot` is false")]
    NotKept,
    /// An earlier file no longer exists.
    #[error("{} does not exist, so the content before the last publication cannot be restored", printable_path(path))]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// An earlier file does not verify.
    #[error("{} cannot be restored, because the keys of today do not verify it: {error}", printable_path(path))]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Why it does not verify.
        error: lastmile_metadata::Error,
    },
    /// The earlier delegations list keys that the current ones do not.
    #[error("the last publication removed keys, and reverting it would trust them again:{}", removed(.keys))]
    RemovedKeys {
        /// Each key with the role, or the name prefix of the bins, that listed it. A key is shown by the start of its text.
        keys: Vec<(String, String)>,
    },
    /// Target files that the earlier content lists are missing or were changed.
    #[error("these target files would be listed again:{}", lines(.files))]
    TargetFiles {
        /// What is wrong with each file.
        files: Vec<Finding>,
    },
}

fn removed(keys: &[(String, String)]) -> String {
    let all: Vec<String> = keys.iter().map(|(role, key)| format!("{role}: key {key}")).collect();
    lines(&all)
}
