//! What can go wrong, by culprit: the repository, the road, this machine, or no such target.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use lastmile_metadata::{ErrorKind, FileError, NameError, TargetPath};

use crate::fetch::FetchError;

/// Why an update or a download came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The repository, or somebody in its place, sent what must not be trusted.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// No mirror gave the file.
    #[error(transparent)]
    Road(#[from] RoadError),
    /// This machine's disk, settings or state.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// No trusted role lists the target.
    #[error("no trusted role lists the target `{0}`")]
    NoSuchTarget(TargetPath),
}

impl Error {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Repository(error) => error.refusal.hint(),
            Error::Road(error) => error.hint(),
            Error::Machine(error) => error.hint.clone(),
            Error::NoSuchTarget(_) => {
                Some("target paths are compared byte by byte; `lastmile list` shows those that there are".to_owned())
            }
        }
    }
}

/// A verdict: what was sent must not be trusted.
#[derive(Debug, thiserror::Error)]
#[error("refused as untrusted")]
pub struct RepositoryError {
    /// The verdict about the last file that was judged.
    #[source]
    pub refusal: Refusal,
    /// Every mirror that was asked for this file, in order, with its reason.
    pub mirrors: Vec<MirrorFailure>,
}

impl From<lastmile_metadata::Error> for RepositoryError {
    fn from(error: lastmile_metadata::Error) -> RepositoryError {
        RepositoryError { refusal: Refusal::Metadata(error), mirrors: Vec::new() }
    }
}

impl From<lastmile_metadata::Error> for Error {
    fn from(error: lastmile_metadata::Error) -> Error {
        Error::Repository(error.into())
    }
}

/// What was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A metadata file.
    #[error(transparent)]
    Metadata(#[from] lastmile_metadata::Error),
    /// The bytes of a target.
    #[error("target `{path}`: {error}")]
    Target {
        /// The target.
        path: TargetPath,
        /// How its bytes differ from what is listed.
        error: FileError,
    },
    /// A metadata file that does not end where it must: endless data.
    #[error("`{file}` is longer than the {max_length} bytes that are allowed here")]
    TooLong {
        /// Its name below the metadata URL.
        file: String,
        /// The limit, from the metadata that lists the file or from the settings.
        max_length: u64,
    },
    /// A target's path, which leads somewhere else or cannot be a file name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Refusal {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Refusal::Metadata(error) => return hint_of(error).map(str::to_owned),
            Refusal::TooLong { .. } => {
                "the mirror sends more than the repository lists; if the repository is known to be \
                 that large, raise the limit (`--help` names them)"
            }
            Refusal::Target { .. } => "the server sends another file than the repository lists; nothing was kept of it",
            Refusal::Name(_) => "`--output-file` fetches it to a path that you name",
        };
        Some(hint.to_owned())
    }
}

fn hint_of(error: &lastmile_metadata::Error) -> Option<&'static str> {
    Some(match &error.kind {
        ErrorKind::Expired { .. } => {
            "the mirror may hold back newer metadata, the maintainers may have failed to renew it, \
             or the clock of this machine is wrong"
        }
        ErrorKind::Rollback { .. } | ErrorKind::ListedRollback { .. } | ErrorKind::Removed { .. } => {
            "the mirror offers an older state than was seen before; what was trusted stays so. Try \
             another mirror or ask the maintainers"
        }
        ErrorKind::StateLost => {
            "what this machine knew is damaged, so that a rollback could not be noticed; \
             `lastmile trust reset NAME` starts anew from the shipped root"
        }
        ErrorKind::ThresholdNotMet { .. } => {
            "the file is not signed by those whom the repository trusts; what was trusted stays so"
        }
        ErrorKind::UnsupportedSpecVersion(_) => "a newer version of this program may read it",
        ErrorKind::LimitReached { .. } => {
            "if the repository is known to be that large, raise the limit (`--help` names them)"
        }
        ErrorKind::HashMismatch { .. } | ErrorKind::LengthMismatch { .. } | ErrorKind::WrongVersion { .. } => {
            "the mirror mixes files of different states; if it is being updated, try again later"
        }
        _ => return None,
    })
}

/// No mirror gave the file.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch {what}")]
pub struct RoadError {
    /// What was to be fetched.
    pub what: String,
    /// The failure of the last mirror.
    #[source]
    pub cause: FetchError,
    /// Every mirror that was asked, in order, with its reason.
    pub mirrors: Vec<MirrorFailure>,
}

