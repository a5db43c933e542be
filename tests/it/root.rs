//! Tests of the start of an update and of the chain of roots (TUF specification 5.1 to 5.3).

use lastmile_client::{Error as ClientError, FetchError, HttpSettings};
use lastmile_metadata::{ErrorKind, KeyId, Limits, Threshold};
use lastmile_testkit::{
    NetworkFault, Repository, Server, TestClient, TestKey, network_error, refused, sign, time, too_long,
};
use lastmile_tests::{malformed, verdict, version};
use serde_json::json;

const ROOT_2: &str = "metadata/2.root.json";
const ROOT_3: &str = "metadata/3.root.json";

/// The requests that a first update sends if all roles have version 1.
const FIRST: [&str; 4] = [ROOT_2, "metadata/timestamp.json", "metadata/1.snapshot.json", "metadata/1.targets.json"];

fn unmet(valid: u32, threshold: u32) -> ErrorKind {
    ErrorKind::ThresholdNotMet { valid, threshold: Threshold::new(threshold).unwrap() }
}

fn limits(edit: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    edit(&mut limits);
    limits
}

#[test]
fn w_5_1_an_update_is_judged_at_its_start_time() {
    let mut repository = Repository::new();
    repository.signed("timestamp")["expires"] = json!("2030-01-01T00:00:01Z");
    repository.publish(&["timestamp"]);
    let mut client = TestClient::new(&repository);
    client.now = time("2030-01-01T00:00:00Z");
    assert_eq!(client.refresh().unwrap(), [1, 2, 1, 1]);
    // An update that starts one second later than the first one is refused, because the timestamp has expired by then.
    client.now = time("2030-01-01T00:00:01Z");
    let expired = ErrorKind::Expired { expires: client.now, start_time: client.now };
    assert_eq!(refused(client.refresh()), verdict("timestamp", expired));
}

#[test]
fn a2_key_ids_that_do_not_match_their_keys_are_refused_on_request() {
    let mut repository = Repository::new();
    let mut client = TestClient::new(&repository);
    let misnamed = TestKey::new("k").with_keyid("misnamed");
    repository.set_keys("timestamp", std::slice::from_ref(&misnamed), 1);
    repository.publish(&["root", "timestamp"]);
    client.limits = limits(|limits| limits.strict_key_ids = true);
    let wrong =
        ErrorKind::WrongKeyId { expected: KeyId::new(TestKey::new("k").keyid()), found: KeyId::new("misnamed") };
    assert_eq!(refused(client.refresh()), verdict("root", wrong));
    client.limits = Limits::default();
    assert_eq!(client.refresh().unwrap(), [2, 2, 1, 1]);
}

#[test]
fn w_5_2_1_an_expired_shipped_root_is_accepted() {
    let mut repository = Repository::new();
    repository.signed("root")["expires"] = json!("2020-01-01T00:00:00Z");
    repository.reissue(&["root"]);
    let client = TestClient::new(&repository);
    repository.signed("root")["expires"] = json!("2040-01-01T00:00:00Z");
    repository.publish(&["root"]);
    assert_eq!(client.refresh().unwrap(), [2, 1, 1, 1]);
}

#[test]
fn w_5_2_2_a_shipped_root_below_its_threshold_is_refused_without_a_request() {
    let mut repository = Repository::new();
    let signed = repository.signed("root").clone();
    let client = TestClient::with_root(sign(&signed, &[TestKey::new("root-1")]), repository.network());
    assert_eq!(refused(client.refresh()), verdict("root", unmet(1, 2)));
    assert_eq!(repository.network().requests(), [""; 0]);
}

#[test]
fn w_5_2_2_an_invalid_shipped_root_is_refused_without_a_request() {
    let repository = Repository::new();
    for bytes in [b"".to_vec(), b"{}".to_vec(), b"not json".to_vec()] {
        malformed::<()>(Err(refused(TestClient::with_root(bytes, repository.network()).refresh())));
    }
    let found = refused(TestClient::with_root(repository.written("targets"), repository.network()).refresh());
    assert_eq!(found, verdict("root", ErrorKind::WrongType { expected: "root", found: "targets".into() }));
    assert_eq!(repository.network().requests(), [""; 0]);
}

