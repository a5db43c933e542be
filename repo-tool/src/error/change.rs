//! Errors about changes that cannot be made and about invalid input.

use lastmile_client::text::{printable, printable_path};
use lastmile_metadata::{ErrorKind, NameError, PathPattern, RoleName, TargetPath, Version};
use std::path::PathBuf;

use super::line::LineFault;

/// Invalid input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInput {
    /// A text is not the name of a role or the path of a target.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A text cannot name a key file.
    #[error("`{}` is not a valid name for a key file", name.escape_debug())]
    KeyFileName {
        /// The text.
        name: String,
    },
    /// A threshold of 0.
    #[error("the threshold must be at least 1")]
    Threshold,
    /// A threshold of 0 for one role of a new repository.
    #[error("the threshold of {role} must be at least 1")]
    ThresholdOf {
        /// The role.
        role: RoleName,
    },
    /// A number for one role of a new repository is out of range.
    #[error("the {what} of {} must be from 1 to {most}", role.escape_debug())]
    OutOfRange {
        /// What the number is.
        what: &'static str,
        /// The role.
        role: String,
        /// The highest number.
        most: u32,
    },
    /// A new repository has signers for a role that it does not have.
    #[error("`{role}` is not a top-level role, and a new repository has no other roles")]
    NotTopLevel {
        /// The role.
        role: RoleName,
    },
    /// A pattern of immutable names matches no target path.
    #[error("the pattern `{}` of immutable names matches nothing", printable(pattern))]
    ImmutablePattern {
        /// The pattern.
        pattern: String,
    },
    /// New keys are to be encrypted, and this program has no pass-phrase.
    #[error("no pass-phrase was given for new keys")]
    NoPassPhrase,
    /// A custom member is not of the form `KEY=TEXT` or `KEY:=JSON`.
    #[error("`{}` is not of the form KEY=TEXT or KEY:=JSON", printable(pair))]
    CustomPair {
        /// The text.
        pair: String,
    },
    /// A custom member is given twice.
    #[error("`{}` is given twice", printable(key))]
    CustomTwice {
        /// Its name.
        key: String,
    },
    /// A custom member is not valid in metadata.
    #[error(
        "--custom {}: {error}; fractional numbers cannot be signed; use KEY=TEXT to store the value as text",
        printable(key)
    )]
    Custom {
        /// Its name.
        key: String,
        /// What is wrong with its value.
        error: ErrorKind,
    },
}

