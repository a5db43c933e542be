//! The journal of a publication: the source, destination, length and hash of each file. Other users may be able to
//! change the journal, so only moves that a publication could make are accepted, and each file is checked before it is
//! moved.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use lastmile_fs::disk;
use lastmile_metadata::Algorithm;
use serde::{Deserialize, Serialize};

use crate::edit::intake;
use crate::files::digest::FileDigest;
use crate::files::folder::{EntryInfo, Folder};
use crate::files::layout::{JOURNAL, Layout, STAGED};
use crate::files::sharing::Sharing;
use crate::publish::compress::Coding;
use crate::publish::observer::{Observer, PublishEvent, Unobserved};
use crate::publish::queue::{self, Answer};
use crate::publish::versions::RECORD;
use crate::publish::{staged, superseded};
use crate::{Error, JournalFault, PublicationError, names, parallel};

/// The maximum length of a journal, in bytes. This is enough for about a million files.
const MAX_LENGTH: u64 = 256 << 20;
/// For at least this many files or folders, a single `syncfs` is faster than an `fsync` for each of them.
pub(crate) const SYNC_TOGETHER: usize = 64;

/// The kind of a published file. The variants are in the order of publication. Only a root may also be published later
/// (`publish/publication.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum FileKind {
    /// A private or public key file of a new repository.
    Key,
    Root,
    TargetFile,
    Delegated,
    Targets,
    Snapshot,
    Timestamp,
    /// The configuration file or the record of issued versions.
    // Journals of earlier versions of this tool contain `Policy` for this variant.
    #[serde(rename = "Policy")]
    Config,
}

/// Whether a file that already exists at the destination may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Existing {
    /// The existing file must have the same content, because its name identifies the content.
    Same,
    Replaced,
    /// The existing file is replaced with a file from the server (`served/adoption.rs`), but only if `superseded/`
    /// contains a copy of the existing file.
    SetAside,
}

/// The move of one file to its destination. Paths are relative to the repository.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) rank: FileKind,
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    pub(crate) existing: Existing,
    /// Whether the file is a compressed copy of a metadata file. Copies are moved after the uncompressed file.
    #[serde(default)]
    pub(crate) is_copy: bool,
    /// The length and hash of the file. `None` until
    /// [`Transaction::prepare`](crate::publish::transaction::Transaction::prepare) computes them, and in journals that
    /// version 0.1.0 of this tool wrote.
    #[serde(default)]
    pub(crate) content: Option<FileDigest>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Journal {
    pub(crate) steps: Vec<Step>,
    /// Whether this publication publishes the pending change, and must then remove it from `staged/`.
    pub(crate) clears_staged: bool,
    /// The names of the requests in `.queue/` that this publication publishes.
    #[serde(default)]
    pub(crate) served: Vec<String>,
    #[serde(default)]
    pub(crate) answer: Option<Answer>,
}

/// The open folders that are used during a publication.
pub(crate) struct Folders<'a> {
    pub(crate) layout: &'a Layout,
    /// The repository's folder.
    pub(crate) dir: Folder,
    /// The working folder, which contains the journal and the new files and belongs to this user.
    pub(crate) working: Folder,
}

impl Folders<'_> {
    /// Opens a folder of the repository, or creates it if it does not exist.
    pub(crate) fn make(&self, relative: &Path) -> Result<Folder, Error> {
        if relative == Path::new("keys") {
            self.dir.enter_or_make(relative, 0o700, Sharing::Private)
        } else {
            self.dir.descend(relative, 0o777, self.layout.sharing())
        }
    }
}

impl Step {
    /// Returns whether clients may fetch the metadata file as soon as it is moved. This is the case for a root, which
    /// clients request without knowing whether it exists, and for a file that may replace a file with the same name.
    /// Clients fetch other metadata files only once these are listed.
    fn shows_at_once(&self) -> bool {
        match self.rank {
            // A compressed copy shows clients nothing new, because the uncompressed file was moved earlier.
            _ if self.is_copy => false,
            FileKind::Root => true,
            FileKind::Key | FileKind::TargetFile | FileKind::Config => false,
            _ => self.existing != Existing::Same,
        }
    }

