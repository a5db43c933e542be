//! Errors about invalid input and about changes that cannot be made.

use std::path::PathBuf;

use lastmile_client::text::{printable, printable_path};
use lastmile_metadata::{ErrorKind, NameError, PathPattern, RoleName, TargetPath, Version};

use super::line::LineFault;

/// Invalid input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInput {
    /// The text is not a valid role name or target path.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The text is not a valid name for a key file.
    #[error("`{}` is not a valid name for a key file", name.escape_debug())]
    KeyFileName {
        /// The invalid name.
        name: String,
    },
    /// The threshold is 0.
    #[error("the threshold must be at least 1")]
    Threshold,
    /// The threshold of a role in a new repository is 0.
    #[error("the threshold of {role} must be at least 1")]
    ThresholdOf {
        /// The role.
        role: RoleName,
    },
    /// The threshold or lifetime of a role in a new repository is out of range.
    #[error("the {what} of {} must be from 1 to {most}", role.escape_debug())]
    OutOfRange {
        /// The name of the setting: `threshold` or `expiry`.
        what: &'static str,
        /// The role.
        role: String,
        /// The highest allowed value.
        most: u32,
    },
    /// Signers were given for a delegated role, but a new repository has only top-level roles.
    #[error("`{role}` is not a top-level role, and a new repository has no other roles")]
    NotTopLevel {
        /// The role.
        role: RoleName,
    },
    /// One of the patterns for immutable names does not match any valid target path.
    #[error("the pattern `{}` for immutable names matches no valid target path", printable(pattern))]
    ImmutablePattern {
        /// The pattern.
        pattern: String,
    },
    /// New keys need a pass-phrase, but none was given.
    #[error("no pass-phrase was given for new keys")]
    NoPassPhrase,
    /// A `--custom` argument is not of the form `KEY=TEXT` or `KEY:=JSON`.
    #[error("`{}` is not of the form KEY=TEXT or KEY:=JSON", printable(pair))]
    CustomPair {
        /// The text that does not have this form.
        pair: String,
    },
    /// Two `--custom` arguments have the same key.
    #[error("`{}` is given twice", printable(key))]
    CustomTwice {
        /// The name of the custom member.
        key: String,
    },
    /// The value of a `--custom` argument is not valid in metadata.
    #[error(
        "--custom {}: {error}; fractional numbers cannot be signed; use KEY=TEXT to store the value as text",
        printable(key)
    )]
    Custom {
        /// The name of the custom member.
        key: String,
        /// The reason why the value is not valid.
        error: ErrorKind,
    },
}

