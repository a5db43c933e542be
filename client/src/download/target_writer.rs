//! Where the bytes of a target go: through its verifier into a file that has no name yet or into memory, on a thread of
//! its own, so that hashing and writing do not hold up the network.

use std::io;

use bytes::Bytes;
use lastmile_metadata::{FileError, TargetFile};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::disk::NewFile;
use crate::error::LocalError;
use crate::folder::Temporary;

/// Parts on their way between network and disk: with parts of at most a few hundred KiB this bounds
/// the memory of a transfer to a few MiB.
const PARTS: usize = 8;

/// A sync is begun when so many bytes have been written since the last one.
const SYNC_AFTER: usize = 32 * 1024 * 1024;

enum WriterCommand {
    Append(Bytes),
    Restart,
    Verify(oneshot::Sender<Result<(), FileError>>),
}

/// What the bytes of a target are written to.
pub(crate) trait Content: Send + 'static {
    /// Adds the next bytes.
    fn append(&mut self, bytes: &[u8]) -> Result<(), LocalError>;

    /// Removes all bytes.
    fn empty(&mut self) -> Result<(), LocalError>;

    /// Nothing more is added.
    fn complete(&mut self) -> Result<(), LocalError>;
}

/// A small target is held in memory.
impl Content for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), LocalError> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn empty(&mut self) -> Result<(), LocalError> {
        self.clear();
        Ok(())
    }

    fn complete(&mut self) -> Result<(), LocalError> {
        Ok(())
    }
}

/// A file that grows, without a name.
pub(crate) struct GrowingFile {
    pub(crate) file: Temporary,
    syncing: Syncing,
}

impl GrowingFile {
    /// Begins with `file`, which is empty.
    pub(crate) fn new(file: Temporary) -> GrowingFile {
        GrowingFile { file, syncing: Syncing::default() }
    }
}

impl Content for GrowingFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), LocalError> {
        let written = self.file.file.write_all(bytes);
        written
            .and_then(|()| self.syncing.wrote(&self.file.file, bytes.len()))
            .map_err(|error| self.file.failed("write", error))
    }

    fn empty(&mut self) -> Result<(), LocalError> {
        self.file.file.empty().map_err(|error| self.file.failed("empty", error))
    }

    fn complete(&mut self) -> Result<(), LocalError> {
        self.syncing.wait().map_err(|error| self.file.failed("sync", error))
    }
}

/// Takes the bytes of one target.
pub(crate) struct TargetWriter<C> {
    commands: mpsc::Sender<WriterCommand>,
    worker: JoinHandle<Result<C, LocalError>>,
}

impl<C: Content> TargetWriter<C> {
    /// Begins with `content`, which is empty.
    pub(crate) fn start(content: C, target: TargetFile) -> TargetWriter<C> {
        let (commands, inbox) = mpsc::channel(PARTS);
        let worker = tokio::task::spawn_blocking(move || work(inbox, content, &target));
        TargetWriter { commands, worker }
    }

    /// Takes the next bytes. False when the disk failed; [`finish`](TargetWriter::finish) tells how.
    pub(crate) async fn append(&self, bytes: Bytes) -> bool {
        self.commands.send(WriterCommand::Append(bytes)).await.is_ok()
    }

    /// Forgets all bytes so far. False when the disk failed.
    pub(crate) async fn restart(&self) -> bool {
        self.commands.send(WriterCommand::Restart).await.is_ok()
    }

    /// The verdict about the bytes so far, as the whole file; none when the disk failed. A verdict
    /// against them forgets them.
    pub(crate) async fn verify(&self) -> Option<Result<(), FileError>> {
        let (answer, verdict) = oneshot::channel();
        self.commands.send(WriterCommand::Verify(answer)).await.ok()?;
        verdict.await.ok()
    }

    /// The content.
    pub(crate) async fn finish(self) -> Result<C, LocalError> {
        drop(self.commands);
        self.worker.await.unwrap_or_else(|error| Err(LocalError::new("write", "the target", io::Error::other(error))))
    }
}

fn work<C: Content>(
    mut inbox: mpsc::Receiver<WriterCommand>,
    mut content: C,
    target: &TargetFile,
) -> Result<C, LocalError> {
    let mut verifier = target.verifier();
    while let Some(command) = inbox.blocking_recv() {
        match command {
            WriterCommand::Append(bytes) => {
                // Too long is noticed by the transfer already, and again by the verdict.
                let _ = verifier.update(&bytes);
                content.append(&bytes)?;
            }
            WriterCommand::Restart => {
                verifier = target.verifier();
                content.empty()?;
            }
            WriterCommand::Verify(answer) => {
                let verdict = std::mem::replace(&mut verifier, target.verifier()).finish();
                if verdict.is_err() {
                    content.empty()?;
                }
                // Nobody waits any more: the download was dropped.
                let _ = answer.send(verdict);
            }
        }
    }
    content.complete()?;
    Ok(content)
}

/// Brings a large file to the disk while it is still growing, so that the last sync finds little.
#[derive(Default)]
struct Syncing {
    unsynced: usize,
    running: Option<std::thread::JoinHandle<io::Result<()>>>,
}

impl Syncing {
    /// So many more bytes are written to `file`.
    fn wrote(&mut self, file: &NewFile, bytes: usize) -> io::Result<()> {
        self.unsynced += bytes;
        let is_running = self.running.as_ref().is_some_and(|running| !running.is_finished());
        if self.unsynced < SYNC_AFTER || is_running {
            return Ok(());
        }
        self.wait()?;
        self.unsynced = 0;
        let file = file.try_clone()?;
        self.running = Some(std::thread::Builder::new().spawn(move || file.sync())?);
        Ok(())
    }

    /// A failed sync is told only once by the system: its answer must not be lost.
    fn wait(&mut self) -> io::Result<()> {
        match self.running.take().map(std::thread::JoinHandle::join) {
            Some(Ok(synced)) => synced,
            Some(Err(_)) => Err(io::Error::other("the sync ended early")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::{Folder, PRIVATE};

    #[test]
    fn a_large_file_is_synced_while_it_grows() {
        let dir = tempfile::tempdir().unwrap();
        let temporary = Folder::open(dir.path()).unwrap().temporary(PRIVATE).unwrap();
        let mut syncing = Syncing::default();
        syncing.wrote(&temporary.file, SYNC_AFTER - 1).unwrap();
        assert!(syncing.running.is_none());
        for _ in 0..2 {
            syncing.wrote(&temporary.file, SYNC_AFTER - syncing.unsynced).unwrap();
            assert_eq!(syncing.unsynced, 0);
            while !syncing.running.as_ref().unwrap().is_finished() {
                std::thread::yield_now();
            }
        }
        syncing.wait().unwrap();
    }

    #[test]
    fn a_sync_that_failed_is_told() {
        let failed = || Some(std::thread::spawn(|| Err(io::Error::other("for the test"))));
        assert!(Syncing { unsynced: 0, running: failed() }.wait().is_err());
        let dir = tempfile::tempdir().unwrap();
        let temporary = Folder::open(dir.path()).unwrap().temporary(PRIVATE).unwrap();
        let mut syncing = Syncing { unsynced: 0, running: failed() };
        while !syncing.running.as_ref().unwrap().is_finished() {
            std::thread::yield_now();
        }
        assert!(syncing.wrote(&temporary.file, SYNC_AFTER).is_err());
    }
}
