//! Tests of the checks on the top-level targets role and on delegated roles (TUF specification 5.6.1 to 5.6.6).

use lastmile_metadata::{ErrorKind, Threshold};
use lastmile_testkit::{Delegation, NetworkFault, Repository, TestClient, TestKey, hash, refused, time, too_long};
use lastmile_tests::{verdict, version};
use serde_json::json;

/// Returns a repository whose delegated role `a` lists `a/x`.
fn repository() -> Repository {
    let mut repository = Repository::new();
    repository.delegate("targets", &Delegation::paths("a", &["a/*"]));
    repository.add_target("a", "a/x", b"content");
    repository.publish(&["a", "targets"]);
    repository
}

fn both(mut check: impl FnMut(&str)) {
    check("targets");
    check("a");
}

/// Makes the client fetch `role`. A refresh fetches the top-level role, and a search fetches the delegated role.
fn reach(client: &TestClient, role: &str) -> Result<(), lastmile_client::Error> {
    if role == "targets" { client.refresh().map(drop) } else { client.find("a/x").map(drop) }
}

#[test]
fn w_5_6_1_the_targets_are_asked_for_by_the_version_that_the_snapshot_lists() {
    let repository = repository();
    TestClient::new(&repository).find("a/x").unwrap();
    assert_eq!(repository.network().requests()[3..], ["metadata/2.targets.json", "metadata/1.a.json"]);
    let mut plain = Repository::without_consistent_snapshots();
    plain.delegate("targets", &Delegation::paths("a", &["a/*"]));
    plain.publish(&["a", "targets"]);
    TestClient::new(&plain).find("a/x").unwrap();
    assert_eq!(plain.network().requests()[3..], ["metadata/targets.json", "metadata/a.json"]);
}

#[test]
fn w_5_6_1_more_than_the_listed_length_is_not_read() {
    both(|role| {
        let repository = repository();
        let length = repository.written(role).len() as u64;
        repository.network().fault(&path(&repository, role), NetworkFault::Endless);
        assert_eq!(too_long(reach(&TestClient::new(&repository), role)), length);
    });
}

#[test]
fn w_5_6_1_and_f_4_4_3_without_a_listed_length_there_is_a_limit() {
    both(|role| {
        let mut repository = repository();
        repository.lists_hashes = false;
        // The limit applies to the files of all targets roles, so the file of `role` must be the longest.
        repository.signed(role)["x-padding"] = json!("x".repeat(10_000));
        repository.publish(&["a", "targets"]);
        let length = repository.written(role).len() as u64;
        let mut client = TestClient::new(&repository);
        client.limits.targets_length = length - 1;
        assert_eq!(too_long(client.find("a/x")), length - 1);
        assert_eq!(*repository.network().requests().last().unwrap(), path(&repository, role));
        client.limits.targets_length = length;
        reach(&client, role).unwrap();
    });
}

fn path(repository: &Repository, role: &str) -> String {
    format!("metadata/{}.{role}.json", repository.version(role))
}

#[test]
fn w_5_6_2_every_listed_hash_matches() {
    both(|role| {
        let mut repository = repository();
        let expected = hash(b"other");
        repository.signed("snapshot")["meta"][format!("{role}.json")]["hashes"]["sha256"] = json!(expected);
        repository.publish(&["snapshot"]);
        let found = hash(&repository.written(role));
        let client = TestClient::new(&repository);
        let mismatch = ErrorKind::HashMismatch { algorithm: "sha256", expected, found };
        assert_eq!(refused(reach(&client, role)), verdict(role, mismatch));
        assert_eq!(client.stored(role), None);
    });
}

#[test]
fn w_5_6_3_the_role_is_signed_by_its_delegators_keys() {
    both(|role| {
        for signer in ["timestamp", "snapshot", "root-1", "stranger", if role == "a" { "targets" } else { "a" }] {
            let mut repository = repository();
            repository.set_signers(role, &[TestKey::new(signer)]);
            repository.publish(&[role]);
            let client = TestClient::new(&repository);
            let unmet = ErrorKind::ThresholdNotMet { valid: 0, threshold: Threshold::ONE };
            assert_eq!(refused(reach(&client, role)), verdict(role, unmet), "{signer}");
            assert_eq!(client.stored(role), None);
        }
    });
}

#[test]
fn w_5_6_3_one_key_does_not_make_a_threshold_of_two() {
    let mut repository = Repository::new();
    let keys = ["one", "two"].map(TestKey::new);
    repository.delegate("targets", &Delegation::paths("a", &["a/*"]).keys(&keys, 2));
    repository.add_target("a", "a/x", b"content");
    for (signers, valid) in
        [(vec![keys[0].clone()], 1), (vec![keys[0].clone(), keys[0].with_keyid("two")], 1), (vec![], 0)]
    {
        repository.set_signers("a", &signers);
        repository.publish(&["a", "targets"]);
        let unmet = ErrorKind::ThresholdNotMet { valid, threshold: Threshold::new(2).unwrap() };
        assert_eq!(refused(TestClient::new(&repository).find("a/x")), verdict("a", unmet));
    }
}

#[test]
fn w_5_6_4_the_role_has_the_version_that_the_snapshot_lists() {
    both(|role| {
        let mut repository = repository();
        repository.lists_hashes = false;
        let old = repository.written(role);
        let old_version = repository.version(role);
        repository.publish(&["a", "targets"]);
        repository.network().put(&path(&repository, role), old);
        let expected = version(repository.version(role));
        let wrong = ErrorKind::WrongVersion { expected, found: version(old_version) };
        assert_eq!(refused(reach(&TestClient::new(&repository), role)), verdict(role, wrong));
    });
}

