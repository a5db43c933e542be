//! Tests of the updater: its requests, the files that it stores, and its behaviour with a damaged store.

use std::path::Path;
use std::sync::Mutex;

use chrono::TimeDelta;
use lastmile_metadata::{ErrorKind, TargetNames, TargetPath};

use super::*;
use crate::error::{Refusal, RefusedError};
use crate::event::{Event, EventSink};
use crate::net::fetch::FetchError;
use crate::net::retry::RetryPolicy;
use crate::store::LockKind;
use crate::store::directory::DirectoryStore;
use crate::test_repository::{TestRepository, now, root};

fn updater(repository: &TestRepository, dir: &Path) -> Updater {
    repository.updater().store(DirectoryStore::open(dir).unwrap()).build().unwrap()
}

async fn version(updater: &Updater) -> Result<u64, ErrorKind> {
    match updater.refresh_at(now()).await {
        Ok(session) => Ok(session.trusted().timestamp().version.get()),
        Err(error) => Err(verdict(&error)),
    }
}

fn verdict(error: &Error) -> ErrorKind {
    error.verdict().unwrap_or_else(|| panic!("{error:?}")).kind.clone()
}

fn read(dir: &Path, name: &str) -> Vec<u8> {
    std::fs::read(dir.join(name)).unwrap()
}

#[tokio::test]
async fn a_refresh_requests_files_in_order_and_the_next_refresh_only_two() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    let updater = updater(&repository, dir.path());
    updater.refresh_at(now()).await.unwrap();
    let asked = ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"];
    assert_eq!(repository.take_requests(), asked.map(|name| format!("http://a/{name}")));
    updater.refresh_at(now()).await.unwrap();
    assert_eq!(repository.take_requests(), ["http://a/2.root.json", "http://a/timestamp.json"]);
}

#[tokio::test]
async fn f_cj_7_the_received_bytes_are_stored() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    repository.put("2.root.json", &root(2, "root", "online"));
    let mut session = updater(&repository, dir.path()).refresh_at(now()).await.unwrap();
    session.find(&TargetPath::new("docs/y").unwrap()).await.unwrap().unwrap();
    for (kept, received) in [
        ("root.json", "2.root.json"),
        ("state/2.root.json", "2.root.json"),
        ("timestamp.json", "timestamp.json"),
        ("snapshot.json", "1.snapshot.json"),
        ("targets.json", "1.targets.json"),
        ("docs.json", "1.docs.json"),
    ] {
        assert_eq!(read(dir.path(), kept), repository.file(received), "{kept}");
    }
}

#[tokio::test]
async fn d5_offline_makes_no_requests_and_no_changes_and_uses_the_given_time() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    let reader = || {
        let store = DirectoryStore::open_read_only(dir.path()).unwrap();
        repository.updater().store(store).build().unwrap()
    };
    assert_eq!(verdict(&reader().offline_at(now()).await.err().unwrap()), ErrorKind::Absent);
    updater(&repository, dir.path()).refresh_at(now()).await.unwrap();
    repository.take_requests();
    let mut session = reader().offline_at(now()).await.unwrap();
    assert!(session.find(&TargetPath::new("x").unwrap()).await.unwrap().is_some());
    assert_eq!(verdict(&session.find(&TargetPath::new("docs/y").unwrap()).await.unwrap_err()), ErrorKind::Absent);
    let late = reader().offline_at(now() + TimeDelta::days(2)).await.err().unwrap();
    assert!(matches!(verdict(&late), ErrorKind::Expired { .. }));
    assert!(repository.take_requests().is_empty());
}

#[tokio::test]
async fn d3_a_damaged_file_is_fetched_again_and_its_floor_stays() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    repository.publish(5, "online");
    let updater = updater(&repository, dir.path());
    updater.refresh_at(now()).await.unwrap();
    std::fs::write(dir.path().join("timestamp.json"), b"damaged").unwrap();
    repository.publish(4, "online");
    assert!(matches!(version(&updater).await, Err(ErrorKind::Rollback { .. })));
    repository.publish(5, "online");
    assert_eq!(version(&updater).await, Ok(5));
}

