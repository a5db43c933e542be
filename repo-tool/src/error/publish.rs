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
    #[error("{role} would be version {found} for a client instead of {expected}")]
    OtherVersion {
        /// The role.
        role: RoleName,
        /// The version that a client would have.
        found: Version,
        /// The version that was to be published.
        expected: Version,
    },
    /// A search would not lead to the target.
    #[error("`{path}` in {role} would not be found: {reason}")]
    TargetNotFound {
        /// The target.
        path: TargetPath,
        /// A role that lists it.
        role: RoleName,
        /// Why not.
        reason: NotFoundReason,
    },
    /// The signatures of a role do not reach its threshold.
    #[error("{role} is not signed as it must be")]
    NotSigned {
        /// The role.
        role: RoleName,
    },
    /// There is no root, neither published nor in the change.
    #[error("there is no root")]
    NoRoot,
    /// The metadata has faults of form for which other clients refuse it.
    #[error(
        "{role} version {version}{}:{}\nrepair the change, or drop it with `lastmile-repo discard`",
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
        "the file of {role} version {version} is not what other clients read:{}\nsign it again, or drop it with \
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
    #[error("another role with a higher priority lists a target of that name")]
    Shadowed,
    /// The patterns on the way exclude it.
    #[error("no delegation on the way to that role covers this path")]
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
        "the publication that was cut short cannot be finished: {reason}; if you did not begin it, or want to give it up, \
         remove {} and run `lastmile-repo verify`",
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
    #[error("{} is a folder, where a file is to be published", path.display())]
    FolderInTheWay {
        /// The folder.
        path: PathBuf,
    },
    /// A link, a FIFO or the like lies where a file is to be published.
    #[error("{} is no regular file, where a file is to be published", path.display())]
    SpecialInTheWay {
        /// What lies there.
        path: PathBuf,
    },
    /// Another file is published under that name.
    #[error("{} is there with other bytes; what is published under that name never changes", path.display())]
    OtherBytes {
        /// The published file.
        path: PathBuf,
    },
    /// A file that is to be moved is neither where it was nor where it goes.
    #[error("neither {} nor {} is there", from.display(), to.display())]
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
    #[error("{} is not the file that is listed as `{target}`: {error}", path.display())]
    WrongTarget {
        /// The file.
        path: PathBuf,
        /// The target.
        target: TargetPath,
        /// How it differs.
        error: FileError,
    },
    /// A file changed while it was being published.
    #[error("{} was changed while it was being published", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file changed while a copy of it was being kept.
    #[error(
        "{} was changed while it was copied to {}: see who changes it, and repeat the command",
        from.display(), to.display()
    )]
    ChangedWhileCopied {
        /// The file.
        from: PathBuf,
        /// The copy.
        to: PathBuf,
    },
    /// A file that is published is missing.
    #[error("what is published in {} is not whole: {}; restore the file from a copy", folder.display(), chain(.error))]
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
