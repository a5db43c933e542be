//! Tests of `revoke` (TUF specification 6.1 and 5.3.11).

use lastmile_client::MemoryStore;
use lastmile_keys::{PrivateKey, PublicKey, Scheme};
use lastmile_metadata::RoleName;
use lastmile_repo_tool::internal::key_store::{self};
use lastmile_repo_tool::internal::proof::{Before, ProofRow, Verdict, is_refuted, prove};
use lastmile_repo_tool::internal::revoke::{KeyCount, Replacement, Replacements, Revocation, revoke};
use lastmile_repo_tool::{
    Edit, Error, KeyUri, NewBins, Outcome, PathError, Protection, RevokeError, Signing, Trust, Unobserved,
};

use crate::delegations::{delegate, delegate_from};
use crate::world::{World, is_published};

/// Returns the replacements for a revocation: a newly generated key for each role that loses a key.
pub(crate) fn generated(protection: &Protection) -> Replacements {
    Replacements { given: Vec::new(), online: Some(protection.clone()), offline: Some(protection.clone()) }
}

/// Each element of `given` is a public key, and the name of the role that gets the key. A public key without a role
/// name is for every role that needs a new key. Other keys are generated only for online roles.
fn from_holders(given: &[(Option<&str>, &PublicKey)]) -> Replacements {
    let given = given.iter().map(|(role, key)| Replacement {
        role: role.map(ToString::to_string),
        key: (*key).clone(),
        uri: None,
    });
    Replacements { given: given.collect(), online: Some(Protection::None), offline: None }
}

pub(crate) fn revoke_and_prove(world: &World, key: &PublicKey) -> Vec<ProofRow> {
    revoke_with(world, key, &generated(&Protection::None)).1
}

fn revoke_with(world: &World, key: &PublicKey, replacements: &Replacements) -> (Revocation, Vec<ProofRow>) {
    let mut repository = world.open();
    let roles = repository.published.roles_trusting(key).unwrap();
    let before = Before::remember(&mut repository, &roles).unwrap();
    let revocation = revoke(&mut repository, key, replacements).unwrap();
    let plan = repository.plan(revocation.draft.clone(), Signing::Now).unwrap();
    assert!(is_published(&repository.conclude(&plan, &mut Unobserved).unwrap()));
    let keys = repository.keys.clone();
    assert!(repository.published.roles_trusting(key).unwrap().is_empty());
    repository.keys = keys;
    (revocation, prove(&mut repository, key, &before).unwrap())
}

fn cases(row: &ProofRow) -> Vec<&str> {
    row.cases.iter().map(|(case, _)| case.as_str()).collect()
}

