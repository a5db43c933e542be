//! Tests that repositories created by version 0.1 of the tool still work. The fixtures are published repositories, a
//! repository with a pending change, and a repository with an interrupted publication.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lastmile_client::MemoryStore;
use lastmile_metadata::RoleName;
use lastmile_repo_tool::{GivenRoot, Invocation, KeyUri, Repository, Unobserved};

use crate::snapshot::listed;
use crate::world::{World, folder};

/// Copies a fixture and pins the root of its repository.
fn open(name: &str) -> World {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/version-0.1").join(name);
    let world = World { folder: folder(), now: "2030-01-02T12:00:00Z".parse().unwrap() };
    for entry in walkdir::WalkDir::new(&from) {
        let entry = entry.unwrap();
        let to = world.dir().join(entry.path().strip_prefix(&from).unwrap());
        let mode = if entry.file_type().is_dir() {
            fs::create_dir_all(&to).unwrap();
            0o700
        } else {
            fs::copy(entry.path(), &to).unwrap();
            if entry.path().extension().is_some_and(|end| end == "pem") { 0o600 } else { 0o644 }
        };
        fs::set_permissions(&to, fs::Permissions::from_mode(mode)).unwrap();
    }
    let root = GivenRoot::read(&world.layout().metadata().join("1.root.json")).unwrap();
    let invocation = Invocation { given_root: Some(root), ..world.invocation() };
    Repository::open_for_change(&world.dir(), &invocation).unwrap().move_pin().unwrap();
    world
}

#[test]
fn a_published_repository_is_changed_and_its_entries_completed() {
    for (name, target) in [("flat", "x"), ("delegated", "team/x"), ("bins", "x")] {
        let world = open(name);
        let store = MemoryStore::default();
        assert_eq!(world.fetch_with(&store, target).unwrap().unwrap(), target.as_bytes(), "{name}");
        assert!(listed(&world).iter().all(|(_, is_whole)| !is_whole), "{name}");
        world.add("new", "2");
        assert!(listed(&world).iter().all(|(_, is_whole)| *is_whole), "{name}");
        assert_eq!(world.fetch_with(&store, "new").unwrap().unwrap(), b"2", "{name}");
        assert_eq!(world.fetch(target).unwrap().unwrap(), target.as_bytes(), "{name}");
    }
}

#[test]
fn a_pending_change_is_signed_and_published() {
    let world = open("pending");
    assert_eq!(world.fetch("waiting").unwrap(), None);
    let mut repository = world.open();
    repository.keys.add(&world.dir(), &KeyUri::File("keys/away.pem".into()));
    let draft = repository.staged().unwrap();
    let keys = repository.keys.clone();
    let signed = repository.sign_staged(&draft, &keys, &[].into()).unwrap();
    assert_eq!(signed.len(), 1);
    drop(repository);
    world.publish_pending();
    assert_eq!(world.fetch("waiting").unwrap().unwrap(), b"waiting");
}

#[test]
fn an_interrupted_publication_is_finished() {
    let world = open("interrupted");
    assert_eq!(world.fetch("cut-short").unwrap().unwrap(), b"cut-short");
    world.add_to(&RoleName::TARGETS, "new", "2", &mut Unobserved).unwrap();
    assert_eq!(world.fetch("new").unwrap().unwrap(), b"2");
    assert!(world.files(".publishing").is_empty());
}
