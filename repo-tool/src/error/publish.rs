//! Publications: what clients would refuse, what lies in the way, and what was interrupted.

use std::path::PathBuf;

use lastmile_client::{Error as ClientError, Refusal};
use lastmile_metadata::{FileError, RoleName, TargetPath, Version};

use crate::check::chain;
use crate::files::digest::FileDigest;
use crate::files::layout::Interrupted;

/// Why a client would refuse what was to be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// A simulated client failed.
    #[error("{}", chain(.0))]
    Client(Box<ClientError>),
    /// A simulated client refused bytes or a name.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// A client would have another version of the role.
    #[error("a client would see {role} version {found}, expected {expected}")]
    OtherVersion {
        /// The role.
        role: RoleName,
        /// The version that a client would have.
        found: Version,
        /// The version that was to be published.
        expected: Version,
    },
    /// A search would not lead to the target.
    #[error("clients would never find `{path}` in {role}: {reason}")]
    TargetNotFound {
        /// The target.
        path: TargetPath,
        /// A role that lists it.
        role: RoleName,
        /// Why not.
        reason: NotFoundReason,
    },
    /// The signatures of a role do not reach its threshold.
    #[error("{role} does not have enough valid signatures")]
    NotSigned {
        /// The role.
        role: RoleName,
    },
    /// There is no root, neither published nor in the change.
    #[error("there is no root")]
    NoRoot,
    /// The metadata has faults of form for which other clients refuse it.
    #[error(
        "{role} version {version}{}:{}\nfix the change, or drop it with `lastmile-repo discard`",
        for_good(role), listed(.faults)
    )]
    Faults {
        /// The role.
        role: RoleName,
        /// Its version.
        version: Version,
        /// Each fault, and who refuses it.
        faults: Vec<String>,
    },
    /// The file around the metadata has faults of form for which other clients refuse it.
    #[error(
        "other clients cannot read the file of {role} version {version}:{}\nsign it again, or drop it with \
         `lastmile-repo discard`",
        listed(.faults)
    )]
    FileFaults {
        /// The role.
        role: RoleName,
        /// Its version.
        version: Version,
        /// Each fault, and who refuses it.
        faults: Vec<String>,
    },
}

impl DraftError {
    /// The verdict of the simulated client, where it judged metadata.
    #[must_use]
    pub fn verdict(&self) -> Option<&lastmile_metadata::Error> {
        match self {
            Self::Client(error) => error.verdict(),
            _ => None,
        }
    }
}

/// Why a search does not lead to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotFoundReason {
    /// Another role lists it first.
    #[error("another role with a higher priority lists a target with that path")]
    Shadowed,
    /// The patterns on the way exclude it.
    #[error("the delegations that lead to that role do not cover this path")]
    NotCovered,
}

/// The next root comes after this one: a client that cannot read this one never gets there.
fn for_good(role: &RoleName) -> &'static str {
    if *role == RoleName::ROOT { ", and they would refuse every later root with it" } else { "" }
}

fn listed(faults: &[String]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

/// Why a publication could not be made or finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublicationError {
    /// A publication of this or another user was interrupted.
    #[error("{}", .0.advice())]
    Interrupted(Interrupted),
    /// What is published cannot be read, because publications were interrupted.
    #[error("{} ({error})", advice(.interrupted))]
    Unreadable {
        /// The interrupted publications.
        interrupted: Vec<Interrupted>,
        /// Why it cannot be read.
        error: Box<crate::Error>,
    },
    /// An interrupted publication cannot be finished.
    #[error(
        "the interrupted publication cannot be finished: {reason}; if you did not start it, or want to abandon it, remove {} \
         and run `lastmile-repo verify`",
        journal.display()
    )]
    Unfinishable {
        /// Its journal.
        journal: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// More files than a journal can name.
    #[error("too many files for one publication: publish them in several parts")]
    TooManyFiles,
    /// A folder lies where a file is to be published.
    #[error("cannot publish {}: it is a folder", path.display())]
    FolderInTheWay {
        /// The folder.
        path: PathBuf,
    },
    /// A link, a FIFO or the like lies where a file is to be published.
    #[error("cannot publish {}: it is not a regular file", path.display())]
    SpecialInTheWay {
        /// What lies there.
        path: PathBuf,
    },
    /// Another file is published under that name.
    #[error("{} exists with other content; a published file with that name never changes", path.display())]
    OtherBytes {
        /// The published file.
        path: PathBuf,
    },
    /// A file that is to be moved is neither where it was nor where it goes.
    #[error("neither {} nor {} exists", from.display(), to.display())]
    Lost {
        /// Where it was.
        from: PathBuf,
        /// Where it goes.
        to: PathBuf,
    },
    /// A file is not the one that the journal names.
    #[error("the file for {} has {}, expected {}", to.display(), found.shown(), expected.shown())]
    WrongContent {
        /// Where it goes.
        to: PathBuf,
        /// What it holds.
        found: FileDigest,
        /// What the journal says.
        expected: FileDigest,
    },
    /// A file does not have the hash that is part of its name.
    #[error("{} is not the file that {} names", path.display(), to.display())]
    WrongName {
        /// The file.
        path: PathBuf,
        /// Where it goes.
        to: PathBuf,
    },
    /// A file does not have its listed length.
    #[error("{}: the file has {found} bytes, expected {expected}", path.display())]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: u64,
        /// The listed length in bytes.
        expected: u64,
    },
    /// A file is not the target as which it is listed.
    #[error("{} is not the file listed as `{target}`: {error}", path.display())]
    WrongTarget {
        /// The file.
        path: PathBuf,
        /// The target.
        target: TargetPath,
        /// How it differs.
        error: FileError,
    },
    /// A file changed while it was being published.
    #[error("{} changed while it was being published", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file changed while a copy of it was being kept.
    #[error(
        "{} changed while it was being copied to {}: find out what changes it, and repeat the command",
        from.display(), to.display()
    )]
    ChangedWhileCopied {
        /// The file.
        from: PathBuf,
        /// The copy.
        to: PathBuf,
    },
    /// A file that is published is missing.
    #[error("the published repository in {} is incomplete: {}; restore the file from a backup", folder.display(), chain(.error))]
    Incomplete {
        /// The folder of the metadata.
        folder: PathBuf,
        /// What a client says.
        error: Box<ClientError>,
    },
    /// A client could not be set up, or failed on this machine.
    #[error("{}", chain(.0))]
    Client(Box<ClientError>),
    /// A document would be signed that is not the reviewed one.
    #[error("{role} version {version} was not reviewed")]
    NotReviewed {
        /// The role.
        role: RoleName,
        /// Its version.
        version: Version,
    },
    /// A change needs the lock of the repository.
    #[error("the repository was opened for reading")]
    ReadOnly,
}

fn advice(interrupted: &[Interrupted]) -> String {
    interrupted.iter().map(Interrupted::advice).collect::<Vec<_>>().join("; ")
}
