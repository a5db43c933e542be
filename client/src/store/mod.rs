//! Where trusted metadata is kept between runs: the interface that every store implements.

pub(crate) mod directory;
pub(crate) mod identity;
mod large;
pub(crate) mod memory;

use std::sync::Arc;

use lastmile_metadata::{Kept, RoleName, Stored, Version};

use crate::error::{LocalError, cut_short};

/// A file in a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StoredFile {
    /// The currently trusted metadata of a role, as received.
    Role(RoleName),
    /// A root version that was trusted on the way (spec 5.3.8), as received.
    Root(Version),
    /// The lowest versions that may still be accepted, kept a second time (decision D3).
    Floors,
    /// Which repository this store belongs to.
    Stamp,
}

/// Holds a store's lock until it is dropped.
pub type StoreLock = Box<dyn Send + Sync>;

/// Keeps the trusted metadata of one repository.
///
/// Writes are atomic and durable: after a crash a file is the old one or the new one. The driver
/// writes only under the lock, and only what has passed every check.
pub trait Store: Send + Sync + 'static {
    /// The bytes of a file; none when it is not there.
    ///
    /// # Errors
    ///
    /// Where [`LocalError::is_unusable_content`], the file is something that this store never
    /// writes (a link, longer than `max_length` bytes) and the driver goes on without it.
    fn read(&self, file: &StoredFile, max_length: u64) -> Result<Option<Vec<u8>>, LocalError>;

    /// The same for a file that may be large: one that this store can read in parts need not be read whole.
    ///
    /// # Errors
    ///
    /// As [`read`](Store::read).
    fn open(&self, file: &StoredFile, max_length: u64) -> Result<Option<Stored>, LocalError> {
        Ok(self.read(file, max_length)?.map(Stored::Bytes))
    }

    /// Fetched bytes as they are to be judged: a store that reads large files in parts wants them judged so.
    fn hold(&self, bytes: Vec<u8>) -> Stored {
        Stored::Bytes(bytes)
    }

    /// Puts these bytes in the place of the file.
    ///
    /// # Errors
    ///
    /// What the machine reports.
    fn write(&self, file: &StoredFile, bytes: &[u8]) -> Result<(), LocalError>;

    /// Puts what was judged in the place of the file.
    ///
    /// # Errors
    ///
    /// What the machine reports.
    fn keep(&self, file: &StoredFile, kept: &Kept) -> Result<(), LocalError> {
        match kept {
            Kept::Received(bytes) => self.write(file, bytes),
            Kept::File(parts) => match Stored::File(Arc::clone(parts)).into_bytes() {
                Some(bytes) => self.write(file, &bytes),
                None => Err(LocalError::new("read what is to be kept in", self.description(), cut_short())),
            },
        }
    }

    /// Removes the file; that it is not there is fine.
    ///
    /// # Errors
    ///
    /// What the machine reports.
    fn remove(&self, file: &StoredFile) -> Result<(), LocalError>;

    /// Takes the lock, or none when another process or thread holds it.
    ///
    /// # Errors
    ///
    /// What the machine reports.
    fn try_lock(&self) -> Result<Option<StoreLock>, LocalError>;

    /// What a person calls this store, for messages.
    fn description(&self) -> String;
}
