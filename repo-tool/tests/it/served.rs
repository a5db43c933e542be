//! Tests of repository folders that were restored from a backup, and of several copies of one repository, from
//! which different users publish. The tool must never publish two different files with the same version.

use std::fs;

use lastmile_client::{BaseUrl, MemoryStore};
use lastmile_metadata::{RoleName, Timestamp, Version};
use lastmile_repo_tool::internal::catch_up::{CaughtUp, Foreign, Mode, Resolution, catch_up};
use lastmile_repo_tool::internal::diff;
use lastmile_repo_tool::internal::proof::is_refuted;
use lastmile_repo_tool::internal::revoke::revoke;
use lastmile_repo_tool::{
    Draft, Error, Invocation, NetworkError, Protection, RootDigest, ServedState, Signing, Unobserved,
};

use crate::revocation::{generated, revoke_and_prove};
use crate::snapshot::{forge_with, list_versions_only, read, replace_content};
use crate::world::World;

pub(crate) fn digest(world: &World) -> RootDigest {
    RootDigest::of(&fs::read(world.layout().metadata().join("1.root.json")).unwrap())
}

pub(crate) fn url(server: &World) -> BaseUrl {
    let path = server.layout().metadata().canonicalize().unwrap();
    BaseUrl::new(&format!("file://{}/", path.display())).unwrap()
}

/// Sets the metadata URL in the user's configuration of `world`, so that the tool compares `world` with `server`.
pub(crate) fn serve(world: &World, server: &World) {
    world.invocation().user.set_metadata_url(digest(world), &url(server)).unwrap();
}

pub(crate) fn version(world: &World, role: &str) -> u64 {
    let file = match role {
        "timestamp" => "timestamp.json".to_string(),
        _ => {
            let timestamp = world.metadata("timestamp.json");
            let snapshot = timestamp.pointer("/signed/meta/snapshot.json/version").unwrap();
            format!("{snapshot}.snapshot.json")
        }
    };
    world.metadata(&file).pointer("/signed/version").unwrap().as_u64().unwrap()
}

pub(crate) fn run(world: &World, server: &World, foreign: Foreign) -> Result<CaughtUp, Error> {
    catch_up(&world.dir(), &world.invocation(), &url(server), foreign, Mode::Apply)
}

/// Returns whether a client that has already updated from `server` accepts `world` and finds the target `name` in it.
pub(crate) fn reaches_clients_of(server: &World, world: &World, name: &str) -> bool {
    let store = MemoryStore::default();
    server.client(1, &store).refresh_at(server.now).unwrap();
    world.fetch_with(&store, name).unwrap().is_some()
}

#[test]
fn a_timestamp_version_is_not_issued_twice_after_a_restore() {
    let world = World::new();
    let timestamp = world.layout().metadata().join("timestamp.json");
    let old = World::copy(&world);
    world.add("a", "1");
    let lost = World::copy(&world);
    fs::copy(old.layout().metadata().join("timestamp.json"), timestamp).unwrap();
    world.add("b", "2");
    assert!(version(&world, "timestamp") > version(&lost, "timestamp"));
    assert!(version(&world, "snapshot") > version(&lost, "snapshot"));
    assert!(reaches_clients_of(&lost, &world, "b"));
}

#[test]
fn the_next_version_follows_the_highest_one_on_disk() {
    let world = World::new();
    for file in ["7.targets.json", "9.snapshot.json"] {
        fs::write(world.layout().metadata().join(file), "left over").unwrap();
    }
    world.add("a", "1");
    assert_eq!(version(&world, "snapshot"), 10);
    assert!(world.files("metadata").contains(&"8.targets.json".to_string()));
    fs::write(world.layout().metadata().join("2000.snapshot.json"), "planted").unwrap();
    let refused = world.try_add("b", "2", &mut Unobserved).unwrap_err().to_string();
    assert!(refused.contains("found snapshot version 2000") && refused.contains("remove"), "{refused}");
    fs::remove_file(world.layout().metadata().join("2000.snapshot.json")).unwrap();
    world.add("b", "2");
}

