//! Tests of searching for and downloading several targets at once.

use std::time::Instant;

use futures_util::FutureExt as _;
use lastmile_metadata::{Algorithm, Hashes, RoleName, TargetNames};
use serde_json::{Value, json};

use super::*;
use crate::error::RefusedError;
use crate::net::http::{HttpFetch, HttpSettings};
use crate::net::proxy::ProxyChoice;
use crate::store::memory::MemoryStore;
use crate::store::{LockKind, Store as _};
use crate::test_repository::{DELAY, FarAway, TestRepository, expires, key_object, keyid, now, root, sign};
use crate::test_server::Server;
use crate::updater::Updater;

const BINS: usize = 20;

fn binned() -> FarAway {
    let far_away = FarAway::default();
    publish_bins(&far_away, 1, false);
    far_away
}

/// If `deep` is true, each bin delegates to two roles: a role of its own, and a role that all bins share.
fn publish_bins(far_away: &FarAway, version: usize, deep: bool) {
    let repository = &far_away.repository;
    let signed = |kind: &str, member: &str, value: Value| {
        let mut signed = json!({ "_type": kind, "spec_version": "1.0.34", "version": version, "expires": expires() });
        signed[member] = value;
        signed
    };
    let delegating = |roles: Vec<(String, String)>| {
        let role = |(name, paths): (String, String)| json!({ "name": name, "keyids": [keyid("docs")], "threshold": 1, "terminating": false, "paths": [paths] });
        let roles: Vec<_> = roles.into_iter().map(role).collect();
        let delegations = json!({ "keys": { keyid("docs"): key_object("docs") }, "roles": roles });
        let mut signed = signed("targets", "targets", json!({}));
        signed["delegations"] = delegations;
        signed
    };
    let mut meta = json!({});
    let mut put = |name: &str, signed: &Value, key: &str| {
        repository.put(&format!("{version}.{name}.json"), &sign(signed, &[key]));
        meta[format!("{name}.json")] = json!({ "version": version });
    };
    put("targets", &delegating(vec![("bins".to_owned(), "b*/*".to_owned())]), "targets");
    put("bins", &delegating((0..BINS).map(|bin| (format!("bin{bin}"), format!("b{bin}/*"))).collect()), "docs");
    for bin in 0..BINS {
        let target = json!({ format!("b{bin}/x"): { "length": bin, "hashes": { "sha256": "00".repeat(32) } } });
        let mut bin_role = signed("targets", "targets", target);
        if deep {
            let below = [format!("below{bin}"), "common".to_owned()];
            bin_role["delegations"] =
                delegating(below.map(|name| (name, format!("b{bin}/*"))).into())["delegations"].take();
            put(&format!("below{bin}"), &signed("targets", "targets", json!({})), "docs");
        }
        put(&format!("bin{bin}"), &bin_role, "docs");
    }
    if deep {
        put("common", &signed("targets", "targets", json!({})), "docs");
    }
    repository.put(&format!("{version}.snapshot.json"), &sign(&signed("snapshot", "meta", meta), &["online"]));
    let meta = json!({ "snapshot.json": { "version": version } });
    repository.put("timestamp.json", &sign(&signed("timestamp", "meta", meta), &["online"]));
}

fn paths(bins: impl IntoIterator<Item = usize>) -> Vec<TargetPath> {
    bins.into_iter().map(|bin| TargetPath::new(format!("b{bin}/x")).unwrap()).collect()
}

fn bin_urls(bins: impl IntoIterator<Item = usize>) -> Vec<String> {
    bins.into_iter().map(|bin| format!("http://a/1.bin{bin}.json")).collect()
}

/// Returns the time since `before`, measured in round trips.
fn waits(before: tokio::time::Instant) -> u128 {
    before.elapsed().as_millis() / DELAY.as_millis()
}

async fn session(far_away: &FarAway, store: &MemoryStore, sequential: bool) -> Session {
    let builder = Updater::builder(root(1, "root", "online")).fetch(far_away.clone()).store(store.clone());
    let builder = if sequential { builder.sequential() } else { builder };
    let updater = builder.mirror("http://a/", "http://a/t/").build().unwrap();
    let session = updater.refresh_at(now()).await.unwrap();
    far_away.repository.take_requests();
    session
}

