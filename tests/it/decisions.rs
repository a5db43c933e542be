//! Tests of the decisions that the TUF specification leaves to implementations (the rows A… and D… of `spec-rows.txt`).
//! Other modules test some of these decisions too.

use std::fs;

use lastmile_client::{Error as ClientError, Event, FetchError, MirrorReason};
use lastmile_metadata::{ErrorKind, Limits};
use lastmile_testkit::{
    Delegation, NetworkFault, Repository, TestClient, TestKey, hash, network_error, refused, sign, time, too_long,
};
use lastmile_tests::{malformed, verdict, version};
use serde_json::json;

const TIMESTAMP: &str = "metadata/timestamp.json";

/// Returns a repository with one target, in the delegated role `a`, and with version 2 of timestamp, snapshot and
/// targets. Also returns a client that is up to date.
fn warm() -> (Repository, TestClient) {
    let mut repository = Repository::new();
    repository.delegate("targets", &Delegation::paths("a", &["a/*"]));
    repository.add_target("a", "a/x", b"content");
    repository.publish(&["a", "targets"]);
    let client = TestClient::new(&repository);
    client.get("a/x").unwrap();
    repository.network().forget_requests();
    (repository, client)
}

/// Returns a repository in which all roles have version 1. It has the same keys as the repository from [`warm`].
fn older_state() -> Repository {
    Repository::new()
}

#[test]
fn a22_each_update_has_its_own_start_time_and_verifies_everything_again() {
    let mut repository = Repository::new();
    repository.signed("targets")["expires"] = json!("2030-01-02T00:00:00Z");
    repository.publish(&["targets"]);
    let mut client = TestClient::new(&repository);
    let updater = client.updater();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    assert!(runtime.block_on(updater.refresh_at(client.now)).is_ok());
    client.now = time("2030-01-03T00:00:00Z");
    let expired = ErrorKind::Expired { expires: time("2030-01-02T00:00:00Z"), start_time: client.now };
    let found = runtime.block_on(updater.refresh_at(client.now)).map(drop);
    assert_eq!(refused(found), verdict("targets", expired));
}

#[test]
fn a23_offline_everything_is_verified_again_without_requests_or_writes() {
    let (repository, client) = warm();
    let before = client.all_stored();
    assert_eq!(client.offline().unwrap(), [1, 2, 2, 2]);
    assert_eq!(repository.network().requests(), [""; 0]);
    assert_eq!(client.all_stored(), before);
}

#[test]
fn a23_offline_altered_files_in_the_store_are_not_trusted() {
    for role in ["timestamp", "snapshot", "targets"] {
        let (_, client) = warm();
        let honest = String::from_utf8(client.stored(role).unwrap()).unwrap();
        let altered = honest.replace("2040-", "2041-");
        assert_ne!(altered, honest);
        client.put_stored(&format!("{role}.json"), altered.as_bytes());
        let refused = refused(client.offline());
        assert_eq!(refused.role.as_str(), role);
        let kind = refused.kind;
        assert!(matches!(kind, ErrorKind::ThresholdNotMet { .. } | ErrorKind::HashMismatch { .. }), "{role}: {kind:?}");
    }
}

#[test]
fn a23_offline_expired_metadata_is_not_trusted() {
    let (_, mut client) = warm();
    client.now = time("2041-01-01T00:00:00Z");
    let expired = ErrorKind::Expired { expires: time("2040-01-01T00:00:00Z"), start_time: client.now };
    assert_eq!(refused(client.offline()), verdict("root", expired));
}

#[test]
fn d5_offline_a_client_that_has_never_refreshed_trusts_nothing() {
    let repository = Repository::new();
    assert_eq!(refused(TestClient::new(&repository).offline()), verdict("timestamp", ErrorKind::Absent));
    assert_eq!(repository.network().requests(), [""; 0]);
}

#[test]
fn d5_offline_the_stored_chain_of_roots_is_verified_from_the_shipped_root() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    repository.set_keys("root", &["new-1", "new-2"].map(TestKey::new), 2);
    repository.publish(&["root"]);
    repository.publish(&["root"]);
    client.refresh().unwrap();
    repository.network().forget_requests();
    assert_eq!(client.offline().unwrap()[0], 3);
    // Root 2 must be signed by the keys of the shipped root, and root 3 by the keys of root 2. Neither of the
    // two forged roots has the signatures that it needs.
    for (forged, signers) in [(2, ["new-1", "new-2"]), (3, ["root-1", "root-2"])] {
        let client = client.copy();
        repository.signed("root")["version"] = json!(forged);
        let file = sign(repository.signed("root"), &signers.map(TestKey::new));
        client.put_stored(&format!("state/{forged}.root.json"), &file);
        let rollback = ErrorKind::Rollback { trusted: version(3), found: version(forged - 1) };
        assert_eq!(refused(client.offline()), verdict("root", rollback));
    }
    assert_eq!(repository.network().requests(), [""; 0]);
}

