//! One function for each system call that changes a disk.
//!
//! With the feature `faults`, tests can simulate a crash or a disk failure at any of these calls. Without the feature,
//! each function only makes the system call.

#![expect(clippy::disallowed_methods, reason = "only this module may write to disks")]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags};

#[cfg(feature = "faults")]
use crate::faults::{self, inject_fault};
use crate::{Place, Syscall};

mod owner;
mod temporary;

pub use owner::{lock_file_of_owner, make_folder_of_owner, make_folders_of_owner, replace};
pub use temporary::TemporaryFile;

#[cfg(not(feature = "faults"))]
#[inline]
#[expect(clippy::unnecessary_wraps, reason = "this function fails only with the feature `faults`")]
fn inject_fault(_: Syscall, _: Place<'_>) -> io::Result<()> {
    Ok(())
}

/// A new file, open for reading and writing.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
}

impl NewFile {
    /// Appends bytes to the file.
    ///
    /// # Errors
    ///
    /// Any I/O error. Some of the bytes may have been written before the error occurred.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let injected = inject_fault(Syscall::Write, Place::from(&self.path));
        #[cfg(feature = "faults")]
        faults::write_torn(&injected, bytes, |half| self.file.write_all(half));
        injected?;
        self.file.write_all(bytes)?;
        #[cfg(feature = "faults")]
        faults::wrote(&self.path, &self.file);
        Ok(())
    }

    /// Truncates the file to length zero.
    ///
    /// # Errors
    ///
    /// Any I/O error.
    pub fn empty(&mut self) -> io::Result<()> {
        inject_fault(Syscall::Empty, Place::from(&self.path))?;
        self.file.set_len(0)?;
        self.file.rewind()
    }

    /// Makes the content of the file durable (fsync).
    ///
    /// # Errors
    ///
    /// Any I/O error.
    pub fn sync(&self) -> io::Result<()> {
        sync(&self.file, &self.path)
    }

    /// Locks the file, so that other processes see that it is in use. Returns false if another process holds the lock.
    /// Also returns false if another process found the file unlocked and removed it.
    ///
    /// # Errors
    ///
    /// Any I/O error.
    pub fn hold(&self) -> io::Result<bool> {
        Ok(try_lock(&self.file, &self.path)? && self.file.metadata()?.nlink() > 0)
    }

    /// Returns another handle to the file, for use in another thread.
    ///
    /// # Errors
    ///
    /// Any I/O error.
    pub fn try_clone(&self) -> io::Result<NewFile> {
        Ok(NewFile { file: self.file.try_clone()?, path: self.path.clone() })
    }

    /// Returns the open file. Call this method after the last write.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }

    /// Returns the path at which the file was created.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        NewFile::write_all(self, bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Creates a new file with the permissions `mode`, reduced by the umask. Fails if the file exists.
///
/// # Errors
///
/// Any I/O error.
pub fn create<'a>(place: impl Into<Place<'a>>, mode: u32) -> io::Result<NewFile> {
    let place = place.into();
    inject_fault(Syscall::Create, place)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(place.folder(), place.name(), flags, Mode::from_raw_mode(mode))?;
    Ok(NewFile { file: File::from(file), path: place.path() })
}

/// The number of random letters and digits in a name that [`create_unique`] chooses.
pub const UNIQUE_LENGTH: usize = 12;

/// Creates a file or folder with a random name. Calls `make` with random names until it finds one that is not in use.
///
/// # Errors
///
/// Any error from `make`.
pub fn create_unique<T>(
    folder: &Path,
    prefix: &str,
    suffix: &str,
    make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<(T, PathBuf)> {
    let made =
        tempfile::Builder::new().prefix(prefix).suffix(suffix).rand_bytes(UNIQUE_LENGTH).make_in(folder, make)?;
    let (made, mut path) = made.into_parts();
    path.disable_cleanup(true);
    Ok((made, path.to_path_buf()))
}

/// Creates a folder with the permissions `mode`, reduced by the umask.
///
/// # Errors
///
/// Any I/O error, for example if the folder already exists.
pub fn make_folder<'a>(place: impl Into<Place<'a>>, mode: u32) -> io::Result<()> {
    let place = place.into();
    inject_fault(Syscall::MakeFolder, place)?;
    Ok(fs::mkdirat(place.folder(), place.name(), Mode::from_raw_mode(mode))?)
}

