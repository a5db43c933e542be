//! What all parts of an update share: the mirrors, the store, the network, the limits and the retry policy.

use std::sync::Arc;
use std::time::Duration;

use lastmile_metadata::{Limits, RoleName};

use crate::error::{Error, LocalError, MirrorFailure};
use crate::event::{Event, EventSink};
use crate::folder::CleanedDirs;
use crate::net::fetch::Fetch;
use crate::net::mirrors::Mirrors;
use crate::net::retry::RetryPolicy;
use crate::store::{Store, StoreLock};

/// The pause between two attempts to take a lock that another process holds.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct UpdateContext {
    pub(crate) mirrors: Mirrors,
    pub(crate) store: Box<dyn Store>,
    pub(crate) fetch: Box<dyn Fetch>,
    pub(crate) limits: Limits,
    pub(crate) retry_policy: RetryPolicy,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) lock_wait: Duration,
    pub(crate) hash_prefixes: bool,
    /// Whether metadata is fetched one file after the other.
    pub(crate) sequential: bool,
    pub(crate) cleaned_dirs: CleanedDirs,
}

impl UpdateContext {
    /// Returns the greatest length of a stored copy of this role, unless metadata lists a greater one.
    pub(crate) fn longest(&self, role: &RoleName) -> u64 {
        match role.as_str() {
            "root" => self.limits.root_length,
            "timestamp" => self.limits.timestamp_length,
            "snapshot" => self.limits.snapshot_length,
            _ => self.limits.targets_length,
        }
    }

    /// Reports that the next mirror is tried because of this failure, if there is one.
    pub(crate) fn report_failure(&self, failure: Option<&MirrorFailure>) {
        if let Some(MirrorFailure { url, reason }) = failure {
            let (url, reason) = (url.clone(), reason.to_string());
            self.events.handle(&Event::MirrorFailed { url, reason });
        }
    }

    /// Takes the lock of the store. Reports once that it waits.
    pub(crate) async fn lock(&self) -> Result<StoreLock, Error> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(lock) = self.store.try_lock()? {
                return Ok(lock);
            }
            if waited.is_zero() {
                self.events.handle(&Event::Waiting { store: self.store.description() });
            }
            if waited >= self.lock_wait {
                let error = std::io::Error::from(std::io::ErrorKind::ResourceBusy);
                return Err(LocalError::new("lock", self.store.description(), error)
                    .with_hint("another process is using it; end that process, or wait longer")
                    .into());
            }
            tokio::time::sleep(LOCK_PAUSE).await;
            waited += LOCK_PAUSE;
        }
    }
}
