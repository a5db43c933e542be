//! Stores evidence and trust roots, so that policies can be evaluated again without a network. The files are named
//! after their SHA-256 hashes, and are verified whenever they are read. The number and the total length of the stored
//! files are limited; the least recently used files are removed first.

use chrono::{DateTime, NaiveDate, Utc};
use lastmile_metadata::{Algorithm, FileContent, TargetFile};

use crate::error::{Error, LocalError};
use crate::store::StoredFile;
use crate::store::shared::{LockedStore, SharedStore};

const MAX_FILES: usize = 1024;

/// The maximum total length, in bytes, of the evidence files and trust roots in the store.
const MAX_TOTAL_LENGTH: u64 = 64 * 1024 * 1024;

/// The maximum length, in bytes, of the index, in which each line has fewer than 128 bytes.
const MAX_INDEX_LENGTH: u64 = 128 * MAX_FILES as u64;

/// Returns the stored content of `file`, or `None` if the stored file is missing or damaged.
pub(crate) fn read(store: &SharedStore, file: &TargetFile) -> Result<Option<Vec<u8>>, LocalError> {
    let Some(sha256) = sha256_of(file) else { return Ok(None) };
    let stored = match store.open(&StoredFile::Evidence(sha256), file.length) {
        Err(error) if error.is_unusable_content() => None,
        opened => opened?,
    };
    let content = stored.and_then(FileContent::into_bytes);
    Ok(content.filter(|content| {
        let mut verifier = file.verifier();
        verifier.update(content).and_then(|()| verifier.finish()).is_ok()
    }))
}

/// Stores the verified content of `file`, and records `time` as the time of its last use. Removes other files if the
/// limits are exceeded. Does nothing if the metadata lists no SHA-256 for the file.
pub(crate) async fn keep(
    store: &SharedStore,
    file: &TargetFile,
    content: &[u8],
    time: DateTime<Utc>,
) -> Result<(), Error> {
    let Some(sha256) = sha256_of(file) else { return Ok(()) };
    let work = |store: &LockedStore<'_>| {
        let mut index = Index::read(store)?;
        index.set(Entry { sha256, length: file.length, used: time.date_naive() });
        // Remove old files before the index is written, and add the new file afterwards. Even after a crash, the index
        // then lists every existing file. A file that is not in the index would never be removed.
        for entry in index.remove_excess() {
            store.remove(&StoredFile::Evidence(entry.sha256))?;
        }
        index.write(store)?;
        Ok(store.write(&StoredFile::Evidence(sha256), content)?)
    };
    store.exclusively(work).await
}

/// Records `time` as the time of the last use of `file`. Writes to the store at most once a day for each file, because
/// the index contains only the day.
pub(crate) async fn mark_used(store: &SharedStore, file: &TargetFile, time: DateTime<Utc>) -> Result<(), Error> {
    let Some(sha256) = sha256_of(file) else { return Ok(()) };
    let entry = Entry { sha256, length: file.length, used: time.date_naive() };
    let is_recorded = |index: &Index| index.0.iter().any(|known| known.sha256 == sha256 && known.used >= entry.used);
    if is_recorded(&Index::of(store.open(&StoredFile::EvidenceIndex, MAX_INDEX_LENGTH))?) {
        return Ok(());
    }
    let work = |store: &LockedStore<'_>| {
        let mut index = Index::read(store)?;
        index.set(entry.clone());
        Ok(index.write(store)?)
    };
    store.exclusively(work).await
}

fn sha256_of(file: &TargetFile) -> Option<[u8; 32]> {
    let (_, digest) = file.hashes.known().find(|(algorithm, _)| *algorithm == Algorithm::Sha256)?;
    digest.try_into().ok()
}

/// The index of the stored evidence files and trust roots. Each line contains the SHA-256 hash, the length and the day
/// of the last use of one file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Index(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    sha256: [u8; 32],
    length: u64,
    used: NaiveDate,
}

impl Index {
    fn read(store: &LockedStore<'_>) -> Result<Index, LocalError> {
        Index::of(store.open(&StoredFile::EvidenceIndex, MAX_INDEX_LENGTH))
    }

    /// Returns an empty index if the stored index is missing or unusable.
    fn of(opened: Result<Option<FileContent>, LocalError>) -> Result<Index, LocalError> {
        let opened = match opened {
            Err(error) if error.is_unusable_content() => None,
            opened => opened?,
        };
        let bytes = opened.and_then(FileContent::into_bytes).unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap_or_default();
        Ok(Index(text.lines().filter_map(Entry::parse).collect()))
    }

    fn write(&self, store: &LockedStore<'_>) -> Result<(), LocalError> {
        let line = |entry: &Entry| format!("{} {} {}\n", hex::encode(entry.sha256), entry.length, entry.used);
        let text: String = self.0.iter().map(line).collect();
        store.write(&StoredFile::EvidenceIndex, text.as_bytes())
    }

    /// If the index already has an entry for the same file, the new entry replaces it. The new entry then gets the
    /// later of the two days of use.
    fn set(&mut self, mut entry: Entry) {
        if let Some(known) = self.0.iter().find(|known| known.sha256 == entry.sha256) {
            entry.used = entry.used.max(known.used);
        }
        self.0.retain(|known| known.sha256 != entry.sha256);
        self.0.push(entry);
    }

    /// Removes and returns the least recently used entries until the index is within the limits. Never removes the
    /// entry that was added last.
    fn remove_excess(&mut self) -> Vec<Entry> {
        let mut removed = Vec::new();
        while self.0.len() > MAX_FILES || self.total_length() > MAX_TOTAL_LENGTH {
            let before_last = self.0.len().saturating_sub(1);
            let oldest = self.0.iter().take(before_last).enumerate().min_by_key(|(_, entry)| entry.used);
            let Some((oldest, _)) = oldest else { break };
            removed.push(self.0.remove(oldest));
        }
        removed
    }

    fn total_length(&self) -> u64 {
        self.0.iter().map(|entry| entry.length).fold(0, u64::saturating_add)
    }
}

impl Entry {
    fn parse(line: &str) -> Option<Entry> {
        let mut words = line.split(' ');
        let sha256 = hex::decode(words.next()?).ok()?.try_into().ok()?;
        let length = words.next()?.parse().ok()?;
        let used = words.next()?.parse().ok()?;
        Some(Entry { sha256, length, used })
    }
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
