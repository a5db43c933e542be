//! Errors about publications: refusals by clients, conflicting files, and interruptions.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use lastmile_attest::Refused;
use lastmile_client::text::{printable, printable_path};
use lastmile_client::{Error as ClientError, Refusal};
use lastmile_metadata::{FileError, RoleName, TargetPath, Version, format_time};

use super::policy::PolicyError;
use super::text::{chain, lines};
use crate::check::damage::DamagedFile;
use crate::check::finding::Finding;
use crate::files::digest::FileDigest;
use crate::files::interrupted::Interrupted;

/// The maximum number of packages that an error names.
const MAX_NAMED: usize = 50;

/// The reason why clients would refuse an unpublished change (a [`Draft`](crate::Draft)).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// A simulated client failed.
    #[error("{}", chain(.0))]
    Client(Box<ClientError>),
    /// A simulated client refused a file or a name.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The version of a role that a client would get is not the version in the draft.
    #[error("a client would get {role} version {found}, expected {expected}")]
    OtherVersion {
        /// The role.
        role: RoleName,
        /// The version that a client would get.
        found: Version,
        /// The version in the draft.
        expected: Version,
    },
    /// A client that searches for the target would not find it.
    #[error("clients would never find `{path}` in {role}: {reason}")]
    TargetNotFound {
        /// The target.
        path: TargetPath,
        /// One of the roles that list the target.
        role: RoleName,
        /// The reason why clients do not find the target.
        reason: NotFoundReason,
    },
    /// The draft contains a policy or a trust root that cannot be used.
    #[error(transparent)]
    Policy(PolicyError),
    /// Clients would refuse packages that the draft adds or changes, because the evidence does not satisfy a policy.
    #[error("clients would refuse {}:{}", counted(.packages.len()), refusals(.packages))]
    RefusedPackages {
        /// The packages, each with the first rule that refuses it.
        packages: Vec<Refused>,
    },
    /// The draft would make clients refuse packages that are already published, for example because a policy becomes
    /// stricter.
    #[error("clients would refuse {} that can be installed now:{}", counted(.packages.len()), refusals(.packages))]
    FailingPackages {
        /// The packages, each with the first rule that refuses it.
        packages: Vec<Refused>,
    },
    /// A role has fewer valid signatures than its threshold requires.
    #[error("{role} does not have enough valid signatures")]
    NotSigned {
        /// The role.
        role: RoleName,
    },
    /// Neither the published state nor the draft has a root.
    #[error("there is no root")]
    NoRoot,
    /// The new metadata of a role has format faults, so other clients would refuse it.
    #[error(
        "other clients would refuse {role} version {version}{}:{}\nfix the change, or discard it with `lastmile-repo discard`",
        every_later_root(role), lines(.faults)
    )]
    Faults {
        /// The role.
        role: RoleName,
        /// The version of the role.
        version: Version,
        /// The faults, most of them with the names of the clients that refuse the metadata.
        faults: Vec<Finding>,
    },
    /// The signatures or other unsigned parts of a role's new file have faults, so other clients would refuse the file.
    #[error(
        "other clients cannot read the file of {role} version {version}:{}\nsign it again, or discard it with \
        `lastmile-repo discard`",
        lines(.faults)
    )]
    FileFaults {
        /// The role.
        role: RoleName,
        /// The version of the role.
        version: Version,
        /// The faults, most of them with the names of the clients that refuse the file.
        faults: Vec<Finding>,
    },
}

impl DraftError {
    /// Returns the simulated client's error about metadata. Returns `None` if the draft is refused for another reason.
    #[must_use]
    pub fn verdict(&self) -> Option<&lastmile_metadata::Error> {
        match self {
            Self::Client(error) => error.verdict(),
            _ => None,
        }
    }
}

