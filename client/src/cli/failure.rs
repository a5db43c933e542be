//! What a command says when it fails, and with which exit status.

use std::error::Error as _;

use lastmile_metadata::ErrorKind;
use serde_json::{Value, json};

use super::ExitStatus;
use super::hints::hint;
use crate::error::{Error, LocalError, MirrorFailure, Refusal};
use crate::fetch::FetchError;
use crate::text::printable;

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    status: ExitStatus,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    /// Standard output is closed: whoever reads it has enough.
    pub(super) is_closed_pipe: bool,
}

impl Failure {
    /// Something on this machine.
    pub(super) fn new(message: impl Into<String>) -> Failure {
        Failure {
            status: ExitStatus::Failed,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            is_closed_pipe: false,
        }
    }

    /// Wrong usage.
    pub(super) fn usage(message: impl Into<String>) -> Failure {
        Failure { status: ExitStatus::Usage, ..Failure::new(message) }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    pub(super) fn status(&self) -> ExitStatus {
        if self.is_closed_pipe { ExitStatus::Done } else { self.status }
    }

    /// The lines that a person reads, each with what stands before it.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let causes = self.causes.iter().map(|cause| ("caused by", printable(cause)));
        let hint = self.hint.iter().map(|hint| ("hint", printable(hint)));
        [("error", printable(&self.message))].into_iter().chain(causes).chain(hint).collect()
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "error": {
                "message": self.message,
                "causes": self.causes,
                "hint": self.hint,
                "exit_code": self.status as u8,
            }
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let mirrors: &[MirrorFailure] = match &error {
            Error::Refused(error) => &error.mirrors,
            Error::Network(error) => &error.mirrors,
            _ => &[],
        };
        let causes = if mirrors.is_empty() {
            let sources = std::iter::successors(error.source(), |cause| (*cause).source());
            sources.map(ToString::to_string).collect()
        } else {
            mirrors.iter().map(ToString::to_string).collect()
        };
        let failure = Failure { causes, hint: hint(&error), ..Failure::new(error.to_string()) };
        match &error {
            Error::Refused(error) => failure.of_refusal(&error.refusal),
            Error::Network(error) if matches!(error.cause, FetchError::Settings(_)) => failure,
            Error::Network(_) => Failure { status: ExitStatus::Network, ..failure },
            Error::NoSuchTarget(_) => Failure { status: ExitStatus::NoSuchTarget, ..failure },
            Error::Local(_) => failure,
        }
    }
}

impl Failure {
    /// Not every verdict is the repository's fault: what is not here, or is damaged here, is ours.
    fn of_refusal(self, refusal: &Refusal) -> Failure {
        let Refusal::Metadata(verdict) = refusal else { return Failure { status: ExitStatus::Untrusted, ..self } };
        match verdict.kind {
            ErrorKind::Absent => Failure { message: format!("`{}` was never fetched", verdict.role), ..self }
                .with_hint("`lastmile refresh` fetches the top-level roles, `lastmile list` all of them"),
            ErrorKind::StateLost => Failure { message: "cannot tell what was trusted before".to_owned(), ..self },
            _ => Failure { status: ExitStatus::Untrusted, ..self },
        }
    }
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Failure {
        Error::from(error).into()
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Failure {
        Failure::new(error.to_string())
    }
}