#[tokio::test]
async fn d3_if_the_record_and_a_copy_are_damaged_every_refresh_is_refused_until_a_reset() {
    for (damaged, deleted) in [(true, true), (true, false), (false, true), (false, false)] {
        let repository = TestRepository::new();
        let dir = tempfile::tempdir().unwrap();
        let updater = updater(&repository, dir.path());
        updater.refresh_at(now()).await.unwrap();
        for (name, is_deleted) in [("state/floors", deleted), ("timestamp.json", damaged)] {
            let path = dir.path().join(name);
            if is_deleted { std::fs::remove_file(path).unwrap() } else { std::fs::write(path, b"x").unwrap() }
        }
        for _ in 0..2 {
            // The error must name the store as the cause, not a mirror.
            let Err(Error::State(verdict)) = updater.refresh_at(now()).await else { panic!() };
            assert_eq!(verdict.kind, ErrorKind::StateLost);
        }
        if !deleted {
            assert_eq!(read(dir.path(), "state/floors"), b"x");
        }
    }
}

#[tokio::test]
async fn d3_a_damaged_record_is_restored_from_the_stored_files() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    repository.publish(5, "online");
    let updater = updater(&repository, dir.path());
    updater.refresh_at(now()).await.unwrap();
    let record = read(dir.path(), "state/floors");
    std::fs::write(dir.path().join("state/floors"), b"damaged").unwrap();
    repository.publish(4, "online");
    assert!(matches!(version(&updater).await, Err(ErrorKind::Rollback { .. })));
    repository.publish(5, "online");
    assert_eq!(version(&updater).await, Ok(5));
    assert_eq!(read(dir.path(), "state/floors"), record);
}

#[tokio::test]
async fn w_5_3_11_after_a_key_rotation_stored_files_are_removed_before_anything_is_fetched() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    repository.publish(9, "online");
    let updater = updater(&repository, dir.path());
    updater.refresh_at(now()).await.unwrap();
    repository.put("2.root.json", &root(2, "root", "new online"));
    repository.answer("http://a/timestamp.json", Err(FetchError::Status(400)));
    assert!(updater.refresh_at(now()).await.is_err());
    assert!(!dir.path().join("timestamp.json").exists() && !dir.path().join("snapshot.json").exists());
    repository.publish(2, "new online");
    assert_eq!(version(&updater).await, Ok(2));
}

#[tokio::test]
async fn ff4_a_crash_between_storing_the_root_and_forgetting_is_repaired() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    repository.publish(9, "online");
    let updater = updater(&repository, dir.path());
    updater.refresh_at(now()).await.unwrap();
    // Simulate a process that was killed right after it stored the new root.
    let rotated = root(2, "root", "new online");
    std::fs::write(dir.path().join("state/2.root.json"), &rotated).unwrap();
    repository.put("2.root.json", &rotated);
    repository.publish(2, "new online");
    assert_eq!(version(&updater).await, Ok(2));
    assert_eq!(read(dir.path(), "root.json"), rotated);
}

#[tokio::test]
async fn w_5_2_3_a_hidden_root_does_not_bring_back_the_shipped_one() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    repository.put("2.root.json", &root(2, "root", "new online"));
    repository.publish(2, "new online");
    let updater = updater(&repository, dir.path());
    updater.refresh_at(now()).await.unwrap();
    repository.answer("http://a/2.root.json", Err(FetchError::NotFound));
    repository.publish(3, "online");
    assert!(matches!(version(&updater).await, Err(ErrorKind::ThresholdNotMet { .. })));
    std::fs::remove_file(dir.path().join("state/2.root.json")).unwrap();
    assert!(matches!(version(&updater).await, Err(ErrorKind::Rollback { .. })));
}

#[tokio::test(start_paused = true)]
async fn d6_every_mirror_is_tried_and_reported_with_its_failure() {
    let repository = TestRepository::new();
    let retry_policy = RetryPolicy { retries: 1, ..RetryPolicy::default() };
    let builder = repository.updater().mirror("http://b/", "http://b/t/").retry_policy(retry_policy);
    let updater = builder.build().unwrap();
    repository.answer("http://a/timestamp.json", Ok(b"{}".to_vec()));
    repository.answer("http://b/2.root.json", Err(FetchError::Status(503)));
    updater.refresh_at(now()).await.unwrap();
    // Every mirror is asked once for the next root. A mirror that fails to answer is not asked for the root again.
    let asked = ["a/2.root.json", "b/2.root.json", "a/timestamp.json", "b/timestamp.json", "b/1.snapshot.json"];
    let asked = asked.into_iter().chain(["b/1.targets.json"]).map(|name| format!("http://{name}"));
    assert_eq!(repository.take_requests(), asked.collect::<Vec<_>>());
    repository.answer("http://b/timestamp.json", Err(FetchError::Status(503)));
    let Err(Error::Refused(error)) = updater.refresh_at(now()).await else { panic!() };
    let reasons: Vec<_> = error.mirrors.iter().map(ToString::to_string).collect();
    assert!(reasons[0].starts_with("http://a/timestamp.json: timestamp: malformed"), "{reasons:?}");
    assert_eq!(reasons[1], "http://b/timestamp.json: the server answered with HTTP status 503");
}

