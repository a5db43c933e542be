//! Keys that other clients can use, but lastmile cannot. The tool can still find, remove and revoke such keys.

use lastmile_keys::PublicKey;
use lastmile_metadata::{KeyId, RoleName};
use lastmile_repo_tool::internal::revoke::revoke;
use lastmile_repo_tool::internal::status::Status;
use lastmile_repo_tool::internal::trusting::OddKind;
use lastmile_repo_tool::{Error, Outcome, Protection, Signing, Unobserved};
use serde_json::Value;

use crate::delegations::delegate;
use crate::planted_members::{RSA, foreign_key, key, list_in_root};
use crate::revocation::generated;
use crate::world::{World, is_published};

/// Creates a repository whose root lists an unusable key for `role`.
fn with_foreign_key(role: &str) -> (World, String) {
    let world = World::new();
    let planted = foreign_key();
    world.plant(&RoleName::ROOT, |signed| list_in_root(signed, role, &planted));
    world.sign(&[&planted.0]).unwrap();
    assert!(is_published(&world.publish(&[&planted.0]).unwrap()));
    (world, planted.0)
}

fn revoke_material(world: &World, key: &PublicKey) -> Result<Outcome, Error> {
    let mut repository = world.open();
    let revocation = revoke(&mut repository, key, &generated(&Protection::None))?;
    let plan = repository.plan(revocation.draft, Signing::Now)?;
    repository.conclude(&plan, &mut Unobserved)
}

#[test]
fn an_unusable_key_is_reported_and_removed_by_its_id() {
    let (world, id) = with_foreign_key("targets");
    let mut repository = world.open();
    let status = Status::of(&mut repository).unwrap();
    let targets = status.roles.iter().find(|role| role.name == "targets").unwrap();
    assert!(matches!(&*targets.odd, [odd] if odd.id.as_str() == id && matches!(odd.kind, OddKind::Unusable(_))));
    assert!(
        status.findings.iter().any(|finding| finding.text.contains(&id) && finding.text.contains("--remove")),
        "{status:?}"
    );
    assert_eq!(status.json()["roles"][3]["unusable"].as_array().unwrap().len(), 1);
    drop(repository);
    let removed = world.change(|edit| edit.remove_ids(&[RoleName::TARGETS], &[KeyId::new(&*id)]).unwrap()).unwrap();
    assert!(is_published(&removed));
    let root = &world.metadata("3.root.json")["signed"];
    assert!(root["keys"][&id].is_null() && root["roles"]["targets"]["keyids"].as_array().unwrap().len() == 1);
    let repository = world.open();
    let advice = world.warnings(&repository);
    assert!(!advice.iter().any(|line| line.contains(&id)), "{advice:?}");
}

#[test]
fn an_unusable_key_of_a_delegation_is_removed_by_its_id() {
    let world = World::new();
    let (team, uri) = world.key("team");
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "team", "team/*", &team)).unwrap();
    let (id, key) = foreign_key();
    world.plant(&RoleName::TARGETS, |signed| {
        signed["delegations"]["keys"][&id] = key.clone();
        signed["delegations"]["roles"][0]["keyids"].as_array_mut().unwrap().push(id.as_str().into());
    });
    let shown = world.shown();
    assert!(shown.contains("+ team key that lastmile cannot use") && shown.contains("rsa-pkcs1v15-sha512"), "{shown}");
    assert!(world.sign(&[]).is_err());
    world.sign(&[&id]).unwrap();
    world.publish(&[&id]).unwrap();
    let team = RoleName::delegated("team").unwrap();
    let mut repository = world.open();
    let odd = repository.edit(Default::default()).odd_ids(std::slice::from_ref(&team)).unwrap();
    assert!(matches!(&*odd, [odd] if odd.id.as_str() == id));
    drop(repository);
    world.change(|edit| edit.remove_ids(&[team], &[KeyId::new(&*id)]).unwrap()).unwrap();
    let delegations = &world.metadata("4.targets.json")["signed"]["delegations"];
    assert!(delegations["keys"][&id].is_null());
    assert_eq!(delegations["roles"][0]["keyids"].as_array().unwrap().len(), 1);
}

