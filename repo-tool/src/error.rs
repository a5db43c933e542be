//! What can go wrong for a maintainer, by culprit, each with a hint of what to do next.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// Why a command did not do what was asked. Nothing was published, unless the text says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process holds the repository's lock.
    #[error("another process is changing the repository {}", .0.display())]
    Busy(PathBuf),
    /// The client refused the draft, so that it was not published.
    #[error("a client would refuse what would be published: {0}")]
    Draft(String),
    /// A file of this machine could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried: a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key cannot be used.
    #[error("key {key}: {reason}")]
    Key {
        /// Its URI or file.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Keys that must sign are not here.
    #[error("{0}")]
    MissingKeys(String),
    /// The road to a repository elsewhere failed.
    #[error("{0}")]
    Network(String),
    /// A name that is asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// `repo.toml` does not say what it should.
    #[error("{}: {reason}", path.display())]
    Policy {
        /// The policy file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A key would sign for a repository whose root the user has not pinned.
    #[error("nothing is signed for {}: its root is not pinned", folder.display())]
    NotPinned {
        /// The repository's folder.
        folder: PathBuf,
        /// The SHA-256 of the oldest root there.
        digest: String,
    },
    /// Files that were to be published must stay private: all of them, each with what was found.
    #[error("{0}")]
    Private(String),
    /// What was asked for cannot be done, or would be unsafe.
    #[error("{0}")]
    Refused(String),
    /// Published metadata does not verify.
    #[error("the published metadata does not verify: {0}")]
    Untrusted(#[from] lastmile_metadata::Error),
    /// The command line does not make sense.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// An error of this machine, with the file it concerns.
    pub fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { action, path: path.to_path_buf(), source }
    }

    /// A key that cannot be used.
    pub fn key(key: impl Display, reason: impl Display) -> Self {
        Self::Key { key: key.to_string(), reason: reason.to_string() }
    }

    /// What the person at the terminal can do next, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if let Self::NotPinned { digest, .. } = self {
            return Some(format!(
                "ask the repository's owners for the SHA-256 of their root, through a channel you trust; the oldest root in \
                 the folder has {digest}. If both are equal, repeat the command with `--root-sha256 {digest}`, or with \
                 `--root FILE` if they gave you the root itself. This is needed once; in a job that keeps no files, set \
                 LASTMILE_REPO_ROOT_SHA256"
            ));
        }
        let hint = match self {
            Self::Busy(_) => Some("wait until it has finished; the lock goes away with the process"),
            Self::Draft(_) => Some("nothing was published; `lastmile-repo status` shows what is published now"),
            Self::MissingKeys(_) => {
                Some("run the command where the keys are, or sign with `lastmile-repo sign --key FILE`")
            }
            Self::Network(_) => Some("check the address, and whether the server answers"),
            Self::Policy { .. } => Some("docs/maintainers.md says what stands in repo.toml"),
            Self::Private(_) => Some(
                "name other files; --allow-private-key-material publishes keys that are meant to be public, such as \
                 those of a test, but never the repository's own",
            ),
            Self::Untrusted(_) => Some("`lastmile-repo verify` checks every file; restore the bad ones from a copy"),
            Self::Usage(_) => Some("`--help` after the command shows examples"),
            Self::NotPinned { .. } | Self::File { .. } | Self::Key { .. } | Self::NotFound(_) | Self::Refused(_) => {
                None
            }
        };
        hint.map(ToString::to_string)
    }
}
