//! Directories whose entries are opened without following symbolic links, and files that get their final name only when
//! they are complete.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lastmile_fs::disk::{self, NewFile};
use lastmile_fs::{Access, Place, read_at_most};
use lastmile_metadata::RandomAccess;
use rustix::fs::{self, Mode, OFlags};

use crate::error::{LocalError, cut_short};
use crate::text::printable_path;

/// The prefix and the suffix of temporary file names.
const TEMPORARY: (&str, &str) = (".lastmile-", ".part");

/// The number of bytes that [`OpenDirectory::write_parts`] copies at a time.
const CHUNK_SIZE: usize = 1024 * 1024;

/// The mode of private files; their directories have the mode 0700.
pub(crate) const PRIVATE: u32 = 0o600;
/// The mode of other files, before the umask is applied; their directories have the mode 0777.
pub(crate) const PUBLIC: u32 = 0o666;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);

/// An open directory. The names passed to its methods are single path components.
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    handle: OwnedFd,
    path: PathBuf,
}

impl OpenDirectory {
    /// Symbolic links in `path` are followed, because the caller chose this path.
    pub(crate) fn open(path: &Path) -> Result<OpenDirectory, LocalError> {
        let handle = fs::open(path, DIRECTORY, Mode::empty())
            .map_err(|error| LocalError::new("open the directory", path, error).naming_the_owner())?;
        Ok(OpenDirectory { handle, path: path.to_owned() })
    }

    /// Creates the directory and its parents if they do not exist.
    pub(crate) fn make(path: &Path, mode: u32) -> Result<OpenDirectory, LocalError> {
        let made = match mode {
            PRIVATE => disk::make_folders_of_owner(path, passable(mode)),
            _ => disk::make_folders(path, passable(mode)),
        };
        made.map_err(|error| LocalError::new("make the directory", path, error).naming_the_owner())?;
        OpenDirectory::open(path)
    }

    pub(crate) fn enter_or_make(&self, name: &str, mode: u32) -> Result<OpenDirectory, LocalError> {
        let made = match mode {
            PRIVATE => disk::make_folder_of_owner(self.place(name), passable(mode)),
            _ => disk::make_folder(self.place(name), passable(mode)),
        };
        match made {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(self.failed("make the directory", name, error)),
        }
        let entered = self.enter(name)?;
        let missing = || self.failed("open the directory", name, rustix::io::Errno::NOENT);
        entered.ok_or_else(missing)
    }

