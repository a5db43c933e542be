//! A queue that lets several processes publish at the same time. Each process makes a request: a folder in `.queue/`
//! with copies of the files to publish. The process that holds the repository's lock publishes all waiting requests
//! with a single new snapshot and timestamp.
//!
//! A request is valid only while the process that made it is running. That process holds a lock on the file `owner` in
//! the request's folder, so a request from an interrupted command is never published later. When a request is
//! published, its files are hard-linked or copied to `.publishing/`, and the journal of the publication lists the
//! request. Therefore, no request is published twice, even if a process dies.
//!
//! The folder of a request contains the files to publish, a locked file `owner`, and `request.json`. A process that
//! publishes a request from another process first renames `request.json` to `taken.json`. From then on, the request
//! cannot be withdrawn. Finally, the publishing process adds `answer.json`.

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
use crate::edit::intake::{self, Source};
pub use crate::error::RefusalKind;
use crate::files::folder::{EntryInfo, Folder};
use crate::files::layout::{Layout, Lock};
use crate::files::own_files::OwnFiles;
pub use crate::publish::stored_request::Change;
use crate::publish::stored_request::{MAX_LENGTH, REQUEST, TAKEN, read_request, write_request};
use crate::{EditError, Error, names};

/// The time that a waiting process sleeps before it checks again whether it can continue.
const PAUSE: Duration = Duration::from_millis(10);
/// The maximum time that the publishing process waits for more requests.
const GATHERING: Duration = Duration::from_millis(100);
/// The age at which a request's folder is removed if it contains no `owner` file. A crash can leave such a folder behind.
const ABANDONED: Duration = Duration::from_secs(3600);

const OWNER: &str = "owner";
const ANSWER: &str = "answer.json";
const NEW_ANSWER: &str = "answer.new";

/// The answer to a request that another process published or refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The request was published.
    Published {
        /// All published changes, including those of other requests, in the format of [`crate::report::diff::json`].
        changes: Value,
        /// All published changes, formatted for people.
        text: String,
    },
    /// The request was refused, with the kind and the text of the error.
    Refused(RefusalKind, String),
}

impl RefusalKind {
    /// Returns the kind and text of an error that the request caused. Returns `None` for other errors.
    pub(crate) fn of(error: &Error) -> Option<(Self, String)> {
        match error {
            // Take the text of the inner error, which has no prefix. The process that made the request recreates the
            // error from this text, and [`Error::Request`] adds the prefix.
            Error::Draft(error) => Some((Self::Draft, error.to_string())),
            Error::NotFound(error) => Some((Self::NotFound, error.to_string())),
            Error::InvalidInput(error) => Some((Self::Usage, error.to_string())),
            Error::Edit(_)
            | Error::NotAccepted { .. }
            | Error::Path(_)
            | Error::Pending(_)
            | Error::Pin(_)
            | Error::Policy(_)
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
            Error::Failed(text) => Some((Self::Refused, text.clone())),
            Error::Busy { .. }
            | Error::File { .. }
            | Error::Key { .. }
            | Error::MissingKeys { .. }
            | Error::Network(_)
            | Error::NotPinned { .. }
            | Error::Config { .. }
            | Error::Private { .. }
            | Error::Push(_)
            | Error::Untrusted(_) => None,
        }
    }

    /// Recreates the error from its text.
    #[must_use]
    pub fn error(self, text: String) -> Error {
        Error::Request { kind: self, text }
    }
}

/// A request that this process has made. Dropping the value withdraws the request, unless another process is publishing
/// it.
#[derive(Debug)]
pub struct PublishRequest {
    layout: Layout,
    queue: Folder,
    name: String,
    change: Change,
    _owner: File,
}

impl PublishRequest {
    /// Copies `sources` and adds a request to the queue. Calls `progress` with the number of files copied.
    ///
    /// # Errors
    /// [`Error::Edit`] if two files have the same target path; [`Error::Private`] if some of the files must stay
    /// private; [`Error::File`] if a file cannot be read or written.
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
            let packages = added.iter_mut().filter(|incoming| !options.is_evidence(&incoming.target.path));
            packages.for_each(|incoming| incoming.target.custom = Some(custom.clone()));
        }
        Self::put(layout, &folder, owner, Change { role, added, options: options.clone(), removed: Vec::new() })
    }

    /// Queues a request to remove targets.
    ///
    /// # Errors
    /// [`Error::File`] if a file cannot be written.
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

    pub(crate) fn claimed(&self) -> Claimed {
        Claimed { name: self.name.clone(), change: self.change.clone(), is_hashed: true }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    fn folder(&self) -> Option<Folder> {
        self.queue.enter(&self.name).ok().flatten()
    }

    /// Returns the answer from another process, or `None` if the request has not been answered.
    ///
    /// # Errors
    /// Returns an error if the answer cannot be read.
    pub fn answer(&self) -> Result<Option<Answer>, Error> {
        let Some(folder) = self.queue.enter(&self.name)? else { return Ok(None) };
        let Some(bytes) = folder.read(ANSWER, MAX_LENGTH)? else { return Ok(None) };
        let answer = serde_json::from_slice(&bytes);
        answer.map(Some).map_err(|error| Error::file("read", &folder.path_of(ANSWER), error.into()))
    }

    /// Withdraws the request. Returns false if another process is already publishing the request. In this case, the
    /// caller must wait for the answer.
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

    /// Waits until another process has answered the request or this process has taken the lock. Calls `on_wait` once if
    /// this process has to wait.
    ///
    /// # Errors
    /// [`Error::Busy`] if neither happens within `at_most`. In this case, the request is withdrawn. If another process
    /// is already publishing the request, the request cannot be withdrawn, so this function continues to wait after
    /// `at_most`.
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
        // Once the request has been answered, no other process uses its folder.
        if !self.withdraw() && self.answer().is_ok_and(|answer| answer.is_some()) {
            self.remove();
        }
    }
}

