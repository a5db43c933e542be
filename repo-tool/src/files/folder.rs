//! Handles to folders. Names are looked up relative to a handle, without following links. This module can also check
//! who owns a folder.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lastmile_fs::Place;
use lastmile_fs::disk::{self, NewFile};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::files::access::read_at_most;
use crate::files::digest::FileDigest;
use crate::files::owner::{OTHERS_WRITE, user};
use crate::files::sharing::Sharing;
use crate::{Error, PathError};

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);

/// A handle to a folder. Names are always looked up in this folder, even if it has been renamed or another folder now
/// has its path. Symbolic links are not followed (rule R-x-2 in `tests/spec-rows.txt`).
#[derive(Debug)]
pub(crate) struct Folder {
    handle: OwnedFd,
    path: PathBuf,
}

pub(crate) struct EntryInfo(Stat);

impl EntryInfo {
    pub(crate) fn is_folder(&self) -> bool {
        self.kind() == FileType::Directory
    }

    pub(crate) fn is_file(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    pub(crate) fn owner(&self) -> u32 {
        self.0.st_uid
    }

    /// Returns whether only the owner may access the entries of this folder.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.st_mode & 0o011 == 0
    }

    /// Returns the time of the last modification, in seconds and nanoseconds since the Unix epoch.
    pub(crate) fn modified(&self) -> (i64, i64) {
        (self.0.st_mtime, i64::try_from(self.0.st_mtime_nsec).unwrap_or_default())
    }

    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.0.st_mode)
    }
}

