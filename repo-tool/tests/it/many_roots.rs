//! Repositories with more roots than a client follows in one refresh.

use lastmile_client::MemoryStore;
use lastmile_metadata::{RoleName, Root, TargetNames, Version};
use lastmile_repo_tool::internal::proof::is_refuted;
use lastmile_repo_tool::internal::verify;
use lastmile_repo_tool::{NewRepository, Protection};

use crate::revocation::revoke_and_prove;
use crate::snapshot::{forge_with, read};
use crate::world::{World, is_published};

fn with_roots(count: u64) -> World {
    let mut new = NewRepository::new(Protection::None);
    new.thresholds.insert("root".into(), 1);
    let world = World::with(&new);
    let mut root: Root = read(&world, &RoleName::ROOT, "1.root.json");
    for version in 2..=count {
        root.version = Version::new(version).unwrap();
        forge_with(&world, &world, &format!("{version}.root.json"), &root, "root-1");
    }
    world
}

/// Returns the number of refreshes that a client needs to reach the newest root.
fn refreshes(world: &World, newest: u64) -> usize {
    let client = world.client(1, &MemoryStore::default());
    (1..9)
        .find(|_| client.refresh_at(world.now).is_ok_and(|session| session.trusted().root().version.get() == newest))
        .unwrap()
}

#[test]
fn a_root_beyond_the_limit_of_one_refresh_is_published() {
    let world = with_roots(257);
    let renewed = world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    assert!(is_published(&renewed), "{renewed:?}");
    assert_eq!(refreshes(&world, 258), 2);
    assert!(is_published(&world.add("a", "1")), "releases must still be possible");
    let repository = world.open();
    let advice = world.warnings(&repository).join("\n");
    assert!(advice.contains("must follow 257 roots and needs 2 refreshes"), "{advice}");
    assert!(advice.contains("ship metadata/258.root.json"), "{advice}");
}

#[test]
fn a_revocation_after_many_roots_is_proved() {
    let world = with_roots(257);
    let rows = revoke_and_prove(&world, &world.public("timestamp-1"));
    assert!(!is_refuted(&rows), "{rows:?}");
    // If consecutive roots have the same keys, the proof has one row for all of them, and tests only the first one.
    let played: Vec<_> = rows.iter().map(|row| (row.root.get(), row.until.get())).collect();
    assert_eq!(played, [(1, 257), (258, 258)]);
    assert_eq!(refreshes(&world, 258), 2);
}

#[test]
fn a_repository_with_many_roots_is_verified() {
    let world = with_roots(300);
    let found = verify::directory(&world.dir(), world.now, TargetNames::HashPrefixed, &|_, _| {}).unwrap();
    assert!(found.is_good(), "{:?}", found.findings);
    assert_eq!(found.roots.len(), 300);
    // `verify` reports a damaged root file even if there are many roots.
    let path = world.layout().metadata().join("280.root.json");
    let damaged = std::fs::read_to_string(&path).unwrap().replace("2031", "2032");
    std::fs::write(path, damaged).unwrap();
    assert!(!verify::directory(&world.dir(), world.now, TargetNames::HashPrefixed, &|_, _| {}).unwrap().is_good());
}
