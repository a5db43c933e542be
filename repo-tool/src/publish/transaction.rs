//! Publishes files in the order of spec 6.3, as one atomic and durable change.
//!
//! First, all new files are written to `.publishing/`, which is not served, and flushed to disk (`fsync`). Meanwhile,
//! simulated clients check the files. Next, a journal that lists every move is written. From then on, the publication
//! can only be finished, not undone. Finally, the files are renamed to their final paths in order: target files,
//! delegated roles, targets, snapshot, and `timestamp.json`. Therefore, a client that updates during the publication
//! finds every file that another file lists. The position of a new root depends on its keys (`publish/publication.rs`).
//!
//! A crash before the journal is written leaves the old state. After a later crash, the next command finishes the moves
//! ([`recover`]). Until then, every client accepts the state, unless the new root and the other files are valid only
//! together (`seamless` in [`Outcome`](crate::Outcome)). A power failure cannot change the order, because a file is
//! durable before another file that refers to it becomes visible. Clients do not request a versioned file before they
//! have the new `timestamp.json`. Therefore, it is usually enough to flush the folders to disk once, just before the
//! timestamp is moved.
//!
//! Metadata may also be published in compressed copies. A server may answer a request with either the compressed or the
//! uncompressed file, so the two must always have the same content. Otherwise, a client that first received a
//! compressed copy of the new `timestamp.json` and then the old uncompressed file would report a rollback. Therefore,
//! the compressed copies of the old file are removed before the uncompressed file is replaced, and the new copies are
//! added afterwards. Between the removal and the addition, even if there is a crash, a server finds only the
//! uncompressed file.
//!
//! A file with a version in its name is never replaced by a file with different content. If there is already
//! an unpublished file with the next version, for example in a restored folder, this version cannot be used. The next
//! change skips the version, and a publication that would overwrite the file is refused.

use std::io;
use std::path::{Path, PathBuf};

use lastmile_fs::disk;

use crate::check::Checked;
use crate::document::Document;
use crate::draft::NewTargetFile;
use crate::files::digest::FileDigest;
use crate::files::folder::Folder;
use crate::files::interrupted::Interrupted;
use crate::files::layout::{JOURNAL, Layout, Lock};
use crate::files::owner::user;
use crate::files::take::take;
use crate::publish::compress::Coding;
use crate::publish::journal::{Existing, FileKind, Folders, Journal, SYNC_TOGETHER, Step};
use crate::publish::observer::{Observer, PublishEvent};
use crate::publish::queue::{self, Answer};
use crate::{Error, PathError, PublicationError, names, parallel};

/// The name of the journal before it takes effect.
const NEW_JOURNAL: &str = "journal.new";

/// A publication that is being prepared.
#[must_use]
pub(crate) struct Transaction<'a> {
    folders: Folders<'a>,
    observer: &'a mut dyn Observer,
    journal: Journal,
    /// The new files, each with the index of its step in the journal.
    writes: Vec<(usize, Content<'a>)>,
}

