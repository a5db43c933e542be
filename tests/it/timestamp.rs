//! Tests of the timestamp (TUF specification 5.4).

use lastmile_client::FetchError;
use lastmile_metadata::{ErrorKind, Limits, RoleName, Threshold};
use lastmile_testkit::{
    NetworkFault, Repository, TestClient, TestKey, hash, network_error, refused, sign, time, too_long,
};
use lastmile_tests::{verdict, version};
use serde_json::json;

const TIMESTAMP: &str = "metadata/timestamp.json";

/// Returns a repository with version 2 of timestamp, snapshot and targets, and a client that is up to date.
fn warm() -> (Repository, TestClient) {
    let mut repository = Repository::new();
    repository.publish(&["targets"]);
    let client = TestClient::new(&repository);
    assert_eq!(client.refresh().unwrap(), [1, 2, 2, 2]);
    repository.network().forget_requests();
    (repository, client)
}

#[test]
fn w_5_4_1_the_timestamp_is_asked_for_without_a_version() {
    for mut repository in [Repository::new(), Repository::without_consistent_snapshots()] {
        repository.publish(&["timestamp"]);
        let client = TestClient::new(&repository);
        client.refresh().unwrap();
        assert_eq!(repository.network().requests()[1], TIMESTAMP);
        assert_eq!(client.stored("timestamp").unwrap(), repository.written("timestamp"));
    }
}

#[test]
fn w_5_4_1_a_timestamp_of_exactly_the_limit_is_read_and_one_byte_more_is_not() {
    let repository = Repository::new();
    let length = repository.written("timestamp").len() as u64;
    let mut client = TestClient::new(&repository);
    client.limits.timestamp_length = length - 1;
    assert_eq!(too_long(client.refresh()), length - 1);
    client.limits.timestamp_length = length;
    assert_eq!(client.refresh().unwrap(), [1, 1, 1, 1]);
}

#[test]
fn f_4_6_2_an_endless_timestamp_is_read_only_up_to_a_small_limit() {
    let repository = Repository::new();
    repository.network().fault(TIMESTAMP, NetworkFault::Endless);
    let max_length = Limits::default().timestamp_length;
    assert_eq!(too_long(TestClient::new(&repository).refresh()), max_length);
    assert!(max_length <= 16_384);
}

#[test]
fn w_5_4_1_a_timestamp_that_does_not_arrive_is_a_failure() {
    for (fault, cause) in [
        (NetworkFault::Status(404), FetchError::NotFound),
        (NetworkFault::Status(403), FetchError::Status(403)),
        (NetworkFault::Status(500), FetchError::Status(500)),
        (NetworkFault::Timeout, FetchError::Timeout("the simulated server".into())),
        (NetworkFault::Reset, FetchError::Cut("simulated".into())),
    ] {
        let (repository, client) = warm();
        let before = client.files();
        repository.network().fault(TIMESTAMP, fault);
        assert_eq!(network_error(client.refresh()), cause);
        assert_eq!(repository.network().requests().last().unwrap(), TIMESTAMP);
        assert_eq!(client.files(), before);
    }
}

#[test]
fn w_5_4_2_the_timestamp_is_signed_by_the_roots_timestamp_keys() {
    for signer in ["snapshot", "targets", "root-1", "stranger"] {
        let (mut repository, client) = warm();
        let before = client.files();
        repository.set_signers("timestamp", &[TestKey::new(signer)]);
        repository.publish(&["timestamp"]);
        let unmet = ErrorKind::ThresholdNotMet { valid: 0, threshold: Threshold::ONE };
        assert_eq!(refused(client.refresh()), verdict("timestamp", unmet));
        assert_eq!(client.files(), before);
    }
}

#[test]
fn w_5_4_2_the_file_of_another_role_is_not_a_timestamp() {
    let (repository, client) = warm();
    repository.network().put(TIMESTAMP, repository.written("snapshot"));
    let unmet = ErrorKind::ThresholdNotMet { valid: 0, threshold: Threshold::ONE };
    assert_eq!(refused(client.refresh()), verdict("timestamp", unmet));
    // The client must refuse a snapshot as a timestamp even if both roles have the same key.
    let (mut repository, client) = warm();
    repository.set_keys("snapshot", &[TestKey::new("timestamp")], 1);
    repository.publish(&["root", "snapshot"]);
    repository.network().put(TIMESTAMP, repository.written("snapshot"));
    let wrong = ErrorKind::WrongType { expected: "timestamp", found: "snapshot".into() };
    assert_eq!(refused(client.refresh()), verdict("timestamp", wrong));
}

