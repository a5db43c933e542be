//! What lastmile decided where the specification leaves it open (A and D), as far as no other module has it.

use std::fs;

use lastmile_client::{Error as ClientError, Event, FetchError, MirrorReason};
use lastmile_metadata::{ErrorKind, Limits, RoleName, Threshold};
use lastmile_tests::{
    Delegation, Device, Fault, Repository, TestKey, hash, refused, road_error, time, too_long, verdict, version,
};
use serde_json::json;

const TIMESTAMP: &str = "metadata/timestamp.json";

/// A repository with one target at version 2 of everything below the root, and a device that has seen all of it.
fn warm() -> (Repository, Device) {
    let mut repository = Repository::new();
    repository.delegate("targets", &Delegation::paths("a", &["a/*"]));
    repository.add_target("a", "a/x", b"content");
    repository.publish(&["a", "targets"]);
    let device = Device::new(&repository);
    device.get("a/x").unwrap();
    repository.road().forget_requests();
    (repository, device)
}

/// A rollback of `repository` in which everything below the root begins anew.
fn younger(repository: &Repository) -> Repository {
    let mut old = Repository::on(lastmile_tests::Road::new(), true);
    assert_eq!(old.version("timestamp"), 1);
    old.lists_hashes = repository.lists_hashes;
    old
}

#[test]
fn a22_each_update_has_its_own_start_and_judges_everything_again() {
    let mut repository = Repository::new();
    repository.signed("targets")["expires"] = json!("2030-01-02T00:00:00Z");
    repository.publish(&["targets"]);
    let mut device = Device::new(&repository);
    let updater = device.updater();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    assert!(runtime.block_on(updater.refresh_at(device.now)).is_ok());
    device.now = time("2030-01-03T00:00:00Z");
    let expired = ErrorKind::Expired { expires: time("2030-01-02T00:00:00Z"), start_time: device.now };
    let found = runtime.block_on(updater.refresh_at(device.now)).map(drop);
    assert_eq!(refused(found), verdict("targets", expired));
}

#[test]
fn a23_offline_everything_is_verified_again_and_nothing_asked_for_or_written() {
    let (repository, device) = warm();
    let before = device.all_stored();
    assert_eq!(device.offline().unwrap(), [1, 2, 2, 2]);
    assert_eq!(repository.road().requests(), [""; 0]);
    assert_eq!(device.all_stored(), before);
}

#[test]
fn a23_offline_what_was_altered_in_the_store_is_not_trusted() {
    for role in ["timestamp", "snapshot", "targets"] {
        let (_, device) = warm();
        let mut bytes = device.stored(role).unwrap();
        let at = bytes.len() - 20;
        bytes[at] ^= 1;
        device.put_stored(&format!("{role}.json"), &bytes);
        assert!(device.offline().is_err(), "{role}");
    }
}

#[test]
fn a23_offline_what_has_expired_is_not_trusted() {
    let (_, mut device) = warm();
    device.now = time("2041-01-01T00:00:00Z");
    let expired = ErrorKind::Expired { expires: time("2040-01-01T00:00:00Z"), start_time: device.now };
    assert_eq!(refused(device.offline()), verdict("root", expired));
}

#[test]
fn d5_offline_a_device_that_has_never_refreshed_trusts_nothing() {
    let repository = Repository::new();
    assert_eq!(refused(Device::new(&repository).offline()), verdict("timestamp", ErrorKind::Absent));
    assert_eq!(repository.road().requests(), [""; 0]);
}

#[test]
fn d5_offline_the_stored_chain_of_roots_is_walked_from_the_shipped_one() {
    let mut repository = Repository::new();
    let device = Device::new(&repository);
    repository.set_keys("root", &["new-1", "new-2"].map(TestKey::new), 2);
    repository.publish(&["root"]);
    repository.publish(&["root"]);
    device.refresh().unwrap();
    repository.road().forget_requests();
    assert_eq!(device.offline().unwrap()[0], 3);
    assert_eq!(repository.road().requests(), [""; 0]);
}