/// The result of [`PublishRequest::wait`].
#[derive(Debug)]
pub enum Turn {
    /// Another process answered the request.
    Answered(Answer),
    /// This process took the lock and must publish the request itself.
    Mine(Lock),
}

/// A request that this process publishes, for itself or for another process.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) name: String,
    pub(crate) change: Change,
    /// Whether this process itself hashed the files while copying them.
    pub(crate) is_hashed: bool,
}

/// The queue of the requests that this user's processes have made. [`Queue::new`] requires the repository's lock, so
/// only one process at a time can claim requests.
pub(crate) struct Queue {
    folder: Folder,
}

impl Queue {
    pub(crate) fn new(layout: &Layout, _lock: &Lock) -> Result<Self, Error> {
        Ok(Self { folder: layout.make_queue()? })
    }

    pub(crate) fn request(&self, name: &str) -> Result<Option<Folder>, Error> {
        self.folder.enter(name)
    }

    pub(crate) fn is_answered(&self, name: &str) -> Result<bool, Error> {
        let folder = self.folder.enter(name)?;
        folder.map_or(Ok(false), |folder| folder.look(ANSWER).map(|found| found.is_some()))
    }

    /// Waits briefly for further requests, and then claims all waiting requests except `mine`.
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
            // If `taken.json` exists, a process claimed the request but died before it answered. Claim the request
            // again.
            let moved = disk::rename(folder.place(REQUEST), folder.place(TAKEN));
            if moved.is_ok() || folder.look(TAKEN)?.is_some() {
                match read_request(&folder) {
                    Ok(change) => all.push(Claimed { name, change, is_hashed: false }),
                    // Leave a request that cannot be read to the process that made it.
                    Err(_) => drop(disk::rename(folder.place(TAKEN), folder.place(REQUEST))),
                }
            }
        }
        Ok(all)
    }

    /// Puts `taken` back into the queue. These are requests that this process has claimed but will not publish.
    pub(crate) fn give_back(&self, taken: &[Claimed]) {
        for request in taken {
            if let Ok(Some(folder)) = self.folder.enter(&request.name) {
                let _ = disk::rename(folder.place(TAKEN), folder.place(REQUEST));
            }
        }
    }

    /// Waits at most [`GATHERING`] for requests that other processes are still writing.
    fn gather(&self) -> Result<(), Error> {
        let start = Instant::now();
        let mut before = self.entries()?.len();
        // If there is only one entry, it is this process's own request, and no other process is writing a request.
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

    /// Returns the names of all request folders, oldest first.
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

/// Writes the answer to a request. Does nothing if the process that made the request has ended.
pub(crate) fn answer(layout: &Layout, name: &str, answer: &Answer) -> Result<(), Error> {
    let Some(folder) = layout.open_queue()?.map_or(Ok(None), |queue| queue.enter(name))? else { return Ok(()) };
    let place = folder.path_of(ANSWER);
    let bytes = serde_json::to_vec(answer).map_err(|error| Error::file("write", &place, error.into()))?;
    // A process that died may have left this file behind.
    let _ = disk::remove(folder.place(NEW_ANSWER));
    let written = disk::create(folder.place(NEW_ANSWER), 0o600).and_then(|mut file| file.write_all(&bytes));
    match written.and_then(|()| disk::rename(folder.place(NEW_ANSWER), folder.place(ANSWER))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("write", &place, error)),
        _ => Ok(()),
    }
}

/// Returns whether `name` has the form of the request names that [`new_folder`] generates.
pub(crate) fn is_request_name(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The prefix of the name of a request's folder while the request is incomplete.
const NEW: &str = ".new-";

/// The folder of an incomplete request. Dropping the value removes the folder, unless it has been renamed.
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
    // Lock the file before renaming it, so that no other process finds it unlocked.
    let new = folder.folder.path_of("owner.new");
    let place = folder.folder.path_of(OWNER);
    let owner = folder.folder.create("owner.new", 0o600)?.into_file();
    disk::try_lock(&owner, &new).map_err(|error| Error::file("lock", &new, error))?;
    let renamed = disk::rename(folder.folder.place("owner.new"), folder.folder.place(OWNER));
    renamed.map_err(|error| Error::file("write", &place, error))?;
    Ok((folder, owner))
}

/// Removes requests whose processes have ended. The caller must hold the lock.
pub(crate) fn drop_abandoned(layout: &Layout) -> Result<(), Error> {
    let Some(queue) = layout.open_queue()? else { return Ok(()) };
    for name in queue.names()?.into_iter().filter_map(|name| name.into_string().ok()) {
        // Keep entries that are not requests.
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

/// Returns whether the process that made a request has ended.
fn is_abandoned(folder: &Folder) -> Result<bool, Error> {
    match folder.open_file(OWNER) {
        Ok(owner) => Ok(disk::try_lock(&owner, folder.path()).is_ok_and(|locked| locked)),
        Err(_) => Ok(folder.age()?.is_some_and(|age| age > ABANDONED)),
    }
}