#[test]
fn d3_a_damaged_file_counts_as_absent_but_its_version_is_remembered() {
    for role in ["timestamp", "snapshot"] {
        for damage in [b"".as_slice(), b"{", b"\xff\xff", b"{\"signed\": {}, \"signatures\": []}"] {
            let (repository, client) = warm();
            client.put_stored(&format!("{role}.json"), damage);
            let old = older_state();
            client.use_network(old.network());
            let kind = refused(client.refresh()).kind;
            assert!(
                matches!(
                    kind,
                    ErrorKind::Rollback { .. } | ErrorKind::ListedRollback { .. } | ErrorKind::Removed { .. }
                ),
                "{role}: {kind:?}"
            );
            client.use_network(repository.network());
            assert_eq!(client.refresh().unwrap(), [1, 2, 2, 2], "{role}");
            assert_eq!(client.stored(role).unwrap(), repository.written(role));
        }
    }
}

#[test]
fn d3_a_missing_file_counts_as_damaged() {
    let (repository, client) = warm();
    for role in ["timestamp", "snapshot", "targets"] {
        fs::remove_file(client.store_path().join(format!("{role}.json"))).unwrap();
    }
    client.use_network(older_state().network());
    assert!(matches!(refused(client.refresh()).kind, ErrorKind::Rollback { .. }));
    client.use_network(repository.network());
    assert_eq!(client.refresh().unwrap(), [1, 2, 2, 2]);
}

#[test]
fn d3_a_damaged_record_is_rebuilt_from_the_files() {
    let (repository, client) = warm();
    for damage in [b"".as_slice(), b"nonsense", b"\xff"] {
        client.put_stored("state/floors", damage);
        assert_eq!(client.refresh().unwrap(), [1, 2, 2, 2]);
        client.use_network(older_state().network());
        assert!(matches!(refused(client.refresh()).kind, ErrorKind::Rollback { .. }));
        client.use_network(repository.network());
    }
}

#[test]
fn d3_if_file_and_record_are_damaged_nothing_is_accepted() {
    for damage in [Some(b"nonsense".as_slice()), None] {
        let (_, client) = warm();
        client.put_stored("state/floors", b"nonsense");
        match damage {
            Some(bytes) => client.put_stored("timestamp.json", bytes),
            None => fs::remove_file(client.store_path().join("timestamp.json")).unwrap(),
        }
        let lost = verdict("timestamp", ErrorKind::StateLost);
        assert_eq!(refused(client.refresh()), lost);
        client.use_network(older_state().network());
        assert_eq!(refused(client.refresh()), lost, "a second refresh must report the same error");
    }
}

#[test]
fn d3_a_damaged_record_lowers_no_floor_even_if_keys_were_rotated_long_ago() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    for role in ["timestamp", "snapshot"] {
        repository.set_keys(role, &[TestKey::new("rotated")], 1);
    }
    repository.publish(&["root", "targets"]);
    let older = repository.fork();
    repository.publish(&["targets"]);
    assert_eq!(client.refresh().unwrap(), [2, 3, 3, 3]);
    for damage in [Some(b"nonsense".as_slice()), None] {
        match damage {
            Some(bytes) => client.put_stored("state/floors", bytes),
            None => fs::remove_file(client.store_path().join("state/floors")).unwrap(),
        }
        client.use_network(older.network());
        let found = client.refresh();
        let refused = match &found {
            Err(ClientError::Refused(_)) => client.stored("timestamp") == Some(repository.written("timestamp")),
            _ => false,
        };
        assert!(refused, "{found:?}");
        client.use_network(repository.network());
        assert_eq!(client.refresh().unwrap(), [2, 3, 3, 3]);
    }
}

