//! A client that polls while changes are published never fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lastmile_client::MemoryStore;
use lastmile_metadata::RoleName;
use lastmile_repo_tool::{Outcome, Unobserved};

use crate::world::World;

#[test]
fn a_polling_client_never_fails() {
    let world = World::new();
    world.add("always", "here");
    let done = AtomicBool::new(false);
    let polls = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let world = &world;
        let done = &done;
        let polls = &polls;
        for fresh in [true, false] {
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                let warm = MemoryStore::default();
                while !done.load(Ordering::Relaxed) {
                    let store = if fresh { MemoryStore::default() } else { warm.clone() };
                    let path = lastmile_metadata::TargetPath::new("always").unwrap();
                    let found = world.client(1, &store).refresh_at(world.now).and_then(|mut session| {
                        let target = session.find(&path)?.expect("the target must always be listed");
                        session.download(&target, folder.path().join(format!("{fresh}")))
                    });
                    let polled = polls.fetch_add(1, Ordering::Relaxed);
                    assert!(
                        found.is_ok(),
                        "poll {polled} with {} failed: {found:?}",
                        if fresh { "a new client" } else { "a returning client" }
                    );
                }
            });
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| publish_all_sorts(world)));
        done.store(true, Ordering::Relaxed);
        result.unwrap();
    });
    assert!(polls.load(Ordering::Relaxed) > 10, "{polls:?}");
}

/// Publishes releases, a renewal, and a key rotation of each top-level role.
fn publish_all_sorts(world: &World) {
    let rotate = |role: RoleName, number: u32| {
        let (key, uri) = world.key(&format!("{role}-{number}"));
        let old = world.public(&format!("{role}-{}", if role == RoleName::ROOT { 1 } else { number - 1 }));
        let outcome =
            world.change_with(&[uri], &mut Unobserved, |edit| edit.rotate(&role, &[key], &[old]).unwrap()).unwrap();
        assert!(matches!(outcome, Outcome::Published { seamless: true, .. }), "{role}: {outcome:?}");
    };
    world.add("a", "1");
    rotate(RoleName::TIMESTAMP, 2);
    world.add("a", "2");
    rotate(RoleName::SNAPSHOT, 2);
    rotate(RoleName::TARGETS, 2);
    world.renew().unwrap();
    rotate(RoleName::ROOT, 4);
    world.add("b", "1");
}