impl RoadError {
    fn hint(&self) -> Option<String> {
        let hint = match &self.cause {
            FetchError::NotFound => "the metadata or targets URL may be wrong, see `lastmile trust list`",
            FetchError::Status(403) => {
                "some object stores say 403 where a file is absent; `lastmile trust add \
                 --forbidden-means-absent` is for those"
            }
            FetchError::Connect(_) | FetchError::Timeout(_) => {
                "check the network and the proxy settings; `--offline` uses what is trusted already"
            }
            FetchError::Tls(_) => "`--ca-file` adds a certificate authority",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// How one mirror failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorFailure {
    /// The URL that was asked for.
    pub url: String,
    /// Why it did not do.
    pub reason: MirrorReason,
}

impl fmt::Display for MirrorFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.reason)
    }
}

/// Why one mirror did not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorReason {
    /// The file did not arrive.
    #[error(transparent)]
    Road(#[from] FetchError),
    /// It arrived and was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The failures of all mirrors as one error: a verdict weighs more than a bad road.
pub(crate) fn all_failed(what: String, mirrors: Vec<MirrorFailure>) -> Error {
    let last_refusal = mirrors.iter().rev().find_map(|failure| match &failure.reason {
        MirrorReason::Refused(refusal) => Some(refusal.clone()),
        MirrorReason::Road(_) => None,
    });
    if let Some(refusal) = last_refusal {
        return Error::Repository(RepositoryError { refusal, mirrors });
    }
    let last_failure = mirrors.iter().rev().find_map(|failure| match &failure.reason {
        MirrorReason::Road(error) => Some(error.clone()),
        MirrorReason::Refused(_) => None,
    });
    let no_mirror = || FetchError::Settings("no mirror is configured".to_owned());
    let cause = last_failure.unwrap_or_else(no_mirror);
    Error::Road(RoadError { what, cause, mirrors })
}

/// This machine failed: which operation on which file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} `{}`", path.display())]
pub struct MachineError {
    /// What was tried, as a phrase after "cannot".
    pub operation: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub error: io::Error,
    /// What to do next.
    pub hint: Option<String>,
}

impl MachineError {
    pub(crate) fn new(operation: &'static str, path: impl AsRef<Path>, error: impl Into<io::Error>) -> MachineError {
        let error = error.into();
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some("`--state-dir DIR` keeps state elsewhere, `--output DIR` puts files elsewhere")
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some("make room and try again; what was trusted before is unharmed")
            }
            _ => None,
        };
        MachineError { operation, path: path.as_ref().to_owned(), error, hint: hint.map(str::to_owned) }
    }

    /// A problem that is not the system's but ours.
    pub(crate) fn invalid(operation: &'static str, path: impl AsRef<Path>, problem: impl Into<String>) -> MachineError {
        let error = io::Error::new(io::ErrorKind::InvalidData, problem.into());
        MachineError::new(operation, path, error)
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> MachineError {
        MachineError { hint: Some(hint.into()), ..self }
    }

    /// Whether the file is there but is not what it should be: a link, too long, not readable as
    /// what it is.
    #[must_use]
    pub fn is_unusable_content(&self) -> bool {
        self.error.kind() == io::ErrorKind::InvalidData
    }
}

#[cfg(test)]
mod tests {
    use lastmile_metadata::RoleName;

    use super::*;

    fn failure(reason: impl Into<MirrorReason>) -> MirrorFailure {
        MirrorFailure { url: "http://m/".to_owned(), reason: reason.into() }
    }

    #[test]
    fn a_verdict_weighs_more_than_a_bad_road() {
        let verdict = lastmile_metadata::Error { role: RoleName::TIMESTAMP, kind: ErrorKind::Absent };
        let refused = failure(Refusal::from(verdict.clone()));
        let cut = failure(FetchError::Status(500));
        let error = all_failed("x".to_owned(), vec![refused, cut.clone()]);
        let Error::Repository(error) = error else { panic!("{error:?}") };
        assert_eq!(error.refusal, Refusal::Metadata(verdict));
        assert_eq!(error.mirrors.len(), 2);
        let error = all_failed("x".to_owned(), vec![cut]);
        assert!(matches!(error, Error::Road(RoadError { cause: FetchError::Status(500), .. })));
    }
}
