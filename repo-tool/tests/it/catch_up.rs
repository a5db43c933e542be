//! Tests of `catch-up --adopt`, which replaces the state of the folder with the state of the server: which files are
//! replaced, what is refused, and the state after an interruption.

use std::fs;
use std::path::Path;

use lastmile_fs::Syscall;
use lastmile_fs::faults::{Fault, arm};
use lastmile_metadata::{RoleName, TargetNames, Version};
use lastmile_repo_tool::internal::catch_up::{Foreign, Mode, Resolution, catch_up};
use lastmile_repo_tool::internal::diff;
use lastmile_repo_tool::internal::transaction::is_interrupted;
use lastmile_repo_tool::internal::verify;
use lastmile_repo_tool::{GivenRoot, Invocation, NewBins, NewRepository, Protection, RootDigest, Trust, Unobserved};
use sha2::{Digest as _, Sha256};

use crate::delegations::delegate;
use crate::disks::{check_error, faults, is_leftover, print_count};
use crate::served::{digest, reaches_clients_of, run, serve, url, version};
use crate::world::World;

/// Creates a repository with the target `old`, and a copy of it. Then both publish independently: the copy adds `b`,
/// and the original adds `a`. The tests use the original as the server.
fn fork() -> (World, World) {
    let world = World::new();
    world.add("old", "1");
    let copy = world.copy();
    copy.add("b", "2");
    world.add("a", "1");
    (copy, world)
}

#[test]
fn an_interrupted_adoption_loses_nothing_and_can_be_repeated() {
    let (base, server) = fork();
    let own = fs::read(base.layout().metadata().join("3.targets.json")).unwrap();
    let clean = base.copy();
    let watched = arm(&clean.dir(), usize::MAX, Fault::Die);
    run(&clean, &server, Foreign::Adopt).unwrap();
    let calls = watched.calls();
    drop(watched);
    let mut runs = 0;
    for (number, (call, path)) in calls.iter().enumerate() {
        for fault in faults(*call, number, false) {
            let place = path.strip_prefix(clean.dir()).unwrap_or(path).display();
            interrupt(&base, &server, &own, (number, fault), &format!("{fault:?} at call {number}, {call:?} {place}"));
            runs += 1;
        }
    }
    assert!(
        calls.iter().any(|(call, path)| *call == Syscall::Link && path.starts_with(clean.dir().join("superseded")))
    );
    print_count("repository: catch-up --adopt", calls.len(), runs);
}

fn interrupt(base: &World, server: &World, own: &[u8], (number, fault): (usize, Fault), case: &str) {
    let world = base.copy();
    let armed = arm(&world.dir(), number, fault);
    let ended = run(&world, server, Foreign::Adopt);
    assert!(armed.has_struck(), "{case}: the fault was not injected");
    drop(armed);
    check_error(&ended.map(drop), fault, case);
    if !is_interrupted(&world.layout()) {
        // The folder must have either its own state or the complete state of the server.
        assert_eq!(world.fetch("old").unwrap().unwrap(), b"1", "{case}");
        let found = ["a", "b"].map(|name| world.fetch(name).unwrap().is_some());
        assert!(matches!(found, [true, false] | [false, true]), "{case}: {found:?}");
    }
    let again = run(&world, server, Foreign::Adopt).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert!(matches!(again.resolution, Resolution::Adopted | Resolution::Nothing), "{case}");
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1", "{case}");
    let kept = world.files("superseded").into_iter().filter(|name| name.starts_with("3.targets.json"));
    let is_kept = kept.map(|name| fs::read(world.dir().join("superseded").join(name)).unwrap()).any(|kept| kept == own);
    assert!(is_kept, "{case}: the local file that the adoption replaced must be kept in `superseded`");
    serve(&world, server);
    world.try_add("next", "3", &mut Unobserved).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert!(reaches_clients_of(server, &world, "next"), "{case}");
    let verified = verify::directory(&world.dir(), world.now, TargetNames::HashPrefixed, &|_, _| {}).unwrap();
    assert!(verified.is_good(), "{case}: {verified:?}");
    let left: Vec<String> = world.files("").into_iter().filter(|name| is_leftover(name)).collect();
    assert_eq!(left, [""; 0], "{case}");
}

