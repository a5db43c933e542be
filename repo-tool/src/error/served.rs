//! What a server has, and the roots that a user trusts.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use lastmile_client::{Error as ClientError, FetchError, LocalError};
use lastmile_metadata::{RoleName, Version};

use crate::check::chain;
use crate::user::RootDigest;

/// Why a server could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// What is served cannot be compared with what is published.
    #[error(
        "cannot compare with what is served (`--skip-served-check` publishes without, for example before the first upload): \
         {0}"
    )]
    Compare(Box<NetworkError>),
    /// A client failed.
    #[error("{}", chain(.0))]
    Client(Box<ClientError>),
    /// A client cannot be set up.
    #[error("{}", chain(.0))]
    Setup(Box<ClientError>),
    /// A file could not be fetched.
    #[error("{}", chain(.0))]
    Fetch(FetchError),
    /// No runtime could be started.
    #[error("{0}")]
    Runtime(io::Error),
    /// A server cannot listen at its address.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

/// What differs between a server and the repository's folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServedError {
    /// What is served does not verify.
    #[error("what {url} serves does not verify: {error}")]
    Unverified {
        /// The metadata URL.
        url: String,
        /// Why not.
        error: Box<crate::Error>,
    },
    /// A file that was fetched cannot be read again.
    #[error("{}", chain(.0))]
    Memory(LocalError),
    /// The server has a newer version of a role.
    #[error(
        "the server has {role} version {served}, and this folder has version {published}: another copy published a newer \
         version, or this folder was restored from a backup. `lastmile-repo catch-up` shows the difference and resolves it"
    )]
    Newer {
        /// The role.
        role: RoleName,
        /// The version on the server.
        served: Version,
        /// The version in the folder.
        published: Version,
    },
    /// The server has another file under the same version of a top-level role.
    #[error(
        "the server has another file of {role} version {version}, and this folder has version {version}: another copy \
         published a newer version, or this folder was restored from a backup. `lastmile-repo catch-up` shows the \
         difference and resolves it"
    )]
    OtherFile {
        /// The role.
        role: RoleName,
        /// The version of both.
        version: Version,
    },
    /// The server has a version so high that no publication made it.
    #[error(
        "the server has {role} version {served}, and this folder has version {published}: publishing raises a version by \
         one, so somebody else signs with the key of {role}. `lastmile-repo revoke` it"
    )]
    DrivenUp {
        /// The role.
        role: RoleName,
        /// The version on the server.
        served: Version,
        /// The version in the folder.
        published: Version,
    },
    /// The same, found while catching up.
    #[error(
        "the server has {role} version {served}, {lead} above this folder: no publication of yours made that jump, so a key \
         was stolen. `lastmile-repo revoke` it"
    )]
    Jump {
        /// The role.
        role: RoleName,
        /// The version on the server.
        served: Version,
        /// How far it is above the version in the folder.
        lead: u64,
    },
    /// The server and the folder have different files under the same version of a role.
    #[error(
        "the server and this folder have different files of {role} under the same version: somebody changed one of them. \
         `lastmile-repo catch-up` shows the difference; `lastmile-repo revoke` the key that signed the wrong one"
    )]
    Differs {
        /// The role.
        role: RoleName,
    },
    /// The server has content that was not published from this folder.
    #[error(
        "the server has content that was not published from this folder:\n{changes}If these releases are yours, from \
         another copy or from before a restore, repeat the command with `--adopt`. If not, a key was stolen: \
         `lastmile-repo revoke` it"
    )]
    Foreign {
        /// What it is, one line for each change.
        changes: String,
    },
    /// The server has an older root.
    #[error(
        "the server still has root version {served}, and this folder has version {published}: upload this folder first. If \
         somebody publishes there with keys that the new root no longer trusts, clients refuse it once they have that root"
    )]
    OldRoot {
        /// The version on the server.
        served: Version,
        /// The version in the folder.
        published: Version,
    },
    /// The server has another root under the same version.
    #[error(
        "the server has another root version {version} than this folder, and nothing was adopted: two copies of the \
         repository each made that root, or a root key was stolen. If the root on the server is yours, restore \
         metadata/{version}.root.json from the copy that was published; if not, `lastmile-repo revoke` the key"
    )]
    OtherRoot {
        /// The version of both.
        version: Version,
    },
    /// The pinned root is neither on the server nor in the folder.
    #[error(
        "neither the server nor this folder has root version {version} as you pinned it (SHA-256 {digest}): one of them was \
         set back or changed, and nothing was adopted"
    )]
    PinnedRootMissing {
        /// The pinned version.
        version: Version,
        /// The pinned root.
        digest: RootDigest,
    },
    /// The given root is not in the chain of the server.
    #[error("no root of the server has the SHA-256 {digest} that was given")]
    GivenRootMissing {
        /// The root that was given.
        digest: RootDigest,
    },
    /// A role on the server cannot be verified.
    #[error("nobody delegates to {role} on the server: it cannot be verified")]
    NotDelegated {
        /// The role.
        role: RoleName,
    },
    /// This program was built without the feature `http`.
    #[error("this program cannot compare with what {url} serves")]
    Unsupported {
        /// The metadata URL.
        url: String,
    },
}

/// Why the roots in a folder are not those that the user trusts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The folder holds another repository than before.
    #[error(
        "{} held the repository with the root {pinned} when you pinned it, and now another one, with the root {found}: \
         nothing is signed for it. If you put it there, name its root with `--root-sha256`",
        folder.display()
    )]
    OtherRepository {
        /// The folder.
        folder: PathBuf,
        /// The oldest root of the repository that was pinned.
        pinned: RootDigest,
        /// The oldest root that is there now.
        found: RootDigest,
    },
    /// A root file is not the pinned one.
    #[error(
        "{} is not the root that you pinned (SHA-256 {digest}): somebody changed the folder; nothing is signed for it",
        path.display()
    )]
    Changed {
        /// The root file.
        path: PathBuf,
        /// The pinned root.
        digest: RootDigest,
    },
    /// The pinned root file is missing.
    #[error(
        "{} is missing, and you have seen root version {version} before: the folder was set back; restore that file and all \
         newer ones",
        path.display()
    )]
    Missing {
        /// The root file.
        path: PathBuf,
        /// The pinned version.
        version: Version,
    },
    /// No root in the folder is the one that was given.
    #[error(
        "no root in {} has the SHA-256 {digest} that was given: this is another repository, or somebody changed it",
        folder.display()
    )]
    GivenRootMissing {
        /// The folder of the metadata.
        folder: PathBuf,
        /// The root that was given.
        digest: RootDigest,
    },
    /// No root in the chain of the folder is the one that was given.
    #[error("no root in {} has the SHA-256 {digest}", folder.display())]
    NotInChain {
        /// The folder of the metadata.
        folder: PathBuf,
        /// The root that was given.
        digest: RootDigest,
    },
}
