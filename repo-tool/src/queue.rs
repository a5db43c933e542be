//! Releases of several publishers at once: each takes its files in by itself and puts a request into `.queue/`, and
//! whoever has the lock publishes all requests that wait, under one snapshot and one timestamp.
//!
//! A request lives as long as its publisher, who holds a lock on it: what nobody waits for any more is dropped, so that
//! an interrupted command publishes nothing later. The files of a request are linked into the publication, whose journal
//! lists the requests that it serves: each is published once, whichever process dies when.
//!
//! The folder of a request holds `owner` (locked), the files, and one of these: `request.json`, until it is published or
//! withdrawn; `taken.json`, while a publisher is at it and it cannot be withdrawn; beside it at last `answer.json`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use lastmile_client::disk;
use lastmile_metadata::{Envelope, Json, Role as _, RoleName, TargetFile, TargetPath, Targets, Version, assemble};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ingest::{self, Incoming, Source};
use crate::layout::{self, Layout, Lock};
use crate::own_files::OwnFiles;
use crate::policy::Policy;
use crate::{Error, names};

/// How often one who waits looks again.
const PAUSE: Duration = Duration::from_millis(10);
/// Whoever is about to publish waits this long for others that are on their way, while there are ever more of them.
const GATHERING: Duration = Duration::from_millis(100);
/// Folders without an owner, left by a process that ended in a bad moment, go after this time.
const ABANDONED: Duration = Duration::from_secs(3600);

/// What a publisher wants.
#[derive(Clone, Debug)]
pub struct Change {
    /// The role that lists what is added, or in which is looked for what is removed.
    pub role: Option<RoleName>,
    /// Files to be listed, which lie in the request's folder.
    pub added: Vec<Incoming>,
    /// Targets to be listed no more.
    pub removed: Vec<TargetPath>,
}

/// What has become of a request that another process published.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It is published.
    Published {
        /// What changed, as [`crate::diff::json`] tells it, the requests of others included.
        changes: Value,
        /// The same for a person.
        text: String,
    },
    /// It cannot be published: the kind of error, and its text.
    Refused(Fault, String),
}

/// Errors that a request itself is to blame for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// [`Error::Draft`]
    Draft,
    /// [`Error::NotFound`]
    NotFound,
    /// [`Error::Refused`]
    Refused,
    /// [`Error::Usage`]
    Usage,
}

impl Fault {
    /// None for errors that the process or the machine is to blame for.
    pub(crate) fn of(error: &Error) -> Option<(Self, String)> {
        match error {
            Error::Draft(text) => Some((Self::Draft, text.clone())),
            Error::NotFound(text) => Some((Self::NotFound, text.clone())),
            Error::Refused(text) => Some((Self::Refused, text.clone())),
            Error::Usage(text) => Some((Self::Usage, text.clone())),
            _ => None,
        }
    }

    /// The error again.
    #[must_use]
    pub fn error(self, text: String) -> Error {
        match self {
            Self::Draft => Error::Draft(text),
            Self::NotFound => Error::NotFound(text),
            Self::Refused => Error::Refused(text),
            Self::Usage => Error::Usage(text),
        }
    }
}

/// A request as it is stored. Targets are written as metadata writes them, in a role that nobody signs.
#[derive(Serialize, Deserialize)]
struct Stored {
    role: Option<String>,
    added: String,
    removed: Vec<String>,
}

/// A request of this process. It is withdrawn when it is dropped, unless somebody else is at it.
#[derive(Debug)]
pub struct Request {
    layout: Layout,
    name: String,
    change: Change,
    _owner: File,
}

impl Request {
    /// Takes `sources` in, and puts the request beside those of others. `progress` counts whole files.
    ///
    /// # Errors
    /// [`Error::Private`] for files that must stay private; when a file cannot be read, or the machine fails.
    pub fn enter(
        layout: &Layout,
        policy: &Policy,
        role: Option<RoleName>,
        sources: &[Source],
        custom: Option<&Json>,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Self, Error> {
        let mut sources = sources.to_vec();
        sources.sort_by(|one, other| one.name.cmp(&other.name));
        let mut names = std::collections::BTreeSet::new();
        if let Some(twice) = sources.iter().find(|source| !names.insert(&source.name)) {
            return Err(Error::Refused(format!("`{}` is named twice", twice.name)));
        }
        let (folder, owner) = new_folder(layout)?;
        let own = OwnFiles::of(layout, policy)?;
        let mut added = ingest::copy(&sources, &folder.path, &policy.hashes, &own, progress)?;
        added.iter_mut().for_each(|incoming| incoming.target.custom = custom.cloned());
        Self::put(layout, &folder, owner, Change { role, added, removed: Vec::new() })
    }

    /// Asks that targets be listed no more.
    ///
    /// # Errors
    /// When the machine fails.
    pub fn enter_removal(layout: &Layout, role: Option<RoleName>, removed: Vec<TargetPath>) -> Result<Self, Error> {
        let (folder, owner) = new_folder(layout)?;
        Self::put(layout, &folder, owner, Change { role, added: Vec::new(), removed })
    }

    fn put(layout: &Layout, folder: &NewFolder, owner: File, mut change: Change) -> Result<Self, Error> {
        write_request(&folder.path, &change)?;
        let name = folder.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = name.trim_start_matches(NEW).to_string();
        let place = layout.queue().join(&name);
        disk::rename(&folder.path, &place).map_err(|error| Error::file("write", &place, error))?;
        for incoming in &mut change.added {
            incoming.file = place.join(incoming.file.file_name().unwrap_or_default());
        }
        Ok(Self { layout: layout.clone(), name, change, _owner: owner })
    }

    /// What is asked for, by name.
    pub(crate) fn taken(&self) -> Taken {
        Taken { name: self.name.clone(), change: self.change.clone() }
    }

    /// Where the repository is.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    fn folder(&self) -> PathBuf {
        self.layout.queue().join(&self.name)
    }

