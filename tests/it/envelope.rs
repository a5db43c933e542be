//! Tests of the envelope, its signatures, and how signatures count towards a threshold (TUF specification 4.2.1).

use lastmile_metadata::{Error, ErrorKind, KeyId, RoleName, Root, Snapshot, Targets, Threshold, Timestamp};
use lastmile_testkit::{Repository, TestKey, sign};
use lastmile_tests::{judge_bytes, judge_root, judge_targets, malformed, parse, verdict};
use serde_json::{Value, json};

fn unmet(valid: u32, threshold: u32) -> ErrorKind {
    ErrorKind::ThresholdNotMet { valid, threshold: Threshold::new(threshold).unwrap() }
}

/// Makes a targets file with signatures by `signers`, and applies `edit` to its envelope. Then verifies that at least
/// two of `keys` have signed it.
fn two_of(keys: &[TestKey], signers: &[TestKey], edit: impl FnOnce(&mut Value)) -> Result<(), Error> {
    let mut repository = Repository::new();
    repository.set_keys("targets", keys, 2);
    repository.publish(&["root"]);
    let mut envelope: Value = serde_json::from_slice(&sign(repository.signed("targets"), signers)).unwrap();
    edit(&mut envelope);
    let bytes = serde_json::to_vec(&envelope).unwrap();
    judge_bytes::<Targets>(&repository, "targets", bytes).map(drop)
}

fn keys() -> [TestKey; 3] {
    ["a", "b", "c"].map(TestKey::new)
}

#[test]
fn f_4_2_1_1_both_members_of_the_envelope_are_required() {
    let [a, b, c] = keys();
    let without = two_of(&[a.clone(), b.clone(), c.clone()], &[a.clone(), b.clone()], |envelope| {
        envelope.as_object_mut().unwrap().remove("signed");
    });
    assert!(malformed(without).contains("signed"));
    for (member, value) in [("signatures", Value::Null), ("signatures", json!({})), ("signatures", json!([1]))] {
        malformed(two_of(&[a.clone(), b.clone(), c.clone()], &[a.clone(), b.clone()], |envelope| {
            envelope[member] = value
        }));
    }
}

#[test]
fn f_4_2_1_1_the_type_is_the_expected_one() {
    let repository = Repository::new();
    let bytes = repository.written("snapshot");
    let wrong = |expected, role: &str| verdict(role, ErrorKind::WrongType { expected, found: "snapshot".into() });
    let read = |expected: &'static str, found: Option<Error>| assert_eq!(found, Some(wrong(expected, expected)));
    read("timestamp", parse::<Timestamp>(bytes.clone()).unwrap().unverified(&RoleName::TIMESTAMP).err());
    read("targets", parse::<Targets>(bytes.clone()).unwrap().unverified(&RoleName::TARGETS).err());
    read("root", parse::<Root>(bytes.clone()).unwrap().unverified(&RoleName::ROOT).err());
    assert!(parse::<Snapshot>(bytes).unwrap().unverified(&RoleName::SNAPSHOT).is_ok());
}

#[test]
fn f_4_2_1_1_the_type_is_required_and_spelled_exactly() {
    for bad in [Value::Null, json!("Targets"), json!("targets "), json!(""), json!(1)] {
        let found = judge_targets(|repository| repository.signed("targets")["_type"] = bad).map(drop).unwrap_err();
        assert!(matches!(found.kind, ErrorKind::WrongType { .. } | ErrorKind::Malformed { .. }), "{found}");
    }
}

#[test]
fn f_4_2_1_3_a_file_with_two_signatures_of_one_key_id_is_refused() {
    let [a, b, c] = keys();
    let doubled = DuplicateOf(&a).verdict();
    let found = two_of(&[a.clone(), b.clone(), c.clone()], &[a.clone(), b.clone(), a.clone()], |_| ());
    assert_eq!(found, Err(doubled));
}

#[test]
fn a1_a_file_with_two_signatures_of_one_key_id_is_refused_even_if_one_is_invalid_or_unknown() {
    let [a, b, c] = keys();
    for doubled in [&a, &c] {
        let found = two_of(&[a.clone(), b.clone()], &[a.clone(), b.clone()], |envelope| {
            let garbage = json!({"keyid": doubled.keyid(), "sig": ""});
            envelope["signatures"].as_array_mut().unwrap().extend([garbage.clone(), garbage]);
        });
        assert_eq!(found, Err(DuplicateOf(doubled).verdict()));
    }
}

struct DuplicateOf<'a>(&'a TestKey);

impl DuplicateOf<'_> {
    fn verdict(&self) -> Error {
        verdict("targets", ErrorKind::DuplicateSignature(KeyId::new(self.0.keyid())))
    }
}

#[test]
fn f_4_2_1_5_a_signature_that_is_not_hexadecimal_is_ignored() {
    let [a, b, c] = keys();
    for sig in ["", "0", "zz", "é", " 00", "0x00", &"00".repeat(500_000)] {
        let all = two_of(&keys(), &keys(), |envelope| envelope["signatures"][2]["sig"] = json!(sig));
        assert_eq!(all, Ok(()), "{sig:.10}");
        let two = [a.clone(), c.clone()];
        let one_left =
            two_of(&[a.clone(), b.clone(), c.clone()], &two, |envelope| envelope["signatures"][1]["sig"] = json!(sig));
        assert_eq!(one_left, Err(verdict("targets", unmet(1, 2))), "{sig:.10}");
    }
}