#[test]
fn w_5_4_3_1_a_lower_version_is_a_rollback() {
    let repository = Repository::new();
    let old = repository.fork();
    let mut repository = repository;
    repository.publish(&["timestamp"]);
    let client = TestClient::new(&repository);
    client.refresh().unwrap();
    client.use_network(old.network());
    let rollback = ErrorKind::Rollback { trusted: version(2), found: version(1) };
    assert_eq!(refused(client.refresh()), verdict("timestamp", rollback));
    assert_eq!(client.stored("timestamp").unwrap(), repository.written("timestamp"));
}

#[test]
fn w_5_4_3_1_the_floor_remains_after_the_trusted_timestamp_expires() {
    let mut repository = Repository::new();
    let old = repository.fork();
    repository.signed("timestamp")["expires"] = json!("2030-01-02T00:00:00Z");
    repository.publish(&["timestamp"]);
    let mut client = TestClient::new(&repository);
    client.refresh().unwrap();
    client.now = time("2030-02-01T00:00:00Z");
    client.use_network(old.network());
    let rollback = ErrorKind::Rollback { trusted: version(2), found: version(1) };
    assert_eq!(refused(client.refresh()), verdict("timestamp", rollback));
}

#[test]
fn w_5_4_3_1_and_a6_the_same_version_is_neither_an_update_nor_an_error() {
    let (repository, client) = warm();
    let before = client.files();
    assert_eq!(client.refresh().unwrap(), [1, 2, 2, 2]);
    assert_eq!(repository.network().requests(), ["metadata/2.root.json", TIMESTAMP]);
    assert_eq!(client.files(), before);
}

#[test]
fn a6_the_same_version_with_other_content_is_neither_stored_nor_followed() {
    let (mut repository, client) = warm();
    let before = client.files();
    repository.bump("targets");
    repository.bump("snapshot");
    repository.reissue(&["targets"]);
    assert_eq!(repository.version("timestamp"), 2);
    assert_ne!(repository.written("timestamp"), before["timestamp.json"]);
    assert_eq!(client.refresh().unwrap(), [1, 2, 2, 2]);
    assert_eq!(repository.network().requests(), ["metadata/2.root.json", TIMESTAMP]);
    assert_eq!(client.files(), before);
}

#[test]
fn a6_an_interrupted_update_is_finished_with_the_trusted_timestamp() {
    let (mut repository, client) = warm();
    repository.publish(&["targets"]);
    repository.network().fault("metadata/3.snapshot.json", NetworkFault::Status(500));
    assert_eq!(network_error(client.refresh()), FetchError::Status(500));
    assert_eq!(client.stored("timestamp").unwrap(), repository.written("timestamp"));
    assert_ne!(client.stored("snapshot").unwrap(), repository.written("snapshot"));
    repository.network().clear_faults();
    repository.network().forget_requests();
    assert_eq!(client.refresh().unwrap(), [1, 3, 3, 3]);
    let asked = ["metadata/2.root.json", TIMESTAMP, "metadata/3.snapshot.json", "metadata/3.targets.json"];
    assert_eq!(repository.network().requests(), asked);
}

#[test]
fn w_5_4_3_2_the_listed_snapshot_version_may_not_decrease() {
    let (mut repository, client) = warm();
    let before = client.files();
    repository.signed("timestamp")["meta"]["snapshot.json"]["version"] = json!(1);
    repository.publish(&["timestamp"]);
    let rollback = ErrorKind::ListedRollback { listed: RoleName::SNAPSHOT, trusted: version(2), found: version(1) };
    assert_eq!(refused(client.refresh()), verdict("timestamp", rollback));
    assert_eq!(client.files(), before, "a refused timestamp must not be stored");
}

#[test]
fn w_5_4_4_the_timestamp_expires_after_the_start() {
    for (expires, fresh) in
        [("2030-01-01T00:00:01Z", true), ("2030-01-01T00:00:00Z", false), ("2029-01-01T00:00:00Z", false)]
    {
        let (mut repository, mut client) = warm();
        let before = client.files();
        client.now = time("2030-01-01T00:00:00Z");
        repository.signed("timestamp")["expires"] = json!(expires);
        repository.publish(&["timestamp"]);
        if fresh {
            assert_eq!(client.refresh().unwrap(), [1, 3, 2, 2]);
        } else {
            let expired = ErrorKind::Expired { expires: time(expires), start_time: client.now };
            assert_eq!(refused(client.refresh()), verdict("timestamp", expired));
            assert_eq!(client.files(), before);
        }
    }
}

#[test]
fn w_5_4_4_and_g_1_5_4_report_an_expired_trusted_timestamp_is_an_error() {
    let mut repository = Repository::new();
    repository.signed("timestamp")["expires"] = json!("2030-01-02T00:00:00Z");
    repository.publish(&["timestamp"]);
    let mut client = TestClient::new(&repository);
    client.refresh().unwrap();
    client.now = time("2030-01-02T00:00:00Z");
    let expired = ErrorKind::Expired { expires: client.now, start_time: client.now };
    assert_eq!(refused(client.refresh()), verdict("timestamp", expired));
}

