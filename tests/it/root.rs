//! Spec 5.1 to 5.3: the start of an update and the chain of roots.

use lastmile_client::{Error as ClientError, FetchError, HttpSettings};
use lastmile_metadata::{ErrorKind, KeyId, Limits, Threshold};
use lastmile_testkit::{Device, Fault, Repository, Server, TestKey, refused, road_error, sign, time, too_long};
use lastmile_tests::{malformed, verdict, version};
use serde_json::json;

const ROOT_2: &str = "metadata/2.root.json";
const ROOT_3: &str = "metadata/3.root.json";

/// The requests of a first update from version 1 of everything.
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
fn w_5_1_an_update_is_judged_at_the_time_at_which_it_started() {
    let mut repository = Repository::new();
    repository.signed("timestamp")["expires"] = json!("2030-01-01T00:00:01Z");
    repository.publish(&["timestamp"]);
    let mut device = Device::new(&repository);
    device.now = time("2030-01-01T00:00:00Z");
    assert_eq!(device.refresh().unwrap(), [1, 2, 1, 1]);
    // The same update one second later would be refused: only its start counts.
    device.now = time("2030-01-01T00:00:01Z");
    let expired = ErrorKind::Expired { expires: device.now, start_time: device.now };
    assert_eq!(refused(device.refresh()), verdict("timestamp", expired));
}

#[test]
fn a2_key_ids_that_are_not_those_of_their_keys_are_refused_where_that_is_asked_for() {
    let mut repository = Repository::new();
    let mut device = Device::new(&repository);
    let misnamed = TestKey::new("k").called("misnamed");
    repository.set_keys("timestamp", std::slice::from_ref(&misnamed), 1);
    repository.publish(&["root", "timestamp"]);
    device.limits = limits(|limits| limits.strict_key_ids = true);
    let wrong =
        ErrorKind::WrongKeyId { expected: KeyId::new(TestKey::new("k").keyid()), found: KeyId::new("misnamed") };
    assert_eq!(refused(device.refresh()), verdict("root", wrong));
    device.limits = Limits::default();
    assert_eq!(device.refresh().unwrap(), [2, 2, 1, 1]);
}

#[test]
fn w_5_2_1_an_expired_shipped_root_is_a_start() {
    let mut repository = Repository::new();
    repository.signed("root")["expires"] = json!("2020-01-01T00:00:00Z");
    repository.reissue(&["root"]);
    let device = Device::new(&repository);
    repository.signed("root")["expires"] = json!("2040-01-01T00:00:00Z");
    repository.publish(&["root"]);
    assert_eq!(device.refresh().unwrap(), [2, 1, 1, 1]);
}

#[test]
fn w_5_2_2_a_shipped_root_that_is_not_signed_to_its_threshold_makes_no_request() {
    let mut repository = Repository::new();
    let signed = repository.signed("root").clone();
    let device = Device::shipping(sign(&signed, &[TestKey::new("root-1")]), &repository);
    assert_eq!(refused(device.refresh()), verdict("root", unmet(1, 2)));
    assert_eq!(repository.road().requests(), [""; 0]);
}

#[test]
fn w_5_2_2_a_shipped_root_that_is_no_root_makes_no_request() {
    let repository = Repository::new();
    for bytes in [b"".to_vec(), b"{}".to_vec(), b"not json".to_vec()] {
        malformed::<()>(Err(refused(Device::shipping(bytes, &repository).refresh())));
    }
    let found = refused(Device::shipping(repository.written("targets"), &repository).refresh());
    assert_eq!(found, verdict("root", ErrorKind::WrongType { expected: "root", found: "targets".into() }));
    assert_eq!(repository.road().requests(), [""; 0]);
}

#[test]
fn g_2_1_1_1_trust_begins_with_the_shipped_root_whatever_the_store_says() {
    let theirs = Repository::new();
    let mut ours = Repository::new();
    ours.set_keys("root", &["our-1", "our-2"].map(TestKey::new), 2);
    ours.reissue(&["root"]);
    let device = Device::new(&ours);
    // Somebody has put another repository's root into the store of a device that ships ours.
    let other = Device::new(&theirs);
    other.refresh().unwrap();
    device.take_store_of(&other);
    assert!(matches!(device.refresh(), Err(ClientError::Local(_))));
    assert_eq!(ours.road().requests(), [""; 0]);
}