#[test]
fn a_restored_folder_publishes_nothing_until_it_has_caught_up() {
    let world = World::new();
    world.add("a", "1");
    let restored = world.copy();
    world.add("b", "2");
    world.renew().unwrap();
    serve(&restored, &world);
    let refused = restored.try_add("c", "3", &mut Unobserved).unwrap_err().to_string();
    assert!(refused.contains("catch-up"), "{refused}");
    // The server has a publication that the restored folder lacks. `catch-up` shows the changes of this publication,
    // but adopts them only with `--adopt`.
    let refused = run(&restored, &world, Foreign::Refuse).unwrap_err().to_string();
    assert!(refused.contains("+ b (1 bytes") && refused.contains("--adopt"), "{refused}");
    let done = run(&restored, &world, Foreign::Adopt).unwrap();
    assert_eq!(done.resolution, Resolution::Adopted);
    assert!(diff::text(&done.diff).contains("+ b (1 bytes"), "{}", diff::text(&done.diff));
    assert_eq!((done.dropped.len(), done.missing.len()), (0, 0));
    assert_eq!(restored.fetch("b").unwrap().unwrap(), b"2");
    restored.add("c", "3");
    assert!(reaches_clients_of(&world, &restored, "c"));
    assert!(reaches_clients_of(&world, &restored, "b"));
}

#[test]
fn new_online_signatures_are_adopted_at_once() {
    let world = World::new();
    world.add("a", "1");
    let copy = world.copy();
    (0..3).for_each(|_| drop(world.renew().unwrap()));
    serve(&copy, &world);
    assert!(copy.try_add("b", "2", &mut Unobserved).is_err());
    assert_eq!(run(&copy, &world, Foreign::Refuse).unwrap().resolution, Resolution::Adopted);
    assert_eq!(version(&copy, "timestamp"), version(&world, "timestamp"));
    assert_eq!(run(&copy, &world, Foreign::Refuse).unwrap().resolution, Resolution::Nothing);
    copy.add("b", "2");
    assert!(reaches_clients_of(&world, &copy, "b"));
}

#[test]
fn the_second_of_two_publishing_copies_gets_an_error_and_loses_nothing() {
    let world = World::new();
    let copy = world.copy();
    let server = world.copy();
    [&world, &copy].iter().for_each(|one| serve(one, &server));
    world.add("a", "1");
    // From now on, the server has the state that the first copy published.
    let served = world.copy();
    serve(&copy, &served);
    let refused = copy.try_add("b", "2", &mut Unobserved).unwrap_err().to_string();
    assert!(refused.contains("the server has timestamp version 2"), "{refused}");
    // Skip the comparison with the server, so that the second copy publishes versions that the server already has.
    let invocation = Invocation { served: ServedState::Ignore, ..copy.invocation() };
    copy.add_as(&invocation, "b", "2").unwrap();
    let done = run(&copy, &served, Foreign::Adopt).unwrap();
    assert_eq!(done.dropped, ["b"]);
    assert!(copy.files("superseded").contains(&"2.targets.json".to_string()));
    copy.add("b", "2");
    assert!(reaches_clients_of(&served, &copy, "b"));
    assert_eq!(copy.fetch("a").unwrap().unwrap(), b"1");
}

#[test]
fn a_folder_with_more_content_issues_versions_above_those_of_the_server() {
    let world = World::new();
    world.add("a", "1");
    let server = world.copy();
    (0..5).for_each(|_| drop(server.renew().unwrap()));
    world.add("b", "2");
    serve(&world, &server);
    let done = run(&world, &server, Foreign::Refuse).unwrap();
    assert_eq!(done.resolution, Resolution::MovedPast);
    assert!(version(&world, "timestamp") > version(&server, "timestamp"));
    assert!(reaches_clients_of(&server, &world, "b"));
    world.add("c", "3");
}