/// Why a change of roles or targets cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The role trusts the key already.
    #[error("{role} already trusts the key {key}")]
    KeyTrusted {
        /// The role.
        role: RoleName,
        /// The start of the key's id.
        key: String,
    },
    /// The role does not trust the key.
    #[error("{role} does not trust the key {key}")]
    KeyNotTrusted {
        /// The role.
        role: RoleName,
        /// The start of the key, for messages.
        key: String,
    },
    /// The role would have fewer keys than must sign.
    #[error("{role} would have {keys} keys and a threshold of {threshold}: it could never be signed again")]
    TooFewKeys {
        /// The role.
        role: RoleName,
        /// How many keys it would have.
        keys: usize,
        /// How many must sign.
        threshold: u32,
    },
    /// A new delegation has fewer keys than must sign.
    #[error("a threshold of {threshold} cannot be reached with {keys} keys")]
    UnreachableThreshold {
        /// How many must sign.
        threshold: u32,
        /// How many keys there are.
        keys: usize,
    },
    /// A role already delegates to the new role.
    #[error("{delegator} already delegates to {role}")]
    Delegated {
        /// The role that delegates.
        delegator: RoleName,
        /// The role to which it delegates.
        role: RoleName,
    },
    /// A role with succinct bins cannot have other delegations.
    #[error("{role} delegates to succinct bins, so it cannot have other delegations")]
    SuccinctOnly {
        /// The role that delegates.
        role: RoleName,
    },
    /// The delegation to a bin cannot be changed, because all bins of a role must cover all paths.
    #[error(
        "{role} is a bin, whose paths and position follow from its number; `set-threshold` changes the threshold of all bins"
    )]
    IsBin {
        /// The bin.
        role: RoleName,
    },
    /// The names of two roles differ only in case.
    #[error("`{role}` and `{other}` would be the same file on case-insensitive file systems")]
    SameFileName {
        /// The new role.
        role: RoleName,
        /// The existing role.
        other: RoleName,
    },
    /// A pattern that no target path matches.
    #[error(
        "the pattern `{pattern}` matches nothing: no target path starts or ends with `/`, or has an empty segment, `.`, `..` or \
         a character or name that some platform reserves"
    )]
    UselessPattern {
        /// The pattern.
        pattern: PathPattern,
    },
    /// A text is not a hash prefix.
    #[error("`{}` is not 1 to 64 digits of 0-9 and a-f", printable(text))]
    HashPrefix {
        /// The text.
        text: String,
    },
    /// A text cannot name a new role.
    #[error("the role name {0}")]
    RoleName(RoleNameError),
    /// A name cannot be published safely.
    #[error(transparent)]
    UnsafeName(NameError),
    /// A target path would be both a file and a folder.
    #[error("{}", file_and_folder(.clashes))]
    FileAndFolder {
        /// All of these paths, each with a path below it.
        clashes: Vec<(TargetPath, TargetPath)>,
    },
    /// A role delegates the paths of new targets to other roles, whose targets they would hide.
    #[error("{}", hides(.hidden))]
    HidesDelegated {
        /// All of these targets.
        hidden: Vec<Hidden>,
    },
    /// Published targets with immutable names would get another content.
    #[error("{}", replaces(.paths))]
    Immutable {
        /// All of these targets.
        paths: Vec<TargetPath>,
    },
    /// With the hash prefix, the name of the target is too long for a file system.
    #[error("`{path}`: the file name with the hash prefix is too long")]
    NameTooLong {
        /// The target.
        path: TargetPath,
    },
    /// The role has such bins already.
    #[error("{role} already has 2^{bit_length} such bins")]
    SameBins {
        /// The role.
        role: RoleName,
        /// The number of bins is 2 to this power.
        bit_length: u32,
    },
    /// The role has bins of another kind.
    #[error("{role} already delegates to bins")]
    HasBins {
        /// The role.
        role: RoleName,
    },
    /// The role has delegations that cannot coexist with the bins.
    #[error(
        "{role} already has delegations; a role with succinct bins cannot have others (use --prefixes, or --role to put the \
         bins below another role)"
    )]
    HasDelegations {
        /// The role.
        role: RoleName,
    },
    /// The name of a new bin is taken.
    #[error("{delegator} already delegates to {role}: choose other names with --name-prefix")]
    BinNameTaken {
        /// The role that delegates to it.
        delegator: RoleName,
        /// The name.
        role: RoleName,
    },
    /// A bin has delegations.
    #[error("the bin {role} has delegations: remove them first")]
    BinDelegates {
        /// The bin.
        role: RoleName,
    },
    /// The value is not valid in metadata.
    #[error(transparent)]
    Metadata(ErrorKind),
    /// A target is given twice with different contents.
    #[error("`{path}` is given twice, with different contents")]
    DifferentTargets {
        /// The target.
        path: TargetPath,
    },
    /// Two lines of a list contradict each other.
    #[error("lines {first} and {second} of the list contradict each other on `{path}`")]
    DifferentLines {
        /// The number of one line, from 1.
        first: usize,
        /// The number of the other line.
        second: usize,
        /// The target.
        path: TargetPath,
    },
    /// A line of a list is not valid.
    #[error("line {line} of the list {}", printable(&fault.to_string()))]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        fault: LineFault,
    },
    /// A request names a target twice.
    #[error("`{path}` is named twice")]
    NamedTwice {
        /// The target.
        path: TargetPath,
    },
    /// More targets than can be numbered.
    #[error("the list has more than 2^32 targets")]
    TooManyTargets,
    /// More files than a request can name.
    #[error("too many files for one request: add them in several parts")]
    TooManyFiles,
    /// `repo.toml` chooses no algorithm.
    #[error("no hash algorithm is chosen")]
    NoHash,
}

/// A target that would hide the one of a delegated role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The path of the target.
    pub path: TargetPath,
    /// The role that would list the target.
    pub role: RoleName,
    /// The role to which it delegates the path.
    pub delegated: RoleName,
}

fn hides(hidden: &[Hidden]) -> String {
    let mut text =
        String::from("nothing was published, because these targets would hide those of delegated roles from clients:");
    for Hidden { path, role, delegated } in hidden.iter().take(NAMED) {
        text += &format!("\n  `{path}`: {role} delegates this path to {delegated}");
    }
    if let Some(more) = hidden.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text += &format!("\n  … and {more} more");
    }
    text
}

