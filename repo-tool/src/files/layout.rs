//! The paths of a repository's files, and the lock that is required to change them.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lastmile_fs::disk::{self, Locking};

use crate::files::folder::{EntryInfo, Folder};
use crate::files::interrupted::Interrupted;
use crate::files::owner::user;
use crate::files::sharing::Sharing;
use crate::user::UserConfig;
use crate::{Error, PathError, names};

const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// The lock file is opened again whenever another process has removed it, up to this many times in total.
const MAX_OPENS: usize = 16;
pub(super) const LOCK: &str = ".lock";
pub(super) const PUBLISHING: &str = ".publishing";
/// The folder with the pending change.
pub(crate) const STAGED: &str = "staged";
/// The folder for copies of local files that were replaced with files from the server.
pub(super) const SUPERSEDED: &str = "superseded";

/// The paths of one repository. Only the folders `metadata/` and `targets/` may be served to clients.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
    sharing: Sharing,
    user: UserConfig,
}

impl Layout {
    /// Returns the layout of the repository in `dir`, for a single user who has no configuration file.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), sharing: Sharing::Private, user: UserConfig::none() }
    }

    #[must_use]
    pub(crate) fn of_user(self, user: UserConfig) -> Self {
        Self { user, ..self }
    }

    pub(crate) fn user(&self) -> &UserConfig {
        &self.user
    }

    /// Sets which users may change the repository.
    #[must_use]
    pub fn shared(self, sharing: Sharing) -> Self {
        Self { sharing, ..self }
    }

    /// Returns which users may change the repository.
    #[must_use]
    pub fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// Returns the path of the repository's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the path of the configuration file, `repo.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.join("repo.toml")
    }

    /// Returns the folder of the published metadata.
    #[must_use]
    pub fn metadata(&self) -> PathBuf {
        self.dir.join("metadata")
    }

    /// Returns the folder of the published target files.
    #[must_use]
    pub fn targets(&self) -> PathBuf {
        self.dir.join("targets")
    }

    /// Returns the default folder for private keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// Returns the folder of the pending change.
    #[must_use]
    pub fn staged(&self) -> PathBuf {
        self.dir.join("staged")
    }

    /// Returns this user's working folder, which contains the new files and the journal of the current publication.
    #[must_use]
    pub fn publishing(&self) -> PathBuf {
        self.dir.join(self.own(PUBLISHING))
    }

    /// Returns this user's folder for requests that are waiting to be published.
    #[must_use]
    pub fn queue(&self) -> PathBuf {
        self.dir.join(self.own(".queue"))
    }

    /// Each user of a shared repository has a separate folder, such as `.queue-1000`: the user ID is appended to
    /// `name`.
    pub(super) fn own(&self, name: &str) -> String {
        match self.sharing {
            Sharing::Private => name.to_string(),
            Sharing::Group(_) => format!("{name}-{}", user()),
        }
    }

    pub(crate) fn open(&self) -> Result<Folder, Error> {
        Folder::open(&self.dir)
    }

    /// Opens [`Layout::publishing`], or creates it if it does not exist. Refuses a folder that does not belong to this
    /// user.
    pub(crate) fn make_publishing(&self) -> Result<Folder, Error> {
        // Other members of the group must be able to see whether the folder contains a journal.
        let mode = if self.sharing == Sharing::Private { 0o700 } else { 0o711 };
        let folder = self.open()?.enter_or_make(self.own(PUBLISHING), mode, Sharing::Private)?;
        folder.check_ours().map(|()| folder)
    }

    /// Opens [`Layout::queue`], or creates it if it does not exist. Refuses a folder that does not belong to this user.
    pub(crate) fn make_queue(&self) -> Result<Folder, Error> {
        let folder = self.open()?.enter_or_make(self.own(".queue"), 0o700, Sharing::Private)?;
        folder.check_ours().map(|()| folder)
    }

    /// Opens [`Layout::queue`] if it exists. Refuses a folder that does not belong to this user.
    pub(crate) fn open_queue(&self) -> Result<Option<Folder>, Error> {
        let folder = self.open()?.enter(self.own(".queue"))?;
        folder.as_ref().map_or(Ok(()), Folder::check_ours).map(|()| folder)
    }

    /// Opens [`Layout::staged`], or creates it if it does not exist. Refuses a folder that belongs to neither this user
    /// nor the group.
    pub(crate) fn make_staged(&self) -> Result<Folder, Error> {
        let folder = self.open()?.enter_or_make(STAGED, 0o700, self.sharing)?;
        self.check_staged(&folder).map(|()| folder)
    }

    /// Opens [`Layout::staged`] if it exists. Refuses a folder that belongs to neither this user nor the group.
    pub(crate) fn open_staged(&self) -> Result<Option<Folder>, Error> {
        let folder = self.open()?.enter(STAGED)?;
        folder.as_ref().map_or(Ok(()), |folder| self.check_staged(folder)).map(|()| folder)
    }

    /// Opens the folder `superseded/`, or creates it if it does not exist. Refuses a folder that belongs to neither
    /// this user nor the group.
    #[cfg(feature = "http")]
    pub(crate) fn make_superseded(&self) -> Result<Folder, Error> {
        let folder = self.open()?.enter_or_make(SUPERSEDED, 0o700, self.sharing)?;
        self.check_staged(&folder).map(|()| folder)
    }

    /// Opens the folder `superseded/` if it exists. Refuses a folder that belongs to neither this user nor the group.
    pub(crate) fn open_superseded(&self) -> Result<Option<Folder>, Error> {
        let folder = self.open()?.enter(SUPERSEDED)?;
        folder.as_ref().map_or(Ok(()), |folder| self.check_staged(folder)).map(|()| folder)
    }

    fn check_staged(&self, folder: &Folder) -> Result<(), Error> {
        match self.sharing {
            Sharing::Private => folder.check_ours(),
            Sharing::Group(group) => folder.check_shared(group),
        }
    }

    /// Returns the interrupted publications of all users, which are those whose working folders contain a journal.
    pub(crate) fn interrupted(&self) -> Result<Vec<Interrupted>, Error> {
        let dir = self.open()?;
        let mut interrupted = Vec::new();
        for name in dir.names()?.into_iter().filter_map(|name| name.into_string().ok()) {
            let of_user = name.strip_prefix(PUBLISHING).map(|rest| rest.strip_prefix('-').unwrap_or(rest));
            if !of_user.is_some_and(|number| number.is_empty() || number.parse::<u32>().is_ok()) {
                continue;
            }
            let Some(folder) = dir.look(&name)?.filter(EntryInfo::is_folder) else { continue };
            if folder.is_closed() && ![0, folder.owner()].contains(&user()) {
                return Err(PathError::NotShared { path: self.dir.join(&name), owner: folder.owner() }.into());
            }
            if dir.look(Path::new(&name).join(JOURNAL))?.is_some() {
                interrupted.push(Interrupted { folder: self.dir.join(&name), name, owner: folder.owner() });
            }
        }
        Ok(interrupted)
    }

    /// Returns whether the tool uses the name `name` for a file or folder of its own in the repository's folder. Such a
    /// file or folder must never be published as a target.
    #[must_use]
    pub fn is_own(name: &OsStr) -> bool {
        let name = name.to_string_lossy();
        let is_working_folder = [".publishing", ".queue"].iter().any(|start| name.starts_with(start));
        is_working_folder
            || ["metadata", "targets", "keys", "staged", "superseded", "repo.toml", ".lock", ".issued.json"]
                .contains(&name.as_ref())
    }

    /// Replaces a file of the repository atomically: writes a new file in `.publishing/`, makes it durable (fsync) and
    /// renames it. The caller must hold the lock. If the process crashes, the next holder of the lock removes the new
    /// file.
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
        self.replace_from(&self.make_publishing()?, path, bytes, mode)
    }

    /// Like [`Layout::replace`], but writes the new file in `folder`.
    pub(crate) fn replace_from(&self, folder: &Folder, path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
        let relative = path.strip_prefix(&self.dir).map_err(|_| PathError::Outside { path: path.to_path_buf() })?;
        let goal = self.open()?.find(relative.parent().unwrap_or(Path::new("")))?;
        let goal = goal.ok_or_else(|| Error::file("replace", path, io::ErrorKind::NotFound.into()))?;
        let name = names::of_file(relative)?;
        let create = |path: &Path| disk::create(folder.place(path.file_name().unwrap_or_default()), mode);
        let (mut file, new) = disk::create_unique(folder.path(), REPLACES, "", create)
            .map_err(|error| Error::file("create a file in", folder.path(), error))?;
        let new = names::of_file(&new)?;
        let replaced = file
            .write_all(bytes)
            .map_err(|error| Error::file("write", path, error))
            .and_then(|()| file.sync().map_err(|error| Error::file("sync", path, error)))
            .and_then(|()| {
                let kept = file.keep_owner(goal.place(name));
                let renamed = kept.and_then(|()| disk::rename(folder.place(new), goal.place(name)));
                renamed.map_err(|error| Error::file("replace", path, error))
            });
        if replaced.is_err() {
            let _ = disk::remove(folder.place(new));
        }
        replaced?;
        goal.sync()
    }

    /// Acquires the exclusive lock, or returns [`Error::Busy`] if another process holds it. The lock is released when
    /// the returned value is dropped or the process ends.
    pub fn lock(&self) -> Result<Lock, Error> {
        let dir = self.open()?;
        let path = self.dir.join(LOCK);
        for _ in 0..MAX_OPENS {
            let file = self.open_lock(&dir, &path)?;
            match disk::try_lock_named(&file, dir.place(LOCK)).map_err(|error| Error::file("lock", &path, error))? {
                Locking::Taken => {
                    if let Sharing::Group(group) = self.sharing {
                        open_to_group(&dir, group)?;
                    }
                    return Ok(Lock { _file: file, working: OnceLock::new() });
                }
                Locking::Busy => break,
                // Another process removed the lock file before this process locked it. A lock on a removed file does
                // not exclude other processes, so open the lock file again.
                Locking::Replaced => {}
            }
        }
        Err(Error::Busy { folder: self.dir.clone(), waited: Duration::ZERO })
    }

    fn open_lock(&self, dir: &Folder, path: &Path) -> Result<File, Error> {
        let open = match self.sharing {
            Sharing::Private => disk::lock_file_of_owner,
            Sharing::Group(_) => disk::lock_file,
        };
        let file = open(dir.place(LOCK)).map_err(|error| match dir.look(LOCK) {
            Ok(Some(found)) if found.is_file() && found.owner() != user() => locked_by(path, found.owner()),
            Ok(Some(found)) if !found.is_file() => not_a_lock(path),
            _ => Error::file("open", path, error),
        })?;
        let found = file.metadata().map_err(|error| Error::file("look at", path, error))?;
        if !found.is_file() {
            return Err(not_a_lock(path));
        }
        match self.sharing {
            Sharing::Private if found.uid() == user() => {}
            Sharing::Group(group) if found.gid() == group && found.mode() & 0o060 == 0o060 => {}
            Sharing::Group(group) if found.uid() == user() => {
                disk::share(&file, path, group, 0o660).map_err(|error| Error::file("share", path, error))?;
            }
            _ => return Err(locked_by(path, found.uid())),
        }
        Ok(file)
    }

    /// Acquires the exclusive lock. If another process holds the lock, calls `on_wait` once, and waits for at most
    /// `at_most`. Returns [`Error::Busy`] if another process still holds the lock after that time.
    pub fn lock_within(&self, at_most: Duration, on_wait: &dyn Fn()) -> Result<Lock, Error> {
        let start = Instant::now();
        let mut has_waited = false;
        loop {
            match self.lock() {
                Err(Error::Busy { .. }) if start.elapsed() < at_most => {}
                Err(Error::Busy { folder, .. }) => return Err(Error::Busy { folder, waited: start.elapsed() }),
                answer => return answer,
            }
            if !has_waited {
                has_waited = true;
                on_wait();
            }
            std::thread::sleep(LOCK_PAUSE);
        }
    }
}

