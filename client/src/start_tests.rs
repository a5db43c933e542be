//! Tests of a store with an unreadable file. The client must report the I/O error, and must not treat the store as
//! damaged or new.

use std::io;
use std::sync::{Arc, Mutex};

use lastmile_metadata::{ErrorKind, TargetPath, Version};

use super::*;
use crate::error::LocalError;
use crate::store::memory::MemoryStore;
use crate::store::{LockKind, Store, StoreLock};
use crate::test_repository::{TestRepository, now};
use crate::updater::Updater;

/// A store in which reading one file fails.
#[derive(Clone, Default)]
struct Sick {
    store: MemoryStore,
    file: Arc<Mutex<Option<(StoredFile, io::ErrorKind)>>>,
}

impl Store for Sick {
    fn read(&self, file: &StoredFile, max_length: u64) -> Result<Option<Vec<u8>>, LocalError> {
        match &*self.file.lock().unwrap() {
            Some((sick, kind)) if sick == file => Err(LocalError::new("read", "x", io::Error::from(*kind))),
            _ => self.store.read(file, max_length),
        }
    }

    fn write(&self, file: &StoredFile, bytes: &[u8]) -> Result<(), LocalError> {
        self.store.write(file, bytes)
    }

    fn remove(&self, file: &StoredFile) -> Result<(), LocalError> {
        self.store.remove(file)
    }

    fn try_lock(&self, kind: LockKind) -> Result<Option<StoreLock>, LocalError> {
        self.store.try_lock(kind)
    }

    fn description(&self) -> String {
        self.store.description()
    }
}

impl Sick {
    fn make(&self, file: &StoredFile, kind: io::ErrorKind) {
        *self.file.lock().unwrap() = Some((file.clone(), kind));
    }

    fn updater(&self, repository: &TestRepository) -> Updater {
        repository.updater().store(self.clone()).build().unwrap()
    }
}

fn role(role: RoleName) -> StoredFile {
    StoredFile::Role(role)
}

#[tokio::test]
async fn an_unreadable_stored_file_is_reported() {
    let repository = TestRepository::new();
    let store = Sick::default();
    let mut session = store.updater(&repository).refresh_at(now()).await.unwrap();
    let [_, timestamp, snapshot, targets] = RoleName::TOP_LEVEL.map(role);
    let next = StoredFile::Root(Version::new(2).unwrap());
    for file in [StoredFile::Floors, StoredFile::Identity, timestamp.clone(), snapshot, targets, next] {
        store.make(&file, io::ErrorKind::Other);
        let refreshed = store.updater(&repository).refresh_at(now()).await;
        assert!(matches!(refreshed, Err(Error::Local(_))), "{file:?}");
    }
    store.make(&timestamp, io::ErrorKind::Other);
    let found = session.find(&TargetPath::new("docs/y").unwrap()).await;
    assert!(matches!(found, Err(Error::Local(_))), "{found:?}");
}

#[tokio::test]
async fn d3_an_unreadable_store_is_not_treated_as_new() {
    let repository = TestRepository::new();
    let store = Sick::default();
    store.updater(&repository).refresh_at(now()).await.unwrap();
    let [root, timestamp, snapshot, targets] = RoleName::TOP_LEVEL.map(role);
    for file in [&StoredFile::Floors, &StoredFile::Identity, &timestamp, &snapshot, &targets] {
        store.remove(file).unwrap();
    }
    store.make(&root, io::ErrorKind::Other);
    let refreshed = store.updater(&repository).refresh_at(now()).await;
    assert!(matches!(refreshed, Err(Error::Local(_))));
    store.make(&root, io::ErrorKind::InvalidData);
    let refreshed = store.updater(&repository).refresh_at(now()).await;
    let Err(Error::State(verdict)) = refreshed else { panic!() };
    assert_eq!(verdict.kind, ErrorKind::StateLost);
}