    /// Returns whether compressed copies of the file may exist.
    fn has_copies(&self) -> bool {
        !self.is_copy && !matches!(self.rank, FileKind::Key | FileKind::TargetFile | FileKind::Config)
    }

    /// Returns whether this tool could have written this step. `working` is the name of the folder with the journal.
    fn is_known(&self, working: &str) -> bool {
        let (Some(from), Some(to)) = (parts(&self.from), parts(&self.to)) else { return false };
        let comes_from_here = match from.as_slice() {
            [folder, name] if *folder == working => self.is_source(name),
            // Version 0.1.0 moved the target files of the pending change directly from `staged/`.
            ["staged", "targets", path @ ..] => self.rank == FileKind::TargetFile && !path.is_empty(),
            _ => false,
        };
        comes_from_here && self.is_destination(&from, &to)
    }

    /// Returns whether a new file of this kind in the working folder can have the name `name`.
    fn is_source(&self, name: &str) -> bool {
        match self.rank {
            FileKind::Key => is_key_file(name),
            FileKind::TargetFile => is_target_source(name),
            _ => name.strip_prefix("new-").is_some_and(is_number),
        }
    }

    fn is_destination(&self, from: &[&str], to: &[&str]) -> bool {
        match (self.rank, to) {
            (FileKind::Key, ["keys", name]) => !self.is_copy && from.last() == Some(name),
            (FileKind::TargetFile, ["targets", path @ ..]) => !self.is_copy && !path.is_empty(),
            (FileKind::Config, ["repo.toml" | RECORD]) => !self.is_copy,
            (FileKind::Key | FileKind::TargetFile | FileKind::Config, _) => false,
            (rank, ["metadata", name]) => {
                let copied =
                    Coding::ALL.into_iter().find_map(|coding| name.strip_suffix(&format!(".{}", coding.ending())));
                let plain = if self.is_copy { copied } else { Some(*name) };
                plain.and_then(|name| name.strip_suffix(".json")).is_some_and(|name| is_role_file(rank, name))
            }
            _ => false,
        }
    }

    /// Returns whether an existing file at the destination must keep its content. This is always the case for key
    /// files, and for files whose names identify their content.
    fn keeps_existing(&self) -> bool {
        let name = self.name();
        let by_name = match self.rank {
            FileKind::Key => true,
            FileKind::TargetFile => promised_hash(name).is_some(),
            FileKind::Config | FileKind::Timestamp => false,
            _ => !self.is_copy && names::has_version(name),
        };
        by_name || self.existing != Existing::Replaced
    }

    /// Returns whether an existing file may be replaced, provided that `superseded/` contains a copy of it. A root is
    /// never replaced, because clients that have already accepted it use its keys to verify the next root.
    fn may_replace_set_aside(&self) -> bool {
        let is_adopted = matches!(self.rank, FileKind::Delegated | FileKind::Targets | FileKind::Snapshot);
        self.existing == Existing::SetAside && is_adopted && !self.is_copy
    }