#[test]
fn an_interrupted_adoption_is_finished_by_the_next_publication() {
    let (base, server) = fork();
    let mut was_interrupted = false;
    for number in 0..200 {
        let world = base.copy();
        let armed = arm(&world.dir(), number, Fault::Die);
        let ended = run(&world, &server, Foreign::Adopt);
        drop(armed);
        if ended.is_ok() {
            break;
        }
        if is_interrupted(&world.layout()) {
            was_interrupted = true;
            world.add("next", "3");
            assert!(reaches_clients_of(&server, &world, "next"), "call {number}");
        }
    }
    assert!(was_interrupted);
}

/// Plants a journal with one step: replace the metadata file `to`. Only the journal of `catch-up --adopt` may replace a
/// file that has a version in its name.
fn plant_adoption(world: &World, rank: &str, to: &str) {
    let bytes = b"planted";
    fs::write(world.layout().publishing().join("new-0"), bytes).unwrap();
    let name = world.layout().publishing().file_name().unwrap().to_str().unwrap().to_string();
    let content = serde_json::json!({ "length": bytes.len(), "sha256": hex::encode(Sha256::digest(bytes)) });
    let step = serde_json::json!({
        "rank": rank, "from": format!("{name}/new-0"), "to": to, "existing": "SetAside", "content": content,
    });
    let journal = serde_json::json!({ "steps": [step], "clears_staged": false });
    fs::write(world.layout().publishing().join("journal.json"), journal.to_string()).unwrap();
}

#[test]
fn a_planted_adoption_replaces_only_what_was_set_aside() {
    let world = World::new();
    world.add("a", "1");
    let aside = world.dir().join("superseded");
    let plant_aside = |name: &str, bytes: &[u8]| {
        fs::create_dir_all(&aside).unwrap();
        fs::set_permissions(&aside, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        fs::write(aside.join(name), bytes).unwrap();
    };
    let refused = |rank: &str, name: &str| {
        let file = world.layout().metadata().join(name);
        let before = fs::read(&file).unwrap();
        plant_adoption(&world, rank, &format!("metadata/{name}"));
        let refused = world.try_add("b", "2", &mut Unobserved).unwrap_err().to_string();
        assert!(refused.contains("cannot be finished"), "{name}: {refused}");
        assert_eq!(fs::read(&file).unwrap(), before);
        fs::remove_file(world.layout().publishing().join("journal.json")).unwrap();
        fs::remove_file(world.layout().publishing().join("new-0")).unwrap();
    };
    refused("Targets", "2.targets.json");
    plant_aside("2.targets.json", b"other bytes");
    refused("Targets", "2.targets.json");
    // Not even `catch-up --adopt` replaces root files.
    plant_aside("1.root.json", &fs::read(world.layout().metadata().join("1.root.json")).unwrap());
    refused("Root", "1.root.json");
    world.add("b", "2");
}

#[test]
fn a_role_that_the_server_undelegated_does_not_stop_an_adoption() {
    let world = World::new();
    world.add("a", "1");
    let (key, uri) = world.key("team-1");
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "team", "*", &key)).unwrap();
    let copy = world.copy();
    let team = RoleName::delegated("team").unwrap();
    world.add_to(&team, "x", "1", &mut Unobserved).unwrap();
    world.change(|edit| drop(edit.undelegate(None, &team).unwrap())).unwrap();
    assert!(run(&copy, &world, Foreign::Refuse).is_err());
    assert_eq!(run(&copy, &world, Foreign::Adopt).unwrap().resolution, Resolution::Adopted);
    serve(&copy, &world);
    copy.add("b", "2");
    assert!(reaches_clients_of(&world, &copy, "b"));
    assert_eq!(run(&copy, &copy, Foreign::Refuse).unwrap().resolution, Resolution::Nothing);
    // If this folder delegates to the role again, the role gets a higher version than it had on the server.
    copy.change(|edit| delegate(edit, "team", "*", &key)).unwrap();
    assert!(copy.files("metadata").contains(&"3.team.json".to_string()), "{:?}", copy.files("metadata"));
    assert!(reaches_clients_of(&world, &copy, "a"));
}

#[test]
fn bins_that_the_server_replaced_do_not_stop_an_adoption() {
    let world = World::new();
    world.add("a", "1");
    let copy = world.copy();
    let make = |prefix: &str| {
        let trust = Trust { keys: vec![world.public("targets-1")], threshold: 1 };
        let new = NewBins { bit_length: 1, name_prefix: prefix.into(), trust, succinct: true };
        world.change(|edit| edit.make_bins(&RoleName::TARGETS, &new, &|_| {}).unwrap()).unwrap();
    };
    make("first");
    world.change(|edit| drop(edit.undelegate(None, &RoleName::delegated("first-0").unwrap()).unwrap())).unwrap();
    make("second");
    assert_eq!(run(&copy, &world, Foreign::Adopt).unwrap().resolution, Resolution::Adopted);
    serve(&copy, &world);
    copy.add("b", "2");
    assert!(reaches_clients_of(&world, &copy, "a") && reaches_clients_of(&world, &copy, "b"));
}

