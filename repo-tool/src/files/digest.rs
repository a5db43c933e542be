//! The length and SHA-256 of a file.

use std::fs::File;
use std::io::{self, Read as _};

use lastmile_metadata::{Hashes, TargetFile};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const CHUNK_SIZE: usize = 256 * 1024;

/// The length and SHA-256 of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    length: u64,
    sha256: String,
}

impl FileDigest {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { length: bytes.len() as u64, sha256: hex::encode(Sha256::digest(bytes)) }
    }

    /// Returns `None` if the target entry has no SHA-256.
    pub(crate) fn listed(target: &TargetFile) -> Option<Self> {
        let sha256 = sha256(&target.hashes)?;
        Some(Self { length: target.length, sha256 })
    }

    /// Reads the file to its end, and passes all bytes to `each`.
    pub(crate) fn of_file(mut file: File, mut each: impl FnMut(&[u8])) -> io::Result<Self> {
        let listed = file.metadata()?.len();
        let mut hasher = Sha256::new();
        let mut length = 0_u64;
        // For a small file, make the buffer one byte longer than the file, so that the first read reaches the end.
        let mut part =
            vec![0; usize::try_from(listed).map_or(CHUNK_SIZE, |listed| listed.saturating_add(1).min(CHUNK_SIZE))];
        loop {
            let count = file.read(&mut part)?;
            let Some(bytes) = part.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Ok(Self { length, sha256: hex::encode(hasher.finalize()) });
            };
            hasher.update(bytes);
            each(bytes);
            length = length.saturating_add(bytes.len() as u64);
        }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Formats the length and the first 16 digits of the SHA-256 for messages.
    pub(crate) fn shown(&self) -> String {
        format!("{} bytes with SHA-256 {}", self.length, self.sha256.get(..16).unwrap_or(&self.sha256))
    }
}

fn sha256(hashes: &Hashes) -> Option<String> {
    hashes.known().find(|(algorithm, _)| algorithm.name() == "sha256").map(|(_, digest)| hex::encode(digest))
}
