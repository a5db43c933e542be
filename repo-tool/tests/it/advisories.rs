//! Tests of requirements that follow from published security advisories. Other modules test further such requirements.

use lastmile_metadata::RoleName;
use lastmile_repo_tool::internal::diff;
use lastmile_repo_tool::{
    EditError, Error, NewDelegation, NewRepository, PinError, Protection, PublicationError, Signing, Trust, Unobserved,
    patterns,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::world::World;

fn content(world: &World, name: &str) -> String {
    String::from_utf8(world.fetch(name).unwrap().unwrap()).unwrap()
}

#[test]
fn names_that_differ_in_case_or_unicode_form_are_different_targets() {
    let world = World::new();
    // The same text, once with a precomposed letter and once with a combining mark.
    let names = ["Read.me", "read.me", "caf\u{e9}", "cafe\u{301}"];
    names.iter().for_each(|name| drop(world.add(name, name)));
    names.iter().for_each(|name| assert_eq!(content(&world, name), *name));
    let mut delegated = Vec::new();
    for name in ["team", "Team"] {
        let mut repository = world.open();
        let trust = Trust { keys: vec![world.public("targets-1")], threshold: 1 };
        let name = RoleName::delegated(name).unwrap();
        let paths = patterns(&["x/*".to_string()]).unwrap();
        let draft = repository.staged().unwrap();
        let mut edit = repository.edit(draft);
        let new = NewDelegation { name, paths, trust, terminating: false };
        delegated.push(edit.delegate(&RoleName::TARGETS, new));
        let draft = edit.finish().unwrap();
        let plan = repository.plan(draft, Signing::Now).unwrap();
        repository.conclude(&plan, &mut Unobserved).unwrap();
    }
    assert!(delegated.first().unwrap().is_ok());
    let refused = delegated.last().unwrap();
    assert!(matches!(refused, Err(Error::Edit(EditError::SameFileName { .. }))), "{refused:?}");
}

#[test]
fn a_name_with_the_hash_prefix_of_another_file_does_not_replace_it() {
    let like = format!("{}.a", hex::encode(Sha256::digest("1")));
    for prefixed in [true, false] {
        let mut new = NewRepository::new(Protection::None);
        (new.consistent_snapshot, new.hash_prefixed_targets) = (prefixed, prefixed);
        let world = World::with(&new);
        world.add("a", "1");
        world.add(&like, "2");
        world.add("b", "3");
        assert_eq!([content(&world, "a"), content(&world, &like)], ["1", "2"], "{prefixed}");
    }
}

#[test]
fn nothing_is_signed_over_metadata_that_does_not_verify() {
    for file in ["1.root.json", "2.targets.json", "2.snapshot.json", "timestamp.json"] {
        let world = World::new();
        world.add("a", "1");
        let path = world.layout().metadata().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let altered = text.replace("\"expires\":\"20", "\"expires\":\"21");
        assert_ne!(altered, text);
        std::fs::write(&path, &altered).unwrap();
        let before = (world.files("metadata"), world.files("targets"));
        let ended = world.try_add("b", "2", &mut Unobserved);
        let refused = match &ended {
            Err(Error::Untrusted(_) | Error::Pin(PinError::OtherRepository { .. })) => true,
            Err(Error::Publication(error)) => matches!(error, PublicationError::Damaged { .. }),
            _ => false,
        };
        assert!(refused, "{file}: {ended:?}");
        assert_eq!((world.files("metadata"), world.files("targets")), before, "{file}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), altered, "{file}");
    }
}

#[test]
fn a_planted_pending_change_is_shown_completely_and_without_control_characters() {
    let world = World::new();
    world.without_key("targets-1", || drop(world.add("good", "1")));
    let path = world.layout().staged().join("targets.json");
    let mut staged: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let signed = staged.get_mut("signed").unwrap().as_object_mut().unwrap();
    signed.insert("hidden-field".into(), json!("\u{1b}[2J\u{1b}]0;owned\u{7}"));
    let target = json!({ "length": 1, "hashes": { "sha256": "0".repeat(64) }, "custom": { "x": "\u{202e}gpj.exe" } });
    let name = "evil\u{202e}txt.sh\u{1b}[1A";
    signed.get_mut("targets").unwrap().as_object_mut().unwrap().insert(name.into(), target);
    std::fs::write(&path, staged.to_string()).unwrap();
    let mut repository = world.open();
    let draft = repository.staged().unwrap();
    let plan = repository.plan(draft, Signing::Never).unwrap();
    let shown = diff::full_text(&plan.diff);
    assert!(shown.contains("hidden-field") && shown.contains("evil"), "{shown}");
    let is_harmful = |character: char| (character.is_control() && character != '\n') || character == '\u{202e}';
    assert!(!shown.contains(is_harmful), "{shown:?}");
}
