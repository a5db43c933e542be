//! Tests of the snapshot (TUF specification 5.5).

use lastmile_client::FetchError;
use lastmile_metadata::{ErrorKind, RoleName, Threshold};
use lastmile_testkit::{
    Delegation, NetworkFault, Repository, TestClient, TestKey, hash, network_error, refused, time, too_long,
};
use lastmile_tests::{role, verdict, version};
use serde_json::json;

/// Returns a repository with the delegated role `a` and with version 2 of timestamp, snapshot and targets. Also returns
/// a client that is up to date.
fn warm() -> (Repository, TestClient) {
    let mut repository = Repository::new();
    repository.delegate("targets", &Delegation::paths("a", &["a/*"]));
    repository.publish(&["a", "targets"]);
    let client = TestClient::new(&repository);
    assert_eq!(client.refresh().unwrap(), [1, 2, 2, 2]);
    repository.network().forget_requests();
    (repository, client)
}

/// Publishes a new snapshot that lists the same files as the previous snapshot, and a new timestamp.
fn publish_snapshot(repository: &mut Repository) {
    repository.publish(&["snapshot"]);
}

#[test]
fn w_5_5_1_the_snapshot_is_asked_for_by_the_version_that_the_timestamp_lists() {
    let (mut repository, client) = warm();
    publish_snapshot(&mut repository);
    client.refresh().unwrap();
    assert_eq!(repository.network().requests()[2], "metadata/3.snapshot.json");
    let plain = Repository::without_consistent_snapshots();
    TestClient::new(&plain).refresh().unwrap();
    assert_eq!(plain.network().requests()[2], "metadata/snapshot.json");
}

#[test]
fn w_5_5_1_more_than_the_listed_length_is_not_read() {
    let (mut repository, client) = warm();
    publish_snapshot(&mut repository);
    let length = repository.written("snapshot").len() as u64;
    repository.network().fault("metadata/3.snapshot.json", NetworkFault::Endless);
    assert_eq!(too_long(client.refresh()), length);
}

#[test]
fn w_5_5_1_and_f_4_4_3_without_a_listed_length_there_is_a_limit() {
    let (mut repository, mut client) = warm();
    repository.lists_hashes = false;
    publish_snapshot(&mut repository);
    let length = repository.written("snapshot").len() as u64;
    client.limits.snapshot_length = length - 1;
    assert_eq!(too_long(client.refresh()), length - 1);
    client.limits.snapshot_length = length;
    assert_eq!(client.refresh().unwrap()[2], 3);
}

#[test]
fn f_4_4_3_a_listed_length_of_zero_is_a_length() {
    let (mut repository, client) = warm();
    publish_snapshot(&mut repository);
    repository.signed("timestamp")["meta"]["snapshot.json"]["length"] = json!(0);
    repository.publish(&["timestamp"]);
    assert_eq!(too_long(client.refresh()), 0);
}

#[test]
fn w_5_5_2_every_listed_hash_matches() {
    let (mut repository, client) = warm();
    let before = client.stored("snapshot");
    publish_snapshot(&mut repository);
    let found = hash(&repository.written("snapshot"));
    for (algorithm, expected) in [("sha256", hash(b"other")), ("sha512", "00".repeat(64))] {
        let mut other = repository.fork();
        other.signed("timestamp")["meta"]["snapshot.json"]["hashes"][algorithm] = json!(expected);
        other.publish(&["timestamp"]);
        let client = client.copy();
        client.use_network(other.network());
        let verdict_found = refused(client.refresh());
        let ErrorKind::HashMismatch { algorithm: named, expected: listed, found: received } = verdict_found.kind else {
            panic!("{verdict_found}");
        };
        assert_eq!((named, listed), (algorithm, expected));
        assert!(algorithm != "sha256" || received == found);
        assert_eq!(client.stored("snapshot"), before);
    }
}

#[test]
fn w_5_5_2_a_shorter_file_than_listed_is_refused() {
    let (mut repository, client) = warm();
    publish_snapshot(&mut repository);
    let length = repository.written("snapshot").len() as u64;
    repository.network().put("metadata/3.snapshot.json", b"{}".to_vec());
    let mismatch = ErrorKind::LengthMismatch { expected: length, found: 2 };
    assert_eq!(refused(client.refresh()), verdict("snapshot", mismatch));
}

