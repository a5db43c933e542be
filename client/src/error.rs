//! The errors of the client, grouped by cause: refused files, the network, this machine, the store, names and the
//! configuration.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lastmile_metadata::{ErrorKind, FileError, Limit, NameError, TargetPath};

use crate::net::fetch::FetchError;
use crate::text::printable_path;

/// The reason why an update, a search for a target, or a download failed.
///
/// After any error, previously trusted metadata stays trusted, and no file that failed a check appears under its final
/// name.
///
/// ```
/// use lastmile_client::Error;
///
/// fn advice(error: &Error) -> &'static str {
///     match error {
///         Error::Refused(_) => "do not install; report it, and try another mirror",
///         Error::Limit(_) => "raise the limit if the repository really is that large",
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
    /// A file must not be trusted: either the repository is faulty, or an attacker has replaced the file.
    #[error(transparent)]
    Refused(RefusedError),
    /// A file exceeds a limit of this client; see [`Refusal::limit`]. The repository may be larger than the client
    /// expects, or an attacker may be sending endless data.
    #[error(transparent)]
    Limit(RefusedError),
    /// A file could not be fetched from any mirror.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// This machine failed to read or write a file, or another process holds the lock on the store.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// A role is needed offline but was never fetched, or the record of trusted versions in the store is damaged or
    /// missing. Without that record, the client could not detect a rollback.
    #[error("{}", state_problem(.0))]
    State(#[source] lastmile_metadata::Error),
    /// No trusted role lists this target.
    #[error("no trusted role lists the target `{0}`")]
    NoSuchTarget(TargetPath),
    /// The given text is not a valid target path, so no repository can list it.
    #[error(transparent)]
    TargetPath(#[from] NameError),
    /// The target is too long to be read into memory. Download it to a file instead.
    #[error("the target `{path}` has {length} bytes, but at most {max_length} can be read into memory")]
    TooLarge {
        /// The path of the target.
        path: TargetPath,
        /// The listed length of the target in bytes.
        length: u64,
        /// The maximum length that is read into memory.
        max_length: u64,
    },
    /// Evidence or a trust root is not stored, so the policies for a target cannot be evaluated without network
    /// requests.
    #[cfg(feature = "attest")]
    #[error("`{0}` is needed to evaluate the policies for a target, but is not stored")]
    EvidenceNotStored(TargetPath),
    /// A role on the delegation chain of a target has a policy, but this library was built without the feature `attest`.
    #[cfg(not(feature = "attest"))]
    #[error("role `{0}` has a policy, but lastmile-client was built without the feature `attest`")]
    PoliciesNotSupported(lastmile_metadata::RoleName),
    /// The configuration is unusable. For example, no mirror is configured, a certificate authority cannot be used, or
    /// TLS has no cryptography provider.
    #[error("{0}")]
    Config(String),
}

impl Error {
    /// Returns the metadata error that caused this error, if there is one.
    #[must_use]
    pub fn verdict(&self) -> Option<&lastmile_metadata::Error> {
        match self {
            Error::Refused(RefusedError { refusal: Refusal::Metadata(verdict), .. })
            | Error::Limit(RefusedError { refusal: Refusal::Metadata(verdict), .. })
            | Error::State(verdict) => Some(verdict),
            _ => None,
        }
    }
}

/// Converts a metadata error. A missing role or a damaged record of trusted versions becomes [`Error::State`], because
/// the store is at fault and no file was refused.
impl From<lastmile_metadata::Error> for Error {
    fn from(verdict: lastmile_metadata::Error) -> Error {
        match verdict.kind {
            ErrorKind::Absent | ErrorKind::StateLost => Error::State(verdict),
            _ => RefusedError::from(verdict).into(),
        }
    }
}

impl From<RefusedError> for Error {
    fn from(error: RefusedError) -> Error {
        if error.refusal.limit().is_some() { Error::Limit(error) } else { Error::Refused(error) }
    }
}

/// Converts the error into a refusal of the target: if the requirements of its policies cannot be determined, the
/// target must not be downloaded.
#[cfg(feature = "attest")]
impl From<lastmile_attest::DemandsError> for Error {
    fn from(error: lastmile_attest::DemandsError) -> Error {
        RefusedError::from(Refusal::Demands(Box::new(error))).into()
    }
}

fn state_problem(verdict: &lastmile_metadata::Error) -> String {
    match verdict.kind {
        ErrorKind::StateLost => "the record of trusted versions is damaged or missing".to_owned(),
        _ => format!("`{}` was never fetched", verdict.role),
    }
}

/// The error for a refused file.
#[derive(Debug, thiserror::Error)]
#[error("{}", if refusal.limit().is_some() { "a file exceeds a limit of this client" } else { "refused as untrusted" })]
#[non_exhaustive]
pub struct RefusedError {
    /// The reason why the file was refused. If several mirrors sent files that were refused, this field contains the
    /// last refusal. Refusals that are due to limits are skipped, unless all refusals are due to limits.
    #[source]
    pub refusal: Refusal,
    /// The failures of all mirrors that were tried for this file, in order.
    pub mirrors: Box<[MirrorFailure]>,
}

impl From<lastmile_metadata::Error> for RefusedError {
    fn from(verdict: lastmile_metadata::Error) -> RefusedError {
        Refusal::Metadata(verdict).into()
    }
}

impl From<Refusal> for RefusedError {
    fn from(refusal: Refusal) -> RefusedError {
        RefusedError { refusal, mirrors: Box::default() }
    }
}

/// Which file was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A metadata file that failed verification.
    #[error(transparent)]
    Metadata(#[from] lastmile_metadata::Error),
    /// A target whose content does not match its metadata.
    #[error("target `{path}`: {error}")]
    Target {
        /// The path of the target.
        path: TargetPath,
        /// How the content differs from the listed length and hashes.
        error: FileError,
    },
    /// A metadata file that is longer than allowed (endless data attack).
    #[error("`{file}` is longer than the {max_length} bytes {}", allowed_by(*limit))]
    TooLong {
        /// The file name, relative to the metadata URL.
        file: String,
        /// The maximum allowed length in bytes.
        max_length: u64,
        /// The exceeded limit, a field of [`Limits`](lastmile_metadata::Limits); `None` if the length listed in
        /// metadata was exceeded.
        limit: Option<Limit>,
    },
    /// A target path that leads out of the download folder or is not usable as a file path.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A target whose evidence does not satisfy a policy.
    #[cfg(feature = "attest")]
    #[error(transparent)]
    Policy(Box<lastmile_attest::Refused>),
    /// A target whose requirements cannot be determined, because stored metadata has changed since it was verified.
    #[cfg(feature = "attest")]
    #[error(transparent)]
    Demands(Box<lastmile_attest::DemandsError>),
    /// A target whose download the application has not approved.
    #[cfg(feature = "attest")]
    #[error("the application does not approve `{path}`: {reason}")]
    NotApproved {
        /// The path of the target.
        path: TargetPath,
        /// The reason that the application gave.
        reason: String,
    },
}

impl Refusal {
    /// Returns the exceeded limit of this client, if the file was refused because of a limit.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Refusal::Metadata(verdict) => match verdict.kind {
                ErrorKind::LimitReached { limit, .. } | ErrorKind::ListedTooLong { limit, .. } => Some(limit),
                _ => None,
            },
            Refusal::TooLong { limit, .. } => *limit,
            Refusal::Target { .. } | Refusal::Name(_) => None,
            #[cfg(feature = "attest")]
            Refusal::Policy(_) | Refusal::Demands(_) | Refusal::NotApproved { .. } => None,
        }
    }
}

