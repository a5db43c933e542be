//! Tests of pending changes. A change is pending while keys that must sign it are not on this machine.

use std::path::PathBuf;

use lastmile_metadata::{RoleName, TargetPath};
use lastmile_repo_tool::internal::status::{Status, pending};
use lastmile_repo_tool::{AddOptions, Draft, Error, Outcome, PendingError, Signing, Source, Unobserved};

use crate::delegations::delegate;
use crate::world::{World, is_published};

/// Moves private keys out of the key folder. [`give_back`] undoes this.
fn take_away(world: &World, names: &[&str]) -> Vec<(PathBuf, PathBuf)> {
    let moved = |name: &&str| {
        let file = format!("{name}.pem");
        let key = world.layout().keys().join(&file);
        let away = world.folder.path().join(&file);
        std::fs::rename(&key, &away).unwrap();
        (away, key)
    };
    names.iter().map(moved).collect()
}

fn give_back(taken: Vec<(PathBuf, PathBuf)>) {
    for (away, key) in taken {
        std::fs::rename(away, key).unwrap();
    }
}

#[test]
fn a_change_is_pending_until_it_has_all_signatures() {
    let world = World::new();
    let taken = take_away(&world, &["targets-1"]);
    let outcome = world.add("a", "1");
    assert!(matches!(outcome, Outcome::Staged(ref documents) if documents[0].role == RoleName::TARGETS), "{outcome:?}");
    assert_eq!(world.metadata("timestamp.json")["signed"]["version"], 1);
    assert!(world.files("targets").is_empty(), "the file of a pending target must not be published yet");
    let mut repository = world.open();
    let status = Status::of(&mut repository).unwrap();
    assert!(status.needs_attention());
    assert_eq!(status.pending[0].missing[0].count, 1);
    drop(repository);

    // While the change is pending, more targets can be added to the change, and online roles are still renewed.
    assert!(matches!(world.add("b", "2"), Outcome::Staged(_)));
    assert!(is_published(&world.renew().unwrap()));

    give_back(taken);
    world.publish_pending();
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1");
    assert_eq!(world.fetch("b").unwrap().unwrap(), b"2");
    assert!(!world.layout().staged().exists());
}

#[test]
fn f_4_2_1_4_a_key_signs_once() {
    let world = World::new();
    let taken = take_away(&world, &["root-1", "root-2"]);
    let (key, uri) = world.key("targets-2");
    let rotate = |edit: &mut lastmile_repo_tool::Edit<'_>| {
        edit.rotate(&RoleName::TARGETS, std::slice::from_ref(&key), &[]).unwrap();
    };
    assert!(matches!(world.change_with(&[uri], &mut Unobserved, rotate).unwrap(), Outcome::Staged(_)));
    let mut repository = world.open();
    // The only root key on this machine has already signed, so signing again adds no signature.
    let draft = repository.staged().unwrap();
    assert_eq!(repository.sign_staged(&draft, &repository.keys, &[].into()).unwrap(), []);
    for _ in 0..2 {
        let draft = repository.staged().unwrap();
        let plan = repository.plan(draft, Signing::All).unwrap();
        assert_eq!(plan.completed.root.as_ref().unwrap().signatures().len(), 1);
        assert!(matches!(repository.conclude(&plan, &mut Unobserved).unwrap(), Outcome::Staged(_)));
    }
    assert_eq!(
        pending(&mut repository).unwrap().iter().find(|document| document.role == RoleName::ROOT).unwrap().missing[0]
            .count,
        1
    );
    drop(repository);
    give_back(taken);
    world.publish_pending();
    let signatures = world.metadata("2.root.json")["signatures"].as_array().unwrap().clone();
    let mut ids: Vec<&str> = signatures.iter().map(|signature| signature["keyid"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!((ids.len(), count), (2, 2));
}

#[test]
fn without_the_online_keys_a_release_is_pending() {
    let world = World::new();
    let taken = take_away(&world, &["snapshot-1", "timestamp-1"]);
    assert!(matches!(world.add("a", "1"), Outcome::Staged(_)));
    assert!(matches!(world.renew(), Err(Error::MissingKeys { .. })), "a renewal must fail instead of becoming pending");
    give_back(taken);
    let _offline = take_away(&world, &["targets-1"]);
    let mut repository = world.open();
    assert!(pending(&mut repository).unwrap()[0].missing.is_empty());
    drop(repository);
    world.publish_pending();
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1");
}

#[test]
fn r_6_1_2_online_keys_are_replaced_without_root_keys_on_this_machine() {
    let world = World::new();
    let taken = take_away(&world, &["root-1", "root-2", "root-3"]);
    let (key, uri) = world.key("timestamp-2");
    let old = world.public("timestamp-1");
    let rotate = |edit: &mut lastmile_repo_tool::Edit<'_>| {
        edit.rotate(&RoleName::TIMESTAMP, std::slice::from_ref(&key), std::slice::from_ref(&old)).unwrap();
    };
    assert!(matches!(world.change_with(&[uri], &mut Unobserved, rotate).unwrap(), Outcome::Staged(_)));
    give_back(taken);
    // Only the root is pending. The new timestamp is signed when the root is published.
    world.publish_pending();
    assert_eq!(world.metadata("timestamp.json")["signed"]["version"], 2);
    assert_eq!(world.fetch("a").unwrap(), None);
}