#[test]
fn g_2_1_1_1_trust_begins_with_the_shipped_root_whatever_the_store_says() {
    let theirs = Repository::new();
    let mut ours = Repository::new();
    ours.set_keys("root", &["our-1", "our-2"].map(TestKey::new), 2);
    ours.reissue(&["root"]);
    let client = TestClient::new(&ours);
    // An attacker has replaced the store with the store of another repository.
    let other = TestClient::new(&theirs);
    other.refresh().unwrap();
    client.copy_store_of(&other);
    assert!(matches!(client.refresh(), Err(ClientError::Local(_))));
    assert_eq!(ours.network().requests(), [""; 0]);
}

#[test]
fn g_1_5_5_trust_comes_from_the_shipped_root_alone() {
    let mut repository = Repository::new();
    repository.set_keys("root", &["stranger-1", "stranger-2"].map(TestKey::new), 2);
    repository.set_signers("root", &["stranger-1", "stranger-2"].map(TestKey::new));
    let shipped = repository.network().file("metadata/1.root.json").unwrap();
    repository.bump("root");
    let signed = repository.signed("root").clone();
    repository.put_metadata("root", sign(&signed, &["stranger-1", "stranger-2"].map(TestKey::new)));
    let client = TestClient::with_root(shipped, repository.network());
    assert_eq!(refused(client.refresh()), verdict("root", unmet(0, 2)));
}

#[test]
fn w_5_2_3_a_trusted_root_is_kept_even_if_a_mirror_hides_it() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    repository.set_keys("timestamp", &[TestKey::new("new timestamp")], 1);
    repository.publish(&["root", "timestamp"]);
    client.refresh().unwrap();
    repository.network().forget_requests();

    let hidden = repository.fork();
    hidden.network().remove(ROOT_2);
    client.use_network(hidden.network());
    assert_eq!(client.refresh().unwrap()[0], 2);
    assert_eq!(hidden.network().requests(), [ROOT_3, "metadata/timestamp.json"]);

    // Signatures by the replaced key are refused although the shipped root lists that key.
    let mut stolen = hidden.fork();
    stolen.set_signers("timestamp", &[TestKey::new("timestamp")]);
    stolen.publish(&["timestamp"]);
    client.use_network(stolen.network());
    assert_eq!(refused(client.refresh()), verdict("timestamp", unmet(0, 1)));
}

#[test]
fn w_5_3_1_every_intermediate_root_is_fetched() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    for _ in 2..=4 {
        repository.publish(&["root"]);
    }
    assert_eq!(client.refresh().unwrap(), [4, 1, 1, 1]);
    let roots = [ROOT_2, ROOT_3, "metadata/4.root.json", "metadata/5.root.json"];
    assert_eq!(repository.network().requests(), [&roots, &FIRST[1..]].concat());
    assert_eq!(client.stored("root").unwrap(), repository.written("root"));
}

#[test]
fn w_5_3_3_1_roots_are_asked_for_by_version_even_without_consistent_snapshots() {
    let mut repository = Repository::without_consistent_snapshots();
    let client = TestClient::new(&repository);
    repository.publish(&["root"]);
    assert_eq!(client.refresh().unwrap(), [2, 1, 1, 1]);
    let rest = ["metadata/timestamp.json", "metadata/snapshot.json", "metadata/targets.json"];
    assert_eq!(repository.network().requests(), [&[ROOT_2, ROOT_3], rest.as_slice()].concat());
}

#[test]
fn w_5_3_3_1_a_root_of_exactly_the_limit_is_read_and_one_byte_more_is_not() {
    let mut repository = Repository::new();
    let mut client = TestClient::new(&repository);
    repository.publish(&["root"]);
    let length = repository.written("root").len() as u64;
    client.limits = limits(|limits| limits.root_length = length - 1);
    assert_eq!(too_long(client.refresh()), length - 1);
    client.limits = limits(|limits| limits.root_length = length);
    assert_eq!(client.refresh().unwrap()[0], 2);
}

#[test]
fn w_5_3_3_1_an_endless_root_is_read_only_up_to_the_limit() {
    let repository = Repository::new();
    repository.network().fault(ROOT_2, NetworkFault::Endless);
    let client = TestClient::new(&repository);
    assert_eq!(too_long(client.refresh()), Limits::default().root_length);
}

