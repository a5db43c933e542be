//! Where the files of a repository are, and the lock under which they change.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use lastmile_client::disk::{self, NewFile};
use rustix::fs::OFlags;

use crate::files::folder::{Folder, Found, read_at_most, user};
use crate::user::UserConfig;
use crate::{Error, PathError, names};

/// How often a held lock is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
const LOCK: &str = ".lock";
const PUBLISHING: &str = ".publishing";
/// The name of the folder with the pending change.
pub(crate) const STAGED: &str = "staged";
/// Where copies of files lie that an adoption replaced.
const SUPERSEDED: &str = "superseded";

/// Who changes a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sharing {
    /// One user. Working folders of anybody else are refused.
    #[default]
    Private,
    /// The members of a group, by its number. Each of them declares this, and has working folders of their own.
    Group(u32),
}

/// The paths of one repository. Only `metadata/` and `targets/` are ever served.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
    sharing: Sharing,
    user: UserConfig,
}

impl Layout {
    /// The repository in `dir`, which one user without a configuration changes.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), sharing: Sharing::Private, user: UserConfig::none() }
    }

    /// The same repository, changed by the user with this configuration.
    #[must_use]
    pub(crate) fn of_user(self, user: UserConfig) -> Self {
        Self { user, ..self }
    }

    /// The configuration of the user who changes it.
    pub(crate) fn user(&self) -> &UserConfig {
        &self.user
    }

    /// The same repository, changed by whom `sharing` says.
    #[must_use]
    pub fn shared(self, sharing: Sharing) -> Self {
        Self { sharing, ..self }
    }

    /// Who changes it.
    #[must_use]
    pub fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// The repository's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The configuration, `repo.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.join("repo.toml")
    }

    /// Published metadata.
    #[must_use]
    pub fn metadata(&self) -> PathBuf {
        self.dir.join("metadata")
    }

    /// Published target files.
    #[must_use]
    pub fn targets(&self) -> PathBuf {
        self.dir.join("targets")
    }

    /// Private keys, unless they live elsewhere.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// Changes that lack signatures.
    #[must_use]
    pub fn staged(&self) -> PathBuf {
        self.dir.join("staged")
    }

    /// Files on their way to publication, and the journal of a publication under way: this user's.
    #[must_use]
    pub fn publishing(&self) -> PathBuf {
        self.dir.join(self.own(PUBLISHING))
    }

    /// Releases that wait to be published together: this user's.
    #[must_use]
    pub fn queue(&self) -> PathBuf {
        self.dir.join(self.own(".queue"))
    }

    /// The name of a working folder: where several users work, each has their own.
    fn own(&self, name: &str) -> String {
        match self.sharing {
            Sharing::Private => name.to_string(),
            Sharing::Group(_) => format!("{name}-{}", user()),
        }
    }

    /// The repository's folder, open.
    pub(crate) fn open(&self) -> Result<Folder, Error> {
        Folder::open(&self.dir)
    }

    /// [`Layout::publishing`], made where it is missing, and ours.
    pub(crate) fn open_publishing(&self) -> Result<Folder, Error> {
        // Others of a group must be able to see that there is a journal in it.
        let mode = if self.sharing == Sharing::Private { 0o700 } else { 0o711 };
        let folder = self.open()?.enter_or_make(self.own(PUBLISHING), mode, Sharing::Private)?;
        folder.check_ours().map(|()| folder)
    }

    /// [`Layout::queue`], made where it is missing, and ours.
    pub(crate) fn make_queue(&self) -> Result<Folder, Error> {
        let folder = self.open()?.enter_or_make(self.own(".queue"), 0o700, Sharing::Private)?;
        folder.check_ours().map(|()| folder)
    }

    /// [`Layout::queue`], if it is there; then it is ours.
    pub(crate) fn open_queue(&self) -> Result<Option<Folder>, Error> {
        let folder = self.open()?.enter(self.own(".queue"))?;
        folder.as_ref().map_or(Ok(()), Folder::check_ours).map(|()| folder)
    }

    /// [`Layout::staged`], made where it is missing; then it is ours or the group's.
    pub(crate) fn make_staged(&self) -> Result<Folder, Error> {
        let folder = self.open()?.enter_or_make(STAGED, 0o700, self.sharing)?;
        self.check_staged(&folder).map(|()| folder)
    }

    /// [`Layout::staged`], if it is there; then it is ours or the group's.
    pub(crate) fn open_staged(&self) -> Result<Option<Folder>, Error> {
        let folder = self.open()?.enter(STAGED)?;
        folder.as_ref().map_or(Ok(()), |folder| self.check_staged(folder)).map(|()| folder)
    }

    /// The folder for files that an adoption replaces, made where it is missing; then it is ours or the group's.
    pub(crate) fn make_superseded(&self) -> Result<Folder, Error> {
        let folder = self.open()?.enter_or_make(SUPERSEDED, 0o700, self.sharing)?;
        self.check_staged(&folder).map(|()| folder)
    }

    /// The folder of [`Layout::make_superseded`], if it is there; then it is ours or the group's.
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

    /// The names of all folders of publications that are there, with the user to whom each belongs, and whether a
    /// publication was interrupted there.
    pub(crate) fn interrupted(&self) -> Result<Vec<Interrupted>, Error> {
        let dir = self.open()?;
        let mut interrupted = Vec::new();
        for name in dir.names()?.into_iter().filter_map(|name| name.into_string().ok()) {
            let user = name.strip_prefix(PUBLISHING).map(|rest| rest.strip_prefix('-').unwrap_or(rest));
            if !user.is_some_and(|user| user.is_empty() || user.parse::<u32>().is_ok()) {
                continue;
            }
            let Some(folder) = dir.look(&name)?.filter(Found::is_folder) else { continue };
            if dir.look(Path::new(&name).join(JOURNAL))?.is_some() {
                interrupted.push(Interrupted { folder: self.dir.join(&name), name, owner: folder.owner() });
            }
        }
        Ok(interrupted)
    }

    /// Whether an entry of the repository's folder belongs to the tool, and is never taken for a file to publish.
    #[must_use]
    pub fn is_own(name: &OsStr) -> bool {
        let name = name.to_string_lossy();
        let is_working_folder = [".publishing", ".queue"].iter().any(|start| name.starts_with(start));
        is_working_folder
            || ["metadata", "targets", "keys", "staged", "superseded", "repo.toml", ".lock", ".issued.json"]
                .contains(&name.as_ref())
    }

    /// Replaces a file of the repository as a whole: a new one in `.publishing/`, synced, then renamed. Only under the
    /// lock: what is left there by a crash, the next one who has it clears away.
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
        self.replace_from(&self.open_publishing()?, path, bytes, mode)
    }

    /// The same with the new file made in `folder`.
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
                disk::rename(folder.place(new), goal.place(name)).map_err(|error| Error::file("replace", path, error))
            });
        if replaced.is_err() {
            let _ = disk::remove(folder.place(new));
        }
        replaced?;
        goal.sync()
    }

    /// Takes the exclusive lock; it goes away with the value or the process.
    pub fn lock(&self) -> Result<Lock, Error> {
        let (dir, path) = (self.open()?, self.dir.join(LOCK));
        let file = disk::lock_file(dir.place(LOCK)).map_err(|error| match dir.look(LOCK) {
            Ok(Some(found)) if found.is_file() && found.owner() != user() => locked_by(&path, found.owner()),
            Ok(Some(found)) if !found.is_file() => not_a_lock(&path),
            _ => Error::file("open", &path, error),
        })?;
        let found = file.metadata().map_err(|error| Error::file("look at", &path, error))?;
        if !found.is_file() {
            return Err(not_a_lock(&path));
        }
        match self.sharing {
            Sharing::Private if found.uid() == user() => {}
            Sharing::Group(group) if found.gid() == group && found.mode() & 0o060 == 0o060 => {}
            Sharing::Group(group) if found.uid() == user() => {
                disk::share(&file, &path, group, 0o660).map_err(|error| Error::file("share", &path, error))?;
            }
            _ => return Err(locked_by(&path, found.uid())),
        }
        match disk::try_lock(&file, &path) {
            Ok(true) => Ok(Lock { _file: file }),
            Ok(false) => Err(Error::Busy { folder: self.dir.clone(), waited: Duration::ZERO }),
            Err(error) => Err(Error::file("lock", &path, error)),
        }
    }

    /// The same, waiting while another process has it; `told` is called when waiting begins.
    pub fn lock_within(&self, at_most: Duration, told: &dyn Fn()) -> Result<Lock, Error> {
        let start = Instant::now();
        let mut is_told = false;
        loop {
            match self.lock() {
                Err(Error::Busy { .. }) if start.elapsed() < at_most => {}
                Err(Error::Busy { folder, .. }) => return Err(Error::Busy { folder, waited: start.elapsed() }),
                answer => return answer,
            }
            if !std::mem::replace(&mut is_told, true) {
                told();
            }
            std::thread::sleep(LOCK_PAUSE);
        }
    }
}

