//! A queue for several processes that publish at the same time. Each process copies its files into a request in `.queue/`.
//! The process that has the lock publishes all waiting requests with one snapshot and one timestamp.
//!
//! A request ends with its process, which holds a lock on it: an interrupted command publishes nothing later. The files of a
//! request are linked into the publication, whose journal lists the published requests. So each request is published exactly
//! once, even if a process dies.
//!
//! The folder of a request contains `owner` (locked), the files, and `request.json`, which is called `taken.json` while
//! another process publishes the request and it cannot be withdrawn. That process then adds `answer.json`.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use lastmile_fs::disk;
use lastmile_metadata::{RoleName, TargetPath};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Config;
use crate::edit::add::{AddOptions, Custom};
use crate::edit::intake::{self, Incoming, Source};
use crate::files::folder::{EntryInfo, Folder};
use crate::files::layout::{Layout, Lock};
use crate::files::own_files::OwnFiles;
use crate::publish::stored_request::{read_request, write_request};
use crate::{EditError, Error, names};

/// The pause between two checks while waiting.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a publisher waits for more requests, as long as new ones appear.
const GATHERING: Duration = Duration::from_millis(100);
/// Folders without an owner, left by a crash, are removed after this time.
const ABANDONED: Duration = Duration::from_secs(3600);

/// The maximum length of a request or an answer, in bytes: about a million files.
pub(super) const LONGEST: u64 = 256 << 20;

const OWNER: &str = "owner";
pub(super) const REQUEST: &str = "request.json";
pub(super) const TAKEN: &str = "taken.json";
const ANSWER: &str = "answer.json";
const NEW_ANSWER: &str = "answer.new";
/// The change that a request asks for.
#[derive(Clone, Debug)]
pub struct Change {
    /// The role to change; if none, `targets` for added files, and the role that lists the target for removed ones.
    pub role: Option<RoleName>,
    /// Files to add, which are in the request's folder.
    pub added: Vec<Incoming>,
    /// How the added files are listed.
    pub options: AddOptions,
    /// Targets to remove.
    pub removed: Vec<TargetPath>,
}

/// The result of a request that another process published or refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The draft was published.
    Published {
        /// All changes, including those of other requests, in the format of [`crate::report::diff::json`].
        changes: Value,
        /// The changes for a person.
        text: String,
    },
    /// It was refused: the kind of error, and its text.
    Refused(RefusalKind, String),
}

/// The kind of an error that a request itself caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalKind {
    /// A client would refuse it, as in [`Error::Draft`].
    Draft,
    /// Something does not exist, as in [`Error::NotFound`].
    NotFound,
    /// Any other error that the request caused.
    Refused,
    /// The input is not valid, as in [`Error::InvalidInput`].
    Usage,
}

impl RefusalKind {
    /// Classifies an error. Returns `None` for errors that the request did not cause.
    pub(crate) fn of(error: &Error) -> Option<(Self, String)> {
        match error {
            // Without the prefix, which the error of the owner adds.
            Error::Draft(error) => Some((Self::Draft, error.to_string())),
            Error::NotFound(error) => Some((Self::NotFound, error.to_string())),
            Error::InvalidInput(error) => Some((Self::Usage, error.to_string())),
            Error::Edit(_)
            | Error::NotAccepted { .. }
            | Error::Path(_)
            | Error::Pending(_)
            | Error::Pin(_)
            | Error::Publication(_)
            | Error::Revert(_)
            | Error::Revoke(_)
            | Error::Served(_)
            | Error::Version(_) => Some((Self::Refused, error.to_string())),
            Error::Request { kind, text } => Some((*kind, text.clone())),
            #[cfg(feature = "cli")]
            Error::Usage(text) => Some((Self::Usage, text.clone())),
            #[cfg(feature = "cli")]
            Error::Absent(text) => Some((Self::NotFound, text.clone())),
            #[cfg(feature = "cli")]
            Error::Failed(text) => Some((Self::Refused, text.clone())),
            Error::Busy { .. }
            | Error::File { .. }
            | Error::Key { .. }
            | Error::MissingKeys { .. }
            | Error::Network(_)
            | Error::NotPinned { .. }
            | Error::Config { .. }
            | Error::Private { .. }
            | Error::Untrusted(_) => None,
        }
    }