#[test]
fn w_5_3_3_2_only_not_found_ends_the_chain() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    repository.publish(&["root"]);
    for fault in [
        NetworkFault::Status(500),
        NetworkFault::Status(403),
        NetworkFault::Status(410),
        NetworkFault::Timeout,
        NetworkFault::Reset,
        NetworkFault::Truncated(10),
    ] {
        repository.network().fault(ROOT_2, fault.clone());
        assert!(matches!(client.refresh(), Err(ClientError::Network(_))), "{fault:?}");
        assert!(
            !repository.network().requests().contains(&FIRST[1].to_owned()),
            "{fault:?}: the client must not request the timestamp after the failure"
        );
    }
    repository.network().clear_faults();
    assert_eq!(client.refresh().unwrap(), [2, 1, 1, 1]);
}

#[test]
fn d2_status_403_means_not_found_if_configured() {
    let repository = Repository::new();
    repository.network().fault(ROOT_2, NetworkFault::Status(403));
    let server = Server::start(repository.network());
    let mut client = TestClient::new(&repository);
    let settings = |forbidden_means_absent| HttpSettings { forbidden_means_absent, ..HttpSettings::default() };
    client.http = Some((server.url(), settings(false)));
    assert_eq!(network_error(client.refresh()), FetchError::Status(403));
    client.http = Some((server.url(), settings(true)));
    assert_eq!(client.refresh().unwrap(), [1, 1, 1, 1]);
}

#[test]
fn w_5_3_3_3_an_update_follows_a_limited_number_of_roots_and_the_next_one_continues() {
    let mut repository = Repository::new();
    let mut client = TestClient::new(&repository);
    client.limits = limits(|limits| limits.root_updates = 2);
    for _ in 2..=4 {
        repository.publish(&["root"]);
    }
    assert_eq!(client.refresh().unwrap()[0], 3);
    assert_eq!(repository.network().requests(), [&[ROOT_2, ROOT_3], &FIRST[1..]].concat());
    assert_eq!(client.refresh().unwrap()[0], 4);
}

#[test]
fn w_5_3_4_1_a_new_root_needs_the_threshold_of_the_old_and_of_itself() {
    let old = ["root-1", "root-2"].map(TestKey::new);
    let new = ["new-1", "new-2", "new-3"].map(TestKey::new);
    for (signers, verdict_of) in [
        ([&old[..], &new[..]].concat(), Ok(2)),
        (old.to_vec(), Err(unmet(0, 3))),
        (new.to_vec(), Err(unmet(0, 2))),
        ([&old[..1], &new[..]].concat(), Err(unmet(1, 2))),
        ([&old[..], &new[..2]].concat(), Err(unmet(2, 3))),
    ] {
        let mut repository = Repository::new();
        let client = TestClient::new(&repository);
        repository.set_keys("root", &new, 3);
        repository.bump("root");
        let signed = repository.signed("root").clone();
        repository.put_metadata("root", sign(&signed, &signers));
        match verdict_of {
            Ok(reached) => assert_eq!(client.refresh().unwrap()[0], reached),
            Err(kind) => {
                assert_eq!(refused(client.refresh()), verdict("root", kind));
                assert_eq!(
                    repository.network().requests(),
                    [ROOT_2],
                    "the client must request nothing after the refused root"
                );
            }
        }
    }
}

#[test]
fn w_5_3_4_2_one_root_key_signing_under_two_ids_counts_once() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    let key = TestKey::new("new");
    repository.set_keys("root", &[key.clone(), key.with_keyid("again")], 2);
    repository.publish(&["root"]);
    assert_eq!(refused(client.refresh()), verdict("root", unmet(1, 2)));
}

#[test]
fn w_5_3_4_3_a_refused_root_is_not_stored_and_the_trusted_one_stays() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    client.refresh().unwrap();
    let before = client.files();
    let honest = repository.fork();
    repository.set_signers("root", &[TestKey::new("root-1")]);
    repository.publish(&["root"]);
    assert_eq!(refused(client.refresh()), verdict("root", unmet(1, 2)));
    assert_eq!(client.files(), before);
    client.use_network(honest.network());
    assert_eq!(client.refresh().unwrap(), [1, 1, 1, 1]);
}

#[test]
fn w_5_3_5_the_next_root_is_exactly_one_higher() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    repository.publish(&["root"]);
    repository.publish(&["root"]);
    let skipped = ErrorKind::WrongVersion { expected: version(2), found: version(3) };
    let older = ErrorKind::Rollback { trusted: version(1), found: version(1) };
    for (bytes, kind) in [("metadata/1.root.json", older), (ROOT_3, skipped)] {
        let other = repository.fork();
        other.network().put(ROOT_2, repository.network().file(bytes).unwrap());
        client.use_network(other.network());
        assert_eq!(refused(client.refresh()), verdict("root", kind));
    }
}

