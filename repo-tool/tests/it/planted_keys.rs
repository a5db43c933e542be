//! Planted `.pub` files, which the tool must not trust, and role names that look like paths.

use std::fs;

use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use lastmile_metadata::RoleName;
use lastmile_repo_tool::internal::key_store::{self, public_key_text};
use lastmile_repo_tool::internal::links::Links;
use lastmile_repo_tool::internal::revoke::revoke;
use lastmile_repo_tool::{
    Error, InvalidInput, KeyReason, NewDelegation, PathError, Protection, Signing, Trust, Unobserved, patterns,
};

use crate::revocation::generated;
use crate::world::{World, is_published};

/// Replaces the public key file of the key `name` with a stranger's key.
fn plant(world: &World, name: &str) -> lastmile_keys::PublicKey {
    let stranger = PrivateKey::generate(Scheme::Ed25519).unwrap().public_key().clone();
    fs::write(world.layout().keys().join(format!("{name}.pub")), public_key_text(&stranger)).unwrap();
    stranger
}

#[test]
fn a_different_public_key_file_is_an_error_when_the_key_is_used() {
    let world = World::new();
    let (key, uri) = world.key("new");
    let stranger = plant(&world, "new");
    let mut repository = world.open();
    let opened = repository.keys.open(&world.dir(), &uri);
    let Err(Error::Key { reason, .. }) = opened else { panic!("{opened:?}") };
    let reason = reason.to_string();
    assert!(reason.contains("new.pub") && reason.contains("remove it"), "{reason}");
    // The public key of an unencrypted key file is read from the file itself, without the `.pub` file.
    assert!(repository.keys.has(&key) && !repository.keys.has(&stranger));
    assert!(repository.keys.signer(&key).is_err());
    drop(repository);
    fs::remove_file(world.layout().keys().join("new.pub")).unwrap();
    assert_eq!(world.open().keys.open(&world.dir(), &uri).unwrap(), key);
}

#[test]
fn a_planted_public_key_file_stops_the_change() {
    let world = World::new();
    plant(&world, "timestamp-1");
    let added = world.try_add("a", "1", &mut Unobserved).err();
    assert!(
        matches!(&added, Some(Error::Key { reason: KeyReason::OtherPublicKey { path, .. }, .. }) if path.ends_with("timestamp-1.pub")),
        "{added:?}"
    );
}

#[test]
fn a_key_is_removed_from_the_config_only_after_it_was_opened() {
    let world = World::new();
    let revoked = world.public("timestamp-1");
    // The planted `.pub` file claims that the key `snapshot-1` is the key to be revoked.
    let other = world.layout().keys().join("snapshot-1.pub");
    fs::write(&other, public_key_text(&revoked)).unwrap();
    let mut repository = world.open();
    assert_eq!(repository.keys.confirmed_uris_of(&revoked), ["file:keys/timestamp-1.pem"]);
    drop(repository);
    fs::remove_file(other).unwrap();
    repository = world.open();
    let revocation = revoke(&mut repository, &revoked, &generated(&Protection::None)).unwrap();
    let text = revocation.draft.config().unwrap().text();
    assert!(!text.contains("timestamp-1.pem"), "{text}");
}

#[test]
fn key_files_stay_in_the_key_folder_for_every_role_name() {
    for name in ["../metadata/x", "a/b", "..", "/tmp/x", ".hidden", "a\\b"] {
        let world = World::new();
        let (key, uri) = world.key("team");
        let role = RoleName::delegated(name).unwrap();
        world
            .change_with(std::slice::from_ref(&uri), &mut Unobserved, |edit| {
                let trust = Trust { keys: vec![key.clone()], threshold: 1 };
                let paths = patterns(&["x".to_string()]).unwrap();
                let new = NewDelegation { name: role.clone(), paths, trust, terminating: false };
                edit.delegate(&RoleName::TARGETS, new).unwrap();
            })
            .unwrap();
        let before = [world.files("metadata"), world.files("targets")];
        let mut repository = world.open();
        let revocation = revoke(&mut repository, &key, &generated(&Protection::None)).unwrap();
        let (_, uri) = revocation.made.first().unwrap();
        let path = uri.path(&world.dir());
        assert_eq!(path.parent(), Some(world.layout().keys().as_path()), "{name}: {uri}");
        assert!(path.is_file() && [world.files("metadata"), world.files("targets")] == before, "{name}");
        let plan = repository.plan(revocation.draft, Signing::Now).unwrap();
        assert!(is_published(&repository.conclude(&plan, &mut Unobserved).unwrap()), "{name}");
    }
}

#[test]
fn a_private_key_is_written_under_a_plain_name_only() {
    let world = World::new();
    let key = PrivateKey::generate(Scheme::Ed25519).unwrap();
    for name in ["../metadata/x", "/tmp/x", ".x", "-x", "", "a/b", "a\0b", "a\nb"] {
        let written = key_store::write(&world.layout().keys(), name, &key, &Protection::None);
        assert!(matches!(written, Err(Error::InvalidInput(InvalidInput::KeyFileName { .. }))), "{name:?}");
    }
    let elsewhere = world.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(world.layout().keys(), world.folder.path().join("keys")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, world.layout().keys()).unwrap();
    assert!(key_store::write(&world.layout().keys(), "new", &key, &Protection::None).is_err());
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn a_huge_key_file_is_not_read() {
    let world = World::new();
    for end in ["pem", "pub"] {
        let path = world.layout().keys().join(format!("huge.{end}"));
        fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(
            matches!(key_store::read_public_key(&path, Links::Refuse), Err(Error::Path(PathError::TooLong { .. }))),
            "{end}"
        );
    }
}
