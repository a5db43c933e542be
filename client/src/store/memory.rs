//! A store in memory, which is lost when the program ends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::LocalError;
use crate::store::{LockKind, Store, StoreLock, StoredFile};

/// A store in memory. Clones share the same content.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    files: Arc<Mutex<Files>>,
    is_locked: Arc<AtomicBool>,
    is_refreshed: Arc<AtomicBool>,
}

/// The content of each file is in an `Arc`, so that a store and its fork share the content until one of them replaces
/// the file.
type Files = BTreeMap<StoredFile, Arc<[u8]>>;

impl MemoryStore {
    /// Returns an independent copy of this store.
    #[doc(hidden)]
    #[must_use]
    pub fn fork(&self) -> Self {
        let files = self.with_files(|files| files.clone());
        Self { files: Arc::new(Mutex::new(files)), is_locked: Arc::default(), is_refreshed: Arc::default() }
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

    fn try_lock(&self, kind: LockKind) -> Result<Option<StoreLock>, LocalError> {
        let is_held = match kind {
            LockKind::Files => &self.is_locked,
            LockKind::Refresh => &self.is_refreshed,
        };
        if is_held.swap(true, Ordering::AcqRel) {
            return Ok(None);
        }
        Ok(Some(Box::new(Unlock(Arc::clone(is_held)))))
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
        for (kind, independent) in [(LockKind::Files, LockKind::Refresh), (LockKind::Refresh, LockKind::Files)] {
            let held = store.try_lock(kind).unwrap();
            assert!(held.is_some() && other.try_lock(kind).unwrap().is_none());
            assert!(other.try_lock(independent).unwrap().is_some());
            drop(held);
            assert!(other.try_lock(kind).unwrap().is_some());
        }
    }

    #[test]
    fn a_fork_of_a_memory_store_is_independent() {
        let store = MemoryStore::default();
        store.write(&StoredFile::Floors, b"1").unwrap();
        let _held = store.try_lock(LockKind::Files).unwrap();
        let fork = store.fork();
        assert!(fork.try_lock(LockKind::Files).unwrap().is_some());
        assert_eq!(fork.read(&StoredFile::Floors, 9).unwrap().unwrap(), b"1");
        fork.write(&StoredFile::Floors, b"2").unwrap();
        assert_eq!(store.read(&StoredFile::Floors, 9).unwrap().unwrap(), b"1");
    }
}