#[test]
fn f_4_2_1_5_a_signature_object_needs_both_members() {
    for bad in [
        json!({"keyid": "k"}),
        json!({"sig": ""}),
        json!({"keyid": 1, "sig": ""}),
        json!({"keyid": "k", "sig": 1}),
        json!("s"),
    ] {
        malformed(two_of(&keys(), &keys(), |envelope| envelope["signatures"].as_array_mut().unwrap().push(bad)));
    }
}

#[test]
fn w_5_3_4_2_one_key_under_two_ids_counts_once() {
    let [a, ..] = keys();
    let twin = a.with_keyid("a second name");
    let found = two_of(&[a.clone(), twin.clone()], &[a, twin], |_| ());
    assert_eq!(found, Err(verdict("targets", unmet(1, 2))));
}

#[test]
fn a3_one_key_in_two_spellings_counts_once() {
    let a = TestKey::new("a");
    let extra_member = a.with_object(|object| object["x-extra"] = json!(1));
    let upper_case = a.with_object(|object| {
        let public = object["keyval"]["public"].as_str().unwrap().to_uppercase();
        object["keyval"]["public"] = json!(public);
    });
    let p256 = TestKey::p256("p");
    let old_keytype = p256.with_object(|object| object["keytype"] = json!("ecdsa-sha2-nistp256"));
    let more_line_ends = p256.with_object(|object| {
        let pem = object["keyval"]["public"].as_str().unwrap().to_owned();
        object["keyval"]["public"] = json!(pem + "\n");
    });
    for (one, other) in [(&a, &extra_member), (&a, &upper_case), (&p256, &old_keytype), (&p256, &more_line_ends)] {
        let pair = [one.clone(), other.clone()];
        assert_ne!(one.keyid(), other.keyid());
        assert_eq!(two_of(&pair, &pair, |_| ()), Err(verdict("targets", unmet(1, 2))), "{:?}", other.object());
    }
}

#[test]
fn tap_12_key_ids_are_names_and_keys_are_counted() {
    let [a, b, ..] = keys();
    let named = [a.with_keyid("an arbitrary name"), b.with_keyid("\u{1F511}")];
    assert_eq!(two_of(&named, &named, |_| ()), Ok(()));
    let twins = [a.with_keyid("one"), a.with_keyid("two")];
    assert_eq!(two_of(&twins, &twins, |_| ()), Err(verdict("targets", unmet(1, 2))));
}

#[test]
fn w_5_3_4_2_unknown_and_invalid_signatures_do_not_affect_valid_ones() {
    let stranger = TestKey::new("stranger");
    let found = two_of(&keys(), &keys(), |envelope| {
        envelope["signatures"][0]["sig"] = json!("00".repeat(64));
        envelope["signatures"].as_array_mut().unwrap().insert(0, stranger.signature(&json!({})));
    });
    assert_eq!(found, Ok(()));
}

#[test]
fn w_5_3_4_2_an_empty_list_of_signatures_is_refused() {
    assert_eq!(two_of(&keys(), &[], |_| ()), Err(verdict("targets", unmet(0, 2))));
}

#[test]
fn f_4_2_1_2_a_key_id_in_another_case_is_another_key_id() {
    let found = two_of(&keys(), &keys()[..2], |envelope| {
        let shouted = envelope["signatures"][0]["keyid"].as_str().unwrap().to_uppercase();
        envelope["signatures"][0]["keyid"] = json!(shouted);
    });
    assert_eq!(found, Err(verdict("targets", unmet(1, 2))));
}

#[test]
fn f_4_2_2_6_other_members_of_a_signature_are_ignored() {
    let found = two_of(&keys(), &keys()[..2], |envelope| {
        for signature in envelope["signatures"].as_array_mut().unwrap() {
            signature["method"] = json!("none");
            signature["scheme"] = json!("rsassa-pss-sha256");
            signature["keyval"] = json!({"public": "00"});
        }
    });
    assert_eq!(found, Ok(()));
}

#[test]
fn a21_other_members_of_the_envelope_are_ignored() {
    let found = two_of(&keys(), &keys()[..2], |envelope| {
        envelope["abc"] = json!("xyz");
        envelope["version"] = json!(99);
        envelope["signed_too"] = envelope["signed"].clone();
    });
    assert_eq!(found, Ok(()));
}

#[test]
fn a14_a_key_id_without_a_key_is_ignored() {
    let found = judge_root(|root| {
        root["roles"]["root"]["keyids"].as_array_mut().unwrap().push(json!("of no key"));
    });
    assert_eq!(found.map(drop), Ok(()));
}

#[test]
fn f_4_3_10_a_key_id_that_is_listed_twice_counts_once() {
    let found = judge_root(|root| {
        let keyid = root["roles"]["root"]["keyids"][0].clone();
        root["roles"]["root"] = json!({"keyids": [keyid, keyid], "threshold": 2});
    });
    assert_eq!(found.map(drop), Err(verdict("root", unmet(1, 2))));
}

#[test]
fn g_1_5_1_several_keys_and_thresholds_work_for_every_role() {
    let [a, b, c] = keys();
    for signers in [[&a, &b], [&b, &c], [&c, &a]] {
        assert_eq!(two_of(&keys(), &signers.map(Clone::clone), |_| ()), Ok(()));
    }
    assert_eq!(two_of(&keys(), &[b], |_| ()), Err(verdict("targets", unmet(1, 2))));
}
