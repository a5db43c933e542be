//! Tests of whole updates with roles that are read in parts from their stored files.

use std::os::unix::fs::FileExt;
use std::path::Path;

use lastmile_metadata::{ErrorKind, RandomAccess, TargetPath};

use super::{LargeBytes, LargeFile};
use crate::error::{Error, Refusal, RefusedError};
use crate::store::directory::DirectoryStore;
use crate::test_repository::{TestRepository, now};
use crate::updater::Updater;

/// Returns an updater that treats every role as large.
fn updater(repository: &TestRepository, dir: &Path) -> Updater {
    let store = DirectoryStore::open(dir).unwrap().large_from(1);
    repository.updater().store(store).build().unwrap()
}

fn path(path: &str) -> TargetPath {
    TargetPath::new(path).unwrap()
}

#[tokio::test]
async fn a_second_refresh_reads_large_stored_targets_and_does_not_fetch_them() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    let updater = updater(&repository, dir.path());
    let mut first = updater.refresh_at(now()).await.unwrap();
    let targets = [first.target("x").await.unwrap(), first.target("docs/y").await.unwrap()];
    let found = targets.each_ref().map(|target| target.file());
    assert!(first.trusted().targets().held().is_none());
    repository.take_requests();
    let mut second = updater.refresh_at(now()).await.unwrap();
    assert!(second.trusted().targets().held().is_none());
    let again = [second.target("x").await.unwrap(), second.target("docs/y").await.unwrap()];
    assert_eq!(again.each_ref().map(|target| target.file()), found);
    assert!(second.find(&path("nothing")).await.unwrap().is_none());
    assert_eq!(second.list().await.unwrap().len(), 2);
    assert_eq!(repository.take_requests(), ["http://a/2.root.json", "http://a/timestamp.json"]);
    let mut offline = updater.offline_at(now()).await.unwrap();
    assert_eq!(offline.target("x").await.unwrap().file(), found[0]);
    assert_eq!(repository.take_requests(), [""; 0]);
}

#[tokio::test]
async fn a_damaged_large_file_is_fetched_again() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    let updater = updater(&repository, dir.path());
    updater.refresh_at(now()).await.unwrap();
    let stored = dir.path().join("targets.json");
    let good = std::fs::read(&stored).unwrap();
    for at in [0, good.len() / 2, good.len() - 1] {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        std::fs::write(&stored, damaged).unwrap();
        repository.take_requests();
        updater.refresh_at(now()).await.unwrap();
        assert!(repository.take_requests().contains(&"http://a/1.targets.json".to_owned()), "{at}");
        assert_eq!(std::fs::read(&stored).unwrap(), good);
    }
}

#[tokio::test]
async fn a_file_changed_during_a_session_is_detected_and_the_next_refresh_succeeds() {
    let repository = TestRepository::new();
    let dir = tempfile::tempdir().unwrap();
    let updater = updater(&repository, dir.path());
    updater.refresh_at(now()).await.unwrap();
    let mut session = updater.refresh_at(now()).await.unwrap();
    let stored = std::fs::File::options().write(true).open(dir.path().join("targets.json")).unwrap();
    stored.write_at(b"X", stored.metadata().unwrap().len() / 2).unwrap();
    let refused = session.find(&path("x")).await.unwrap_err();
    let Error::Refused(RefusedError { refusal: Refusal::Metadata(verdict), .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(verdict.kind, ErrorKind::StoredFileChanged);
    let mut next = updater.refresh_at(now()).await.unwrap();
    assert!(next.find(&path("x")).await.unwrap().is_some());
}

#[test]
fn both_readers_receive_the_whole_file() {
    for length in [0, 1, 262_143, 262_144, 262_145, 3_000_000_usize] {
        let written: Vec<u8> = (0..length).map(|number| (number % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &written).unwrap();
        let stored: &dyn RandomAccess = &LargeFile::new(file, length as u64);
        let fetched: &dyn RandomAccess = &LargeBytes::new(written.clone());
        for file in [stored, fetched] {
            let mut one = Vec::new();
            let mut other = Vec::new();
            assert!(file.pass(&mut |part| one.extend_from_slice(part), &mut |part| other.extend_from_slice(part)));
            assert!(one == written && other == written);
            let mut end = vec![0; length.min(9)];
            assert!(file.read((length - end.len()) as u64, &mut end) && written.ends_with(&end));
            assert!(!file.read(length as u64, &mut [0]));
        }
    }
    // If one reader panics, `pass` must return false.
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, b"x").unwrap();
    assert!(!LargeFile::new(file, 1).pass(&mut |_| {}, &mut |_| panic!("this reader fails on purpose")));
    assert!(!LargeBytes::new(vec![1]).pass(&mut |_| {}, &mut |_| panic!("this reader fails on purpose")));
    // If the file is shorter than the recorded length, `pass` must return false.
    let file = LargeFile::new(tempfile::tempfile().unwrap(), 1);
    assert!(!file.pass(&mut |_| {}, &mut |_| {}));
}