#[test]
fn a15_a_snapshot_with_unknown_hashes_only_is_refused() {
    let (mut repository, client) = warm();
    publish_snapshot(&mut repository);
    repository.signed("timestamp")["meta"]["snapshot.json"]["hashes"] = json!({"blake9": "00"});
    repository.publish(&["timestamp"]);
    assert!(matches!(refused(client.refresh()).kind, ErrorKind::NoSupportedHash(_)));
}

#[test]
fn w_5_5_3_the_snapshot_is_signed_by_the_roots_snapshot_keys() {
    for signer in ["timestamp", "targets", "root-1", "stranger"] {
        let (mut repository, client) = warm();
        let before = client.stored("snapshot");
        repository.set_signers("snapshot", &[TestKey::new(signer)]);
        publish_snapshot(&mut repository);
        let unmet = ErrorKind::ThresholdNotMet { valid: 0, threshold: Threshold::ONE };
        assert_eq!(refused(client.refresh()), verdict("snapshot", unmet));
        assert_eq!(client.stored("snapshot"), before);
    }
}

#[test]
fn w_5_5_4_the_snapshot_has_the_version_that_the_timestamp_lists() {
    let (mut repository, client) = warm();
    repository.lists_hashes = false;
    let old = repository.written("snapshot");
    publish_snapshot(&mut repository);
    repository.network().put("metadata/3.snapshot.json", old);
    let wrong = ErrorKind::WrongVersion { expected: version(3), found: version(2) };
    assert_eq!(refused(client.refresh()), verdict("snapshot", wrong));
}

#[test]
fn w_5_5_5_1_no_listed_version_may_decrease() {
    for listed in ["targets", "a"] {
        let (mut repository, client) = warm();
        repository.publish(&["a", "targets"]);
        client.refresh().unwrap();
        let before = client.files();
        let trusted = repository.version(listed);
        repository.signed("snapshot")["meta"][format!("{listed}.json")]["version"] = json!(1);
        publish_snapshot(&mut repository);
        let rollback = ErrorKind::ListedRollback { listed: role(listed), trusted: version(trusted), found: version(1) };
        assert_eq!(refused(client.refresh()), verdict("snapshot", rollback));
        assert_eq!(client.stored("snapshot").unwrap(), before["snapshot.json"]);
    }
}

#[test]
fn w_5_5_5_1_the_version_of_a_role_that_was_never_fetched_may_not_decrease_either() {
    let (mut repository, client) = warm();
    repository.publish(&["a"]);
    client.refresh().unwrap();
    assert_eq!(client.stored("a"), None);
    repository.signed("snapshot")["meta"]["a.json"]["version"] = json!(1);
    publish_snapshot(&mut repository);
    assert!(matches!(refused(client.refresh()).kind, ErrorKind::ListedRollback { .. }));
}

#[test]
fn w_5_5_5_2_no_listed_file_may_disappear() {
    for listed in ["targets", "a"] {
        let (mut repository, client) = warm();
        repository.signed("snapshot")["meta"].as_object_mut().unwrap().remove(&format!("{listed}.json"));
        publish_snapshot(&mut repository);
        assert_eq!(refused(client.refresh()), verdict("snapshot", ErrorKind::Removed { listed: role(listed) }));
    }
}

#[test]
fn w_5_5_5_2_a_role_may_appear() {
    let (mut repository, client) = warm();
    repository.delegate("targets", &Delegation::paths("b", &["b/*"]));
    repository.publish(&["b", "targets"]);
    assert_eq!(client.refresh().unwrap(), [1, 3, 3, 3]);
}

#[test]
fn w_5_5_5_3_an_expired_snapshot_still_counts() {
    let (mut repository, mut client) = warm();
    repository.signed("snapshot")["expires"] = json!("2030-01-02T00:00:00Z");
    repository.publish(&["targets"]);
    client.refresh().unwrap();
    client.now = time("2030-02-01T00:00:00Z");
    repository.signed("snapshot")["expires"] = json!("2040-01-01T00:00:00Z");
    repository.signed("snapshot")["meta"]["targets.json"]["version"] = json!(2);
    publish_snapshot(&mut repository);
    let rollback = ErrorKind::ListedRollback { listed: RoleName::TARGETS, trusted: version(3), found: version(2) };
    assert_eq!(refused(client.refresh()), verdict("snapshot", rollback));
}

