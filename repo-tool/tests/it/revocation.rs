//! `revoke`: spec 6.1 and 5.3.11.

use lastmile_client::MemoryStore;
use lastmile_keys::{PrivateKey, PublicKey, Scheme};
use lastmile_metadata::RoleName;
use lastmile_repo_tool::key_store::{self, Protection};
use lastmile_repo_tool::proof::{Before, ProofRow, Verdict, is_refuted, prove};
use lastmile_repo_tool::publication::Unobserved;
use lastmile_repo_tool::revoke::revoke;
use lastmile_repo_tool::{Error, Outcome, Signing};

use crate::delegations::{delegate, delegate_from};
use crate::world::{World, is_published};

fn revoke_and_prove(world: &World, key: &PublicKey) -> Vec<ProofRow> {
    let mut repository = world.open();
    let roles = repository.published.roles_trusting(key).unwrap();
    let before = Before::remember(&mut repository, &roles).unwrap();
    let revocation = revoke(&mut repository, key, &Protection::None, &Protection::None).unwrap();
    let plan = repository.plan(revocation.draft, Signing::Now).unwrap();
    assert!(is_published(&repository.conclude(&plan, &mut Unobserved).unwrap()));
    let keys = repository.keys.clone();
    assert!(repository.published.roles_trusting(key).unwrap().is_empty());
    repository.keys = keys;
    prove(&mut repository, key, &before).unwrap()
}

fn scenes(row: &ProofRow) -> Vec<&str> {
    row.scenes.iter().map(|(scene, _)| scene.as_str()).collect()
}

#[test]
fn r_6_1_6_after_a_fast_forward_attack_clients_come_back() {
    let world = World::new();
    world.add("a", "1");
    world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    let rows = revoke_and_prove(&world, &world.public("timestamp-1"));
    assert_eq!(rows.len(), 3);
    assert!(!is_refuted(&rows), "{rows:?}");
    assert_eq!(scenes(&rows[0]), ["arrives", "after a fast-forward attack", "forged timestamp"]);
    let Verdict::Good(said) = &rows[0].scenes[1].1 else { panic!() };
    assert!(said.starts_with("came back from timestamp 1000002"), "{said}");
    // Both online keys are others now.
    for role in ["timestamp", "snapshot"] {
        let keyids = |file: &str| world.metadata(file)["signed"]["roles"][role]["keyids"].clone();
        assert_ne!(keyids("2.root.json"), keyids("3.root.json"), "{role}");
    }
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1");
}

#[test]
fn every_kind_of_role_can_lose_a_key() {
    for name in ["root-1", "targets-1", "snapshot-1"] {
        let world = World::new();
        world.add("a", "1");
        let warm = MemoryStore::default();
        world.fetch_with(&warm, "a").unwrap();
        let rows = revoke_and_prove(&world, &world.public(name));
        assert!(!is_refuted(&rows), "{name}: {rows:?}");
        assert_eq!(world.fetch_with(&warm, "a").unwrap().unwrap(), b"1");
        world.add("a", "2");
        assert_eq!(world.fetch_with(&warm, "a").unwrap().unwrap(), b"2");
    }
}

#[test]
fn a_root_that_loses_a_key_gets_a_spare_one_again() {
    let world = World::new();
    revoke_and_prove(&world, &world.public("root-2"));
    let root = &world.metadata("2.root.json")["signed"]["roles"]["root"];
    assert_eq!((root["keyids"].as_array().unwrap().len(), root["threshold"].as_u64()), (3, Some(2)));
}

#[test]
fn a_key_is_revoked_at_every_depth() {
    let world = World::new();
    let (shared, shared_uri) = world.key("shared");
    let (other, other_uri) = world.key("other");
    let (a, b, c) = (role("a"), role("b"), role("c"));
    world
        .change_with(&[shared_uri, other_uri], &mut Unobserved, |edit| {
            delegate(edit, "a", "*/*", &other);
            delegate_from(edit, &a, "b", "*/*", &shared);
            delegate_from(edit, &b, "c", "*/*", &shared);
        })
        .unwrap();
    world.add_to(&b, "x/b", "b", &mut Unobserved).unwrap();
    world.add_to(&c, "x/c", "c", &mut Unobserved).unwrap();
    let mut repository = world.open();
    let found = repository.published.roles_trusting(&shared).unwrap();
    assert_eq!(found, [(b.clone(), Some(a)), (c, Some(b))]);
    drop(repository);
    let rows = revoke_and_prove(&world, &shared);
    assert!(!is_refuted(&rows), "{rows:?}");
    assert_eq!(scenes(&rows[0]), ["arrives", "forged b", "forged c"]);
    assert!(!world.files("metadata").contains(&"2.root.json".to_string()), "no new root is needed");
    assert_eq!(world.fetch("x/b").unwrap().unwrap(), b"b");
    assert_eq!(world.fetch("x/c").unwrap().unwrap(), b"c");
}