/// The reason why a change to roles or targets cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The key is already trusted for the role.
    #[error("the key {key} is already trusted for {role}")]
    KeyTrusted {
        /// The role.
        role: RoleName,
        /// The first digits of the key ID.
        key: String,
    },
    /// The key is not trusted for the role.
    #[error("the key {key} is not trusted for {role}")]
    KeyNotTrusted {
        /// The role.
        role: RoleName,
        /// The first characters of the public key, for messages.
        key: String,
    },
    /// The role would have fewer keys than its threshold.
    #[error(
        "{role} would have fewer keys ({keys}) than its threshold ({threshold}): nobody could sign for {role} again"
    )]
    TooFewKeys {
        /// The role.
        role: RoleName,
        /// The number of keys that the role would have.
        keys: usize,
        /// The number of keys that must sign.
        threshold: u32,
    },
    /// A new role or a new delegation has fewer keys than its threshold.
    #[error("the threshold {threshold} is higher than the number of keys ({keys})")]
    UnreachableThreshold {
        /// The number of keys that must sign.
        threshold: u32,
        /// The number of keys, without duplicates.
        keys: usize,
    },
    /// A role cannot be added, because a delegated role already has this name.
    #[error("{delegator} already delegates to {role}")]
    Delegated {
        /// The role that delegates.
        delegator: RoleName,
        /// The existing role.
        role: RoleName,
    },
    /// A delegation cannot be added to a role, because the role delegates to succinct bins.
    #[error("{role} delegates to succinct bins, so it cannot have other delegations")]
    SuccinctOnly {
        /// The role that delegates.
        role: RoleName,
    },
    /// The delegation to a bin cannot be changed, because the bins of a role must together cover all paths.
    #[error(
        "{role} is a bin, so its paths and its position cannot be changed; `set-threshold` changes the threshold of \
         all bins"
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
    /// The pattern matches no valid target path.
    #[error(
        "the pattern `{pattern}` matches nothing: a target path must not start or end with `/`, and its segments must not be \
         empty, `.` or `..`, or use a character or name that some platform reserves"
    )]
    UselessPattern {
        /// The pattern.
        pattern: PathPattern,
    },
    /// The text is not a hash prefix.
    #[error("`{}` is not 1 to 64 lower-case hexadecimal digits", printable(text))]
    HashPrefix {
        /// The text that is not a hash prefix.
        text: String,
    },
    /// The text is not a valid name for a new role.
    #[error("the role name {0}")]
    RoleName(RoleNameError),
    /// The name is not safe to publish.
    #[error(transparent)]
    UnsafeName(NameError),
    /// A target path would have to be a file and a folder at the same time.
    #[error("{}", file_and_folder(.clashes))]
    FileAndFolder {
        /// Pairs of a target path and another target path below it, such as `a` and `a/b`.
        clashes: Vec<(TargetPath, TargetPath)>,
    },
    /// New targets would hide targets with the same paths in delegated roles.
    #[error("{}", hides(.hidden))]
    HidesDelegated {
        /// The new targets.
        hidden: Vec<Hidden>,
    },
    /// Published targets with immutable names would get different content.
    #[error("{}", replaces(.paths))]
    Immutable {
        /// The paths of these targets.
        paths: Vec<TargetPath>,
    },
    /// The file name of the target, including the hash prefix, is longer than common file systems allow.
    #[error("`{path}`: the file name with the hash prefix is too long")]
    NameTooLong {
        /// The target.
        path: TargetPath,
    },
    /// The role already has the requested bins: their number and their kind (succinct or hash prefixes) would not
    /// change.
    #[error("{role} already has 2^{bit_length} bins of the requested kind")]
    SameBins {
        /// The role.
        role: RoleName,
        /// The base-2 logarithm of the number of bins.
        bit_length: u32,
    },
    /// The role already delegates to succinct bins.
    #[error("{role} already delegates to bins")]
    HasBins {
        /// The role.
        role: RoleName,
    },
    /// The role has delegations that it cannot keep. Succinct bins allow no other delegation. Hash-prefix bins allow no
    /// other delegation with hash prefixes.
    #[error(
        "{role} already has delegations that cannot coexist with these bins: use --role to put the bins below another \
         role or, if no delegation of {role} uses hash prefixes, use --prefixes"
    )]
    HasDelegations {
        /// The role.
        role: RoleName,
    },
    /// A role with the name of a new bin already exists.
    #[error("{delegator} already delegates to {role}: choose other names with --name-prefix")]
    BinNameTaken {
        /// The role that delegates to the existing role.
        delegator: RoleName,
        /// The name of the existing role.
        role: RoleName,
    },
    /// A bin has delegations.
    #[error("the bin {role} has delegations: remove them first")]
    BinDelegates {
        /// The bin.
        role: RoleName,
    },
    /// A change contains a value that is not valid in metadata.
    #[error(transparent)]
    Metadata(ErrorKind),
    /// A target is given twice with different contents.
    #[error("`{path}` is given twice, with different contents")]
    DifferentTargets {
        /// The target.
        path: TargetPath,
    },
    /// Two lines of a list of targets have different entries for the same target.
    #[error("lines {first} and {second} of the list have different entries for `{path}`")]
    DifferentLines {
        /// The number of the first line, counted from 1.
        first: usize,
        /// The number of the second line, counted from 1.
        second: usize,
        /// The target.
        path: TargetPath,
    },
    /// A line of a list of targets is not valid.
    #[error("line {line} of the list {}", printable(&fault.to_string()))]
    Line {
        /// The line number, counted from 1.
        line: usize,
        /// The fault in the line.
        fault: LineFault,
    },
    /// A command names a target twice.
    #[error("`{path}` is named twice")]
    NamedTwice {
        /// The target.
        path: TargetPath,
    },
    /// A list has more than 2^32 targets.
    #[error("the list has more than 2^32 targets")]
    TooManyTargets,
    /// A command adds so many files that its request to the process that publishes would be too long.
    #[error("too many files for one command: add them in several parts")]
    TooManyFiles,
    /// No hash algorithm was given for the targets.
    #[error("no hash algorithm was given for the targets")]
    NoHash,
}

/// A target that would hide the target with the same path in a delegated role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The path of the target.
    pub path: TargetPath,
    /// The role that would list the target.
    pub role: RoleName,
    /// The role to which `role` delegates the path.
    pub delegated: RoleName,
}

fn hides(hidden: &[Hidden]) -> String {
    let mut text = String::from("nothing was published, because these targets would hide targets of delegated roles:");
    for Hidden { path, role, delegated } in hidden.iter().take(MAX_NAMED) {
        text += &format!("\n  `{path}`: {role} delegates this path to {delegated}");
    }
    if let Some(more) = hidden.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        text += &format!("\n  … and {more} more");
    }
    text
}