#[tokio::test]
async fn w_5_3_3_2_only_a_definite_absence_ends_the_chain_of_roots() {
    let repository = TestRepository::new();
    let updater = repository.updater().build().unwrap();
    for status in [400, 401, 403, 451] {
        repository.answer("http://a/2.root.json", Err(FetchError::Status(status)));
        assert!(matches!(updater.refresh_at(now()).await, Err(Error::Network(_))));
    }
}

#[tokio::test]
async fn without_a_given_time_metadata_is_verified_by_the_clock() {
    let repository = TestRepository::new();
    let updater = repository.updater().build().unwrap();
    updater.prepare().await.unwrap();
    let started = Utc::now();
    let judged = updater.refresh().await.unwrap().trusted().start_time();
    let judged_again = updater.offline().await.unwrap().trusted().start_time();
    assert!(started <= judged && judged <= judged_again && judged_again <= Utc::now());
}

#[tokio::test]
async fn a_file_over_its_limit_is_refused() {
    let repository = TestRepository::new();
    repository.answer("http://a/timestamp.json", Ok(vec![b' '; 20_000]));
    let error = repository.updater().build().unwrap().refresh_at(now()).await.err().unwrap();
    let Error::Limit(RefusedError { refusal: Refusal::TooLong { max_length, .. }, .. }) = error else {
        panic!("{error:?}")
    };
    assert_eq!(max_length, 16_384);
}

#[tokio::test]
async fn a_store_of_another_repository_is_refused_and_left_alone() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    updater(&repository, dir.path()).refresh_at(now()).await.unwrap();
    let before = read(dir.path(), "state/stamp.json");
    let store = || DirectoryStore::open(dir.path()).unwrap();
    let foreign = Updater::builder(root(1, "another root", "online")).fetch(repository.clone()).store(store());
    let error = foreign.build().unwrap().refresh_at(now()).await.err().unwrap();
    assert!(matches!(error, Error::Local(_)), "{error:?}");
    assert_eq!(read(dir.path(), "state/stamp.json"), before);
    // A program that ships a newer root of the same repository can use the store.
    let shipped_anew = Updater::builder(root(4, "root", "online")).fetch(repository.clone());
    let shipped_anew = shipped_anew.mirror("http://a/", "http://a/").store(store()).build().unwrap();
    assert_eq!(version(&shipped_anew).await, Ok(1));
    assert_eq!(read(dir.path(), "root.json"), root(4, "root", "online"));
}

#[tokio::test]
async fn a_store_of_a_newer_format_is_refused_and_left_alone() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    let updater = updater(&repository, dir.path());
    updater.refresh_at(now()).await.unwrap();
    std::fs::write(dir.path().join("state/stamp.json"), br#"{"format":2,"other":[]}"#).unwrap();
    let error = updater.refresh_at(now()).await.err().unwrap();
    let Error::Local(error) = error else { panic!("{error:?}") };
    assert!(error.hint.unwrap().contains("the version of the program that wrote the store"));
    assert_eq!(read(dir.path(), "state/stamp.json"), br#"{"format":2,"other":[]}"#);
}

#[tokio::test]
async fn preparing_sends_no_request_and_the_first_refresh_then_succeeds() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    let updater = updater(&repository, dir.path());
    updater.prepare_at(now()).await.unwrap();
    assert!(repository.take_requests().is_empty());
    assert_eq!(read(dir.path(), "root.json"), root(1, "root", "online"));
    assert_eq!(version(&updater).await, Ok(1));
    let unsigned = Updater::builder(&b"{}"[..]).build().unwrap();
    assert!(matches!(unsigned.prepare_at(now()).await, Err(Error::Refused(_))));
    assert!(matches!(unsigned.prepare().await, Err(Error::Refused(_))));
}

#[tokio::test]
async fn an_older_session_does_not_overwrite_newer_stored_roles() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    let mut older = updater(&repository, dir.path()).refresh_at(now()).await.unwrap();
    repository.publish(2, "online");
    let mut newer = updater(&repository, dir.path()).refresh_at(now()).await.unwrap();
    let path = TargetPath::new("docs/y").unwrap();
    newer.find(&path).await.unwrap().unwrap();
    older.find(&path).await.unwrap().unwrap();
    assert_eq!(read(dir.path(), "docs.json"), repository.file("2.docs.json"));
}

#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Vec<Event>>>);