pub(crate) enum Content<'a> {
    Document(&'a Document),
    Compressed(&'a Document, Coding),
    Bytes(Vec<u8>),
}

impl<'a> Transaction<'a> {
    /// The lock proves that no other process is publishing. The caller must have finished interrupted publications
    /// first.
    pub(crate) fn begin(layout: &'a Layout, _lock: &Lock, observer: &'a mut dyn Observer) -> Result<Self, Error> {
        let folders = Folders { layout, dir: layout.open()?, working: layout.make_publishing()? };
        Ok(Self { folders, observer, journal: Journal::default(), writes: Vec::new() })
    }

    /// Makes this publication remove the pending change in `staged/`.
    pub(crate) fn clear_staged(&mut self) {
        self.journal.clears_staged = true;
    }

    pub(crate) fn answer_requests(&mut self, requests: &[String], answer: Answer) {
        self.journal.served.extend_from_slice(requests);
        self.journal.answer = Some(answer);
    }

    /// Adds a new file. The path `to` is relative to the repository's folder.
    pub(crate) fn add(&mut self, rank: FileKind, to: PathBuf, content: Content<'a>, existing: Existing) {
        let number = self.journal.steps.len();
        self.writes.push((number, content));
        self.add_step(rank, &format!("new-{number}"), to, existing, None);
    }

    /// Adds a key file from `.publishing/`.
    pub(crate) fn add_key(&mut self, name: &str) {
        self.add_step(FileKind::Key, name, Path::new("keys").join(name), Existing::Same, None);
    }

    /// Adds a target file. Other users may be able to change a file outside `.publishing/`. Such a file is hard-linked
    /// or copied into `.publishing/`, where it must still have the expected content.
    pub(crate) fn add_target(&mut self, file: &NewTargetFile, existing: Existing) -> Result<(), Error> {
        let to = Path::new("targets").join(&file.to);
        let from = file.from.as_path();
        let name = names::of_file(from)?;
        if from.parent() == Some(self.folders.working.path()) {
            self.add_step(FileKind::TargetFile, name, to, existing, file.content.clone());
            return Ok(());
        }
        let outside = || PathError::Outside { path: from.to_path_buf() };
        let relative = from.strip_prefix(self.folders.layout.dir()).map_err(|_| outside())?;
        let folder = self.folders.dir.find(relative.parent().unwrap_or(Path::new("")))?.ok_or_else(outside)?;
        let expected = file.content.as_ref();
        let new = format!("staged-{}", self.journal.steps.len());
        let working = &self.folders.working;
        take(&folder, name, working, &new, expected.ok_or_else(outside)?.length())?;
        let taken = working.digest(&new, |_| {})?;
        if taken.as_ref() != expected {
            return Err(PublicationError::Changed { path: from.to_path_buf() }.into());
        }
        self.add_step(FileKind::TargetFile, &new, to, existing, taken);
        Ok(())
    }

    fn add_step(&mut self, rank: FileKind, name: &str, to: PathBuf, existing: Existing, content: Option<FileDigest>) {
        let from = Path::new(self.folders.working.path().file_name().unwrap_or_default()).join(name);
        self.journal.steps.push(Step { rank, from, to, existing, is_copy: false, content });
    }

    pub(crate) fn add_document(
        &mut self,
        rank: FileKind,
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

    /// Writes all files and flushes them to disk (`fsync`). Publishes nothing yet.
    pub(crate) fn prepare(mut self) -> Result<Prepared<'a>, Error> {
        self.write()?;
        self.read_rest()?;
        check_places(self.folders.layout, &self.journal.steps, |parent| self.folders.make(parent).map(Some))?;
        let journal = self.journal.bytes(&self.folders)?;
        self.notify(PublishEvent::Sync)?;
        self.folders.working.write_new(NEW_JOURNAL, &journal, 0o600)?;
        self.sync()?;
        Ok(Prepared(self))
    }

    fn notify(&mut self, event: PublishEvent<'_>) -> Result<(), Error> {
        self.observer.before(event).map_err(|error| Error::file("publish", self.folders.layout.dir(), error))
    }

    fn write(&mut self) -> Result<(), Error> {
        let writes = std::mem::take(&mut self.writes);
        for (number, _) in &writes {
            let path = self.folders.working.path_of(format!("new-{number}"));
            self.notify(PublishEvent::Write(&path))?;
        }
        let working = &self.folders.working;
        let written = parallel::try_map(&writes, |(number, content)| {
            let name = format!("new-{number}");
            let write = |bytes: &[u8]| working.write_new(&name, bytes, 0o644).map(|()| FileDigest::of(bytes));
            match content {
                Content::Document(document) => write(&document.file()?),
                Content::Compressed(document, coding) => {
                    let failed = |error| Error::file("compress", &working.path_of(&name), error);
                    write(&coding.encode(&document.file()?).map_err(failed)?)
                }
                Content::Bytes(bytes) => write(bytes),
            }
        })?;
        for ((number, _), digest) in writes.iter().zip(written) {
            self.journal.steps.get_mut(*number).into_iter().for_each(|step| step.content = Some(digest.clone()));
        }
        Ok(())
    }

    /// Computes the digests that are still missing.
    fn read_rest(&mut self) -> Result<(), Error> {
        let mut unread: Vec<&mut Step> = self.journal.steps.iter_mut().filter(|step| step.content.is_none()).collect();
        let working = &self.folders.working;
        let names: Vec<PathBuf> = unread.iter().map(|step| step.from.clone()).collect();
        let read = parallel::try_map(&names, |from| {
            let name = names::of_file(from)?;
            let digest = working.digest(name, |_| {})?;
            digest.ok_or_else(|| Error::file("read", from, io::ErrorKind::NotFound.into()))
        })?;
        unread.iter_mut().zip(read).for_each(|(step, digest)| step.content = Some(digest));
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        let working = &self.folders.working;
        let names = self.journal.steps.iter().filter_map(|step| step.from.file_name());
        let names: Vec<&Path> = names.map(Path::new).chain([Path::new(NEW_JOURNAL)]).collect();
        if names.len() < SYNC_TOGETHER || !working.sync_file_system()? {
            parallel::try_for_each(&names, |name| {
                let path = working.path_of(name);
                working
                    .open_file(name)
                    .and_then(|file| disk::sync(&file, &path))
                    .map_err(|error| Error::file("sync", &path, error))
            })?;
        }
        working.sync()
    }
}

/// Checks all destinations, because the moves must not fail after they have begun. `open` opens a folder of the
/// repository, or returns `None` if the folder does not exist.
pub(crate) fn check_places(
    layout: &Layout,
    steps: &[Step],
    open: impl Fn(&Path) -> Result<Option<Folder>, Error>,
) -> Result<(), Error> {
    for group in steps.chunk_by(|one, next| one.parent() == next.parent()) {
        let folder = group.first().map_or(Ok(None), |first| open(first.parent()))?;
        let Some(folder) = folder else { continue };
        parallel::try_for_each(group, |step| {
            step.content.iter().try_for_each(|content| step.check_destination(layout, &folder, content))
        })?;
    }
    Ok(())
}

/// A publication whose files are written and flushed to disk, but whose journal has not taken effect yet.
#[must_use]
pub(crate) struct Prepared<'a>(Transaction<'a>);

