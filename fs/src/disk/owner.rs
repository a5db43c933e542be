//! Preserves the owners of files when root writes to another user's folder. A file that replaces another file keeps its
//! owner. Any other new file or folder gets the owner of the folder that contains it.
//!
//! The owner of a folder can replace any file in it at any time, even with a link to a file that belongs to root. So
//! this module never changes the owner of a file or folder by name. It changes owners only through open file
//! descriptors, and only of files and folders that this process has just created.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};

use super::{NewFile, inject_fault, lock_file, make_folder, make_missing, new_lock, rename};
use crate::{Place, Syscall};

impl NewFile {
    /// If root runs this program, gives the new file the owner and the group of the file at `to`, which the new file
    /// will replace. If there is no regular file at `to`, the new file gets the owner and the group of the folder. A
    /// new file that still belonged to root would not be accessible to the user who owns the folder.
    ///
    /// # Errors
    ///
    /// Any I/O error.
    pub fn keep_owner<'a>(&self, to: impl Into<Place<'a>>) -> io::Result<()> {
        give_like_replaced(&self.file, to.into())
    }
}

/// Renames a file like [`rename`], and preserves the owner like [`NewFile::keep_owner`]. `from` must be in a folder
/// that only the current user can change.
///
/// # Errors
///
/// Any I/O error.
pub fn replace<'a, 'b>(from: impl Into<Place<'a>>, to: impl Into<Place<'b>>) -> io::Result<()> {
    let from = from.into();
    let to = to.into();
    if is_root() {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if let Ok(file) = fs::openat(from.folder(), from.name(), flags, Mode::empty()) {
            give_like_replaced(&file, to)?;
        }
    }
    rename(from, to)
}

/// Like [`lock_file`], but if root creates the file, the file gets the owner and the group of the folder.
///
/// # Errors
///
/// The same errors as [`lock_file`].
pub fn lock_file_of_owner(place: Place<'_>) -> io::Result<File> {
    if is_root()
        && let Ok(new) = new_lock(place)
    {
        give(&new, place, folder_of(place))?;
    }
    lock_file(place)
}

/// Like [`make_folder`], but if root creates the folder, the new folder gets the owner and the group of its parent
/// folder.
///
/// # Errors
///
/// The same errors as [`make_folder`].
pub fn make_folder_of_owner<'a>(place: impl Into<Place<'a>>, mode: u32) -> io::Result<()> {
    let place = place.into();
    make_folder(place, mode)?;
    if is_root() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = fs::openat(place.folder(), place.name(), flags, Mode::empty())?;
        let is_empty = |name: &[u8]| matches!(name, b"." | b"..");
        // The new folder was empty. If the open folder has entries, it is not the new folder, because somebody has put
        // another folder in its place.
        if fs::Dir::read_from(&folder)?.all(|entry| entry.is_ok_and(|entry| is_empty(entry.file_name().to_bytes()))) {
            give(&folder, place, folder_of(place))?;
        }
    }
    Ok(())
}

/// Like [`make_folders`](super::make_folders), but folders that root creates get the owner and the group of their
/// parent folder.
///
/// # Errors
///
/// The same errors as [`make_folders`](super::make_folders).
pub fn make_folders_of_owner(path: &Path, mode: u32) -> io::Result<()> {
    make_missing(path, &|path| make_folder_of_owner(path, mode))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn give_like_replaced(file: impl AsFd, to: Place<'_>) -> io::Result<()> {
    if !is_root() {
        return Ok(());
    }
    let replaced = fs::statat(to.folder(), to.name(), AtFlags::SYMLINK_NOFOLLOW).ok();
    let replaced = replaced.filter(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile);
    give(file, to, replaced.or_else(|| folder_of(to)))
}

fn folder_of(place: Place<'_>) -> Option<Stat> {
    let parent = place.name().parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::statat(place.folder(), parent, AtFlags::empty()).ok()
}

/// If a file or folder belongs to root, gives it the owner and the group of `like`.
fn give(file: impl AsFd, place: Place<'_>, like: Option<Stat>) -> io::Result<()> {
    let found = fs::fstat(&file)?;
    let Some(like) = like.filter(|like| (like.st_uid, like.st_gid) != (found.st_uid, found.st_gid)) else {
        return Ok(());
    };
    // A file with several names may be a hard link that another user has planted in order to become the owner of a file
    // that belongs to root.
    let is_alone = found.st_nlink == 1 || FileType::from_raw_mode(found.st_mode) == FileType::Directory;
    if found.st_uid != 0 || !is_alone {
        return Ok(());
    }
    inject_fault(Syscall::Share, place)?;
    let owner = fs::Uid::from_raw(like.st_uid);
    let group = fs::Gid::from_raw(like.st_gid);
    match fs::fchown(&file, Some(owner), Some(group)) {
        // On some file systems, not even root can change owners. The file then still belongs to root.
        Err(rustix::io::Errno::PERM | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INVAL) => Ok(()),
        given => Ok(given?),
    }
}
