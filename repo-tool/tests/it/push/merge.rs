//! Two machines that push to one destination with `push --catch-up`.

use std::fs;
use std::path::Path;

use lastmile_cli_support::ExitStatus;
use lastmile_fs::faults::{Fault, arm};
use serde_json::json;

use super::machine::{Machine, Ran, restore, tree};
use crate::world::folder;

/// Creates two machines with the same repository, which has the target `old`, and the folder to which both push.
pub(super) fn two(setup: impl FnOnce(&Machine)) -> (Machine, Machine, tempfile::TempDir) {
    let machine = Machine::new(&[]);
    setup(&machine);
    machine.add("old", "1");
    let site = folder();
    machine.push(site.path()).done();
    let other = machine.copy();
    (machine, other, site)
}

pub(super) fn push(machine: &Machine) -> Ran {
    machine.run(&["push", "--catch-up"])
}

pub(super) fn all_are_served(machine: &Machine, site: &Path, targets: &[(&str, &str)]) {
    for (name, content) in targets {
        let found = machine.fetch(site, name);
        assert_eq!(found.as_deref(), Some(content.as_bytes()), "{name}");
    }
}

#[test]
fn the_slower_of_two_machines_goes_on_by_itself_and_nothing_is_lost() {
    let (one, other, site) = two(|_| ());
    one.add("a", "of one");
    other.add("b", "of the other");
    other.add("c", "of the other, too");
    push(&one).done();
    let ran = push(&other).done();
    assert!(ran.stderr.contains("published the changes of b, c on top of it"), "{ran:?}");
    assert_eq!(ran.json["outcome"], "pushed");
    let expected = [("old", "1"), ("a", "of one"), ("b", "of the other"), ("c", "of the other, too")];
    all_are_served(&one, site.path(), &expected);
    // The first machine is now behind, and has nothing new.
    one.run(&["push"]).failed("behind", "push --catch-up");
    assert_eq!(push(&one).done().json["outcome"], "nothing");
    one.add("d", "of one");
    push(&one).done();
    all_are_served(&one, site.path(), &[("d", "of one"), ("c", "of the other, too")]);
    for machine in [&one, &other] {
        machine.run(&["verify"]).done();
    }
}

