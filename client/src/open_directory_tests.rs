//! Tests of lock files that disappear, and of the owners of files that the root user writes.

use std::os::unix::fs::{MetadataExt as _, chown, symlink};

use super::*;

#[derive(Debug)]
struct Parts;

impl RandomAccess for Parts {
    fn length(&self) -> u64 {
        1
    }

    fn read(&self, _: u64, into: &mut [u8]) -> bool {
        into.fill(b'1');
        true
    }
}

#[test]
fn b15_a_lock_file_replaced_between_opening_and_locking_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = OpenDirectory::make(dir.path(), PRIVATE).unwrap();
    let path = folder.path_of("lock");
    let opened = std::cell::Cell::new(0);
    let replacing = |place: Place<'_>| {
        let file = disk::lock_file(place)?;
        opened.set(opened.get() + 1);
        match opened.get() {
            1 => std::fs::remove_file(&path)?,
            2 => {
                std::fs::remove_file(&path)?;
                std::fs::write(&path, b"")?;
            }
            _ => {}
        }
        Ok(file)
    };
    let lock = disk::try_lock_at(folder.place("lock"), replacing).unwrap();
    assert!(lock.is_some() && folder.try_lock("lock").unwrap().is_none());
    assert_eq!(opened.get(), 3);
    // A lock file that is removed each time it is opened cannot be locked.
    let always = |place: Place<'_>| {
        let file = disk::lock_file(place)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    };
    drop(lock);
    assert!(disk::try_lock_at(folder.place("lock"), always).unwrap().is_none());
    assert!(folder.try_existing_lock("lock").is_err(), "the lock file must not be created");
}

#[test]
fn c7_files_written_by_root_keep_their_owner_or_get_that_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let folder = OpenDirectory::make(&dir.path().join("a/b"), PRIVATE).unwrap();
    folder.write("old", b"1", PRIVATE).unwrap();
    let path = dir.path().join("a/b");
    // Only the root user can change owners, so other users skip the rest of the test.
    if chown(&path, Some(4_001), Some(4_002)).is_err() {
        return;
    }
    chown(folder.path_of("old"), Some(4_003), Some(4_004)).unwrap();
    folder.write("old", b"2", PRIVATE).unwrap();
    folder.write("new", b"2", PRIVATE).unwrap();
    folder.write_parts("parts", &Parts, PRIVATE).unwrap();
    folder.enter_or_make("private", PRIVATE).unwrap();
    drop(folder.try_lock("lock").unwrap());
    OpenDirectory::make(&path.join("c/d"), PRIVATE).unwrap();
    symlink(dir.path(), folder.path_of("link")).unwrap();
    // The owner of the directory may plant a hard link to a file that belongs to the root user. The program must not
    // change the owner of that file.
    std::fs::write(dir.path().join("roots"), b"").unwrap();
    std::fs::hard_link(dir.path().join("roots"), folder.path_of("planted")).unwrap();
    drop(folder.try_lock("planted").unwrap());
    assert_eq!(dir.path().join("roots").metadata().unwrap().uid(), 0);
    folder.write("link", b"2", PRIVATE).unwrap();
    let mut target = folder.held_temporary(PUBLIC).unwrap();
    target.file.write_all(b"1").unwrap();
    target.finish(&folder, "target").unwrap();
    let owner = |name: &str| {
        let found = folder.path_of(name).symlink_metadata().unwrap();
        (found.uid(), found.gid())
    };
    assert_eq!(owner("old"), (4_003, 4_004));
    for name in ["new", "parts", "private", "lock", "c", "c/d", "link"] {
        assert_eq!(owner(name), (4_001, 4_002), "{name}");
    }
    assert_eq!(owner("target").0, 0, "a verified target must not belong to another user");
    assert_eq!(folder.path_of("old").metadata().unwrap().mode() & 0o777, 0o600);
}
