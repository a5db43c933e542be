//! Runs the client workflow (spec 5) from the shipped root to trusted metadata, with files from the network and the
//! store.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lastmile_metadata::{Request, ReusableTargets, Stage, TrustedMetadata, UpdateRoot};

use crate::clock::{now, warn_if_clock_wrong};
use crate::driver::{Driver, Source, drive_stored};
use crate::error::{Error, LocalError};
use crate::event::Event;
use crate::session::Session;
use crate::start::Start;
use crate::store::pending::PendingChanges;
use crate::store::shared::LockedStore;
use crate::update_context::{Unreachable, UpdateContext};

/// The maximum number of attempts per refresh. A refresh starts again if another process has changed the store.
const MAX_STARTS: u32 = 3;

/// Updates the trusted metadata of one repository.
///
/// An updater can be used repeatedly. Every [`refresh`](Updater::refresh) is an update cycle with its own start time.
#[derive(Clone)]
pub struct Updater {
    pub(crate) context: Arc<UpdateContext>,
    pub(crate) shipped_root: Arc<[u8]>,
    pub(crate) known: Option<ReusableTargets>,
}

impl Updater {
    /// Checks the shipped root and initializes the store, without making a request.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the shipped root is not signed by its own keys, [`Error::Local`] if the store belongs to
    /// another repository or cannot be written.
    pub async fn prepare(&self) -> Result<(), Error> {
        self.prepare_at(now()).await
    }

    /// Like [`prepare`](Updater::prepare), but uses `time` instead of the time of this machine's clock.
    ///
    /// # Errors
    ///
    /// The same errors as [`prepare`](Updater::prepare).
    pub async fn prepare_at(&self, time: DateTime<Utc>) -> Result<(), Error> {
        let _refresh = self.context.store.lock_for_refresh().await?;
        self.start(time, None).await.map(drop)
    }

    /// Runs one update cycle (spec 5.1 to 5.6). Can be called any number of times (decision A22 in docs/pouf.md).
    /// Verifies all metadata as of one fixed time, which is read from this machine's clock when the cycle starts.
    ///
    /// # Errors
    ///
    /// After any [`Error`], previously trusted metadata stays trusted, and a later refresh starts from this metadata.
    ///
    /// # Cancellation
    ///
    /// The future can be dropped at any time. The files that have already become trusted are then stored, unless
    /// another process keeps the store locked. The next refresh starts from the stored files.
    pub async fn refresh(&self) -> Result<Session, Error> {
        self.refresh_at(now()).await
    }

    /// Like [`refresh`](Updater::refresh), but verifies all metadata as of `time` instead of the time of the clock. Use
    /// this method in tests, on machines that get the time from another source (spec 7.1), or to verify several
    /// repositories as of the same time.
    ///
    /// If `time` is in the past, metadata that has expired since then is accepted.
    ///
    /// # Errors
    ///
    /// The same errors as [`refresh`](Updater::refresh).
    pub async fn refresh_at(&self, time: DateTime<Utc>) -> Result<Session, Error> {
        match self.refresh_from_mirrors(time).await {
            Err(Error::Network(error)) if self.context.unreachable == Unreachable::UseStored => {
                // If there is no valid stored metadata, return the error of the mirrors.
                let Ok(trusted) = self.stored_at(time).await else { return Err(error.into()) };
                let reason = format!("{error}: {}", error.cause);
                self.context.events.handle(&Event::UsingStored { reason, until: first_expiry(&trusted) });
                Ok(Session::new(Arc::clone(&self.context), trusted, Source::MirrorsAndStore))
            }
            other => other,
        }
    }

    async fn refresh_from_mirrors(&self, time: DateTime<Utc>) -> Result<Session, Error> {
        let _refresh = self.context.store.lock_for_refresh().await?;
        for _ in 0..MAX_STARTS {
            self.context.mirrors.reset();
            let start = self.start(time, Some(time)).await?;
            if let Some(session) = self.refresh_from(start, time).await? {
                return Ok(session);
            }
        }
        let error = std::io::Error::from(std::io::ErrorKind::ResourceBusy);
        Err(LocalError::new("refresh", self.context.store.description(), error)
            .with_hint("other processes keep changing the store; end them, and refresh again")
            .into())
    }

    /// Verifies the stored metadata again, starting from the shipped root, as of the time of this machine's clock.
    /// Makes no request and does not change the store (decisions A23 and D5 in docs/pouf.md).
    ///
    /// # Errors
    ///
    /// The same errors as [`refresh`](Updater::refresh). In particular, [`Error::Refused`] if a role has expired, and
    /// [`Error::State`] if a role was never fetched.
    pub async fn offline(&self) -> Result<Session, Error> {
        self.offline_at(now()).await
    }

