//! Errors about roles, targets, keys and files that do not exist.

use std::path::PathBuf;

use lastmile_client::text::{printable, printable_path};
use lastmile_metadata::{RoleName, TargetPath};

/// A role, target, key, file or other item that a command needs does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotFound {
    /// The user's configuration has no destination with this name.
    #[error("no destination `{}` is configured for this repository", printable(name))]
    Destination {
        /// The name of the destination.
        name: String,
    },
    /// No role delegates to this role.
    #[error("no role delegates to {role}")]
    Delegation {
        /// The role.
        role: RoleName,
    },
    /// A change contains metadata for a delegated role, but no role delegates to it.
    #[error("the change contains {role}, but no role delegates to it")]
    DelegationInDraft {
        /// The role.
        role: RoleName,
    },
    /// The role `from` does not delegate to the role `role`.
    #[error("{from} does not delegate to {role}")]
    DelegationFrom {
        /// The role that does not delegate to `role`.
        from: RoleName,
        /// The role to which `from` does not delegate.
        role: RoleName,
    },
    /// All earlier publications have the same targets and delegations as the last publication.
    #[error("there is nothing to revert: no earlier publication has different targets or delegations")]
    EarlierContent,
    /// The role does not exist.
    #[error("there is no role {role}")]
    Role {
        /// The name of the role.
        role: RoleName,
    },
    /// No delegated role has a name that starts with this prefix.
    #[error("no delegated role has a name that starts with `{}`", printable(start))]
    RolesBeginningWith {
        /// The prefix.
        start: String,
    },
    /// The key is not trusted for any role.
    #[error("the key {key} is not trusted for any role")]
    TrustedKey {
        /// The first characters of the public key, for messages.
        key: String,
    },
    /// No role lists this target.
    #[error("no role lists the target `{path}`")]
    Target {
        /// The path of the target.
        path: TargetPath,
    },
    /// A target was lost while targets were distributed into bins. This is a bug in lastmile.
    #[error("internal error: a target was lost while targets were distributed into bins")]
    DistributedTarget,
    /// The user's configuration does not give the URL at which the repository is served.
    #[error(
        "your configuration does not give the URL of the repository in {}; give it with `--from URL`",
        printable_path(folder)
    )]
    Origin {
        /// The repository's folder.
        folder: PathBuf,
    },
    /// The folder has no metadata.
    #[error("there is no repository in {}", printable_path(folder))]
    Repository {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder has no `repo.toml`.
    #[error("there is no repository in {} (no repo.toml)", printable_path(folder))]
    Config {
        /// The folder.
        folder: PathBuf,
    },
    /// A file of the repository does not exist.
    #[error("{} does not exist", printable_path(path))]
    File {
        /// The path of the file.
        path: PathBuf,
    },
    /// A file of the repository was removed while a command was running.
    #[error("{} no longer exists", printable_path(path))]
    RemovedFile {
        /// The path of the file.
        path: PathBuf,
    },
    /// A target file of the pending change does not exist.
    #[error("staged/targets/{} does not exist", printable_path(path))]
    StagedTarget {
        /// The path of the file below `staged/targets/`.
        path: PathBuf,
    },
    /// Another process asked this process to publish a change, but the request no longer exists, for example because
    /// the other process has ended.
    #[error("the request {} no longer exists", printable(name))]
    Request {
        /// The name of the request's folder.
        name: String,
    },
}
