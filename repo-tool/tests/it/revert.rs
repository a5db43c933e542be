//! Tests of `revert`, which undoes the last publication by publishing the earlier content again.

use lastmile_client::MemoryStore;
use lastmile_metadata::{RoleName, TargetPath};
use lastmile_repo_tool::{
    Draft, Error, NewRepository, NotFound, Outcome, Protection, RemovedKeys, RevertError, Signing, Unobserved,
};

use crate::delegations::{delegate, make_bins};
use crate::world::{World, is_published};

fn revert(world: &World, removed: RemovedKeys) -> Result<Outcome, Error> {
    let mut repository = world.open();
    let mut edit = repository.edit(Draft::default());
    edit.revert(removed)?;
    let draft = edit.finish()?;
    let plan = repository.plan(draft, Signing::Now)?;
    repository.conclude(&plan, &mut Unobserved)
}

fn reverted(world: &World) {
    assert!(is_published(&revert(world, RemovedKeys::Refuse).unwrap()));
}

fn version(world: &World, role: &str) -> u64 {
    world.open().published.version(&RoleName::listed(role).unwrap()).unwrap().get()
}

#[test]
fn the_last_publication_is_undone_in_new_versions() {
    let world = World::new();
    world.add("app", "old");
    world.add("app", "new");
    let store = MemoryStore::default();
    assert_eq!(world.fetch_with(&store, "app").unwrap().unwrap(), b"new");
    reverted(&world);
    // A client that has seen the later versions accepts the restored content.
    assert_eq!(world.fetch_with(&store, "app").unwrap().unwrap(), b"old");
    assert_eq!(version(&world, "targets"), 4);
    // A second revert undoes the first revert.
    reverted(&world);
    assert_eq!(world.fetch_with(&store, "app").unwrap().unwrap(), b"new");
    assert_eq!(version(&world, "targets"), 5);
}

#[test]
fn publications_that_only_sign_again_are_not_undone() {
    let world = World::new();
    world.add("app", "old");
    world.add("app", "new");
    world.change(|edit| edit.sign_again(&RoleName::TARGETS).unwrap()).unwrap();
    world.renew().unwrap();
    reverted(&world);
    assert_eq!(world.fetch("app").unwrap().unwrap(), b"old");
}

#[test]
fn there_is_nothing_to_revert_in_a_new_repository() {
    let world = World::new();
    world.renew().unwrap();
    let refused = revert(&world, RemovedKeys::Refuse);
    assert!(matches!(refused, Err(Error::NotFound(NotFound::EarlierContent))), "{refused:?}");
}

#[test]
fn a_new_delegation_is_undone() {
    let world = World::new();
    world.add("app", "1");
    let (key, uri) = world.key("a-1");
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "a", "a/*", &key)).unwrap();
    reverted(&world);
    assert!(world.open().published.targets().unwrap().delegations.is_none());
    assert_eq!(world.fetch("app").unwrap().unwrap(), b"1");
}

#[test]
fn only_the_role_that_the_last_publication_changed_is_signed_again() {
    let world = World::new();
    let (key, uri) = world.key("a-1");
    let role = RoleName::delegated("a").unwrap();
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "a", "a/*", &key)).unwrap();
    world.add_to(&role, "a/x", "old", &mut Unobserved).unwrap();
    world.add_to(&role, "a/x", "new", &mut Unobserved).unwrap();
    reverted(&world);
    assert_eq!(world.fetch("a/x").unwrap().unwrap(), b"old");
    assert_eq!((version(&world, "a"), version(&world, "targets")), (4, 2));
}

#[test]
fn removed_keys_are_trusted_again_only_if_the_user_says_so() {
    let world = World::new();
    let (key, uri) = world.key("a-1");
    let role = RoleName::delegated("a").unwrap();
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "a", "a/*", &key)).unwrap();
    world.add_to(&role, "a/x", "1", &mut Unobserved).unwrap();
    world.change(|edit| drop(edit.undelegate(None, &role).unwrap())).unwrap();
    let Err(Error::Revert(RevertError::RemovedKeys { keys })) = revert(&world, RemovedKeys::Refuse) else {
        panic!("the revert must be refused, because it would trust the removed key again");
    };
    assert_eq!(keys.len(), 1);
    assert_eq!(world.fetch("a/x").unwrap(), None);
    assert!(is_published(&revert(&world, RemovedKeys::Trust).unwrap()));
    assert_eq!(world.fetch("a/x").unwrap().unwrap(), b"1");
    // Clients have already seen version 2 of the role, so the restored role gets version 3.
    assert_eq!(version(&world, "a"), 3);
}

