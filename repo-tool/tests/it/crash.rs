//! A crash at any write leaves either the old or the new state, and the next command continues from there.

use std::io;

use lastmile_client::MemoryStore;
use lastmile_metadata::{RoleName, TargetNames};
use lastmile_repo_tool::internal::verify;
use lastmile_repo_tool::{
    AddOptions, Error, Invocation, LockWait, Observer, PathError, PublicationError, PublishEvent, Repository, Signing,
    Unobserved,
};

use crate::world::{World, is_published};

/// Stops the publication after the given number of events, as a crash would.
struct CrashAt(usize);

impl Observer for CrashAt {
    fn before(&mut self, moment: PublishEvent<'_>) -> io::Result<()> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(io::Error::other(format!("crash before {moment:?}"))),
        }
    }
}

/// Repeats a change, and crashes at a different event of the publication each time. Returns the number of events.
fn crash_everywhere(base: &World, change: impl Fn(&World, &mut dyn Observer) -> Result<bool, Error>) -> usize {
    for moment in 0.. {
        let world = base.copy();
        let warm = MemoryStore::default();
        world.fetch_with(&warm, "old").unwrap();
        let published = change(&world, &mut CrashAt(moment)).unwrap_or(false);
        // Returning and new clients must find a valid state, either the old or the new one.
        for store in [warm.clone(), MemoryStore::default()] {
            let found = world.fetch_with(&store, "old");
            assert_eq!(found.unwrap().as_deref(), Some(b"1".as_slice()), "moment {moment}");
        }
        // The next change must first finish the interrupted publication.
        if !is_published(&world.add("next", "3")) {
            world.publish_pending();
        }
        assert_eq!(world.fetch_with(&warm, "next").unwrap().unwrap(), b"3", "moment {moment}");
        let verified = verify::directory(&world.dir(), world.now, TargetNames::HashPrefixed, &|_, _| {}).unwrap();
        assert!(verified.is_good(), "moment {moment}: {verified:?}");
        if published {
            return moment;
        }
    }
    unreachable!("a run without a crash must publish the change")
}

#[test]
fn a_crash_at_any_write_of_a_release_leaves_a_valid_state() {
    let base = World::new();
    base.add("old", "1");
    let moments = crash_everywhere(&base, |world, observer| {
        world.try_add("new", "2", observer).map(|outcome| is_published(&outcome))
    });
    assert!(moments >= 10, "{moments}");
}

#[test]
fn a_crash_at_any_write_of_a_key_rotation_leaves_a_valid_state() {
    let base = World::new();
    base.add("old", "1");
    let (key, uri) = base.key("timestamp-2");
    let old = base.public("timestamp-1");
    let moments = crash_everywhere(&base, |world, observer| {
        let outcome = world.change_with(std::slice::from_ref(&uri), observer, |edit| {
            edit.rotate(&RoleName::TIMESTAMP, std::slice::from_ref(&key), std::slice::from_ref(&old)).unwrap();
        });
        outcome.map(|outcome| is_published(&outcome))
    });
    assert!(moments >= 8, "{moments}");
}

#[test]
fn a_crash_at_any_write_of_a_pending_change_leaves_a_valid_state() {
    let base = World::new();
    base.add("old", "1");
    base.without_key("targets-1", || drop(base.add("new", "2")));
    crash_everywhere(&base, |world, observer| {
        let mut repository = world.open();
        let draft = repository.staged()?;
        let plan = repository.plan(draft, Signing::All)?;
        repository.conclude(&plan, observer).map(|outcome| is_published(&outcome))
    });
}

#[test]
fn f_4_4_4_a_version_is_never_issued_twice() {
    let world = World::new();
    // Add a metadata file that no published file lists, as if a publication in a copy of the repository had left it
    // behind.
    let leftover = world.layout().metadata().join("2.targets.json");
    std::fs::write(&leftover, "something else").unwrap();
    world.add("a", "1");
    assert_eq!(std::fs::read(&leftover).unwrap(), b"something else");
    let snapshot = world.metadata("2.snapshot.json");
    assert_eq!(snapshot["signed"]["meta"]["targets.json"]["version"], 3);
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1");
}

#[test]
fn two_publishers_take_turns_or_get_an_error() {
    let world = World::new();
    let held = world.open();
    let impatient = Invocation { lock_wait: LockWait::none(), ..world.invocation() };
    let second = Repository::open_for_change(&world.dir(), &impatient);
    assert!(matches!(second, Err(Error::Busy { .. })));
    drop(held);
    let added = std::thread::scope(|scope| {
        let publish = |number: usize| {
            let copy = World { folder: tempfile::tempdir().unwrap(), now: world.now };
            let dir = world.dir();
            let invocation = world.invocation();
            scope.spawn(move || {
                let file = copy.folder.path().join("file");
                std::fs::write(&file, number.to_string()).unwrap();
                loop {
                    let mut repository = match Repository::open_for_change(&dir, &invocation) {
                        Ok(repository) => repository,
                        Err(Error::Busy { .. }) => continue,
                        Err(error) => panic!("{error}"),
                    };
                    let name = lastmile_repo_tool::target_path(&format!("file-{number}")).unwrap();
                    let sources = [lastmile_repo_tool::internal::intake::Source::new(file, name)];
                    let draft = lastmile_repo_tool::Draft::default();
                    let draft = repository
                        .add_files(draft, &RoleName::TARGETS, &sources, &AddOptions::default(), &|_| {})
                        .unwrap();
                    let plan = repository.plan(draft, Signing::Now).unwrap();
                    return is_published(&repository.conclude(&plan, &mut Unobserved).unwrap());
                }
            })
        };
        let threads: Vec<_> = (0..6).map(publish).collect();
        threads.into_iter().all(|thread| thread.join().unwrap())
    });
    assert!(added);
    for number in 0..6 {
        assert_eq!(world.fetch(&format!("file-{number}")).unwrap().unwrap(), number.to_string().into_bytes());
    }
    assert_eq!(world.metadata("timestamp.json")["signed"]["version"], 7);
}

#[test]
fn r_x_2_nothing_is_written_through_a_link() {
    let world = World::new();
    let outside = world.folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, world.layout().targets().join("sub")).unwrap();
    let refused = world.try_add("sub/a", "1", &mut Unobserved);
    assert!(matches!(refused, Err(Error::Path(PathError::NoWorkingFolder { .. }))), "{refused:?}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    // If a metadata file has been replaced with a symbolic link, publishing fails, and no file outside the repository
    // is changed.
    let linked = outside.join("timestamp.json");
    let timestamp = world.layout().metadata().join("timestamp.json");
    std::fs::rename(&timestamp, &linked).unwrap();
    std::os::unix::fs::symlink(&linked, &timestamp).unwrap();
    let before = std::fs::read(&linked).unwrap();
    let refused = world.try_add("b", "1", &mut Unobserved);
    assert!(matches!(refused, Err(Error::Publication(PublicationError::Damaged { .. }))), "{refused:?}");
    assert_eq!(std::fs::read(&linked).unwrap(), before);
    assert!(timestamp.is_symlink(), "the link must not be replaced");
}

#[test]
fn r_x_2_only_the_owner_can_read_private_keys() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.layout().keys()), 0o700);
    for file in world.files("keys").iter().filter(|file| file.ends_with(".pem")) {
        assert_eq!(mode(&world.layout().keys().join(file)), 0o600, "{file}");
    }
}
