//! What can go wrong for a maintainer, by subject, each with a hint of what to do next. Every sentence is written here; what a
//! program may want to know is in fields.
//!
//! `Display` prints the whole sentence, with the causes. So no error is the `source()` of another: a program that prints the
//! chain would print it twice. Where an error contains another one, that is a public field.

mod absent;
mod change;
mod config;
mod key;
mod path;
mod publish;
mod served;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lastmile_metadata::RoleName;

use crate::files::own_files::Unpublishable;
use crate::publish::queue::Fault;
use crate::report::diff::Unusual;

pub use absent::NotFound;
pub use change::{EditError, InvalidInput, PendingError, RoleNameError, VersionError};
pub use config::{ConfigError, InvalidDigest, InvalidKeyUri};
pub use key::{KeyReason, LackingKeys, RevokeError};
pub use path::PathError;
pub use publish::{DraftError, NotFoundReason, PublicationError};
pub use served::{NetworkError, PinError, ServedError};

/// Why a command did not do what was asked. Nothing was published, unless the text says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process holds the repository's lock.
    #[error("another process is changing the repository {}", folder.display())]
    Busy {
        /// The repository's folder.
        folder: PathBuf,
        /// How long this process waited for the lock.
        waited: Duration,
    },
    /// The client refused the draft, so that it was not published.
    #[error("not published: {0}")]
    Draft(DraftError),
    /// Roles or targets cannot be changed in this way.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A file of this machine could not be read or written.
    #[error("cannot {action} {}: {error}", path.display())]
    File {
        /// What was tried: a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Input is not what it must be.
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    /// A key cannot be used.
    #[error("key {key}: {reason}")]
    Key {
        /// Its URI or file.
        key: String,
        /// What is wrong with it.
        reason: KeyReason,
    },
    /// Keys that must sign are not here.
    #[error("the {} key is not on this machine", .roles.iter().map(RoleName::as_str).collect::<Vec<_>>().join(" and the "))]
    MissingKeys {
        /// The roles that lack signatures.
        roles: Vec<RoleName>,
    },
    /// The road to a repository elsewhere failed.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A document has members or keys that nobody has accepted.
    #[error(
        "not signed: {role} contains members or keys unknown to lastmile-repo, which other clients may honor:\n{}\nto sign \
         them, add: {}",
        lines(.unaccepted), options(.unaccepted)
    )]
    NotAccepted {
        /// The role.
        role: RoleName,
        /// The members and keys.
        unaccepted: Vec<Unusual>,
    },
    /// A name that is asked for is not there.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// A key would sign for a repository whose root the user has not pinned.
    #[error("nothing is signed for {}: its root is not pinned", folder.display())]
    NotPinned {
        /// The repository's folder.
        folder: PathBuf,
        /// The SHA-256 of the oldest root there.
        digest: String,
    },
    /// A file or folder is not what it must be.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The pending change cannot be used, or stands in the way.
    #[error(transparent)]
    Pending(#[from] PendingError),
    /// The roots in the folder are not those that the user trusts.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// `repo.toml` or the user's configuration does not say what it should.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: ConfigError,
    },
    /// Files that were to be published must stay private.
    #[error("{}", private(.files))]
    Private {
        /// All of them, each with what was found.
        files: Vec<Unpublishable>,
    },
    /// A publication could not be made or finished.
    #[error(transparent)]
    Publication(#[from] PublicationError),
    /// Another process was to publish for this one, and found that it cannot be published.
    #[error("{}{text}", prefix(*.fault))]
    Request {
        /// The kind of error.
        fault: Fault,
        /// Its text.
        text: String,
    },
    /// A key cannot be revoked as asked.
    #[error(transparent)]
    Revoke(#[from] RevokeError),
    /// The server and the folder differ.
    #[error(transparent)]
    Served(#[from] ServedError),
    /// Published metadata does not verify.
    #[error("the published metadata does not verify: {0}")]
    Untrusted(lastmile_metadata::Error),
    /// No version number can be issued.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// The command line does not make sense.
    #[cfg(feature = "cli")]
    #[error("{0}")]
    Usage(String),
    /// What the command line names is not there.
    #[cfg(feature = "cli")]
    #[error("{0}")]
    Absent(String),
    /// A command was refused or failed for a reason of its own.
    #[cfg(feature = "cli")]
    #[error("{0}")]
    Failed(String),
}

// Not `#[from]`, which makes the inner error the source as well.
impl From<DraftError> for Error {
    fn from(error: DraftError) -> Self {
        Self::Draft(error)
    }
}

impl From<lastmile_metadata::Error> for Error {
    fn from(error: lastmile_metadata::Error) -> Self {
        Self::Untrusted(error)
    }
}

impl Error {
    /// An error of this machine, with the file it concerns.
    pub fn file(action: &'static str, path: &Path, error: io::Error) -> Self {
        Self::File { action, path: path.to_path_buf(), error }
    }

    /// A key that cannot be used.
    pub fn key(key: impl Display, reason: impl Into<KeyReason>) -> Self {
        Self::Key { key: key.to_string(), reason: reason.into() }
    }

    /// What the person at the terminal can do next, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if let Self::NotPinned { digest, .. } = self {
            return Some(format!(
                "ask the repository's owners for the SHA-256 of their root, through a channel you trust; the oldest root in \
                 the folder has {digest}. If both are equal, repeat the command with `--root-sha256 {digest}`, or with \
                 `--root FILE` if they gave you the root itself. Do this once; in a job that keeps no files, set \
                 LASTMILE_REPO_ROOT_SHA256"
            ));
        }
        let hint = match self {
            Self::Busy { .. } => Some("wait until it has finished; the lock ends with the process"),
            Self::Draft(_) | Self::Request { fault: Fault::Draft, .. } => {
                Some("a client would refuse the new metadata; run `lastmile-repo status` to see what is published now")
            }
            Self::MissingKeys { .. } => {
                Some("run the command on the machine that has the keys, or sign with `lastmile-repo sign --key FILE`")
            }
            Self::Network(_) => Some("check the address, and whether the server responds"),
            Self::Config { .. } => Some("docs/maintainers.md describes the format of repo.toml"),
            Self::Private { .. } => Some(
                "add other files; --allow-private-key-material publishes keys that are meant to be public, such as test keys, \
                 but never the repository's own keys",
            ),
            Self::Untrusted(_) => {
                Some("run `lastmile-repo verify` to check every file; restore damaged files from a backup")
            }
            #[cfg(feature = "cli")]
            Self::Usage(_) => Some(HELP),
            Self::InvalidInput(_) | Self::Request { fault: Fault::Usage, .. } => Some(HELP),
            #[cfg(feature = "cli")]
            Self::Absent(_) | Self::Failed(_) => None,
            Self::Edit(_)
            | Self::File { .. }
            | Self::Key { .. }
            | Self::NotAccepted { .. }
            | Self::NotFound(_)
            | Self::NotPinned { .. }
            | Self::Path(_)
            | Self::Pending(_)
            | Self::Pin(_)
            | Self::Publication(_)
            | Self::Request { fault: Fault::NotFound | Fault::Refused, .. }
            | Self::Revoke(_)
            | Self::Served(_)
            | Self::Version(_) => None,
        };
        hint.map(ToString::to_string)
    }
}