#[test]
fn content_signed_by_a_key_that_was_replaced_since_is_not_restored() {
    let world = World::new();
    let (old, old_uri) = world.key("a-1");
    let (new, new_uri) = world.key("a-2");
    let role = RoleName::delegated("a").unwrap();
    world.change_with(&[old_uri], &mut Unobserved, |edit| delegate(edit, "a", "a/*", &old)).unwrap();
    world.add_to(&role, "a/x", "1", &mut Unobserved).unwrap();
    world.change_with(&[new_uri], &mut Unobserved, |edit| edit.rotate(&role, &[new], &[old]).unwrap()).unwrap();
    for removed in [RemovedKeys::Refuse, RemovedKeys::Trust] {
        let refused = revert(&world, removed);
        assert!(matches!(refused, Err(Error::Revert(RevertError::Untrusted { .. }))), "{refused:?}");
    }
}

#[test]
fn altered_and_missing_earlier_files_are_not_restored() {
    for file in ["2.snapshot.json", "2.targets.json"] {
        let world = World::new();
        world.add("app", "old");
        world.add("app", "new");
        let path = world.layout().metadata().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("2030", "2031")).unwrap();
        let refused = revert(&world, RemovedKeys::Refuse);
        assert!(matches!(refused, Err(Error::Revert(RevertError::Untrusted { .. }))), "{file}: {refused:?}");
    }
    let world = World::new();
    world.add("app", "old");
    world.add("app", "new");
    std::fs::remove_file(world.layout().metadata().join("2.targets.json")).unwrap();
    let refused = revert(&world, RemovedKeys::Refuse);
    assert!(matches!(refused, Err(Error::Revert(RevertError::Missing { .. }))), "{refused:?}");
    assert_eq!(world.fetch("app").unwrap().unwrap(), b"new");
}

#[test]
fn a_file_of_another_version_under_an_earlier_name_is_not_restored() {
    let world = World::new();
    world.add("app", "old");
    world.add("app", "new");
    let metadata = world.layout().metadata();
    std::fs::copy(metadata.join("1.snapshot.json"), metadata.join("2.snapshot.json")).unwrap();
    let refused = revert(&world, RemovedKeys::Refuse);
    assert!(matches!(refused, Err(Error::Revert(RevertError::Untrusted { .. }))), "{refused:?}");
}

#[test]
fn bins_are_undone_and_restored() {
    let world = World::new();
    for number in 0..5 {
        world.add(&format!("file-{number}"), &number.to_string());
    }
    make_bins(&world);
    reverted(&world);
    assert_eq!(world.open().published.targets().unwrap().len(), 5);
    assert_eq!(world.fetch("file-3").unwrap().unwrap(), b"3");
    assert!(is_published(&revert(&world, RemovedKeys::Trust).unwrap()));
    assert_eq!(world.open().published.targets().unwrap().len(), 0);
    assert_eq!(world.fetch("file-3").unwrap().unwrap(), b"3");
}

#[test]
fn removed_targets_are_restored() {
    let world = World::new();
    world.add("app", "1");
    let path = TargetPath::new("app").unwrap();
    world.change(|edit| drop(edit.remove_target(None, &path).unwrap())).unwrap();
    assert_eq!(world.fetch("app").unwrap(), None);
    reverted(&world);
    assert_eq!(world.fetch("app").unwrap().unwrap(), b"1");
}

#[test]
fn a_repository_without_versions_in_file_names_cannot_be_reverted() {
    let mut new = NewRepository::new(Protection::None);
    (new.consistent_snapshot, new.hash_prefixed_targets) = (false, false);
    let world = World::with(&new);
    world.add("app", "1");
    let refused = revert(&world, RemovedKeys::Refuse);
    assert!(matches!(refused, Err(Error::Revert(RevertError::NotKept))), "{refused:?}");
}