fn allowed_by(limit: Option<Limit>) -> String {
    limit.map_or_else(|| "that are listed".to_owned(), |limit| format!("that the limit `{limit}` allows"))
}

/// The error for a file that no mirror delivered.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch {what}")]
#[non_exhaustive]
pub struct NetworkError {
    /// A description of the file, as a phrase that follows "cannot fetch".
    pub what: String,
    /// The network failure of the mirror that was tried last.
    #[source]
    pub cause: FetchError,
    /// The failures of all mirrors that were tried, in order.
    pub mirrors: Vec<MirrorFailure>,
}

/// The failure of one mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorFailure {
    /// The requested URL, without its user name and password.
    pub url: String,
    /// The reason why the mirror failed.
    pub reason: MirrorReason,
}

impl fmt::Display for MirrorFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.reason)
    }
}

/// The reason why one mirror failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorReason {
    /// The file could not be fetched.
    #[error(transparent)]
    Network(#[from] FetchError),
    /// The file was fetched and refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Combines the failures of all mirrors into one error. The reason is chosen in this order: the last refusal that is
/// not due to a limit, the last refusal that is due to a limit, the last network failure.
pub(crate) fn all_failed(what: String, mirrors: Vec<MirrorFailure>) -> Error {
    let refusals = mirrors.iter().rev().filter_map(|failure| match &failure.reason {
        MirrorReason::Refused(refusal) => Some(refusal),
        MirrorReason::Network(_) => None,
    });
    if let Some(refusal) = refusals.min_by_key(|refusal| refusal.limit().is_some()).cloned() {
        return RefusedError { refusal, mirrors: mirrors.into() }.into();
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

/// A failed operation on a local file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} `{}`", printable_path(path))]
#[non_exhaustive]
pub struct LocalError {
    /// The failed operation, as a phrase that follows "cannot".
    pub operation: &'static str,
    /// The path of the file or directory.
    pub path: PathBuf,
    /// The I/O error that caused this error.
    #[source]
    pub error: io::Error,
    /// A suggestion for resolving the error.
    pub hint: Option<String>,
}

impl LocalError {
    /// Creates an error for implementations of [`Store`](crate::Store). `operation` is the operation that failed on
    /// `path`, as a phrase that follows "cannot".
    pub fn new(operation: &'static str, path: impl AsRef<Path>, error: impl Into<io::Error>) -> LocalError {
        LocalError { operation, path: path.as_ref().to_owned(), error: error.into(), hint: None }
    }

    /// Creates an error for invalid content, as opposed to an error from a system call.
    pub(crate) fn invalid(operation: &'static str, path: impl AsRef<Path>, problem: impl Into<String>) -> LocalError {
        let error = io::Error::new(io::ErrorKind::InvalidData, problem.into());
        LocalError::new(operation, path, error)
    }

    /// If the current user lacks permission to access the file and the error has no hint yet, adds a hint that names
    /// the owner of the file.
    pub(crate) fn naming_the_owner(self) -> LocalError {
        if self.error.kind() != io::ErrorKind::PermissionDenied || self.hint.is_some() {
            return self;
        }
        // If this user is not allowed to enter the directory of the file, use the owner of the closest ancestor
        // directory that can be examined.
        let known = self.path.ancestors().find_map(|path| Some((path, path.symlink_metadata().ok()?)));
        let Some((path, found)) = known else { return self };
        let path = printable_path(path);
        let owner = found.uid();
        let mode = found.mode() & 0o7777;
        let user = rustix::process::geteuid().as_raw();
        let hint = format!(
            "`{path}` belongs to user {owner} (mode {mode:o}), but the current user is {user}: run the command as the \
             owner, or use another path"
        );
        self.with_hint(hint)
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> LocalError {
        LocalError { hint: Some(hint.into()), ..self }
    }

    /// Returns whether the file exists but is unusable, for example because it is a link, too long, or malformed.
    #[must_use]
    pub fn is_unusable_content(&self) -> bool {
        self.error.kind() == io::ErrorKind::InvalidData
    }
}

/// Returns the error for a file that was readable when it was verified but is no longer readable.
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
    fn a_refused_file_outweighs_a_network_failure() {
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
    fn a_limit_outweighs_a_network_failure_but_not_a_refused_file() {
        let long = |limit| Refusal::TooLong { file: "x".to_owned(), max_length: 1, limit };
        let limit = failure(long(Some(Limit::RootLength)));
        let listed = failure(long(None));
        let cut = failure(FetchError::Status(500));
        let error = all_failed("x".to_owned(), vec![limit.clone(), cut]);
        assert!(matches!(&error, Error::Limit(error) if error.refusal.limit() == Some(Limit::RootLength)), "{error:?}");
        assert_eq!(error.to_string(), "a file exceeds a limit of this client");
        for mirrors in [vec![limit.clone(), listed.clone()], vec![listed, limit]] {
            let error = all_failed("x".to_owned(), mirrors);
            assert!(matches!(&error, Error::Refused(error) if error.refusal == long(None)), "{error:?}");
        }
    }

    #[test]
    fn only_an_error_in_a_received_file_is_a_refusal() {
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
