//! Locks that a command holds only while it changes one file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lastmile_fs::disk;

use crate::Error;

const MAX_WAIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// Takes the lock on the file `path`, which is created if it does not exist. If another command holds the lock, waits
/// for at most [`MAX_WAIT`].
pub(crate) fn lock(path: &Path) -> Result<File, Error> {
    let failed = |error| Error::file("lock", path, error);
    let start = Instant::now();
    loop {
        if let Some(file) = disk::try_lock_at(path, disk::lock_file_of_owner).map_err(failed)? {
            return Ok(file);
        }
        if start.elapsed() > MAX_WAIT {
            return Err(failed(io::ErrorKind::TimedOut.into()));
        }
        std::thread::sleep(PAUSE);
    }
}

/// A lock file that is removed when the value is dropped.
pub(crate) struct TemporaryLock {
    path: PathBuf,
    _file: File,
}

impl TemporaryLock {
    pub(crate) fn take(path: PathBuf) -> Result<Self, Error> {
        let file = lock(&path)?;
        Ok(Self { path, _file: file })
    }
}

impl Drop for TemporaryLock {
    fn drop(&mut self) {
        // The lock is still held here. A command that waits for the lock notices that the file was removed, and creates
        // a new file.
        let _ = disk::remove(&*self.path);
    }
}