#[test]
fn r_6_1_6_clients_recover_from_a_fast_forward_attack() {
    let world = World::new();
    world.add("a", "1");
    world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    let rows = revoke_and_prove(&world, &world.public("timestamp-1"));
    assert_eq!(rows.len(), 3);
    assert!(!is_refuted(&rows), "{rows:?}");
    assert_eq!(cases(&rows[0]), ["new state", "after a fast-forward attack", "forged timestamp"]);
    let Verdict::Good(printed) = &rows[0].cases[1].1 else { panic!() };
    assert!(printed.starts_with("recovers from timestamp 1000002"), "{printed}");
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
fn a_root_that_loses_a_key_gets_a_spare_key_on_request() {
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
    let a = role("a");
    let b = role("b");
    let c = role("c");
    world
        .change_with(&[shared_uri, other_uri], &mut Unobserved, |edit| {
            delegate(edit, "a", "*/*", &other);
            delegate_from(edit, &a, "b", "*/*", &shared);
            delegate_from(edit, &b, "c", "*/c", &shared);
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
    assert_eq!(cases(&rows[0]), ["new state", "forged b", "forged c"]);
    assert!(!world.files("metadata").contains(&"2.root.json".to_string()), "the revocation must not create a new root");
    assert_eq!(world.fetch("x/b").unwrap().unwrap(), b"b");
    assert_eq!(world.fetch("x/c").unwrap().unwrap(), b"c");
}

#[test]
fn the_proof_tests_each_role_even_if_the_names_are_similar() {
    let world = World::new();
    let (shared, uri) = world.key("shared");
    let roles = ["cafe", "face", "team-1", "team-2"];
    world
        .change_with(&[uri], &mut Unobserved, |edit| {
            roles.iter().for_each(|role| delegate(edit, role, &format!("{role}/*"), &shared));
        })
        .unwrap();
    let rows = revoke_and_prove(&world, &shared);
    assert!(!is_refuted(&rows), "{rows:?}");
    assert_eq!(cases(&rows[0]), ["new state", "forged cafe", "forged face", "forged team-1", "forged team-2"]);
}

#[test]
fn the_proof_tests_one_bin_of_a_set() {
    for succinct in [true, false] {
        let world = World::new();
        let (shared, uri) = world.key("shared");
        let trust = Trust { keys: vec![shared.clone()], threshold: 1 };
        let new = NewBins { bit_length: 3, name_prefix: "bin".into(), trust, succinct };
        let make = |edit: &mut Edit<'_>| edit.make_bins(&RoleName::TARGETS, &new, &|_| {}).unwrap();
        world.change_with(&[uri], &mut Unobserved, make).unwrap();
        let rows = revoke_and_prove(&world, &shared);
        assert!(!is_refuted(&rows), "{rows:?}");
        assert_eq!(cases(&rows[0]), ["new state", "forged bin-0"]);
    }
}

#[test]
fn a_key_is_revoked_in_the_pending_change_too() {
    let world = World::new();
    let (shared, uri) = world.key("shared");
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "a", "a/*", &shared)).unwrap();
    let path = world.layout().keys().join("targets-1.pem");
    let away = world.folder.path().join("targets-1.pem");
    std::fs::rename(&path, &away).unwrap();
    let staged = world.change(|edit| delegate(edit, "b", "b/*", &shared)).unwrap();
    assert!(matches!(staged, Outcome::Staged(_)));

    let revoke_again = || {
        let mut repository = world.open();
        let revocation = revoke(&mut repository, &shared, &generated(&Protection::None))?;
        let plan = repository.plan(revocation.draft, Signing::Now)?;
        repository.conclude(&plan, &mut Unobserved)
    };
    assert!(matches!(revoke_again(), Ok(Outcome::Staged(_))));
    // Revoking the key again is refused, because the revocation is pending.
    let again = revoke_again();
    assert!(matches!(&again, Err(Error::Revoke(RevokeError::Pending { .. }))), "{again:?}");

    std::fs::rename(away, path).unwrap();
    let mut repository = world.open();
    let draft = repository.staged().unwrap();
    let plan = repository.plan(draft, Signing::All).unwrap();
    assert!(is_published(&repository.conclude(&plan, &mut Unobserved).unwrap()));
    assert_eq!(repository.published.roles_trusting(&shared).unwrap(), []);
}

#[test]
fn the_proof_reports_a_missing_private_key() {
    let world = World::new();
    let key = world.public("targets-1");
    let (spare, uri) = world.key("targets-2");
    world.change_with(&[uri], &mut Unobserved, |edit| edit.rotate(&RoleName::TARGETS, &[spare], &[]).unwrap()).unwrap();
    std::fs::remove_file(world.layout().keys().join("targets-1.pem")).unwrap();
    let rows = revoke_and_prove(&world, &key);
    assert!(!rows.is_empty());
    assert!(rows.iter().all(|row| matches!(row.cases[1].1, Verdict::NotTried(_))), "{rows:?}");
}

#[test]
fn a_new_key_never_gets_the_name_of_a_key_on_another_machine() {
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
fn a_key_is_never_written_next_to_another_public_key_file() {
    let world = World::new();
    std::fs::remove_file(world.layout().keys().join("root-1.pem")).unwrap();
    let key = PrivateKey::from_seed(Scheme::Ed25519, &[7; 32]).unwrap();
    let refused = key_store::write(&world.layout().keys(), "root-1", &key, &Protection::None);
    assert!(matches!(refused, Err(Error::Path(PathError::KeyExists { .. }))));
    assert!(!world.files("keys").contains(&"root-1.pem".to_string()));
}

#[test]
fn a_dry_run_of_a_revocation_writes_nothing() {
    let world = World::new();
    let files = world.files("metadata");
    let keys = world.files("keys");
    let mut repository = world.open();
    let planned = generated(&Protection::NotWritten);
    let revocation = revoke(&mut repository, &world.public("timestamp-1"), &planned).unwrap();
    let plan = repository.plan(revocation.draft, Signing::Never).unwrap();
    let root = plan.diff.iter().find(|role| role.role == "root").unwrap();
    assert_eq!(root.lines.len(), 4, "both online keys must be replaced: {root:?}");
    assert_eq!((world.files("metadata"), world.files("keys")), (files, keys));
}

#[test]
fn an_untrusted_key_cannot_be_revoked() {
    let world = World::new();
    let (key, _) = world.key("stranger");
    let mut repository = world.open();
    let refused = revoke(&mut repository, &key, &generated(&Protection::None));
    assert!(matches!(refused, Err(Error::NotFound(_))));
}

fn seeded(seed: u8) -> PublicKey {
    let key = PrivateKey::from_seed(Scheme::Ed25519, &[seed; 32]).unwrap();
    lastmile_keys::Signer::public_key(&key).clone()
}

fn keyids(world: &World, file: &str, role: &str) -> Vec<String> {
    let ids = world.metadata(file).pointer(&format!("/signed/roles/{role}/keyids")).unwrap().clone();
    ids.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_string()).collect()
}

#[test]
fn a_revocation_never_generates_keys_of_several_holders_on_one_disk() {
    let world = World::new();
    let key_of_a_colleague = world.public("root-2");
    let before = world.files("keys");
    let (revocation, rows) = revoke_with(&world, &key_of_a_colleague, &from_holders(&[]));
    assert_eq!(world.files("keys"), before, "no root key may be generated on this machine");
    assert!(!is_refuted(&rows), "{rows:?}");
    let root = &world.metadata("2.root.json")["signed"]["roles"]["root"];
    assert_eq!((root["keyids"].as_array().unwrap().len(), root["threshold"].as_u64()), (2, Some(2)));
    let expected = KeyCount { role: RoleName::ROOT, keys: 2, here: 2, threshold: 2, is_fewer: true };
    assert_eq!((revocation.made, revocation.counts), (vec![], vec![expected]));
}

#[test]
fn a_key_holder_sends_the_public_key_that_replaces_the_revoked_one() {
    let world = World::new();
    let before = world.files("keys");
    let new = seeded(9);
    let (revocation, rows) = revoke_with(&world, &world.public("root-2"), &from_holders(&[(None, &new)]));
    assert!(!is_refuted(&rows), "{rows:?}");
    assert_eq!(world.files("keys"), before);
    let ids = keyids(&world, "2.root.json", "root");
    assert!(ids.len() == 3 && ids.contains(&key_store::keyid_of(&new)), "{ids:?}");
    let expected = KeyCount { role: RoleName::ROOT, keys: 3, here: 2, threshold: 2, is_fewer: false };
    assert_eq!(revocation.counts, [expected]);
}

#[test]
fn a_revocation_that_leaves_too_few_keys_is_refused_before_writing() {
    let world = World::new();
    let targets = world.public("targets-1");
    let other = seeded(3);
    let (team, uri) = world.key("team");
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "team", "team/*", &team)).unwrap();
    let state = || (world.files("keys"), world.files("metadata"), std::fs::read(world.layout().config()).unwrap());
    let before = state();
    let refused =
        |key: &PublicKey, replacements: &Replacements| match revoke(&mut world.open(), key, replacements).map(drop) {
            Err(Error::Revoke(error)) => error.to_string(),
            other => panic!("{other:?}"),
        };
    let reason = refused(&team, &from_holders(&[]));
    assert!(reason.contains("team would have 0 keys, but 1 must sign"), "{reason}");
    assert!(reason.contains("--replace-with FILE.pub") && reason.contains("--generate"), "{reason}");
    assert!(refused(&team, &from_holders(&[(None, &team)])).contains("is the revoked key"));
    assert!(refused(&team, &from_holders(&[(Some("root"), &other)])).contains("root loses no key"));
    assert_eq!(state(), before, "a refused revocation must not change any file");
    // The private key of this replacement is not on this machine, so the change is pending until that key has signed.
    let mut repository = world.open();
    let revocation = revoke(&mut repository, &targets, &from_holders(&[(Some("targets"), &other)])).unwrap();
    let plan = repository.plan(revocation.draft, Signing::Now).unwrap();
    assert!(matches!(repository.conclude(&plan, &mut Unobserved).unwrap(), Outcome::Staged(_)));
}

