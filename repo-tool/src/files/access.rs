//! Opens, reads and creates files and folders by their paths.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use lastmile_fs::disk::{self, NewFile};
use lastmile_fs::{Access, Exposure};
use rustix::fs::OFlags;

use crate::{Error, PathError};

/// The maximum length in bytes of a root file. The same limit applies to files that users edit, such as `repo.toml`.
pub(super) const SMALL: u64 = 16 << 20;

/// The maximum length of a metadata file, in bytes. The limit is high so that even a published role that is too large
/// for clients can be read and repaired.
pub(crate) const MAX_METADATA_LENGTH: u64 = 1 << 32;

/// Reads a regular file of at most 16 MiB. Refuses a link. Returns `None` if the file does not exist.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    read_small(path, SMALL)
}

/// Reads a regular file of at most `most` bytes. Refuses a link. Returns `None` if the file does not exist.
pub(crate) fn read_small(path: &Path, most: u64) -> Result<Option<Vec<u8>>, Error> {
    if_there(path, open_regular(path))?.map(|file| read_at_most(file, path, most)).transpose()
}

pub(crate) fn read_at_most(file: File, path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    let read = lastmile_fs::read_at_most(file, most).map_err(|error| Error::file("read", path, error))?;
    Ok(read.ok_or_else(|| PathError::TooLong { path: path.to_path_buf(), most })?)
}

/// Returns the opened file, or `None` if the file does not exist. Adds the path to any other error.
pub(super) fn if_there(path: &Path, opened: io::Result<File>) -> Result<Option<File>, Error> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Error::file("read", path, error)),
    }
}

/// Opens a regular file for reading. Refuses links, FIFOs and devices.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    // Opening a FIFO without O_NONBLOCK would wait for a writer.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// Refuses an open file that other users can change.
pub(crate) fn ensure_unwritable(file: &File, path: &Path) -> Result<(), Error> {
    ensure(file, path, Access::ensure_unwritable)
}

pub(super) fn ensure(file: &File, path: &Path, check: fn(&Access) -> Result<(), Exposure>) -> Result<(), Error> {
    let access = Access::of(file).map_err(|error| Error::file("look at", path, error))?;
    check(&access).map_err(|exposure| PathError::Exposed { path: path.to_path_buf(), exposure }.into())
}

pub(crate) fn create_new(path: &Path, mode: u32) -> Result<NewFile, Error> {
    disk::create(path, mode).map_err(|error| Error::file("create", path, error))
}

/// Writes a new file, but does not make it durable (fsync). Fails if the file already exists.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    create_new(path, mode)?.write_all(bytes).map_err(|error| Error::file("write", path, error))
}

/// Makes created, renamed and removed entries of a folder durable (fsync).
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder)
        .and_then(|file| disk::sync_folder(file, folder))
        .map_err(|error| Error::file("sync", folder, error))
}

/// Creates a folder that only its owner can access. If the folder already exists, does not change its permissions.
pub(crate) fn create_private_folder(folder: &Path) -> Result<(), Error> {
    match disk::make_folder(folder, 0o700) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => real_folder(folder),
        Err(error) => Err(Error::file("create", folder, error)),
    }
}

/// Refuses a path that is not a folder. Also refuses a symbolic link, which would redirect writes to another folder.
pub(crate) fn real_folder(folder: &Path) -> Result<(), Error> {
    let kind = fs::symlink_metadata(folder).map_err(|error| Error::file("look at", folder, error))?;
    if kind.is_dir() {
        return Ok(());
    }
    Err(PathError::NoFolder { path: folder.to_path_buf() }.into())
}

/// Checks that this user may create the folder `path`, or create files in it if it already exists.
pub(crate) fn check_creatable(path: &Path) -> Result<(), Error> {
    let mut existing = path.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    existing.find(|path| path.symlink_metadata().is_ok()).map_or(Ok(()), check_writable)
}

pub(crate) fn check_writable(folder: &Path) -> Result<(), Error> {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
        .map_err(|error| Error::file("write to", folder, error.into()))
}