#[test]
fn an_id_without_a_key_is_removed() {
    let world = World::new();
    let dangling = "ab".repeat(32);
    world.republish("1.root.json", &["root-1", "root-2"], |signed| {
        signed["roles"]["targets"]["keyids"].as_array_mut().unwrap().push(dangling.as_str().into());
    });
    let mut repository = world.open();
    let odd = repository.edit(Default::default()).odd_ids(&[RoleName::TARGETS]).unwrap();
    assert!(matches!(&*odd, [odd] if odd.kind == OddKind::Dangling));
    drop(repository);
    world.change(|edit| edit.remove_ids(&[RoleName::TARGETS], &[KeyId::new(&*dangling)]).unwrap()).unwrap();
    let root = world.metadata("2.root.json")["signed"].to_string();
    assert!(!root.contains(&dangling), "{root}");
}

#[test]
fn a_removal_never_leaves_too_few_keys() {
    let world = World::new();
    let id = KeyId::new(lastmile_repo_tool::internal::key_store::keyid_of(&world.public("targets-1")));
    let mut repository = world.open();
    let mut edit = repository.edit(Default::default());
    // If a key is usable, `remove_ids` keeps one entry of its ID. The role lists this ID only once, so nothing is
    // removed.
    edit.remove_ids(&[RoleName::TARGETS], &[id]).unwrap();
    assert_eq!(edit.trust(&RoleName::TARGETS).unwrap().0.len(), 1);
}

/// Returns how many keys in the root have the RSA modulus of the test key, in any encoding.
fn with_modulus(root: &Value) -> usize {
    let in_lines = "MIIBCgKCAQEAjgFzRbnUK".to_string();
    let keys = root.pointer("/signed/keys").unwrap().as_object().unwrap().values();
    let publics = keys.filter_map(|key| Some(key.pointer("/keyval/public")?.as_str()?.replace(['\n', '\r', ' '], "")));
    publics.filter(|public| public.contains(&in_lines) || public.contains("8e017345b9d42bf0e39387f4da857ea8")).count()
}

#[test]
fn a_revocation_removes_every_encoding_of_the_key() {
    let world = World::new();
    let rsa = PublicKey::from_tuf("rsa", "rsassa-pss-sha256", RSA).unwrap();
    world.change(|edit| edit.rotate(&RoleName::TARGETS, std::slice::from_ref(&rsa), &[]).unwrap()).unwrap();
    let one_line = RSA.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let spellings = [
        key("rsa", "rsa-pkcs1v15-sha512", RSA),
        key("rsa", "rsa-pkcs1v15-sha384", &RSA.replace('\n', "\r\n")),
        key("rsa", "rsa-pkcs1v15-sha512", &format!("-----BEGIN PUBLIC KEY-----\n{one_line}\n-----END PUBLIC KEY-----")),
    ];
    let ids: Vec<&str> = spellings.iter().map(|(id, _)| id.as_str()).collect();
    world.plant(&RoleName::ROOT, |signed| {
        for (role, planted) in ["targets", "timestamp", "root"].iter().zip(&spellings) {
            list_in_root(signed, role, planted);
        }
    });
    world.sign(&ids).unwrap();
    world.publish(&ids).unwrap();
    assert_eq!(with_modulus(&world.metadata("3.root.json")), 4);
    let mut repository = world.open();
    let roles = repository.published.roles_trusting(&rsa).unwrap();
    let roles: Vec<&str> = roles.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(roles, ["root", "timestamp", "targets"]);
    drop(repository);
    assert!(is_published(&revoke_material(&world, &rsa).unwrap()));
    let root = world.metadata("4.root.json");
    assert_eq!(with_modulus(&root), 0, "{root}");
    world.add("a", "1");
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1");
}

#[test]
fn an_ed25519_key_is_revoked_under_a_scheme_that_only_python_tuf_supports() {
    let world = World::new();
    let public = world.public("targets-1");
    let (spare, uri) = world.key("targets-2");
    world.change_with(&[uri], &mut Unobserved, |edit| edit.rotate(&RoleName::TARGETS, &[spare], &[]).unwrap()).unwrap();
    // Add the same key bytes with a different key type and scheme.
    let planted = key("ml-dsa", "ml-dsa-65/1", &public.public().to_uppercase());
    world.plant(&RoleName::ROOT, |signed| list_in_root(signed, "snapshot", &planted));
    world.sign(&[&planted.0]).unwrap();
    world.publish(&[&planted.0]).unwrap();
    revoke_material(&world, &public).unwrap();
    let root = world.metadata("4.root.json")["signed"].to_string();
    assert!(!root.to_lowercase().contains(&public.public()), "{root}");
}
