//! Errors about the served repository and about pinned roots.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use lastmile_client::text::{printable, printable_path};
use lastmile_client::{BaseUrl, Error as ClientError, FetchError, LocalError};
use lastmile_metadata::{RoleName, Version};

use super::text::chain;
use crate::root_digest::RootDigest;

/// The reason why a network operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The server could not be compared with the folder.
    #[error(
        "cannot compare with the server: {0}; use `--skip-served-check` to publish without comparing, for example \
         before the first upload"
    )]
    Compare(Box<NetworkError>),
    /// A client failed.
    #[error("{}", chain(.0))]
    Client(Box<ClientError>),
    /// A client could not be created.
    #[error("{}", chain(.0))]
    Setup(Box<ClientError>),
    /// A file could not be fetched.
    #[error("{}", chain(.0))]
    Fetch(FetchError),
    /// An object store refused a request, or could not be reached.
    #[error("{url}: {}", printable(text))]
    Store {
        /// The destination.
        url: BaseUrl,
        /// The error, without secrets.
        text: String,
    },
    /// A connection with the program `ssh` could not be established, or ended.
    #[error("the SSH connection to {server} failed: {}", printable(text))]
    Ssh {
        /// The user name, the host name and the port.
        server: String,
        /// The last messages of `ssh`, or the error.
        text: String,
    },
    /// An SFTP server refused a request.
    #[error("cannot {action} {} at {server}: {}", printable(path), printable(text))]
    Sftp {
        /// The user name, the host name and the port.
        server: String,
        /// The operation, as a verb.
        action: &'static str,
        /// The path on the server.
        path: String,
        /// The error.
        text: String,
    },
    /// An SFTP server did not reply to a request.
    #[error("cannot {action} {} at {server}: the server has sent nothing for {seconds} seconds", printable(path))]
    SftpSilent {
        /// The user name, the host name and the port.
        server: String,
        /// The operation, as a verb.
        action: &'static str,
        /// The path on the server.
        path: String,
        /// The time limit in seconds.
        seconds: u64,
    },
    /// The async runtime could not be started.
    #[error("{0}")]
    Runtime(io::Error),
    /// A server cannot listen on its address.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error from the operating system.
        error: io::Error,
    },
}

impl NetworkError {
    /// Removes the advice to use `--skip-served-check` from an error. Used where the option has no effect, for
    /// example in `pull`.
    pub(crate) fn of_reading(error: crate::Error) -> crate::Error {
        match error {
            crate::Error::Network(Self::Compare(error)) => crate::Error::Network(*error),
            error => error,
        }
    }
}