impl Prepared<'_> {
    /// Publishes the prepared files. On success, every file is durable at its final path. The caller must have
    /// obtained `_checked` by running simulated clients against the same draft.
    pub(crate) fn commit(mut self, _checked: &Checked) -> Result<(), Error> {
        let Self(publication) = &mut self;
        publication.notify(PublishEvent::Journal)?;
        let working = &publication.folders.working;
        let renamed = disk::rename(working.place(NEW_JOURNAL), working.place(JOURNAL));
        renamed.map_err(|error| Error::file("write", &working.path_of(JOURNAL), error))?;
        working.sync()?;
        publication.journal.apply(&publication.folders, publication.observer)
    }
}

/// Finishes this user's interrupted publications, empties `.publishing/`, and removes requests whose processes have
/// ended. Returns whether a publication was finished.
///
/// # Errors
/// [`Error::Path`] if this user's working folders belong to another user; [`Error::Publication`] if another user's
/// publication was interrupted or the journal is not valid.
pub fn recover(layout: &Layout, lock: &Lock) -> Result<bool, Error> {
    let working = layout.make_publishing()?;
    layout.open_queue()?;
    layout.open_staged()?;
    let interrupted = layout.interrupted()?;
    if let Some(other) = interrupted.iter().find(|found| found.owner != user()) {
        return Err(PublicationError::Interrupted(other.clone()).into());
    }
    for found in &interrupted {
        let dir = layout.open()?;
        if let Some(working) = dir.enter(&found.name)? {
            working.check_ours()?;
            Journal::finish(&Folders { layout, dir, working })?;
        }
    }
    working.clear()?;
    lock.clear_on_release(working);
    queue::drop_abandoned(layout)?;
    Ok(!interrupted.is_empty())
}

/// Performs the checks that [`recover`] performs before its first change. Changes nothing.
pub(crate) fn check_recoverable(layout: &Layout) -> Result<(), Error> {
    layout.check_writable()?;
    layout.open_publishing()?;
    layout.open_queue()?;
    layout.open_staged()?;
    match layout.interrupted()?.into_iter().find(|found| found.owner != user()) {
        Some(other) => Err(PublicationError::Interrupted(other).into()),
        None => Ok(()),
    }
}

/// Returns the publications that were interrupted after their journals were written. Normally there is at most one.
///
/// # Errors
/// Returns an error if the repository's folder cannot be read.
pub fn interrupted(layout: &Layout) -> Result<Vec<Interrupted>, Error> {
    layout.interrupted()
}

/// Returns whether a publication was interrupted after its journal was written.
#[must_use]
pub fn is_interrupted(layout: &Layout) -> bool {
    layout.interrupted().is_ok_and(|found| !found.is_empty())
}
