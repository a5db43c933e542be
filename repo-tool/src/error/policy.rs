//! Errors about policies, trust roots and evidence.

use std::path::PathBuf;

use lastmile_client::text::{printable, printable_path};
use lastmile_metadata::{RoleName, TargetPath};

/// The reason why a policy cannot be used or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file does not contain a valid policy.
    #[error("{}: {problem}", printable_path(file))]
    Malformed {
        /// The file.
        file: PathBuf,
        /// A description of the problem and its position.
        problem: String,
    },
    /// The policy contains something that this version of lastmile does not understand.
    #[error("this version of lastmile does not understand the policy:{}", lines(.parts))]
    Unsupported {
        /// The unsupported parts, each with its position in the policy.
        parts: Vec<String>,
    },
    /// The policy in a role's published metadata, or in a draft of the role, is malformed.
    #[error("the policy of {role}: {problem}")]
    OfRole {
        /// The role.
        role: RoleName,
        /// A description of the problem and its position.
        problem: String,
    },
    /// The role is a bin: it is delegated by hash prefixes instead of path patterns.
    #[error("{role} is a bin, so it cannot have a policy")]
    Bin {
        /// The role.
        role: RoleName,
    },
    /// The role is root, snapshot or timestamp, and cannot list targets.
    #[error("{role} cannot list targets, so it cannot have a policy")]
    NoTargets {
        /// The role.
        role: RoleName,
    },
    /// The role has no policy.
    #[error("{role} has no policy")]
    None {
        /// The role.
        role: RoleName,
    },
    /// The policy names a trust root without its digest, and the role does not list that trust root.
    #[error("trust.{name}: {role} does not list the trust root `{path}`, and the policy does not give its `sha256`")]
    TrustRootNotListed {
        /// The role that has the policy.
        role: RoleName,
        /// The name of the trust root in the policy.
        name: String,
        /// The target path of the trust root.
        path: TargetPath,
    },
    /// A trust root cannot be used.
    #[error("the trust root `{path}`: {problem}")]
    TrustRoot {
        /// The target path of the trust root.
        path: TargetPath,
        /// A description of the problem.
        problem: String,
    },
    /// A trust root cannot be fetched from a TUF repository, because the first root of that repository is missing or
    /// wrong. It is missing if the user neither pinned it nor gave it, and wrong if the user gave a root other than the
    /// pinned one.
    #[error("the TUF repository at {url}: {problem}")]
    FirstRoot {
        /// The URL.
        url: String,
        /// A description of the problem.
        problem: String,
    },
    /// A TUF repository that publishes a trust root does not verify.
    #[error("the TUF repository at {url} failed verification: {problem}")]
    Upstream {
        /// The URL.
        url: String,
        /// A description of the problem.
        problem: String,
    },
    /// The file of a target differs from its entry in the metadata.
    #[error("`{path}`: {problem}")]
    WrongFile {
        /// The path of the target.
        path: TargetPath,
        /// A description of the problem.
        problem: String,
    },
    /// An evidence file cannot be used.
    #[error("{}: {}", printable_path(file), printable(problem))]
    Evidence {
        /// The file.
        file: PathBuf,
        /// A description of the problem.
        problem: String,
    },
    /// A package would have too many evidence files.
    #[error("`{path}` would have {count} evidence files, expected at most {most}")]
    TooMuchEvidence {
        /// The package.
        path: TargetPath,
        /// The number of evidence files that the package would have.
        count: usize,
        /// The maximum number of evidence files.
        most: usize,
    },
}

impl PolicyError {
    /// Returns a hint on what to do next, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Malformed { .. } | Self::OfRole { .. } => Some("docs/policy.md describes the format of policies"),
            Self::Unsupported { .. } => Some(
                "clients would refuse every package to which the policy applies; correct the policy, or upgrade lastmile-repo",
            ),
            Self::Bin { .. } => Some(
                "set the policy on the role that delegates to the bins; that policy also covers the targets of the bins",
            ),
            Self::NoTargets { .. } => Some("set the policy on `targets` or on a delegated role"),
            Self::None { .. } => Some("`lastmile-repo status` lists the roles that have a policy"),
            Self::TrustRootNotListed { .. } => Some(
                "publish the trust root first (run `lastmile-repo policy trust-root update URL` or `lastmile-repo \
                 add`), or give its `sha256` in the policy; a role with bins lists no targets itself, so its policy \
                 must give the `sha256`",
            ),
            Self::FirstRoot { .. } => Some(
                "get the first root of that TUF repository through a channel that you trust, and give it with `--first-root \
                 FILE`; to replace the pinned root, first remove the folder that contains it",
            ),
            Self::Upstream { .. } => None,
            Self::WrongFile { .. } => Some("restore the file from a backup or from the server"),
            Self::TrustRoot { .. } => Some("a trust root is the file trusted_root.json of a Sigstore instance"),
            Self::Evidence { .. } => Some(
                "evidence is a Sigstore bundle, a DSSE envelope with an in-toto statement, or a signature of `cosign sign-blob`",
            ),
            Self::TooMuchEvidence { .. } => Some("combine the evidence into fewer files, one JSON object per line"),
        }
    }
}

fn lines(parts: &[String]) -> String {
    parts.iter().map(|part| format!("\n  {}", printable(part))).collect()
}
