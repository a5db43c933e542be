//! Errors about pushing a repository to a destination and pulling it from there.

use lastmile_client::text::printable;
use lastmile_client::{BaseUrl, BaseUrlError};
use lastmile_metadata::{RoleName, Version};

use super::text::lines;

/// The reason why a repository was not pushed or pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The URL of a destination is not valid.
    #[error(transparent)]
    Url(#[from] BaseUrlError),
    /// The scheme of a destination's URL is not supported.
    #[error("`{}` is not a destination: give a folder, or a URL with the scheme {supported}", printable(url))]
    Scheme {
        /// The URL, without anything that may be a user name or a password.
        url: String,
        /// The supported schemes.
        supported: &'static str,
    },
    /// The URL of a destination contains credentials, which are accepted only in environment variables.
    #[error("`{}` contains credentials, which are only accepted in environment variables", printable(url))]
    Credentials {
        /// The URL, without anything that may be a user name or a password.
        url: String,
    },
    /// A destination looks like `HOST:PATH`, the form that `scp` and `rsync` use.
    #[error("the destination is neither a URL nor a path: it has a colon before the first `/`")]
    NoUrl,
    /// The URL of an SSH destination has an invalid part.
    #[error("`{}` is not a destination: {problem}", printable(url))]
    SshUrl {
        /// The URL, without anything that may be a user name or a password.
        url: String,
        /// The reason.
        problem: &'static str,
    },
    /// An SFTP server does not support atomic replacement of files, or is in read-only mode.
    #[error(
        "the SFTP server of {url} does not let this user replace files (posix-rename@openssh.com); nothing was uploaded"
    )]
    NoRename {
        /// The destination.
        url: BaseUrl,
    },
    /// Another process is pushing to the destination.
    #[error("another process is pushing to {url}; nothing was uploaded")]
    Busy {
        /// The destination.
        url: BaseUrl,
    },
    /// Another process has locked the destination, and may have been killed before it could release the lock.
    #[error(
        "another process is pushing to {url}, or was killed and left a lock that expires {seconds} seconds after its last \
         renewal; nothing was uploaded"
    )]
    Locked {
        /// The destination.
        url: BaseUrl,
        /// The lock expires this many seconds after its last renewal.
        seconds: u64,
    },
    /// The destination changed while its state was being read.
    #[error("{url} changed while it was being read; nothing was uploaded")]
    Changed {
        /// The destination.
        url: BaseUrl,
    },
    /// While this process was pushing, another process took the lock or replaced the timestamp, or this process could
    /// not renew the lock in time.
    #[error(
        "another process pushed to {url} at the same time, or the lock could not be renewed in time: the new timestamp was \
         not uploaded"
    )]
    LeaseLost {
        /// The destination.
        url: BaseUrl,
    },
    /// The destination does not support conditional writes.
    #[error(
        "{url} does not support conditional writes, so two machines that push at the same time could overwrite each other's \
         files; nothing was uploaded"
    )]
    NoConditions {
        /// The destination.
        url: BaseUrl,
    },
    /// The destination has a newer version of a role.
    #[error("{url} has {role} version {served}, but this folder has version {published}; nothing was uploaded")]
    Newer {
        /// The destination.
        url: BaseUrl,
        /// The role.
        role: RoleName,
        /// The version at the destination.
        served: Version,
        /// The version in the folder.
        published: Version,
    },
    /// The destination has a file that was not published from this folder.
    #[error(
        "{url} has a {role} version {version} that was not published from this folder: another copy of the repository \
         published it; nothing was uploaded"
    )]
    Fork {
        /// The destination.
        url: BaseUrl,
        /// The role.
        role: RoleName,
        /// The version at the destination.
        version: Version,
    },
    /// The destination has no timestamp, although this user has seen one there before.
    #[error(
        "{url} has no metadata/timestamp.json, although it served snapshot version {served} before; nothing was uploaded"
    )]
    Emptied {
        /// The destination.
        url: BaseUrl,
        /// The version of the snapshot that this user last saw at the destination.
        served: Version,
    },
    /// The repository was not pulled into a new folder, because the state at the destination is older than the state
    /// that this user saw there before.
    #[error("{url} has snapshot version {served}, but served version {known} before; nothing was downloaded")]
    WentBack {
        /// The destination.
        url: BaseUrl,
        /// The version that the destination serves.
        served: Version,
        /// The version that this user saw at the destination before.
        known: Version,
    },
    /// The repository was not pulled into a new folder, because the timestamp or snapshot at the destination has
    /// expired.
    #[error("{url}: {role} expired at {expires}, so the server may serve an old state; nothing was downloaded")]
    Expired {
        /// The metadata URL of the destination.
        url: BaseUrl,
        /// The role.
        role: RoleName,
        /// The expiry date.
        expires: String,
    },
    /// The destination and this folder have different metadata files with the same name, and the file at the
    /// destination must not be replaced.
    #[error(
        "{url}: {} has different content than in this folder; the file at the destination was not replaced, \
        because clients may have fetched it",
        printable(name)
    )]
    OtherContent {
        /// The destination.
        url: BaseUrl,
        /// The name of the file.
        name: String,
    },
    /// The folder and the destination have no snapshot in common, so the tool cannot determine which changes were made
    /// only in the folder.
    #[error(
        "cannot determine which changes were made only in this folder, because it has no snapshot in common with {url}"
    )]
    NoBase {
        /// The destination.
        url: BaseUrl,
    },
    /// The changes of this folder conflict with the changes that another machine has pushed.
    #[error("the changes of this folder conflict with those at {url}; nothing was changed:{}", lines(conflicts))]
    Conflicts {
        /// The destination.
        url: BaseUrl,
        /// The conflicts, one per line.
        conflicts: Vec<String>,
    },
    /// An interrupted `push --catch-up` cannot be finished, because the folder was changed in the meantime.
    #[error(
        "an earlier `push --catch-up` was interrupted after it had copied the state of {url} into this folder, and the earlier \
         changes of this folder cannot be published on top of the current state:{}",
        lines(changes)
    )]
    Unmerged {
        /// The destination.
        url: BaseUrl,
        /// The conflicts and the other changes that are not published, one per line.
        changes: Vec<String>,
    },
    /// An earlier `push --catch-up` was interrupted and must be finished first.
    #[error(
        "an earlier `push --catch-up` to {url} was interrupted before it had published the changes of this folder again"
    )]
    Unfinished {
        /// The destination.
        url: BaseUrl,
    },
    /// Target files are neither in the folder nor at the destination.
    #[error("{} of the target files to upload are missing from this folder; the first is {}", count, printable(first))]
    MissingTargets {
        /// The number of missing files.
        count: usize,
        /// The name of the first missing file.
        first: String,
    },
}

