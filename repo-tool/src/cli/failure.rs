//! Maps library errors to command failures: exit status, kind and hint.

use std::path::Path;

use lastmile_cli_support::{ExitStatus, Failure, StdoutError};

use crate::error::RefusalKind;
use crate::{Error, PolicyError, PublicationError, PushError, RevertError};

impl From<StdoutError> for Error {
    fn from(StdoutError(error): StdoutError) -> Self {
        Self::file("write", Path::new("standard output"), error)
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        // The kind distinguishes some errors that have the same exit status.
        let (status, kind) = match error {
            Error::Usage(_) | Error::InvalidInput(_) | Error::Request { kind: RefusalKind::Usage, .. } => {
                (ExitStatus::Usage, None)
            }
            Error::Absent(_) | Error::NotFound(_) | Error::Request { kind: RefusalKind::NotFound, .. } => {
                (ExitStatus::NoSuchName, None)
            }
            Error::Network(_) => (ExitStatus::Network, None),
            Error::Policy(PolicyError::Upstream { .. }) => (ExitStatus::Refused, None),
            Error::Untrusted(_) => (ExitStatus::Refused, None),
            Error::Publication(PublicationError::Damaged { .. }) => (ExitStatus::Refused, Some("damaged")),
            Error::Draft(_) | Error::Request { kind: RefusalKind::Draft, .. } => (ExitStatus::Refused, Some("draft")),
            Error::Revert(RevertError::Untrusted { .. } | RevertError::TargetFiles { .. }) => {
                (ExitStatus::Refused, None)
            }
            Error::NotPinned { .. } => (ExitStatus::Refused, Some("not-pinned")),
            Error::Private { .. } => (ExitStatus::Refused, Some("private")),
            Error::Push(
                PushError::Url(_)
                | PushError::Credentials { .. }
                | PushError::Scheme { .. }
                | PushError::NoUrl
                | PushError::SshUrl { .. },
            ) => (ExitStatus::Usage, None),
            Error::Push(PushError::Conflicts { .. } | PushError::Unmerged { .. }) => {
                (ExitStatus::Failed, Some("conflict"))
            }
            Error::Push(PushError::Newer { .. } | PushError::Fork { .. }) => (ExitStatus::Failed, Some("behind")),
            Error::Push(
                PushError::Busy { .. }
                | PushError::Locked { .. }
                | PushError::Changed { .. }
                | PushError::LeaseLost { .. },
            ) => (ExitStatus::Failed, Some("busy")),
            Error::Busy { .. } => (ExitStatus::Failed, Some("busy")),
            Error::File { .. } => (ExitStatus::Failed, Some("local")),
            Error::Key { .. } => (ExitStatus::Failed, Some("key")),
            Error::MissingKeys { .. } => (ExitStatus::Failed, Some("missing-keys")),
            Error::Config { .. } => (ExitStatus::Failed, Some("config")),
            Error::Edit(_)
            | Error::Failed(_)
            | Error::NotAccepted { .. }
            | Error::Path(_)
            | Error::Pending(_)
            | Error::Pin(_)
            | Error::Policy(_)
            | Error::Publication(_)
            | Error::Push(_)
            | Error::Request { kind: RefusalKind::Refused, .. }
            | Error::Revert(_)
            | Error::Revoke(_)
            | Error::Served(_)
            | Error::Version(_) => (ExitStatus::Failed, None),
        };
        // Some messages contain a list of files, one per line, so line breaks are kept.
        let mut failure = Failure::with_lines(status, &error.to_string());
        if let Some(kind) = kind {
            failure = failure.with_kind(kind);
        }
        match error.hint() {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}