impl Folder {
    /// Follows links, because users may specify a path that contains links.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let handle = fs::open(path, DIRECTORY, Mode::empty());
        let handle = handle.map_err(|error| Error::file("open", path, error.into()))?;
        Ok(Self { handle, path: path.to_path_buf() })
    }

    /// Refuses a path whose last component is a link.
    pub(crate) fn open_real(path: &Path) -> Result<Self, Error> {
        let handle = fs::open(path, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
        let handle = handle.map_err(|error| Error::file("open", path, error.into()))?;
        Ok(Self { handle, path: path.to_path_buf() })
    }

    /// Opens the subfolder `name`. Returns `None` if the subfolder does not exist.
    ///
    /// # Errors
    /// [`Error::Path`] if the entry is not a folder, or is a link to a folder.
    pub(crate) fn enter(&self, name: impl AsRef<Path>) -> Result<Option<Self>, Error> {
        let name = name.as_ref();
        let path = self.path_of(name);
        if !is_plain(name) {
            return Err(PathError::NoFolderName { path }.into());
        }
        match fs::openat(&self.handle, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(handle) => Ok(Some(Self { handle, path })),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => Err(PathError::NoWorkingFolder { path }.into()),
            Err(error) => Err(Error::file("open", &path, error.into())),
        }
    }

    /// Opens the subfolder `name`, or creates it if it does not exist. In a shared repository, a new folder belongs to
    /// the group, and the group gets the same permissions as the owner.
    pub(crate) fn enter_or_make(&self, name: impl AsRef<Path>, mode: u32, sharing: Sharing) -> Result<Self, Error> {
        let name = name.as_ref();
        if let Some(folder) = self.enter(name)? {
            return Ok(folder);
        }
        let path = self.path_of(name);
        let made = disk::make_folder(self.place(name), mode);
        let is_new = match made {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(Error::file("create", &path, error)),
        };
        let missing = || Error::file("open", &path, io::ErrorKind::NotFound.into());
        let folder = self.enter(name)?.ok_or_else(missing)?;
        if let (true, Sharing::Group(group)) = (is_new, sharing) {
            let shared = mode & 0o705 | (mode & 0o700) >> 3;
            disk::share(&folder.handle, &path, group, shared).map_err(|error| Error::file("share", &path, error))?;
        }
        Ok(folder)
    }

    /// Opens the folder at the path `relative` below this folder, and creates missing folders.
    pub(crate) fn descend(&self, relative: &Path, mode: u32, sharing: Sharing) -> Result<Self, Error> {
        let mut folder = self.again()?;
        for part in relative.components() {
            let Component::Normal(part) = part else {
                return Err(PathError::LeadsOut { path: relative.to_path_buf() }.into());
            };
            folder = folder.enter_or_make(part, mode, sharing)?;
        }
        Ok(folder)
    }

    /// Like [`Folder::descend`], but creates no folders. Returns `None` if one of the folders does not exist.
    pub(crate) fn find(&self, relative: &Path) -> Result<Option<Self>, Error> {
        let mut folder = self.again()?;
        for part in relative.components() {
            match folder.enter(part)? {
                Some(next) => folder = next,
                None => return Ok(None),
            }
        }
        Ok(Some(folder))
    }

    /// Returns a second handle to this folder.
    pub(crate) fn again(&self) -> Result<Self, Error> {
        let handle = self.handle.try_clone().map_err(|error| Error::file("open", &self.path, error))?;
        Ok(Self { handle, path: self.path.clone() })
    }

    /// Refuses a working folder that another user owns, or that other users can write to.
    pub(crate) fn check_ours(&self) -> Result<(), Error> {
        let found = self.stat()?;
        let path = self.path.clone();
        let user = user();
        let owner = found.st_uid;
        if owner != user {
            return Err(PathError::WrongOwner { path, owner, user }.into());
        }
        match found.st_mode & OTHERS_WRITE {
            0 => Ok(()),
            _ => Err(PathError::WritableByOthers { path, mode: found.st_mode & 0o7777 }.into()),
        }
    }

    /// Refuses a folder that belongs to neither this user nor the group, or that all users can write to.
    pub(crate) fn check_shared(&self, group: u32) -> Result<(), Error> {
        let found = self.stat()?;
        let path = self.path.clone();
        if found.st_uid != user() && found.st_gid != group {
            let owner = found.st_uid;
            let owner_group = found.st_gid;
            return Err(PathError::WrongGroup { path, owner, owner_group, group }.into());
        }
        match found.st_mode & 0o002 {
            0 => Ok(()),
            _ => Err(PathError::WritableByAll { path, mode: found.st_mode & 0o7777 }.into()),
        }
    }

    /// Assigns the folder to `group` and sets its permissions to `mode`. Changes nothing if the folder already belongs
    /// to the group and has at least these permissions.
    pub(super) fn open_to_group(&self, group: u32, mode: u32) -> Result<(), Error> {
        let found = self.stat()?;
        if found.st_gid == group && found.st_mode & mode == mode {
            return Ok(());
        }
        disk::share(&self.handle, &self.path, group, mode).map_err(|error| Error::file("share", &self.path, error))
    }

    /// Returns the time since the last modification, or `None` if the modification time is in the future.
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock determines only whether a request is abandoned, and never what is trusted"
    )]
    pub(crate) fn age(&self) -> Result<Option<Duration>, Error> {
        let changed = u64::try_from(self.stat()?.st_mtime).unwrap_or_default();
        Ok(SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(changed)).ok())
    }

    fn stat(&self) -> Result<Stat, Error> {
        fs::fstat(&self.handle).map_err(|error| Error::file("look at", &self.path, error.into()))
    }

    /// Returns the type, owner and permissions of an entry, or `None` if the entry does not exist. `name` may be a path
    /// into a subfolder. If the entry is a link, the result describes the link itself.
    pub(crate) fn look(&self, name: impl AsRef<Path>) -> Result<Option<EntryInfo>, Error> {
        match fs::statat(&self.handle, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(EntryInfo(found))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(Error::file("look at", &self.path_of(name), error.into())),
        }
    }

    /// Opens a regular file for reading. Refuses links, FIFOs and devices.
    pub(crate) fn open_file(&self, name: impl AsRef<Path>) -> io::Result<File> {
        // Opening a FIFO without NONBLOCK would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(fs::openat(&self.handle, name.as_ref(), flags, Mode::empty())?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
        }
    }

    /// Reads a regular file of at most `most` bytes. Returns `None` if the file does not exist.
    pub(crate) fn read(&self, name: impl AsRef<Path>, most: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path_of(&name);
        match self.open_file(name) {
            Ok(file) => read_at_most(file, &path, most).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", &path, error)),
        }
    }

    /// Computes the digest of the file `name` and passes all its bytes to `each`. Returns `None` if the file does not
    /// exist.
    pub(crate) fn digest(&self, name: &str, each: impl FnMut(&[u8])) -> Result<Option<FileDigest>, Error> {
        let path = self.path_of(name);
        match self.open_file(name).and_then(|file| FileDigest::of_file(file, each)) {
            Ok(digest) => Ok(Some(digest)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", &path, error)),
        }
    }

    /// Fails if the file already exists.
    pub(crate) fn create(&self, name: impl AsRef<Path>, mode: u32) -> Result<NewFile, Error> {
        let name = name.as_ref();
        disk::create(self.place(name), mode).map_err(|error| Error::file("create", &self.path_of(name), error))
    }

    /// Writes a new file, but does not make it durable (fsync). Fails if the file already exists.
    pub(crate) fn write_new(&self, name: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<(), Error> {
        let name = name.as_ref();
        let written = self.create(name, mode)?.write_all(bytes);
        written.map_err(|error| Error::file("write", &self.path_of(name), error))
    }

    /// Returns the names of all entries in the folder, sorted.
    pub(crate) fn names(&self) -> Result<Vec<OsString>, Error> {
        let failed = |error: Errno| Error::file("list", &self.path, error.into());
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.handle).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            if !matches!(name.as_slice(), b"." | b"..") {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes all entries of the folder. Links are removed, not followed.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        for name in self.names()? {
            let removed = disk::remove_all(self.place(&name));
            removed.map_err(|error| Error::file("remove", &self.path_of(&name), error))?;
        }
        Ok(())
    }

    /// Makes created, renamed and removed entries of the folder durable (fsync).
    pub(crate) fn sync(&self) -> Result<(), Error> {
        disk::sync_folder(&self.handle, &self.path).map_err(|error| Error::file("sync", &self.path, error))
    }

    /// Makes the whole file system that contains this folder durable (syncfs). Returns `false` if the operating system
    /// does not support this.
    #[cfg(target_os = "linux")]
    pub(crate) fn sync_file_system(&self) -> Result<bool, Error> {
        let synced = disk::sync_file_system(&self.handle, &self.path);
        synced.map(|()| true).map_err(|error| Error::file("sync", &self.path, error))
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the function must have the same signature as the one for Linux"
    )]
    pub(crate) fn sync_file_system(&self) -> Result<bool, Error> {
        Ok(false)
    }

    pub(crate) fn place<'a>(&'a self, name: &'a (impl AsRef<Path> + ?Sized)) -> Place<'a> {
        Place::below(&self.handle, &self.path, name)
    }

    /// Returns the path of the entry `name`, for messages.
    pub(crate) fn path_of(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the path that the folder had when it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Returns whether a name consists of a single normal path component.
fn is_plain(name: &Path) -> bool {
    let mut parts = name.components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name.as_os_str())
        && !OsStr::as_bytes(name.as_os_str()).contains(&0)
}