#[test]
fn versions_that_no_publication_can_reach_are_refused() {
    let world = World::new();
    let server = world.copy();
    let mut timestamp: Timestamp = read(&server, &RoleName::TIMESTAMP, "timestamp.json");
    timestamp.version = Version::new(5000).unwrap();
    forge_with(&server, &server, "timestamp.json", &timestamp, "timestamp-1");
    let refused = run(&world, &server, Foreign::Adopt).unwrap_err().to_string();
    assert!(refused.contains("revoke") && refused.contains("5000"), "{refused}");
    assert_eq!(version(&world, "timestamp"), 1);
}

#[test]
fn an_unreachable_server_stops_a_publication_by_default() {
    let world = World::new();
    world
        .invocation()
        .user
        .set_metadata_url(digest(&world), &BaseUrl::new("file:///nowhere/metadata/").unwrap())
        .unwrap();
    let refused = world.try_add("a", "1", &mut Unobserved);
    assert!(matches!(&refused, Err(Error::Network(_))), "{refused:?}");
    let invocation = Invocation { served: ServedState::Ignore, ..world.invocation() };
    world.add_as(&invocation, "a", "1").unwrap();
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1");
}

#[test]
fn a_lost_root_is_restored_from_the_server() {
    let world = World::new();
    let restored = world.copy();
    world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    let invocation = Invocation { user: world.invocation().user, ..restored.invocation() };
    let refused = restored.add_as(&invocation, "a", "1").unwrap_err().to_string();
    assert!(refused.contains("2.root.json is missing"), "{refused}");
    let done = catch_up(&restored.dir(), &invocation, &url(&world), Foreign::Refuse, Mode::Apply).unwrap();
    assert_eq!(done.resolution, Resolution::Adopted);
    restored.add_as(&invocation, "a", "1").unwrap();
    assert!(reaches_clients_of(&world, &restored, "a"));
}

#[test]
fn nothing_is_adopted_from_a_repository_that_is_not_pinned() {
    let world = World::new();
    let other = World::new();
    assert!(run(&world, &other, Foreign::Adopt).is_err());
    let invocation = Invocation { user: other.invocation().user, ..world.invocation() };
    let refused = catch_up(&world.dir(), &invocation, &url(&world), Foreign::Adopt, Mode::Apply);
    assert!(matches!(&refused, Err(Error::NotPinned { .. })), "{refused:?}");
}

#[test]
fn the_first_publication_after_an_upgrade_lists_only_files_that_the_server_also_has() {
    let world = World::new();
    world.add("x", "good");
    list_versions_only(&world);
    let server = world.copy();
    serve(&world, &server);
    // Replace the file in this folder but not on the server, as an attacker with the targets key could.
    replace_content(&world, &RoleName::TARGETS, "2.targets.json");
    let refused = world.renew().unwrap_err().to_string();
    assert!(refused.contains("different files of targets"), "{refused}");
    replace_content(&server, &RoleName::TARGETS, "2.targets.json");
    world.renew().unwrap();
}

#[test]
fn a_revocation_issues_versions_above_those_of_a_thief() {
    let world = World::new();
    world.add("a", "1");
    let server = world.copy();
    server.add("evil", "x");
    server.renew().unwrap();
    serve(&world, &server);
    assert!(world.try_add("b", "2", &mut Unobserved).is_err());
    let rows = revoke_and_prove(&world, &world.public("timestamp-1"));
    assert!(!is_refuted(&rows), "{rows:?}");
    assert!(version(&world, "timestamp") > version(&server, "timestamp"));
    assert!(version(&world, "snapshot") > version(&server, "snapshot"));
    assert!(reaches_clients_of(&server, &world, "a"));
    assert!(!reaches_clients_of(&server, &world, "evil"));
}

