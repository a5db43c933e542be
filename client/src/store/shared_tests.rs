//! Tests of several processes that use one store at the same time.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use lastmile_metadata::{ErrorKind, TargetPath};

use crate::error::Error;
use crate::net::fetch::{Fetch, FetchError, Response};
use crate::store::directory::DirectoryStore;
use crate::store::{LockKind, Store as _};
use crate::test_repository::{TestRepository, now};
use crate::updater::Updater;

/// A repository that never answers the request for one file.
#[derive(Clone)]
struct Stalled {
    repository: TestRepository,
    file: &'static str,
}

impl Fetch for Stalled {
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        if url.ends_with(self.file) { Box::pin(std::future::pending()) } else { self.repository.fetch(url, offset) }
    }
}

fn store(dir: &Path) -> DirectoryStore {
    DirectoryStore::open(dir).unwrap()
}

fn updater(fetch: impl Fetch, dir: &Path) -> Updater {
    let builder = Updater::builder(crate::test_repository::root(1, "root", "online")).fetch(fetch);
    builder.mirror("http://a/", "http://a/t/").store(store(dir)).lock_wait(Duration::ZERO).build().unwrap()
}

fn offline(dir: &Path) -> Updater {
    let builder = Updater::builder(crate::test_repository::root(1, "root", "online"));
    let store = DirectoryStore::open_read_only(dir).unwrap();
    builder.store(store).lock_wait(Duration::ZERO).build().unwrap()
}

#[tokio::test]
async fn b2_local_commands_do_not_wait_for_a_refresh() {
    for file in ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"] {
        let repository = TestRepository::new();
        let dir = tempfile::tempdir().unwrap();
        let mut session = updater(repository.clone(), dir.path()).refresh_at(now()).await.unwrap();
        session.find(&TargetPath::new("docs/y").unwrap()).await.unwrap().unwrap();
        repository.publish(2, "online");
        let stalled = updater(Stalled { repository: repository.clone(), file }, dir.path());
        let mut refresh = Box::pin(stalled.refresh_at(now()));
        // Poll until the refresh waits for the file that never arrives.
        for _ in 0..50 {
            assert!((&mut refresh).now_or_never().is_none(), "{file}");
            tokio::task::yield_now().await;
        }
        // Offline sessions still see the old metadata, although the running refresh has already accepted new files.
        let mut local = offline(dir.path()).offline_at(now()).await.unwrap();
        assert_eq!(local.trusted().timestamp().version.get(), 1, "{file}");
        assert_eq!(local.list().await.unwrap().len(), 2, "{file}");
        // The session that was created before the refresh still works.
        assert!(session.find(&TargetPath::new("x").unwrap()).await.unwrap().is_some());
        // A second refresh must wait for the running refresh. It fails at once, because the test sets the maximum wait
        // to zero.
        let other = updater(repository.clone(), dir.path()).refresh_at(now()).await;
        assert!(matches!(other, Err(Error::Local(_))), "{file}");
        drop(refresh);
        let session = updater(repository, dir.path()).refresh_at(now()).await.unwrap();
        assert_eq!(session.trusted().targets().version().get(), 2, "{file}");
    }
}

#[tokio::test]
async fn b2_a_cancelled_refresh_keeps_accepted_files() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    updater(repository.clone(), dir.path()).refresh_at(now()).await.unwrap();
    let older = repository.file("timestamp.json");
    repository.publish(2, "online");
    let stalled = updater(Stalled { repository: repository.clone(), file: "2.snapshot.json" }, dir.path());
    let mut refresh = Box::pin(stalled.refresh_at(now()));
    for _ in 0..50 {
        assert!((&mut refresh).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(refresh);
    assert_eq!(std::fs::read(dir.path().join("timestamp.json")).unwrap(), repository.file("timestamp.json"));
    repository.put("timestamp.json", &older);
    let error = updater(repository, dir.path()).refresh_at(now()).await.err().unwrap();
    assert!(matches!(error.verdict().unwrap().kind, ErrorKind::Rollback { .. }), "{error:?}");
}

type Work = Box<dyn FnOnce() + Send>;

/// A transport that runs `work` when `file` is requested for the first time.
#[derive(Clone)]
struct Meanwhile {
    repository: TestRepository,
    file: &'static str,
    work: Arc<Mutex<Option<Work>>>,
}

impl Fetch for Meanwhile {
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let answer = self.repository.fetch(url, offset);
        if url.ends_with(self.file)
            && let Some(work) = self.work.lock().unwrap().take()
        {
            work();
        }
        answer
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn b2_a_refresh_starts_again_if_another_program_has_changed_the_store() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    updater(repository.clone(), dir.path()).refresh_at(now()).await.unwrap();
    // Prepare a store with version 3 of the repository, as if a program that does not use the refresh lock had written
    // the store.
    let newer = TestRepository::new();
    let newer_dir = tempfile::tempdir().unwrap();
    newer.publish(3, "online");
    updater(newer.clone(), newer_dir.path()).refresh_at(now()).await.unwrap();
    repository.publish(2, "online");
    let from = newer_dir.path().to_owned();
    let to = dir.path().to_owned();
    let work: Work = Box::new(move || {
        copy(&from, &to);
        let stamp = std::fs::read_to_string(to.join("state/stamp.json")).unwrap();
        std::fs::write(to.join("state/stamp.json"), stamp.replace(",\"starts\":1", "")).unwrap();
    });
    let meanwhile = Meanwhile { repository, file: "2.targets.json", work: Arc::new(Mutex::new(Some(work))) };
    let error = updater(meanwhile, dir.path()).refresh_at(now()).await.err().unwrap();
    assert!(matches!(error.verdict().unwrap().kind, ErrorKind::Rollback { .. }), "{error:?}");
    assert_eq!(std::fs::read(dir.path().join("timestamp.json")).unwrap(), newer.file("timestamp.json"));
    assert_eq!(std::fs::read(dir.path().join("targets.json")).unwrap(), newer.file("3.targets.json"));
}

#[tokio::test]
async fn b2_a_refresh_gives_up_if_the_store_keeps_changing() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    let stamp = dir.path().join("state/stamp.json");
    let disturb = move || {
        let text = std::fs::read_to_string(&stamp).unwrap();
        std::fs::write(&stamp, text.replace("\"starts\":", "\"starts\":9")).unwrap();
    };
    struct Always<F>(TestRepository, F);
    impl<F: Fn() + Send + Sync + 'static> Fetch for Always<F> {
        fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
            if url.ends_with("timestamp.json") {
                (self.1)();
            }
            self.0.fetch(url, offset)
        }
    }
    let error = updater(Always(repository, disturb), dir.path()).refresh_at(now()).await.err().unwrap();
    let Error::Local(error) = error else { panic!("{error:?}") };
    assert!(error.hint.unwrap().contains("other processes keep changing the store"));
    assert!(!dir.path().join("timestamp.json").exists());
}

#[test]
fn b15_the_lock_of_a_removed_file_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, name) in [(LockKind::Files, "lock"), (LockKind::Refresh, "refresh.lock")] {
        let path = dir.path().join("state").join(name);
        let first = store(dir.path()).try_lock(kind).unwrap();
        // A second process has opened the lock file and waits for the lock. Then the first process, which holds the
        // lock, removes the file and ends. The second process must not treat its lock on the removed file as the lock
        // on the store.
        let waiting = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        drop(first);
        assert!(lastmile_fs::disk::try_lock(&waiting, &path).unwrap());
        let second = store(dir.path()).try_lock(kind).unwrap();
        assert!(second.is_some() && store(dir.path()).try_lock(kind).unwrap().is_none());
    }
}