/// Proof that this process alone changes the repository.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The name of the journal of a publication.
pub(crate) const JOURNAL: &str = "journal.json";
/// How the names of files begin that are to replace others.
pub(crate) const REPLACES: &str = "replaces-";

/// A publication that was interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// Its working folder.
    pub folder: PathBuf,
    /// The name of that folder in the repository.
    pub(crate) name: String,
    /// The user whose publication it is.
    pub owner: u32,
}

impl Interrupted {
    /// What happened, and who has to run what.
    #[must_use]
    pub fn advice(&self) -> String {
        let (folder, owner) = (self.folder.display(), self.owner);
        match owner == user() {
            true => "a publication was interrupted; run `lastmile-repo renew` to finish it".to_string(),
            false => format!(
                "a publication of user {owner} was cut short: user {owner} finishes it with `lastmile-repo renew`; if that \
                 user is gone, remove {folder} and run `lastmile-repo verify`"
            ),
        }
    }
}

fn not_a_lock(path: &Path) -> Error {
    PathError::NoRegularFile { path: path.to_path_buf() }.into()
}

fn locked_by(path: &Path, owner: u32) -> Error {
    PathError::WrongLockOwner { path: path.to_path_buf(), owner, user: user() }.into()
}

/// Most bytes of a root file, and of what people write by hand.
const SMALL: u64 = 16 << 20;