    /// Recreates the error.
    #[must_use]
    pub fn error(self, text: String) -> Error {
        Error::Request { kind: self, text }
    }
}

/// A request of this process. Dropping it withdraws it, unless another process is publishing it.
#[derive(Debug)]
pub struct PublishRequest {
    layout: Layout,
    queue: Folder,
    name: String,
    change: Change,
    _owner: File,
}

impl PublishRequest {
    /// Copies `sources` and adds a request to the queue. `progress` counts whole files.
    ///
    /// # Errors
    /// [`Error::Private`] for files that must stay private; [`Error::File`] when a file cannot be read or the disk fails.
    pub fn enter(
        layout: &Layout,
        config: &Config,
        role: Option<RoleName>,
        sources: &[Source],
        options: &AddOptions,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Self, Error> {
        let mut sources = sources.to_vec();
        sources.sort_by(|one, other| one.name.cmp(&other.name));
        let mut names = std::collections::BTreeSet::new();
        if let Some(twice) = sources.iter().find(|source| !names.insert(&source.name)) {
            return Err(EditError::NamedTwice { path: twice.name.clone() }.into());
        }
        let (folder, owner) = new_folder(layout)?;
        let own = OwnFiles::of(layout, config)?;
        let mut added = intake::copy_into(&sources, &folder.folder, &config.hashes, &own, progress)?;
        if let Custom::Replace(custom) = &options.custom {
            added.iter_mut().for_each(|incoming| incoming.target.custom = Some(custom.clone()));
        }
        Self::put(layout, &folder, owner, Change { role, added, options: options.clone(), removed: Vec::new() })
    }

    /// Adds a request to the queue that removes targets.
    ///
    /// # Errors
    /// [`Error::File`] when the disk fails.
    pub fn enter_removal(layout: &Layout, role: Option<RoleName>, removed: Vec<TargetPath>) -> Result<Self, Error> {
        let (folder, owner) = new_folder(layout)?;
        Self::put(layout, &folder, owner, Change { role, added: Vec::new(), options: AddOptions::default(), removed })
    }

    fn put(layout: &Layout, folder: &NewFolder, owner: File, mut change: Change) -> Result<Self, Error> {
        write_request(&folder.folder, &change)?;
        let name = folder.name.trim_start_matches(NEW).to_string();
        let place = layout.queue().join(&name);
        let renamed = disk::rename(folder.queue.place(&folder.name), folder.queue.place(&name));
        renamed.map_err(|error| Error::file("write", &place, error))?;
        for incoming in &mut change.added {
            incoming.file = place.join(names::of_file(&incoming.file)?);
        }
        let queue = folder.queue.again()?;
        Ok(Self { layout: layout.clone(), queue, name, change, _owner: owner })
    }

    /// Returns the request in the form of a claimed one.
    pub(crate) fn claimed(&self) -> Claimed {
        Claimed { name: self.name.clone(), change: self.change.clone(), is_hashed: true }
    }

    /// Returns the paths of the repository.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    fn folder(&self) -> Option<Folder> {
        self.queue.enter(&self.name).ok().flatten()
    }

    /// Returns the answer of another process, if there is one.
    ///
    /// # Errors
    /// When the answer cannot be read.
    pub fn answer(&self) -> Result<Option<Answer>, Error> {
        let Some(folder) = self.queue.enter(&self.name)? else { return Ok(None) };
        let Some(bytes) = folder.read(ANSWER, LONGEST)? else { return Ok(None) };
        let answer = serde_json::from_slice(&bytes);
        answer.map(Some).map_err(|error| Error::file("read", &folder.path_of(ANSWER), error.into()))
    }

    /// Withdraws the request. Returns false if another process is publishing it; its answer must be awaited.
    fn withdraw(&self) -> bool {
        let withdrawn = self
            .folder()
            .is_some_and(|folder| disk::rename(folder.place(REQUEST), folder.place("withdrawn.json")).is_ok());
        if withdrawn {
            self.remove();
        }
        withdrawn
    }

