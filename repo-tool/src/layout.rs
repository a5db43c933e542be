//! Where the files of a repository are, and the lock under which they change.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use lastmile_client::disk::{self, NewFile};
use rustix::fs::OFlags;

use crate::Error;

/// How often a held lock is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The paths of one repository. Only `metadata/` and `targets/` are ever served.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The repository in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// The repository's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The policy, `repo.toml`.
    #[must_use]
    pub fn policy(&self) -> PathBuf {
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

    /// Files on their way to publication, and the journal of a publication under way.
    #[must_use]
    pub fn publishing(&self) -> PathBuf {
        self.dir.join(".publishing")
    }

    /// Releases that wait to be published together.
    #[must_use]
    pub fn queue(&self) -> PathBuf {
        self.dir.join(".queue")
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
    pub fn replace(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
        let folder = self.publishing();
        let create = |path: &Path| disk::create(path, mode);
        let (mut file, new) = disk::unforeseen(&folder, "replaces-", "", create)
            .map_err(|error| Error::file("create a file in", &folder, error))?;
        let replaced = file
            .write_all(bytes)
            .map_err(|error| Error::file("write", path, error))
            .and_then(|()| file.sync().map_err(|error| Error::file("sync", path, error)))
            .and_then(|()| disk::rename(&new, path).map_err(|error| Error::file("replace", path, error)));
        if replaced.is_err() {
            let _ = disk::remove(&new);
        }
        replaced?;
        sync_folder(path.parent().unwrap_or(Path::new(".")))
    }

    /// Takes the exclusive lock; it goes away with the value or the process.
    pub fn lock(&self) -> Result<Lock, Error> {
        let path = self.dir.join(".lock");
        let file = disk::lock_file(&path).map_err(|error| Error::file("open", &path, error))?;
        match disk::try_lock(&file, &path) {
            Ok(true) => Ok(Lock { _file: file }),
            Ok(false) => Err(Error::Busy(self.dir.clone())),
            Err(error) => Err(Error::file("lock", &path, error)),
        }
    }

    /// The same, waiting while another process has it; `told` is called when waiting begins.
    pub fn lock_within(&self, at_most: Duration, told: &dyn Fn()) -> Result<Lock, Error> {
        let start = Instant::now();
        let mut is_told = false;
        loop {
            match self.lock() {
                Err(Error::Busy(_)) if start.elapsed() < at_most => {}
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

/// Reads a regular file, never through a link. `None` when there is none.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let mut file = match open_regular(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(Error::file("read", path, error)),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| Error::file("read", path, error))?;
    Ok(Some(bytes))
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
            return Err(Error::Refused(format!("{} leads out of the repository", relative.display())));
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
    Err(Error::Refused(format!("{} is not a folder (links are not followed)", folder.display())))
}