#[test]
fn roles_of_different_holders_get_their_own_replacements() {
    let world = World::new();
    let (shared, uri) = world.key("shared");
    let roles = ["one", "two"];
    world
        .change_with(std::slice::from_ref(&uri), &mut Unobserved, |edit| {
            roles.iter().for_each(|role| delegate(edit, role, &format!("{role}/*"), &shared));
        })
        .unwrap();
    let keys = [world.key("new-one"), world.key("new-two")];
    let given = roles.iter().zip(&keys).map(|(role, (key, uri))| Replacement {
        role: Some((*role).to_string()),
        key: key.clone(),
        uri: Some(uri.clone()),
    });
    let replacements = Replacements { given: given.collect(), ..Replacements::default() };
    let (_, rows) = revoke_with(&world, &shared, &replacements);
    assert!(!is_refuted(&rows), "{rows:?}");
    let mut repository = world.open();
    for (role, (key, _)) in roles.iter().zip(&keys) {
        let trusting = repository.published.roles_trusting(key).unwrap();
        assert_eq!(trusting, [(self::role(role), Some(RoleName::TARGETS))]);
    }
    let listed: Vec<KeyUri> = repository.config.key_uris();
    assert!(keys.iter().all(|(_, uri)| listed.contains(uri)), "{listed:?}");
}

