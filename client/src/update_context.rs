//! What all parts of an update share: mirrors, store, network, limits, and patience.

use std::sync::Arc;
use std::time::Duration;

use lastmile_metadata::{Limits, RoleName};

use crate::error::{Error, LocalError, MirrorFailure};
use crate::event::{Notice, Notify};
use crate::folder::CleanedDirs;
use crate::net::fetch::Fetch;
use crate::net::mirrors::Mirrors;
use crate::net::retry::Patience;
use crate::store::{Store, StoreLock};

/// How often a held lock is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct UpdateContext {
    pub(crate) mirrors: Mirrors,
    pub(crate) store: Box<dyn Store>,
    pub(crate) fetch: Box<dyn Fetch>,
    pub(crate) limits: Limits,
    pub(crate) patience: Patience,
    pub(crate) notify: Arc<dyn Notify>,
    pub(crate) lock_wait: Duration,
    pub(crate) hash_prefixes: bool,
    /// Whether metadata is asked for one file after the other.
    pub(crate) sequential: bool,
    pub(crate) cleaned_dirs: CleanedDirs,
}

impl UpdateContext {
    /// The most bytes that a stored copy of this role can have, unless metadata lists more.
    pub(crate) fn longest(&self, role: &RoleName) -> u64 {
        match role.as_str() {
            "root" => self.limits.root_length,
            "timestamp" => self.limits.timestamp_length,
            "snapshot" => self.limits.snapshot_length,
            _ => self.limits.targets_length,
        }
    }

    /// Tells that another mirror is asked because of this failure, if there is one.
    pub(crate) fn tell_of(&self, failure: Option<&MirrorFailure>) {
        if let Some(MirrorFailure { url, reason }) = failure {
            let (url, reason) = (url.clone(), reason.to_string());
            self.notify.notify(&Notice::MirrorFailed { url, reason });
        }
    }

    /// The store's lock. Waiting for it is told once.
    pub(crate) async fn lock(&self) -> Result<StoreLock, Error> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(lock) = self.store.try_lock()? {
                return Ok(lock);
            }
            if waited.is_zero() {
                self.notify.notify(&Notice::Waiting { store: self.store.description() });
            }
            if waited >= self.lock_wait {
                let error = std::io::Error::from(std::io::ErrorKind::ResourceBusy);
                return Err(LocalError::new("lock", self.store.description(), error)
                    .with_hint("another process is using it; end that one, or wait longer")
                    .into());
            }
            tokio::time::sleep(LOCK_PAUSE).await;
            waited += LOCK_PAUSE;
        }
    }
}