impl PushError {
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Newer { .. } | Self::Fork { .. } => Some(
                "run `lastmile-repo push --catch-up` to publish the changes of this folder on top of the state of the \
                 destination, or `lastmile-repo pull` to bring this folder up to date with that state",
            ),
            Self::Busy { .. } => Some("try again when the other process has finished, or wait longer with `--wait`"),
            Self::NoUrl => Some("write `ssh://USER@HOST/PATH` for an SSH server, or `./NAME` for a folder"),
            Self::NoRename { .. } => Some("use the SFTP server of OpenSSH, and do not run it in read-only mode"),
            Self::Locked { .. } => {
                Some("try again when the other process has finished, or wait with `--wait` until the lock expires")
            }
            Self::NoConditions { .. } => {
                Some("if only one machine pushes to this destination, say so with `--single-writer`")
            }
            Self::Changed { .. } | Self::LeaseLost { .. } => Some("run the command again"),
            Self::NoBase { .. } | Self::Conflicts { .. } => Some(
                "run `lastmile-repo pull --adopt`, which replaces the state of this folder with the state of the destination \
                 and lists the targets that only this folder had; then make your changes again",
            ),
            Self::Unmerged { .. } => Some(
                "run `lastmile-repo pull --adopt`, which gives up the earlier changes that are not published; then \
                 repeat those that you still want",
            ),
            Self::Emptied { .. } => Some("if the destination was emptied on purpose, give its URL again with `--to`"),
            Self::WentBack { .. } => Some("find out who replaced the files at the destination"),
            Self::Expired { .. } => Some(
                "if the repository expired only because nobody renewed it, repeat the command with `--accept-expired`",
            ),
            Self::Unfinished { .. } => Some("run `lastmile-repo push --catch-up` again, which finishes it"),
            Self::MissingTargets { .. } => Some(
                "restore the files from a backup; if another server has the missing files, use `--allow-missing-targets`",
            ),
            Self::Url(_)
            | Self::Credentials { .. }
            | Self::Scheme { .. }
            | Self::SshUrl { .. }
            | Self::OtherContent { .. } => None,
        }
    }
}