impl EventSink for Noted {
    fn handle(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

#[tokio::test]
async fn d4_a_clock_that_steps_back_is_reported_but_not_an_error() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    let noted = Noted::default();
    let store = DirectoryStore::open(dir.path()).unwrap();
    let updater = repository.updater().store(store).event_sink(noted.clone()).build().unwrap();
    updater.refresh_at(now()).await.unwrap();
    let earlier = now() - TimeDelta::days(1);
    updater.refresh_at(earlier).await.unwrap();
    updater.refresh_at(earlier).await.unwrap();
    assert_eq!(*noted.0.lock().unwrap(), [Event::ClockSteppedBack { now: earlier, before: now() }]);
}

#[tokio::test]
async fn c6_waiting_for_another_process_does_not_count_as_a_clock_step() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    let noted = Noted::default();
    let store = DirectoryStore::open(dir.path()).unwrap();
    let updater = repository.updater().store(store).event_sink(noted.clone()).build().unwrap();
    updater.refresh_at(now()).await.unwrap();
    // Simulate processes that read the clock a little earlier than the process that refreshed first.
    for seconds in [1, 300, 3_600] {
        updater.refresh_at(now() - TimeDelta::seconds(seconds)).await.unwrap();
    }
    assert!(noted.0.lock().unwrap().is_empty());
    // The client compares the clock with the latest time of all refreshes. Therefore several small steps back add up,
    // and cause a warning.
    let earlier = now() - TimeDelta::seconds(3_601);
    updater.refresh_at(earlier).await.unwrap();
    assert_eq!(*noted.0.lock().unwrap(), [Event::ClockSteppedBack { now: earlier, before: now() }]);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_lock_is_reported_once() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    let noted = Noted::default();
    let other = DirectoryStore::open(dir.path()).unwrap();
    let held = crate::store::Store::try_lock(&other, LockKind::Refresh).unwrap();
    let store = DirectoryStore::open(dir.path()).unwrap();
    let builder = repository.updater().store(store).event_sink(noted.clone());
    let updater = builder.lock_wait(std::time::Duration::from_secs(3)).build().unwrap();
    let error = updater.refresh_at(now()).await.err().unwrap();
    assert!(matches!(error, Error::Local(_)));
    assert!(matches!(noted.0.lock().unwrap().as_slice(), [Event::Waiting { .. }]));
    drop(held);
    updater.refresh_at(now()).await.unwrap();
}

#[test]
fn the_blocking_api_works_without_a_runtime() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    repository.answer("http://a/t/x", Ok(b"1".to_vec()));
    let updater = repository.updater().target_names(TargetNames::Plain).build().unwrap();
    let updater = crate::blocking::Updater::new(updater).unwrap();
    let mut session = updater.refresh_at(now()).unwrap();
    let target = session.find(&TargetPath::new("x").unwrap()).unwrap().unwrap();
    let path = session.download_below(&target, dir.path()).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"1");
    assert_eq!(session.list().unwrap().len(), 2);
}

#[test]
fn futures_can_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let updater = TestRepository::new().updater().build().unwrap();
    is_send(updater.refresh_at(now()));
    is_send(async move {
        let mut session = updater.refresh_at(now()).await?;
        let target = session.find(&TargetPath::new("x").unwrap()).await?;
        session.list().await?;
        session.download_all(target.as_slice(), ".", 2).await;
        Ok::<_, Error>(())
    });
}

#[tokio::test]
async fn d3_a_store_without_record_and_identity_was_used_if_it_has_more_than_the_shipped_root() {
    let lost = |removed: &'static [&str], added: &'static [(&str, u64)]| async move {
        let repository = TestRepository::new();
        let dir = tempfile::tempdir().unwrap();
        updater(&repository, dir.path()).refresh_at(now()).await.unwrap();
        for name in ["state/floors", "state/stamp.json"].iter().chain(removed) {
            std::fs::remove_file(dir.path().join(name)).unwrap();
        }
        for (name, number) in added {
            std::fs::write(dir.path().join(name), root(*number, "root", "online")).unwrap();
        }
        version(&updater(&repository, dir.path())).await == Err(ErrorKind::StateLost)
    };
    assert!(lost(&["timestamp.json"], &[]).await);
    assert!(lost(&["timestamp.json", "snapshot.json"], &[]).await);
    assert!(lost(&["root.json", "timestamp.json", "snapshot.json"], &[]).await);
    assert!(lost(&["timestamp.json", "snapshot.json", "targets.json"], &[("root.json", 2)]).await);
    assert!(!lost(&["timestamp.json", "snapshot.json", "targets.json"], &[]).await);
    assert!(!lost(&["root.json", "timestamp.json", "snapshot.json", "targets.json"], &[]).await);
}

