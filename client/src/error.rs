//! What can go wrong, by its cause: what was refused, the network, this machine, or a target that nobody lists.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use lastmile_metadata::{FileError, NameError, TargetPath};

use crate::fetch::FetchError;

/// Why an update or a download came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The repository, or somebody in its place, sent what must not be trusted.
    #[error(transparent)]
    Refused(#[from] RefusedError),
    /// No mirror gave the file.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// This machine's disk, settings or state.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// No trusted role lists the target.
    #[error("no trusted role lists the target `{0}`")]
    NoSuchTarget(TargetPath),
}

/// A verdict: what was sent must not be trusted.
#[derive(Debug, thiserror::Error)]
#[error("refused as untrusted")]
pub struct RefusedError {
    /// The verdict about the last file that was judged.
    #[source]
    pub refusal: Refusal,
    /// Every mirror that was asked for this file, in order, with its reason.
    pub mirrors: Vec<MirrorFailure>,
}

impl From<lastmile_metadata::Error> for RefusedError {
    fn from(error: lastmile_metadata::Error) -> RefusedError {
        RefusedError { refusal: Refusal::Metadata(error), mirrors: Vec::new() }
    }
}

impl From<lastmile_metadata::Error> for Error {
    fn from(error: lastmile_metadata::Error) -> Error {
        Error::Refused(error.into())
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
    #[error("`{file}` is longer than the {max_length} bytes {}", allowed_by(*limit))]
    TooLong {
        /// Its name below the metadata URL.
        file: String,
        /// The most bytes that it may have.
        max_length: u64,
        /// The field of [`Limits`](lastmile_metadata::Limits) that says so; none where the length is listed.
        limit: Option<&'static str>,
    },
    /// A target's path, which leads somewhere else or cannot be a file name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// What says how long a file may be.
fn allowed_by(limit: Option<&'static str>) -> String {
    limit.map_or_else(|| "that are listed".to_owned(), |limit| format!("that the limit `{limit}` allows"))
}

/// No mirror gave the file.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch {what}")]
pub struct NetworkError {
    /// What was to be fetched.
    pub what: String,
    /// The failure of the last mirror.
    #[source]
    pub cause: FetchError,
    /// Every mirror that was asked, in order, with its reason.
    pub mirrors: Vec<MirrorFailure>,
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
    Network(#[from] FetchError),
    /// It arrived and was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The failures of all mirrors as one error: a verdict weighs more than a network failure.
pub(crate) fn all_failed(what: String, mirrors: Vec<MirrorFailure>) -> Error {
    let last_refusal = mirrors.iter().rev().find_map(|failure| match &failure.reason {
        MirrorReason::Refused(refusal) => Some(refusal.clone()),
        MirrorReason::Network(_) => None,
    });
    if let Some(refusal) = last_refusal {
        return Error::Refused(RefusedError { refusal, mirrors });
    }
    let last_failure = mirrors.iter().rev().find_map(|failure| match &failure.reason {
        MirrorReason::Network(error) => Some(error.clone()),
        MirrorReason::Refused(_) => None,
    });
    let no_mirror = || FetchError::Settings("no mirror is configured".to_owned());
    let cause = last_failure.unwrap_or_else(no_mirror);
    Error::Network(NetworkError { what, cause, mirrors })
}

/// This machine failed: which operation on which file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} `{}`", path.display())]
pub struct LocalError {
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

impl LocalError {
    pub(crate) fn new(operation: &'static str, path: impl AsRef<Path>, error: impl Into<io::Error>) -> LocalError {
        LocalError { operation, path: path.as_ref().to_owned(), error: error.into(), hint: None }
    }

    /// A problem that is not the system's but ours.
    pub(crate) fn invalid(operation: &'static str, path: impl AsRef<Path>, problem: impl Into<String>) -> LocalError {
        let error = io::Error::new(io::ErrorKind::InvalidData, problem.into());
        LocalError::new(operation, path, error)
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> LocalError {
        LocalError { hint: Some(hint.into()), ..self }
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
    use lastmile_metadata::{ErrorKind, RoleName};

    use super::*;

    fn failure(reason: impl Into<MirrorReason>) -> MirrorFailure {
        MirrorFailure { url: "http://m/".to_owned(), reason: reason.into() }
    }

    #[test]
    fn a_verdict_weighs_more_than_a_network_failure() {
        let verdict = lastmile_metadata::Error { role: RoleName::TIMESTAMP, kind: ErrorKind::Absent };
        let refused = failure(Refusal::from(verdict.clone()));
        let cut = failure(FetchError::Status(500));
        let error = all_failed("x".to_owned(), vec![refused, cut.clone()]);
        let Error::Refused(error) = error else { panic!("{error:?}") };
        assert_eq!(error.refusal, Refusal::Metadata(verdict));
        assert_eq!(error.mirrors.len(), 2);
        let error = all_failed("x".to_owned(), vec![cut]);
        assert!(matches!(error, Error::Network(NetworkError { cause: FetchError::Status(500), .. })));
    }
}