#[test]
fn a_pending_change_is_not_overwritten() {
    let world = World::new();
    let taken = take_away(&world, &["targets-1"]);
    world.add("a", "1");
    // Like `renew targets`, this change starts from the published metadata and not from the pending change.
    let renew_targets = || {
        let mut repository = world.open();
        let mut edit = repository.edit(lastmile_repo_tool::Draft::default());
        edit.sign_again(&RoleName::TARGETS).unwrap();
        let draft = edit.finish().unwrap();
        let plan = repository.plan(draft, Signing::Now)?;
        repository.conclude(&plan, &mut Unobserved)
    };
    assert!(
        matches!(renew_targets(), Err(Error::Pending(PendingError::InTheWay))),
        "without the key, the renewal must be refused, because it would overwrite the pending change"
    );
    give_back(taken);
    assert!(
        matches!(renew_targets(), Err(Error::Pending(PendingError::InTheWay))),
        "with the key, the renewal must be refused, because the pending change would become outdated"
    );
    let mut repository = world.open();
    let draft = repository.staged().unwrap();
    assert_eq!(draft.touched().len(), 1);
    let plan = repository.plan(draft, Signing::All).unwrap();
    assert!(is_published(&repository.conclude(&plan, &mut Unobserved).unwrap()));
    drop(repository);
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1");
}

#[test]
fn an_extended_pending_change_is_published() {
    let world = World::new();
    let taken = take_away(&world, &["targets-1"]);
    world.add("a", "1");
    give_back(taken);
    assert!(
        matches!(world.add("b", "2"), Outcome::Staged(_)),
        "adding a target must not sign the pending change, which nobody has reviewed"
    );
    world.publish_pending();
    assert!(!world.layout().staged().exists());
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1");
    assert!(is_published(&world.add("c", "3")));
}

#[test]
fn a_pending_file_is_published_only_if_it_matches_its_entry() {
    let world = World::new();
    let taken = take_away(&world, &["targets-1"]);
    world.add("a", "1");
    world.add("secret", "2");
    world.change(|edit| drop(edit.remove_target(None, &TargetPath::new("secret").unwrap()).unwrap())).unwrap();
    let waiting = world.files("staged/targets");
    let of_a = world.layout().staged().join("targets").join(waiting.iter().find(|name| name.ends_with(".a")).unwrap());
    std::fs::write(&of_a, "!").unwrap();
    give_back(taken);
    let publish = || {
        let mut repository = world.open();
        let draft = repository.staged()?;
        let plan = repository.plan(draft, Signing::All)?;
        repository.conclude(&plan, &mut Unobserved)
    };
    assert!(
        matches!(publish(), Err(Error::Pending(PendingError::WrongFile { .. }))),
        "publishing must fail, because the content of the pending file does not match its target entry"
    );
    std::fs::write(&of_a, "1").unwrap();
    assert!(is_published(&publish().unwrap()));
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1");
    assert_eq!(
        world.files("targets").len(),
        1,
        "a target that was removed from the pending change must not be published"
    );
}

#[test]
fn an_outdated_pending_change_is_refused() {
    let world = World::new();
    let taken = take_away(&world, &["targets-1"]);
    world.add("a", "1");
    let staged = std::fs::read(world.layout().staged().join("targets.json")).unwrap();
    give_back(taken);
    std::fs::remove_dir_all(world.layout().staged()).unwrap();
    world.add("b", "1");
    std::fs::create_dir(world.layout().staged()).unwrap();
    std::fs::write(world.layout().staged().join("targets.json"), staged).unwrap();
    assert!(matches!(world.open().staged(), Err(Error::Pending(PendingError::Outdated { .. }))));
}

#[test]
fn r_x_1_a_tampered_pending_change_lacks_signatures() {
    let world = World::new();
    let taken = take_away(&world, &["root-1", "root-2", "root-3"]);
    world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    let path = world.layout().staged().join("root.json");
    give_back(taken);
    let mut repository = world.open();
    let draft = repository.staged().unwrap();
    let plan = repository.plan(draft, Signing::All).unwrap();
    let mut signed = plan.completed.root.as_ref().unwrap().file().unwrap().to_vec();
    drop(repository);
    // Change one digit of the expiry date, so that the signatures no longer match the text.
    let at = signed.windows(10).position(|window| window.starts_with(b"\"expires\":")).unwrap() + 14;
    signed[at] = if signed[at] == b'1' { b'2' } else { b'1' };
    std::fs::write(&path, &signed).unwrap();
    let taken = take_away(&world, &["root-1", "root-2", "root-3"]);
    let mut repository = world.open();
    let draft = repository.staged().unwrap();
    let plan = repository.plan(draft, Signing::All).unwrap();
    assert!(matches!(repository.conclude(&plan, &mut Unobserved).unwrap(), Outcome::Staged(_)));
    drop(taken);
    assert!(!world.files("metadata").contains(&"2.root.json".to_string()));
}

#[test]
fn a_target_whose_removal_is_pending_is_not_added_to_another_role_meanwhile() {
    let world = World::new();
    world.add("a", "1");
    let (key, uri) = world.key("team-1");
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "team", "*", &key)).unwrap();
    let _taken = take_away(&world, &["targets-1"]);
    let path = TargetPath::new("a").unwrap();
    let removed = world.change(|edit| drop(edit.remove_target(None, &path).unwrap())).unwrap();
    assert!(matches!(removed, Outcome::Staged(_)), "{removed:?}");
    let file = world.folder.path().join("file");
    std::fs::write(&file, "2").unwrap();
    let mut repository = world.open();
    for (name, is_independent) in [("b", true), ("a", false)] {
        let sources = [Source::new(file.clone(), TargetPath::new(name).unwrap())];
        let role = RoleName::delegated("team").unwrap();
        let options = AddOptions::default();
        let draft = repository.add_files(Draft::default(), &role, &sources, &options, &|_| {}).unwrap();
        let planned = repository.plan(draft, Signing::Now);
        repository.forget_incoming().unwrap();
        assert_eq!(!matches!(planned, Err(Error::Pending(PendingError::InTheWay))), is_independent, "{name}");
    }
}