    fn remove(&self) {
        let _ = disk::remove_all(self.queue.place(&self.name));
    }

    /// Waits until another process has answered the request, or this process gets the lock. Calls `on_wait` once when waiting
    /// begins.
    ///
    /// # Errors
    /// [`Error::Busy`] after `at_most`; the request is withdrawn then.
    pub fn wait(&self, at_most: Duration, on_wait: &dyn Fn()) -> Result<Turn, Error> {
        let start = Instant::now();
        let mut has_waited = false;
        loop {
            if let Some(answer) = self.answer()? {
                return Ok(Turn::Answered(answer));
            }
            match self.layout.lock() {
                Ok(lock) => return Ok(Turn::Mine(lock)),
                Err(Error::Busy { .. }) => {}
                Err(error) => return Err(error),
            }
            if start.elapsed() >= at_most && self.withdraw() {
                return Err(Error::Busy { folder: self.layout.dir().to_path_buf(), waited: start.elapsed() });
            }
            if !has_waited {
                has_waited = true;
                on_wait();
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for PublishRequest {
    fn drop(&mut self) {
        // An answered request is no longer in use.
        if !self.withdraw() && self.answer().is_ok_and(|answer| answer.is_some()) {
            self.remove();
        }
    }
}

/// The result of waiting.
#[derive(Debug)]
pub enum Turn {
    /// Another process answered the request.
    Answered(Answer),
    /// This process got the lock.
    Mine(Lock),
}

/// A request that this process publishes.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) name: String,
    pub(crate) change: Change,
    /// Whether this process hashed the files itself while it copied them.
    pub(crate) is_hashed: bool,
}

/// The requests of this user's processes. The lock proves that no other process claims any.
pub(crate) struct Queue {
    folder: Folder,
}

impl Queue {
    pub(crate) fn new(layout: &Layout, _lock: &Lock) -> Result<Self, Error> {
        Ok(Self { folder: layout.make_queue()? })
    }

    /// Opens the folder of a request, if it exists.
    pub(crate) fn request(&self, name: &str) -> Result<Option<Folder>, Error> {
        self.folder.enter(name)
    }

    /// Returns whether the request with this name was answered.
    pub(crate) fn is_answered(&self, name: &str) -> Result<bool, Error> {
        let folder = self.folder.enter(name)?;
        folder.map_or(Ok(false), |folder| folder.look(ANSWER).map(|found| found.is_some()))
    }

    /// Claims all waiting requests except `mine`, after no new ones appear.
    pub(crate) fn claim_others(&self, mine: &PublishRequest) -> Result<Vec<Claimed>, Error> {
        self.gather()?;
        let mut all = Vec::new();
        for name in self.entries()? {
            let Some(folder) = self.folder.enter(&name)? else { continue };
            if name == mine.name || !is_request_name(&name) || is_abandoned(&folder)? {
                continue;
            }
            if folder.look(ANSWER)?.is_some() {
                continue;
            }
            // A publisher that died may have claimed the request before.
            let moved = disk::rename(folder.place(REQUEST), folder.place(TAKEN));
            if moved.is_ok() || folder.look(TAKEN)?.is_some() {
                // A request that was withdrawn at this moment is skipped.
                all.extend(read_request(&folder).ok().map(|change| Claimed { name, change, is_hashed: false }));
            }
        }
        Ok(all)
    }

    /// Releases claimed requests that this process does not publish.
    pub(crate) fn give_back(&self, taken: &[Claimed]) {
        for request in taken {
            if let Ok(Some(folder)) = self.folder.enter(&request.name) {
                let _ = disk::rename(folder.place(TAKEN), folder.place(REQUEST));
            }
        }
    }

    /// Waits for requests that are being written, if there are any.
    fn gather(&self) -> Result<(), Error> {
        let start = Instant::now();
        let mut before = self.entries()?.len();
        // One of the entries is this process's own request.
        while before > 1 && start.elapsed() < GATHERING {
            std::thread::sleep(PAUSE);
            let entries = self.entries()?;
            let is_coming = entries.iter().any(|name| name.starts_with(NEW));
            if entries.len() <= before && !is_coming {
                break;
            }
            before = entries.len();
        }
        Ok(())
    }

    /// Returns the names of all request folders, the oldest first.
    fn entries(&self) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for name in self.folder.names()?.into_iter().filter_map(|name| name.into_string().ok()) {
            if let Some(folder) = self.folder.look(&name)?.filter(EntryInfo::is_folder) {
                found.push((folder.modified(), name));
            }
        }
        found.sort();
        Ok(found.into_iter().map(|(_, name)| name).collect())
    }
}

/// Writes the answer to a request. If its owner has ended, no answer is needed.
pub(crate) fn answer(layout: &Layout, name: &str, answer: &Answer) -> Result<(), Error> {
    let Some(folder) = layout.open_queue()?.map_or(Ok(None), |queue| queue.enter(name))? else { return Ok(()) };
    let place = folder.path_of(ANSWER);
    let bytes = serde_json::to_vec(answer).map_err(|error| Error::file("write", &place, error.into()))?;
    // A process that died may have left this file.
    let _ = disk::remove(folder.place(NEW_ANSWER));
    let written = disk::create(folder.place(NEW_ANSWER), 0o600).and_then(|mut file| file.write_all(&bytes));
    match written.and_then(|()| disk::rename(folder.place(NEW_ANSWER), folder.place(ANSWER))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("write", &place, error)),
        _ => Ok(()),
    }
}

/// Returns whether a request can have this name; [`new_folder`] generates the names.
pub(crate) fn is_request_name(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The prefix of the folder's name while the request is incomplete.
const NEW: &str = ".new-";

/// The folder of an incomplete request. Dropping it removes the folder, unless it was renamed.
struct NewFolder {
    queue: Folder,
    folder: Folder,
    name: String,
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        let _ = disk::remove_all(self.queue.place(&self.name));
    }
}

fn new_folder(layout: &Layout) -> Result<(NewFolder, File), Error> {
    let queue = layout.make_queue()?;
    let make = |path: &Path| disk::make_folder(queue.place(path.file_name().unwrap_or_default()), 0o700);
    let ((), path) = disk::create_unique(queue.path(), NEW, "", make)
        .map_err(|error| Error::file("create a folder in", queue.path(), error))?;
    let name = names::of_file(&path)?.to_string();
    let folder = queue.enter(&name)?.ok_or_else(|| Error::file("open", &path, io::ErrorKind::NotFound.into()))?;
    let folder = NewFolder { queue, folder, name };
    // Lock the file before it gets its name, so that no process sees it unlocked.
    let new = folder.folder.path_of("owner.new");
    let place = folder.folder.path_of(OWNER);
    let owner = folder.folder.create("owner.new", 0o600)?.into_file();
    disk::try_lock(&owner, &new).map_err(|error| Error::file("lock", &new, error))?;
    let renamed = disk::rename(folder.folder.place("owner.new"), folder.folder.place(OWNER));
    renamed.map_err(|error| Error::file("write", &place, error))?;
    Ok((folder, owner))
}

/// Removes the requests of processes that have ended. Requires the lock.
pub(crate) fn drop_abandoned(layout: &Layout) -> Result<(), Error> {
    let Some(queue) = layout.open_queue()? else { return Ok(()) };
    for name in queue.names()?.into_iter().filter_map(|name| name.into_string().ok()) {
        // An entry with another name is not a request and is not removed.
        if !is_request_name(name.strip_prefix(NEW).unwrap_or(&name))
            || !queue.look(&name)?.is_some_and(|found| found.is_folder())
        {
            continue;
        }
        if let Some(folder) = queue.enter(&name)?
            && is_abandoned(&folder)?
        {
            let _ = disk::remove_all(queue.place(&name));
        }
    }
    Ok(())
}

/// Returns whether the process of a request has ended.
fn is_abandoned(folder: &Folder) -> Result<bool, Error> {
    match folder.open_file(OWNER) {
        Ok(owner) => Ok(disk::try_lock(&owner, folder.path()).is_ok_and(|locked| locked)),
        Err(_) => Ok(folder.age()?.is_some_and(|age| age > ABANDONED)),
    }
}
