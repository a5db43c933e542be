//! Tests of the formats of root, snapshot, targets and timestamp (TUF specification 4.3 to 4.6).

use lastmile_metadata::{Error, ErrorKind, Role, RoleName, Snapshot, TargetNames, TargetPath, Targets, Timestamp};
use lastmile_testkit::{Repository, TestKey};
use lastmile_tests::{judge, judge_root, judge_targets, malformed, verdict};
use serde_json::{Value, json};

/// Applies `edit` to the signed part of `role` in a new repository, signs the result and verifies it.
fn verified<R: Role>(role: &str, edit: impl FnOnce(&mut Value)) -> Result<lastmile_metadata::Verified<R>, Error> {
    let mut repository = Repository::new();
    let mut signed = repository.signed(role).clone();
    edit(&mut signed);
    judge(&repository, role, &signed)
}

fn without<R: Role>(role: &str, member: &str) -> Result<lastmile_metadata::Verified<R>, Error> {
    verified(role, |signed| drop(signed.as_object_mut().unwrap().remove(member)))
}

/// Verifies a targets role in which `entry` is the entry for the target `a`.
fn target(entry: Value) -> Result<lastmile_metadata::Verified<Targets>, Error> {
    judge_targets(|repository| repository.signed("targets")["targets"]["a"] = entry)
}

