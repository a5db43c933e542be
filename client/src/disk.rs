//! Every call that changes a disk, one function each. The client and the repository tool change it in no other way.
//!
//! So there is one place where a test can let the machine die, or the disk refuse: before any call (`faults`, which
//! exists with the feature of that name only). Without it, each function is the system's call and nothing more.

#![expect(clippy::disallowed_methods, reason = "this is the one file that changes disks")]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};

#[cfg(feature = "faults")]
use crate::faults::{self, inject_fault};

/// A kind of call that changes a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Call {
    /// A folder is made.
    MakeFolder,
    /// A file is made.
    Create,
    /// Bytes are added to a file.
    Write,
    /// A file is emptied.
    Empty,
    /// A file's bytes are made durable.
    Sync,
    /// The names in a folder are made durable.
    SyncFolder,
    /// All of a file system is made durable.
    SyncAll,
    /// A file or folder gets another name.
    Rename,
    /// A file gets one more name.
    Link,
    /// A name goes away.
    Remove,
    /// A folder goes away.
    RemoveFolder,
    /// A lock is taken.
    Lock,
    /// A file or folder is handed to a group.
    Share,
}

#[cfg(not(feature = "faults"))]
#[inline]
#[expect(clippy::unnecessary_wraps, reason = "with the feature `faults` it may fail")]
fn inject_fault(_: Call, _: Place<'_>) -> io::Result<()> {
    Ok(())
}

/// A name in an open folder, or a path.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    folder: BorrowedFd<'a>,
    of: &'a Path,
    name: &'a Path,
}

impl<'a> Place<'a> {
    /// The name in the open `folder`, whose path is `of`: for messages only.
    #[must_use]
    pub fn below(folder: &'a OwnedFd, of: &'a Path, name: &'a (impl AsRef<Path> + ?Sized)) -> Place<'a> {
        Place { folder: folder.as_fd(), of, name: name.as_ref() }
    }

    /// Where that is, as people say it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.of.join(self.name)
    }
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for Place<'a> {
    fn from(path: &'a P) -> Place<'a> {
        Place { folder: CWD, of: Path::new(""), name: path.as_ref() }
    }
}

/// A new file, open for reading and writing.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
}

impl NewFile {
    /// Adds bytes.
    ///
    /// # Errors
    ///
    /// What the system says; a part of the bytes may have been added.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let injected = inject_fault(Call::Write, Place::from(&self.path));
        #[cfg(feature = "faults")]
        faults::write_torn(&injected, &mut self.file, bytes);
        injected?;
        self.file.write_all(bytes)?;
        #[cfg(feature = "faults")]
        faults::wrote(&self.path, &self.file);
        Ok(())
    }

    /// Takes all bytes back.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn empty(&mut self) -> io::Result<()> {
        inject_fault(Call::Empty, Place::from(&self.path))?;
        self.file.set_len(0)?;
        self.file.rewind()
    }

    /// Makes its bytes durable.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn sync(&self) -> io::Result<()> {
        sync(&self.file, &self.path)
    }

    /// Locks it, as a sign for others that somebody is at it. False where it was taken for abandoned before, and is gone.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn hold(&self) -> io::Result<bool> {
        Ok(try_lock(&self.file, &self.path)? && self.file.metadata()?.nlink() > 0)
    }

    /// The same file once more, for another thread.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn try_clone(&self) -> io::Result<NewFile> {
        Ok(NewFile { file: self.file.try_clone()?, path: self.path.clone() })
    }

    /// The open file, which is never written to any more.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }

    /// Where it was made.
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

/// Makes a file that must not be there, with `mode` less the umask.
///
/// # Errors
///
/// What the system says.
pub fn create<'a>(place: impl Into<Place<'a>>, mode: u32) -> io::Result<NewFile> {
    let place = place.into();
    inject_fault(Call::Create, place)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(place.folder, place.name, flags, Mode::from_raw_mode(mode))?;
    Ok(NewFile { file: File::from(file), path: place.path() })
}

/// How many letters and digits make a name that nobody can foresee.
pub(crate) const UNIQUE_LENGTH: usize = 12;

/// Makes something under a name that nobody can foresee: `make` is called until a name is free.
///
/// # Errors
///
/// What `make` says.
pub fn unforeseen<T>(
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

/// Makes one folder, with `mode` less the umask.
///
/// # Errors
///
/// What the system says, also where it is there.
pub fn make_folder<'a>(place: impl Into<Place<'a>>, mode: u32) -> io::Result<()> {
    let place = place.into();
    inject_fault(Call::MakeFolder, place)?;
    Ok(fs::mkdirat(place.folder, place.name, Mode::from_raw_mode(mode))?)
}

/// Makes a folder and those above it, where they are missing.
///
/// # Errors
///
/// What the system says, also where something else is there.
pub fn make_folders(path: &Path, mode: u32) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_folders(parent, mode)?;
    }
    match make_folder(path, mode) {
        // Somebody else made it, or it is what `..` leads to.
        Err(_) if path.is_dir() => Ok(()),
        made => made,
    }
}

