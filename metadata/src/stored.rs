//! Files from a store or a server. Small files are held in memory. A very large targets role is read from its file in
//! parts.
//!
//! Every update reads the whole file of such a role once, without holding it in memory, and verifies it like any other
//! role. During this pass, the position of each target and a digest of each block are recorded. When a target is later
//! read from the file, the blocks that contain it are checked against the recorded digests. Therefore a change to these
//! blocks since the first pass is detected. There is no index on disk that an attacker could forge.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use sha2::{Digest as _, Sha256};

use crate::envelope::read_head;
use crate::index::Entry as _;
use crate::reader::Reader;
use crate::scan::{BLOCK, Scan, within};
use crate::verify::Required;
use crate::{Delegations, ErrorKind, HashingVerifier, Header, Received, Signature, TargetFile, TargetPath, Targets};

/// The maximum number of bytes before `signed` in a file.
const MAX_HEAD_LENGTH: usize = BLOCK;

/// The content of a file from the store or from a server.
#[derive(Clone, Debug)]
pub enum FileContent {
    /// The bytes of the file.
    Bytes(Vec<u8>),
    /// A file that is too large to be held in memory.
    File(Arc<dyn RandomAccess>),
}

/// An accepted file, to be stored byte for byte.
#[derive(Clone, Debug)]
pub enum Accepted {
    /// The bytes of the file.
    Received(Received),
    /// The file that was passed as [`FileContent::File`].
    File(Arc<dyn RandomAccess>),
}

/// A large file that can be read in parts. The file may change between two reads, so every part is verified each time
/// it is read.
pub trait RandomAccess: Send + Sync + fmt::Debug {
    /// Returns the length in bytes.
    fn length(&self) -> u64;

    /// Fills `into` with the bytes that start at `offset`. Returns `false` if the file is too short or cannot be read.
    #[must_use]
    fn read(&self, offset: u64, into: &mut [u8]) -> bool;

    /// Reads the whole file once, in order, and passes each part to `one` and to `other`. An implementation may call
    /// the two functions in parallel. Returns `false` if the file cannot be read.
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
    /// Returns the length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(file) => file.length(),
        }
    }

    /// Returns the bytes, or `None` if the file cannot be read.
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

#[derive(Clone)]
pub(crate) struct StoredTargets {
    file: Arc<dyn RandomAccess>,
    /// The digest of each block of the verified file.
    blocks: Arc<Vec<[u8; 32]>>,
    /// The position of each target in the file, in the order of the paths.
    starts: Arc<Vec<u32>>,
    /// The position after the last target in the file.
    end: u64,
    /// The role without its targets.
    rest: Targets,
}

impl StoredTargets {
    /// Verifies the file in one pass. Refuses a file that is not in canonical form, even if its signatures
    /// are valid.
    pub(crate) fn verify(file: &Arc<dyn RandomAccess>, required: &Required<'_>) -> Result<Self, ErrorKind> {
        let mut listed = required.listed_hashes(file.length())?;
        let (signatures, start) = read_file_head(&**file, required.limits.signatures)?;
        let signed = start..file.length().saturating_sub(1);
        let mut scan = Scan::new(signed.clone());
        let mut signers = required.ring.check(&signatures);
        let mut at = 0;
        let mut judge = |part: &[u8]| {
            // Ignore the error here, because `finish` returns it again.
            let _ = listed.as_mut().map(|listed| listed.update(part));
            signers.update(within(part, at, &signed));
            at += part.len() as u64;
        };
        if !file.pass(&mut |part| scan.update(part), &mut judge) {
            return Err(ErrorKind::StoredFileChanged);
        }
        // Spec 5.6.2: check the listed hashes.
        listed.map_or(Ok(()), HashingVerifier::finish)?;
        // Spec 5.6.3: check the signatures.
        signers.finish()?;
        let scanned = scan.finish()?;
        Ok(Self {
            file: Arc::clone(file),
            blocks: Arc::new(scanned.blocks),
            starts: Arc::new(scanned.starts),
            end: scanned.end,
            rest: scanned.rest,
        })
    }

    pub(crate) fn file(&self) -> &Arc<dyn RandomAccess> {
        &self.file
    }

    pub(crate) fn header(&self) -> &Header {
        &self.rest.header
    }

    pub(crate) fn delegations(&self) -> Option<&Delegations> {
        self.rest.delegations.as_ref()
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Returns the target that the role itself lists for `path`. Returns an error if a block that the lookup reads has
    /// changed since the file was verified.
    pub(crate) fn target(&self, path: &TargetPath) -> Result<Option<TargetFile>, ErrorKind> {
        let mut low = 0;
        let mut high = self.starts.len();
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

    /// Returns the paths of all targets, in ascending order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = Result<TargetPath, ErrorKind>> + '_ {
        (0..self.starts.len()).map(|at| {
            let text = self.member(at)?;
            let name = Reader::new(&text).name()?.into_owned();
            TargetPath::new(name).map_err(|_| ErrorKind::StoredFileChanged)
        })
    }

    /// Returns the text of one target, including its path.
    fn member(&self, at: usize) -> Result<String, ErrorKind> {
        let start = self.starts.get(at).copied().map(u64::from);
        let end = self.starts.get(at + 1).map_or(self.end, |next| u64::from(*next));
        let bytes = start.and_then(|start| self.read(start..end)).ok_or(ErrorKind::StoredFileChanged)?;
        String::from_utf8(bytes).map_err(|_| ErrorKind::StoredFileChanged)
    }

    /// Returns the bytes of a range of the file. Returns `None` if a block in the range cannot be read or differs from
    /// the verified file.
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

/// Reads the beginning of a file, and returns the signatures and the position of `signed`. The caller must not trust
/// them before a [`Scan`] has checked the whole file.
fn read_file_head(file: &dyn RandomAccess, most_signatures: u32) -> Result<(Vec<Signature>, u64), ErrorKind> {
    let mut head = vec![0; usize::try_from(file.length()).unwrap_or(MAX_HEAD_LENGTH).min(MAX_HEAD_LENGTH)];
    if !file.read(0, &mut head) {
        return Err(ErrorKind::StoredFileChanged);
    }
    let text = head.utf8_chunks().next().map(|chunk| chunk.valid()).unwrap_or_default();
    let found = read_head(text, most_signatures)?;
    let (signatures, start) =
        found.ok_or_else(|| ErrorKind::expected("the member signatures, then the member signed"))?;
    Ok((signatures, start as u64))
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
