//! A signer sees everything that the signature covers.

use lastmile_metadata::{DelegatedRoles, RoleName};
use lastmile_repo_tool::internal::diff;
use lastmile_repo_tool::internal::key_store::keyid_of;
use lastmile_repo_tool::{Draft, Error, Signing, Unobserved};
use serde_json::{Value, json};

use crate::delegations::delegate;
use crate::planted_members::{foreign_key, id_of, list_in_root, names_to_accept};
use crate::world::{World, is_published};

#[test]
fn another_key_under_a_known_id_is_shown() {
    let world = World::new();
    std::fs::remove_file(world.layout().keys().join("root-1.pem")).unwrap();
    std::fs::remove_file(world.layout().keys().join("root-2.pem")).unwrap();
    world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    let path = world.layout().staged().join("root.json");
    let mut root: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let (stranger, _) = world.key("stranger");
    let known = keyid_of(&world.public("targets-1"));
    root["signed"]["keys"][&known]["keyval"]["public"] = stranger.public().into();
    std::fs::write(&path, root.to_string()).unwrap();

    let mut repository = world.open();
    let draft = repository.staged().unwrap();
    let plan = repository.plan(draft, Signing::Never).unwrap();
    let shown = diff::full_text(&plan.diff);
    assert!(shown.contains(&format!("+ targets key ed25519 {}, listed as {known}", keyid_of(&stranger))), "{shown}");
    assert!(shown.contains(&format!("- targets key ed25519 {known}")), "{shown}");
}

#[test]
fn f_4_5_6_another_order_of_delegations_is_shown() {
    let world = World::new();
    let key = world.public("targets-1");
    world
        .change(|edit| {
            delegate(edit, "a", "*", &key);
            delegate(edit, "b", "*", &key);
        })
        .unwrap();
    let mut repository = world.open();
    let mut edit = repository.edit(Draft::default());
    let targets = edit.targets(&RoleName::TARGETS).unwrap();
    match &mut targets.delegations.as_mut().unwrap().roles {
        DelegatedRoles::Listed(roles) => roles.reverse(),
        DelegatedRoles::Succinct(_) => panic!("expected delegations to listed roles, got bins"),
    }
    let draft = edit.finish().unwrap();
    let plan = repository.plan(draft, Signing::Never).unwrap();
    let shown = diff::text(&plan.diff);
    assert!(shown.contains("delegations in the order b, a (was: delegations in the order a, b)"), "{shown}");
}

#[test]
fn a_signer_sees_every_line() {
    let world = World::new();
    std::fs::remove_file(world.layout().keys().join("targets-1.pem")).unwrap();
    for number in 10..40 {
        world.add(&format!("file-{number}"), "1");
    }
    let mut repository = world.open();
    let draft = repository.staged().unwrap();
    let plan = repository.plan(draft, Signing::Never).unwrap();
    assert!(!diff::text(&plan.diff).contains("file-39"), "the short form must truncate long lists");
    assert!(diff::full_text(&plan.diff).contains("file-39"));
}

#[test]
fn an_unusable_key_is_shown_in_full_and_signed_only_if_accepted() {
    let world = World::new();
    let (id, key) = foreign_key();
    world.plant(&RoleName::ROOT, |signed| list_in_root(signed, "targets", &(id.clone(), key.clone())));
    let shown = world.shown();
    for part in ["+ targets key that lastmile cannot use", "rsa-pkcs1v15-sha512", "MIIBIjANBgkqhkiG9w0BAQEFAAOC", &id] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let refused = world.sign(&[]).unwrap_err();
    let named = names_to_accept(&refused);
    assert_eq!(named, [format!("root:/keys/{id}"), format!("root:/roles/targets/keyids/{id}")], "{refused}");
    assert!(world.metadata("1.root.json")["signed"]["keys"][&id].is_null());
    assert!(world.sign(&[&named[0]]).is_err(), "accepting one of the two occurrences must not be enough");
    assert!(world.sign(&[&id[..8]]).is_err(), "a prefix of the key ID must not be enough");
    let staged = std::fs::read_to_string(world.layout().staged().join("root.json")).unwrap();
    assert!(staged.contains("\"signatures\":[]"), "{staged}");
    world.sign(&[&id]).unwrap();
    // The signers have accepted the key. The publisher must accept it as well.
    assert!(matches!(world.publish(&[]), Err(Error::NotAccepted { .. })));
    assert!(is_published(&world.publish(&[&named[0], &named[1]]).unwrap()));
    // After the key has been published, signers need not accept it again.
    world.plant(&RoleName::ROOT, |_| {});
    world.sign(&[]).unwrap();
    assert!(is_published(&world.publish(&[]).unwrap()));
}