fn refused<T>(result: Result<T, Error>) {
    match result.map(drop) {
        Err(Error {
            kind:
                ErrorKind::Malformed { .. }
                | ErrorKind::NoSupportedHash(_)
                | ErrorKind::WrongType { .. }
                | ErrorKind::UnsupportedSpecVersion(_),
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn f_4_3_1_every_member_of_root_is_required() {
    for member in ["_type", "spec_version", "version", "expires", "keys", "roles"] {
        refused(judge_root(|root| drop(root.as_object_mut().unwrap().remove(member))));
        refused(judge_root(|root| root[member] = Value::Null));
    }
    for role in ["keyids", "threshold"] {
        refused(judge_root(|root| drop(root["roles"]["targets"].as_object_mut().unwrap().remove(role))));
    }
}

#[test]
fn f_4_3_1_lists_and_objects_are_not_interchangeable() {
    refused(judge_root(|root| root["keys"] = json!([])));
    refused(judge_root(|root| root["roles"] = json!([])));
    refused(judge_root(|root| root["roles"]["targets"]["keyids"] = json!("k")));
    refused(judge_root(|root| root["roles"]["targets"] = json!([])));
}

#[test]
fn f_4_3_2_and_a19_versions_of_the_specification() {
    for good in ["1.0", "1.0.34", "1.99.0", "1.0.0"] {
        assert!(judge_root(|root| root["spec_version"] = json!(good)).is_ok(), "{good}");
    }
    for bad in [
        json!("2.0.0"),
        json!("0.9"),
        json!("10.0"),
        json!(""),
        json!("1."),
        json!("1.x"),
        json!("v1.0"),
        json!(1),
        json!(1.0),
        json!(null),
        json!(" 1.0"),
    ] {
        refused(verified::<Targets>("targets", |targets| {
            targets["spec_version"] = if bad.is_f64() { json!("1.0.0.0.0") } else { bad }
        }));
    }
}

#[test]
fn a19_another_major_version_is_named() {
    let found = verified::<Snapshot>("snapshot", |snapshot| snapshot["spec_version"] = json!("2.0.0")).map(drop);
    assert_eq!(found, Err(verdict("snapshot", ErrorKind::UnsupportedSpecVersion("2.0.0".into()))));
}

#[test]
fn f_4_3_3_consistent_snapshot_is_a_boolean_or_absent() {
    let absent = judge_root(|root| drop(root.as_object_mut().unwrap().remove("consistent_snapshot")));
    assert!(!absent.unwrap().consistent_snapshot);
    assert!(judge_root(|root| root["consistent_snapshot"] = json!(true)).unwrap().consistent_snapshot);
    for bad in [json!("true"), json!(1), json!(null), json!([])] {
        malformed(judge_root(|root| root["consistent_snapshot"] = bad));
    }
}

#[test]
fn f_4_3_4_and_a16_versions_are_positive_integers_up_to_the_greatest() {
    let read = |version: Value| verified::<Targets>("targets", |targets| targets["version"] = version);
    for good in [1, 1 << 32, 9_007_199_254_740_993, i64::MAX.unsigned_abs()] {
        assert_eq!(read(json!(good)).unwrap().version.get(), good);
    }
    for bad in [json!(0), json!(-1), json!(1_u64 << 63), json!(u64::MAX), json!("1"), json!(true), json!(null)] {
        malformed(read(bad));
    }
}

#[test]
fn f_4_3_5_expires_is_required_in_every_role() {
    refused(without::<Targets>("targets", "expires"));
    refused(without::<Snapshot>("snapshot", "expires"));
    refused(without::<Timestamp>("timestamp", "expires"));
}

#[test]
fn f_4_3_6_the_four_roles_are_required_and_others_are_ignored() {
    for role in ["root", "timestamp", "snapshot", "targets"] {
        refused(judge_root(|root| drop(root["roles"].as_object_mut().unwrap().remove(role))));
    }
    for role in ["mirrors", "something-new"] {
        assert!(judge_root(|root| root["roles"][role] = root["roles"]["targets"].clone()).is_ok(), "{role}");
    }
}

#[test]
fn f_4_3_9_thresholds_are_positive_integers() {
    for bad in [json!(0), json!(-1), json!("1"), json!(true), json!(null), json!(1_u64 << 32), json!([])] {
        malformed(judge_root(|root| root["roles"]["targets"]["threshold"] = bad));
    }
}

#[test]
fn f_4_4_each_entry_of_the_snapshot_needs_a_version() {
    let found =
        verified::<Snapshot>("snapshot", |snapshot| snapshot["meta"]["a/b.json"] = json!({"version": 7})).unwrap();
    let listed = found.meta(&RoleName::delegated("a/b").unwrap()).unwrap();
    assert_eq!((listed.version.get(), listed.length, listed.hashes), (7, None, None));
    for bad in [json!({}), json!({"version": 0}), json!({"version": "1"}), json!(null), json!([]), json!(1)] {
        malformed(verified::<Snapshot>("snapshot", |snapshot| snapshot["meta"]["a.json"] = bad));
    }
    refused(without::<Snapshot>("snapshot", "meta"));
}

#[test]
fn f_4_4_2_length_and_hashes_are_each_optional() {
    for (entry, length, hashes) in [
        (json!({"version": 1}), None, false),
        (json!({"version": 1, "length": 5}), Some(5), false),
        (json!({"version": 1, "length": 0}), Some(0), false),
        (json!({"version": 1, "hashes": {"sha256": SHA256}}), None, true),
    ] {
        let snapshot = verified::<Snapshot>("snapshot", |snapshot| snapshot["meta"]["a.json"] = entry).unwrap();
        let listed = snapshot.meta(&RoleName::delegated("a").unwrap()).unwrap();
        assert_eq!((listed.length, listed.hashes.is_some()), (length, hashes));
    }
}

#[test]
fn f_4_4_5_hashes_must_not_be_empty() {
    for bad in [
        json!({}),
        json!([]),
        json!(null),
        json!({"sha256": ""}),
        json!({"sha256": "zz"}),
        json!({"sha256": 1}),
        json!({"sha256": &SHA256[1..]}),
    ] {
        refused(verified::<Snapshot>("snapshot", |snapshot| {
            snapshot["meta"]["a.json"] = json!({"version": 1, "hashes": bad})
        }));
    }
}

#[test]
fn f_4_4_6_the_snapshot_lists_names_without_encoding() {
    let raw = ["a%2Fb", "..", "é", "?", "#", "a b"];
    let found = verified::<Snapshot>("snapshot", |snapshot| {
        for (version, name) in (1..).zip(raw) {
            snapshot["meta"][format!("{name}.json")] = json!({"version": version});
        }
    });
    let found = found.unwrap();
    for (version, name) in (1..).zip(raw) {
        assert_eq!(found.meta(&RoleName::delegated(name).unwrap()).unwrap().version.get(), version, "{name}");
    }
    assert!(found.meta(&RoleName::delegated("a/b").unwrap()).is_none());
}

#[test]
fn a17_snapshots_may_list_roots_and_unknown_files() {
    let found = verified::<Snapshot>("snapshot", |snapshot| {
        snapshot["meta"]["root.json"] = json!({"version": 3});
        snapshot["meta"]["mirrors.json"] = json!({"version": 1});
    });
    assert_eq!(found.map(drop), Ok(()));
}

#[test]
fn f_4_5_1_targets_may_be_empty_but_not_missing() {
    assert_eq!(verified::<Targets>("targets", |targets| targets["targets"] = json!({})).unwrap().len(), 0);
    refused(without::<Targets>("targets", "targets"));
    refused(verified::<Targets>("targets", |targets| targets["targets"] = json!([])));
}

#[test]
fn f_4_5_2_any_text_is_a_target_path_and_none_leaves_the_base_url() {
    for path in ["//host/x", "http://host/x", "/abs", "../x", "a/../../x", "a//b", "a/", "."] {
        let targets = judge_targets(|repository| repository.add_target("targets", path, b"x")).unwrap();
        let target = targets.target(&TargetPath::new(path).unwrap()).unwrap();
        assert!(
            target.url_path(TargetNames::HashPrefixed).is_err() && target.url_path(TargetNames::Plain).is_err(),
            "{path}"
        );
    }
}

#[test]
fn f_4_5_3_length_and_hashes_are_mandatory_for_targets() {
    assert!(target(json!({"length": 0, "hashes": {"sha256": SHA256}})).is_ok());
    for bad in [
        json!({"hashes": {"sha256": SHA256}}),
        json!({"length": 1}),
        json!({"length": -1, "hashes": {"sha256": SHA256}}),
        json!({"length": "1", "hashes": {"sha256": SHA256}}),
        json!({"length": 1, "hashes": {}}),
        json!({"length": 1, "hashes": []}),
        json!({"length": 1, "hashes": {"sha256": "00"}}),
        json!({"length": 1, "hashes": {"sha256": null}}),
        json!(null),
        json!([]),
    ] {
        refused(target(bad));
    }
}

#[test]
fn a15_an_unknown_hash_beside_a_known_one_is_ignored() {
    let targets = target(json!({"length": 0, "hashes": {"sha256": SHA256, "blake9": "any"}})).unwrap();
    let found = targets.target(&TargetPath::new("a").unwrap()).unwrap();
    assert_eq!(found.verifier().finish(), Ok(()));
}

#[test]
fn f_4_5_4_custom_is_an_object_for_the_program() {
    let listed = |custom: Value| target(json!({"length": 0, "hashes": {"sha256": SHA256}, "custom": custom}));
    let targets = listed(json!({"b": [1, "x\n"], "a": {}})).unwrap();
    let custom = targets.target(&TargetPath::new("a").unwrap()).unwrap().custom.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&custom.to_text()).unwrap(), json!({"a": {}, "b": [1, "x\n"]}));
    for bad in [json!(null), json!([]), json!("x"), json!(1)] {
        malformed(listed(bad));
    }
}

#[test]
fn f_4_6_1_the_timestamp_lists_the_snapshot_and_nothing_else() {
    let verified = |edit: fn(&mut Value)| verified::<Timestamp>("timestamp", edit);
    malformed(verified(|timestamp| timestamp["meta"]["targets.json"] = json!({"version": 1})));
    malformed(verified(|timestamp| timestamp["meta"] = json!({})));
    malformed(verified(|timestamp| timestamp["meta"] = json!({"targets.json": {"version": 1}})));
    malformed(verified(|timestamp| timestamp["meta"]["snapshot.json"] = json!({})));
    refused(without::<Timestamp>("timestamp", "meta"));
}

#[test]
fn f_4_1_unknown_members_of_every_object_are_kept() {
    let mark = |value: &mut Value| value["x-unknown"] = json!({"kept": ["\u{1}\n", 1]});
    let mut repository = Repository::new();
    repository.delegate("targets", &lastmile_testkit::Delegation::paths("role", &["*"]));
    repository.add_target("targets", "a", b"x");
    let targets = repository.signed("targets");
    let keyid = TestKey::new("role").keyid().to_owned();
    mark(targets);
    mark(&mut targets["targets"]["a"]);
    mark(&mut targets["delegations"]);
    mark(&mut targets["delegations"]["roles"][0]);
    mark(&mut targets["delegations"]["keys"][&keyid]);
    mark(&mut targets["delegations"]["keys"][&keyid]["keyval"]);
    let signed = targets.clone();
    assert_eq!(
        judge::<Targets>(&repository, "targets", &signed).unwrap().write().into_bytes(),
        lastmile_testkit::canonical::write(&signed)
    );

    let mut signed = repository.signed("snapshot").clone();
    mark(&mut signed);
    mark(&mut signed["meta"]["targets.json"]);
    assert_eq!(
        judge::<Snapshot>(&repository, "snapshot", &signed).unwrap().write().into_bytes(),
        lastmile_testkit::canonical::write(&signed)
    );

    let mut signed = repository.signed("timestamp").clone();
    mark(&mut signed);
    mark(&mut signed["meta"]["snapshot.json"]);
    assert_eq!(
        judge::<Timestamp>(&repository, "timestamp", &signed).unwrap().write().into_bytes(),
        lastmile_testkit::canonical::write(&signed)
    );

    let mut expected = Value::Null;
    let root = judge_root(|root| {
        mark(root);
        mark(&mut root["roles"]["targets"]);
        expected = root.clone();
    });
    assert_eq!(root.unwrap().write().into_bytes(), lastmile_testkit::canonical::write(&expected));
}
