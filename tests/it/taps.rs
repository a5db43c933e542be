//! Tests of TAP 12 in the whole workflow: key IDs need to be unique only within one file. Also tests that delegations
//! in the format of TAP 3, which is not implemented, are refused. The modules `search` and `delegations` test TAP 15.

use lastmile_metadata::{ErrorKind, Threshold};
use lastmile_testkit::{Delegation, Repository, TestClient, TestKey, refused};
use lastmile_tests::verdict;
use serde_json::json;

#[test]
fn tap_12_the_same_key_id_may_name_different_keys_in_different_files() {
    let mut repository = Repository::new();
    let timestamp = TestKey::new("timestamp").with_keyid("k");
    repository.set_keys("timestamp", &[timestamp], 1);
    repository.delegate("targets", &Delegation::paths("a", &["*"]).keys(&[TestKey::new("a").with_keyid("k")], 1));
    repository.delegate("a", &Delegation::paths("b", &["*"]).keys(&[TestKey::new("b").with_keyid("k")], 1));
    repository.add_target("b", "x", b"x");
    repository.publish(&["root", "b", "a", "targets"]);
    assert!(TestClient::new(&repository).find("x").unwrap().is_some());
}

#[test]
fn tap_12_a_key_that_one_file_names_authorises_nothing_in_another() {
    let mut repository = Repository::new();
    repository.delegate("targets", &Delegation::paths("a", &["*"]));
    repository.delegate("a", &Delegation::paths("b", &["*"]));
    repository.set_signers("b", &[TestKey::new("a"), TestKey::new("targets")]);
    repository.publish(&["b", "a", "targets"]);
    let unmet = ErrorKind::ThresholdNotMet { valid: 0, threshold: Threshold::ONE };
    assert_eq!(refused(TestClient::new(&repository).find("x")), verdict("b", unmet));
}

#[test]
fn tap_12_one_key_under_two_names_is_one_vote_in_every_role() {
    let key = TestKey::new("k");
    let twins = [key.with_keyid("one"), key.with_keyid("two")];
    let unmet = ErrorKind::ThresholdNotMet { valid: 1, threshold: Threshold::new(2).unwrap() };
    for role in ["timestamp", "snapshot", "targets"] {
        let mut repository = Repository::new();
        repository.set_keys(role, &twins, 2);
        repository.publish(&["root", "targets"]);
        assert_eq!(refused(TestClient::new(&repository).refresh()), verdict(role, unmet.clone()));
    }
}

#[test]
fn delegations_in_the_format_of_tap_3_are_malformed() {
    let delegation = |count: u32, roles: &[&str]| {
        let info = |name: &&str| json!({"rolename": name, "keyids": ["k"], "threshold": 1});
        json!({
            "name": "first", "paths": ["*"], "terminating": false, "min_roles_in_agreement": count,
            "roleinfo": roles.iter().map(info).collect::<Vec<_>>(),
        })
    };
    let both = json!([delegation(2, &["a", "b"])]);
    // TAP 3 moves the keys to another member. Its examples show the delegations both as a list and as an object.
    for delegations in [both.clone(), json!({"roles": both}), json!({"keys": {}, "roles": both})] {
        let mut repository = Repository::new();
        let targets = repository.signed("targets");
        targets["keys_for_delegations"] = json!({});
        targets["delegations"] = delegations;
        repository.publish(&["targets"]);
        let error = refused(TestClient::new(&repository).refresh());
        assert!(matches!(error.kind, ErrorKind::Malformed { .. }), "{error}");
    }
}
