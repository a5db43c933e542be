//! Hints that tell the user of the program how to resolve an error. They mention command-line options, so they are not
//! part of the library's error messages.

use std::io;

use lastmile_metadata::{Error as Verdict, ErrorKind, Limit, TargetPath};

use crate::error::{Error, LocalError, NetworkError, Refusal};
use crate::net::fetch::{FetchError, TlsProblem};

pub(super) fn hint(error: &Error) -> Option<String> {
    match error {
        Error::Refused(error) | Error::Limit(error) => of_refusal(&error.refusal),
        Error::Network(error) => of_network(error).map(str::to_owned),
        Error::Local(error) => error.hint.clone().or_else(|| of_local(error).map(str::to_owned)),
        Error::State(Verdict { kind: ErrorKind::Absent, .. }) => Some(
            "run `lastmile refresh` to fetch the top-level roles, or `lastmile list` to fetch all roles".to_owned(),
        ),
        Error::State(verdict) => of_verdict(&verdict.kind).map(str::to_owned),
        Error::NoSuchTarget(_) => {
            Some("target paths are compared byte by byte; `lastmile list` shows all target paths".to_owned())
        }
        #[cfg(feature = "attest")]
        Error::EvidenceNotStored(_) => {
            Some("run `lastmile get TARGET`: it also fetches and stores the evidence for the target".to_owned())
        }
        #[cfg(not(feature = "attest"))]
        Error::PoliciesNotSupported(_) => Some("install a build of lastmile with the feature `attest`".to_owned()),
        Error::TargetPath(_) | Error::TooLarge { .. } | Error::Config(_) => None,
    }
}

/// Returns a hint that names the command-line option for raising this limit.
fn raising(limit: Limit) -> String {
    format!("if the repository really is that large, raise the limit with `--limit {limit}=NUMBER`")
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
        Refusal::TooLong { limit: None, .. } => {
            "the file on the mirror is longer than the signed metadata allows; try another mirror"
        }
        Refusal::Target { .. } => {
            "the server sent a file that does not match the signed metadata; the download was deleted"
        }
        #[cfg(feature = "attest")]
        Refusal::Policy(refused) => {
            return Some(format!(
                "run `lastmile verify --explain {}` to see which rules are not satisfied, and why",
                refused.path
            ));
        }
        #[cfg(feature = "attest")]
        Refusal::Demands(_) => "run the command again",
        #[cfg(feature = "attest")]
        Refusal::NotApproved { .. } => return None,
        // If the path cannot be part of a URL, the target cannot be requested, so `--output-file` would not help.
        Refusal::Name(error) if TargetPath::new(&*error.name).is_ok_and(|path| path.url_path(None).is_ok()) => {
            "to save it under another name, get only this target, with `--output-file FILE` and without `--output`"
        }
        Refusal::Name(_) => return None,
    };
    Some(hint.to_owned())
}

fn of_verdict(kind: &ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::Expired { .. } => {
            "the mirror may withhold newer metadata, the maintainers may not have renewed it, \
             or this machine's clock may be wrong"
        }
        ErrorKind::Rollback { .. } | ErrorKind::ListedRollback { .. } | ErrorKind::Removed { .. } => {
            "the metadata on the mirror is older than the metadata that this machine trusts; try another mirror, or \
             ask the maintainers"
        }
        ErrorKind::StateLost => {
            "the stored state is damaged, so a rollback could not be detected; start again from the shipped root \
             with `lastmile trust reset NAME`"
        }
        ErrorKind::ThresholdNotMet { .. } => {
            "too few of the trusted keys have signed the file; previously trusted metadata stays trusted"
        }
        ErrorKind::UnsupportedSpecVersion(_) => {
            "a newer version of this program may support this version of the specification"
        }
        ErrorKind::HashMismatch { .. } | ErrorKind::LengthMismatch { .. } | ErrorKind::WrongVersion { .. } => {
            "the files on the mirror are from different versions of the repository; if the mirror is being updated, \
             try again later"
        }
        _ => return None,
    })
}

fn of_network(error: &NetworkError) -> Option<&'static str> {
    Some(match &error.cause {
        FetchError::NotFound => "check the metadata and targets URLs with `lastmile trust list`",
        FetchError::Status(403) => {
            "if the server is an object store that answers 403 for missing files, run `lastmile trust set NAME \
             --forbidden-means-absent true`"
        }
        FetchError::Unauthorized => {
            "if you have a user name and a password, put them into the URLs of the repository: `lastmile trust set NAME \
             --metadata-url https://USER:PASSWORD@HOST/metadata/`"
        }
        FetchError::ProxyUnauthorized { .. } => {
            "put the user name and the password of the proxy into its URL: `--proxy http://USER:PASSWORD@HOST:PORT`"
        }
        FetchError::NetworkLogin | FetchError::NotMetadata { .. } => {
            "if this network has a login page, log in with a browser and try again; otherwise check the URLs with \
             `lastmile trust list`"
        }
        FetchError::Timeout(_) => {
            "check the network and the proxy settings; allow more time with `--timeout` and `--deadline`, or use \
             the stored metadata with `--offline`"
        }
        FetchError::Connect(_) => {
            "check the network and the proxy settings, or use the stored metadata with `--offline`"
        }
        FetchError::TooManyRedirects { .. } => "allow more redirects with `--limit redirects=NUMBER`",
        FetchError::Tls { problem, .. } => match problem {
            TlsProblem::Expired | TlsProblem::NotYetValid => {
                "the server's certificate has expired or is not valid yet, or this machine's clock is wrong; if the \
                 clock is right, tell the operator of the server"
            }
            TlsProblem::OtherName => "check the URLs with `lastmile trust list`",
            TlsProblem::UnknownIssuer => "trust an additional certificate authority with `--ca-file`",
            TlsProblem::Other => return None,
        },
        _ => return None,
    })
}

fn of_local(error: &LocalError) -> Option<&'static str> {
    match error.error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(
            "choose another state directory with `--state-dir DIR`, or another folder for targets with `--output DIR`",
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space and try again; the trusted metadata is unchanged")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_suggests_another_file_only_if_the_target_can_be_requested() {
        let hint = |path: &str| {
            let path = TargetPath::new(path).unwrap();
            let refused = path.file_path().unwrap_err();
            hint(&crate::error::RefusedError::from(Refusal::Name(refused)).into())
        };
        assert!(hint("a:b").is_some_and(|hint| {
            hint.contains("get only this target, with `--output-file FILE` and without `--output`")
        }));
        assert_eq!(hint("../a"), None);
    }

    #[test]
    fn only_an_unknown_issuer_suggests_another_authority() {
        let hint = |problem| {
            let failed = FetchError::Tls { problem, text: String::new() };
            let failure = crate::error::MirrorFailure { url: "https://h/".to_owned(), reason: failed.into() };
            hint(&crate::error::all_failed("x".to_owned(), vec![failure])).unwrap_or_default()
        };
        assert!(hint(TlsProblem::UnknownIssuer).contains("--ca-file"));
        assert!(hint(TlsProblem::Expired).contains("clock"));
        for problem in [TlsProblem::Expired, TlsProblem::NotYetValid, TlsProblem::OtherName, TlsProblem::Other] {
            assert!(!hint(problem).contains("--ca-file"), "{problem:?}");
        }
    }
}