#[test]
fn g_1_5_5_trust_comes_from_the_shipped_root_alone() {
    let mut repository = Repository::new();
    repository.set_keys("root", &["stranger-1", "stranger-2"].map(TestKey::new), 2);
    repository.set_signers("root", &["stranger-1", "stranger-2"].map(TestKey::new));
    let shipped = repository.road().file("metadata/1.root.json").unwrap();
    repository.bump("root");
    let signed = repository.signed("root").clone();
    repository.place("root", sign(&signed, &["stranger-1", "stranger-2"].map(TestKey::new)));
    let device = Device::shipping(shipped, &repository);
    assert_eq!(refused(device.refresh()), verdict("root", unmet(0, 2)));
}

#[test]
fn w_5_2_3_a_root_once_trusted_is_a_floor_even_when_a_mirror_hides_it() {
    let mut repository = Repository::new();
    let device = Device::new(&repository);
    repository.set_keys("timestamp", &[TestKey::new("new timestamp")], 1);
    repository.publish(&["root", "timestamp"]);
    device.refresh().unwrap();
    repository.road().forget_requests();

    let hidden = repository.fork();
    hidden.road().remove(ROOT_2);
    device.follow(hidden.road());
    assert_eq!(device.refresh().unwrap()[0], 2);
    assert_eq!(hidden.road().requests(), [ROOT_3, "metadata/timestamp.json"]);

    // What the replaced key signs is refused, though the shipped root still names that key.
    let mut stolen = hidden.fork();
    stolen.set_signers("timestamp", &[TestKey::new("timestamp")]);
    stolen.publish(&["timestamp"]);
    device.follow(stolen.road());
    assert_eq!(refused(device.refresh()), verdict("timestamp", unmet(0, 1)));
}

#[test]
fn w_5_3_1_every_root_in_between_is_fetched() {
    let mut repository = Repository::new();
    let device = Device::new(&repository);
    for _ in 2..=4 {
        repository.publish(&["root"]);
    }
    assert_eq!(device.refresh().unwrap(), [4, 1, 1, 1]);
    let roots = [ROOT_2, ROOT_3, "metadata/4.root.json", "metadata/5.root.json"];
    assert_eq!(repository.road().requests(), [&roots, &FIRST[1..]].concat());
    assert_eq!(device.stored("root").unwrap(), repository.written("root"));
}

#[test]
fn w_5_3_3_1_roots_are_asked_for_by_version_even_without_consistent_snapshots() {
    let mut repository = Repository::without_consistent_snapshots();
    let device = Device::new(&repository);
    repository.publish(&["root"]);
    assert_eq!(device.refresh().unwrap(), [2, 1, 1, 1]);
    let rest = ["metadata/timestamp.json", "metadata/snapshot.json", "metadata/targets.json"];
    assert_eq!(repository.road().requests(), [&[ROOT_2, ROOT_3], rest.as_slice()].concat());
}

#[test]
fn w_5_3_3_1_a_root_of_exactly_the_limit_is_read_and_one_byte_more_is_not() {
    let mut repository = Repository::new();
    let mut device = Device::new(&repository);
    repository.publish(&["root"]);
    let length = repository.written("root").len() as u64;
    device.limits = limits(|limits| limits.root_length = length - 1);
    assert_eq!(too_long(device.refresh()), length - 1);
    device.limits = limits(|limits| limits.root_length = length);
    assert_eq!(device.refresh().unwrap()[0], 2);
}

#[test]
fn w_5_3_3_1_an_endless_root_ends_at_the_limit() {
    let repository = Repository::new();
    repository.road().fault(ROOT_2, Fault::Endless);
    let device = Device::new(&repository);
    assert_eq!(too_long(device.refresh()), Limits::default().root_length);
}

#[test]
fn w_5_3_3_2_only_not_found_ends_the_chain() {
    let mut repository = Repository::new();
    let device = Device::new(&repository);
    repository.publish(&["root"]);
    for fault in
        [Fault::Status(500), Fault::Status(403), Fault::Status(410), Fault::Timeout, Fault::Reset, Fault::Truncated(10)]
    {
        repository.road().fault(ROOT_2, fault.clone());
        assert!(matches!(device.refresh(), Err(ClientError::Network(_))), "{fault:?}");
        assert!(!repository.road().requests().contains(&FIRST[1].to_owned()), "{fault:?}: nothing else is asked for");
    }
    repository.road().mend();
    assert_eq!(device.refresh().unwrap(), [2, 1, 1, 1]);
}

