//! Maps each library error to an exit status, a kind and a hint.

use std::error::Error as _;

use lastmile_cli_support::{ExitStatus, Failure};

use super::hints::hint;
use crate::error::{Error, LocalError, MirrorFailure};
#[cfg(feature = "attest")]
use crate::error::{Refusal, RefusedError};

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let mirrors: &[MirrorFailure] = match &error {
            Error::Refused(error) | Error::Limit(error) => &error.mirrors,
            Error::Network(error) => &error.mirrors,
            _ => &[],
        };
        let causes = if mirrors.is_empty() {
            let sources = std::iter::successors(error.source(), |cause| (*cause).source());
            sources.map(ToString::to_string).collect()
        } else {
            mirrors.iter().map(ToString::to_string).collect()
        };
        let (status, kind) = match &error {
            #[cfg(feature = "attest")]
            Error::Refused(RefusedError {
                refusal: Refusal::Policy(_) | Refusal::Demands(_) | Refusal::NotApproved { .. },
                ..
            }) => (ExitStatus::Refused, "policy"),
            Error::Refused(_) => (ExitStatus::Refused, "untrusted"),
            // `TooLarge` cannot occur, because no command reads a target into memory.
            Error::Limit(_) | Error::TooLarge { .. } => (ExitStatus::Failed, "limit"),
            Error::Network(_) => (ExitStatus::Network, "network"),
            Error::NoSuchTarget(_) => (ExitStatus::NoSuchName, "no-such-target"),
            Error::TargetPath(_) => (ExitStatus::Usage, "usage"),
            Error::Local(_) => (ExitStatus::Failed, "local"),
            Error::State(_) => (ExitStatus::Failed, "state"),
            #[cfg(feature = "attest")]
            Error::EvidenceNotStored(_) => (ExitStatus::Failed, "state"),
            #[cfg(not(feature = "attest"))]
            Error::PoliciesNotSupported(_) => (ExitStatus::Failed, "config"),
            Error::Config(_) => (ExitStatus::Failed, "config"),
        };
        let failure = Failure::new(status, error.to_string()).with_kind(kind).with_causes(causes);
        match hint(&error) {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Failure {
        Error::from(error).into()
    }
}