#[test]
fn replaced_and_removed_targets_and_custom_data_are_published_again() {
    let (one, other, site) = two(|machine| {
        machine.run(&["bins", "--bit-length", "3"]).done();
        ["x", "y", "z"].iter().for_each(|name| machine.add(name, "1"));
    });
    one.add("z", "changed by one");
    push(&one).done();
    other.add("x", "changed by the other");
    other.run(&["remove", "y"]).done();
    let file = other.folder.path().join("w");
    fs::write(&file, "with custom data").unwrap();
    other.run(&["add", file.to_str().unwrap(), "--custom", "channel=beta"]).done();
    push(&other).done();
    let expected = [("x", "changed by the other"), ("z", "changed by one"), ("w", "with custom data")];
    all_are_served(&one, site.path(), &expected);
    assert!(one.fetch(site.path(), "y").is_none());
    // The push must upload only the metadata that was published after the merge. If it also uploaded metadata from
    // before the merge, the custom data would be in two files.
    let is_there = |(name, bytes): (&String, &Vec<u8>)| {
        name.starts_with("metadata/") && String::from_utf8_lossy(bytes).contains(r#""beta""#)
    };
    assert_eq!(tree(site.path()).iter().filter(|file| is_there(*file)).count(), 1);
}

#[test]
fn a_target_that_both_machines_changed_is_a_conflict() {
    let (one, other, site) = two(|_| ());
    one.add("same", "of one");
    push(&one).done();
    other.add("same", "of the other");
    other.add("b", "2");
    let before = (tree(&other.dir()), tree(site.path()));
    push(&other).failed("conflict", "same: changed both in this folder and at the destination");
    assert_eq!((tree(&other.dir()), tree(site.path())), before);
    let ran = other.run(&["pull", "--adopt"]).done();
    assert_eq!(ran.json["dropped"], json!(["b", "same"]));
    other.add("b", "2");
    push(&other).done();
    all_are_served(&one, site.path(), &[("same", "of one"), ("b", "2")]);
    // It is not a conflict if both machines make the same change.
    one.run(&["pull", "--adopt"]).done();
    one.add("equal", "=");
    other.add("equal", "=");
    push(&one).done();
    assert_eq!(push(&other).done().json["outcome"], "nothing");
}

#[test]
fn changed_keys_and_delegations_are_conflicts() {
    let (one, other, site) = two(|_| ());
    one.add("a", "1");
    push(&one).done();
    let delegated = other.copy();
    delegated.run(&["key", "generate", "team", "--unencrypted"]).done();
    delegated.run(&["delegate", "team", "--paths", "team/*", "--key", "team"]).done();
    push(&delegated).failed("conflict", "targets: this folder changed parts of this role other than its targets");
    let rotated = other.copy();
    rotated.run(&["key", "generate", "root-new", "--unencrypted"]).done();
    rotated.run(&["rotate", "root", "--add", "file:keys/root-new.pem"]).done();
    push(&rotated).failed("conflict", "this folder has a new root");
    // A new root that another machine has pushed is adopted.
    one.run(&["key", "generate", "root-new", "--unencrypted"]).done();
    one.run(&["rotate", "root", "--add", "file:keys/root-new.pem"]).done();
    push(&one).done();
    other.add("b", "2");
    push(&other).done();
    all_are_served(&one, site.path(), &[("a", "1"), ("b", "2")]);
}

/// Removes the records of earlier pushes and pulls from the user's configuration.
fn forget_pushes(machine: &Machine) {
    let config = machine.folder.path().join("home/.config/lastmile-repo/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let text: String =
        text.lines().filter(|line| !line.starts_with("served")).map(|line| format!("{line}\n")).collect();
    fs::write(&config, text).unwrap();
}

#[test]
fn a_machine_without_records_finds_its_changes_in_the_snapshots() {
    let (one, other, site) = two(|_| ());
    one.add("a", "1");
    push(&one).done();
    forget_pushes(&other);
    other.add("b", "2");
    push(&other).done();
    all_are_served(&other, site.path(), &[("old", "1"), ("a", "1"), ("b", "2")]);
}

#[test]
fn without_records_and_without_versions_in_file_names_the_changes_are_unknown() {
    let one = Machine::new(&["--no-consistent-snapshot"]);
    let site = folder();
    one.push(site.path()).done();
    let other = one.copy();
    one.add("a", "1");
    push(&one).done();
    forget_pushes(&other);
    other.add("b", "2");
    push(&other).failed("failed", "cannot determine which changes were made only in this folder");
    assert!(one.fetch(site.path(), "b").is_none());
}

#[test]
fn a_push_that_the_destination_has_undone_is_published_again() {
    let (one, other, site) = two(|_| ());
    let before = tree(site.path());
    other.add("b", "2");
    other.run(&["push"]).done();
    // Undo the push at the destination. This happens, for example, if the destination is a Git checkout and the server
    // refuses its commit.
    restore(site.path(), &before);
    one.add("a", "1");
    push(&one).done();
    push(&other).done();
    all_are_served(&other, site.path(), &[("old", "1"), ("a", "1"), ("b", "2")]);
}

#[test]
fn an_interrupted_merge_loses_nothing_and_is_finished_by_the_next_push() {
    let (one, other, site) = two(|_| ());
    one.add("a", "of one");
    push(&one).done();
    other.add("b", "of the other");
    let served = tree(site.path());
    let clean = other.copy();
    let watched = arm(clean.folder.path(), usize::MAX, Fault::Die);
    push(&clean).done();
    let calls = watched.calls().len();
    drop(watched);
    let mut unfinished = 0;
    // Each run publishes twice and takes long, so interrupt the push only at every third call.
    for number in (0..calls).step_by(3) {
        restore(site.path(), &served);
        let machine = other.copy();
        let armed = arm(machine.folder.path(), number, Fault::Die);
        let ran = push(&machine);
        drop(armed);
        if ran.status != ExitStatus::Done {
            let plain = machine.run(&["push"]);
            unfinished += usize::from(plain.stderr.contains("was interrupted before it had published"));
        }
        let again = push(&machine);
        assert_eq!(again.status, ExitStatus::Done, "call {number}: {again:?}");
        all_are_served(&machine, site.path(), &[("old", "1"), ("a", "of one"), ("b", "of the other")]);
    }
    assert!(unfinished > 0, "no run was interrupted between the adoption and the publication");
}

#[test]
fn a_machine_that_publishes_cannot_catch_up_without_knowing_the_destination() {
    let (machine, _, site) = two(|_| ());
    let config = machine.folder.path().join("home/.config/lastmile-repo/config.toml");
    let one_destination = fs::read_to_string(&config).unwrap();
    let file = site.path().join("file");
    fs::write(&file, "new").unwrap();
    let file = file.to_str().unwrap();
    let add = ["add", file, "--name", "new", "--catch-up"];
    // Two destinations are stored, but none is the default.
    let named = one_destination.replace(".destinations.default]", ".destinations.one]");
    fs::write(&config, named).unwrap();
    machine.run(&["push", "two", "--to", site.path().join("two").to_str().unwrap()]).done();
    for command in [&add[..], &["add", file, "--name", "new", "--push"], &["push"], &["pull"]] {
        machine.run(command).failed("usage", "several destinations are stored (one, two)");
    }
    // Only the metadata URL is stored, so the tool does not know which changes were uploaded.
    let mut settings: toml_edit::DocumentMut = one_destination.parse().unwrap();
    for (_, repository) in settings["repositories"].as_table_mut().unwrap().iter_mut() {
        let repository = repository.as_table_mut().unwrap();
        repository.remove("destinations");
        repository.insert("metadata-url", toml_edit::value("http://127.0.0.1:1/metadata/"));
    }
    fs::write(&config, settings.to_string()).unwrap();
    machine.run(&add).failed("usage", "--catch-up needs a destination: run `lastmile-repo push --to DESTINATION` once");
}

/// Returns a copy of `machine` whose `push --catch-up` was interrupted. The copy has adopted the state of the
/// destination, but has not yet published its own changes again.
fn interrupted(machine: &Machine) -> Machine {
    for number in 0.. {
        let copy = machine.copy();
        let armed = arm(copy.folder.path(), number, Fault::Die);
        let ran = push(&copy);
        let has_struck = armed.has_struck();
        drop(armed);
        assert!(has_struck, "no run was interrupted in time: {ran:?}");
        let is_unfinished = copy.run(&["push"]).stderr.contains("was interrupted before it had published");
        let has = |name| copy.fetch(&copy.dir(), name).is_some();
        if is_unfinished && has("a") && !has("b") {
            return copy;
        }
    }
    unreachable!()
}

#[test]
fn a_merge_that_conflicts_after_an_interruption_is_given_up_by_pull() {
    let (one, other, site) = two(|machine| machine.add("gone", "1"));
    one.add("a", "of one");
    push(&one).done();
    other.add("b", "of the other");
    other.add("c", "of the other, too");
    other.run(&["remove", "gone"]).done();
    let machine = interrupted(&other);
    machine.add("b", "changed in the meantime");
    let ran = push(&machine).failed("conflict", "b: changed both in this folder and at the destination");
    assert!(ran.stderr.contains("c: not published yet") && ran.stderr.contains("gone: not published yet"), "{ran:?}");
    assert!(!ran.stderr.contains("nothing was changed") && ran.stderr.contains("pull --adopt"), "{ran:?}");
    let ran = machine.run(&["pull", "--adopt"]).done();
    assert_eq!(ran.json["dropped"], json!(["b", "c"]));
    assert!(ran.stderr.contains("`gone`, which was removed in this folder"), "{ran:?}");
    machine.run(&["push"]).done();
    all_are_served(&machine, site.path(), &[("a", "of one"), ("b", "changed in the meantime"), ("gone", "1")]);
    assert!(one.fetch(site.path(), "c").is_none());
}