#[test]
fn d3_a_damaged_file_counts_as_absent_and_its_version_does_not() {
    for role in ["timestamp", "snapshot"] {
        for damage in [b"".as_slice(), b"{", b"\xff\xff", b"{\"signed\": {}, \"signatures\": []}"] {
            let (repository, device) = warm();
            device.put_stored(&format!("{role}.json"), damage);
            let old = younger(&repository);
            device.follow(old.road());
            let kind = refused(device.refresh()).kind;
            assert!(
                matches!(
                    kind,
                    ErrorKind::Rollback { .. } | ErrorKind::ListedRollback { .. } | ErrorKind::Removed { .. }
                ),
                "{role}: {kind:?}"
            );
            device.follow(repository.road());
            assert_eq!(device.refresh().unwrap(), [1, 2, 2, 2], "{role}");
            assert_eq!(device.stored(role).unwrap(), repository.written(role));
        }
    }
}

#[test]
fn d3_a_missing_file_counts_as_damaged() {
    let (repository, device) = warm();
    for role in ["timestamp", "snapshot", "targets"] {
        fs::remove_file(device.store_path().join(format!("{role}.json"))).unwrap();
    }
    device.follow(younger(&repository).road());
    assert!(matches!(refused(device.refresh()).kind, ErrorKind::Rollback { .. }));
    device.follow(repository.road());
    assert_eq!(device.refresh().unwrap(), [1, 2, 2, 2]);
}

#[test]
fn d3_a_damaged_record_is_made_again_from_the_files() {
    let (repository, device) = warm();
    for damage in [b"".as_slice(), b"nonsense", b"\xff"] {
        device.put_stored("state/floors", damage);
        assert_eq!(device.refresh().unwrap(), [1, 2, 2, 2]);
        device.follow(younger(&repository).road());
        assert!(matches!(refused(device.refresh()).kind, ErrorKind::Rollback { .. }));
        device.follow(repository.road());
    }
}

#[test]
fn d3_where_file_and_record_are_damaged_nothing_is_accepted() {
    for damage in [Some(b"nonsense".as_slice()), None] {
        let (repository, device) = warm();
        device.put_stored("state/floors", b"nonsense");
        match damage {
            Some(bytes) => device.put_stored("timestamp.json", bytes),
            None => fs::remove_file(device.store_path().join("timestamp.json")).unwrap(),
        }
        let lost = verdict("timestamp", ErrorKind::StateLost);
        assert_eq!(refused(device.refresh()), lost);
        device.follow(younger(&repository).road());
        assert_eq!(refused(device.refresh()), lost, "and it stays so");
    }
}

#[test]
fn d3_a_damaged_record_lowers_nothing_though_keys_were_rotated_long_ago() {
    let mut repository = Repository::new();
    let device = Device::new(&repository);
    for role in ["timestamp", "snapshot"] {
        repository.set_keys(role, &[TestKey::new("rotated")], 1);
    }
    repository.publish(&["root", "targets"]);
    let older = repository.fork();
    repository.publish(&["targets"]);
    assert_eq!(device.refresh().unwrap(), [2, 3, 3, 3]);
    for damage in [Some(b"nonsense".as_slice()), None] {
        match damage {
            Some(bytes) => device.put_stored("state/floors", bytes),
            None => fs::remove_file(device.store_path().join("state/floors")).unwrap(),
        }
        device.follow(older.road());
        let found = device.refresh();
        let refused = match &found {
            Err(ClientError::Refused(_)) => device.stored("timestamp") == Some(repository.written("timestamp")),
            _ => false,
        };
        assert!(refused, "{found:?}");
        device.follow(repository.road());
        assert_eq!(device.refresh().unwrap(), [2, 3, 3, 3]);
    }
}