#[test]
fn d2_status_403_means_absent_where_the_repository_is_set_so() {
    let repository = Repository::new();
    repository.road().fault(ROOT_2, Fault::Status(403));
    let server = Server::start(repository.road());
    let mut device = Device::new(&repository);
    let settings = |forbidden_means_absent| HttpSettings { forbidden_means_absent, ..HttpSettings::default() };
    device.http = Some((server.url(), settings(false)));
    assert_eq!(road_error(device.refresh()), FetchError::Status(403));
    device.http = Some((server.url(), settings(true)));
    assert_eq!(device.refresh().unwrap(), [1, 1, 1, 1]);
}

#[test]
fn w_5_3_3_3_at_most_so_many_roots_in_one_update_and_the_next_goes_on() {
    let mut repository = Repository::new();
    let mut device = Device::new(&repository);
    device.limits = limits(|limits| limits.root_updates = 2);
    for _ in 2..=4 {
        repository.publish(&["root"]);
    }
    assert_eq!(device.refresh().unwrap()[0], 3);
    assert_eq!(repository.road().requests(), [&[ROOT_2, ROOT_3], &FIRST[1..]].concat());
    assert_eq!(device.refresh().unwrap()[0], 4);
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
        let device = Device::new(&repository);
        repository.set_keys("root", &new, 3);
        repository.bump("root");
        let signed = repository.signed("root").clone();
        repository.place("root", sign(&signed, &signers));
        match verdict_of {
            Ok(reached) => assert_eq!(device.refresh().unwrap()[0], reached),
            Err(kind) => {
                assert_eq!(refused(device.refresh()), verdict("root", kind));
                assert_eq!(repository.road().requests(), [ROOT_2], "the update ends here");
            }
        }
    }
}

#[test]
fn w_5_3_4_2_one_root_key_signing_under_two_ids_counts_once() {
    let mut repository = Repository::new();
    let device = Device::new(&repository);
    let key = TestKey::new("new");
    repository.set_keys("root", &[key.clone(), key.called("again")], 2);
    repository.publish(&["root"]);
    assert_eq!(refused(device.refresh()), verdict("root", unmet(1, 2)));
}

#[test]
fn w_5_3_4_3_a_refused_root_leaves_the_trusted_one_and_no_trace() {
    let mut repository = Repository::new();
    let device = Device::new(&repository);
    device.refresh().unwrap();
    let before = device.files();
    let honest = repository.fork();
    repository.set_signers("root", &[TestKey::new("root-1")]);
    repository.publish(&["root"]);
    assert_eq!(refused(device.refresh()), verdict("root", unmet(1, 2)));
    assert_eq!(device.files(), before);
    device.follow(honest.road());
    assert_eq!(device.refresh().unwrap(), [1, 1, 1, 1]);
}

#[test]
fn w_5_3_5_the_next_root_is_exactly_one_higher() {
    let mut repository = Repository::new();
    let device = Device::new(&repository);
    repository.publish(&["root"]);
    repository.publish(&["root"]);
    let skipped = ErrorKind::WrongVersion { expected: version(2), found: version(3) };
    let older = ErrorKind::Rollback { trusted: version(1), found: version(1) };
    for (bytes, kind) in [("metadata/1.root.json", older), (ROOT_3, skipped)] {
        let other = repository.fork();
        other.road().put(ROOT_2, repository.road().file(bytes).unwrap());
        device.follow(other.road());
        assert_eq!(refused(device.refresh()), verdict("root", kind));
    }
}

#[test]
fn w_5_3_5_the_greatest_version_has_no_next_one() {
    let mut repository = Repository::new();
    repository.signed("root")["version"] = json!(i64::MAX);
    let shipped = repository.write("root");
    let device = Device::shipping(shipped, &repository);
    assert_eq!(device.refresh().unwrap()[0], i64::MAX.unsigned_abs());
    assert_eq!(repository.road().requests(), FIRST[1..]);
}

