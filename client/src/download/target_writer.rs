//! Verifies the bytes of a target and writes them to a temporary file or to memory. Uses a separate thread, so that
//! hashing and writing do not delay network requests.

use std::io;

use bytes::Bytes;
use lastmile_fs::disk::NewFile;
use lastmile_metadata::{FileError, TargetFile};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::LocalError;
use crate::open_directory::Temporary;

/// The number of received parts that are buffered between the network and the disk. A part has at most a few hundred
/// KiB, so a download uses at most a few MiB of memory.
const CHUNKS: usize = 8;

/// The number of bytes that are written before the next `fsync` starts. The download continues during the `fsync`.
const SYNC_AFTER: usize = 32 * 1024 * 1024;

enum WriterCommand {
    Append(Bytes),
    Restart,
    Verify(oneshot::Sender<Result<(), FileError>>),
}

/// The memory or the file to which the bytes of a target are written.
pub(crate) trait Content: Send + 'static {
    fn append(&mut self, bytes: &[u8]) -> Result<(), LocalError>;

    /// Removes all bytes written so far.
    fn empty(&mut self) -> Result<(), LocalError>;

    fn complete(&mut self) -> Result<(), LocalError>;
}

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

/// Writes a target to a temporary file.
pub(crate) struct GrowingFile {
    pub(crate) file: Temporary,
    syncing: Syncing,
}

impl GrowingFile {
    /// `file` must be empty.
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

/// Sends the bytes of one target to the thread that verifies and writes them.
pub(crate) struct TargetWriter<C> {
    commands: mpsc::Sender<WriterCommand>,
    worker: JoinHandle<Result<C, LocalError>>,
}

impl<C: Content> TargetWriter<C> {
    /// Starts the thread that writes to `content`, which must be empty.
    pub(crate) fn start(content: C, target: TargetFile) -> TargetWriter<C> {
        let (commands, inbox) = mpsc::channel(CHUNKS);
        let worker = tokio::task::spawn_blocking(move || work(inbox, content, &target));
        TargetWriter { commands, worker }
    }

    /// Returns false if an earlier write failed; [`finish`](TargetWriter::finish) returns the error.
    pub(crate) async fn append(&self, bytes: Bytes) -> bool {
        self.commands.send(WriterCommand::Append(bytes)).await.is_ok()
    }

    /// Discards all bytes received so far. Returns false if an earlier write failed.
    pub(crate) async fn restart(&self) -> bool {
        self.commands.send(WriterCommand::Restart).await.is_ok()
    }

    /// Verifies that the bytes received so far are the whole target, and removes them if they are not. Returns `None`
    /// if a write failed.
    pub(crate) async fn verify(&self) -> Option<Result<(), FileError>> {
        let (answer, verdict) = oneshot::channel();
        self.commands.send(WriterCommand::Verify(answer)).await.ok()?;
        verdict.await.ok()
    }

    /// Waits until all bytes have been written, and returns the content.
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
                // `update` fails if there are too many bytes. Ignore this error here: the download checks the length
                // whenever bytes arrive, and `HashingVerifier::finish` returns the error again.
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
                // Sending fails only if the download was dropped and no longer needs the result.
                let _ = answer.send(verdict);
            }
        }
    }
    content.complete()?;
    Ok(content)
}

/// Calls `fsync` on a large file while the file is still growing, so that the final `fsync` is fast.
#[derive(Default)]
struct Syncing {
    unsynced: usize,
    running: Option<std::thread::JoinHandle<io::Result<()>>>,
}

impl Syncing {
    /// Counts the `bytes` that were just written to `file`. Starts an `fsync` if at least [`SYNC_AFTER`] bytes have
    /// been written since the last one started. While an `fsync` is running, no other is started.
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

    /// Waits for the `fsync` that was started last, if any, and returns its result. Callers must not ignore the result,
    /// because the system reports a failed `fsync` only once.
    fn wait(&mut self) -> io::Result<()> {
        match self.running.take().map(std::thread::JoinHandle::join) {
            Some(Ok(synced)) => synced,
            Some(Err(_)) => Err(io::Error::other("the sync thread panicked")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open_directory::{OpenDirectory, PRIVATE};

    #[test]
    fn a_large_file_is_synced_while_it_grows() {
        let dir = tempfile::tempdir().unwrap();
        let temporary = OpenDirectory::open(dir.path()).unwrap().temporary(PRIVATE).unwrap();
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
    fn a_failed_sync_is_reported() {
        let failed = || Some(std::thread::spawn(|| Err(io::Error::other("for the test"))));
        assert!(Syncing { unsynced: 0, running: failed() }.wait().is_err());
        let dir = tempfile::tempdir().unwrap();
        let folder = OpenDirectory::open(dir.path()).unwrap();
        let file = folder.temporary(PRIVATE).unwrap();
        assert!(GrowingFile { file, syncing: Syncing { unsynced: 0, running: failed() } }.complete().is_err());
        let temporary = folder.temporary(PRIVATE).unwrap();
        let mut syncing = Syncing { unsynced: 0, running: failed() };
        while !syncing.running.as_ref().unwrap().is_finished() {
            std::thread::yield_now();
        }
        assert!(syncing.wrote(&temporary.file, SYNC_AFTER).is_err());
    }
}