#[test]
fn a_forged_file_on_the_server_does_not_stop_a_revocation() {
    for is_removed in [false, true] {
        let world = World::new();
        world.add("x", "good");
        list_versions_only(&world);
        let server = world.copy();
        serve(&world, &server);
        let store = MemoryStore::default();
        replace_content(&server, &RoleName::TARGETS, "2.targets.json");
        assert_eq!(server.fetch_with(&store, "x").unwrap().unwrap(), b"evil");
        if is_removed {
            fs::remove_file(server.layout().metadata().join("2.targets.json")).unwrap();
        }
        let mut repository = world.open();
        revoke(&mut repository, &world.public("targets-1"), &generated(&Protection::None)).unwrap();
        assert!(repository.warnings.iter().any(|warning| warning.contains("the revocation continues")));
        drop(repository);
        let rows = revoke_and_prove(&world, &world.public("timestamp-1"));
        assert!(!is_refuted(&rows), "{rows:?}");
        // The snapshot now lists the hash of the genuine file, so a client that has the forged file downloads the
        // genuine one.
        assert_eq!(world.fetch_with(&store, "x").unwrap().unwrap(), b"good");
    }
}

#[test]
fn an_unreachable_server_does_not_stop_a_revocation() {
    let world = World::new();
    world
        .invocation()
        .user
        .set_metadata_url(digest(&world), &BaseUrl::new("file:///nowhere/metadata/").unwrap())
        .unwrap();
    let renewed = world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap());
    assert!(matches!(&renewed, Err(Error::Network(NetworkError::Compare(_)))), "{renewed:?}");
    let rows = revoke_and_prove(&world, &world.public("timestamp-1"));
    assert!(!is_refuted(&rows), "{rows:?}");
}

#[test]
fn a_failed_comparison_is_repeated() {
    let world = World::new();
    world
        .invocation()
        .user
        .set_metadata_url(digest(&world), &BaseUrl::new("file:///nowhere/metadata/").unwrap())
        .unwrap();
    let mut repository = world.open();
    for _ in 0..2 {
        let draft = Draft::renew_timestamp();
        assert!(matches!(repository.plan(draft, Signing::Now), Err(Error::Network(_))));
    }
}

#[test]
fn inflated_versions_are_refused_until_the_key_is_revoked() {
    let world = World::new();
    let server = world.copy();
    let mut timestamp: Timestamp = read(&server, &RoleName::TIMESTAMP, "timestamp.json");
    timestamp.version = Version::new(5000).unwrap();
    forge_with(&server, &server, "timestamp.json", &timestamp, "timestamp-1");
    serve(&world, &server);
    let refused = world.try_add("a", "1", &mut Unobserved).unwrap_err().to_string();
    assert!(refused.contains("Run `lastmile-repo revoke`") && !refused.contains("catch-up"), "{refused}");
    let rows = revoke_and_prove(&world, &world.public("timestamp-1"));
    assert!(!is_refuted(&rows), "{rows:?}");
    // The server still has the forged timestamp, but clients no longer accept it, so publishing is possible again.
    world.add("a", "1");
    assert!(reaches_clients_of(&server, &world, "a"));
}

#[test]
fn two_copies_do_not_publish_different_roots_with_the_same_version() {
    let world = World::new();
    let copy = world.copy();
    world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    serve(&copy, &world);
    let refused = copy.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap_err().to_string();
    assert!(refused.contains("the server has root version 2"), "{refused}");
}

#[test]
fn a_planted_version_does_not_stop_a_revocation() {
    let world = World::new();
    for version in [5000_u64, u64::MAX / 2] {
        fs::write(world.layout().metadata().join(format!("{version}.snapshot.json")), "planted").unwrap();
    }
    assert!(world.try_add("a", "1", &mut Unobserved).is_err());
    let rows = revoke_and_prove(&world, &world.public("timestamp-1"));
    assert!(!is_refuted(&rows), "{rows:?}");
    assert_eq!(version(&world, "snapshot"), 2);
}