#[test]
fn d3_an_edited_record_counts_as_damaged() {
    let (_, client) = warm();
    let record = fs::read_to_string(client.store_path().join("state/floors")).unwrap();
    let lowered = record.replace("timestamp 2 2", "timestamp 1 1");
    assert_ne!(lowered, record);
    client.put_stored("state/floors", lowered.as_bytes());
    client.use_network(older_state().network());
    assert!(matches!(refused(client.refresh()).kind, ErrorKind::Rollback { .. }));
}

#[test]
fn d3_a_damaged_delegated_role_is_fetched_again() {
    let (repository, client) = warm();
    client.put_stored("a.json", b"{}");
    assert!(client.find("a/x").unwrap().is_some());
    assert_eq!(repository.network().requests().last().unwrap(), "metadata/1.a.json");
    assert_eq!(client.stored("a").unwrap(), repository.written("a"));
}

#[test]
fn d3_a_damaged_root_in_the_history_is_fetched_again() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    repository.publish(&["root"]);
    client.refresh().unwrap();
    client.put_stored("state/2.root.json", b"{}");
    repository.network().forget_requests();
    assert_eq!(client.refresh().unwrap()[0], 2);
    assert_eq!(repository.network().requests()[0], "metadata/2.root.json");
}

#[test]
fn d4_a_clock_that_steps_back_is_reported_and_neither_blocks_updates_nor_lowers_floors() {
    let (_, mut client) = warm();
    let before = client.now;
    client.now = time("2029-06-01T00:00:00Z");
    assert_eq!(client.refresh().unwrap(), [1, 2, 2, 2]);
    let event = Event::ClockSteppedBack { now: client.now, before };
    assert!(client.events().contains(&event));
    client.use_network(older_state().network());
    assert!(matches!(refused(client.refresh()).kind, ErrorKind::Rollback { .. }));
}

#[test]
fn f_4_7_2_and_d6_mirrors_are_asked_in_their_order() {
    let repository = Repository::new();
    let first = repository.fork();
    let second = repository.fork();
    let client = TestClient::new(&repository);
    client.use_mirrors(&[first.network(), second.network()]);
    client.refresh().unwrap();
    assert_eq!(first.network().requests().len(), 4);
    let asked = ["metadata/2.root.json", TIMESTAMP];
    assert_eq!(second.network().requests(), asked, "every mirror must be asked for a newer root and timestamp");
}

#[test]
fn d6_a_newer_root_that_one_mirror_hides_comes_from_another() {
    let mut repository = Repository::new();
    let hiding = repository.fork();
    let client = TestClient::new(&repository);
    for _ in 0..2 {
        repository.publish(&["root"]);
    }
    client.use_mirrors(&[hiding.network(), repository.network()]);
    assert_eq!(client.refresh().unwrap()[0], 3);
    assert!(["state/2.root.json", "state/3.root.json"].iter().all(|name| client.all_stored().contains_key(*name)));
    let asked = hiding.network().requests();
    let roots = asked.iter().filter(|path| path.ends_with("root.json"));
    assert_eq!(
        roots.collect::<Vec<_>>(),
        ["metadata/2.root.json"],
        "a mirror that hid one root must not be asked first for the next root"
    );
    // A mirror that sends a forged root without valid signatures must not affect the update.
    let mut lying = repository.fork();
    lying.signed("root")["version"] = json!(4);
    lying.set_signers("root", &[TestKey::new("stranger")]);
    let forged = lying.write("root");
    lying.network().put("metadata/4.root.json", forged);
    let silent = repository.fork();
    silent.network().fault("metadata/4.root.json", NetworkFault::Timeout);
    client.use_mirrors(&[repository.network(), lying.network(), silent.network()]);
    assert_eq!(client.refresh().unwrap()[0], 3);
}