#[test]
fn w_5_3_5_no_root_follows_the_greatest_version() {
    let mut repository = Repository::new();
    repository.signed("root")["version"] = json!(i64::MAX);
    let shipped = repository.write("root");
    let client = TestClient::with_root(shipped, repository.network());
    assert_eq!(client.refresh().unwrap()[0], i64::MAX.unsigned_abs());
    assert_eq!(repository.network().requests(), FIRST[1..]);
}

#[test]
fn w_5_3_6_intermediate_roots_may_be_expired() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    for expires in ["2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z", "2040-01-01T00:00:00Z"] {
        repository.signed("root")["expires"] = json!(expires);
        repository.publish(&["root"]);
    }
    assert_eq!(client.refresh().unwrap(), [4, 1, 1, 1]);
}

#[test]
fn w_5_3_7_each_root_is_stored_before_the_next_is_asked_for() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    repository.publish(&["root"]);
    let second = repository.written("root");
    repository.publish(&["root"]);
    repository.network().fault(ROOT_3, NetworkFault::Status(500));
    assert_eq!(network_error(client.refresh()), FetchError::Status(500));
    assert_eq!(client.stored("root").unwrap(), second);
    repository.network().clear_faults();
    repository.network().forget_requests();
    assert_eq!(client.refresh().unwrap()[0], 3);
    assert_eq!(repository.network().requests(), [&[ROOT_3, "metadata/4.root.json"], &FIRST[1..]].concat());
}

#[test]
fn w_5_3_10_the_last_root_must_expire_after_the_start() {
    for (expires, fresh) in
        [("2030-01-01T00:00:01Z", true), ("2030-01-01T00:00:00Z", false), ("2029-12-31T23:59:59Z", false)]
    {
        let mut repository = Repository::new();
        let mut client = TestClient::new(&repository);
        client.now = time("2030-01-01T00:00:00Z");
        repository.signed("root")["expires"] = json!(expires);
        repository.publish(&["root"]);
        if fresh {
            assert_eq!(client.refresh().unwrap()[0], 2);
            continue;
        }
        let kind = ErrorKind::Expired { expires: time(expires), start_time: client.now };
        assert_eq!(refused(client.refresh()), verdict("root", kind));
        assert_eq!(repository.network().requests(), [ROOT_2, ROOT_3]);
        assert_eq!(client.stored("root").unwrap(), repository.written("root"), "the client must keep the expired root");
        assert_eq!(client.stored("timestamp"), None);
    }
}

/// Returns a repository and a client. An attacker has inflated the versions of the timestamp and the snapshot that the
/// client trusts.
fn fast_forwarded() -> (Repository, TestClient) {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    let mut attacker = repository.fork();
    attacker.signed("timestamp")["version"] = json!(1_000_000);
    attacker.signed("snapshot")["version"] = json!(1_000_000);
    attacker.publish(&["snapshot"]);
    client.use_network(attacker.network());
    assert_eq!(client.refresh().unwrap(), [1, 1_000_001, 1_000_001, 1]);
    client.use_network(repository.network());
    repository.publish(&["targets"]);
    assert!(matches!(refused(client.refresh()).kind, ErrorKind::Rollback { .. }));
    (repository, client)
}

#[test]
fn w_5_3_11_new_timestamp_or_snapshot_keys_delete_both_files() {
    for roles in [&["timestamp"][..], &["snapshot"], &["timestamp", "snapshot"]] {
        let (mut repository, client) = fast_forwarded();
        for role in roles {
            repository.set_keys(role, &[TestKey::new("recovered")], 1);
        }
        repository.publish(&["root", "snapshot"]);
        repository.network().forget_requests();
        assert_eq!(client.refresh().unwrap(), [2, 3, 3, 2], "{roles:?}");
        assert_eq!(client.stored("snapshot").unwrap(), repository.written("snapshot"));
    }
}

#[test]
fn w_5_3_11_new_keys_for_other_roles_delete_nothing() {
    for role in ["root", "targets"] {
        let (mut repository, client) = fast_forwarded();
        repository.set_keys(role, &["one", "two"].map(TestKey::new), 2);
        repository.publish(&["root", "targets"]);
        assert!(matches!(refused(client.refresh()).kind, ErrorKind::Rollback { .. }), "{role}");
    }
}

