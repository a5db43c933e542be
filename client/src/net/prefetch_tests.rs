//! Tests that prefetching saves time and changes nothing else.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lastmile_metadata::RoleName;

use super::{Answer, Prefetch};
use crate::net::attempt::fetch_metadata;
use crate::net::base_url::BaseUrl;
use crate::net::fetch::FetchError;
use crate::net::http::{HttpFetch, HttpSettings};
use crate::net::proxy::ProxyChoice;
use crate::net::retry::RetryPolicy;
use crate::store::memory::MemoryStore;
use crate::store::{Store, StoredFile};
use crate::test_repository::{self, DELAY, FarAway, TestRepository, now, root};
use crate::test_server::Server;
use crate::updater::Updater;

const TIMESTAMP: &str = "http://a/timestamp.json";

fn updater(server: &Server, sequential: bool) -> Updater {
    let settings = HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() };
    let builder = Updater::builder(root(1, "root", "online")).fetch(HttpFetch::new(&settings).unwrap());
    let builder = builder.mirror(&server.url, server.at("t/"));
    let builder = if sequential { builder.sequential() } else { builder };
    builder.build().unwrap()
}

async fn time_of_a_refresh(updater: &Updater) -> Duration {
    let before = Instant::now();
    updater.refresh_at(now()).await.unwrap();
    before.elapsed()
}

#[tokio::test]
async fn a_refresh_with_nothing_new_takes_one_round_trip_over_open_connections() {
    let server = Server::far_away(TestRepository::new().files(), DELAY).await;
    let updater = updater(&server, false);
    time_of_a_refresh(&updater).await;
    assert_eq!((server.requests().len(), server.connections()), (4, 2));
    let second = time_of_a_refresh(&updater).await;
    assert!(second >= DELAY && second < 2 * DELAY, "{second:?}");
    assert_eq!((server.requests().len(), server.connections()), (6, 2));
}

#[tokio::test]
async fn a_sequential_refresh_takes_one_round_trip_for_each_file() {
    let server = Server::far_away(TestRepository::new().files(), DELAY).await;
    let updater = updater(&server, true);
    assert!(time_of_a_refresh(&updater).await >= 4 * DELAY);
    assert!(time_of_a_refresh(&updater).await >= 2 * DELAY);
    assert_eq!(server.connections(), 1);
    let asked = ["/2.root.json", "/timestamp.json", "/1.snapshot.json", "/1.targets.json"];
    assert_eq!(server.paths(), [&asked[..], &asked[..2]].concat());
}

/// Runs a refresh and returns its duration, its requests, its error and the stored files.
async fn outcome(far_away: &FarAway, sequential: bool) -> (Duration, Vec<String>, String, Vec<Option<Vec<u8>>>) {
    let far_away =
        FarAway { at_first: Arc::new(Mutex::new(far_away.at_first.lock().unwrap().clone())), ..far_away.clone() };
    let store = MemoryStore::default();
    let repository = far_away.repository.clone();
    let builder = Updater::builder(root(1, "root", "online")).fetch(far_away).store(store.clone());
    let builder = builder.mirror("http://a/", "http://a/t/").mirror("http://b/", "http://b/t/");
    let retry_policy = RetryPolicy { retries: 1, ..RetryPolicy::default() };
    let builder = if sequential { builder.sequential() } else { builder };
    let updater = builder.retry_policy(retry_policy).build().unwrap();
    repository.take_requests();
    let before = tokio::time::Instant::now();
    let refreshed = updater.refresh_at(now()).await;
    let error = refreshed.err().map_or(String::new(), |error| format!("{error:?}"));
    let files = RoleName::TOP_LEVEL.map(StoredFile::Role).into_iter().chain([StoredFile::Floors]);
    let stored = files.map(|file| store.read(&file, u64::MAX).unwrap()).collect();
    (before.elapsed(), repository.take_requests(), error, stored)
}

fn by_mirror(asked: &[String]) -> (Vec<&str>, Vec<&str>) {
    let of = |mirror: &str| asked.iter().filter_map(|url| url.strip_prefix(mirror)).collect();
    (of("http://a/"), of("http://b/"))
}