#[test]
fn w_5_4_4_an_expired_timestamp_is_still_a_floor() {
    let (mut repository, mut client) = warm();
    client.now = time("2039-12-31T00:00:00Z");
    let old = repository.fork();
    repository.signed("timestamp")["expires"] = json!("2039-12-31T00:00:01Z");
    repository.publish(&["timestamp"]);
    client.refresh().unwrap();
    client.now = time("2039-12-31T12:00:00Z");
    client.use_network(old.network());
    assert!(matches!(refused(client.refresh()).kind, ErrorKind::Rollback { .. }));
}

#[test]
fn w_5_4_5_the_timestamp_is_stored_as_received_before_the_snapshot_is_asked_for() {
    let (mut repository, client) = warm();
    repository.publish(&["targets"]);
    repository.network().fault("metadata/3.snapshot.json", NetworkFault::Status(404));
    assert_eq!(network_error(client.refresh()), FetchError::NotFound);
    assert_eq!(client.stored("timestamp").unwrap(), repository.written("timestamp"));
}

#[test]
fn a5_a_stored_timestamp_signed_by_a_replaced_key_is_ignored() {
    let (mut repository, client) = warm();
    repository.set_keys("timestamp", &[TestKey::new("other")], 1);
    repository.publish(&["root", "timestamp"]);
    assert_eq!(client.refresh().unwrap(), [2, 3, 2, 2]);
    let asked = ["metadata/2.root.json", "metadata/3.root.json", TIMESTAMP, "metadata/2.snapshot.json"];
    assert_eq!(repository.network().requests()[..4], asked, "the client must request timestamp and snapshot again");
}

#[test]
fn a16_the_greatest_timestamp_version_is_read_and_never_wraps() {
    let mut repository = Repository::new();
    repository.signed("timestamp")["version"] = json!(i64::MAX);
    repository.write("timestamp");
    let client = TestClient::new(&repository);
    assert_eq!(client.refresh().unwrap()[1], i64::MAX.unsigned_abs());
    assert_eq!(client.refresh().unwrap()[1], i64::MAX.unsigned_abs());
    repository.signed("timestamp")["version"] = json!(1);
    repository.write("timestamp");
    assert!(matches!(refused(client.refresh()).kind, ErrorKind::Rollback { .. }));
}

#[test]
fn a18_length_and_hashes_of_the_snapshot_are_checked_separately() {
    for (member, value) in [("length", json!(1)), ("hashes", json!({"sha256": hash(b"other")}))] {
        let mut repository = Repository::new();
        repository.lists_hashes = false;
        repository.publish(&["snapshot"]);
        repository.signed("timestamp")["meta"]["snapshot.json"][member] = value;
        repository.publish(&["timestamp"]);
        let client = TestClient::new(&repository);
        if member == "length" {
            assert_eq!(too_long(client.refresh()), 1);
        } else {
            assert!(matches!(refused(client.refresh()).kind, ErrorKind::HashMismatch { .. }));
        }
        assert_eq!(client.stored("snapshot"), None);
    }
}

#[test]
fn g_3_1_2_the_top_level_files_have_fixed_names() {
    let repository = Repository::without_consistent_snapshots();
    let client = TestClient::new(&repository);
    client.refresh().unwrap();
    let asked = ["metadata/2.root.json", TIMESTAMP, "metadata/snapshot.json", "metadata/targets.json"];
    assert_eq!(repository.network().requests(), asked);
    assert_eq!(
        client.files().keys().collect::<Vec<_>>(),
        ["root.json", "snapshot.json", "targets.json", "timestamp.json"]
    );
}

#[test]
fn w_5_4_2_a_timestamp_needs_its_whole_threshold() {
    let mut repository = Repository::new();
    let keys = ["a", "b", "c"].map(TestKey::new);
    repository.set_keys("timestamp", &keys, 2);
    repository.publish(&["root", "timestamp"]);
    let client = TestClient::new(&repository);
    client.refresh().unwrap();
    repository.bump("timestamp");
    let signed = repository.signed("timestamp").clone();
    for (signers, valid) in [(&keys[..1], 1), (&[][..], 0)] {
        repository.put_metadata("timestamp", sign(&signed, signers));
        let unmet = ErrorKind::ThresholdNotMet { valid, threshold: Threshold::new(2).unwrap() };
        assert_eq!(refused(client.refresh()), verdict("timestamp", unmet));
    }
    repository.put_metadata("timestamp", sign(&signed, &keys[1..]));
    assert_eq!(client.refresh().unwrap()[1], 3);
}
