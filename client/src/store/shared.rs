//! A store that several processes use. A process holds the lock on the files only while it reads or writes them, never
//! during network requests. To ensure this, callers pass the work that needs the lock as a closure, which cannot await
//! anything.

use std::ops::Deref;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lastmile_metadata::{Accepted, FileContent};

use crate::error::{Error, LocalError};
use crate::event::{Event, EventSink};
use crate::store::{LockKind, Store, StoreLock, StoredFile};

/// The pause between two attempts to take a lock that another process holds.
const PAUSE: Duration = Duration::from_millis(20);

/// How long to wait for the lock on the files before an event reports the wait. This lock is usually held for
/// milliseconds.
const REPORT_FILES_AFTER: Duration = Duration::from_millis(500);

/// The maximum number of attempts of [`SharedStore::exclusively_if_free`] to take the lock. Between two attempts, the
/// thread is blocked for [`PAUSE`].
const BLOCKING_ATTEMPTS: u32 = 10;

/// A store whose files change only while a process holds the lock on them.
pub(crate) struct SharedStore {
    store: Box<dyn Store>,
    events: Arc<dyn EventSink>,
    lock_wait: Duration,
}

pub(crate) struct RefreshLock {
    _lock: StoreLock,
}

/// A store while this process holds the lock on its files, so that no other process changes them.
pub(crate) struct LockedStore<'a>(&'a dyn Store);

impl SharedStore {
    pub(crate) fn new(store: Box<dyn Store>, events: Arc<dyn EventSink>, lock_wait: Duration) -> SharedStore {
        SharedStore { store, events, lock_wait }
    }

    /// Runs `work` while no other process can change the files. `work` is not a future, so it cannot await anything
    /// while the lock is held.
    pub(crate) async fn exclusively<T>(
        &self,
        work: impl FnOnce(&LockedStore<'_>) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let _lock = self.lock(LockKind::Files).await?;
        work(&LockedStore(&*self.store))
    }

    /// Like [`exclusively`](SharedStore::exclusively), but for `Drop` implementations, which cannot await. Blocks the
    /// thread for a short time. If another process still holds the lock after this time, `work` does not run.
    pub(crate) fn exclusively_if_free(&self, work: impl FnOnce(&LockedStore<'_>)) {
        for _ in 0..BLOCKING_ATTEMPTS {
            match self.store.try_lock(LockKind::Files) {
                Ok(Some(_lock)) => return work(&LockedStore(&*self.store)),
                Ok(None) => thread::sleep(PAUSE),
                Err(_) => return,
            }
        }
    }

    /// Takes the lock that prevents other processes from refreshing the store. This lock may be held during network
    /// requests, because it does not prevent other processes from reading the store.
    pub(crate) async fn lock_for_refresh(&self) -> Result<RefreshLock, Error> {
        Ok(RefreshLock { _lock: self.lock(LockKind::Refresh).await? })
    }

    /// Takes a lock. Waits up to `lock_wait` while another process holds the lock, and sends one event if the wait is
    /// long.
    async fn lock(&self, kind: LockKind) -> Result<StoreLock, Error> {
        let mut waited = Duration::ZERO;
        let mut is_reported = false;
        let report_after = match kind {
            LockKind::Files => REPORT_FILES_AFTER,
            LockKind::Refresh => Duration::ZERO,
        };
        loop {
            if let Some(lock) = self.store.try_lock(kind)? {
                return Ok(lock);
            }
            if !is_reported && waited >= report_after {
                self.events.handle(&Event::Waiting { store: self.description() });
                is_reported = true;
            }
            if waited >= self.lock_wait {
                let error = std::io::Error::from(std::io::ErrorKind::ResourceBusy);
                return Err(LocalError::new("lock", self.description(), error)
                    .with_hint("another process is using the store; end that process, or try again later")
                    .into());
            }
            tokio::time::sleep(PAUSE).await;
            waited += PAUSE;
        }
    }

    /// Opens one file without a lock, which is safe because files are replaced atomically. To open several files that
    /// must be consistent, use [`exclusively`](SharedStore::exclusively).
    pub(crate) fn open(&self, file: &StoredFile, max_length: u64) -> Result<Option<FileContent>, LocalError> {
        self.store.open(file, max_length)
    }

    pub(crate) fn hold(&self, bytes: Vec<u8>) -> FileContent {
        self.store.hold(bytes)
    }

    pub(crate) fn description(&self) -> String {
        self.store.description()
    }
}

impl LockedStore<'_> {
    pub(crate) fn write(&self, file: &StoredFile, bytes: &[u8]) -> Result<(), LocalError> {
        self.0.write(file, bytes)
    }

    pub(crate) fn keep(&self, file: &StoredFile, kept: &Accepted) -> Result<(), LocalError> {
        self.0.keep(file, kept)
    }

    pub(crate) fn remove(&self, file: &StoredFile) -> Result<(), LocalError> {
        self.0.remove(file)
    }
}

impl Deref for LockedStore<'_> {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