/// The reason why clients do not find a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotFoundReason {
    /// A role with a higher priority lists a target with the same path.
    #[error("it is hidden by {by}, which has a higher priority and lists a target with that path")]
    Shadowed {
        /// The role with the higher priority.
        by: RoleName,
    },
    /// A terminating delegation with a higher priority covers the path, so clients search no further.
    #[error("it is hidden by {by}, which is terminating and covers that path: clients search no further")]
    Terminated {
        /// The terminating role.
        by: RoleName,
    },
    /// The delegations that lead to the role do not cover the path.
    #[error("the delegations that lead to that role do not cover this path")]
    NotCovered,
}

fn counted(packages: usize) -> String {
    if packages == 1 { "1 package".to_string() } else { format!("{packages} packages") }
}

/// Returns one line for each of the first [`MAX_NAMED`] packages, with the rule that refuses it. Text that comes from
/// evidence is escaped.
fn refusals(packages: &[Refused]) -> String {
    let named = packages.iter().take(MAX_NAMED).map(|refused| format!("\n  {}", printable(&refused.to_string())));
    let mut text: String = named.collect();
    if let Some(more) = packages.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        text += &format!("\n  … and {more} more");
    }
    text
}

/// Clients read all roots in order, so a client that refuses one root never reaches the later ones.
fn every_later_root(role: &RoleName) -> &'static str {
    if *role == RoleName::ROOT { " and every later root" } else { "" }
}

/// A fault in the journal of a publication. The journal lists the files that the publication moves to their final
/// names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalFault {
    /// The file is not a valid journal in JSON.
    #[error("{0}")]
    Json(serde_json::Error),
    /// According to the journal, a file must be moved from one path to another, but no publication moves a file of this
    /// kind between these paths.
    #[error(
        "the journal moves {} to {} as {kind}, which no publication does",
        printable_path(from),
        printable_path(to)
    )]
    UnknownMove {
        /// The source, relative to the repository's folder.
        from: PathBuf,
        /// The destination, relative to the repository's folder.
        to: PathBuf,
        /// The kind of file according to the journal.
        kind: String,
    },
    /// According to the journal, two files must be moved to the same path.
    #[error("two files would be moved to the same path, {}", printable_path(to))]
    TwoFiles {
        /// The destination, relative to the repository's folder.
        to: PathBuf,
    },
    /// The journal lists the requests of other processes whose changes are part of this publication. One of the listed
    /// names is not a valid name for a request.
    #[error("`{}` is not the name of a request", name.escape_debug())]
    RequestName {
        /// The invalid name of the request.
        name: String,
    },
    /// A file to be moved is not the file that the journal lists.
    #[error("{0}")]
    File(Box<crate::Error>),
}

