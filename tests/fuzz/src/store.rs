//! A fuzz target for stores with arbitrary content. An update from an honest repository must bring the client up to
//! date or report an error.

use std::collections::BTreeMap;

use bytes::Bytes;
use lastmile_client::metadata::{RoleName, Version};
use lastmile_client::{Error, MemoryStore, Store, StoredFile};
use lastmile_random::adversary::published;
use serde_json::Value;

use crate::workflow::{FILES, refresh};

const KIND: u32 = 3;

fn files() -> [StoredFile; 7] {
    let [root, timestamp, snapshot, targets] = RoleName::TOP_LEVEL.map(StoredFile::Role);
    [
        StoredFile::Floors,
        StoredFile::Identity,
        root,
        StoredFile::Root(Version::new(2).unwrap()),
        timestamp,
        snapshot,
        targets,
    ]
}

/// Returns the store of a new client after an update from an honest repository.
fn good() -> MemoryStore {
    let (shipped, published) = published(KIND);
    let store = MemoryStore::default();
    refresh(&shipped, &published, store.clone()).expect("an update from an honest repository must succeed");
    store
}

/// Each input is a sequence of files. A file is written as its index in [`files`], its length in two bytes, and its
/// content. If the highest bit in the first byte of the input is set, the files are written to an empty store.
/// Otherwise, they are written to the store from [`good`].
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let store = good();
    let kept = files().map(|file| store.read(&file, u64::MAX).unwrap());
    let part = |number: usize, bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[u8::try_from(number).unwrap()][..], &length, bytes].concat()
    };
    let kept: Vec<_> =
        kept.iter().enumerate().filter_map(|(number, kept)| Some(part(number, kept.as_ref()?))).collect();
    let mut seeds = kept.clone();
    seeds.push(kept.concat());
    seeds
}

pub(crate) fn store(mut input: &[u8]) {
    let (shipped, published) = published(KIND);
    let store = if input.first().is_some_and(|first| first & 0x80 == 0) { good() } else { MemoryStore::default() };
    let files = files();
    while let [number, high, low, rest @ ..] = input {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (bytes, others) = rest.split_at(length);
        store.write(&files[usize::from(*number & 0x7f) % files.len()], bytes).unwrap();
        input = others;
    }
    match refresh(&shipped, &published, store.clone()) {
        Ok(trusted) => {
            assert_eq!(signed(&trusted), signed(&newest(&published)), "one run must bring the client up to date");
            assert_eq!(refresh(&shipped, &published, store).expect("a second run must succeed"), trusted);
        }
        // The refresh may fail, for example if the stored versions are higher than the published ones, or if the file
        // with the identity of the store is damaged. The next refresh must then fail too.
        Err(Error::Refused(_) | Error::Limit(_) | Error::State(_) | Error::Local(_)) => {
            assert!(
                refresh(&shipped, &published, store).is_err(),
                "the refresh after a failed one must fail too, because the client must not repair a store silently"
            );
        }
        Err(other) => panic!("the network works, so the error cannot be {other}"),
    }
}

fn newest(published: &BTreeMap<String, Bytes>) -> Vec<Vec<u8>> {
    FILES.iter().map(|name| published[*name].to_vec()).collect()
}

/// Only the signed parts are compared, because a client keeps a stored file that has the same version as the published
/// file, even if the signatures of the two files differ.
fn signed(files: &[Vec<u8>]) -> Vec<Value> {
    let signed = |file: &Vec<u8>| serde_json::from_slice::<Value>(file).expect("JSON")["signed"].take();
    files.iter().map(signed).collect()
}