/// A difference between the server and the repository's folder, or the reason why they cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServedError {
    /// The repository on the server does not verify.
    #[error("the repository at {url} failed verification: {error}")]
    Unverified {
        /// The metadata URL.
        url: BaseUrl,
        /// The reason why the metadata does not verify.
        error: Box<crate::Error>,
    },
    /// A file that a client has fetched cannot be read from the client's in-memory store.
    #[error("{}", chain(.0))]
    Memory(LocalError),
    /// The server has a newer version of a role than the folder.
    #[error(
        "the server has {role} version {served}, but this folder has version {published}: another copy published a newer \
         version, or this folder was restored from a backup. Run `lastmile-repo catch-up` to see and resolve the difference"
    )]
    Newer {
        /// The role.
        role: RoleName,
        /// The version on the server.
        served: Version,
        /// The version in the folder.
        published: Version,
    },
    /// The server and the folder have the same version of root, timestamp or snapshot, but different files.
    #[error(
        "the server and this folder have different files of {role} version {version}: another copy published that version, or \
         this folder was restored from a backup. Run `lastmile-repo catch-up` to see and resolve the difference"
    )]
    OtherFile {
        /// The role.
        role: RoleName,
        /// The version of both files.
        version: Version,
    },
    /// The server has a version of root, timestamp or snapshot that is too high to be the result of ordinary
    /// publications.
    #[error(
        "the server has {role} version {served}, but this folder has version {published}: each publication raises a version by \
         one, so an attacker has signed with the key of {role}. Run `lastmile-repo revoke`"
    )]
    InflatedVersion {
        /// The role.
        role: RoleName,
        /// The version on the server.
        served: Version,
        /// The version in the folder.
        published: Version,
    },
    /// During `catch-up`, a version on the server is too high to be the result of ordinary publications.
    #[error(
        "the server has {role} version {served}, {lead} above this folder: your publications cannot have caused that jump, so a \
         key was stolen. Run `lastmile-repo revoke`"
    )]
    Jump {
        /// The role.
        role: RoleName,
        /// The version on the server.
        served: Version,
        /// The difference between the served version and the version in the folder.
        lead: u64,
    },
    /// The server and the folder have the same version of a targets role, but different files.
    #[error(
        "the server and this folder have different files of {role} with the same version: one of them was changed. Run \
         `lastmile-repo catch-up` to see the difference, and `lastmile-repo revoke` for the key that signed the wrong file"
    )]
    Differs {
        /// The role.
        role: RoleName,
    },
    /// The server has content that was not published from this folder.
    #[error(
        "the server has content that was not published from this folder:\n{changes}If these releases are yours, from \
         another copy or from before a restore, repeat the command with `--adopt`. If not, a key was stolen: run \
         `lastmile-repo revoke`"
    )]
    Foreign {
        /// The changes, one per line.
        changes: String,
    },
    /// The server's root is older than the folder's root. However, the server's timestamp or snapshot is newer than the
    /// folder's, or has the same version but different content.
    #[error(
        "the server still has root version {served}, but this folder has version {published}: upload this folder \
         first. Clients that have root version {published} refuse metadata signed with keys that this root removed"
    )]
    OldRoot {
        /// The version on the server.
        served: Version,
        /// The version in the folder.
        published: Version,
    },
    /// The server and the folder have different roots with the same version.
    #[error(
        "the server and this folder have different files of root version {version}, and nothing was adopted: two copies of \
         the repository each published a root with that version, or a root key was stolen. If the root on the server is \
         yours, restore metadata/{version}.root.json from the copy that published it; if not, revoke the stolen root \
         key with `lastmile-repo revoke`"
    )]
    OtherRoot {
        /// The version of both files.
        version: Version,
    },
    /// The pinned root is neither in the server's chain of roots nor in the folder.
    #[error(
        "neither the server nor this folder has the pinned root version {version} (SHA-256 {digest}): one of them was rolled \
         back or changed; nothing was adopted"
    )]
    PinnedRootMissing {
        /// The pinned version.
        version: Version,
        /// The SHA-256 of the pinned root.
        digest: RootDigest,
    },
    /// The root that the user gave is not in the server's chain of roots.
    #[error("no root on the server has the given SHA-256 {digest}")]
    GivenRootMissing {
        /// The SHA-256 of the root that the user gave.
        digest: RootDigest,
    },
    /// A role on the server cannot be verified, because no role delegates to it.
    #[error("no role on the server delegates to {role}, so {role} cannot be verified")]
    NotDelegated {
        /// The role.
        role: RoleName,
    },
    /// This program was built without the feature `http`.
    #[error("this program was built without HTTP and cannot compare with {url}")]
    Unsupported {
        /// The metadata URL.
        url: BaseUrl,
    },
}

/// The reason why the user does not trust the roots in a folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The folder now contains a different repository than the one whose root the user pinned.
    #[error(
        "{} now contains a different repository: its oldest root was {pinned} when you pinned the repository, and is \
         now {found}; nothing was signed. If you replaced the repository, give the new root with `--root-sha256`",
        printable_path(folder)
    )]
    OtherRepository {
        /// The folder.
        folder: PathBuf,
        /// The oldest root that the folder had when the user pinned the repository.
        pinned: RootDigest,
        /// The oldest root in the folder now.
        found: RootDigest,
    },
    /// The folder has a root with the same version as the pinned root, but with different content.
    #[error(
        "{} is not the root that you pinned (SHA-256 {digest}): the folder was changed; nothing was signed",
        printable_path(path)
    )]
    Changed {
        /// The root file.
        path: PathBuf,
        /// The pinned root.
        digest: RootDigest,
    },
    /// The folder has no root with the same version as the pinned root.
    #[error(
        "{} is missing, although root version {version} is pinned: the folder was rolled back; restore that file and all newer \
         roots",
        printable_path(path)
    )]
    Missing {
        /// The root file.
        path: PathBuf,
        /// The pinned version.
        version: Version,
    },
    /// No file in the metadata folder is the root that the user gave.
    #[error(
        "no root in {} has the given SHA-256 {digest}: this is another repository, or the repository was changed",
        printable_path(folder)
    )]
    GivenRootMissing {
        /// The metadata folder.
        folder: PathBuf,
        /// The SHA-256 of the root that the user gave.
        digest: RootDigest,
    },
    /// The user trusts no root for a URL.
    #[error(
        "no trusted root is known for {url}: give the repository's root with `--root FILE` or `--root-sha256 DIGEST`, or set \
         its metadata-url in your configuration"
    )]
    UnknownUrl {
        /// The metadata URL.
        url: BaseUrl,
    },
    /// The pinned root is not at the URL.
    #[error("{url} does not serve the pinned root version {version} (SHA-256 {digest})")]
    NotServed {
        /// The metadata URL.
        url: BaseUrl,
        /// The pinned version.
        version: Version,
        /// The pinned root.
        digest: RootDigest,
    },
    /// The root that the user gave is not at the URL.
    #[error("no root at {url} has the given SHA-256 {digest}")]
    GivenRootNotServed {
        /// The metadata URL.
        url: BaseUrl,
        /// The SHA-256 of the root that the user gave.
        digest: RootDigest,
    },
}
