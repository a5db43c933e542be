//! Publishing: spec 6.3's order, as one change that happens wholly or not at all.
//!
//! Everything new is first written and synced in `.publishing/`, where nobody looks, while clients check it. Then a
//! journal that lists every move is put beside it: from here on the publication counts as made. Then the files are
//! renamed to their places, in order: root, target files, delegated roles, targets, snapshot, and
//! `timestamp.json` last, so that a client which polls all the while finds everything that it is told of.
//!
//! A crash before the journal leaves the old state. A crash after it leaves a state that every client
//! accepts, old or new, and the next command finishes the moves ([`recover`]). The power may fail as well: what a
//! client can be told of is made durable before what tells of it. A file with its version in its name shows itself to
//! nobody until `timestamp.json` does, so that mostly one sync of the folders is enough, just before that.
//!
//! Metadata may be published compressed as well, in files beside the plain one. A server sends either to the same name,
//! so the two must never disagree: a client that sees the new `timestamp.json` compressed and then the old one plain takes
//! that for a rollback. So the plain file is the truth. The copies of the old one are removed before it is replaced, and
//! those of the new one come after it; in between, and after a crash there, a server finds the plain file alone.
//!
//! A file that carries its version in its name is never replaced by other bytes. Such a leftover, say from
//! a folder restored from a copy, makes its version number unusable: drafts skip it, and a publication that
//! would overwrite it is refused.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lastmile_client::disk;
use serde::{Deserialize, Serialize};

use crate::check::Checked;
use crate::compress::Coding;
use crate::document::Document;
use crate::layout::{self, Layout, Lock};
use crate::queue::{self, Answer};
use crate::{Error, parallel, staged};

/// From this many files on, one flush of the whole file system is quicker than one for each file.
const SYNC_TOGETHER: usize = 64;

/// What a file is, in the order in which files are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Rank {
    /// A private key of a new repository, or its public part.
    Key,
    /// A root version.
    Root,
    /// A target file.
    TargetFile,
    /// A delegated role's metadata.
    Delegated,
    /// Top-level targets metadata.
    Targets,
    /// Snapshot metadata.
    Snapshot,
    /// Timestamp metadata.
    Timestamp,
    /// The policy, and the record of issued versions.
    Policy,
}

/// What may happen to a file that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Existing {
    /// It must have the same bytes: its name promises them.
    Same,
    /// It is replaced as a whole.
    Replaced,
}

/// One move: paths are relative to the repository.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Step {
    rank: Rank,
    from: PathBuf,
    to: PathBuf,
    existing: Existing,
    /// Whether this is a compressed copy, which follows its plain file.
    #[serde(default)]
    is_copy: bool,
}

/// What is left to be done once the journal is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Journal {
    steps: Vec<Step>,
    /// Whether what waited in `staged/` is what is published here.
    clears_staged: bool,
    /// The requests in `.queue/` that are published here, and what their owners are told then.
    #[serde(default)]
    served: Vec<String>,
    #[serde(default)]
    answer: Option<Answer>,
}