fn files(found: &[Option<Target>]) -> Vec<Option<&TargetFile>> {
    found.iter().map(|found| found.as_ref().map(Target::file)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_bins_of_several_targets_are_fetched_in_parallel_and_only_once() {
    let far_away = binned();
    // Search each bin for two paths, one of which does not exist.
    let nowhere = (0..BINS).map(|bin| TargetPath::new(format!("b{bin}/nowhere")).unwrap());
    let all: Vec<_> = paths(0..BINS).into_iter().chain(nowhere).collect();
    let asked = [vec!["http://a/1.bins.json".to_owned()], bin_urls(0..BINS)].concat();
    let mut times = Vec::new();
    for sequential in [false, true] {
        let store = MemoryStore::default();
        let mut one = session(&far_away, &store, sequential).await;
        let before = tokio::time::Instant::now();
        let found = one.find_all(&all).await.unwrap();
        times.push(waits(before));
        let lengths: Vec<_> = found.iter().map(|found| found.as_ref().map(|target| target.length)).collect();
        let expected: Vec<_> = (0..BINS as u64).map(Some).chain([None; BINS]).collect();
        assert_eq!(lengths, expected);
        assert_eq!(far_away.repository.take_requests(), asked);
        // Stored roles are not requested again.
        let mut other = session(&far_away, &store, sequential).await;
        assert_eq!(files(&other.find_all(&all).await.unwrap()), files(&found));
        assert_eq!(files(&[other.find(&all[3]).await.unwrap()]), files(&found[3..4]));
        assert_eq!(far_away.repository.take_requests(), [""; 0]);
    }
    // Bins are fetched in parallel. After one round trip for the role `bins`, two round trips are enough for the 20
    // bins, because 17 bins are fetched at a time (the current bin and 16 prefetched bins).
    assert_eq!(times, [1 + 2, 1 + BINS as u128]);
}

#[tokio::test(start_paused = true)]
async fn all_bins_of_a_list_are_fetched_in_parallel_and_only_once() {
    let far_away = binned();
    let asked = [vec!["http://a/1.bins.json".to_owned()], bin_urls(0..BINS)].concat();
    let mut times = Vec::new();
    for sequential in [false, true] {
        let store = MemoryStore::default();
        let mut one = session(&far_away, &store, sequential).await;
        let before = tokio::time::Instant::now();
        let listed = one.list().await.unwrap();
        times.push(waits(before));
        assert_eq!(listed.len(), BINS);
        assert_eq!(far_away.repository.take_requests(), asked);
        let mut other = session(&far_away, &store, sequential).await;
        assert_eq!(other.list().await.unwrap(), listed);
        assert_eq!(far_away.repository.take_requests(), [""; 0]);
    }
    assert_eq!(times, [1 + 2, 1 + BINS as u128]);
}

#[tokio::test(start_paused = true)]
async fn if_one_listed_bin_is_stored_the_others_are_fetched_in_parallel() {
    let far_away = binned();
    let store = MemoryStore::default();
    session(&far_away, &store, false).await.find_all(&paths([1, 5, 6])).await.unwrap();
    let mut session = session(&far_away, &store, false).await;
    assert_eq!(session.list().await.unwrap().len(), BINS);
    let missing: Vec<_> = (0..BINS).filter(|bin| ![1, 5, 6].contains(bin)).collect();
    assert_eq!(far_away.repository.take_requests(), bin_urls(missing));
}

#[tokio::test(start_paused = true)]
async fn bins_that_were_signed_again_are_listed_as_quickly_as_new_ones() {
    let far_away = binned();
    let store = MemoryStore::default();
    session(&far_away, &store, false).await.list().await.unwrap();
    publish_bins(&far_away, 2, false);
    let mut session = session(&far_away, &store, false).await;
    let before = tokio::time::Instant::now();
    assert_eq!(session.list().await.unwrap().len(), BINS);
    assert_eq!(waits(before), 1 + 2);
    assert_eq!(far_away.repository.take_requests().len(), 1 + BINS);
}

/// The client learns of the roles below the bins while it prefetches bins, and several bins delegate to the same role.
#[tokio::test(start_paused = true)]
async fn each_role_of_a_deep_tree_is_requested_only_once() {
    let far_away = FarAway::default();
    publish_bins(&far_away, 1, true);
    let mut asked = Vec::new();
    for sequential in [false, true] {
        let mut session = session(&far_away, &MemoryStore::default(), sequential).await;
        assert_eq!(session.list().await.unwrap().len(), BINS);
        let mut requests = far_away.repository.take_requests();
        requests.sort();
        asked.push(requests);
    }
    assert_eq!(asked[0], asked[1]);
    assert_eq!(asked[0].len(), 1 + 2 * BINS + 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_mirror_has_failed_files_are_prefetched_from_the_next_one() {
    let far_away = binned();
    far_away.at_first("http://a/1.bin0.json", &[Ok(b"{}".to_vec())]);
    let builder = Updater::builder(root(1, "root", "online")).fetch(far_away.clone());
    let updater = builder.mirror("http://a/", "http://a/t/").mirror("http://b/", "http://b/t/").build().unwrap();
    let mut session = updater.refresh_at(now()).await.unwrap();
    far_away.repository.take_requests();
    let before = tokio::time::Instant::now();
    assert_eq!(session.list().await.unwrap().len(), BINS);
    let asked = far_away.repository.take_requests();
    let of_a = asked.iter().filter(|url| url.starts_with("http://a/")).count();
    assert_eq!(
        of_a,
        1 + 1 + 16,
        "expected requests to http://a/ for the role `bins`, for bin 0, and for 16 more bins: {asked:?}"
    );
    // Listing takes one round trip for the role `bins`, two for bin 0 (one to each mirror), and two for the other bins.
    assert_eq!(waits(before), 1 + 2 + 2);
}

#[tokio::test(start_paused = true)]
async fn the_roles_visited_by_a_search_are_reported() {
    let mut session = session(&binned(), &MemoryStore::default(), false).await;
    assert_eq!(session.trusted().delegated().count(), 0);
    session.find(&paths([3])[0]).await.unwrap();
    let roles = session.trusted().delegated().map(|(role, _)| role.as_str());
    assert_eq!(roles.collect::<Vec<_>>(), ["bin3", "bins"]);
    let by_targets = |role| session.trusted().delegated_by_targets(&RoleName::delegated(role).unwrap()).is_some();
    assert!(by_targets("bins"));
    assert!(!by_targets("bin3"), "`bin3` is delegated by the role `bins`, not by the role `targets`");
    assert!(!by_targets("bin4"));
}

#[tokio::test(start_paused = true)]
async fn the_first_failing_search_is_reported_and_stops_the_later_ones() {
    let far_away = binned();
    far_away.repository.put("1.bin2.json", b"{}");
    far_away.repository.put("1.bin1.json", b"{}");
    let mut session = session(&far_away, &MemoryStore::default(), false).await;
    let error = session.find_all(&paths([0, 2, 1, 19])).await.unwrap_err();
    let Error::Refused(RefusedError { mirrors, .. }) = error else { panic!("{error:?}") };
    assert_eq!(mirrors[0].url, bin_urls([2])[0]);
    assert!(session.find(&paths([0])[0]).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn d5_offline_searches_make_no_requests() {
    let far_away = binned();
    let store = MemoryStore::default();
    session(&far_away, &store, false).await.find_all(&paths(0..3)).await.unwrap();
    far_away.repository.take_requests();
    let builder = Updater::builder(root(1, "root", "online")).fetch(far_away.clone()).store(store);
    let mut session = builder.mirror("http://a/", "http://a/t/").build().unwrap().offline_at(now()).await.unwrap();
    assert!(session.find_all(&paths(0..3)).await.unwrap().iter().all(Option::is_some));
    let error = session.find_all(&paths(0..4)).await.unwrap_err();
    assert!(matches!(error, Error::State(_)), "{error:?}");
    assert_eq!(far_away.repository.take_requests(), [""; 0]);
}

#[tokio::test]
async fn b1_listing_stored_roles_can_be_cancelled_between_roles_and_holds_no_lock() {
    let far_away = binned();
    let store = MemoryStore::default();
    session(&far_away, &store, false).await.list().await.unwrap();
    let builder = Updater::builder(root(1, "root", "online")).fetch(far_away).store(store.clone());
    let mut session = builder.mirror("http://a/", "http://a/t/").build().unwrap().offline_at(now()).await.unwrap();
    let mut list = Box::pin(session.list());
    let mut polls = 0;
    let listed = loop {
        if let Some(listed) = (&mut list).now_or_never() {
            break listed.unwrap();
        }
        assert!(store.try_lock(LockKind::Files).unwrap().is_some());
        polls += 1;
        tokio::task::yield_now().await;
    };
    assert_eq!(listed.len(), BINS);
    assert!(polls > BINS, "{polls}");
}

#[tokio::test]
async fn targets_are_downloaded_in_parallel_over_the_allowed_number_of_connections() {
    let contents: Vec<_> = (0..64).map(|number| (format!("d{}/{number}", number % 3), number.to_string())).collect();
    let mut files = TestRepository::new().files();
    files.extend(contents.iter().map(|(path, content)| (format!("t/{path}"), content.clone().into_bytes())));
    let server = Server::far_away(files, DELAY / 3).await;
    let dir = tempfile::tempdir().unwrap();
    let fetch = HttpFetch::new(&HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() }).unwrap();
    let builder = Updater::builder(root(1, "root", "online")).fetch(fetch).mirror(&server.url, server.at("t/"));
    let session = builder.target_names(TargetNames::Plain).build().unwrap().refresh_at(now()).await.unwrap();
    let target = |(path, content): &(String, String)| {
        let hashes = Hashes::of(content.as_bytes(), &[Algorithm::Sha256]).unwrap();
        Target::without_demands(TargetFile::new(TargetPath::new(path).unwrap(), content.len() as u64, hashes))
    };
    let targets: Vec<_> = contents.iter().map(target).collect();
    let before = Instant::now();
    let results = session.download_all(&targets, dir.path(), 16).await;
    // The expected time is 4 waits of `DELAY / 3`; allow 16 waits for slow machines. With a single connection, the
    // downloads would take 64 waits.
    assert!(before.elapsed() < 16 * DELAY / 3, "{:?}", before.elapsed());
    assert!(server.connections() <= 16, "{}", server.connections());
    assert_eq!(results.len(), contents.len());
    for ((path, content), result) in contents.iter().zip(results) {
        let file = result.unwrap();
        assert_eq!((&file, std::fs::read_to_string(&file).unwrap()), (&dir.path().join(path), content.clone()));
    }
}
