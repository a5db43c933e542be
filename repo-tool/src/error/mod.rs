//! The errors of this crate, by subject, with their messages and hints for the user. Programs can read the details of
//! an error from its fields.
//!
//! `Display` prints an error with its causes. If the causes were also available through `source()`, a program that
//! prints the chain of sources would print each cause twice. Therefore causes are available only as public fields.

mod absent;
mod change;
mod config;
mod digest;
mod key;
mod line;
mod path;
mod policy;
mod publish;
mod push;
mod refusal;
mod revert;
mod served;
mod text;
mod unpublishable;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lastmile_client::text::{printable, printable_path};
use lastmile_metadata::RoleName;

use crate::report::diff::Unusual;
pub use absent::NotFound;
pub use change::{EditError, Hidden, InvalidInput, PendingError, RecordFault, RoleNameError, VersionError};
pub use config::{ConfigError, InvalidKeyUri};
pub use digest::InvalidDigest;
pub use key::{KeyReason, LackingKeys, RevokeError};
pub use line::LineFault;
pub use path::PathError;
pub use policy::PolicyError;
pub use publish::{DraftError, JournalFault, NotFoundReason, PublicationError};
pub use push::PushError;
pub use refusal::RefusalKind;
pub use revert::RevertError;
pub use served::{NetworkError, PinError, ServedError};
pub(crate) use text::chain;
pub use unpublishable::Unpublishable;
use unpublishable::listed;

