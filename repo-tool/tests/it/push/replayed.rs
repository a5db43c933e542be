//! Destinations that hide files or go back to an older state.

use std::fs;

use chrono::TimeDelta;
use lastmile_repo_tool::RootDigest;

use super::machine::{Machine, restore, tree};
use super::merge::{push, two};
use crate::world::folder;

#[test]
fn a_destination_that_hides_old_snapshots_cannot_bring_a_removed_target_back() {
    let (one, other, site) = two(|_| ());
    one.add("recalled", "1");
    one.run(&["push"]).done();
    push(&other).done();
    other.run(&["remove", "recalled"]).done();
    push(&other).done();
    one.add("new", "1");
    for name in tree(site.path()).keys().filter(|name| name.ends_with(".snapshot.json")) {
        let is_current = fs::read(site.path().join(name)).unwrap() == newest(&other, "snapshot.json");
        if !is_current && !name.ends_with("/2.snapshot.json") {
            fs::remove_file(site.path().join(name)).unwrap();
        }
    }
    push(&one).done();
    assert!(one.fetch(site.path(), "recalled").is_none());
    assert!(one.fetch(site.path(), "new").is_some());
}

/// Returns the content of the newest metadata file whose name ends with `ending`.
fn newest(machine: &Machine, ending: &str) -> Vec<u8> {
    let files = tree(&machine.dir().join("metadata"));
    let version = |name: &str| name.split('.').next().unwrap().parse::<u64>().ok();
    let (_, bytes) =
        files.iter().filter(|(name, _)| name.ends_with(ending)).max_by_key(|(name, _)| version(name)).unwrap();
    bytes.clone()
}

#[test]
fn a_destination_without_its_timestamp_is_filled_again_only_on_request() {
    let (one, other, site) = two(|_| ());
    one.add("a", "1");
    one.run(&["push"]).done();
    other.add("b", "1");
    fs::remove_file(site.path().join("metadata/timestamp.json")).unwrap();
    let hidden = tree(site.path());
    other.run(&["push"]).failed("failed", "although it served snapshot version 2 before; nothing was uploaded");
    assert!(tree(site.path()) == hidden);
    restore(site.path(), &Default::default());
    one.run(&["push"]).failed("failed", "although it served snapshot version 3 before");
    one.push(site.path()).done();
    assert!(one.fetch(site.path(), "a").is_some());
}

#[test]
fn an_interrupted_merge_must_be_finished_before_the_destination_changes() {
    let (one, other, site) = two(|_| ());
    one.add("a", "1");
    one.run(&["push"]).done();
    other.add("b", "1");
    let package = tree(&other.dir()).into_keys().find(|name| name.ends_with(".b")).unwrap();
    let package = other.dir().join(package);
    let content = fs::read(&package).unwrap();
    fs::remove_file(&package).unwrap();
    push(&other).failed("untrusted", "their files are missing");
    fs::write(&package, content).unwrap();
    let other_site = folder();
    other.push(other_site.path()).failed("failed", "was interrupted before it had published");
    push(&other).done();
    assert!(other.fetch(site.path(), "b").is_some());
}

#[test]
fn a_new_folder_is_not_filled_with_an_expired_or_older_state() {
    let (one, _, site) = two(|_| ());
    let before = fs::read(site.path().join("metadata/timestamp.json")).unwrap();
    one.add("a", "1");
    one.run(&["push"]).done();
    let digest = RootDigest::of(&one.root()).to_string();
    let pull = ["pull", "--from", site.path().to_str().unwrap(), "--root-sha256", &digest];
    let new = Machine::empty();
    new.run(&pull).done();
    // The user's configuration remembers the snapshot, although the folder is gone.
    fs::remove_dir_all(new.dir()).unwrap();
    fs::write(site.path().join("metadata/timestamp.json"), before).unwrap();
    new.run(&pull).failed("failed", "has snapshot version 2, but served version 3 before; nothing was downloaded");
    let mut other = Machine::empty();
    other.now += TimeDelta::days(60);
    other.run(&pull).failed("failed", "timestamp expired at");
    assert!(!other.dir().exists());
    other.run(&[&pull[..], &["--accept-expired"]].concat()).done();
}