    fn source_name(&self) -> &str {
        self.from.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Returns whether the source file is in `staged/`, as in journals of version 0.1.0.
    fn is_from_staged(&self) -> bool {
        self.from.starts_with(STAGED)
    }

    fn staged_folder(&self, folders: &Folders<'_>) -> Result<Option<Folder>, Error> {
        folders.dir.find(self.from.parent().unwrap_or(Path::new("")))
    }

    /// Returns the name of the file in the destination folder.
    pub(crate) fn name(&self) -> &str {
        self.to.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Returns the path of the destination folder.
    pub(crate) fn parent(&self) -> &Path {
        self.to.parent().unwrap_or(Path::new(""))
    }

    /// Refuses a destination that is not a regular file, or that must keep its content but does not contain `content`.
    pub(crate) fn check_destination(&self, layout: &Layout, to: &Folder, content: &FileDigest) -> Result<(), Error> {
        let name = self.name();
        let path = to.path_of(name);
        match to.look(name)? {
            None => return Ok(()),
            Some(found) if !found.is_file() => {
                let in_the_way = if found.is_folder() {
                    PublicationError::FolderInTheWay { path }
                } else {
                    PublicationError::SpecialInTheWay { path }
                };
                return Err(in_the_way.into());
            }
            Some(_) if !self.keeps_existing() => return Ok(()),
            Some(_) => {}
        }
        match to.digest(name, |_| {})? {
            Some(there) if there == *content => Ok(()),
            Some(there) if self.may_replace_set_aside() && superseded::has(layout, name, &there)? => Ok(()),
            Some(_) => Err(PublicationError::OtherBytes { path }.into()),
            None => Ok(()),
        }
    }

    /// Checks the content of the file, at its source or destination, before an interrupted publication is finished.
    fn check_content(&self, folders: &Folders<'_>) -> Result<(), Error> {
        // Do not create the destination folder here, because nothing may change until all steps are checked.
        let destination = folders.dir.find(self.parent())?;
        let source = if self.is_from_staged() {
            self.staged_folder(folders)?.map_or(Ok(None), |folder| self.read(&folder, self.source_name()))?
        } else {
            self.read(&folders.working, self.source_name())?
        };
        let found = match &source {
            Some(found) => {
                if let Some(destination) = &destination {
                    self.check_destination(folders.layout, destination, found)?;
                }
                found.clone()
            }
            None => destination
                .map_or(Ok(None), |destination| self.read(&destination, self.name()))?
                .ok_or_else(|| PublicationError::Lost { from: self.from.clone(), to: self.to.clone() })?,
        };
        match &self.content {
            Some(expected) if *expected != found => {
                let to = self.to.clone();
                let expected = expected.clone();
                Err(PublicationError::WrongContent { to, found, expected }.into())
            }
            _ => Ok(()),
        }
    }

    /// Computes the digest of a file. If the journal contains no digest of a target file, also checks the hash in the
    /// file's name.
    fn read(&self, folder: &Folder, name: &str) -> Result<Option<FileDigest>, Error> {
        let needs_promise = self.rank == FileKind::TargetFile && self.content.is_none();
        let promised = if needs_promise { promised_hash(self.name()) } else { None };
        let mut digests = promised.and_then(|(algorithm, _)| intake::Digests::new(algorithm));
        let found = folder.digest(name, |bytes| digests.iter_mut().for_each(|digest| digest.update(bytes)))?;
        if let (Some((_, expected)), Some(digest), Some(_)) = (promised, digests, &found)
            && hex::encode(digest.finish().1) != expected.to_ascii_lowercase()
        {
            return Err(PublicationError::WrongName { path: folder.path_of(name), to: self.to.clone() }.into());
        }
        Ok(found)
    }
}

impl Journal {
    pub(crate) fn bytes(&self, folders: &Folders<'_>) -> Result<Vec<u8>, Error> {
        let path = folders.working.path();
        let bytes = serde_json::to_vec(self).map_err(|error| Error::file("write", path, error.into()))?;
        match bytes.len() as u64 {
            0..=MAX_LENGTH => Ok(bytes),
            _ => Err(PublicationError::TooManyFiles.into()),
        }
    }

    /// Finishes the publication whose journal is in the working folder, after checking every name and file.
    pub(crate) fn finish(folders: &Folders<'_>) -> Result<(), Error> {
        let path = folders.working.path_of(JOURNAL);
        let Some(bytes) = folders.working.read(JOURNAL, MAX_LENGTH)? else { return Ok(()) };
        let unusable = |fault| Error::from(PublicationError::Unfinishable { journal: path.clone(), fault });
        let journal: Self = serde_json::from_slice(&bytes).map_err(|error| unusable(JournalFault::Json(error)))?;
        journal.check_names(folders).map_err(unusable)?;
        let checked = parallel::try_for_each(&journal.steps, |step| step.check_content(folders));
        checked.map_err(|error| match error {
            // These errors mean that a file does not have the expected content, so the journal cannot be used.
            Error::Path(_) | Error::Publication(_) => unusable(JournalFault::File(error.into())),
            error => error,
        })?;
        journal.apply(folders, &mut Unobserved)
    }

    fn check_names(&self, folders: &Folders<'_>) -> Result<(), JournalFault> {
        let working = names::of_file(folders.working.path()).map_err(|error| JournalFault::File(error.into()))?;
        let mut destinations = BTreeSet::new();
        for step in &self.steps {
            if !step.is_known(working) {
                let kind = format!("{:?}", step.rank);
                return Err(JournalFault::UnknownMove { from: step.from.clone(), to: step.to.clone(), kind });
            }
            if !destinations.insert(&step.to) {
                return Err(JournalFault::TwoFiles { to: step.to.clone() });
            }
        }
        match self.served.iter().find(|name| !queue::is_request_name(name)) {
            Some(name) => Err(JournalFault::RequestName { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Moves the files in order. Files that were moved before a crash are skipped.
    pub(crate) fn apply(&self, folders: &Folders<'_>, observer: &mut dyn Observer) -> Result<(), Error> {
        let layout = folders.layout;
        let failed = |error| Error::file("publish", layout.dir(), error);
        let mut moved_to = BTreeSet::new();
        let mut last: Option<(&Path, Folder)> = None;
        for group in self.steps.chunk_by(|one, next| one.rank == next.rank) {
            if group.iter().any(Step::shows_at_once) {
                // Clients can fetch files of this kind as soon as they are moved. Such a file may refer to files that
                // were moved earlier, so those must be durable first.
                sync_folders(folders, std::mem::take(&mut moved_to))?;
            }
            for step in group {
                observer.before(PublishEvent::Move(&step.to)).map_err(failed)?;
                let parent = step.parent();
                let destination = match last.take().filter(|(folder, _)| *folder == parent) {
                    Some((_, destination)) => destination,
                    None => folders.make(parent)?,
                };
                step.apply(folders, &destination)?;
                last = Some((parent, destination));
                moved_to.insert(parent);
            }
        }
        sync_folders(folders, moved_to)?;
        observer.before(PublishEvent::Finish).map_err(failed)?;
        if self.clears_staged {
            staged::clear(layout)?;
        }
        for request in &self.served {
            self.answer.iter().try_for_each(|answer| queue::answer(layout, request, answer))?;
        }
        let removed = disk::remove(folders.working.place(JOURNAL));
        removed.map_err(|error| Error::file("remove", &folders.working.path_of(JOURNAL), error))?;
        folders.working.clear()
    }
}

impl Step {
    fn apply(&self, folders: &Folders<'_>, destination: &Folder) -> Result<(), Error> {
        if self.is_from_staged() {
            match self.staged_folder(folders)? {
                Some(source) => self.apply_from(folders.layout, &source, destination),
                None => self.check_moved(destination),
            }
        } else {
            self.apply_from(folders.layout, &folders.working, destination)
        }
    }

    fn apply_from(&self, layout: &Layout, source: &Folder, destination: &Folder) -> Result<(), Error> {
        let from = self.source_name();
        let to = self.name();
        if !source.look(from)?.as_ref().is_some_and(EntryInfo::is_file) {
            return self.check_moved(destination);
        }
        if self.existing == Existing::SetAside
            && let Some(content) = source.digest(from, |_| {})?
        {
            // Repeat the check just before the move: `superseded/` must contain a copy of the file that is replaced.
            self.check_destination(layout, destination, &content)?;
        }
        // The new file has not been moved yet, because otherwise this function would have returned above. Therefore,
        // the compressed copies at the destination belong to the old file.
        if self.has_copies() {
            remove_copies(destination, Path::new(to))?;
        }
        let renamed = disk::replace(source.place(from), destination.place(to));
        renamed.map_err(|error| Error::file("publish", &destination.path_of(to), error))
    }

    /// Checks that a file that is missing at its source was moved to its destination before a crash.
    fn check_moved(&self, destination: &Folder) -> Result<(), Error> {
        if destination.look(self.name())?.as_ref().is_some_and(EntryInfo::is_file) {
            Ok(())
        } else {
            Err(Error::file("publish", &destination.path_of(self.name()), io::ErrorKind::NotFound.into()))
        }
    }
}

fn remove_copies(folder: &Folder, plain: &Path) -> Result<(), Error> {
    for copy in Coding::ALL.map(|coding| coding.beside(plain)) {
        match disk::remove(folder.place(&copy)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::file("remove", &folder.path_of(&copy), error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn sync_folders(folders: &Folders<'_>, names: BTreeSet<&Path>) -> Result<(), Error> {
    if names.len() >= SYNC_TOGETHER && folders.dir.sync_file_system()? {
        return Ok(());
    }
    let names: Vec<&Path> = names.into_iter().collect();
    parallel::try_for_each(&names, |name| folders.dir.find(name)?.map_or(Ok(()), |folder| folder.sync()))
}

/// Returns the components of a path, or `None` if one of them is not a normal component.
fn parts(path: &Path) -> Option<Vec<&str>> {
    let part = |part| match part {
        Component::Normal(name) => name.to_str().filter(|name| !name.contains('\0')),
        _ => None,
    };
    path.components().map(part).collect()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether this is the name of a key file in a new repository: `ROLE-N.pem` or `ROLE-N.pub`.
fn is_key_file(name: &str) -> bool {
    let stem = name.strip_suffix(".pem").or_else(|| name.strip_suffix(".pub"));
    stem.and_then(|stem| stem.split_once('-'))
        .is_some_and(|(role, number)| ["root", "targets", "snapshot", "timestamp"].contains(&role) && is_number(number))
}

/// Returns whether a new target file in the working folder can be called `name`. The names are `staged-N`, `in-N`, and
/// `in-N.M` if a file has more than one path. Names that begin with `in-` may have the prefix `REQUEST-`.
fn is_target_source(name: &str) -> bool {
    let is_incoming = |name: &str| {
        name.strip_prefix("in-").is_some_and(|rest| match rest.split_once('.') {
            Some((number, copy)) => is_number(number) && is_number(copy),
            None => is_number(rest),
        })
    };
    let is_request =
        name.split_once('-').is_some_and(|(request, rest)| queue::is_request_name(request) && is_incoming(rest));
    is_incoming(name) || is_request || name.strip_prefix("staged-").is_some_and(is_number)
}

/// Returns whether a metadata file of this kind can have the name `name` followed by `.json`.
fn is_role_file(rank: FileKind, name: &str) -> bool {
    let unversioned = match name.split_once('.') {
        Some((version, rest)) if is_number(version) => rest,
        _ => name,
    };
    match rank {
        FileKind::Root => unversioned == "root" && name != "root",
        FileKind::Timestamp => name == "timestamp",
        FileKind::Snapshot => unversioned == "snapshot",
        FileKind::Targets => unversioned == "targets",
        FileKind::Delegated => {
            !unversioned.is_empty() && !["root", "targets", "snapshot", "timestamp"].contains(&unversioned)
        }
        FileKind::Key | FileKind::TargetFile | FileKind::Config => false,
    }
}

/// Returns the hash algorithm and the hash prefix in the name of a target file, or `None` if the name has no hash
/// prefix.
fn promised_hash(name: &str) -> Option<(Algorithm, &str)> {
    let (digest, _) = name.split_once('.')?;
    let algorithm = match digest.len() {
        64 => Algorithm::Sha256,
        96 => Algorithm::Sha384,
        128 => Algorithm::Sha512,
        _ => return None,
    };
    digest.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some((algorithm, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journals_of_every_version_name_the_configuration_alike() {
        assert_eq!(serde_json::to_string(&FileKind::Config).unwrap(), r#""Policy""#);
        assert_eq!(serde_json::from_str::<FileKind>(r#""Policy""#).unwrap(), FileKind::Config);
    }
}