#[test]
fn a_key_is_revoked_in_what_waits_too() {
    let world = World::new();
    let (shared, uri) = world.key("shared");
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "a", "a/*", &shared)).unwrap();
    let path = world.layout().keys().join("targets-1.pem");
    let targets = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let staged = world.change(|edit| delegate(edit, "b", "b/*", &shared)).unwrap();
    assert!(matches!(staged, Outcome::Staged(_)));

    let revoke_again = || {
        let mut repository = world.open();
        let revocation = revoke(&mut repository, &shared, &Protection::None, &Protection::None)?;
        let plan = repository.plan(revocation.draft, Signing::Now)?;
        repository.conclude(&plan, &mut Unobserved)
    };
    assert!(matches!(revoke_again(), Ok(Outcome::Staged(_))));
    // Once is enough, and what is missing is said.
    let again = revoke_again();
    assert!(matches!(&again, Err(Error::Refused(reason)) if reason.contains("sign and publish")), "{again:?}");

    std::fs::write(path, targets).unwrap();
    let mut repository = world.open();
    let draft = repository.staged().unwrap();
    let plan = repository.plan(draft, Signing::All).unwrap();
    assert!(is_published(&repository.conclude(&plan, &mut Unobserved).unwrap()));
    assert_eq!(repository.published.roles_trusting(&shared).unwrap(), []);
}

#[test]
fn without_its_private_part_the_proof_says_so() {
    let world = World::new();
    let key = world.public("targets-1");
    let (spare, uri) = world.key("targets-2");
    world.change_with(&[uri], &mut Unobserved, |edit| edit.rotate(&RoleName::TARGETS, &[spare], &[]).unwrap()).unwrap();
    std::fs::remove_file(world.layout().keys().join("targets-1.pem")).unwrap();
    let rows = revoke_and_prove(&world, &key);
    assert!(rows.iter().all(|row| matches!(row.scenes[1].1, Verdict::NotTried(_))), "{rows:?}");
}

#[test]
fn a_new_key_never_gets_the_name_of_one_that_was_carried_elsewhere() {
    for leftover in [true, false] {
        let world = World::new();
        let key = world.public("root-1");
        std::fs::remove_file(world.layout().keys().join("root-1.pem")).unwrap();
        if !leftover {
            std::fs::remove_file(world.layout().keys().join("root-1.pub")).unwrap();
        }
        revoke_and_prove(&world, &key);
        let names = world.files("keys");
        assert!(names.contains(&"root-4.pem".to_string()), "{names:?}");
        assert!(!names.contains(&"root-1.pem".to_string()), "{names:?}");
    }
}

#[test]
fn a_key_is_never_written_beside_the_public_part_of_another() {
    let world = World::new();
    std::fs::remove_file(world.layout().keys().join("root-1.pem")).unwrap();
    let key = PrivateKey::from_seed(Scheme::Ed25519, &[7; 32]).unwrap();
    let refused = key_store::write(&world.layout().keys(), "root-1", &key, &Protection::None);
    assert!(matches!(refused, Err(Error::Refused(_))));
    assert!(!world.files("keys").contains(&"root-1.pem".to_string()));
}

#[test]
fn a_revocation_that_is_only_looked_at_writes_nothing() {
    let world = World::new();
    let (files, keys) = (world.files("metadata"), world.files("keys"));
    let mut repository = world.open();
    let planned = Protection::NotWritten;
    let revocation = revoke(&mut repository, &world.public("timestamp-1"), &planned, &planned).unwrap();
    let plan = repository.plan(revocation.draft, Signing::Never).unwrap();
    let root = plan.diff.iter().find(|role| role.role == "root").unwrap();
    assert_eq!(root.lines.len(), 4, "both online keys go, and others come: {root:?}");
    assert_eq!((world.files("metadata"), world.files("keys")), (files, keys));
}

#[test]
fn a_key_that_nobody_trusts_cannot_be_revoked() {
    let world = World::new();
    let (key, _) = world.key("stranger");
    let mut repository = world.open();
    let refused = revoke(&mut repository, &key, &Protection::None, &Protection::None);
    assert!(matches!(refused, Err(Error::NotFound(_))));
}

fn role(name: &str) -> RoleName {
    RoleName::delegated(name).unwrap()
}