#[test]
fn w_5_3_6_expired_roots_in_between_are_fine() {
    let mut repository = Repository::new();
    let device = Device::new(&repository);
    for expires in ["2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z", "2040-01-01T00:00:00Z"] {
        repository.signed("root")["expires"] = json!(expires);
        repository.publish(&["root"]);
    }
    assert_eq!(device.refresh().unwrap(), [4, 1, 1, 1]);
}

#[test]
fn w_5_3_7_each_root_is_stored_before_the_next_is_asked_for() {
    let mut repository = Repository::new();
    let device = Device::new(&repository);
    repository.publish(&["root"]);
    let second = repository.written("root");
    repository.publish(&["root"]);
    repository.road().fault(ROOT_3, Fault::Status(500));
    assert_eq!(road_error(device.refresh()), FetchError::Status(500));
    assert_eq!(device.stored("root").unwrap(), second);
    repository.road().mend();
    repository.road().forget_requests();
    assert_eq!(device.refresh().unwrap()[0], 3);
    assert_eq!(repository.road().requests(), [&[ROOT_3, "metadata/4.root.json"], &FIRST[1..]].concat());
}

#[test]
fn w_5_3_10_the_last_root_must_expire_after_the_start() {
    for (expires, fresh) in
        [("2030-01-01T00:00:01Z", true), ("2030-01-01T00:00:00Z", false), ("2029-12-31T23:59:59Z", false)]
    {
        let mut repository = Repository::new();
        let mut device = Device::new(&repository);
        device.now = time("2030-01-01T00:00:00Z");
        repository.signed("root")["expires"] = json!(expires);
        repository.publish(&["root"]);
        if fresh {
            assert_eq!(device.refresh().unwrap()[0], 2);
            continue;
        }
        let kind = ErrorKind::Expired { expires: time(expires), start_time: device.now };
        assert_eq!(refused(device.refresh()), verdict("root", kind));
        assert_eq!(repository.road().requests(), [ROOT_2, ROOT_3]);
        assert_eq!(device.stored("root").unwrap(), repository.written("root"), "it stays the trusted root");
        assert_eq!(device.stored("timestamp"), None);
    }
}

/// A device that has trusted a timestamp and a snapshot with versions that only a thief would choose.
fn fast_forwarded() -> (Repository, Device) {
    let mut repository = Repository::new();
    let device = Device::new(&repository);
    let mut thief = repository.fork();
    thief.signed("timestamp")["version"] = json!(1_000_000);
    thief.signed("snapshot")["version"] = json!(1_000_000);
    thief.publish(&["snapshot"]);
    device.follow(thief.road());
    assert_eq!(device.refresh().unwrap(), [1, 1_000_001, 1_000_001, 1]);
    device.follow(repository.road());
    repository.publish(&["targets"]);
    assert!(matches!(refused(device.refresh()).kind, ErrorKind::Rollback { .. }));
    (repository, device)
}

#[test]
fn w_5_3_11_new_keys_for_timestamp_or_snapshot_drop_both_files() {
    for roles in [&["timestamp"][..], &["snapshot"], &["timestamp", "snapshot"]] {
        let (mut repository, device) = fast_forwarded();
        for role in roles {
            repository.set_keys(role, &[TestKey::new("recovered")], 1);
        }
        repository.publish(&["root", "snapshot"]);
        repository.road().forget_requests();
        assert_eq!(device.refresh().unwrap(), [2, 3, 3, 2], "{roles:?}");
        assert_eq!(device.stored("snapshot").unwrap(), repository.written("snapshot"));
    }
}

#[test]
fn w_5_3_11_new_keys_for_other_roles_drop_nothing() {
    for role in ["root", "targets"] {
        let (mut repository, device) = fast_forwarded();
        repository.set_keys(role, &["one", "two"].map(TestKey::new), 2);
        repository.publish(&["root", "targets"]);
        assert!(matches!(refused(device.refresh()).kind, ErrorKind::Rollback { .. }), "{role}");
    }
}

