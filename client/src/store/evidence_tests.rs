//! Tests that stored evidence is verified when it is read, and that the number and the total length of the stored files
//! are limited.

use std::sync::Arc;
use std::time::Duration;

use lastmile_metadata::{Hashes, TargetPath};
use sha2::{Digest, Sha256};

use super::*;
use crate::event::TracingSink;
use crate::store::Store;
use crate::store::directory::DirectoryStore;
use crate::store::memory::MemoryStore;

fn day(number: u32) -> DateTime<Utc> {
    format!("2030-01-{number:02}T12:00:00Z").parse().unwrap()
}

fn shared(store: impl Store) -> SharedStore {
    SharedStore::new(Box::new(store), Arc::new(TracingSink), Duration::ZERO)
}

fn file(content: &[u8]) -> TargetFile {
    let hashes = Hashes::of(content, &[Algorithm::Sha256]).unwrap();
    TargetFile::new(TargetPath::new("x").unwrap(), content.len() as u64, hashes)
}

fn stored_as(content: &[u8]) -> StoredFile {
    StoredFile::Evidence(Sha256::digest(content).into())
}

fn index_of(store: &MemoryStore) -> String {
    String::from_utf8(store.read(&StoredFile::EvidenceIndex, MAX_INDEX_LENGTH).unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn evidence_is_read_by_its_hash_and_verified() {
    let dir = tempfile::tempdir().unwrap();
    // With `large_from(0)`, the store may return even short files in parts.
    let store = shared(DirectoryStore::open(dir.path()).unwrap().large_from(0));
    assert_eq!(read(&store, &file(b"proof")).unwrap(), None);
    keep(&store, &file(b"proof"), b"proof", day(1)).await.unwrap();
    assert_eq!(read(&store, &file(b"proof")).unwrap().unwrap(), b"proof");
    let path = dir.path().join("state").join(format!("evidence-{}", hex::encode(Sha256::digest(b"proof"))));
    for damaged in [&b"other"[..], b"prooF", b"proof and more", b""] {
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(read(&store, &file(b"proof")).unwrap(), None, "{damaged:?}");
    }
}

#[tokio::test]
async fn evidence_without_a_sha256_is_not_stored() {
    let memory = MemoryStore::default();
    let store = shared(memory.clone());
    let hashes = Hashes::of(b"proof", &[Algorithm::Sha512]).unwrap();
    let file = TargetFile::new(TargetPath::new("x").unwrap(), 5, hashes);
    keep(&store, &file, b"proof", day(1)).await.unwrap();
    mark_used(&store, &file, day(2)).await.unwrap();
    assert_eq!(read(&store, &file).unwrap(), None);
    assert_eq!(memory.read(&StoredFile::EvidenceIndex, 9).unwrap(), None);
}

#[tokio::test]
async fn the_evidence_that_was_not_used_for_the_longest_time_is_removed() {
    let memory = MemoryStore::default();
    let store = shared(memory.clone());
    for (content, number) in [(b"a", 1), (b"b", 2), (b"c", 3)] {
        keep(&store, &file(content), content, day(number)).await.unwrap();
    }
    mark_used(&store, &file(b"a"), day(4)).await.unwrap();
    // The clock was set back, so the file is used on an earlier day than before. The index keeps the later day.
    mark_used(&store, &file(b"c"), day(1)).await.unwrap();
    let days: Vec<_> = index_of(&memory).lines().map(|line| line.split(' ').next_back().unwrap().to_owned()).collect();
    assert_eq!(days, ["2030-01-02", "2030-01-03", "2030-01-04"]);
    let huge = TargetFile { length: MAX_TOTAL_LENGTH - 1, ..file(b"d") };
    keep(&store, &huge, b"d", day(5)).await.unwrap();
    let left = [b"a", b"b", b"c", b"d"].map(|content| memory.read(&stored_as(content), 9).unwrap().is_some());
    assert_eq!(left, [true, false, false, true]);
}

#[test]
fn the_number_of_files_is_limited_and_the_newest_file_stays() {
    let mut index = Index::default();
    for number in 0..MAX_FILES + 3 {
        let mut sha256 = [0; 32];
        sha256[..8].copy_from_slice(&number.to_be_bytes());
        index.set(Entry { sha256, length: 1, used: day(1).date_naive() });
    }
    assert_eq!(index.remove_excess().iter().map(|entry| entry.sha256[7]).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(index.0.len(), MAX_FILES);
    index.set(Entry { sha256: [9; 32], length: u64::MAX, used: NaiveDate::MIN });
    assert_eq!(index.remove_excess().len(), MAX_FILES);
    assert_eq!(index.0.iter().map(|entry| entry.sha256).collect::<Vec<_>>(), [[9; 32]]);
}

#[tokio::test]
async fn an_unusable_index_is_replaced() {
    let memory = MemoryStore::default();
    let store = shared(memory.clone());
    for damaged in [&b"\xff"[..], b"what\n00 1 2030-01-01\n"] {
        memory.write(&StoredFile::EvidenceIndex, damaged).unwrap();
        keep(&store, &file(b"proof"), b"proof", day(1)).await.unwrap();
        let expected = format!("{} 5 2030-01-01\n", hex::encode(Sha256::digest(b"proof")));
        assert_eq!(index_of(&memory), expected);
    }
}
