//! The interface of stores, which keep trusted metadata between runs.

pub(crate) mod directory;
#[cfg(feature = "attest")]
pub(crate) mod evidence;
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
    /// The trusted metadata file of a role, as it was received.
    Role(RoleName),
    /// A version of root in the chain of trusted roots (spec 5.3.8), as it was received.
    Root(Version),
    /// The record of trusted versions. The client refuses a role whose version is lower than the recorded version
    /// (decision D3 in docs/pouf.md).
    Floors,
    /// The identity of the store, which records to which repository the store belongs.
    Identity,
    /// An evidence file or a trust root of a policy, identified by its SHA-256 hash.
    Evidence([u8; 32]),
    /// The index of the stored evidence files and trust roots.
    EvidenceIndex,
}

/// A guard for a lock on a store. Dropping the guard releases the lock.
pub type StoreLock = Box<dyn Send + Sync>;

/// The kind of a lock on a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Held while files are written, and while several files that must be consistent are read. The client never holds
    /// this lock while it waits for the network.
    Files,
    /// Held by the process that refreshes the store, even while it waits for the network. This lock does not prevent
    /// other processes from reading the store.
    Refresh,
}

/// A store for the trusted metadata of one repository.
///
/// Writes must be atomic and durable: after a crash, a file has either its old or its new content. The client writes
/// only while it holds [`LockKind::Files`], and stores only metadata that has passed every check.
pub trait Store: Send + Sync + 'static {
    /// Reads a file. Returns `None` if the file does not exist.
    ///
    /// # Errors
    ///
    /// Any I/O error. If the file exists but is unusable, for example because it is a link or is longer than
    /// `max_length` bytes, [`LocalError::is_unusable_content`] must return true for the error. The client then
    /// continues without the file.
    fn read(&self, file: &StoredFile, max_length: u64) -> Result<Option<Vec<u8>>, LocalError>;

    /// Like [`read`](Store::read), but may return a large file without reading its content, so that the caller can read
    /// the file in parts.
    ///
    /// # Errors
    ///
    /// The same errors as [`read`](Store::read).
    fn open(&self, file: &StoredFile, max_length: u64) -> Result<Option<FileContent>, LocalError> {
        Ok(self.read(file, max_length)?.map(FileContent::Bytes))
    }

    /// Converts the bytes of a fetched file to a [`FileContent`] for verification. A store that reads large files in
    /// parts returns a large file as [`FileContent::File`], so that the file is also verified in parts.
    fn hold(&self, bytes: Vec<u8>) -> FileContent {
        FileContent::Bytes(bytes)
    }

    /// Replaces the content of the file with `bytes`. Creates the file if it does not exist.
    ///
    /// # Errors
    ///
    /// Any I/O error.
    fn write(&self, file: &StoredFile, bytes: &[u8]) -> Result<(), LocalError>;

    /// Replaces the content of `file` with `kept`, a metadata file that the client has verified.
    ///
    /// # Errors
    ///
    /// Any I/O error.
    fn keep(&self, file: &StoredFile, kept: &Accepted) -> Result<(), LocalError> {
        match kept {
            Accepted::Received(bytes) => self.write(file, bytes),
            Accepted::File(parts) => match FileContent::File(Arc::clone(parts)).into_bytes() {
                Some(bytes) => self.write(file, &bytes),
                None => Err(LocalError::new("read the file to be written to", self.description(), cut_short())),
            },
        }
    }

    /// Removes the file if it exists.
    ///
    /// # Errors
    ///
    /// Any I/O error.
    fn remove(&self, file: &StoredFile) -> Result<(), LocalError>;

    /// Takes one of the two locks, which are independent of each other. Returns `None` if another process or thread
    /// holds that lock.
    ///
    /// # Errors
    ///
    /// Any I/O error.
    fn try_lock(&self, kind: LockKind) -> Result<Option<StoreLock>, LocalError>;

    /// Returns a description of this store for messages, such as its path.
    fn description(&self) -> String;
}