    /// What has become of it, if another process was at it.
    ///
    /// # Errors
    /// When the answer cannot be read.
    pub fn answer(&self) -> Result<Option<Answer>, Error> {
        let path = self.folder().join("answer.json");
        let Some(bytes) = layout::read_if_there(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::file("read", &path, error.into()))
    }

    /// Takes the request back; false when somebody is at it, whose answer must be waited for.
    fn withdraw(&self) -> bool {
        let folder = self.folder();
        let withdrawn = disk::rename(&folder.join("request.json"), &folder.join("withdrawn.json")).is_ok();
        if withdrawn {
            let _ = disk::remove_all(&folder);
        }
        withdrawn
    }

    /// Waits until the request was answered, or the lock is free to answer it here.
    ///
    /// # Errors
    /// [`Error::Busy`] after `at_most`, when it is withdrawn.
    pub fn wait(&self, at_most: Duration, told: &dyn Fn()) -> Result<Turn, Error> {
        let start = Instant::now();
        let mut is_told = false;
        loop {
            if let Some(answer) = self.answer()? {
                return Ok(Turn::Answered(answer));
            }
            match self.layout.lock() {
                Ok(lock) => return Ok(Turn::Mine(lock)),
                Err(Error::Busy(_)) => {}
                Err(error) => return Err(error),
            }
            if start.elapsed() >= at_most && self.withdraw() {
                return Err(Error::Busy(self.layout.dir().to_path_buf()));
            }
            if !std::mem::replace(&mut is_told, true) {
                told();
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // Once it is answered, nobody is at it any more.
        if !self.withdraw() && self.answer().is_ok_and(|answer| answer.is_some()) {
            let _ = disk::remove_all(&self.folder());
        }
    }
}

/// How waiting ended.
#[derive(Debug)]
pub enum Turn {
    /// Another process has answered.
    Answered(Answer),
    /// The lock is here.
    Mine(Lock),
}

/// A request that is being published here.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) name: String,
    pub(crate) change: Change,
}

/// The requests of other publishers. The lock proves that nobody else takes any.
pub(crate) struct Queue<'a> {
    layout: &'a Layout,
}

impl<'a> Queue<'a> {
    pub(crate) fn new(layout: &'a Layout, _lock: &Lock) -> Self {
        Self { layout }
    }

    /// Takes what others than `mine` ask for and wait for, once no more of them come.
    pub(crate) fn take_others(&self, mine: &Request) -> Result<Vec<Taken>, Error> {
        self.gather()?;
        let mut all = Vec::new();
        for (name, _) in self.entries()? {
            let folder = self.layout.queue().join(&name);
            if name == mine.name {
                continue;
            }
            if is_abandoned(&folder) || name.starts_with(NEW) || folder.join("answer.json").exists() {
                continue;
            }
            let taken = folder.join("taken.json");
            // What another publisher had taken who died is there already.
            let moved = disk::rename(&folder.join("request.json"), &taken);
            if moved.is_ok() || taken.exists() {
                // Who withdraws in this moment is not served.
                all.extend(read_request(&folder).ok().map(|change| Taken { name, change }));
            }
        }
        Ok(all)
    }

    /// Gives requests back that are not published here.
    pub(crate) fn give_back(&self, taken: &[Taken]) {
        for request in taken {
            let folder = self.layout.queue().join(&request.name);
            let _ = disk::rename(&folder.join("taken.json"), &folder.join("request.json"));
        }
    }

    /// Waits for those who are on their way, if there are any.
    fn gather(&self) -> Result<(), Error> {
        let start = Instant::now();
        let mut before = self.entries()?.len();
        // This publisher's own request is one of them.
        while before > 1 && start.elapsed() < GATHERING {
            std::thread::sleep(PAUSE);
            let entries = self.entries()?;
            let is_coming = entries.iter().any(|(name, _)| name.starts_with(NEW));
            if entries.len() <= before && !is_coming {
                break;
            }
            before = entries.len();
        }
        Ok(())
    }