    /// Like [`offline`](Updater::offline), but verifies all metadata as of `time`.
    ///
    /// # Errors
    ///
    /// The same errors as [`offline`](Updater::offline).
    pub async fn offline_at(&self, time: DateTime<Utc>) -> Result<Session, Error> {
        let trusted = self.stored_at(time).await?;
        Ok(Session::new(Arc::clone(&self.context), trusted, Source::Store))
    }

    async fn stored_at(&self, time: DateTime<Utc>) -> Result<TrustedMetadata, Error> {
        let work = |store: &LockedStore<'_>| {
            let start = Start::read(&self.context, store, &self.shipped_root, time)?;
            let before = start.last_refresh();
            Ok((self.verify_stored(store, start.stage), before))
        };
        let (trusted, before) = self.context.store.exclusively(work).await?;
        warn_if_clock_wrong(&self.context, time, before, trusted.as_ref().err());
        trusted
    }

    async fn start(&self, time: DateTime<Utc>, refreshed: Option<DateTime<Utc>>) -> Result<Start, Error> {
        let work = |store: &LockedStore<'_>| {
            let mut start = Start::read(&self.context, store, &self.shipped_root, time)?;
            start.initialize(&self.context, store, &self.shipped_root, refreshed)?;
            Ok(start)
        };
        self.context.store.exclusively(work).await
    }

    /// Refreshes, and stores the metadata that became trusted. Stores nothing and returns `None` if another process has
    /// changed the store in the meantime. Another process can change the store even while this process holds the
    /// refresh lock, because earlier versions of this program do not use this lock.
    async fn refresh_from(&self, start: Start, now: DateTime<Utc>) -> Result<Option<Session>, Error> {
        let before = start.last_refresh();
        let changes = PendingChanges::new(&self.context.store, start.identity().clone());
        let Start { stage, floors, .. } = start;
        let mut driver = Driver::of_refresh(&self.context, changes, floors);
        let trusted = self.drive_all(&mut driver, stage).await;
        // Write the changes even after an error, because metadata that became trusted before the error stays trusted.
        let is_written = driver.commit().await?;
        warn_if_clock_wrong(&self.context, now, before, trusted.as_ref().err());
        let session = Session::new(Arc::clone(&self.context), trusted?, Source::MirrorsAndStore);
        Ok(is_written.then_some(session))
    }

    async fn drive_all(&self, driver: &mut Driver<'_>, stage: UpdateRoot) -> Result<TrustedMetadata, Error> {
        // The timestamp is always needed and its name has no version, so prefetch it together with the next root.
        driver.queue_from_all(&Request::timestamp(&self.context.limits));
        let timestamp = driver.drive::<UpdateRoot>(stage.reusing(self.known.clone())).await?;
        if timestamp.forgets_stored() {
            // Spec 5.3.11: the keys of the timestamp or the snapshot have changed, so remove the stored timestamp and
            // snapshot. The new record of the lowest accepted versions must be written later: if the process crashed
            // after writing this record but before removing the files, the next refresh would not notice that the keys
            // have changed, and would use the stored files.
            driver.forget();
            driver.complete_floors();
        }
        driver.keep_floors(timestamp.floors())?;
        let snapshot = driver.drive(timestamp).await?;
        let targets = driver.drive(snapshot).await?;
        // The stored copies have been read, so the trusted version of every role is known. If the record of trusted
        // versions was lost, it can be replaced now.
        driver.complete_floors();
        driver.keep_floors(targets.floors())?;
        let trusted = driver.drive(targets).await?;
        driver.keep_root(trusted.root().bytes());
        Ok(trusted)
    }

    fn verify_stored(&self, store: &LockedStore<'_>, stage: UpdateRoot) -> Result<TrustedMetadata, Error> {
        let timestamp = drive_stored(&self.context, store, stage.reusing(self.known.clone()))?;
        let snapshot = drive_stored(&self.context, store, timestamp)?;
        let targets = drive_stored(&self.context, store, snapshot)?;
        drive_stored(&self.context, store, targets)
    }
}

/// Returns the earliest expiry time of the top-level roles.
fn first_expiry(trusted: &TrustedMetadata) -> DateTime<Utc> {
    let others = trusted.timestamp().expires.min(trusted.snapshot().expires).min(trusted.targets().expires());
    trusted.root().expires.min(others)
}

#[cfg(test)]
#[path = "updater_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "unreachable_tests.rs"]
mod unreachable_tests;