#[test]
fn w_5_3_11_a_refused_root_deletes_nothing() {
    let (mut repository, client) = fast_forwarded();
    let before = client.files();
    repository.set_keys("timestamp", &[TestKey::new("intruder")], 1);
    repository.set_signers("root", &["a", "b", "c"].map(TestKey::new));
    repository.publish(&["root", "timestamp"]);
    assert!(matches!(refused(client.refresh()).kind, ErrorKind::ThresholdNotMet { .. }));
    assert_eq!(client.files(), before);
}

#[test]
fn a4_a_new_threshold_counts_as_rotated() {
    let (mut repository, client) = fast_forwarded();
    repository.set_keys("timestamp", &["timestamp", "second"].map(TestKey::new), 2);
    repository.publish(&["root", "timestamp"]);
    assert_eq!(client.refresh().unwrap(), [2, 3, 2, 2]);
}

#[test]
fn a4_keys_that_are_removed_and_restored_within_one_update_count_as_rotated() {
    let (mut repository, client) = fast_forwarded();
    repository.set_keys("timestamp", &[TestKey::new("between")], 1);
    repository.publish(&["root"]);
    repository.set_keys("timestamp", &[TestKey::new("timestamp")], 1);
    repository.publish(&["root", "timestamp"]);
    assert_eq!(client.refresh().unwrap(), [3, 3, 2, 2]);
}

#[test]
fn a4_an_update_interrupted_after_the_root_still_deletes_both_files() {
    let (mut repository, client) = fast_forwarded();
    repository.set_keys("timestamp", &[TestKey::new("recovered")], 1);
    repository.publish(&["root", "timestamp"]);
    for path in [ROOT_3, "metadata/timestamp.json"] {
        repository.network().fault(path, NetworkFault::Status(500));
        assert_eq!(network_error(client.refresh()), FetchError::Status(500), "{path}");
        repository.network().clear_faults();
    }
    assert_eq!(client.refresh().unwrap(), [2, 3, 2, 2]);
}

#[test]
fn w_5_3_12_the_last_root_decides_whether_names_contain_versions() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    client.refresh().unwrap();
    repository.signed("root")["consistent_snapshot"] = json!(false);
    repository.publish(&["root", "targets"]);
    repository.network().forget_requests();
    assert_eq!(client.refresh().unwrap(), [2, 2, 2, 2]);
    let plain = ["metadata/timestamp.json", "metadata/snapshot.json", "metadata/targets.json"];
    assert_eq!(repository.network().requests(), [&[ROOT_2, ROOT_3], plain.as_slice()].concat());
    repository.signed("root")["consistent_snapshot"] = json!(true);
    repository.publish(&["root", "targets"]);
    assert_eq!(client.refresh().unwrap(), [3, 3, 3, 3]);
    let versioned = ["metadata/timestamp.json", "metadata/3.snapshot.json", "metadata/3.targets.json"];
    assert_eq!(repository.network().requests(), [&[ROOT_3, "metadata/4.root.json"], versioned.as_slice()].concat());
}

#[test]
fn w_5_0_after_any_failure_the_client_can_update_later() {
    let mut repository = Repository::new();
    let client = TestClient::new(&repository);
    client.refresh().unwrap();
    repository.publish(&["root", "targets"]);
    let files = [ROOT_2, "metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json"];
    for path in files {
        let faults = [
            NetworkFault::Status(404),
            NetworkFault::Status(500),
            NetworkFault::Timeout,
            NetworkFault::Truncated(20),
            NetworkFault::Endless,
            NetworkFault::Body(Vec::new()),
            NetworkFault::Body(b"{}".to_vec()),
            NetworkFault::Body(b"<html>".to_vec()),
            NetworkFault::Body(repository.written("snapshot")),
            NetworkFault::Body(repository.written("root")),
        ];
        for fault in faults {
            let client = client.copy();
            repository.network().fault(path, fault.clone());
            let found = client.refresh();
            let honest = match &fault {
                // Two kinds of faults are harmless: the next root is missing, or the body happens to be the honest
                // file.
                NetworkFault::Status(404) => path == ROOT_2,
                NetworkFault::Body(body) => Some(body) == repository.network().file(path).as_ref(),
                _ => false,
            };
            assert_eq!(found.is_ok(), honest, "{path}: {fault:?}: {found:?}");
            repository.network().clear_faults();
            assert_eq!(client.refresh().unwrap(), [2, 2, 2, 2], "after {path}: {fault:?}");
        }
    }
}