/// Moments of a publication, told to an [`Observer`] just before they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Moment<'a> {
    /// A new file is about to be written in `.publishing/`.
    Write(&'a Path),
    /// All new files are about to be synced.
    Sync,
    /// The journal is about to be written: the point of no return.
    Journal,
    /// A file is about to get its final name, relative to the repository.
    Move(&'a Path),
    /// The journal is about to be removed.
    Finish,
}

/// Watches a publication. Returning an error stops it there, as a crash would.
pub trait Observer {
    /// Called before each change to the disk.
    fn before(&mut self, moment: Moment<'_>) -> io::Result<()>;
}

/// Lets everything happen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn before(&mut self, _: Moment<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// A publication being put together.
#[must_use]
pub(crate) struct Publication<'a> {
    layout: &'a Layout,
    observer: &'a mut dyn Observer,
    journal: Journal,
    writes: Vec<(PathBuf, Content<'a>)>,
}

/// What is in a new file.
pub(crate) enum Content<'a> {
    /// A metadata file.
    Document(&'a Document),
    /// The same, compressed.
    Compressed(&'a Document, Coding),
    /// These bytes.
    Bytes(Vec<u8>),
}

impl Step {
    /// Whether clients see the move at once: they ask for the next root without being told of it, and for names without
    /// a version.
    fn shows_at_once(&self) -> bool {
        match self.rank {
            // It says what the plain file says already.
            _ if self.is_copy => false,
            Rank::Root => true,
            Rank::Key | Rank::TargetFile | Rank::Policy => false,
            _ => self.existing == Existing::Replaced,
        }
    }

    /// Whether compressed copies may lie beside it.
    fn has_copies(&self) -> bool {
        !self.is_copy && !matches!(self.rank, Rank::Key | Rank::TargetFile | Rank::Policy)
    }
}

impl<'a> Publication<'a> {
    /// Begins one. The lock proves that nobody else does; a publication cut short is finished first.
    pub(crate) fn begin(layout: &'a Layout, _lock: &Lock, observer: &'a mut dyn Observer) -> Self {
        Self { layout, observer, journal: Journal::default(), writes: Vec::new() }
    }

    /// What waits in `staged/` is published with this, and waits no longer afterwards.
    pub(crate) fn clear_staged(&mut self) {
        self.journal.clears_staged = true;
    }

    /// These requests of others are published with this, and their owners are told `answer`.
    pub(crate) fn serve(&mut self, requests: &[String], answer: Answer) {
        self.journal.served.extend_from_slice(requests);
        self.journal.answer = Some(answer);
    }

    /// Adds a new file; `to` is relative to the repository.
    pub(crate) fn add(&mut self, rank: Rank, to: PathBuf, content: Content<'a>, existing: Existing) {
        let name = format!("new-{}", self.journal.steps.len());
        self.writes.push((self.layout.publishing().join(&name), content));
        self.add_file(rank, Path::new(".publishing").join(name), to, existing);
    }

    /// Adds a file that is already on this disk, `from` inside the repository; it is moved.
    pub(crate) fn add_file(&mut self, rank: Rank, from: PathBuf, to: PathBuf, existing: Existing) {
        self.journal.steps.push(Step { rank, from, to, existing, is_copy: false });
    }

    /// Adds a metadata file, and its compressed copies.
    pub(crate) fn add_document(
        &mut self,
        rank: Rank,
        to: &Path,
        document: &'a Document,
        existing: Existing,
        codings: &[Coding],
    ) {
        self.add(rank, to.to_path_buf(), Content::Document(document), existing);
        for coding in codings {
            self.add(rank, coding.beside(to), Content::Compressed(document, *coding), Existing::Replaced);
            self.journal.steps.last_mut().into_iter().for_each(|step| step.is_copy = true);
        }
    }

    /// Makes durable what is to be published; nothing is published yet.
    pub(crate) fn prepare(mut self) -> Result<Prepared<'a>, Error> {
        self.write()?;
        self.check_places()?;
        let journal = serde_json::to_vec(&self.journal)
            .map_err(|error| Error::file("write", &self.layout.publishing(), error.into()))?;
        self.tell(Moment::Sync)?;
        layout::write_new(&new_journal_path(self.layout), &journal, 0o600)?;
        self.sync()?;
        Ok(Prepared(self))
    }

    fn tell(&mut self, moment: Moment<'_>) -> Result<(), Error> {
        self.observer.before(moment).map_err(|error| Error::file("publish", self.layout.dir(), error))
    }

    fn write(&mut self) -> Result<(), Error> {
        for (path, _) in &self.writes {
            let told = self.observer.before(Moment::Write(path));
            told.map_err(|error| Error::file("publish", self.layout.dir(), error))?;
        }
        let writes = std::mem::take(&mut self.writes);
        parallel::try_for_each(&writes, |(path, content)| match content {
            Content::Document(document) => layout::write_new(path, &document.file(), 0o644),
            Content::Compressed(document, coding) => {
                let bytes = coding.encode(&document.file()).map_err(|error| Error::file("compress", path, error))?;
                layout::write_new(path, &bytes, 0o644)
            }
            Content::Bytes(bytes) => layout::write_new(path, bytes, 0o644),
        })
    }

    /// Nothing may stop the moves once they have begun, so look at all places before.
    fn check_places(&self) -> Result<(), Error> {
        let mut folders = BTreeSet::new();
        for step in &self.journal.steps {
            if let Some(parent) = step.to.parent()
                && folders.insert(parent)
            {
                layout::create_folders(self.layout.dir(), parent)?;
            }
            check_place(self.layout, step)?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        let steps = self.journal.steps.iter().map(|step| self.layout.dir().join(&step.from));
        let sources: Vec<PathBuf> = steps.chain([new_journal_path(self.layout)]).collect();
        if sources.len() < SYNC_TOGETHER || !sync_file_system(&self.layout.publishing())? {
            parallel::try_for_each(&sources, |path| {
                layout::open_regular(path)
                    .and_then(|file| disk::sync(&file, path))
                    .map_err(|error| Error::file("sync", path, error))
            })?;
        }
        layout::sync_folder(&self.layout.publishing())
    }
}

/// A publication of which everything is written and durable but that it is to happen.
#[must_use]
pub(crate) struct Prepared<'a>(Publication<'a>);

impl Prepared<'_> {
    /// Publishes: after success every file is in its place and durable. What is checked must be what was prepared.
    pub(crate) fn commit(mut self, _checked: &Checked) -> Result<(), Error> {
        let Self(publication) = &mut self;
        publication.tell(Moment::Journal)?;
        let (from, to) = (new_journal_path(publication.layout), journal_path(publication.layout));
        disk::rename(&from, &to).map_err(|error| Error::file("write", &to, error))?;
        layout::sync_folder(&publication.layout.publishing())?;
        apply(publication.layout, &publication.journal, publication.observer)
    }
}

/// Makes `.publishing/` ready and empty, after finishing a publication that was cut short. True if one was. Drops the
/// requests that nobody waits for any more.
pub fn recover(layout: &Layout, _lock: &Lock) -> Result<bool, Error> {
    let folder = layout.publishing();
    layout::create_private_folder(&folder)?;
    let journal = journal_path(layout);
    let mut finished = false;
    if let Some(bytes) = layout::read_if_there(&journal)? {
        let read: Journal =
            serde_json::from_slice(&bytes).map_err(|error| Error::file("read", &journal, error.into()))?;
        apply(layout, &read, &mut Unobserved)?;
        finished = true;
    }
    clear(&folder)?;
    queue::drop_abandoned(layout)?;
    Ok(finished)
}

/// Whether a publication was cut short after its journal was written.
#[must_use]
pub fn is_interrupted(layout: &Layout) -> bool {
    journal_path(layout).symlink_metadata().is_ok()
}

fn journal_path(layout: &Layout) -> PathBuf {
    layout.publishing().join("journal.json")
}

/// The journal before it counts.
fn new_journal_path(layout: &Layout) -> PathBuf {
    layout.publishing().join("journal.new")
}

fn clear(folder: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(folder).map_err(|error| Error::file("list", folder, error))?;
    let leftovers: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    for path in leftovers {
        disk::remove(&path).map_err(|error| Error::file("remove", &path, error))?;
    }
    Ok(())
}

fn check_place(layout: &Layout, step: &Step) -> Result<(), Error> {
    let to = layout.dir().join(&step.to);
    let Ok(there) = fs::symlink_metadata(&to) else {
        return Ok(());
    };
    if there.is_dir() {
        return Err(Error::Refused(format!("{} is a folder, where a file is to be published", to.display())));
    }
    if step.existing == Existing::Same && !same_bytes(&layout.dir().join(&step.from), &to)? {
        return Err(Error::Refused(format!(
            "{} is there with other bytes; what is published under that name never changes",
            to.display()
        )));
    }
    Ok(())
}

fn same_bytes(one: &Path, other: &Path) -> Result<bool, Error> {
    Ok(layout::read_if_there(one)? == layout::read_if_there(other)?)
}

/// The moves, in order. Safe to repeat: what was moved before is no longer at its source.
fn apply(layout: &Layout, journal: &Journal, observer: &mut dyn Observer) -> Result<(), Error> {
    let told = |error| Error::file("publish", layout.dir(), error);
    let mut moved_to = BTreeSet::new();
    for group in journal.steps.chunk_by(|one, next| one.rank == next.rank) {
        if group.iter().any(Step::shows_at_once) {
            // These refer to what came before.
            sync_folders(layout, std::mem::take(&mut moved_to))?;
        }
        for step in group {
            observer.before(Moment::Move(&step.to)).map_err(told)?;
            let (from, to) = (layout.dir().join(&step.from), layout.dir().join(&step.to));
            // Not when it was moved before a crash: then the copies may be its own.
            if step.has_copies() && from.symlink_metadata().is_ok() {
                remove_copies(&to)?;
            }
            match disk::rename(&from, &to) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && to.exists() => {}
                Err(error) => return Err(Error::file("publish", &to, error)),
            }
            moved_to.extend(step.to.parent());
        }
    }
    sync_folders(layout, moved_to)?;
    observer.before(Moment::Finish).map_err(told)?;
    if journal.clears_staged {
        staged::clear(layout)?;
    }
    for request in &journal.served {
        journal.answer.iter().try_for_each(|answer| queue::answer(layout, request, answer))?;
    }
    let path = journal_path(layout);
    disk::remove(&path).map_err(|error| Error::file("remove", &path, error))?;
    clear(&layout.publishing())
}

