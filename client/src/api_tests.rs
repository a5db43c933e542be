//! Tests of the public API: finding targets by name, progress reports, reading small targets into memory, and dropping
//! futures.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use lastmile_metadata::{FileError, TargetFile, TargetNames};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use crate::blocking;
use crate::builder::UpdaterBuilder;
use crate::error::{Error, Refusal};
use crate::event::Transfer;
use crate::net::fetch::{Fetch, FetchError, Response};
use crate::session::Session;
use crate::store::directory::DirectoryStore;
use crate::target::Target;
use crate::test_repository::{TestRepository, now, root};
use crate::updater::Updater;

/// Returns a repository that serves the targets `x` and `docs/y`.
fn repository() -> TestRepository {
    let repository = TestRepository::new();
    repository.put("t/x", b"1");
    repository.put("t/docs/y", b"1");
    repository
}

fn updater(repository: &TestRepository) -> UpdaterBuilder {
    repository.updater().target_names(TargetNames::Plain)
}

async fn session(repository: &TestRepository) -> Session {
    updater(repository).build().unwrap().refresh_at(now()).await.unwrap()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_target_is_found_by_its_name() {
    let mut session = session(&repository()).await;
    for name in ["x", "docs/y"] {
        assert_eq!(session.target(name).await.unwrap().path.as_str(), name);
    }
    let error = session.target("docs/z".to_owned()).await.unwrap_err();
    assert!(matches!(&error, Error::NoSuchTarget(path) if path.as_str() == "docs/z"), "{error:?}");
    assert_eq!(error.to_string(), "no trusted role lists the target `docs/z`");
}

#[tokio::test]
async fn an_invalid_target_path_is_an_error_without_a_request() {
    let repository = repository();
    let mut session = session(&repository).await;
    repository.take_requests();
    let error = session.target("").await.unwrap_err();
    assert!(matches!(error, Error::TargetPath(_)), "{error:?}");
    assert_eq!(repository.take_requests(), [""; 0]);
}

#[tokio::test]
async fn a_closure_can_receive_the_progress() {
    let repository = repository();
    let dir = tempfile::tempdir().unwrap();
    let mut session = session(&repository).await;
    let target = session.target("x").await.unwrap();
    let seen = Mutex::new(Vec::new());
    let watch = |target: &TargetFile, event: Transfer| seen.lock().unwrap().push((target.path.clone(), event));
    let path = session.download_with_progress(&target, dir.path().join("file"), &watch).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"1");
    session.download_below_with_progress(&target, dir.path(), &watch).await.unwrap();
    repository.put("t/x", b"2");
    let results =
        session.download_all_with_progress(std::slice::from_ref(&target), dir.path().join("other"), 1, &watch).await;
    assert!(matches!(results.as_slice(), [Err(Error::Refused(_))]), "{results:?}");
    let start = Transfer::Started;
    let some = Transfer::Advanced(1);
    let events = [start, some, Transfer::Finished, start, some, Transfer::Finished, start, some, Transfer::Failed];
    assert_eq!(*seen.lock().unwrap(), events.map(|event| (target.path.clone(), event)));
}

#[tokio::test]
async fn a_small_target_is_read_into_memory() {
    let mut session = session(&repository()).await;
    let target = session.target("docs/y").await.unwrap();
    assert_eq!(session.read(&target).await.unwrap(), b"1");
}

#[tokio::test]
async fn targets_read_into_memory_have_passed_every_check() {
    for (wrong, expected) in [(&b"2"[..], None), (b"", Some(0)), (b"12", Some(2))] {
        let repository = repository();
        let mut session = session(&repository).await;
        let target = session.target("x").await.unwrap();
        repository.put("t/x", wrong);
        let Err(Error::Refused(error)) = session.read(&target).await else { panic!("{wrong:?}") };
        let Refusal::Target { error, .. } = error.refusal else { panic!("{error:?}") };
        match expected {
            None => assert!(matches!(error, FileError::Hash { .. }), "{error:?}"),
            Some(found) => assert_eq!(error, FileError::Length { expected: 1, found }),
        }
    }
}

#[tokio::test]
async fn a_target_that_is_too_long_for_memory_is_not_requested() {
    let repository = repository();
    let mut session = session(&repository).await;
    let mut target = session.target("x").await.unwrap().file().clone();
    repository.take_requests();
    target.length = Session::MAX_READ_LENGTH + 1;
    let target = Target::without_demands(target);
    let error = session.read(&target).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { length: 16_777_217, max_length: 16_777_216, .. }), "{error:?}");
    assert_eq!(repository.take_requests(), [""; 0]);
}

