//! Large metadata files, from the store or just fetched. Two readers can read a large file in parts at the same time.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use lastmile_metadata::RandomAccess;

const CHUNK_SIZE: usize = 256 * 1024;

/// The maximum number of parts by which one reader may be ahead of the other reader.
const AHEAD: usize = 8;

/// A file in the store. Because the file stays open, its content stays the same even if another file is renamed to its
/// path.
#[derive(Debug)]
pub(crate) struct LargeFile {
    file: File,
    length: u64,
}

impl LargeFile {
    pub(crate) fn new(file: File, length: u64) -> LargeFile {
        LargeFile { file, length }
    }

    /// Returns false if the file cannot be read to its end.
    fn each_part(&self, mut take: impl FnMut(&Arc<Vec<u8>>)) -> bool {
        let mut offset = 0;
        let mut taken: VecDeque<Arc<Vec<u8>>> = VecDeque::new();
        while offset < self.length {
            // Reuse the buffer of an old part, because allocating a new buffer would take longer than reading a part
            // into it. The other reader has finished with this part: at most `AHEAD` newer parts are in the channel to
            // that reader, and the reader works on one newer part.
            let done = if taken.len() > AHEAD + 1 { taken.pop_front() } else { None };
            let mut part = done.and_then(Arc::into_inner).unwrap_or_default();
            part.resize(usize::try_from(self.length - offset).unwrap_or(CHUNK_SIZE).min(CHUNK_SIZE), 0);
            if !self.read(offset, &mut part) {
                return false;
            }
            offset += part.len() as u64;
            let part = Arc::new(part);
            take(&part);
            taken.push_back(part);
        }
        true
    }
}

impl RandomAccess for LargeFile {
    fn length(&self) -> u64 {
        self.length
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        self.file.read_exact_at(into, offset).is_ok()
    }

    fn pass(&self, one: &mut (dyn FnMut(&[u8]) + Send), other: &mut (dyn FnMut(&[u8]) + Send)) -> bool {
        let (sender, receiver) = sync_channel::<Arc<Vec<u8>>>(AHEAD);
        thread::scope(|scope| {
            let beside = scope.spawn(move || receiver.iter().for_each(|part| other(&part)));
            let whole = self.each_part(|part| {
                // If the other reader has panicked, `join` reports it.
                let _ = sender.send(Arc::clone(part));
                one(part);
            });
            drop(sender);
            beside.join().is_ok() && whole
        })
    }
}

pub(crate) struct LargeBytes(Vec<u8>);

impl LargeBytes {
    pub(crate) fn new(bytes: Vec<u8>) -> LargeBytes {
        LargeBytes(bytes)
    }
}

impl fmt::Debug for LargeBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl RandomAccess for LargeBytes {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        let part = usize::try_from(offset).ok().and_then(|start| self.0.get(start..)?.get(..into.len()));
        part.map(|part| into.copy_from_slice(part)).is_some()
    }

    fn pass(&self, one: &mut (dyn FnMut(&[u8]) + Send), other: &mut (dyn FnMut(&[u8]) + Send)) -> bool {
        thread::scope(|scope| {
            let beside = scope.spawn(|| self.0.chunks(CHUNK_SIZE).for_each(other));
            self.0.chunks(CHUNK_SIZE).for_each(one);
            beside.join().is_ok()
        })
    }
}

#[cfg(test)]
#[path = "large_tests.rs"]
mod tests;