#[test]
fn d3_a_record_that_was_edited_is_damaged() {
    let (repository, device) = warm();
    let record = fs::read_to_string(device.store_path().join("state/floors")).unwrap();
    let lowered = record.replace("timestamp 2 2", "timestamp 1 1");
    assert_ne!(lowered, record);
    device.put_stored("state/floors", lowered.as_bytes());
    device.follow(younger(&repository).road());
    assert!(matches!(refused(device.refresh()).kind, ErrorKind::Rollback { .. }));
}

#[test]
fn d3_a_damaged_delegated_role_is_fetched_again() {
    let (repository, device) = warm();
    device.put_stored("a.json", b"{}");
    assert!(device.find("a/x").unwrap().is_some());
    assert_eq!(repository.road().requests().last().unwrap(), "metadata/1.a.json");
    assert_eq!(device.stored("a").unwrap(), repository.written("a"));
}

#[test]
fn d3_a_damaged_root_in_the_history_is_fetched_again() {
    let mut repository = Repository::new();
    let device = Device::new(&repository);
    repository.publish(&["root"]);
    device.refresh().unwrap();
    device.put_stored("state/2.root.json", b"{}");
    repository.road().forget_requests();
    assert_eq!(device.refresh().unwrap()[0], 2);
    assert_eq!(repository.road().requests()[0], "metadata/2.root.json");
}

#[test]
fn d4_a_clock_that_steps_back_is_told_and_neither_blocks_nor_lowers_anything() {
    let (repository, mut device) = warm();
    let before = device.now;
    device.now = time("2029-06-01T00:00:00Z");
    assert_eq!(device.refresh().unwrap(), [1, 2, 2, 2]);
    let told = Event::ClockSteppedBack { now: device.now, before };
    assert!(device.notices().contains(&told));
    device.follow(younger(&repository).road());
    assert!(matches!(refused(device.refresh()).kind, ErrorKind::Rollback { .. }));
}

#[test]
fn f_4_7_2_and_d6_mirrors_are_asked_in_their_order() {
    let repository = Repository::new();
    let (first, second) = (repository.fork(), repository.fork());
    let device = Device::new(&repository);
    device.follow_all(&[first.road(), second.road()]);
    device.refresh().unwrap();
    assert_eq!(first.road().requests().len(), 4);
    assert_eq!(second.road().requests(), ["metadata/2.root.json"], "whether there is a newer root, each is asked");
}

#[test]
fn d6_a_newer_root_that_one_mirror_hides_comes_from_another() {
    let mut repository = Repository::new();
    let (hiding, device) = (repository.fork(), Device::new(&repository));
    for _ in 0..2 {
        repository.publish(&["root"]);
    }
    device.follow_all(&[hiding.road(), repository.road()]);
    assert_eq!(device.refresh().unwrap()[0], 3);
    assert!(["state/2.root.json", "state/3.root.json"].iter().all(|name| device.all_stored().contains_key(*name)));
    let asked = hiding.road().requests();
    let roots = asked.iter().filter(|path| path.ends_with("root.json"));
    assert_eq!(roots.collect::<Vec<_>>(), ["metadata/2.root.json"], "who hid one root is not asked first for the next");
    // Nobody has to be believed about that: a root that is not signed as it must be changes nothing.
    let mut lying = repository.fork();
    lying.signed("root")["version"] = json!(4);
    lying.set_signers("root", &[TestKey::new("stranger")]);
    let forged = lying.write("root");
    lying.road().put("metadata/4.root.json", forged);
    let silent = repository.fork();
    silent.road().fault("metadata/4.root.json", Fault::Timeout);
    device.follow_all(&[repository.road(), lying.road(), silent.road()]);
    assert_eq!(device.refresh().unwrap()[0], 3);
}