#[test]
fn a_new_root_is_adopted_only_if_given_or_pinned() {
    let world = World::new();
    let copy = world.copy();
    let root = copy.layout().metadata().join("2.root.json");
    let pin = |world: &World| world.invocation().user.pinned_root(digest(world)).unwrap().unwrap().version;
    world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    let refused = run(&copy, &world, Foreign::Refuse).unwrap_err().to_string();
    assert!(refused.contains("version 1 in this folder, 2 on the server") && refused.contains("--adopt"), "{refused}");
    assert!(!root.exists() && pin(&copy) == Version::ONE);
    assert_eq!(version(&copy, "timestamp"), 1);
    // If the user gives the digest of the new root, `catch-up` adopts it even without `--adopt`.
    let given = fs::read(world.layout().metadata().join("2.root.json")).unwrap();
    let given = GivenRoot { digest: RootDigest::of(&given), remember: false };
    let other = copy.copy();
    let invocation = Invocation { given_root: Some(given), ..other.invocation() };
    catch_up(&other.dir(), &invocation, &url(&world), Foreign::Refuse, Mode::Apply).unwrap();
    assert!(other.layout().metadata().join("2.root.json").exists());
    let done = run(&copy, &world, Foreign::Adopt).unwrap();
    assert_eq!(done.resolution, Resolution::Adopted);
    assert!(diff::text(&done.diff).contains("root"), "{}", diff::text(&done.diff));
    assert!(root.exists() && pin(&copy) > Version::ONE);
    copy.add("a", "1");
}

#[test]
fn a_root_above_the_pinned_one_is_not_adopted_without_consent() {
    let world = World::new();
    let copy = world.copy();
    let renew = || world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    renew();
    fs::copy(world.user_config(), copy.user_config()).unwrap();
    renew();
    assert!(run(&copy, &world, Foreign::Refuse).is_err());
    assert!(!copy.layout().metadata().join("2.root.json").exists());
    run(&copy, &world, Foreign::Adopt).unwrap();
}

#[test]
fn another_root_of_the_same_version_is_never_adopted() {
    let world = World::new();
    let mut copy = world.copy();
    let renew = |world: &World| world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    renew(&world);
    copy.days_pass(1);
    let pinned = fs::read(copy.user_config()).unwrap();
    renew(&copy);
    fs::write(copy.user_config(), pinned).unwrap();
    let before = fs::read(copy.layout().metadata().join("2.root.json")).unwrap();
    let refused = run(&copy, &world, Foreign::Adopt).unwrap_err().to_string();
    assert!(refused.contains("different files of root version 2"), "{refused}");
    assert_eq!(fs::read(copy.layout().metadata().join("2.root.json")).unwrap(), before);
}

/// Reads the file of the target `name`. The repository must not use hash prefixes in file names.
fn plain(world: &World, name: &str) -> Vec<u8> {
    fs::read(world.layout().targets().join(Path::new(name))).unwrap()
}

#[test]
fn a_target_without_hash_prefix_is_replaced_if_the_server_has_another_one() {
    for consistent in [true, false] {
        let mut new = NewRepository::new(Protection::None);
        (new.consistent_snapshot, new.hash_prefixed_targets) = (consistent, false);
        let world = World::with(&new);
        world.add("same", "1");
        let copy = world.copy();
        copy.add("a", "here");
        world.add("a", "from the server");
        world.renew().unwrap();
        let done = run(&copy, &world, Foreign::Adopt).unwrap();
        assert_eq!((done.missing.len(), done.dropped.as_slice()), (0, ["a".to_string()].as_slice()));
        assert_eq!(plain(&copy, "a"), b"from the server", "consistent snapshots: {consistent}");
        assert_eq!(plain(&copy, "same"), b"1");
        assert_eq!(fs::read(copy.dir().join("superseded/targets/a")).unwrap(), b"here");
        assert!(!copy.dir().join("superseded/targets/same").exists());
        let verified = verify::directory(&copy.dir(), copy.now, TargetNames::Plain, &|_, _| {}).unwrap();
        assert!(verified.is_good(), "{verified:?}");
    }
}