fn replaces(paths: &[TargetPath]) -> String {
    let mut text = String::from(
        "nothing was published, because these targets are immutable and already published with different content:",
    );
    text.extend(paths.iter().take(MAX_NAMED).map(|path| format!("\n  `{path}`")));
    if let Some(more) = paths.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        text += &format!("\n  … and {more} more");
    }
    text
}

/// The maximum number of targets that an error names.
const MAX_NAMED: usize = 50;

fn file_and_folder(clashes: &[(TargetPath, TargetPath)]) -> String {
    let named = clashes
        .iter()
        .take(MAX_NAMED)
        .map(|(file, below)| format!("\n  `{file}` would be both a file and the folder of `{below}`"));
    let mut text = String::from("nothing was published, because clients could not store these targets in one folder:");
    text.extend(named);
    if let Some(more) = clashes.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        text += &format!("\n  … and {more} more");
    }
    text
}

// Do not use `#[from]`, because thiserror would then return the contained error as the `source()`, and its text would
// be printed twice.
impl From<RoleNameError> for EditError {
    fn from(error: RoleNameError) -> Self {
        Self::RoleName(error)
    }
}

/// The reason why a string is not a valid name for a new role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleNameError {
    /// The text is not a valid name for a delegated role.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name is not a valid file name on every platform.
    #[error("`{role}` must not contain `/` or `%`, start with a dot, or be longer than 200 bytes")]
    NoFileName {
        /// The invalid name.
        role: RoleName,
    },
    /// The name begins with digits and a dot, as in `7.root`. Without consistent snapshots, the file of that role would
    /// have the same name as version 7 of the root.
    #[error("`{role}` looks like a file name that begins with a version number")]
    LooksVersioned {
        /// The invalid name.
        role: RoleName,
    },
}

/// The reason why a pending change cannot be published, or why it prevents another change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PendingError {
    /// A new change would overwrite the pending change.
    #[error(
        "another change is pending and would be lost: run `lastmile-repo publish` or `lastmile-repo discard` first"
    )]
    InTheWay,
    /// A role version in the pending change has since been published.
    #[error(
        "the pending change has {role} version {version}, which has been published since: run `lastmile-repo discard`, then \
         make the change again"
    )]
    Outdated {
        /// The role.
        role: RoleName,
        /// The role's version in the pending change.
        version: Version,
    },
    /// A folder that should contain a pending change from another machine contains none.
    #[error(
        "{} contains no change: give a copy of the folder `staged` from the machine that made the change",
        printable_path(path)
    )]
    NothingReceived {
        /// The folder.
        path: PathBuf,
    },
    /// A role version in a change from another machine has since been published.
    #[error(
        "the change in {} has {role} version {version}, which has been published since: on the machine that made the \
         change, run `lastmile-repo discard` and `lastmile-repo pull --adopt`, then make the change again",
        printable_path(path)
    )]
    ReceivedOutdated {
        /// The folder.
        path: PathBuf,
        /// The role.
        role: RoleName,
        /// The role's version in the change.
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
        /// The path of the target.
        target: TargetPath,
        /// The difference between the file and the entry.
        error: lastmile_metadata::FileError,
    },
}

/// The reason why a version number cannot be issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// The role has no version numbers left.
    #[error("the version numbers of {role} are exhausted")]
    Exhausted {
        /// The role.
        role: RoleName,
    },
    /// A revocation cannot be tested. For the test, the tool forges files that clients must refuse, but one of these
    /// files would need a version number above the maximum.
    #[error("version numbers are exhausted")]
    ExhaustedForProof,
    /// The highest known version of the role is far above the published version.
    #[error(
        "found {role} version {highest}, which is {above} above the published version: your publications cannot have caused \
         that jump. Check the files of {role} in metadata/ and the file {record}, and remove wrong entries. If the server \
         has that version too, the key of {role} was stolen: run `lastmile-repo revoke`"
    )]
    Jump {
        /// The role.
        role: RoleName,
        /// The highest version in the record of issued versions or in the folder `metadata/`.
        highest: Version,
        /// The difference between `highest` and the published version.
        above: u64,
        /// The file name of the record of issued versions, which is in the repository's folder.
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
        /// The fault in the record.
        fault: RecordFault,
    },
}

/// A fault in the record of issued versions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// The record is not a JSON object. Contains the parser's message.
    #[error("{}", printable(.0))]
    Json(String),
    /// The name of an entry in the record is not a valid role name.
    #[error("`{}`: {error}", printable(.name))]
    Role {
        /// The invalid name.
        name: String,
        /// The reason why the name is not valid.
        error: NameError,
    },
    /// An entry is not a version number.
    #[error("the entry for {role} is {}, expected a whole number of at least 1", printable(.found))]
    Version {
        /// The role.
        role: RoleName,
        /// The JSON text of the entry.
        found: String,
    },
}