#[tokio::test(start_paused = true)]
async fn prefetching_does_not_change_the_outcome_of_any_failure() {
    let faults: [&[test_repository::Answer]; 8] = [
        &[Err(FetchError::NotFound)],
        &[Err(FetchError::Status(503))],
        &[Err(FetchError::Status(503)), Err(FetchError::Status(503))],
        &[Err(FetchError::Cut("x".to_owned())), Ok(b"{}".to_vec())],
        &[Err(FetchError::Status(400))],
        &[Ok(b"{}".to_vec())],
        &[Ok(vec![b' '; 600_000])],
        &[],
    ];
    for name in ["2.root.json", "timestamp.json", "1.snapshot.json"] {
        for mirrors in [&["a"][..], &["a", "b"]] {
            for fault in faults {
                let far_away = FarAway::default();
                far_away.repository.publish(1, "online");
                for mirror in mirrors {
                    far_away.at_first(&format!("http://{mirror}/{name}"), fault);
                }
                let (_, mut asked, error, stored) = outcome(&far_away, false).await;
                let (_, mut expected, expected_error, expected_stored) = outcome(&far_away, true).await;
                let case = format!("{name} {mirrors:?} {fault:?}");
                assert_eq!((&error, &stored), (&expected_error, &expected_stored), "{case}");
                // A refresh with prefetching may request the files in this list before a failure that prevents a
                // sequential refresh from requesting them. Ignore the requests that only prefetching has caused.
                for early in [TIMESTAMP, "http://b/2.root.json", "http://b/timestamp.json"] {
                    if !expected.iter().any(|expected| expected == early) {
                        asked.retain(|asked| asked != early);
                    }
                }
                asked.sort();
                expected.sort();
                assert_eq!(asked, expected, "{case}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_timestamp_that_the_new_root_refuses_is_requested_again() {
    let far_away = FarAway::default();
    far_away.repository.publish(1, "online");
    far_away.at_first(TIMESTAMP, &[Ok(far_away.repository.file("timestamp.json"))]);
    far_away.repository.put("2.root.json", &root(2, "root", "new online"));
    far_away.repository.publish(2, "new online");
    let (_, asked, error, _) = outcome(&far_away, false).await;
    assert_eq!(error, "");
    let (of_a, of_b) = by_mirror(&asked);
    let expected =
        ["2.root.json", "timestamp.json", "3.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"];
    assert_eq!((of_a, of_b), (expected.to_vec(), vec!["timestamp.json", "2.root.json", "3.root.json"]));
}

#[tokio::test(start_paused = true)]
async fn a_timestamp_of_another_mirror_that_the_new_root_refuses_is_requested_again() {
    let far_away = FarAway::default();
    let repository = &far_away.repository;
    repository.publish(1, "online");
    far_away.at_first("http://b/timestamp.json", &[Ok(repository.file("timestamp.json"))]);
    repository.put("2.root.json", &root(2, "root", "new online"));
    repository.publish(2, "new online");
    let older = repository.file("timestamp.json");
    repository.publish(3, "new online");
    let newer = repository.file("timestamp.json");
    repository.answer(TIMESTAMP, Ok(older));
    let (_, asked, error, stored) = outcome(&far_away, false).await;
    assert_eq!(error, "");
    assert!(stored.contains(&Some(newer)));
    let (_, of_b) = by_mirror(&asked);
    assert_eq!(of_b[..4], ["timestamp.json", "2.root.json", "3.root.json", "timestamp.json"]);
}

#[tokio::test(start_paused = true)]
async fn a_timestamp_that_the_new_root_accepts_is_not_requested_again() {
    let far_away = FarAway::default();
    far_away.repository.publish(1, "online");
    far_away.repository.put("2.root.json", &root(2, "root", "online"));
    let (time, asked, error, _) = outcome(&far_away, false).await;
    assert_eq!((time.as_millis(), error.as_str()), (4 * DELAY.as_millis(), ""));
    let (of_a, of_b) = by_mirror(&asked);
    let expected = ["2.root.json", "timestamp.json", "3.root.json", "1.snapshot.json", "1.targets.json"];
    assert_eq!((of_a, of_b), (expected.to_vec(), vec!["timestamp.json", "2.root.json", "3.root.json"]));
}

#[tokio::test]
async fn only_the_beginning_of_a_prefetched_file_is_read_ahead() {
    let file = vec![b' '; 20 * 1024 * 1024];
    let server =
        Server::far_away([("x".to_owned(), file.clone()), ("y".to_owned(), b"y".to_vec())].into(), DELAY).await;
    let fetch = HttpFetch::new(&HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() }).unwrap();
    let builder = Updater::builder(Vec::new()).fetch(fetch);
    let context = builder.build().unwrap().context;
    let mut prefetch = Prefetch::new(&*context.fetch);
    let url = BaseUrl::new(&server.url).unwrap().file("x");
    prefetch.queue(url.clone(), u64::MAX);
    prefetch.poll_beside(tokio::time::sleep(4 * DELAY)).await;
    assert!(matches!(&prefetch.in_flight[0].answer, Answer::Received(Ok(_))));
    let Answer::Received(Ok(reading)) = &prefetch.in_flight[0].answer else { panic!() };
    assert!(reading.len() < 2 * 1024 * 1024);
    let (attempt, _) = prefetch.take(&url, u64::MAX).unwrap();
    let whole = fetch_metadata(&*context.fetch, &RetryPolicy::default(), &url, u64::MAX, Some(attempt)).await;
    assert_eq!(whole.unwrap().unwrap().len(), file.len());
    assert_eq!(server.paths(), ["/x"]);
}
