//! What to do next after an error, in the words of this command: the library knows no options.

use std::io;

use lastmile_metadata::{Error as Verdict, ErrorKind, Limit};

use crate::error::{Error, LocalError, NetworkError, Refusal};
use crate::net::fetch::FetchError;

/// What to do next.
pub(super) fn hint(error: &Error) -> Option<String> {
    match error {
        Error::Refused(error) => of_refusal(&error.refusal),
        Error::Network(error) => of_network(error).map(str::to_owned),
        Error::Local(error) => error.hint.clone().or_else(|| of_local(error).map(str::to_owned)),
        Error::State(Verdict { kind: ErrorKind::Absent, .. }) => {
            Some("`lastmile refresh` fetches the top-level roles, `lastmile list` all of them".to_owned())
        }
        Error::State(verdict) => of_verdict(&verdict.kind).map(str::to_owned),
        Error::NoSuchTarget(_) => {
            Some("target paths are compared byte by byte; `lastmile list` shows those that there are".to_owned())
        }
        Error::TargetPath(_) | Error::TooLarge { .. } | Error::Config(_) => None,
    }
}

/// How the limit is raised.
fn raising(limit: Limit) -> String {
    format!("if the repository is known to be that large, `--limit {limit}=NUMBER` raises the limit")
}

fn of_refusal(refusal: &Refusal) -> Option<String> {
    let hint = match refusal {
        Refusal::Metadata(Verdict { kind, .. }) => match kind {
            ErrorKind::LimitReached { limit, .. } | ErrorKind::ListedTooLong { limit, .. } => {
                return Some(raising(*limit));
            }
            kind => of_verdict(kind)?,
        },
        Refusal::TooLong { limit: Some(limit), .. } => return Some(raising(*limit)),
        Refusal::TooLong { limit: None, .. } => "the mirror sends more than the repository lists; try another mirror",
        Refusal::Target { .. } => "the server sends another file than the repository lists; nothing was kept of it",
        Refusal::Name(_) => "`--output-file` fetches it to a path that you name",
    };
    Some(hint.to_owned())
}

fn of_verdict(kind: &ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::Expired { .. } => {
            "the mirror may hold back newer metadata, the maintainers may have failed to renew it, \
             or the clock of this machine is wrong"
        }
        ErrorKind::Rollback { .. } | ErrorKind::ListedRollback { .. } | ErrorKind::Removed { .. } => {
            "the mirror offers an older state than was seen before; what was trusted stays so. Try \
             another mirror or ask the maintainers"
        }
        ErrorKind::StateLost => {
            "what this machine knew is damaged, so that a rollback could not be noticed; \
             `lastmile trust reset NAME` starts anew from the shipped root"
        }
        ErrorKind::ThresholdNotMet { .. } => {
            "the file is not signed by those whom the repository trusts; what was trusted stays so"
        }
        ErrorKind::UnsupportedSpecVersion(_) => "a newer version of this program may read it",
        ErrorKind::HashMismatch { .. } | ErrorKind::LengthMismatch { .. } | ErrorKind::WrongVersion { .. } => {
            "the mirror mixes files of different states; if it is being updated, try again later"
        }
        _ => return None,
    })
}

fn of_network(error: &NetworkError) -> Option<&'static str> {
    Some(match &error.cause {
        FetchError::NotFound => "the metadata or targets URL may be wrong, see `lastmile trust list`",
        FetchError::Status(403) => {
            "some object stores say 403 where a file is absent; `lastmile trust add \
             --forbidden-means-absent` is for those"
        }
        FetchError::Timeout(_) => {
            "check the network and the proxy settings; `--timeout` and `--deadline` allow more time, \
             `--offline` uses what is trusted already"
        }
        FetchError::Connect(_) => "check the network and the proxy settings; `--offline` uses what is trusted already",
        FetchError::TooManyRedirects { .. } => "`--limit redirects=NUMBER` follows more",
        FetchError::Tls(_) => "`--ca-file` adds a certificate authority",
        _ => return None,
    })
}

fn of_local(error: &LocalError) -> Option<&'static str> {
    match error.error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some("`--state-dir DIR` keeps state elsewhere, `--output DIR` puts files elsewhere")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("make room and try again; what was trusted before is unharmed")
        }
        _ => None,
    }
}
