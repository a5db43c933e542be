//! Files as they come from a store or a server: small ones whole, and a very large targets role read where it lies.
//!
//! Such a role is verified like every other, by one pass over all of its bytes at each start, which holds none of them.
//! The pass notes where each target stands and a digest of each block. A target is then read from the file again and
//! its blocks are compared with what was verified, so that nobody who changes the file in between is believed. There is
//! no index on the disk, and so none that could be forged.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::envelope::read_head;
use crate::index::Entry as _;
use crate::reader::Reader;
use crate::scan::Scan;
use crate::verify::Required;
use crate::{Delegations, ErrorKind, HashingVerifier, Received, Signature, TargetFile, TargetPath, Targets, Version};

/// Bytes that are digested together, and read together.
pub(crate) const BLOCK: usize = 64 * 1024;

/// Most bytes before `signed`.
const LONGEST_HEAD: usize = BLOCK;

/// A file to be judged, from the store or from a server.
#[derive(Clone, Debug)]
pub enum FileContent {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// A file that is too large to be held, or read more than once, without need.
    File(Arc<dyn RandomAccess>),
}

/// A file that was accepted, to be kept byte for byte.
#[derive(Clone, Debug)]
pub enum Accepted {
    /// Its bytes.
    Received(Received),
    /// The file that was given in parts.
    File(Arc<dyn RandomAccess>),
}

/// A large file that can be read in parts. It may change while it is read: nothing that it says is believed twice.
pub trait RandomAccess: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    fn length(&self) -> u64;

    /// Reads from `offset` on until `into` is full; false where the file ends before, or cannot be read.
    #[must_use]
    fn read(&self, offset: u64, into: &mut [u8]) -> bool;

    /// Gives the whole file, from its start to its end, to both; they may run side by side, `other` without waiting for
    /// the file. False where the file cannot be read.
    #[must_use]
    fn pass(&self, one: &mut (dyn FnMut(&[u8]) + Send), other: &mut (dyn FnMut(&[u8]) + Send)) -> bool {
        let mut block = vec![0; BLOCK];
        let mut offset = 0;
        while offset < self.length() {
            let length = usize::try_from(self.length() - offset).unwrap_or(BLOCK).min(BLOCK);
            let Some(part) = block.get_mut(..length) else { return false };
            if !self.read(offset, part) {
                return false;
            }
            one(part);
            other(part);
            offset += length as u64;
        }
        true
    }
}

impl FileContent {
    /// The bytes; none where the file cannot be read.
    #[must_use]
    pub fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::File(file) => {
                let mut bytes = vec![0; usize::try_from(file.length()).ok()?];
                file.read(0, &mut bytes).then_some(bytes)
            }
        }
    }
}

/// A targets role that a threshold of the right keys has signed, and that is read where it is stored.
#[derive(Clone)]
pub(crate) struct StoredTargets {
    file: Arc<dyn RandomAccess>,
    /// The digest of each block of the file, as it was verified.
    blocks: Arc<Vec<[u8; 32]>>,
    /// Where each target stands in the file, in the order of their paths.
    starts: Arc<Vec<u32>>,
    /// Where the last one ends.
    end: u64,
    /// The role without its targets.
    rest: Targets,
}

impl StoredTargets {
    /// Verifies the file in one pass. Files whose text is not canonical as it stands cannot be read so.
    pub(crate) fn verify(file: &Arc<dyn RandomAccess>, required: &Required<'_>) -> Result<Self, ErrorKind> {
        let mut listed = required.listed_hashes(file.length())?;
        let (signatures, start) = read_file_head(&**file, required.limits.signatures)?;
        let signed = start..file.length().saturating_sub(1);
        let mut scan = Scan::new(signed.clone());
        let mut signers = required.ring.check(&signatures);
        let mut at = 0;
        let mut judge = |part: &[u8]| {
            // What it says against a part, it says against the whole.
            let _ = listed.as_mut().map(|listed| listed.update(part));
            signers.update(within(part, at, &signed));
            at += part.len() as u64;
        };
        if !file.pass(&mut |part| scan.update(part), &mut judge) {
            return Err(ErrorKind::StoredFileChanged);
        }
        // 5.6.2
        listed.map_or(Ok(()), HashingVerifier::finish)?;
        // 5.6.3
        signers.finish()?;
        let scanned = scan.finish()?;
        let (blocks, starts) = (Arc::new(scanned.blocks), Arc::new(scanned.starts));
        Ok(Self { file: Arc::clone(file), blocks, starts, end: scanned.end, rest: scanned.rest })
    }