#[test]
fn w_5_3_11_a_root_that_is_refused_drops_nothing() {
    let (mut repository, device) = fast_forwarded();
    let before = device.files();
    repository.set_keys("timestamp", &[TestKey::new("intruder")], 1);
    repository.set_signers("root", &["a", "b", "c"].map(TestKey::new));
    repository.publish(&["root", "timestamp"]);
    assert!(matches!(refused(device.refresh()).kind, ErrorKind::ThresholdNotMet { .. }));
    assert_eq!(device.files(), before);
}

#[test]
fn a4_a_new_threshold_counts_as_rotated() {
    let (mut repository, device) = fast_forwarded();
    repository.set_keys("timestamp", &["timestamp", "second"].map(TestKey::new), 2);
    repository.publish(&["root", "timestamp"]);
    assert_eq!(device.refresh().unwrap(), [2, 3, 2, 2]);
}

#[test]
fn a4_keys_that_went_and_came_back_within_one_update_count_as_rotated() {
    let (mut repository, device) = fast_forwarded();
    repository.set_keys("timestamp", &[TestKey::new("between")], 1);
    repository.publish(&["root"]);
    repository.set_keys("timestamp", &[TestKey::new("timestamp")], 1);
    repository.publish(&["root", "timestamp"]);
    assert_eq!(device.refresh().unwrap(), [3, 3, 2, 2]);
}

#[test]
fn a4_an_update_that_broke_off_after_the_root_still_drops_both_files() {
    let (mut repository, device) = fast_forwarded();
    repository.set_keys("timestamp", &[TestKey::new("recovered")], 1);
    repository.publish(&["root", "timestamp"]);
    for path in [ROOT_3, "metadata/timestamp.json"] {
        repository.road().fault(path, Fault::Status(500));
        assert_eq!(road_error(device.refresh()), FetchError::Status(500), "{path}");
        repository.road().mend();
    }
    assert_eq!(device.refresh().unwrap(), [2, 3, 2, 2]);
}

#[test]
fn w_5_3_12_the_last_root_chooses_whether_names_carry_versions() {
    let mut repository = Repository::new();
    let device = Device::new(&repository);
    device.refresh().unwrap();
    repository.signed("root")["consistent_snapshot"] = json!(false);
    repository.publish(&["root", "targets"]);
    repository.road().forget_requests();
    assert_eq!(device.refresh().unwrap(), [2, 2, 2, 2]);
    let plain = ["metadata/timestamp.json", "metadata/snapshot.json", "metadata/targets.json"];
    assert_eq!(repository.road().requests(), [&[ROOT_2, ROOT_3], plain.as_slice()].concat());
    repository.signed("root")["consistent_snapshot"] = json!(true);
    repository.publish(&["root", "targets"]);
    assert_eq!(device.refresh().unwrap(), [3, 3, 3, 3]);
    let versioned = ["metadata/timestamp.json", "metadata/3.snapshot.json", "metadata/3.targets.json"];
    assert_eq!(repository.road().requests(), [&[ROOT_3, "metadata/4.root.json"], versioned.as_slice()].concat());
}

#[test]
fn w_5_0_whatever_fails_the_client_can_update_later() {
    let mut repository = Repository::new();
    let device = Device::new(&repository);
    device.refresh().unwrap();
    repository.publish(&["root", "targets"]);
    let files = [ROOT_2, "metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json"];
    for path in files {
        let faults = [
            Fault::Status(404),
            Fault::Status(500),
            Fault::Timeout,
            Fault::Truncated(20),
            Fault::Endless,
            Fault::Body(Vec::new()),
            Fault::Body(b"{}".to_vec()),
            Fault::Body(b"<html>".to_vec()),
            Fault::Body(repository.written("snapshot")),
            Fault::Body(repository.written("root")),
        ];
        for fault in faults {
            let device = device.copy();
            repository.road().fault(path, fault.clone());
            let found = device.refresh();
            let honest = match &fault {
                // The next root is allowed to be absent; and one fault is no fault.
                Fault::Status(404) => path == ROOT_2,
                Fault::Body(body) => Some(body) == repository.road().file(path).as_ref(),
                _ => false,
            };
            assert_eq!(found.is_ok(), honest, "{path}: {fault:?}: {found:?}");
            repository.road().mend();
            assert_eq!(device.refresh().unwrap(), [2, 2, 2, 2], "after {path}: {fault:?}");
        }
    }
}