/// Creates a folder and its parents if they do not exist.
///
/// # Errors
///
/// Any I/O error, for example if something other than a folder exists at the path.
pub fn make_folders(path: &Path, mode: u32) -> io::Result<()> {
    make_missing(path, &|path| make_folder(path, mode))
}

/// Calls `make` for each missing folder on the path, starting with the outermost. Does nothing if the folder exists.
fn make_missing(path: &Path, make: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_missing(parent, make)?;
    }
    match make(path) {
        // Another process has created the folder, or `path` ends in `..` and so names a folder that exists.
        Err(_) if path.is_dir() => Ok(()),
        made => made,
    }
}

/// Makes the content of an open file durable (fsync).
///
/// # Errors
///
/// Any I/O error.
pub fn sync(file: &File, path: &Path) -> io::Result<()> {
    inject_fault(Syscall::Sync, Place::from(path))?;
    file.sync_all()?;
    #[cfg(feature = "faults")]
    faults::synced(file);
    Ok(())
}

/// Makes the entries of an open folder durable (fsync).
///
/// # Errors
///
/// Any I/O error.
pub fn sync_folder(folder: impl AsFd, path: &Path) -> io::Result<()> {
    inject_fault(Syscall::SyncFolder, Place::from(path))?;
    Ok(fs::fsync(folder)?)
}

/// Makes the whole file system of an open folder durable (syncfs).
///
/// # Errors
///
/// Any I/O error.
#[cfg(target_os = "linux")]
pub fn sync_file_system(folder: impl AsFd, path: &Path) -> io::Result<()> {
    inject_fault(Syscall::SyncAll, Place::from(path))?;
    fs::syncfs(folder)?;
    #[cfg(feature = "faults")]
    faults::all_synced();
    Ok(())
}

/// Renames a file or folder. If a file with the new name already exists, it is replaced.
///
/// # Errors
///
/// Any I/O error.
pub fn rename<'a, 'b>(from: impl Into<Place<'a>>, to: impl Into<Place<'b>>) -> io::Result<()> {
    let from = from.into();
    let to = to.into();
    inject_fault(Syscall::Rename, to)?;
    Ok(fs::renameat(from.folder(), from.name(), to.folder(), to.name())?)
}

/// Creates a hard link to a regular file, or a copy if the link cannot be created. This function does not follow a
/// symbolic link at `from`, but it may make `to` a hard link to the symbolic link itself. Therefore the caller must
/// check for symbolic links.
///
/// # Errors
///
/// Any I/O error.
pub fn link_or_copy<'a, 'b>(from: impl Into<Place<'a>>, to: impl Into<Place<'b>>) -> io::Result<()> {
    let from = from.into();
    let to = to.into();
    inject_fault(Syscall::Link, to)?;
    if fs::linkat(from.folder(), from.name(), to.folder(), to.name(), AtFlags::empty()).is_ok() {
        return Ok(());
    }
    // Without NONBLOCK, opening a FIFO would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let read = File::from(fs::openat(from.folder(), from.name(), flags, Mode::empty())?);
    let found = read.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    io::copy(&mut read.take(found.len()), &mut create(to, 0o644)?).map(drop)
}

/// Removes a file. If the path is a symbolic link, removes the link itself.
///
/// # Errors
///
/// Any I/O error, for example if the path does not exist.
pub fn remove<'a>(place: impl Into<Place<'a>>) -> io::Result<()> {
    let place = place.into();
    inject_fault(Syscall::Remove, place)?;
    Ok(fs::unlinkat(place.folder(), place.name(), AtFlags::empty())?)
}

/// Removes a folder and its content. Links are removed, not followed.
///
/// # Errors
///
/// Any I/O error, for example if the path does not exist.
pub fn remove_all<'a>(place: impl Into<Place<'a>>) -> io::Result<()> {
    remove_tree(place.into())
}