/// The reason why a publication failed, or why an interrupted publication could not be finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublicationError {
    /// A publication by this user or another user was interrupted and must be finished first.
    #[error("{}", .0.advice())]
    Interrupted(Interrupted),
    /// The published state cannot be read, probably because publications were interrupted.
    #[error("{} ({error})", advice(.interrupted))]
    Unreadable {
        /// The interrupted publications.
        interrupted: Vec<Interrupted>,
        /// The reason why the published state cannot be read.
        error: Box<crate::Error>,
    },
    /// An interrupted publication cannot be finished.
    #[error(
        "the interrupted publication cannot be finished: {fault}; if you did not start it, or want to abandon it, remove {} \
         and run `lastmile-repo verify`",
        printable_path(journal)
    )]
    Unfinishable {
        /// The journal of the publication.
        journal: PathBuf,
        /// The fault in the journal.
        fault: JournalFault,
    },
    /// The publication has more files than a journal can list.
    #[error("too many files for one publication: publish them in several parts")]
    TooManyFiles,
    /// A file cannot be published, because a folder with the same name exists.
    #[error("cannot publish {}: it is a folder", printable_path(path))]
    FolderInTheWay {
        /// The folder.
        path: PathBuf,
    },
    /// A file cannot be published, because a link, FIFO or device with the same name exists.
    #[error("cannot publish {}: it is not a regular file", printable_path(path))]
    SpecialInTheWay {
        /// The path of the link, FIFO or device.
        path: PathBuf,
    },
    /// A file with the same name but different content is already published.
    #[error(
        "{} already exists with different content, but a published file with that name must not change",
        printable_path(path)
    )]
    OtherBytes {
        /// The published file.
        path: PathBuf,
    },
    /// A file to be moved exists neither at its source nor at its destination.
    #[error("neither {} nor {} exists", printable_path(from), printable_path(to))]
    Lost {
        /// The source path of the file.
        from: PathBuf,
        /// The destination path of the file.
        to: PathBuf,
    },
    /// A file does not have the length and digest that the journal lists.
    #[error("the file to be published as {} has {}, expected {}", printable_path(to), found.shown(), expected.shown())]
    WrongContent {
        /// The destination path of the file.
        to: PathBuf,
        /// The length and digest of the file.
        found: FileDigest,
        /// The length and digest according to the journal.
        expected: FileDigest,
    },
    /// The hash of a file differs from the hash in the name under which the file would be published.
    #[error("{}: its hash differs from the hash in the name {}", printable_path(path), printable_path(to))]
    WrongName {
        /// The file.
        path: PathBuf,
        /// The destination path of the file.
        to: PathBuf,
    },
    /// A file does not have the expected length.
    #[error("{}: the file has {found} bytes, expected {expected}", printable_path(path))]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// The file's length in bytes.
        found: u64,
        /// The expected length in bytes.
        expected: u64,
    },
    /// A file does not match its target entry.
    #[error("{} is not the file listed as `{target}`: {error}", printable_path(path))]
    WrongTarget {
        /// The file.
        path: PathBuf,
        /// The target.
        target: TargetPath,
        /// The difference between the file and the target entry.
        error: FileError,
    },
    /// A file changed while it was being published.
    #[error("{} changed while it was being published", printable_path(path))]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file changed while it was being copied.
    #[error(
        "{} changed while it was being copied to {}: find out what changes it, and repeat the command",
        printable_path(from),
        printable_path(to)
    )]
    ChangedWhileCopied {
        /// The file.
        from: PathBuf,
        /// The copy.
        to: PathBuf,
    },
    /// Published files are missing or were changed after they were written.
    #[error(
        "the files in {} are inconsistent: the repository is being copied or updated, or was damaged:{}\n\
         clients fail with: {error}",
        printable_path(folder), lines(.files)
    )]
    Damaged {
        /// The metadata folder.
        folder: PathBuf,
        /// The files that are missing or were changed.
        files: Vec<DamagedFile>,
        /// The reason why clients refuse the repository.
        error: Box<crate::Error>,
    },
    /// A simulated client could not be created, or failed because of a local error.
    #[error("{}", chain(.0))]
    Client(Box<ClientError>),
    /// The user has not reviewed the new metadata of a role, so the tool did not sign it.
    #[error("{role} version {version} was not reviewed")]
    NotReviewed {
        /// The role.
        role: RoleName,
        /// The version of the role.
        version: Version,
    },
    /// This machine's clock is far behind the time at which the published metadata was signed.
    #[error(
        "this machine's clock reads {}, but the published metadata was signed after {}: metadata signed now would expire \
         too early\ncorrect the clock; if it is right, repeat the command with `--skip-clock-check`",
        format_time(.now), format_time(.signed)
    )]
    ClockBehind {
        /// The time according to the clock.
        now: DateTime<Utc>,
        /// The time at which the published timestamp or snapshot was signed, whichever is earlier. It is computed from
        /// the expiry date and the configured lifetime.
        signed: DateTime<Utc>,
    },
    /// The program tried to change a repository that it had opened only for reading, and therefore without the lock.
    #[error("cannot change the repository, because it was opened only for reading")]
    ReadOnly,
}

fn advice(interrupted: &[Interrupted]) -> String {
    interrupted.iter().map(Interrupted::advice).collect::<Vec<_>>().join("; ")
}