/// Makes the bytes of an open file durable.
///
/// # Errors
///
/// What the system says.
pub fn sync(file: &File, path: &Path) -> io::Result<()> {
    inject_fault(Call::Sync, Place::from(path))?;
    file.sync_all()?;
    #[cfg(feature = "faults")]
    faults::synced(file);
    Ok(())
}

/// Makes the names in an open folder durable.
///
/// # Errors
///
/// What the system says.
pub fn sync_folder(folder: impl AsFd, path: &Path) -> io::Result<()> {
    inject_fault(Call::SyncFolder, Place::from(path))?;
    Ok(fs::fsync(folder)?)
}

/// Makes all of the file system durable that an open folder is on.
///
/// # Errors
///
/// What the system says.
#[cfg(target_os = "linux")]
pub fn sync_file_system(folder: impl AsFd, path: &Path) -> io::Result<()> {
    inject_fault(Call::SyncAll, Place::from(path))?;
    fs::syncfs(folder)?;
    #[cfg(feature = "faults")]
    faults::all_synced();
    Ok(())
}

/// Gives a file or folder another name, in the place of whatever file had it.
///
/// # Errors
///
/// What the system says.
pub fn rename<'a, 'b>(from: impl Into<Place<'a>>, to: impl Into<Place<'b>>) -> io::Result<()> {
    let (from, to) = (from.into(), to.into());
    inject_fault(Call::Rename, to)?;
    Ok(fs::renameat(from.folder, from.name, to.folder, to.name)?)
}

/// Gives a regular file one more name; where the file system has no such thing, a copy of its own.
///
/// # Errors
///
/// What the system says. A link is not followed; where it gets one more name itself, that is for the caller to notice.
pub fn link_or_copy<'a, 'b>(from: impl Into<Place<'a>>, to: impl Into<Place<'b>>) -> io::Result<()> {
    let (from, to) = (from.into(), to.into());
    inject_fault(Call::Link, to)?;
    if fs::linkat(from.folder, from.name, to.folder, to.name, AtFlags::empty()).is_ok() {
        return Ok(());
    }
    // Without NONBLOCK, opening a FIFO would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let read = File::from(fs::openat(from.folder, from.name, flags, Mode::empty())?);
    let found = read.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    io::copy(&mut read.take(found.len()), &mut create(to, 0o644)?).map(drop)
}

/// Removes a file; a link is removed itself.
///
/// # Errors
///
/// What the system says, also where there is none.
pub fn remove<'a>(place: impl Into<Place<'a>>) -> io::Result<()> {
    let place = place.into();
    inject_fault(Call::Remove, place)?;
    Ok(fs::unlinkat(place.folder, place.name, AtFlags::empty())?)
}

/// Removes a folder and all that is in it; links are removed and not followed.
///
/// # Errors
///
/// What the system says, also where there is none.
pub fn remove_all<'a>(place: impl Into<Place<'a>>) -> io::Result<()> {
    remove_tree(place.into())
}

fn remove_tree(place: Place<'_>) -> io::Result<()> {
    let found = fs::statat(place.folder, place.name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return remove(place);
    }
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = fs::openat(place.folder, place.name, flags, Mode::empty())?;
    let path = place.path();
    for entry in fs::Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            match remove_tree(Place::below(&folder, &path, OsStr::from_bytes(name))) {
                // Somebody else removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
    }
    inject_fault(Call::RemoveFolder, place)?;
    Ok(fs::unlinkat(place.folder, place.name, AtFlags::REMOVEDIR)?)
}

/// Opens the file that a lock is taken on, made where it is missing.
///
/// # Errors
///
/// What the system says; a link is not followed.
pub fn lock_file<'a>(place: impl Into<Place<'a>>) -> io::Result<File> {
    let place = place.into();
    inject_fault(Call::Create, place)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(fs::openat(place.folder, place.name, flags, Mode::from_raw_mode(0o600))?))
}

/// Hands an open file or folder to a group, with these permissions whatever the umask says.
///
/// # Errors
///
/// What the system says, also where this user is not in that group.
pub fn share(file: impl AsFd, path: &Path, group: u32, mode: u32) -> io::Result<()> {
    inject_fault(Call::Share, Place::from(path))?;
    fs::fchown(&file, None, Some(fs::Gid::from_raw(group)))?;
    Ok(fs::fchmod(&file, Mode::from_raw_mode(mode))?)
}

/// Takes the exclusive lock of an open file; false when another process, or another part of this one, has it. It ends
/// when the file is closed, also by a crash.
///
/// # Errors
///
/// What the system says.
pub fn try_lock(file: &File, path: &Path) -> io::Result<bool> {
    inject_fault(Call::Lock, Place::from(path))?;
    match fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