fn replaces(paths: &[TargetPath]) -> String {
    let mut text =
        String::from("nothing was published, because these names are immutable and published with other bytes:");
    text.extend(paths.iter().take(NAMED).map(|path| format!("\n  `{path}`")));
    if let Some(more) = paths.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text += &format!("\n  … and {more} more");
    }
    text
}

/// The maximum number of targets that an error names.
const NAMED: usize = 50;

fn file_and_folder(clashes: &[(TargetPath, TargetPath)]) -> String {
    let named = clashes
        .iter()
        .take(NAMED)
        .map(|(file, below)| format!("\n  `{file}` would be a file, and also the folder of `{below}`"));
    let mut text = String::from("nothing was published, because clients could not store these targets in one folder:");
    text.extend(named);
    if let Some(more) = clashes.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text += &format!("\n  … and {more} more");
    }
    text
}

// Not `#[from]`, which makes the inner error the source as well.
impl From<RoleNameError> for EditError {
    fn from(error: RoleNameError) -> Self {
        Self::RoleName(error)
    }
}

/// Why a text cannot name a new role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleNameError {
    /// It is not a valid name of a delegated role or of a file.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It is not a file name on every platform.
    #[error("`{role}` must have no `/` or `%`, not start with a dot, and be 200 bytes at most")]
    NoFileName {
        /// The name.
        role: RoleName,
    },
    /// Its file could be confused with a version of another role's file.
    #[error("`{role}` looks like a file name with a version in front")]
    LooksVersioned {
        /// The name.
        role: RoleName,
    },
}

/// Why the pending change cannot be used, or prevents another change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PendingError {
    /// A new change would overwrite the pending one.
    #[error(
        "another change is pending and would be lost: run `lastmile-repo publish` or `lastmile-repo discard` first"
    )]
    InTheWay,
    /// The version of a role was published meanwhile.
    #[error(
        "the pending change has {role} version {version}, which has been published since: run `lastmile-repo discard`, then \
         make the change again"
    )]
    Outdated {
        /// The role.
        role: RoleName,
        /// Its version in the pending change.
        version: Version,
    },
    /// A target file differs from its entry in the pending change.
    #[error(
        "{} is not the file that the pending change lists as `{target}`: {error}; restore the file, or run \
         `lastmile-repo discard`",
        printable_path(path)
    )]
    WrongFile {
        /// The file.
        path: PathBuf,
        /// The target that it should be.
        target: TargetPath,
        /// How it differs.
        error: lastmile_metadata::FileError,
    },
}

/// Why a version number cannot be issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// No number is left for the role.
    #[error("the version numbers of {role} are exhausted")]
    Exhausted {
        /// The role.
        role: RoleName,
    },
    /// The version numbers are exhausted for a forged file in a proof.
    #[error("version numbers are exhausted")]
    ExhaustedForProof,
    /// The highest version that was found is far above the published one.
    #[error(
        "found {role} version {highest}, which is {above} above the published version: your publications cannot have caused \
         that jump. Check the files of {role} in metadata/ and the file {record}, and remove foreign entries. If the server \
         has that version too, the key of {role} was stolen: run `lastmile-repo revoke`"
    )]
    Jump {
        /// The role.
        role: RoleName,
        /// The highest version that was found.
        highest: Version,
        /// How far it is above the published one.
        above: u64,
        /// The record of issued versions, in the repository's folder.
        record: &'static str,
    },
    /// The record of issued versions cannot be read.
    #[error(
        "{} is not a valid record of issued versions: {fault}; restore it from a backup, or remove it if you know that no \
         version above the published ones was issued",
        printable_path(path)
    )]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        fault: RecordFault,
    },
}

/// What is wrong with a record of issued versions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// It is not a JSON object. Contains the message of the parser.
    #[error("{}", printable(.0))]
    Json(String),
    /// It has an entry for a name that no role can have.
    #[error("`{}`: {error}", printable(.name))]
    Role {
        /// The name.
        name: String,
        /// Why no role can have it.
        error: NameError,
    },
    /// An entry is not a version.
    #[error("the entry of {role} is {}, expected a whole number from 1 on", printable(.found))]
    Version {
        /// The role.
        role: RoleName,
        /// The JSON text of the entry.
        found: String,
    },
}