#[test]
fn w_5_6_5_the_role_expires_after_the_start() {
    both(|role| {
        for (expires, fresh) in [("2030-01-01T00:00:01Z", true), ("2030-01-01T00:00:00Z", false)] {
            let mut repository = repository();
            repository.signed(role)["expires"] = json!(expires);
            repository.publish(&[role]);
            let mut client = TestClient::new(&repository);
            client.now = time("2030-01-01T00:00:00Z");
            let found = reach(&client, role);
            if fresh {
                found.unwrap();
            } else {
                let expired = ErrorKind::Expired { expires: time(expires), start_time: client.now };
                assert_eq!(refused(found), verdict(role, expired));
                assert_eq!(client.stored(role), None);
            }
        }
    });
}

#[test]
fn w_5_6_5_a_stored_role_that_has_expired_since_is_an_error() {
    both(|role| {
        let mut repository = repository();
        repository.signed(role)["expires"] = json!("2030-01-02T00:00:00Z");
        repository.publish(&[role]);
        let mut client = TestClient::new(&repository);
        reach(&client, role).unwrap();
        client.now = time("2030-01-03T00:00:00Z");
        let expired = ErrorKind::Expired { expires: time("2030-01-02T00:00:00Z"), start_time: client.now };
        assert_eq!(refused(reach(&client, role)), verdict(role, expired));
    });
}

#[test]
fn f_4_5_16_a_delegated_role_is_validated_like_the_top_level_role() {
    both(|role| {
        let mut repository = repository();
        repository.signed(role)["_type"] = json!("snapshot");
        repository.publish(&[role]);
        let wrong = ErrorKind::WrongType { expected: "targets", found: "snapshot".into() };
        assert_eq!(refused(reach(&TestClient::new(&repository), role)), verdict(role, wrong));
        repository.signed(role)["_type"] = json!("targets");
        repository.signed(role)["spec_version"] = json!("2.0.0");
        repository.publish(&[role]);
        let other = ErrorKind::UnsupportedSpecVersion("2.0.0".into());
        assert_eq!(refused(reach(&TestClient::new(&repository), role)), verdict(role, other));
    });
}

#[test]
fn w_5_6_6_the_roles_are_stored_as_received_and_not_fetched_again() {
    let repository = repository();
    let client = TestClient::new(&repository);
    client.find("a/x").unwrap();
    for role in ["targets", "a"] {
        assert_eq!(client.stored(role).unwrap(), repository.written(role));
    }
    repository.network().forget_requests();
    assert!(client.find("a/x").unwrap().is_some());
    assert_eq!(repository.network().requests(), ["metadata/2.root.json", "metadata/timestamp.json"]);
}

#[test]
fn w_5_6_6_only_changed_roles_are_fetched() {
    let mut repository = repository();
    let client = TestClient::new(&repository);
    client.find("a/x").unwrap();
    repository.publish(&["a"]);
    repository.network().forget_requests();
    client.find("a/x").unwrap();
    let asked = ["metadata/2.root.json", "metadata/timestamp.json", "metadata/3.snapshot.json", "metadata/2.a.json"];
    assert_eq!(repository.network().requests(), asked);
}

#[test]
fn w_5_6_6_a_stored_role_that_differs_from_the_snapshot_is_fetched_again() {
    let mut repository = repository();
    let client = TestClient::new(&repository);
    client.find("a/x").unwrap();
    // The new file of `a` has the same version as the stored file, but different content. A new snapshot lists the hash
    // of the new file.
    repository.add_target("a", "a/y", b"more");
    repository.write("a");
    repository.list_in_snapshot("a");
    repository.publish(&["snapshot"]);
    repository.network().forget_requests();
    assert!(client.find("a/y").unwrap().is_some());
    assert!(repository.network().requests().contains(&"metadata/1.a.json".to_owned()));
}

#[test]
fn f_4_4_4_without_hashes_the_version_alone_identifies_a_file() {
    let mut repository = repository();
    repository.lists_hashes = false;
    repository.publish(&["a", "targets"]);
    let client = TestClient::new(&repository);
    client.find("a/x").unwrap();
    let before = client.stored("a");
    repository.add_target("a", "a/y", b"more");
    repository.write("a");
    assert!(client.find("a/y").unwrap().is_none());
    assert_eq!(client.stored("a"), before, "the client must keep the stored file of this version");
}

#[test]
fn w_5_6_2_and_w_5_6_6_mixed_releases_are_refused_and_a_later_try_succeeds() {
    let mut repository = Repository::without_consistent_snapshots();
    repository.publish(&["targets"]);
    let client = TestClient::new(&repository);
    client.refresh().unwrap();
    let old = repository.written("targets");
    repository.add_target("targets", "x", b"x");
    repository.publish(&["targets"]);
    let new = repository.written("targets");
    repository.network().put("metadata/targets.json", old.clone());
    let mismatch = ErrorKind::LengthMismatch { expected: new.len() as u64, found: old.len() as u64 };
    assert_eq!(refused(client.refresh()), verdict("targets", mismatch));
    repository.network().put("metadata/targets.json", new);
    assert_eq!(client.refresh().unwrap(), [1, 3, 3, 3]);
}