#[test]
fn w_5_5_5_3_a_snapshot_that_the_timestamp_has_superseded_still_counts() {
    let (mut repository, client) = warm();
    publish_snapshot(&mut repository);
    repository.network().fault("metadata/3.snapshot.json", NetworkFault::Status(500));
    // The client stores the new timestamp but not the new snapshot. The stored snapshot is therefore older than the
    // version that the stored timestamp lists.
    assert_eq!(network_error(client.refresh()), FetchError::Status(500));
    repository.signed("snapshot")["meta"].as_object_mut().unwrap().remove("a.json");
    publish_snapshot(&mut repository);
    assert_eq!(refused(client.refresh()), verdict("snapshot", ErrorKind::Removed { listed: role("a") }));
}

#[test]
fn w_5_5_6_the_snapshot_expires_after_the_start() {
    for (expires, fresh) in [("2030-01-01T00:00:01Z", true), ("2030-01-01T00:00:00Z", false)] {
        let (mut repository, mut client) = warm();
        let before = client.stored("snapshot");
        client.now = time("2030-01-01T00:00:00Z");
        repository.signed("snapshot")["expires"] = json!(expires);
        publish_snapshot(&mut repository);
        if fresh {
            assert_eq!(client.refresh().unwrap()[2], 3);
        } else {
            let expired = ErrorKind::Expired { expires: time(expires), start_time: client.now };
            assert_eq!(refused(client.refresh()), verdict("snapshot", expired));
            assert_eq!(client.stored("snapshot"), before);
        }
    }
}

#[test]
fn w_5_5_6_a_stored_snapshot_that_has_expired_since_is_an_error() {
    let mut repository = Repository::new();
    repository.signed("snapshot")["expires"] = json!("2030-01-02T00:00:00Z");
    publish_snapshot(&mut repository);
    let mut client = TestClient::new(&repository);
    client.refresh().unwrap();
    client.now = time("2030-01-03T00:00:00Z");
    let expired = ErrorKind::Expired { expires: time("2030-01-02T00:00:00Z"), start_time: client.now };
    assert_eq!(refused(client.refresh()), verdict("snapshot", expired));
}

#[test]
fn w_5_5_7_the_snapshot_is_stored_without_version_before_the_targets_are_asked_for() {
    let (mut repository, client) = warm();
    repository.publish(&["targets"]);
    repository.network().fault("metadata/3.targets.json", NetworkFault::Status(404));
    assert_eq!(network_error(client.refresh()), FetchError::NotFound);
    assert_eq!(client.stored("snapshot").unwrap(), repository.written("snapshot"));
    assert!(!client.files().keys().any(|name| name.contains("3.")));
}

#[test]
fn a17_versions_of_roots_in_old_snapshots_may_decrease_or_disappear() {
    let (mut repository, client) = warm();
    for listed in [Some(5), Some(4), None] {
        let meta = repository.signed("snapshot")["meta"].as_object_mut().unwrap();
        meta.remove("root.json");
        meta.extend(listed.map(|version| ("root.json".to_owned(), json!({"version": version}))));
        publish_snapshot(&mut repository);
        client.refresh().unwrap();
    }
}

#[test]
fn a5_a_stored_snapshot_under_the_current_keys_is_used_again() {
    let (mut repository, client) = warm();
    repository.publish(&["timestamp"]);
    assert_eq!(client.refresh().unwrap(), [1, 3, 2, 2]);
    assert_eq!(repository.network().requests(), ["metadata/2.root.json", "metadata/timestamp.json"]);
}

#[test]
fn f_4_4_1_a_snapshot_that_does_not_list_the_targets_makes_them_unusable() {
    let mut repository = Repository::new();
    repository.signed("snapshot")["meta"] = json!({});
    publish_snapshot(&mut repository);
    let client = TestClient::new(&repository);
    let kind = refused(client.refresh()).kind;
    assert!(matches!(kind, ErrorKind::NotListed), "{kind:?}");
    assert!(!repository.network().requests().iter().any(|path| path.ends_with("targets.json")));
}
