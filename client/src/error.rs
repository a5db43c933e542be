//! What can go wrong, by its cause: what was refused, the network, this machine, or a target that nobody lists.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use lastmile_metadata::{ErrorKind, FileError, Limit, NameError, TargetPath};

use crate::net::fetch::FetchError;

/// Why an update, a search or a download failed: the one error of updaters and sessions. The errors of a
/// [`Store`](crate::Store) are part of it.
///
/// Whatever it is, what was trusted before stays trusted, and no file that failed a check is under its final name.
///
/// ```
/// use lastmile_client::Error;
///
/// fn advice(error: &Error) -> &'static str {
///     match error {
///         Error::Refused(_) => "do not install; report it, and try another mirror",
///         Error::Network(_) => "try again later",
///         Error::State(_) => "refresh once with a network, or start again from the shipped root",
///         Error::Local(_) => "check the disk and its permissions",
///         Error::NoSuchTarget(_) | Error::TargetPath(_) => "check the name",
///         _ => "check the configuration",
///     }
/// }
/// # assert_eq!(advice(&Error::Config(String::new())), "check the configuration");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was sent must not be trusted: the repository is at fault, or an attacker is in its place.
    #[error(transparent)]
    Refused(#[from] RefusedError),
    /// No mirror gave the file.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// This machine failed to read or write a file, or another process holds the lock of the store.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The store does not tell what is trusted: without a network a role is missing that was never fetched, or the
    /// record of trusted versions is damaged, so that a rollback could not be noticed.
    #[error("{}", state_problem(.0))]
    State(#[source] lastmile_metadata::Error),
    /// No trusted role lists this target.
    #[error("no trusted role lists the target `{0}`")]
    NoSuchTarget(TargetPath),
    /// A text is not the path of a target, so that no repository can list it.
    #[error(transparent)]
    TargetPath(#[from] NameError),
    /// The target is longer than what is read into memory: download it to a file.
    #[error("the target `{path}` has {length} bytes, more than the {max_length} that are read into memory")]
    TooLarge {
        /// The target.
        path: TargetPath,
        /// Its listed length in bytes.
        length: u64,
        /// The most bytes that are read.
        max_length: u64,
    },
    /// The updater cannot work as it is configured: it has no mirror, or a proxy or certificate authority is unusable.
    #[error("{0}")]
    Config(String),
}

impl Error {
    /// The verdict about metadata because of which this is an error.
    #[must_use]
    pub fn verdict(&self) -> Option<&lastmile_metadata::Error> {
        match self {
            Error::Refused(RefusedError { refusal: Refusal::Metadata(verdict), .. }) | Error::State(verdict) => {
                Some(verdict)
            }
            _ => None,
        }
    }
}

/// Not every verdict is the repository's fault: what is not here, or is damaged here, is a matter of the store.
impl From<lastmile_metadata::Error> for Error {
    fn from(verdict: lastmile_metadata::Error) -> Error {
        match verdict.kind {
            ErrorKind::Absent | ErrorKind::StateLost => Error::State(verdict),
            _ => Error::Refused(verdict.into()),
        }
    }
}

fn state_problem(verdict: &lastmile_metadata::Error) -> String {
    match verdict.kind {
        ErrorKind::StateLost => "cannot tell what was trusted before".to_owned(),
        _ => format!("`{}` was never fetched", verdict.role),
    }
}

/// What was sent must not be trusted.
#[derive(Debug, thiserror::Error)]
#[error("refused as untrusted")]
#[non_exhaustive]
pub struct RefusedError {
    /// The verdict about the last file that was judged.
    #[source]
    pub refusal: Refusal,
    /// Every mirror that was asked for this file, in order, with its reason.
    pub mirrors: Vec<MirrorFailure>,
}

impl From<lastmile_metadata::Error> for RefusedError {
    fn from(verdict: lastmile_metadata::Error) -> RefusedError {
        Refusal::Metadata(verdict).into()
    }
}

impl From<Refusal> for RefusedError {
    fn from(refusal: Refusal) -> RefusedError {
        RefusedError { refusal, mirrors: Vec::new() }
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
        limit: Option<Limit>,
    },
    /// A target's path, which leads somewhere else or cannot be a file name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// What says how long a file may be.
fn allowed_by(limit: Option<Limit>) -> String {
    limit.map_or_else(|| "that are listed".to_owned(), |limit| format!("that the limit `{limit}` allows"))
}

/// No mirror gave the file.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch {what}")]
#[non_exhaustive]
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
#[non_exhaustive]
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
    match last_failure {
        Some(cause) => Error::Network(NetworkError { what, cause, mirrors }),
        None => Error::Config("no mirror is configured".to_owned()),
    }
}

/// This machine failed: which operation on which file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} `{}`", path.display())]
#[non_exhaustive]
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
    /// What the system said to `operation`, a phrase after "cannot", on `path`; for a [`Store`](crate::Store).
    pub fn new(operation: &'static str, path: impl AsRef<Path>, error: impl Into<io::Error>) -> LocalError {
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

/// The error for a file that could be read when it was verified and cannot be read any more.
pub(crate) fn cut_short() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
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
        assert!(matches!(all_failed("x".to_owned(), vec![]), Error::Config(_)));
    }

    #[test]
    fn only_a_verdict_about_what_was_sent_is_a_refusal() {
        let error = |kind| Error::from(lastmile_metadata::Error { role: RoleName::TIMESTAMP, kind });
        for kind in [ErrorKind::Absent, ErrorKind::StateLost] {
            let error = error(kind.clone());
            assert!(matches!(error, Error::State(_)), "{error:?}");
            assert_eq!(error.verdict().unwrap().kind, kind);
        }
        let wrong = error(ErrorKind::UnsupportedSpecVersion("9".to_owned()));
        assert!(matches!(wrong, Error::Refused(_)) && wrong.verdict().is_some(), "{wrong:?}");
    }
}