/// Reads a regular file of at most 16 MiB, never through a link. `None` when there is none.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    read_small(path, SMALL)
}

/// Most bytes of a metadata file. Roles that were published before a limit was known must still be readable, to be made
/// smaller.
pub(crate) const LONGEST_METADATA: u64 = 1 << 32;

/// Reads a regular file that has at most `most` bytes, never through a link. `None` when there is none.
pub(crate) fn read_small(path: &Path, most: u64) -> Result<Option<Vec<u8>>, Error> {
    open_if_there(path)?.map(|file| read_at_most(file, path, most)).transpose()
}

fn open_if_there(path: &Path) -> Result<Option<File>, Error> {
    match open_regular(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Error::file("read", path, error)),
    }
}

/// Opens a regular file for reading: no link, no FIFO, no device.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK, opening a FIFO would wait for a writer.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// Creates a file that must not exist, readable by its owner only until it is published.
pub fn create_new(path: &Path, mode: u32) -> Result<NewFile, Error> {
    disk::create(path, mode).map_err(|error| Error::file("create", path, error))
}

/// Writes a file that must not exist; it is not synced.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    create_new(path, mode)?.write_all(bytes).map_err(|error| Error::file("write", path, error))
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder)
        .and_then(|file| disk::sync_folder(file, folder))
        .map_err(|error| Error::file("sync", folder, error))
}

/// Creates `folder` for its owner only.
pub fn create_private_folder(folder: &Path) -> Result<(), Error> {
    match disk::make_folder(folder, 0o700) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => real_folder(folder),
        Err(error) => Err(Error::file("create", folder, error)),
    }
}

/// Creates the folders of `relative` below `base`, refusing links on the way.
pub fn create_folders(base: &Path, relative: &Path) -> Result<(), Error> {
    let mut folder = base.to_path_buf();
    for part in relative.components() {
        let Component::Normal(part) = part else {
            return Err(PathError::LeadsOut { path: relative.to_path_buf() }.into());
        };
        folder.push(part);
        match disk::make_folder(&folder, 0o777) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => real_folder(&folder)?,
            Err(error) => return Err(Error::file("create", &folder, error)),
        }
    }
    Ok(())
}

/// Refuses what is not a folder itself: a link to one would lead writes elsewhere.
pub fn real_folder(folder: &Path) -> Result<(), Error> {
    let kind = fs::symlink_metadata(folder).map_err(|error| Error::file("look at", folder, error))?;
    if kind.is_dir() {
        return Ok(());
    }
    Err(PathError::NoFolder { path: folder.to_path_buf() }.into())
}