/// An error of the repository tool. Nothing was published, unless the message says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process holds the repository's lock.
    #[error("another process is changing the repository {}", printable_path(folder))]
    Busy {
        /// The repository's folder.
        folder: PathBuf,
        /// How long this process waited for the lock.
        waited: Duration,
    },
    /// Clients would refuse the new metadata, so the change was not published.
    #[error("not published: {0}")]
    Draft(DraftError),
    /// A change to roles or targets cannot be made.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A file on this machine could not be read or written.
    #[error("cannot {action} {}: {error}", printable_path(path))]
    File {
        /// The operation, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error from the operating system.
        error: io::Error,
    },
    /// Input is not valid.
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    /// A key cannot be found, read or used.
    #[error("key {}: {reason}", printable(key))]
    Key {
        /// The URI or the file of the key.
        key: String,
        /// The reason why the key cannot be used.
        reason: KeyReason,
    },
    /// Keys that must sign are not on this machine.
    #[error("the {} key is not on this machine", .roles.iter().map(RoleName::as_str).collect::<Vec<_>>().join(" and the "))]
    MissingKeys {
        /// The roles whose keys are missing.
        roles: Vec<RoleName>,
    },
    /// A network operation failed.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// New metadata of a role contains members or keys that the tool does not know. It was not signed, because the user
    /// has not accepted them.
    #[error(
        "not signed: {role} contains members or keys that lastmile-repo does not know, but that TUF clients may \
         honor:\n{}\nto sign {role} with them, add: {}",
        lines(.unaccepted), options(.unaccepted)
    )]
    NotAccepted {
        /// The role.
        role: RoleName,
        /// The members and keys that the user has not accepted.
        unaccepted: Vec<Unusual>,
    },
    /// A role, target, key, file or other item that a command needs does not exist.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// Nothing was signed, because the user has not pinned the repository's root.
    #[error("nothing was signed for {}: its root is not pinned", printable_path(folder))]
    NotPinned {
        /// The repository's folder.
        folder: PathBuf,
        /// The SHA-256 of the oldest root in the folder.
        digest: String,
    },
    /// A file or folder has the wrong type, owner, mode or name.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The pending change cannot be used, or prevents another change.
    #[error(transparent)]
    Pending(#[from] PendingError),
    /// The roots in the folder, or at a URL, do not include the root that the user trusts.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A policy, a trust root or evidence cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// `repo.toml` or the user's configuration is not valid.
    #[error("{}: {reason}", printable_path(path))]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// The fault in the file.
        reason: ConfigError,
    },
    /// Some of the files to publish must stay private.
    #[error("{}", private(.files))]
    Private {
        /// The private files, each with the reason.
        files: Vec<Unpublishable>,
    },
    /// A publication failed or could not be finished.
    #[error(transparent)]
    Publication(#[from] PublicationError),
    /// A push or pull failed.
    #[error(transparent)]
    Push(#[from] PushError),
    /// This process asked another process to publish a change, and the other process refused.
    #[error("{}{text}", prefix(*.kind))]
    Request {
        /// The kind of error in the other process.
        kind: RefusalKind,
        /// The message of the error in the other process. `not published: ` is removed from its start.
        text: String,
    },
    /// The last publication cannot be reverted.
    #[error(transparent)]
    Revert(#[from] RevertError),
    /// A key cannot be revoked as requested.
    #[error(transparent)]
    Revoke(#[from] RevokeError),
    /// The server and the repository's folder have different content, or they cannot be compared.
    #[error(transparent)]
    Served(#[from] ServedError),
    /// Published metadata does not verify.
    #[error("the published metadata does not verify: {0}")]
    Untrusted(lastmile_metadata::Error),
    /// The next version number of a role cannot be issued.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// The command line is not valid.
    #[cfg(feature = "cli")]
    #[error("{}", printable(.0))]
    Usage(String),
    /// A file or key that the user specified does not exist, or there is nothing for the command to do.
    #[cfg(feature = "cli")]
    #[error("{}", printable(.0))]
    Absent(String),
    /// A command failed for another reason.
    #[error("{}", printable(.0))]
    Failed(String),
}

// Do not use `#[from]`, because thiserror would then return the contained error as the `source()`, and its text would
// be printed twice.
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
    /// Creates the error for a failed file operation.
    pub fn file(action: &'static str, path: &Path, error: io::Error) -> Self {
        Self::File { action, path: path.to_path_buf(), error }
    }

    /// Creates the error for a key that cannot be used.
    pub fn key(key: impl Display, reason: impl Into<KeyReason>) -> Self {
        Self::Key { key: key.to_string(), reason: reason.into() }
    }

    /// Returns a hint on what to do next, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if let Self::NotPinned { digest, .. } = self {
            return Some(format!(
                "ask the repository's owners for the SHA-256 of their root, through a channel you trust; the oldest root in \
                 the folder has the SHA-256 {digest}. If they give you the same SHA-256, repeat the command with \
                 `--root-sha256 {digest}`, or with `--root FILE` if they gave you the root itself. The tool then \
                 pins the root, so you do this only once; in a CI job that keeps no files between runs, set \
                 LASTMILE_REPO_ROOT_SHA256 instead"
            ));
        }
        let hint = match self {
            Self::Busy { .. } => {
                Some("wait until the other process has finished; its lock is released when the process ends")
            }
            Self::Draft(DraftError::Policy(error)) => error.hint(),
            Self::Draft(DraftError::RefusedPackages { .. }) => Some(
                "publish each package with its evidence: `lastmile-repo add FILE --evidence EVIDENCE`; `lastmile-repo policy \
                 explain PATH` shows which evidence a published package needs",
            ),
            Self::Draft(DraftError::FailingPackages { .. }) => Some(
                "add evidence for these packages first, or remove them; to publish the change anyway, repeat the command \
                 with `--even-so`: clients will then refuse these packages",
            ),
            Self::Draft(_) | Self::Request { kind: RefusalKind::Draft, .. } => {
                Some("a client would refuse the new metadata; run `lastmile-repo status` to see what is published now")
            }
            Self::Edit(EditError::HidesDelegated { .. }) => {
                Some("add the files to the delegated role with `--role`, or add them here with `--hide-delegated`")
            }
            Self::Edit(EditError::Immutable { .. }) => Some(
                "publish new content under a new name, or replace the published content with `--replace`; the patterns in \
                 `immutable` in repo.toml say which names are immutable",
            ),
            Self::MissingKeys { .. } => {
                Some("run the command on the machine that has the keys, or sign with `lastmile-repo sign --key FILE`")
            }
            Self::Policy(error) => error.hint(),
            Self::Push(error) => error.hint(),
            Self::Publication(PublicationError::Damaged { .. }) => Some(
                "if the repository is still being copied, wait for the copy to finish; otherwise restore these files \
                 from a backup or from the server; with Git, `* -text` in .gitattributes \
                 prevents changes to line endings",
            ),
            Self::Network(NetworkError::Ssh { .. }) => Some(
                "check that `ssh HOST` connects without asking for anything: that the server's key is in known_hosts, and that your \
                 key needs no pass-phrase or is in ssh-agent",
            ),
            Self::Network(
                NetworkError::Sftp { .. }
                | NetworkError::Setup(_)
                | NetworkError::Runtime(_)
                | NetworkError::Listen { .. },
            ) => None,
            Self::Network(_) => Some("check that the address is correct and that the server responds"),
            Self::Config { .. } => Some("docs/maintainers.md describes the format of repo.toml"),
            Self::Private { .. } => Some(
                "leave out the private files; --allow-private-key-material publishes keys that are meant to be public, \
                 such as test keys, but never the repository's own keys",
            ),
            Self::Revert(RevertError::RemovedKeys { .. }) => Some(
                "if the keys were not stolen, trust them again with `--trust-removed-keys`; to replace keys, use `rotate`",
            ),
            Self::Revert(RevertError::TargetFiles { .. }) => Some(
                "restore the files from a backup; if another server has the missing files, use `--allow-missing-targets`",
            ),
            Self::Untrusted(_) => {
                Some("run `lastmile-repo verify` to check every file; restore damaged files from a backup")
            }
            #[cfg(feature = "cli")]
            Self::Usage(_) => Some(HELP),
            Self::InvalidInput(_) | Self::Request { kind: RefusalKind::Usage, .. } => Some(HELP),
            #[cfg(feature = "cli")]
            Self::Absent(_) => None,
            Self::Failed(_) => None,
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
            | Self::Request { kind: RefusalKind::NotFound | RefusalKind::Refused, .. }
            | Self::Revert(_)
            | Self::Revoke(_)
            | Self::Served(_)
            | Self::Version(_) => None,
        };
        hint.map(ToString::to_string)
    }
}

const HELP: &str = "add `--help` to the command for examples";

fn prefix(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::Draft => "not published: ",
        RefusalKind::NotFound | RefusalKind::Refused | RefusalKind::Usage => "",
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

fn private(files: &[Unpublishable]) -> String {
    let text = match files.len() {
        1 => String::from("nothing was published, because this file must stay private:"),
        count => format!("nothing was published, because {count} files must stay private:"),
    };
    listed(text, files)
}

#[cfg(test)]
mod tests {
    use lastmile_metadata::TargetPath;

    use super::*;

    fn of_requests() -> [(RefusalKind, Error); 4] {
        let path = TargetPath::new("a").unwrap();
        [
            (RefusalKind::Draft, DraftError::NotSigned { role: RoleName::TARGETS }.into()),
            (RefusalKind::NotFound, NotFound::Target { path: path.clone() }.into()),
            (RefusalKind::Refused, EditError::NamedTwice { path }.into()),
            (RefusalKind::Usage, InvalidInput::Threshold.into()),
        ]
    }

    #[test]
    fn a_refusal_by_another_process_has_the_same_message_and_hint() {
        for (expected, error) in of_requests() {
            let (fault, text) = RefusalKind::of(&error).unwrap();
            let again = fault.error(text);
            assert_eq!(fault, expected);
            assert_eq!((again.to_string(), again.hint()), (error.to_string(), error.hint()), "{error:?}");
            // The kind and the message also stay the same if the error is sent to a third process.
            let (fault, text) = RefusalKind::of(&again).unwrap();
            assert_eq!((fault, fault.error(text).to_string()), (expected, error.to_string()));
        }
    }

    #[cfg(feature = "cli")]
    #[test]
    fn a_refusal_by_another_process_has_the_same_exit_code() {
        use lastmile_cli_support::{ExitStatus, Failure};

        let expected = [ExitStatus::Refused, ExitStatus::NoSuchName, ExitStatus::Failed, ExitStatus::Usage];
        for ((fault, error), expected) in of_requests().into_iter().zip(expected) {
            assert_eq!(Failure::from(&error).status(), expected, "{error:?}");
            assert_eq!(Failure::from(&fault.error(String::new())).status(), expected, "{error:?}");
        }
    }

    #[test]
    fn a_local_error_is_not_a_refusal_of_a_request() {
        let machine = [
            Error::Busy { folder: PathBuf::new(), waited: Duration::ZERO },
            Error::file("read", Path::new("a"), io::ErrorKind::NotFound.into()),
            Error::key("file:a.pem", KeyReason::Missing),
            Error::MissingKeys { roles: vec![RoleName::ROOT] },
        ];
        assert!(machine.iter().all(|error| RefusalKind::of(error).is_none()), "{machine:?}");
    }

    /// Returns an example of every error that contains another error.
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
            PublicationError::Damaged { folder: "a".into(), files: Vec::new(), error: Box::new(verdict().into()) }
                .into(),
            PublicationError::Client(Box::new(ClientError::Local(local()))).into(),
            ServedError::Unverified {
                url: lastmile_client::BaseUrl::new("http://a/").unwrap(),
                error: Box::new(verdict().into()),
            }
            .into(),
            ServedError::Memory(local()).into(),
            verdict().into(),
        ]
    }

    #[test]
    fn no_cause_is_printed_twice() {
        for error in nested() {
            let mut printed = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                let text = error.to_string();
                assert!(!printed.contains(&text), "`{text}` is printed twice: {printed}");
                printed = format!("{printed}: {text}");
                cause = error.source();
            }
        }
    }

    #[test]
    fn every_cause_is_printed() {
        let texts: Vec<String> = nested().iter().map(ToString::to_string).collect();
        for (cause, times) in [("the disk is gone", 5), ("connection reset", 1), ("not listed", 8)] {
            let count = texts.iter().filter(|text| text.contains(cause)).count();
            assert!(count >= times, "{cause}: {texts:#?}");
        }
    }

    #[test]
    fn a_refusal_by_clients_contains_the_verdict() {
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