const HELP: &str = "add `--help` to the command for examples";

fn prefix(fault: Fault) -> &'static str {
    match fault {
        Fault::Draft => "not published: ",
        Fault::NotFound | Fault::Refused | Fault::Usage => "",
    }
}

fn lines(unaccepted: &[Unusual]) -> String {
    unaccepted.iter().map(|unusual| format!("  {}", unusual.line)).collect::<Vec<_>>().join("\n")
}

fn options(unaccepted: &[Unusual]) -> String {
    let options: BTreeSet<String> =
        unaccepted.iter().map(|unusual| format!("--accept '{}'", unusual.typed())).collect();
    options.into_iter().collect::<Vec<_>>().join(" ")
}

/// Of very many files no more are named in an error.
const NAMED: usize = 50;

fn private(files: &[Unpublishable]) -> String {
    let mut text = match files.len() {
        1 => String::from("nothing was published, because this file must stay private:"),
        count => format!("nothing was published, because {count} files must stay private:"),
    };
    for Unpublishable { path, reason } in files.iter().take(NAMED) {
        text += &format!("\n  {}: {reason}", path.display());
    }
    if let Some(more) = files.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text += &format!("\n  … and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use lastmile_metadata::TargetPath;

    use super::*;

    /// Errors that a request is to blame for, one for each kind.
    fn of_requests() -> [(Fault, Error); 4] {
        let path = TargetPath::new("a").unwrap();
        [
            (Fault::Draft, DraftError::NotSigned { role: RoleName::TARGETS }.into()),
            (Fault::NotFound, NotFound::Target { path: path.clone() }.into()),
            (Fault::Refused, EditError::NamedTwice { path }.into()),
            (Fault::Usage, InvalidInput::Threshold.into()),
        ]
    }

    #[test]
    fn an_error_that_another_process_found_reads_like_one_of_this_process() {
        for (expected, error) in of_requests() {
            let (fault, text) = Fault::of(&error).unwrap();
            let again = fault.error(text);
            assert_eq!(fault, expected);
            assert_eq!((again.to_string(), again.hint()), (error.to_string(), error.hint()), "{error:?}");
            // It may be handed on once more.
            let (fault, text) = Fault::of(&again).unwrap();
            assert_eq!((fault, fault.error(text).to_string()), (expected, error.to_string()));
        }
    }

    #[cfg(feature = "cli")]
    #[test]
    fn an_error_that_another_process_found_ends_with_the_same_exit_code() {
        use lastmile_cli_support::{ExitStatus, Failure};

        let expected = [ExitStatus::Refused, ExitStatus::NoSuchName, ExitStatus::Failed, ExitStatus::Usage];
        for ((fault, error), expected) in of_requests().into_iter().zip(expected) {
            assert_eq!(Failure::from(&error).status(), expected, "{error:?}");
            assert_eq!(Failure::from(&fault.error(String::new())).status(), expected, "{error:?}");
        }
    }

    #[test]
    fn an_error_of_this_machine_is_not_blamed_on_a_request() {
        let machine = [
            Error::Busy { folder: PathBuf::new(), waited: Duration::ZERO },
            Error::file("read", Path::new("a"), io::ErrorKind::NotFound.into()),
            Error::key("file:a.pem", KeyReason::Missing),
            Error::MissingKeys { roles: vec![RoleName::ROOT] },
        ];
        assert!(machine.iter().all(|error| Fault::of(error).is_none()), "{machine:?}");
    }

    /// Every error that contains another one.
    fn nested() -> Vec<Error> {
        use lastmile_client::{Error as ClientError, FetchError, LocalError, Refusal};
        use lastmile_metadata::{ErrorKind, NameError};

        let io = || io::Error::other("the disk is gone");
        let verdict = || lastmile_metadata::Error { role: RoleName::TARGETS, kind: ErrorKind::NotListed };
        let client = || Box::new(ClientError::Refused(Refusal::Metadata(verdict()).into()));
        let local = || LocalError::new("read", Path::new("a"), io());
        let fetch = || FetchError::Connect("connection reset".into());
        let name = || TargetPath::new("").unwrap_err();
        let _: &NameError = &name();
        vec![
            DraftError::Client(client()).into(),
            DraftError::Refused(Box::new(Refusal::Metadata(verdict()))).into(),
            EditError::RoleName(RoleNameError::Name(name())).into(),
            EditError::UnsafeName(name()).into(),
            InvalidInput::Name(name()).into(),
            Error::file("read", Path::new("a"), io()),
            Error::key("a", lastmile_keys::PemError::WrongPassPhrase),
            Error::key("a", lastmile_keys::SignError::Randomness),
            Error::Config {
                path: "a".into(),
                reason: ConfigError::Key { role: "b".into(), error: InvalidKeyUri { text: "c".into() } },
            },
            NetworkError::Compare(Box::new(NetworkError::Client(client()))).into(),
            NetworkError::Setup(client()).into(),
            NetworkError::Fetch(fetch()).into(),
            NetworkError::Runtime(io()).into(),
            NetworkError::Listen { address: ([127, 0, 0, 1], 1).into(), error: io() }.into(),
            PublicationError::Unreadable { interrupted: Vec::new(), error: Box::new(verdict().into()) }.into(),
            PublicationError::Incomplete { folder: "a".into(), error: client() }.into(),
            PublicationError::Client(Box::new(ClientError::Local(local()))).into(),
            ServedError::Unverified { url: "a".into(), error: Box::new(verdict().into()) }.into(),
            ServedError::Memory(local()).into(),
            verdict().into(),
        ]
    }

    #[test]
    fn no_cause_is_told_twice() {
        for error in nested() {
            let mut told = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                let text = error.to_string();
                assert!(!told.contains(&text), "`{text}` is told twice: {told}");
                told = format!("{told}: {text}");
                cause = error.source();
            }
        }
    }

    #[test]
    fn the_whole_cause_is_told() {
        let texts: Vec<String> = nested().iter().map(ToString::to_string).collect();
        for (cause, times) in [("the disk is gone", 5), ("connection reset", 1), ("not listed", 8)] {
            let told = texts.iter().filter(|text| text.contains(cause)).count();
            assert!(told >= times, "{cause}: {texts:#?}");
        }
    }

    #[test]
    fn a_refusal_by_clients_holds_the_verdict() {
        use lastmile_client::{Error as ClientError, Refusal};
        use lastmile_metadata::ErrorKind;

        let verdict = lastmile_metadata::Error { role: RoleName::TARGETS, kind: ErrorKind::NotListed };
        let error = DraftError::Client(Box::new(ClientError::Refused(Refusal::Metadata(verdict.clone()).into())));
        assert_eq!(error.verdict(), Some(&verdict));
        let text = Error::from(error).to_string();
        let expected = format!("not published: refused as untrusted: {verdict}");
        assert_eq!(text, expected);
    }
}
