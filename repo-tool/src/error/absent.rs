//! Names that are asked for and are not there.

use std::path::PathBuf;

use lastmile_metadata::{RoleName, TargetPath};

/// What is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotFound {
    /// No role delegates to this one.
    #[error("nobody delegates to a role {role}")]
    Delegation {
        /// The role.
        role: RoleName,
    },
    /// A change contains a role to which nobody delegates.
    #[error("nobody delegates to the role {role}")]
    DelegationInDraft {
        /// The role.
        role: RoleName,
    },
    /// One role does not delegate to another.
    #[error("{from} does not delegate to {role}")]
    DelegationFrom {
        /// The role that should delegate.
        from: RoleName,
        /// The role to which it should.
        role: RoleName,
    },
    /// There is no such role.
    #[error("there is no role {role}")]
    Role {
        /// Its name.
        role: RoleName,
    },
    /// No delegated role has a name that begins so.
    #[error("no delegated role begins with `{start}`")]
    RolesBeginningWith {
        /// The beginning.
        start: String,
    },
    /// No role trusts this key.
    #[error("no role trusts the key {key}")]
    TrustedKey {
        /// The beginning of the key, for messages.
        key: String,
    },
    /// No role lists this target.
    #[error("no target `{path}` is listed")]
    Target {
        /// Its path.
        path: TargetPath,
    },
    /// Targets that are distributed into bins were not given: a fault of this program.
    #[error("a target got lost on its way")]
    DistributedTarget,
    /// The folder has no metadata.
    #[error("there is no repository in {}", folder.display())]
    Repository {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder has no `repo.toml`.
    #[error("there is no repository in {} (no repo.toml)", folder.display())]
    Config {
        /// The folder.
        folder: PathBuf,
    },
    /// A file of the repository.
    #[error("{} is not there", path.display())]
    File {
        /// Its path.
        path: PathBuf,
    },
    /// A file of the repository that was there before.
    #[error("{} is not there any more", path.display())]
    RemovedFile {
        /// Its path.
        path: PathBuf,
    },
    /// A target file of the pending change.
    #[error("staged/targets/{} is not there", path.display())]
    StagedTarget {
        /// Its path below `staged/targets/`.
        path: PathBuf,
    },
    /// A request of another process.
    #[error("the request {name} is not there any more")]
    Request {
        /// The name of its folder.
        name: String,
    },
}