    /// A symbolic link is an error.
    pub(crate) fn enter(&self, name: &str) -> Result<Option<OpenDirectory>, LocalError> {
        match fs::openat(&self.handle, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(handle) => Ok(Some(OpenDirectory { handle, path: self.path_of(name) })),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("open the directory (links are not followed)", name, error)),
        }
    }

    fn place<'a>(&'a self, name: &'a (impl AsRef<Path> + ?Sized)) -> Place<'a> {
        Place::below(&self.handle, &self.path, name)
    }

    /// Returns the path of `name` in this directory, for messages and results.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Anything but a regular file is an error of the kind [`io::ErrorKind::InvalidData`].
    pub(crate) fn open_file(&self, name: &str) -> Result<Option<File>, LocalError> {
        // Without NONBLOCK, opening a FIFO would wait for a writer, and the check for a regular file would not be
        // reached.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => File::from(handle),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => {
                return Err(self.irregular(name));
            }
            Err(error) => return Err(self.failed("open", name, error)),
        };
        let found = file.metadata().map_err(|error| self.failed("examine", name, error))?;
        if found.is_file() { Ok(Some(file)) } else { Err(self.irregular(name)) }
    }

    /// A file of more than `max_length` bytes is an error of the kind [`io::ErrorKind::InvalidData`].
    pub(crate) fn read(&self, name: &str, max_length: u64) -> Result<Option<Vec<u8>>, LocalError> {
        self.open_file(name)?.map(|file| self.read_open(file, name, max_length)).transpose()
    }

    /// Like [`read`](OpenDirectory::read), but refuses a file that other users can change.
    #[cfg(feature = "cli")]
    pub(crate) fn read_unwritable(&self, name: &str, max_length: u64) -> Result<Option<Vec<u8>>, LocalError> {
        let Some(file) = self.open_file(name)? else { return Ok(None) };
        ensure_unwritable(&file, &self.path_of(name))?;
        self.read_open(file, name, max_length).map(Some)
    }

    fn read_open(&self, file: File, name: &str, max_length: u64) -> Result<Vec<u8>, LocalError> {
        let read = read_at_most(file, max_length).map_err(|error| self.failed("read", name, error))?;
        read.ok_or_else(|| {
            let problem = format!("the file is longer than the allowed {max_length} bytes");
            self.failed("read", name, io::Error::new(io::ErrorKind::InvalidData, problem))
        })
    }

    /// The write is atomic and durable.
    pub(crate) fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), LocalError> {
        let mut temporary = self.temporary(mode)?;
        temporary.file.write_all(bytes).map_err(|error| self.failed("write", name, error))?;
        temporary.replace(self, name)
    }

    /// Like [`write`](OpenDirectory::write), but reads the new content in parts, so that it need not be in memory.
    pub(crate) fn write_parts(&self, name: &str, parts: &dyn RandomAccess, mode: u32) -> Result<(), LocalError> {
        let mut temporary = self.temporary(mode)?;
        let mut written = 0;
        while written < parts.length() {
            let mut part = vec![0; usize::try_from(parts.length() - written).unwrap_or(CHUNK_SIZE).min(CHUNK_SIZE)];
            if !parts.read(written, &mut part) {
                return Err(self.failed("read the new content of", name, cut_short()));
            }
            temporary.file.write_all(&part).map_err(|error| self.failed("write", name, error))?;
            written += part.len() as u64;
        }
        temporary.replace(self, name)
    }

    /// Creates a temporary file with a random name. Dropping the returned value removes the file, unless
    /// [`Temporary::finish`] has given it its final name.
    pub(crate) fn temporary(&self, mode: u32) -> Result<Temporary, LocalError> {
        let create = |path: &Path| disk::create(self.place(path.file_name().unwrap_or_default()), mode);
        let (file, path) = disk::create_unique(&self.path, TEMPORARY.0, TEMPORARY.1, create)
            .map_err(|error| LocalError::new("make a file in", &self.path, error))?;
        Ok(Temporary { file, path, is_finished: false })
    }

    /// Like [`temporary`](OpenDirectory::temporary), but locks the file, so that other processes do not remove it as
    /// abandoned. Use this method in a directory on which the caller holds no lock.
    pub(crate) fn held_temporary(&self, mode: u32) -> Result<Temporary, LocalError> {
        loop {
            let temporary = self.temporary(mode)?;
            // On a file system without locks, an unlocked file is safe: no process can take a lock there, and a process
            // removes an abandoned file only after it has locked the file.
            if temporary.file.hold().unwrap_or(true) {
                return Ok(temporary);
            }
        }
    }

    /// Removes the file `name` durably, if it exists.
    pub(crate) fn remove(&self, name: &str) -> Result<(), LocalError> {
        match disk::remove(self.place(name)) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.failed("remove", name, error)),
        }
    }

    /// Removes temporary files that earlier processes abandoned. Does not remove files that another process has locked.
    /// If other processes create temporary files without locking them, call this method only while holding the lock on
    /// this directory.
    pub(crate) fn remove_leftovers(&self) -> Result<(), LocalError> {
        for name in self.names()? {
            if let Some(name) = name.to_str().filter(|name| is_temporary(name))
                && let Ok(Some(file)) = self.open_file(name)
                && disk::try_lock(&file, &self.path_of(name)).unwrap_or(false)
            {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    pub(crate) fn names(&self) -> Result<Vec<OsString>, LocalError> {
        let failed = |error| LocalError::new("list the directory", &self.path, error);
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.handle).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    /// Takes the advisory lock on the file `name`, and creates the file if it does not exist. Returns `None` if another
    /// process holds the lock. The lock is released when the returned file is dropped or the process ends.
    pub(crate) fn try_lock(&self, name: &str) -> Result<Option<File>, LocalError> {
        disk::try_lock_at(self.place(name), disk::lock_file_of_owner).map_err(|error| self.failed("lock", name, error))
    }

    /// Like [`try_lock`](OpenDirectory::try_lock), but returns an error if the file does not exist.
    pub(crate) fn try_existing_lock(&self, name: &str) -> Result<Option<File>, LocalError> {
        disk::try_lock_at(self.place(name), disk::existing_lock_file).map_err(|error| self.failed("lock", name, error))
    }

    pub(crate) fn ensure_unwritable(&self) -> Result<(), LocalError> {
        ensure_unwritable(&self.handle, &self.path)
    }

    fn sync(&self) -> Result<(), LocalError> {
        disk::sync_folder(&self.handle, &self.path).map_err(|error| LocalError::new("sync", &self.path, error))
    }

    fn irregular(&self, name: &str) -> LocalError {
        let problem = "it is not a regular file (links are not followed)";
        self.failed("open", name, io::Error::new(io::ErrorKind::InvalidData, problem))
    }

    fn failed(&self, operation: &'static str, name: &str, error: impl Into<io::Error>) -> LocalError {
        LocalError::new(operation, self.path_of(name), error).naming_the_owner()
    }
}

/// Returns an error if users other than the owner can change this open file or directory.
pub(crate) fn ensure_unwritable(file: impl AsFd, path: &Path) -> Result<(), LocalError> {
    let access = Access::of(file).map_err(|error| LocalError::new("examine", path, error))?;
    // If the root user runs this program, accept files of every owner, because the root user may run the program on
    // behalf of another user.
    access.ensure_unwritable_or_root().map_err(|exposure| {
        let error = io::Error::new(io::ErrorKind::PermissionDenied, exposure.to_string());
        LocalError::new("trust", path, error).with_hint(exposure.remedy(&printable_path(path)))
    })
}

/// Returns whether `name` has the form of a temporary file name. A later process removes every file whose name has this
/// form, unless the file is locked.
pub(crate) fn is_temporary(name: &str) -> bool {
    let middle = name.strip_prefix(TEMPORARY.0).and_then(|rest| rest.strip_suffix(TEMPORARY.1));
    middle.is_some_and(|middle| {
        middle.len() == disk::UNIQUE_LENGTH && middle.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// The directories in which this updater has already removed temporary files that earlier processes abandoned.
#[derive(Debug, Default)]
pub(crate) struct CleanedDirs(Mutex<BTreeSet<PathBuf>>);

impl CleanedDirs {
    /// Removes abandoned temporary files from `folder` if this is the first call for this folder. Errors are ignored,
    /// so that the caller can also write to a directory that it has no permission to list.
    pub(crate) fn clean_once(&self, folder: &OpenDirectory) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.path.clone()) {
            let _ = folder.remove_leftovers();
        }
    }
}

/// Returns the mode of a new directory whose files get the mode `mode`.
fn passable(mode: u32) -> u32 {
    if mode == PRIVATE { 0o700 } else { 0o777 }
}

/// A temporary file. Dropping this value removes the file, unless [`Temporary::finish`] has given it its final name.
#[derive(Debug)]
pub(crate) struct Temporary {
    pub(crate) file: NewFile,
    path: PathBuf,
    is_finished: bool,
}

impl Temporary {
    pub(crate) fn failed(&self, operation: &'static str, error: io::Error) -> LocalError {
        LocalError::new(operation, &self.path, error)
    }

    /// Like [`finish`](Temporary::finish), but preserves ownership if the root user runs this program: the file gets
    /// the owner and group of the file that it replaces. If there is no such file, the new file gets the owner and
    /// group of the directory. This method is not used for targets, because a verified target must not belong to a user
    /// who could change it.
    fn replace(self, folder: &OpenDirectory, name: &str) -> Result<(), LocalError> {
        self.file.keep_owner(folder.place(name)).map_err(|error| folder.failed("keep the owner of", name, error))?;
        self.finish(folder, name)
    }

    /// Flushes the file to the disk, renames it to `name`, and flushes the directory, so that a crash cannot undo the
    /// change. `folder` must be the directory in which the file was created.
    pub(crate) fn finish(mut self, folder: &OpenDirectory, name: &str) -> Result<(), LocalError> {
        self.file.sync().map_err(|error| folder.failed("sync", name, error))?;
        disk::rename(folder.place(self.path.file_name().unwrap_or_default()), folder.place(name))
            .map_err(|error| folder.failed("rename a finished file to", name, error))?;
        self.is_finished = true;
        folder.sync()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_finished {
            // Ignore errors, because a later process will remove the file.
            let _ = disk::remove(&self.path);
        }
    }
}

#[cfg(test)]
#[path = "open_directory_tests.rs"]
mod lock_and_owner_tests;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder() -> (tempfile::TempDir, OpenDirectory) {
        let dir = tempfile::tempdir().unwrap();
        let folder = OpenDirectory::make(&dir.path().join("a/b"), PRIVATE).unwrap();
        (dir, folder)
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn private_files_and_directories_are_for_the_owner_only() {
        let (dir, folder) = folder();
        folder.write("x", b"1", PRIVATE).unwrap();
        folder.enter_or_make("sub", PRIVATE).unwrap();
        assert_eq!(mode(&dir.path().join("a")), 0o700);
        assert_eq!(mode(&folder.path_of("sub")), 0o700);
        assert_eq!(mode(&folder.path_of("x")), 0o600);
    }

    #[test]
    fn writing_replaces_the_whole_file_and_leaves_nothing_else() {
        let (_dir, folder) = folder();
        folder.write("x", b"long text", PRIVATE).unwrap();
        folder.write("x", b"short", PRIVATE).unwrap();
        assert_eq!(folder.read("x", 5).unwrap().unwrap(), b"short");
        assert_eq!(folder.names().unwrap(), ["x"]);
    }

    #[test]
    fn an_unfinished_file_is_removed_and_leftovers_can_be_removed() {
        let (_dir, folder) = folder();
        drop(folder.temporary(PRIVATE).unwrap());
        assert!(folder.names().unwrap().is_empty());
        std::fs::write(folder.path_of(".lastmile-0123456789ab.part"), b"").unwrap();
        let others = [".other", ".lastmile-notes.part"];
        others.iter().for_each(|other| std::fs::write(folder.path_of(other), b"").unwrap());
        let held = folder.held_temporary(PUBLIC).unwrap();
        folder.remove_leftovers().unwrap();
        assert_eq!(folder.names().unwrap().len(), 3, "the locked file and the two files with other names must remain");
        drop(held);
        let mut names = folder.names().unwrap();
        names.sort();
        assert_eq!(names, [".lastmile-notes.part", ".other"]);
    }

    #[test]
    fn reading_refuses_links_fifos_and_long_files() {
        let (_dir, folder) = folder();
        std::fs::write(folder.path_of("real"), b"12345").unwrap();
        symlink("real", folder.path_of("link")).unwrap();
        symlink("nowhere", folder.path_of("dangling")).unwrap();
        std::fs::create_dir(folder.path_of("dir")).unwrap();
        fs::mkfifoat(&folder.handle, "fifo", Mode::RWXU).unwrap();
        for name in ["link", "dangling", "dir", "fifo"] {
            assert!(folder.read(name, 9).unwrap_err().is_unusable_content(), "{name}");
        }
        assert!(folder.read("real", 4).unwrap_err().is_unusable_content());
        assert_eq!(folder.read("none", 4).unwrap(), None);
    }

    #[test]
    fn a_link_is_replaced_and_never_written_through() {
        let (dir, folder) = folder();
        let outside = dir.path().join("outside");
        std::fs::write(&outside, b"mine").unwrap();
        symlink(&outside, folder.path_of("x")).unwrap();
        folder.write("x", b"new", PRIVATE).unwrap();
        assert_eq!(std::fs::read(&outside).unwrap(), b"mine");
        assert_eq!(folder.read("x", 9).unwrap().unwrap(), b"new");
    }

    #[test]
    fn a_linked_directory_is_not_entered() {
        let (dir, folder) = folder();
        symlink(dir.path(), folder.path_of("out")).unwrap();
        assert!(folder.enter("out").is_err());
        assert!(folder.enter_or_make("out", PRIVATE).is_err());
    }

    #[test]
    fn only_one_process_holds_the_lock_at_a_time() {
        let (_dir, folder) = folder();
        let held = folder.try_lock("lock").unwrap();
        assert!(held.is_some());
        assert!(folder.try_lock("lock").unwrap().is_none());
        drop(held);
        assert!(folder.try_lock("lock").unwrap().is_some());
    }

    #[test]
    fn failures_to_create_and_remove_are_reported() {
        let (_dir, folder) = folder();
        let told = folder.enter_or_make(&"x".repeat(300), PRIVATE).unwrap_err().to_string();
        assert!(told.contains("make the directory"), "{told}");
        folder.enter_or_make("sub", PRIVATE).unwrap();
        assert!(folder.remove("sub").is_err());
        folder.remove("none").unwrap();
        assert_eq!(folder.names().unwrap(), ["sub"]);
    }

    #[test]
    fn leftovers_are_removed_before_the_first_download_to_a_directory() {
        let (_dir, folder) = folder();
        let leftover = folder.path_of(".lastmile-0123456789ab.part");
        let cleaned_dirs = CleanedDirs::default();
        for stays in [false, true] {
            std::fs::write(&leftover, b"half").unwrap();
            cleaned_dirs.clean_once(&folder);
            assert_eq!(leftover.exists(), stays);
        }
    }

    #[test]
    fn a_file_is_synced_before_its_rename_and_the_directory_after_it() {
        use lastmile_fs::Syscall::{Create, Remove, Rename, Sync, SyncFolder, Write};
        let (dir, folder) = folder();
        let armed = lastmile_fs::faults::arm(dir.path(), usize::MAX, lastmile_fs::faults::Fault::Die);
        folder.write("x", b"1", PRIVATE).unwrap();
        folder.remove("x").unwrap();
        let calls: Vec<_> = armed.calls().into_iter().map(|(call, _)| call).collect();
        assert_eq!(calls, [Create, Write, Sync, Rename, SyncFolder, Remove, SyncFolder]);
    }
}
