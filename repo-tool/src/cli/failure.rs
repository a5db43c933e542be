//! What an error of the library means for the command: its exit status, its kind and the hint.

use std::path::Path;

use lastmile_cli_support::{ExitStatus, Failure, StdoutError};

use crate::Error;

impl From<StdoutError> for Error {
    fn from(StdoutError(error): StdoutError) -> Self {
        Self::file("write", Path::new("standard output"), error)
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        // What says nothing more than the exit status has no kind of its own.
        let (status, kind) = match error {
            Error::Usage(_) => (ExitStatus::Usage, None),
            Error::NotFound(_) => (ExitStatus::NoSuchName, None),
            Error::Network(_) => (ExitStatus::Network, None),
            Error::Untrusted(_) => (ExitStatus::Refused, None),
            Error::Draft(_) => (ExitStatus::Refused, Some("draft")),
            Error::NotPinned { .. } => (ExitStatus::Refused, Some("not-pinned")),
            Error::Private(_) => (ExitStatus::Refused, Some("private")),
            Error::Busy(_) => (ExitStatus::Failed, Some("busy")),
            Error::File { .. } => (ExitStatus::Failed, Some("local")),
            Error::Key { .. } => (ExitStatus::Failed, Some("key")),
            Error::MissingKeys(_) => (ExitStatus::Failed, Some("missing-keys")),
            Error::Policy { .. } => (ExitStatus::Failed, Some("config")),
            _ => (ExitStatus::Failed, None),
        };
        // Some list files, one a line.
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