/// The folders that the group can access in a shared repository, with their modes.
///
/// Other members must be able to see whether `.publishing` contains a journal, and to modify the pending change.
/// Members may also add keys to `keys`, where the sticky bit prevents them from removing the keys of other members. A
/// private key file is readable only by its owner.
const FOLDERS: [(&str, u32); 4] = [(PUBLISHING, 0o711), (STAGED, 0o2770), (SUPERSEDED, 0o2770), ("keys", 0o3770)];

/// Gives the group access to the folders in [`FOLDERS`] that this user owns in the repository `dir`. Skips links, such
/// as a link to a key folder on another disk.
fn open_to_group(dir: &Folder, group: u32) -> Result<(), Error> {
    for (name, mode) in FOLDERS {
        let is_own = dir.look(name)?.is_some_and(|found| found.is_folder() && found.owner() == user());
        if is_own && let Some(folder) = dir.enter(name)? {
            folder.open_to_group(group, mode)?;
        }
    }
    Ok(())
}

/// The lock on a repository. While it exists, no other process changes the repository. If the preparation of a
/// publication fails, dropping the lock removes the prepared files, such as private keys and unpublished targets.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    working: OnceLock<Folder>,
}

impl Lock {
    /// Empties the working folder when the lock is released, unless the folder contains a journal.
    pub(crate) fn clear_on_release(&self, working: Folder) {
        // `set` fails on the second call. Ignore this error, because every call passes the same folder.
        let _ = self.working.set(working);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(working) = self.working.get()
            && working.look(JOURNAL).is_ok_and(|journal| journal.is_none())
        {
            // Ignore errors, because the next command also clears the folder.
            let _ = working.clear();
        }
    }
}

/// If a publication is interrupted, the journal contains what is needed to finish it.
pub(crate) const JOURNAL: &str = "journal.json";
/// The prefix of the temporary names of files that will replace existing files.
pub(crate) const REPLACES: &str = "replaces-";

pub(super) fn not_a_lock(path: &Path) -> Error {
    PathError::NoRegularFile { path: path.to_path_buf() }.into()
}

pub(super) fn locked_by(path: &Path, owner: u32) -> Error {
    PathError::WrongLockOwner { path: path.to_path_buf(), owner, user: user() }.into()
}
