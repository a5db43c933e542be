//! Where trusted metadata is kept between runs: the interface that every store implements.

pub(crate) mod directory;
pub(crate) mod identity;
mod large;
pub(crate) mod memory;
pub(crate) mod pending;
pub(crate) mod shared;

use std::sync::Arc;

use lastmile_metadata::{Accepted, FileContent, RoleName, Version};

use crate::error::{LocalError, cut_short};

/// A file in a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StoredFile {
    /// The currently trusted metadata of a role, as received.
    Role(RoleName),
    /// A root version in the chain of trusted roots (spec 5.3.8), as received.
    Root(Version),
    /// The record of floors: the lowest versions that may still be accepted (decision D3).
    Floors,
    /// The repository that this store belongs to.
    Identity,
}

/// Holds one of a store's locks until it is dropped.
pub type StoreLock = Box<dyn Send + Sync>;

/// A lock of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Held while files are written, and while several files are read that must match. The client never holds it while
    /// it waits for the network.
    Files,
    /// Held by the one process that refreshes the store, also while it waits for the network. It keeps nobody from
    /// reading.
    Refresh,
}

/// Stores the trusted metadata of one repository.
///
/// Writes are atomic and durable: after a crash, a file has its old or its new content. The client writes only while it
/// holds [`LockKind::Files`], and only what has passed every check.
pub trait Store: Send + Sync + 'static {
    /// Reads a file; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// If [`LocalError::is_unusable_content`], the file is something that this store never writes, such as a link or a
    /// file of more than `max_length` bytes, and the client continues without it.
    fn read(&self, file: &StoredFile, max_length: u64) -> Result<Option<Vec<u8>>, LocalError>;

    /// Like [`read`](Store::read), but a store may return a large file unread, to be read in parts.
    ///
    /// # Errors
    ///
    /// As [`read`](Store::read).
    fn open(&self, file: &StoredFile, max_length: u64) -> Result<Option<FileContent>, LocalError> {
        Ok(self.read(file, max_length)?.map(FileContent::Bytes))
    }

    /// Wraps fetched bytes for verification: a store that reads large files in parts also has large fetched files
    /// verified in parts.
    fn hold(&self, bytes: Vec<u8>) -> FileContent {
        FileContent::Bytes(bytes)
    }

    /// Replaces the file with these bytes.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn write(&self, file: &StoredFile, bytes: &[u8]) -> Result<(), LocalError>;

    /// Replaces the file with a file that was accepted.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn keep(&self, file: &StoredFile, kept: &Accepted) -> Result<(), LocalError> {
        match kept {
            Accepted::Received(bytes) => self.write(file, bytes),
            Accepted::File(parts) => match FileContent::File(Arc::clone(parts)).into_bytes() {
                Some(bytes) => self.write(file, &bytes),
                None => Err(LocalError::new("read what is to be kept in", self.description(), cut_short())),
            },
        }
    }

    /// Removes the file if it exists.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn remove(&self, file: &StoredFile) -> Result<(), LocalError>;

    /// Takes one of the two locks, which are independent of each other; `None` if another process or thread holds it.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn try_lock(&self, kind: LockKind) -> Result<Option<StoreLock>, LocalError>;

    /// Returns the name of this store for messages.
    fn description(&self) -> String;
}