#[test]
fn d6_a_mirror_that_fails_or_lies_is_passed_over_and_costs_one_attempt() {
    let stranger = {
        let mut lying = Repository::new();
        lying.set_signers("timestamp", &[TestKey::new("stranger")]);
        lying.write("timestamp")
    };
    for fault in [Fault::Status(500), Fault::Timeout, Fault::Endless, Fault::Status(404), Fault::Body(stranger)] {
        let repository = Repository::new();
        let bad = repository.fork();
        bad.road().fault(TIMESTAMP, fault.clone());
        let device = Device::new(&repository);
        device.follow_all(&[bad.road(), repository.road()]);
        assert_eq!(device.refresh().unwrap(), [1, 1, 1, 1], "{fault:?}");
        assert_eq!(bad.road().requests(), ["metadata/2.root.json", TIMESTAMP], "{fault:?}");
        let asked = ["metadata/2.root.json", TIMESTAMP, "metadata/1.snapshot.json", "metadata/1.targets.json"];
        assert_eq!(repository.road().requests(), asked, "{fault:?}");
    }
}

#[test]
fn d6_a_mirror_that_is_behind_neither_lowers_anything_nor_blocks() {
    let (repository, device) = warm();
    let behind = younger(&repository);
    let mut ahead = repository.fork();
    ahead.publish(&["timestamp"]);
    device.follow_all(&[behind.road(), ahead.road()]);
    assert_eq!(device.refresh().unwrap(), [1, 3, 2, 2]);
}

#[test]
fn d6_the_error_lists_each_mirror_with_its_reason() {
    let repository = Repository::new();
    let mut lying = repository.fork();
    lying.set_signers("timestamp", &[TestKey::new("stranger")]);
    lying.publish(&["timestamp"]);
    let dead = repository.fork();
    dead.road().fault(TIMESTAMP, Fault::Status(503));
    let device = Device::new(&repository);
    device.follow_all(&[lying.road(), dead.road()]);
    let Err(ClientError::Refused(error)) = device.refresh() else { panic!("a verdict weighs more") };
    let urls: Vec<_> = error.mirrors.iter().map(|mirror| mirror.url.as_str()).collect();
    assert_eq!(
        urls,
        ["http://repository.test/metadata/timestamp.json", "http://mirror-1.test/metadata/timestamp.json"]
    );
    assert!(matches!(error.mirrors[0].reason, MirrorReason::Refused(_)));
    assert_eq!(error.mirrors[1].reason, MirrorReason::Network(FetchError::Status(503)));
}

#[test]
fn d6_a_target_that_one_mirror_bends_comes_from_the_next() {
    let mut repository = Repository::new();
    repository.add_target("targets", "a", b"good");
    repository.publish(&["targets"]);
    let bad = repository.fork();
    bad.road().put(&format!("targets/{}.a", hash(b"good")), b"evil".to_vec());
    let device = Device::new(&repository);
    device.follow_all(&[bad.road(), repository.road()]);
    assert_eq!(device.get("a").unwrap(), b"good");
}

#[test]
fn a16_versions_up_to_the_greatest_are_exact_and_beyond_it_refused() {
    for (number, ok) in [(json!(i64::MAX), true), (json!(1_u64 << 63), false), (json!(u64::MAX), false)] {
        let mut repository = Repository::new();
        repository.lists_hashes = false;
        repository.signed("snapshot")["meta"]["targets.json"] = json!({"version": number});
        repository.signed("targets")["version"] = number.clone();
        repository.publish(&["snapshot"]);
        let bytes = lastmile_tests::sign(repository.signed("targets"), &[TestKey::new("targets")]);
        repository.road().put(&format!("metadata/{number}.targets.json"), bytes);
        assert_eq!(Device::new(&repository).refresh().is_ok(), ok, "{number}");
    }
}

#[test]
fn g_3_1_a_store_belongs_to_one_repository() {
    let (_, device) = warm();
    let mut other = Repository::new();
    other.set_keys("root", &["other-1", "other-2", "other-3"].map(TestKey::new), 2);
    other.set_signers("root", &["other-1", "other-2", "other-3"].map(TestKey::new));
    other.signed("root")["keys"]
        .as_object_mut()
        .unwrap()
        .retain(|id, _| !["root-1", "root-2", "root-3"].map(TestKey::new).iter().any(|key| key.keyid() == id));
    other.write("root");
    let stranger = Device::new(&other);
    stranger.take_store_of(&device);
    let before = stranger.all_stored();
    assert!(matches!(stranger.refresh(), Err(ClientError::Local(_))));
    assert_eq!(stranger.all_stored(), before);
    assert_eq!(other.road().requests(), [""; 0]);
}