#[test]
fn an_existing_key_that_is_newly_listed_must_be_accepted_again() {
    let world = World::new();
    let planted = foreign_key();
    world.plant(&RoleName::ROOT, |signed| list_in_root(signed, "targets", &planted));
    world.sign(&[&planted.0]).unwrap();
    world.publish(&[&planted.0]).unwrap();
    world.plant(&RoleName::ROOT, |signed| list_in_root(signed, "timestamp", &planted));
    let refused = world.sign(&[]).unwrap_err();
    assert_eq!(names_to_accept(&refused), [format!("root:/roles/timestamp/keyids/{}", planted.0)]);
}

/// Collects the JSON pointers of all objects in a value.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.push(at.to_string());
            for (name, value) in members {
                objects(value, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(elements) => {
            for (number, value) in elements.iter().enumerate() {
                objects(value, &format!("{at}/{number}"), found);
            }
        }
        _ => {}
    }
}

/// Creates a repository whose metadata contains members of every kind.
fn rich() -> World {
    let world = World::new();
    let (key, uri) = world.key("team");
    world.add("file", "1");
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "team", "team/*", &key)).unwrap();
    world
}

#[test]
fn an_unknown_member_is_shown_and_refused_at_every_place() {
    let world = rich();
    for (role, file) in [(RoleName::ROOT, "1.root.json"), (RoleName::TARGETS, "3.targets.json")] {
        let mut places = Vec::new();
        objects(&world.metadata(file)["signed"], "", &mut places);
        assert!(places.len() > 6, "{places:?}");
        let mut refused = 0;
        for place in places {
            let world = world.copy();
            world.plant(&role, |signed| signed.pointer_mut(&place).unwrap()["planted"] = json!("\u{202e}evil"));
            let mut repository = world.open();
            // If `place` is a map of keys, roles or targets, the planted member is not a valid entry of the map, so the
            // tool refuses the pending file.
            let Ok(draft) = repository.staged() else { continue };
            let plan = repository.plan(draft, Signing::Never).unwrap();
            drop(repository);
            let shown = diff::full_text(&plan.diff);
            assert!(shown.contains("planted") && shown.contains("\\u{202e}evil"), "{role} {place}: {shown}");
            let error = world.sign(&[]).unwrap_err();
            // A member in a key changes the hash of the key, so the key ID is wrong. tough refuses files with wrong key
            // IDs. Therefore lastmile-repo does not sign the file, even if the user accepts the member.
            if !matches!(error, Error::Draft(_)) {
                let named = names_to_accept(&error);
                let named: Vec<&str> = named.iter().map(String::as_str).collect();
                assert!(!named.is_empty(), "{role} {place}: {error}");
                world.sign(&named).unwrap();
            }
            refused += 1;
        }
        assert!(refused >= 6, "{refused}");
    }
}

#[test]
fn every_value_that_changes_has_a_line() {
    let world = rich();
    for (role, file) in [(RoleName::ROOT, "1.root.json"), (RoleName::TARGETS, "3.targets.json")] {
        let text = world.metadata(file)["signed"].to_string();
        let values = [json!("x"), json!(7), json!(true), json!([]), json!({}), json!(["a", "a"]), json!(null)];
        let mut count = 0;
        for pointer in all_pointers(&serde_json::from_str(&text).unwrap(), "") {
            if matches!(pointer.as_str(), "/version" | "/expires" | "/_type") {
                continue;
            }
            for value in &values {
                let world = world.copy();
                world.plant(&role, |signed| *signed.pointer_mut(&pointer).unwrap() = value.clone());
                let mut repository = world.open();
                let Ok(draft) = repository.staged() else { continue };
                let plan = repository.plan(draft, Signing::Never).unwrap();
                let found = plan.diff.iter().find(|found| found.role == role.as_str()).unwrap();
                let same = serde_json::from_str::<Value>(&text).unwrap().pointer(&pointer) == Some(value);
                assert_eq!(found.lines.is_empty(), same, "{role} {pointer} = {value}: {found:?}");
                count += 1;
            }
        }
        assert!(count > 10, "{count}");
    }
}

