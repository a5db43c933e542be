//! A push that is interrupted at any system call changes nothing for clients, and can be repeated.

use lastmile_cli_support::ExitStatus;
use lastmile_client::MemoryStore;
use lastmile_fs::faults::{Fault, arm};

use super::machine::{Machine, copy_tree, tree};
use crate::disks::{faults, print_count};
use crate::world::folder;

/// Interrupts a push to a copy of `served` at every system call. The folder `served` must have the target `old`, and
/// `machine` must have published the target `new`, which is not in `served`. If `stays_valid` is true, clients must be
/// able to update at every moment.
fn interrupt_everywhere(name: &str, machine: &Machine, served: &std::path::Path, stays_valid: bool) {
    let clean = folder();
    copy_tree(served, clean.path());
    let watched = arm(clean.path(), usize::MAX, Fault::Die);
    machine.copy().push(clean.path()).done();
    let calls = watched.calls();
    drop(watched);
    let expected = tree(clean.path());
    let mut runs = 0;
    for (number, (call, _)) in calls.iter().enumerate() {
        for fault in faults(*call, number, false) {
            let case = format!("{name}: {fault:?} at call {number}, {call:?}");
            let site = folder();
            copy_tree(served, site.path());
            let user = MemoryStore::default();
            machine.fetch_with(&user, site.path(), "old").unwrap();
            let machine = machine.copy();
            let armed = arm(site.path(), number, fault);
            machine.push(site.path());
            assert!(armed.has_struck(), "{case}");
            drop(armed);
            let fetched = machine.fetch_with(&user, site.path(), "old");
            assert!(!stays_valid || fetched.is_ok_and(|found| found.is_some()), "{case}");
            let again = machine.push(site.path());
            assert_eq!(again.status, ExitStatus::Done, "{case}: {again:?}");
            assert_eq!(tree(site.path()), expected, "{case}");
            assert!(machine.fetch_with(&user, site.path(), "new").unwrap().is_some(), "{case}");
            runs += 1;
        }
    }
    print_count(name, calls.len(), runs);
}

#[test]
fn an_interrupted_push_of_a_release_can_be_repeated() {
    let machine = Machine::new(&[]);
    machine.add("old", "1");
    let site = folder();
    machine.push(site.path()).done();
    machine.add("new", "2");
    interrupt_everywhere("repository: push", &machine, site.path(), true);
}

#[test]
fn an_interrupted_push_of_a_new_root_can_be_repeated() {
    let machine = Machine::new(&[]);
    machine.add("old", "1");
    let site = folder();
    machine.push(site.path()).done();
    machine.run(&["key", "generate", "timestamp-2", "--unencrypted"]).done();
    let rotation = ["--add", "file:keys/timestamp-2.pem", "--remove", "file:keys/timestamp-1.pem"];
    let rotate = |machine: &Machine| drop(machine.run(&[&["rotate", "timestamp"], &rotation[..]].concat()).done());
    // The new timestamp is signed with both keys, so clients can update at any time.
    let seamless = machine.copy();
    seamless.add("new", "2");
    rotate(&seamless);
    interrupt_everywhere("repository: push of a rotation", &seamless, site.path(), true);
    // Publish twice, so that the newest timestamp is signed only with the key `timestamp-2`. If the push is interrupted
    // after the upload of the new root, clients cannot update until the timestamp has been uploaded as well. Until
    // then, a repeated push cannot verify the state of the destination either.
    rotate(&machine);
    machine.add("new", "2");
    interrupt_everywhere("repository: push of a rotation and a release", &machine, site.path(), false);
}

#[test]
fn an_interrupted_first_push_can_be_repeated() {
    let machine = Machine::new(&[]);
    machine.add("a", "1");
    let clean = folder();
    let watched = arm(clean.path(), usize::MAX, Fault::Die);
    machine.copy().push(clean.path()).done();
    let calls = watched.calls().len();
    drop(watched);
    for number in 0..calls {
        let site = folder();
        let machine = machine.copy();
        let armed = arm(site.path(), number, Fault::Die);
        machine.push(site.path());
        assert!(armed.has_struck(), "call {number}");
        drop(armed);
        machine.push(site.path()).done();
        assert_eq!(tree(site.path()), tree(clean.path()), "call {number}");
    }
}