#[test]
fn a_replacement_key_is_never_used_for_both_offline_and_online_roles() {
    let world = World::new();
    let timestamp = world.public("timestamp-1");
    world.change(|edit| edit.rotate(&RoleName::TARGETS, std::slice::from_ref(&timestamp), &[]).unwrap()).unwrap();
    let new = seeded(5);
    let (_, rows) = revoke_with(&world, &timestamp, &from_holders(&[(None, &new)]));
    assert!(!is_refuted(&rows), "{rows:?}");
    let id = key_store::keyid_of(&new);
    assert!(keyids(&world, "3.root.json", "targets").contains(&id));
    assert!(!keyids(&world, "3.root.json", "timestamp").contains(&id));
    assert!(!keyids(&world, "3.root.json", "snapshot").contains(&id));
}

fn role(name: &str) -> RoleName {
    RoleName::delegated(name).unwrap()
}

#[test]
fn a_revoked_key_that_cannot_be_opened_is_not_reported_as_missing() {
    let world = World::new();
    let key = world.public("targets-1");
    let (spare, uri) = world.key("targets-2");
    world.change_with(&[uri], &mut Unobserved, |edit| edit.rotate(&RoleName::TARGETS, &[spare], &[]).unwrap()).unwrap();
    let mut repository = world.open();
    let roles = repository.published.roles_trusting(&key).unwrap();
    let before = Before::remember(&mut repository, &roles).unwrap();
    let path = world.layout().keys().join("targets-1.pem");
    std::fs::write(&path, "not a private key").unwrap();
    drop(repository);
    let rows = prove(&mut world.open(), &key, &before).unwrap();
    let Verdict::NotTried(why) = &rows[0].cases[1].1 else { panic!("{rows:?}") };
    assert!(why.contains("cannot be opened") && why.contains("targets-1.pem"), "{why}");
}
