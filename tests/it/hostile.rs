//! Changes every member and every byte of metadata files. Nothing may panic. A file with a changed byte may be accepted
//! only if its signed content is unchanged.

use lastmile_metadata::{Error, ErrorKind, Limit, Role, Root, Snapshot, Targets, Timestamp};
use lastmile_testkit::{Delegation, Repository, hash};
use lastmile_tests::{judge, judge_bytes, malformed, parse};
use serde_json::{Value, json};

/// Returns a repository whose metadata has every member that the specification defines.
fn rich() -> Repository {
    let mut repository = Repository::new();
    repository.delegate("targets", &Delegation::paths("a", &["a/*", "b?"]));
    repository.delegate("targets", &Delegation::hash_prefixes("b", &["00", "abc"]).terminating());
    repository.add_target("targets", "dir/é.txt", b"content");
    repository.signed("targets")["targets"]["dir/é.txt"]["custom"] = json!({"deep": [1, {"er": null}]});
    repository.signed("targets")["targets"]["dir/é.txt"]["hashes"]["sha512"] = json!("00".repeat(64));
    repository.publish(&["a", "b", "targets"]);
    repository
}

fn verify(repository: &Repository, role: &str, signed: &Value) -> Result<(), Error> {
    match role {
        "root" => judge::<Root>(repository, role, signed).map(drop),
        "timestamp" => judge::<Timestamp>(repository, role, signed).map(drop),
        "snapshot" => judge::<Snapshot>(repository, role, signed).map(drop),
        _ => judge::<Targets>(repository, role, signed).map(drop),
    }
}

/// Returns the JSON pointers of all values inside `value`.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let escape = |name: &str| name.replace('~', "~0").replace('/', "~1");
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (escape(name), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in members {
        let here = format!("{at}/{name}");
        pointers(value, &here, found);
        found.push(here);
    }
}

#[test]
fn f_4_3_1_no_value_in_any_member_causes_a_panic() {
    let mut repository = rich();
    let strange = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(""),
        json!("x"),
        json!([]),
        json!({}),
        json!([null]),
        json!({"": null}),
        json!([[[[]]]]),
        json!("\u{0}\u{202e}"),
        json!({"x": {"x": {}}}),
    ];
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let honest = repository.signed(role).clone();
        assert_eq!(verify(&repository, role, &honest), Ok(()));
        let mut places = Vec::new();
        pointers(&honest, "", &mut places);
        for place in places {
            for value in &strange {
                let mut changed = honest.clone();
                *changed.pointer_mut(&place).unwrap() = value.clone();
                // The file may be accepted or refused; only a panic fails the test.
                drop(verify(&repository, role, &changed));
            }
        }
    }
}

#[test]
fn f_cj_6_a_changed_byte_is_refused_unless_the_signed_content_stays_the_same() {
    fn check<R: Role>(repository: &Repository, role: &str) {
        let honest = repository.written(role);
        let signed = parse::<R>(honest.clone()).unwrap().signed().as_bytes().to_vec();
        for position in 0..honest.len() {
            for byte in [b' ', b'"', 0xff, honest[position] ^ 1] {
                let mut changed = honest.clone();
                changed[position] = byte;
                if let Ok(accepted) = judge_bytes::<R>(repository, role, changed) {
                    assert_eq!(
                        accepted.write().into_bytes(),
                        signed,
                        "{role}: changing byte {position} to {byte} must not change the content"
                    );
                }
            }
        }
    }
    let repository = rich();
    check::<Root>(&repository, "root");
    check::<Timestamp>(&repository, "timestamp");
    check::<Snapshot>(&repository, "snapshot");
    check::<Targets>(&repository, "targets");
}

#[test]
fn f_4_1_2_a_truncated_document_is_refused() {
    let repository = rich();
    let honest = repository.written("targets");
    for length in 0..honest.len() {
        malformed(parse::<Targets>(honest[..length].to_vec()));
    }
}

#[test]
fn f_4_2_1_5_many_signatures_are_accepted_up_to_the_limit() {
    let repository = rich();
    let mut envelope: Value = serde_json::from_slice(&repository.written("targets")).unwrap();
    let strangers = (0..1_022).map(|number| json!({"keyid": hash(&[number as u8]) + &number.to_string(), "sig": "00"}));
    envelope["signatures"].as_array_mut().unwrap().extend(strangers);
    let bytes = serde_json::to_vec(&envelope).unwrap();
    assert_eq!(judge_bytes::<Targets>(&repository, "targets", bytes).unwrap().signatures().len(), 1_023);
    let one_more = json!({"keyid": "one more", "sig": "00"});
    envelope["signatures"].as_array_mut().unwrap().extend([one_more.clone(), one_more]);
    let refused = judge_bytes::<Targets>(&repository, "targets", serde_json::to_vec(&envelope).unwrap()).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::LimitReached { limit: Limit::Signatures, value: 1_024 });
}

#[test]
fn f_4_2_2_7_thousands_of_keys_are_accepted() {
    let mut repository = rich();
    let keys = repository.signed("targets")["delegations"]["keys"].as_object_mut().unwrap();
    for number in 0..2_000_u32 {
        let public = hash(&number.to_be_bytes());
        keys.insert(public.clone(), json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}}));
    }
    let signed = repository.signed("targets").clone();
    assert_eq!(verify(&repository, "targets", &signed), Ok(()));
}
