//! The changes that a refresh makes to the store. All changes are written together when the refresh ends, so other
//! processes do not see the changes of a refresh that is still running.

use std::mem::take;

use lastmile_metadata::{Accepted, FileContent};

use crate::error::{Error, LocalError};
use crate::store::StoredFile;
use crate::store::identity::StoreIdentity;
use crate::store::shared::{LockedStore, SharedStore};

/// Reading a file through this type returns the content that the file will have after the changes.
pub(crate) struct PendingChanges<'a> {
    store: &'a SharedStore,
    /// The identity that this refresh has written to the store. Every refresh writes a different identity, because the
    /// identity contains a counter.
    ours: StoreIdentity,
    changes: Vec<Change>,
}

/// A change to the store. Changes are written in the order in which they were made. If the program crashes between two
/// changes, the next refresh can start from the changes that were written.
enum Change {
    Keep(Vec<StoredFile>, Accepted),
    Write(StoredFile, Vec<u8>),
    Remove(StoredFile),
}

impl Change {
    /// Returns the content of `file` after this change, or `None` if this change does not affect the file.
    fn content_of(&self, file: &StoredFile) -> Option<Option<FileContent>> {
        match self {
            Change::Keep(files, kept) if files.contains(file) => Some(Some(match kept {
                Accepted::Received(bytes) => FileContent::Bytes(bytes.to_vec()),
                Accepted::File(parts) => FileContent::File(parts.clone()),
            })),
            Change::Write(written, bytes) if written == file => Some(Some(FileContent::Bytes(bytes.clone()))),
            Change::Remove(removed) if removed == file => Some(None),
            _ => None,
        }
    }

    fn write_to(&self, store: &LockedStore<'_>) -> Result<(), LocalError> {
        match self {
            Change::Keep(files, kept) => files.iter().try_for_each(|file| store.keep(file, kept)),
            Change::Write(file, bytes) => store.write(file, bytes),
            Change::Remove(file) => store.remove(file),
        }
    }
}

impl<'a> PendingChanges<'a> {
    pub(crate) fn new(store: &'a SharedStore, ours: StoreIdentity) -> PendingChanges<'a> {
        PendingChanges { store, ours, changes: Vec::new() }
    }

    pub(crate) fn open(&self, file: &StoredFile, max_length: u64) -> Result<Option<FileContent>, LocalError> {
        match self.changes.iter().rev().find_map(|change| change.content_of(file)) {
            Some(content) => Ok(content),
            None => self.store.open(file, max_length),
        }
    }

    /// Adds a change that stores `kept` under each name in `files`.
    pub(crate) fn keep(&mut self, files: Vec<StoredFile>, kept: Accepted) {
        self.changes.push(Change::Keep(files, kept));
    }

    pub(crate) fn write(&mut self, file: StoredFile, bytes: Vec<u8>) {
        self.changes.push(Change::Write(file, bytes));
    }

    pub(crate) fn remove(&mut self, file: StoredFile) {
        self.changes.push(Change::Remove(file));
    }

    /// Writes nothing and returns false if another process has refreshed or reset the store since this refresh started.
    pub(crate) async fn commit(mut self) -> Result<bool, Error> {
        let PendingChanges { store, ours, changes } = &mut self;
        if changes.is_empty() {
            return Ok(true);
        }
        store.exclusively(|locked| Ok(write_all(locked, ours, &take(changes))?)).await
    }
}

/// Writes the changes of a cancelled refresh, so that the files that the refresh has accepted are not lost.
impl Drop for PendingChanges<'_> {
    fn drop(&mut self) {
        let changes = take(&mut self.changes);
        if !changes.is_empty() {
            // If writing fails, the next refresh fetches the files again.
            self.store.exclusively_if_free(|locked| drop(write_all(locked, &self.ours, &changes)));
        }
    }
}

fn write_all(locked: &LockedStore<'_>, ours: &StoreIdentity, changes: &[Change]) -> Result<bool, LocalError> {
    if StoreIdentity::read(&**locked)?.as_ref() != Some(ours) {
        return Ok(false);
    }
    changes.iter().try_for_each(|change| change.write_to(locked))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use lastmile_metadata::{RoleName, Version};

    use super::*;
    use crate::event::TracingSink;
    use crate::store::Store as _;
    use crate::store::large::LargeBytes;
    use crate::store::memory::MemoryStore;
    use crate::test_repository::root;

    #[test]
    fn reading_sees_the_last_pending_change_of_each_file() {
        let memory = MemoryStore::default();
        let [newest, timestamp, snapshot] =
            [RoleName::ROOT, RoleName::TIMESTAMP, RoleName::SNAPSHOT].map(StoredFile::Role);
        let second = StoredFile::Root(Version::new(2).unwrap());
        for file in [&newest, &timestamp, &snapshot, &StoredFile::Floors] {
            memory.write(file, b"old").unwrap();
        }
        let ours = StoreIdentity::check_belongs(None, &memory, &root(1, "root", "online"), 0).unwrap();
        let store = SharedStore::new(Box::new(memory.clone()), Arc::new(TracingSink), Duration::ZERO);
        let mut pending = PendingChanges::new(&store, ours);
        let kept = Accepted::File(Arc::new(LargeBytes::new(b"new".to_vec())));
        pending.keep(vec![second.clone(), newest.clone()], kept);
        pending.write(StoredFile::Floors, b"lower".to_vec());
        pending.write(StoredFile::Floors, b"higher".to_vec());
        pending.remove(timestamp.clone());
        for (file, before, after) in [
            (&newest, Some("old"), Some("new")),
            (&second, None, Some("new")),
            (&StoredFile::Floors, Some("old"), Some("higher")),
            (&timestamp, Some("old"), None),
            (&snapshot, Some("old"), Some("old")),
        ] {
            let found = pending.open(file, 9).unwrap().and_then(FileContent::into_bytes);
            assert_eq!(found.as_deref(), after.map(str::as_bytes), "{file:?}");
            assert_eq!(memory.read(file, 9).unwrap().as_deref(), before.map(str::as_bytes), "{file:?}");
        }
    }
}
