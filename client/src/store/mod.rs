//! Where trusted metadata is kept between runs: the interface, and a store in memory.

pub(crate) mod directory;
pub(crate) mod identity;
mod large;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lastmile_metadata::{Kept, RoleName, Stored, Version};

use crate::error::LocalError;

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

/// A file that could be read when it was judged cannot be read any more.
pub(crate) fn cut_short() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// Keeps everything in memory; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    files: Arc<Mutex<Files>>,
    locked: Arc<AtomicBool>,
}

/// Forks share what neither has changed.
type Files = BTreeMap<StoredFile, Arc<[u8]>>;

impl MemoryStore {
    /// Another store that holds the same now, and goes its own way from here.
    #[doc(hidden)]
    #[must_use]
    pub fn fork(&self) -> Self {
        let files = self.with_files(|files| files.clone());
        Self { files: Arc::new(Mutex::new(files)), locked: Arc::default() }
    }

    fn with_files<T>(&self, work: impl FnOnce(&mut Files) -> T) -> T {
        work(&mut self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for MemoryStore {
    fn read(&self, file: &StoredFile, _max_length: u64) -> Result<Option<Vec<u8>>, LocalError> {
        Ok(self.with_files(|files| files.get(file).map(|bytes| bytes.to_vec())))
    }

    fn write(&self, file: &StoredFile, bytes: &[u8]) -> Result<(), LocalError> {
        self.with_files(|files| files.insert(file.clone(), bytes.into()));
        Ok(())
    }

    fn remove(&self, file: &StoredFile) -> Result<(), LocalError> {
        self.with_files(|files| files.remove(file));
        Ok(())
    }

    fn try_lock(&self) -> Result<Option<StoreLock>, LocalError> {
        if self.locked.swap(true, Ordering::AcqRel) {
            return Ok(None);
        }
        Ok(Some(Box::new(Unlock(Arc::clone(&self.locked)))))
    }

    fn description(&self) -> String {
        "the store in memory".to_owned()
    }
}

struct Unlock(Arc<AtomicBool>);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_memory_store_share_files_and_lock() {
        let store = MemoryStore::default();
        let other = store.clone();
        store.write(&StoredFile::Floors, b"1").unwrap();
        assert_eq!(other.read(&StoredFile::Floors, 9).unwrap().unwrap(), b"1");
        other.remove(&StoredFile::Floors).unwrap();
        assert_eq!(store.read(&StoredFile::Floors, 9).unwrap(), None);
        let held = store.try_lock().unwrap();
        assert!(held.is_some() && other.try_lock().unwrap().is_none());
        drop(held);
        assert!(other.try_lock().unwrap().is_some());
    }

    #[test]
    fn a_fork_of_a_memory_store_goes_its_own_way() {
        let store = MemoryStore::default();
        store.write(&StoredFile::Floors, b"1").unwrap();
        let _held = store.try_lock().unwrap();
        let fork = store.fork();
        assert!(fork.try_lock().unwrap().is_some());
        assert_eq!(fork.read(&StoredFile::Floors, 9).unwrap().unwrap(), b"1");
        fork.write(&StoredFile::Floors, b"2").unwrap();
        assert_eq!(store.read(&StoredFile::Floors, 9).unwrap().unwrap(), b"1");
    }
}
