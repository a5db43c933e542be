//! The system calls that change a disk, and the paths to which they apply.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;

/// A kind of system call that changes a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Syscall {
    /// Creates a folder.
    MakeFolder,
    /// Creates a file.
    Create,
    /// Writes bytes to a file.
    Write,
    /// Truncates a file.
    Empty,
    /// Makes the content of a file durable.
    Sync,
    /// Makes the entries of a folder durable.
    SyncFolder,
    /// Makes a whole file system durable.
    SyncAll,
    /// Renames a file or folder.
    Rename,
    /// Adds a hard link to a file.
    Link,
    /// Removes a file.
    Remove,
    /// Removes a folder.
    RemoveFolder,
    /// Locks a file.
    Lock,
    /// Changes the owner or the group of a file or folder.
    Share,
}

/// The location of a file: a path, or a name relative to a folder that is already open.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    folder: BorrowedFd<'a>,
    of: &'a Path,
    name: &'a Path,
}

impl<'a> Place<'a> {
    /// Returns the location of `name` relative to `folder`, which is already open. Messages and fault injection need
    /// the path of `folder`, so the caller passes this path as `of`.
    #[must_use]
    pub fn below(folder: &'a OwnedFd, of: &'a Path, name: &'a (impl AsRef<Path> + ?Sized)) -> Place<'a> {
        Place { folder: folder.as_fd(), of, name: name.as_ref() }
    }

    /// Returns the folder to which the name is relative. For a location that was created from a path, this is the
    /// current folder.
    pub(crate) fn folder(&self) -> BorrowedFd<'a> {
        self.folder
    }

    /// The name may be a path with several components.
    pub(crate) fn name(&self) -> &'a Path {
        self.name
    }

    /// Returns the path of the file, for messages.
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