#[test]
fn g_3_1_two_repositories_with_two_stores_do_not_meet() {
    let mut one = Repository::new();
    one.add_target("targets", "a", b"one");
    one.publish(&["targets"]);
    let mut two = Repository::new();
    two.add_target("targets", "a", b"two");
    two.publish(&["targets"]);
    let (first, second) = (Device::new(&one), Device::new(&two));
    assert_eq!((first.get("a").unwrap(), second.get("a").unwrap()), (b"one".to_vec(), b"two".to_vec()));
    assert_eq!(first.stored("targets").unwrap(), one.written("targets"));
}

#[test]
fn g_1_5_3_everything_works_over_plain_http() {
    let mut repository = Repository::new();
    repository.add_target("targets", "dir/é.txt", b"content");
    repository.publish(&["targets"]);
    let server = lastmile_tests::Server::start(repository.road());
    let mut device = Device::new(&repository);
    device.http = Some((server.url(), lastmile_client::HttpSettings::default()));
    assert_eq!(device.get("dir/é.txt").unwrap(), b"content");
    repository.road().put(TIMESTAMP, b"evil".to_vec());
    assert!(device.refresh().is_err());
}

#[test]
fn g_1_5_3_a_hostile_server_is_bounded_in_bytes_over_plain_http() {
    let repository = Repository::new();
    let server = lastmile_tests::Server::start(repository.road());
    let mut device = Device::new(&repository);
    device.http = Some((server.url(), lastmile_client::HttpSettings::default()));
    repository.road().fault(TIMESTAMP, Fault::Endless);
    assert_eq!(too_long(device.refresh()), Limits::default().timestamp_length);
    repository.road().fault(TIMESTAMP, Fault::Truncated(10));
    assert!(matches!(road_error(device.refresh()), FetchError::Cut(_)));
}

#[test]
fn g_1_5_4_report_every_way_of_not_updating_is_an_error() {
    for fault in [Fault::Status(404), Fault::Status(500), Fault::Timeout, Fault::Reset] {
        let (repository, device) = warm();
        repository.road().fault(TIMESTAMP, fault.clone());
        assert!(device.refresh().is_err(), "{fault:?}: what is stored is valid, and no news is not success");
    }
}

#[test]
fn f_4_3_4_no_role_is_ever_replaced_by_a_lower_version() {
    let (repository, device) = warm();
    let trusted = device.files();
    device.follow(younger(&repository).road());
    let rollback = ErrorKind::Rollback { trusted: version(2), found: version(1) };
    assert_eq!(refused(device.refresh()), verdict("timestamp", rollback));
    assert_eq!(device.files(), trusted);
}

#[test]
fn g_1_5_1_each_role_works_with_three_keys_of_which_two_sign() {
    let keys = |role: &str| [1, 2, 3].map(|number| TestKey::new(&format!("{role} {number}")));
    let mut repository = Repository::new();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        repository.set_keys(role, &keys(role), 2);
    }
    repository.delegate("targets", &Delegation::paths("a", &["a/*"]).keys(&keys("a"), 2));
    repository.add_target("a", "a/x", b"content");
    repository.publish(&["root", "a", "targets"]);
    let device = Device::new(&repository);
    assert_eq!(device.get("a/x").unwrap(), b"content");
    for role in ["timestamp", "snapshot", "targets", "a"] {
        let mut bent = repository.fork();
        bent.set_signers(role, &keys(role)[..1]);
        bent.publish(&[role]);
        let device = device.copy();
        device.follow(bent.road());
        let unmet = ErrorKind::ThresholdNotMet { valid: 1, threshold: Threshold::new(2).unwrap() };
        assert_eq!(refused(device.find("a/x")), verdict(role, unmet));
    }
    assert_eq!(RoleName::ROOT.as_str(), "root");
}