/// Removes the compressed copies of a file that is about to be replaced. What lies beside a new name is nobody's copy.
fn remove_copies(plain: &Path) -> Result<(), Error> {
    for copy in Coding::ALL.map(|coding| coding.beside(plain)) {
        match disk::remove(&copy) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::file("remove", &copy, error)),
            _ => {}
        }
    }
    Ok(())
}

/// Makes the names in these folders of the repository durable.
fn sync_folders(layout: &Layout, folders: BTreeSet<&Path>) -> Result<(), Error> {
    if folders.len() >= SYNC_TOGETHER && sync_file_system(layout.dir())? {
        return Ok(());
    }
    let folders: Vec<PathBuf> = folders.into_iter().map(|folder| layout.dir().join(folder)).collect();
    parallel::try_for_each(&folders, |folder| layout::sync_folder(folder))
}

/// Flushes the file system of `folder`; false where the system cannot.
#[cfg(target_os = "linux")]
fn sync_file_system(folder: &Path) -> Result<bool, Error> {
    let file = fs::File::open(folder).map_err(|error| Error::file("open", folder, error))?;
    disk::sync_file_system(&file, folder).map_err(|error| Error::file("sync", folder, error))?;
    Ok(true)
}

/// Flushes the file system of `folder`; false where the system cannot.
#[cfg(not(target_os = "linux"))]
fn sync_file_system(_: &Path) -> Result<bool, Error> {
    Ok(false)
}