    pub(crate) fn file(&self) -> &Arc<dyn RandomAccess> {
        &self.file
    }

    pub(crate) fn version(&self) -> Version {
        self.rest.version
    }

    pub(crate) fn expires(&self) -> DateTime<Utc> {
        self.rest.expires
    }

    pub(crate) fn delegations(&self) -> Option<&Delegations> {
        self.rest.delegations.as_ref()
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// What the role itself lists about `path`; an error where the file has changed since it was verified.
    pub(crate) fn target(&self, path: &TargetPath) -> Result<Option<TargetFile>, ErrorKind> {
        let (mut low, mut high) = (0, self.starts.len());
        while low < high {
            let middle = low.midpoint(high);
            let text = self.member(middle)?;
            let mut reader = Reader::new(&text);
            let name = reader.name()?;
            match name.as_ref().cmp(path.as_str()) {
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
                core::cmp::Ordering::Equal => return TargetFile::read(&name, &mut reader).map(Some),
            }
        }
        Ok(None)
    }

    /// The paths of all targets, in their order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = Result<TargetPath, ErrorKind>> + '_ {
        (0..self.starts.len()).map(|at| {
            let text = self.member(at)?;
            let name = Reader::new(&text).name()?.into_owned();
            TargetPath::new(name).map_err(|_| ErrorKind::StoredFileChanged)
        })
    }

    /// The text of one target, its path before it.
    fn member(&self, at: usize) -> Result<String, ErrorKind> {
        let start = self.starts.get(at).copied().map(u64::from);
        let end = self.starts.get(at + 1).map_or(self.end, |next| u64::from(*next));
        let bytes = start.and_then(|start| self.read(start..end)).ok_or(ErrorKind::StoredFileChanged)?;
        String::from_utf8(bytes).map_err(|_| ErrorKind::StoredFileChanged)
    }

    /// These bytes of the file, if they are in blocks that are still what was verified.
    fn read(&self, range: Range<u64>) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut number = usize::try_from(range.start).ok()? / BLOCK;
        while (number * BLOCK) as u64 <= range.end.checked_sub(1)? {
            let offset = (number * BLOCK) as u64;
            let length = self.file.length().checked_sub(offset)?.min(BLOCK as u64);
            let mut block = vec![0; usize::try_from(length).ok()?];
            if !self.file.read(offset, &mut block) || Sha256::digest(&block)[..] != self.blocks.get(number)?[..] {
                return None;
            }
            bytes.extend_from_slice(within(&block, offset, &range));
            number += 1;
        }
        Some(bytes)
    }
}

impl fmt::Debug for StoredTargets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredTargets").field("file", &self.file).field("rest", &self.rest).finish_non_exhaustive()
    }
}

/// The signatures, and where `signed` starts. Whether that is so, the pass shows.
fn read_file_head(file: &dyn RandomAccess, most_signatures: u32) -> Result<(Vec<Signature>, u64), ErrorKind> {
    let mut head = vec![0; usize::try_from(file.length()).unwrap_or(LONGEST_HEAD).min(LONGEST_HEAD)];
    if !file.read(0, &mut head) {
        return Err(ErrorKind::StoredFileChanged);
    }
    let text = head.utf8_chunks().next().map(|chunk| chunk.valid()).unwrap_or_default();
    let found = read_head(text, most_signatures)?;
    let (signatures, start) =
        found.ok_or_else(|| ErrorKind::expected("the member signatures, then the member signed"))?;
    Ok((signatures, start as u64))
}

/// What of `part`, which stands at `offset`, lies in `range`.
pub(crate) fn within<'p>(part: &'p [u8], offset: u64, range: &Range<u64>) -> &'p [u8] {
    let place = |at: u64| usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX).min(part.len());
    part.get(place(range.start)..place(range.end)).unwrap_or_default()
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