#[tokio::test]
async fn a_session_stores_nothing_if_the_stored_timestamp_is_unreadable() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    let mut session = updater(&repository, dir.path()).refresh_at(now()).await.unwrap();
    std::fs::remove_file(dir.path().join("timestamp.json")).unwrap();
    std::os::unix::fs::symlink("root.json", dir.path().join("timestamp.json")).unwrap();
    session.find(&TargetPath::new("docs/y").unwrap()).await.unwrap().unwrap();
    assert!(!dir.path().join("docs.json").exists());
}

#[tokio::test]
async fn d5_offline_reports_why_a_stored_copy_is_refused_and_keeps_the_stored_root() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    updater(&repository, dir.path()).refresh_at(now()).await.unwrap();
    let store = DirectoryStore::open(dir.path()).unwrap();
    let shipped_anew = Updater::builder(root(2, "root", "online")).fetch(repository.clone()).store(store);
    shipped_anew.mirror("http://a/", "http://a/t/").build().unwrap().offline_at(now()).await.unwrap();
    assert_eq!(read(dir.path(), "root.json"), root(1, "root", "online"));
    std::fs::write(dir.path().join("targets.json"), b"{}").unwrap();
    let damaged = updater(&repository, dir.path()).offline_at(now()).await.err().unwrap();
    assert!(matches!(verdict(&damaged), ErrorKind::Malformed { .. }), "{damaged:?}");
}

#[tokio::test]
async fn a_timestamp_that_no_mirror_has_is_a_network_error() {
    let repository = TestRepository::new();
    repository.answer("http://a/timestamp.json", Err(FetchError::NotFound));
    let error = repository.updater().build().unwrap().refresh_at(now()).await.err().unwrap();
    assert!(matches!(&error, Error::Network(error) if error.cause == FetchError::NotFound), "{error:?}");
}

/// A repository whose second mirror delays each answer by the given duration.
struct Late(TestRepository, std::time::Duration);

impl crate::net::fetch::Fetch for Late {
    fn fetch(
        &self,
        url: &str,
        offset: u64,
    ) -> futures_util::future::BoxFuture<'_, Result<crate::net::fetch::Response, FetchError>> {
        let answer = self.0.fetch(url, offset);
        let late = url.starts_with("http://b/");
        Box::pin(async move {
            tokio::time::sleep(if late { self.1 } else { std::time::Duration::ZERO }).await;
            answer.await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn d6_the_client_waits_a_short_time_for_newer_files_of_other_mirrors() {
    for (late, trusted) in [(2, 2), (4, 1)] {
        let repository = TestRepository::new();
        repository.answer("http://b/2.root.json", Ok(root(2, "root", "online")));
        let late = Late(repository.clone(), std::time::Duration::from_secs(late));
        let builder = Updater::builder(root(1, "root", "online")).fetch(late).mirror("http://a/", "http://a/t/");
        let updater = builder.mirror("http://b/", "http://b/t/").build().unwrap();
        let session = updater.refresh_at(now()).await.unwrap();
        assert_eq!(session.trusted().root().version.get(), trusted);
    }
    let repository = TestRepository::new();
    let updater = repository.updater().mirror("http://b/", "http://b/t/").build().unwrap();
    updater.refresh_at(now()).await.unwrap();
    repository.take_requests();
    updater.refresh_at(now()).await.unwrap();
    let mut asked = repository.take_requests();
    asked.sort();
    let all = ["a/2.root.json", "a/timestamp.json", "b/2.root.json", "b/timestamp.json"];
    assert_eq!(asked, all.map(|name| format!("http://{name}")));
    for (late, trusted) in [(2, 2), (4, 1)] {
        let repository = TestRepository::new();
        let newer = TestRepository::new();
        newer.publish(2, "online");
        repository.put("2.snapshot.json", &newer.file("2.snapshot.json"));
        repository.put("2.targets.json", &newer.file("2.targets.json"));
        repository.answer("http://b/timestamp.json", Ok(newer.file("timestamp.json")));
        let late = Late(repository.clone(), std::time::Duration::from_secs(late));
        let builder = Updater::builder(root(1, "root", "online")).fetch(late).mirror("http://a/", "http://a/t/");
        let updater = builder.mirror("http://b/", "http://b/t/").build().unwrap();
        let before = tokio::time::Instant::now();
        let session = updater.refresh_at(now()).await.unwrap();
        assert_eq!(session.trusted().timestamp().version.get(), trusted);
        // The client has waited for the slow mirror once, when it asked for the root. It does not wait for this mirror
        // again.
        assert!(before.elapsed() <= std::time::Duration::from_secs(4 + 4), "{:?}", before.elapsed());
    }
}