#[test]
fn d6_a_newer_timestamp_that_one_mirror_hides_comes_from_another() {
    let (repository, client) = warm();
    // This mirror serves only the state that the client already has.
    let frozen = repository.fork();
    let mut newer = repository.fork();
    newer.publish(&["targets"]);
    let mut newest = newer.fork();
    newest.publish(&["targets"]);
    client.use_mirrors(&[frozen.network(), newer.network()]);
    assert_eq!(client.copy().refresh().unwrap(), [1, 3, 3, 3]);
    let rest = |network: &lastmile_testkit::FakeNetwork| {
        network.requests().iter().filter(|path| !path.ends_with("root.json")).count()
    };
    assert_eq!(
        (rest(frozen.network()), rest(newer.network())),
        (1, 3),
        "the client must request the other files from the newer mirror only"
    );
    for order in [[&frozen, &newer, &newest], [&newest, &newer, &frozen], [&newer, &newest, &frozen]] {
        let client = client.copy();
        client.use_mirrors(&order.map(|mirror| mirror.network()));
        assert_eq!(client.refresh().unwrap(), [1, 4, 4, 4]);
        assert!(client.events().is_empty(), "an outdated mirror must not cause a warning");
    }
    // One mirror sends a forged timestamp. The client must report it, ignore it, and use the timestamp of the other
    // mirror.
    let mut lying = newest.fork();
    lying.set_signers("timestamp", &[TestKey::new("stranger")]);
    lying.publish(&["timestamp"]);
    client.use_mirrors(&[frozen.network(), lying.network()]);
    assert_eq!(client.refresh().unwrap(), [1, 2, 2, 2]);
    assert!(matches!(client.events().as_slice(), [Event::MirrorFailed { .. }]));
}

#[test]
fn d6_a_mirror_that_fails_or_lies_is_skipped_after_one_attempt() {
    let stranger = {
        let mut lying = Repository::new();
        lying.set_signers("timestamp", &[TestKey::new("stranger")]);
        lying.write("timestamp")
    };
    for fault in [
        NetworkFault::Status(500),
        NetworkFault::Timeout,
        NetworkFault::Endless,
        NetworkFault::Status(404),
        NetworkFault::Body(stranger),
    ] {
        let repository = Repository::new();
        let bad = repository.fork();
        bad.network().fault(TIMESTAMP, fault.clone());
        let client = TestClient::new(&repository);
        client.use_mirrors(&[bad.network(), repository.network()]);
        assert_eq!(client.refresh().unwrap(), [1, 1, 1, 1], "{fault:?}");
        assert_eq!(bad.network().requests(), ["metadata/2.root.json", TIMESTAMP], "{fault:?}");
        let asked = ["metadata/2.root.json", TIMESTAMP, "metadata/1.snapshot.json", "metadata/1.targets.json"];
        assert_eq!(repository.network().requests(), asked, "{fault:?}");
    }
}

#[test]
fn d6_an_outdated_mirror_neither_lowers_floors_nor_blocks_updates() {
    let (repository, client) = warm();
    let behind = older_state();
    let mut newer = repository.fork();
    newer.publish(&["timestamp"]);
    client.use_mirrors(&[behind.network(), newer.network()]);
    assert_eq!(client.refresh().unwrap(), [1, 3, 2, 2]);
}

#[test]
fn d6_the_error_lists_each_mirror_with_its_reason() {
    let repository = Repository::new();
    let mut lying = repository.fork();
    lying.set_signers("timestamp", &[TestKey::new("stranger")]);
    lying.publish(&["timestamp"]);
    let dead = repository.fork();
    dead.network().fault(TIMESTAMP, NetworkFault::Status(503));
    let client = TestClient::new(&repository);
    client.use_mirrors(&[lying.network(), dead.network()]);
    let Err(ClientError::Refused(error)) = client.refresh() else {
        panic!("the client must report the refused file and not the other mirror's network error")
    };
    let urls: Vec<_> = error.mirrors.iter().map(|mirror| mirror.url.as_str()).collect();
    assert_eq!(
        urls,
        ["http://repository.test/metadata/timestamp.json", "http://mirror-1.test/metadata/timestamp.json"]
    );
    assert!(matches!(error.mirrors[0].reason, MirrorReason::Refused(_)));
    assert_eq!(error.mirrors[1].reason, MirrorReason::Network(FetchError::Status(503)));
}

#[test]
fn d6_a_target_that_one_mirror_alters_is_fetched_from_the_next() {
    let mut repository = Repository::new();
    repository.add_target("targets", "a", b"good");
    repository.publish(&["targets"]);
    let bad = repository.fork();
    bad.network().put(&format!("targets/{}.a", hash(b"good")), b"evil".to_vec());
    let client = TestClient::new(&repository);
    client.use_mirrors(&[bad.network(), repository.network()]);
    assert_eq!(client.get("a").unwrap(), b"good");
}

