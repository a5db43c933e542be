//! What a command says when it fails, and with which exit status.

use std::error::Error as _;

use serde_json::{Value, json};

use super::ExitStatus;
use super::hints::hint;
use crate::error::{Error, LocalError, MirrorFailure};
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
        let status = match &error {
            Error::Refused(_) => ExitStatus::Untrusted,
            Error::Network(_) => ExitStatus::Network,
            Error::NoSuchTarget(_) => ExitStatus::NoSuchTarget,
            Error::TargetPath(_) => ExitStatus::Usage,
            Error::Local(_) | Error::State(_) | Error::TooLarge { .. } | Error::Config(_) => ExitStatus::Failed,
        };
        Failure { status, ..failure }
    }
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Failure {
        Error::from(error).into()
    }
}