#[test]
fn the_blocking_api_finds_reads_and_downloads() {
    let repository = repository();
    let dir = tempfile::tempdir().unwrap();
    let updater = blocking::Updater::new(updater(&repository).build().unwrap()).unwrap();
    let mut session = updater.refresh_at(now()).unwrap();
    let target = session.target("x").unwrap();
    assert!(matches!(session.target("z"), Err(Error::NoSuchTarget(_))));
    assert_eq!(session.read(&target).unwrap(), b"1");
    let path = session.download(&target, dir.path().join("file")).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"1");
    let paths = session.download_all(&[target], dir.path(), 2);
    assert_eq!(paths.into_iter().collect::<Result<Vec<_>, _>>().unwrap(), [dir.path().join("x")]);
}

#[test]
fn futures_of_the_api_can_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let updater = TestRepository::new().updater().build().unwrap();
    is_send(async move {
        let mut session = updater.refresh().await?;
        let target = session.target("x").await?;
        session.read(&target).await?;
        session.download_with_progress(&target, "x", &|_: &TargetFile, _| {}).await?;
        session.download(&target, "x").await
    });
}

/// A repository that sends only the first byte of the file `name`, and then stalls. The repository notifies `reached`
/// when the client waits for the second byte.
#[derive(Clone)]
struct Stalling {
    repository: TestRepository,
    name: &'static str,
    reached: Arc<Notify>,
}

impl Fetch for Stalling {
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let stalls = url.ends_with(self.name);
        let answer = self.repository.fetch(url, offset);
        Box::pin(async move {
            let answer = answer.await?;
            if !stalls {
                return Ok(answer);
            }
            let reached = Arc::clone(&self.reached);
            let forever = stream::once(async move {
                reached.notify_one();
                std::future::pending().await
            });
            let first = answer.body.take(1).map(|part| part.map(|bytes| bytes.slice(..1)));
            Ok(Response { offset: 0, body: first.chain(forever).boxed() })
        })
    }
}

impl Stalling {
    /// Publishes version 10 of the repository. The content of the target `x` has two bytes, so that a download can
    /// stall after the first byte.
    fn at(name: &'static str) -> Stalling {
        let repository = TestRepository::new();
        repository.publish(10, "online");
        repository.put("t/x", b"10");
        Stalling { repository, name, reached: Arc::default() }
    }

    fn updater(&self, store: &Path) -> Updater {
        let store = DirectoryStore::open(store).unwrap();
        let builder = Updater::builder(root(1, "root", "online")).mirror("http://a/", "http://a/t/").store(store);
        builder.target_names(TargetNames::Plain).lock_wait(Duration::ZERO).fetch(self.clone()).build().unwrap()
    }
}

#[test]
fn a_dropped_download_leaves_the_old_file_and_no_temporary_file() {
    let stalling = Stalling::at("t/x");
    let store = tempfile::tempdir().unwrap();
    let out = tempfile::tempdir().unwrap();
    std::fs::write(out.path().join("x"), b"before").unwrap();
    let runtime = runtime();
    runtime.block_on(async {
        let mut session = stalling.updater(store.path()).refresh_at(now()).await.unwrap();
        let target = session.target("x").await.unwrap();
        for _ in 0..2 {
            tokio::select! {
                result = session.download_below(&target, out.path()) => panic!("the download ended instead of stalling: {result:?}"),
                names = async { stalling.reached.notified().await; files(out.path()) } => {
                    assert!(names.iter().any(|name| name != "x"), "the download must have created a temporary file");
                }
            }
        }
        // The dropped downloads have released the lock on the store.
        stalling.updater(store.path()).refresh_at(now()).await.unwrap();
    });
    // Dropping the runtime waits for its threads, which remove the temporary file.
    drop(runtime);
    assert_eq!(files(out.path()), ["x"]);
    assert_eq!(std::fs::read(out.path().join("x")).unwrap(), b"before");
}

#[tokio::test]
async fn a_dropped_refresh_releases_the_lock_and_keeps_accepted_files() {
    let stalling = Stalling::at("10.snapshot.json");
    let store = tempfile::tempdir().unwrap();
    let whole = Stalling { name: "none", ..stalling.clone() };
    let updater = stalling.updater(store.path());
    let other = async {
        stalling.reached.notified().await;
        whole.updater(store.path()).refresh_at(now()).await.err()
    };
    tokio::select! {
        _ = updater.refresh_at(now()) => panic!("the refresh ended instead of stalling"),
        busy = other => assert!(matches!(busy, Some(Error::Local(_))), "{busy:?}"),
    }
    assert_eq!(std::fs::read(store.path().join("timestamp.json")).unwrap(), stalling.repository.file("timestamp.json"));
    let session = whole.updater(store.path()).refresh_at(now()).await.unwrap();
    assert_eq!(session.trusted().snapshot().version.get(), 10);
}