fn all_pointers(value: &Value, at: &str) -> Vec<String> {
    let below = |name: String, value: &Value| all_pointers(value, &format!("{at}/{name}"));
    let mut found = match value {
        Value::Object(members) => members.iter().flat_map(|(name, value)| below(name.clone(), value)).collect(),
        Value::Array(elements) => {
            elements.iter().enumerate().flat_map(|(at, value)| below(at.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    found.extend((!at.is_empty()).then(|| at.to_string()));
    found
}

#[test]
fn every_hash_is_shown_in_full_and_an_unknown_one_must_be_accepted() {
    let world = World::new();
    world.plant(&RoleName::TARGETS, |signed| {
        signed["targets"]["a"] = json!({
            "length": 1, "hashes": { "sha256": "1".repeat(64), "sha512": "2".repeat(128), "sha999": "3".repeat(64) }
        });
    });
    let shown = world.shown();
    for hash in [format!("sha256 {}", "1".repeat(64)), format!("sha512 {}", "2".repeat(128)), "3".repeat(64)] {
        assert!(shown.contains(&hash), "{shown}");
    }
    assert_eq!(names_to_accept(&world.sign(&[]).unwrap_err()), ["targets:/targets/a/hashes/sha999"]);
    world.sign(&["sha999"]).unwrap();
}

#[test]
fn a_changed_target_is_shown_with_its_old_value() {
    let world = World::new();
    world.add("a", "1");
    world.plant(&RoleName::TARGETS, |signed| {
        signed["targets"]["a"]["hashes"]["sha512"] = "2".repeat(128).into();
    });
    let shown = world.shown();
    let old = hex::encode(<sha2::Sha256 as sha2::Digest>::digest("1"));
    let line = format!("~ a (1 bytes, sha256 {old}, sha512 {}) (was: (1 bytes, sha256 {old}))", "2".repeat(128));
    assert!(shown.contains(&line), "{shown}");
}

#[test]
fn another_encoding_under_a_known_id_and_a_key_that_no_role_lists_are_shown() {
    let world = World::new();
    let (unlisted, _) = world.key("unlisted");
    let unlisted: Value =
        serde_json::from_str(&lastmile_metadata::Key::from_public(&unlisted).to_json().to_text()).unwrap();
    let known = keyid_of(&world.public("targets-1"));
    world.plant(&RoleName::ROOT, |signed| {
        signed["keys"][id_of(&unlisted)] = unlisted.clone();
        let public = &mut signed["keys"][&known]["keyval"]["public"];
        *public = public.as_str().unwrap().to_uppercase().into();
        signed["spec_version"] = "1.0.99".into();
    });
    let shown = world.shown();
    for line in [
        format!("+ key ed25519 {} (no role lists it)", id_of(&unlisted)),
        format!("~ the key with the ID {known} becomes "),
        "~ spec_version 1.0.99 (was: spec_version 1.0.34)".to_string(),
    ] {
        assert!(shown.contains(&line), "{line}: {shown}");
    }
}

#[test]
fn a_delegation_added_before_others_is_shown_at_its_position() {
    let world = rich();
    world.plant(&RoleName::TARGETS, |signed| {
        let mut first = signed["delegations"]["roles"][0].clone();
        first["name"] = "a\u{200b}".into();
        first["paths"] = json!(["x y", "#0"]);
        signed["delegations"]["roles"].as_array_mut().unwrap().insert(0, first);
    });
    let shown = world.shown();
    assert!(
        shown.contains("delegations in the order a\\u{200b}, team (was: delegations in the order team)"),
        "{shown}"
    );
    assert!(shown.contains("+ delegation to a\\u{200b}: \"x y\" \"#0\""), "{shown}");
}

#[test]
fn a_signer_sees_the_entries_of_snapshot_and_timestamp() {
    let world = World::new();
    world.plant(&RoleName::TARGETS, |_| {});
    let shown = world.shown();
    assert!(shown.contains("~ targets.json version 2 (was: targets.json version 1)"), "{shown}");
    assert!(shown.contains("~ snapshot.json version 2 (was: snapshot.json version 1)"), "{shown}");
}
