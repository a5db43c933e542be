//! After a command was killed, the next `push --catch-up` in the same folder publishes the changes of the folder
//! exactly once. No change is lost. If another machine has undone a change, that change is not published again.

use std::path::Path;

use lastmile_fs::Syscall;
use lastmile_fs::faults::{Fault, arm};

use super::machine::{Machine, restore, tree};
use super::merge::{all_are_served, push, two};

const HOME: &str = "home";

/// Runs a command repeatedly, each time on a new copy of `machine`. Kills the command before or after one of its
/// renames below the folder `below`, at a different point in each run. Other system calls are skipped, because they
/// change nothing that a later command reads. After each run, calls `check` with the copy and the number of the call.
///
/// `below` is an absolute path, or a path relative to the machine's folder.
fn kill_at_renames(
    machine: &Machine,
    arguments: &[&str],
    site: &Path,
    below: &Path,
    mut check: impl FnMut(&Machine, usize),
) {
    let served = tree(site);
    let clean = machine.copy();
    let watched = arm(&clean.folder.path().join(below), usize::MAX, Fault::Die);
    clean.run(arguments).done();
    let calls = watched.calls();
    drop(watched);
    let renames = calls.iter().enumerate().filter(|(_, (call, _))| *call == Syscall::Rename);
    for number in renames.flat_map(|(number, _)| [number, number + 1]) {
        restore(site, &served);
        let machine = machine.copy();
        let armed = arm(&machine.folder.path().join(below), number, Fault::Die);
        machine.run(arguments);
        assert!(number == calls.len() || armed.has_struck());
        drop(armed);
        check(&machine, number);
    }
    restore(site, &served);
}

#[test]
fn a_change_of_a_killed_push_that_another_machine_undid_is_not_published_again() {
    let (machine, other, site) = two(|_| ());
    machine.add("new", "1");
    let (mut served, mut lost) = (0, 0);
    for below in [Path::new(HOME), site.path()] {
        kill_at_renames(&machine, &["push"], site.path(), below, |machine, number| {
            let other = other.copy();
            if machine.fetch(site.path(), "new").is_some() {
                served += 1;
                push(&other).done();
                other.run(&["remove", "new"]).done();
                push(&other).done();
                push(machine).done();
                assert!(machine.fetch(site.path(), "new").is_none(), "call {number} below {}", below.display());
            } else {
                lost += 1;
                // The killed push may have uploaded a snapshot. Publish twice, so that the version of the second
                // snapshot is higher.
                other.add("a", "1");
                other.add("b", "1");
                push(&other).done();
                push(machine).done();
                all_are_served(machine, site.path(), &[("new", "1"), ("a", "1"), ("b", "1")]);
            }
        });
    }
    assert!(served > 0 && lost > 0, "{served} pushes were killed after the upload of the timestamp, {lost} before");
}

#[test]
fn a_target_that_a_killed_command_adopted_and_another_machine_removed_is_not_published_again() {
    let (machine, other, site) = two(|_| ());
    other.add("removed", "1");
    push(&other).done();
    for (arguments, has_change) in [(&["pull", "--adopt"][..], false), (&["push", "--catch-up"], true)] {
        let machine = machine.copy();
        if has_change {
            machine.add("kept", "1");
        }
        kill_at_renames(&machine, arguments, site.path(), Path::new(HOME), |machine, number| {
            let other = other.copy();
            push(&other).done();
            other.run(&["remove", "removed"]).done();
            push(&other).done();
            machine.add("later", "1");
            push(machine).done();
            let case = format!("{arguments:?}: call {number}");
            assert!(machine.fetch(site.path(), "removed").is_none(), "{case}");
            assert!(machine.fetch(site.path(), "later").is_some(), "{case}");
            assert_eq!(machine.fetch(site.path(), "kept").is_some(), has_change, "{case}");
        });
    }
}
