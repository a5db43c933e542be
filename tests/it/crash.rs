//! Tests that after a crash at any write, the next update succeeds and no recorded version is lost.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lastmile_client::{Error as ClientError, LocalError, LockKind, MemoryStore, Store, StoreLock, StoredFile};
use lastmile_metadata::ErrorKind;
use lastmile_testkit::{FakeNetwork, Repository, TestClient, TestKey, Versions, refused};
use serde_json::json;

/// A store in which the first `left` changes succeed and all later changes fail, as if the machine had crashed.
#[derive(Clone)]
struct Crashing {
    store: MemoryStore,
    left: Arc<AtomicUsize>,
}

impl Crashing {
    fn after(store: &MemoryStore, changes: usize) -> Crashing {
        Crashing { store: store.clone(), left: Arc::new(AtomicUsize::new(changes)) }
    }

    fn spend(&self) -> Result<(), LocalError> {
        let spent = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        spent.map(drop).map_err(|_| LocalError::new("go on", "the machine", io::Error::other("crashed")))
    }
}

impl Store for Crashing {
    fn read(&self, file: &StoredFile, max_length: u64) -> Result<Option<Vec<u8>>, LocalError> {
        self.store.read(file, max_length)
    }

    fn write(&self, file: &StoredFile, bytes: &[u8]) -> Result<(), LocalError> {
        self.spend()?;
        self.store.write(file, bytes)
    }

    fn remove(&self, file: &StoredFile) -> Result<(), LocalError> {
        self.spend()?;
        self.store.remove(file)
    }

    fn try_lock(&self, kind: LockKind) -> Result<Option<StoreLock>, LocalError> {
        self.store.try_lock(kind)
    }

    fn description(&self) -> String {
        self.store.description()
    }
}

/// Refreshes with a store from `prepare` that crashes after 0, 1, 2 … changes, until a run ends without a crash. After
/// each run, refreshes twice more. A refresh from `newest` must lead to the versions `expected`. A refresh from `older`
/// must then be refused. Returns the number of changes that a run without a crash makes.
fn survives(
    client: &TestClient,
    prepare: impl Fn() -> MemoryStore,
    newest: &FakeNetwork,
    expected: Versions,
    older: &FakeNetwork,
) -> usize {
    for changes in 0..100 {
        let store = prepare();
        client.use_network(newest);
        let crashed = client.refresh_with(Crashing::after(&store, changes));
        let got_through = crashed.is_ok();
        assert!(got_through || matches!(crashed, Err(ClientError::Local(_))), "{changes}: {crashed:?}");
        assert_eq!(client.refresh_with(store.clone()).unwrap(), expected, "after {changes} changes");
        client.use_network(older);
        let kind = refused(client.refresh_with(store)).kind;
        assert!(matches!(kind, ErrorKind::Rollback { .. }), "after {changes} changes: {kind:?}");
        if got_through {
            return changes;
        }
    }
    panic!("a refresh must need fewer than 100 changes to the store");
}

#[test]
fn w_5_0_a_crash_at_any_write_of_an_update_is_harmless() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    repository.publish(&["targets"]);
    let older = repository.fork();
    repository.publish(&["root"]);
    repository.publish(&["root", "targets"]);
    repository.publish(&["targets"]);
    let prepare = || {
        let store = MemoryStore::default();
        client.use_network(older.network());
        client.refresh_with(store.clone()).unwrap();
        store
    };
    let changes = survives(&client, prepare, repository.network(), [3, 4, 4, 4], older.network());
    assert!(changes >= 7, "expected writes of two roots, three roles and the record, got {changes}");
}

#[test]
fn w_5_0_a_crash_at_any_write_of_the_first_update_is_harmless() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    let older = repository.fork();
    repository.publish(&["root", "targets"]);
    survives(&client, MemoryStore::default, repository.network(), [2, 2, 2, 2], older.network());
}

#[test]
fn a4_a_crash_at_any_write_of_a_recovery_from_fast_forward_is_harmless() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    let mut attacker = repository.fork();
    attacker.signed("timestamp")["version"] = json!(1_000_000);
    attacker.signed("snapshot")["version"] = json!(1_000_000);
    attacker.publish(&["snapshot"]);
    for role in ["timestamp", "snapshot"] {
        repository.set_keys(role, &[TestKey::new("recovered")], 1);
    }
    repository.publish(&["root", "targets"]);
    repository.publish(&["root"]);
    // The fork has the first metadata that is signed with the new keys. Later, the client must refuse it as a rollback.
    let older = repository.fork();
    repository.publish(&["targets"]);
    let prepare = || {
        let store = MemoryStore::default();
        client.use_network(attacker.network());
        assert_eq!(client.refresh_with(store.clone()).unwrap()[1], 1_000_001);
        store
    };
    survives(&client, prepare, repository.network(), [3, 3, 3, 3], older.network());
}