    /// The folders of all requests, the oldest first.
    fn entries(&self) -> Result<Vec<(String, SystemTime)>, Error> {
        let folder = self.layout.queue();
        let entries = fs::read_dir(&folder).map_err(|error| Error::file("list", &folder, error))?;
        let named = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.modified().ok()?))
        });
        let mut named: Vec<_> = named.collect();
        named.sort_by(|one, other| (one.1, &one.0).cmp(&(other.1, &other.0)));
        Ok(named)
    }
}

/// Tells the owner of a request what has become of it. An owner who has gone needs no answer.
pub(crate) fn answer(layout: &Layout, name: &str, answer: &Answer) -> Result<(), Error> {
    let folder = layout.queue().join(name);
    let bytes = serde_json::to_vec(answer).map_err(|error| Error::file("write", &folder, error.into()))?;
    let (new, place) = (folder.join("answer.new"), folder.join("answer.json"));
    // Left by one who died here.
    let _ = disk::remove(&new);
    let written = disk::create(&new, 0o600).and_then(|mut file| file.write_all(&bytes));
    match written.and_then(|()| disk::rename(&new, &place)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("write", &place, error)),
        _ => Ok(()),
    }
}

/// What the name of a folder begins with as long as the request is not whole.
const NEW: &str = ".new-";

/// The folder of a request that is not whole yet; under this name it goes away with the value.
struct NewFolder {
    path: PathBuf,
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        let _ = disk::remove_all(&self.path);
    }
}

fn new_folder(layout: &Layout) -> Result<(NewFolder, File), Error> {
    let queue = layout.queue();
    layout::create_private_folder(&queue)?;
    let ((), path) = disk::unforeseen(&queue, NEW, "", |path| disk::make_folder(path, 0o700))
        .map_err(|error| Error::file("create a folder in", &queue, error))?;
    let folder = NewFolder { path };
    // Locked before it has its name, so that it is never seen without its lock.
    let (new, place) = (folder.path.join("owner.new"), folder.path.join("owner"));
    let owner = layout::create_new(&new, 0o600)?.into_file();
    disk::try_lock(&owner, &new).map_err(|error| Error::file("lock", &new, error))?;
    disk::rename(&new, &place).map_err(|error| Error::file("write", &place, error))?;
    Ok((folder, owner))
}

/// Drops the requests that nobody waits for any more. Only under the lock.
pub(crate) fn drop_abandoned(layout: &Layout) -> Result<(), Error> {
    let queue = layout.queue();
    let entries = match fs::read_dir(&queue) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::file("list", &queue, error)),
    };
    for folder in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if is_abandoned(&folder) {
            let _ = disk::remove_all(&folder);
        }
    }
    Ok(())
}

/// Whether the publisher whose request this is has ended.
fn is_abandoned(folder: &Path) -> bool {
    match layout::open_regular(&folder.join("owner")) {
        Ok(owner) => disk::try_lock(&owner, folder).is_ok_and(|locked| locked),
        Err(_) => {
            let age = folder.metadata().and_then(|found| found.modified()).map(|modified| modified.elapsed());
            matches!(age, Ok(Ok(age)) if age > ABANDONED)
        }
    }
}

fn write_request(folder: &Path, change: &Change) -> Result<(), Error> {
    let mut added = Targets::new(Version::ONE, chrono::DateTime::UNIX_EPOCH);
    for incoming in &change.added {
        added.insert(incoming.target.clone());
    }
    let added = String::from_utf8_lossy(&assemble(&added.write(), &[])).into_owned();
    let role = change.role.as_ref().map(|role| role.as_str().to_string());
    let removed = change.removed.iter().map(|path| path.as_str().to_string()).collect();
    let path = folder.join("request.json");
    let text = serde_json::to_vec(&Stored { role, added, removed })
        .map_err(|error| Error::file("write", &path, error.into()))?;
    layout::write_new(&path, &text, 0o600)
}

fn read_request(folder: &Path) -> Result<Change, Error> {
    let path = folder.join("taken.json");
    let bytes = layout::read_if_there(&path)?.unwrap_or_default();
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| Error::file("read", &path, error.into()))?;
    let added = Envelope::<Targets>::parse(&RoleName::TARGETS, stored.added.into_bytes())?;
    // In the order of the paths, as they were taken in.
    let added = added.unverified().targets().enumerate();
    let added =
        added.map(|(number, target): (usize, TargetFile)| Incoming { target, file: folder.join(ingest::name(number)) });
    let removed = stored
        .removed
        .iter()
        .map(|path| TargetPath::new(path.as_str()).map_err(|error| Error::Usage(error.to_string())));
    Ok(Change {
        role: stored.role.as_deref().map(names::role).transpose()?,
        added: added.collect(),
        removed: removed.collect::<Result<_, _>>()?,
    })
}