fn remove_tree(place: Place<'_>) -> io::Result<()> {
    let found = fs::statat(place.folder(), place.name(), AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return remove(place);
    }
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = fs::openat(place.folder(), place.name(), flags, Mode::empty())?;
    let path = place.path();
    for entry in fs::Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            match remove_tree(Place::below(&folder, &path, OsStr::from_bytes(name))) {
                // Another process has removed the entry.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
    }
    inject_fault(Syscall::RemoveFolder, place)?;
    Ok(fs::unlinkat(place.folder(), place.name(), AtFlags::REMOVEDIR)?)
}

/// Opens a lock file, and creates the file if it does not exist.
///
/// # Errors
///
/// Any I/O error, for example if the path is a symbolic link.
pub fn lock_file(place: Place<'_>) -> io::Result<File> {
    inject_fault(Syscall::Create, place)?;
    open_lock(place, OFlags::CREATE)
}

fn open_lock(place: Place<'_>, create: OFlags) -> io::Result<File> {
    let flags = create | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(fs::openat(place.folder(), place.name(), flags, Mode::from_raw_mode(0o600))?))
}

fn new_lock(place: Place<'_>) -> io::Result<File> {
    open_lock(place, OFlags::CREATE | OFlags::EXCL)
}

/// Opens an existing lock file for reading only.
///
/// # Errors
///
/// Any I/O error, for example if the path is a symbolic link.
pub fn existing_lock_file(place: Place<'_>) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(fs::openat(place.folder(), place.name(), flags, Mode::empty())?))
}

/// The maximum number of attempts to open and lock a file that other processes keep removing.
const MAX_OPENS: usize = 16;

/// Opens the file at `place` with `open`, and takes the exclusive lock on the file. If another process removed or
/// replaced the file before it was locked, the lock excludes nobody, so this function calls `open` again. Returns
/// `None` if another process holds the lock, or if other processes keep replacing the file.
///
/// # Errors
///
/// Any I/O error.
pub fn try_lock_at<'a>(
    place: impl Into<Place<'a>>,
    open: impl Fn(Place<'a>) -> io::Result<File>,
) -> io::Result<Option<File>> {
    let place = place.into();
    for _ in 0..MAX_OPENS {
        let file = open(place)?;
        match try_lock_named(&file, place)? {
            Locking::Taken => return Ok(Some(file)),
            Locking::Busy => return Ok(None),
            Locking::Replaced => {}
        }
    }
    Ok(None)
}

/// The result of an attempt to lock a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locking {
    /// The lock is held until the file is closed.
    Taken,
    /// Another process, or another part of this process, holds the lock.
    Busy,
    /// Another process removed or replaced the file before it was locked, so the lock excludes nobody.
    Replaced,
}

/// Takes the exclusive lock on an open file, and checks whether `place` still refers to this file.
///
/// # Errors
///
/// Any I/O error.
pub fn try_lock_named<'a>(file: &File, place: impl Into<Place<'a>>) -> io::Result<Locking> {
    let place = place.into();
    if !try_lock(file, &place.path())? {
        return Ok(Locking::Busy);
    }
    Ok(if is_at(file, place)? { Locking::Taken } else { Locking::Replaced })
}

fn is_at(file: &File, place: Place<'_>) -> io::Result<bool> {
    let open = fs::fstat(file)?;
    match fs::statat(place.folder(), place.name(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) => Ok((there.st_dev, there.st_ino) == (open.st_dev, open.st_ino)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Changes the group of an open file or folder, and sets its mode regardless of the umask.
///
/// # Errors
///
/// Any I/O error, for example if the current user is not a member of the group.
pub fn share(file: impl AsFd, path: &Path, group: u32, mode: u32) -> io::Result<()> {
    inject_fault(Syscall::Share, Place::from(path))?;
    fs::fchown(&file, None, Some(fs::Gid::from_raw(group)))?;
    Ok(fs::fchmod(&file, Mode::from_raw_mode(mode))?)
}

/// Takes the exclusive lock on an open file. Returns false if another process, or another part of this process, holds
/// the lock. The lock is released when the file is closed or the process ends.
///
/// # Errors
///
/// Any I/O error.
pub fn try_lock(file: &File, path: &Path) -> io::Result<bool> {
    inject_fault(Syscall::Lock, Place::from(path))?;
    match fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