#[test]
fn a16_versions_up_to_the_greatest_are_exact_and_beyond_it_refused() {
    for (number, ok) in [(json!(i64::MAX), true), (json!(1_u64 << 63), false), (json!(u64::MAX), false)] {
        let mut repository = Repository::new();
        repository.lists_hashes = false;
        repository.signed("snapshot")["meta"]["targets.json"] = json!({"version": number});
        repository.signed("targets")["version"] = number.clone();
        repository.publish(&["snapshot"]);
        let bytes = lastmile_testkit::sign(repository.signed("targets"), &[TestKey::new("targets")]);
        repository.network().put(&format!("metadata/{number}.targets.json"), bytes);
        let result = TestClient::new(&repository).refresh();
        if ok {
            assert_eq!(result.unwrap(), [1, 2, 2, i64::MAX.unsigned_abs()]);
        } else {
            let refused = refused(result);
            assert_eq!(refused.role.as_str(), "snapshot", "{number}");
            malformed::<()>(Err(refused));
        }
    }
}

#[test]
fn g_3_1_a_store_belongs_to_one_repository() {
    let (_, client) = warm();
    let mut other = Repository::new();
    other.set_keys("root", &["other-1", "other-2", "other-3"].map(TestKey::new), 2);
    other.set_signers("root", &["other-1", "other-2", "other-3"].map(TestKey::new));
    other.signed("root")["keys"]
        .as_object_mut()
        .unwrap()
        .retain(|id, _| !["root-1", "root-2", "root-3"].map(TestKey::new).iter().any(|key| key.keyid() == id));
    other.write("root");
    let stranger = TestClient::new(&other);
    stranger.copy_store_of(&client);
    let before = stranger.all_stored();
    assert!(matches!(stranger.refresh(), Err(ClientError::Local(_))));
    assert_eq!(stranger.all_stored(), before);
    assert_eq!(other.network().requests(), [""; 0]);
}

#[test]
fn g_3_1_two_repositories_with_separate_stores_do_not_affect_each_other() {
    let mut one = Repository::new();
    one.add_target("targets", "a", b"one");
    one.publish(&["targets"]);
    let mut two = Repository::new();
    two.add_target("targets", "a", b"two");
    two.publish(&["targets"]);
    let first = TestClient::new(&one);
    let second = TestClient::new(&two);
    assert_eq!((first.get("a").unwrap(), second.get("a").unwrap()), (b"one".to_vec(), b"two".to_vec()));
    assert_eq!(first.stored("targets").unwrap(), one.written("targets"));
}

#[test]
fn g_1_5_3_everything_works_over_plain_http() {
    let mut repository = Repository::new();
    repository.add_target("targets", "dir/é.txt", b"content");
    repository.publish(&["targets"]);
    let server = lastmile_testkit::Server::start(repository.network());
    let mut client = TestClient::new(&repository);
    client.http = Some((server.url(), lastmile_client::HttpSettings::default()));
    assert_eq!(client.get("dir/é.txt").unwrap(), b"content");
    repository.network().put(TIMESTAMP, b"evil".to_vec());
    assert!(
        matches!(client.refresh(), Err(ClientError::Network(_))),
        "the file is not JSON, so it may be from a proxy"
    );
}

#[test]
fn g_1_5_3_a_hostile_server_is_bounded_in_bytes_over_plain_http() {
    let repository = Repository::new();
    let server = lastmile_testkit::Server::start(repository.network());
    let mut client = TestClient::new(&repository);
    client.http = Some((server.url(), lastmile_client::HttpSettings::default()));
    repository.network().fault(TIMESTAMP, NetworkFault::Endless);
    assert_eq!(too_long(client.refresh()), Limits::default().timestamp_length);
    repository.network().fault(TIMESTAMP, NetworkFault::Truncated(10));
    assert!(matches!(network_error(client.refresh()), FetchError::Cut(_)));
}

#[test]
fn g_1_5_4_report_every_failure_to_update_is_an_error() {
    for fault in [NetworkFault::Status(404), NetworkFault::Status(500), NetworkFault::Timeout, NetworkFault::Reset] {
        let (repository, client) = warm();
        repository.network().fault(TIMESTAMP, fault.clone());
        assert!(client.refresh().is_err(), "{fault:?}: the refresh must fail, even though the stored files are valid");
    }
}

#[test]
fn f_4_3_4_no_role_is_ever_replaced_by_a_lower_version() {
    let (_, client) = warm();
    let trusted = client.files();
    client.use_network(older_state().network());
    let rollback = ErrorKind::Rollback { trusted: version(2), found: version(1) };
    assert_eq!(refused(client.refresh()), verdict("timestamp", rollback));
    assert_eq!(client.files(), trusted);
}
