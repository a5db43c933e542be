//! The client workflow (spec 5) with a network and a store, from the shipped root to trusted metadata.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lastmile_metadata::{Request, ReusableTargets, RoleName, Stage, UpdateRoot};

use crate::clock::{now, warn_if_clock_wrong};
use crate::driver::{Driver, Source};
use crate::error::Error;
use crate::session::Session;
use crate::start::Start;
use crate::store::StoredFile;
use crate::update_context::UpdateContext;

/// Updates the trusted metadata of one repository.
///
/// It can be used any number of times. Every [`refresh`](Updater::refresh) is an update cycle with its own start time.
#[derive(Clone)]
pub struct Updater {
    pub(crate) context: Arc<UpdateContext>,
    pub(crate) shipped_root: Arc<[u8]>,
    pub(crate) known: Option<ReusableTargets>,
}

impl Updater {
    /// Checks the shipped root and initializes the store, without a request.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the shipped root is not signed by its own keys, [`Error::Local`] if the store belongs to
    /// another repository or cannot be written.
    pub async fn prepare(&self) -> Result<(), Error> {
        self.prepare_at(now()).await
    }

    /// Like [`prepare`](Updater::prepare), but at `time` instead of the time of the clock.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Updater::prepare).
    pub async fn prepare_at(&self, time: DateTime<Utc>) -> Result<(), Error> {
        let _lock = self.context.lock().await?;
        let start = Start::read(&self.context, &self.shipped_root, time)?;
        start.initialize(&self.context, &self.shipped_root, None)?;
        Ok(())
    }

    /// Runs one update cycle (spec 5.1 to 5.6). All metadata is verified at one time: the time of this machine's clock
    /// when the cycle starts.
    ///
    /// # Errors
    ///
    /// After any [`Error`], what was trusted before stays trusted, and a later refresh continues from there.
    ///
    /// # Cancellation
    ///
    /// The future can be dropped at any time. The lock of the store is then released, every file that became trusted
    /// stays stored, and the next refresh continues from there.
    pub async fn refresh(&self) -> Result<Session, Error> {
        self.refresh_at(now()).await
    }

    /// Like [`refresh`](Updater::refresh), but verifies everything at `time` instead of the time of the clock. This is
    /// for tests, for machines with another source of time, and for verifying several repositories at the same time.
    ///
    /// With a time in the past, metadata that has expired since is accepted.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Updater::refresh).
    pub async fn refresh_at(&self, time: DateTime<Utc>) -> Result<Session, Error> {
        let _lock = self.context.lock().await?;
        self.context.mirrors.reset();
        let start = Start::read(&self.context, &self.shipped_root, time)?;
        start.initialize(&self.context, &self.shipped_root, Some(time))?;
        self.session_at(time, Source::MirrorsAndStore, start).await
    }

    /// Verifies the stored metadata again, from the shipped root on, without a request and without changing the store
    /// (decision D5). It is verified at the time of this machine's clock.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Updater::refresh); [`Error::Refused`] if a role has expired, [`Error::State`] if a role was never
    /// fetched.
    pub async fn offline(&self) -> Result<Session, Error> {
        self.offline_at(now()).await
    }

    /// Like [`offline`](Updater::offline), but verifies everything at `time`.
    ///
    /// # Errors
    ///
    /// As [`offline`](Updater::offline).
    pub async fn offline_at(&self, time: DateTime<Utc>) -> Result<Session, Error> {
        let _lock = self.context.lock().await?;
        let start = Start::read(&self.context, &self.shipped_root, time)?;
        self.session_at(time, Source::Store, start).await
    }

    async fn session_at(&self, now: DateTime<Utc>, source: Source, start: Start) -> Result<Session, Error> {
        let before = start.last_refresh();
        let session = self.drive_all(source, start).await;
        warn_if_clock_wrong(&self.context, now, before, session.as_ref().err());
        session
    }

    async fn drive_all(&self, source: Source, start: Start) -> Result<Session, Error> {
        let Start { stage, floors, floors_lost, .. } = start;
        let mut driver = Driver::resuming(&self.context, source, floors, floors_lost);
        // The timestamp is needed in any case and has no version in its name, so it is prefetched with the next root.
        driver.queue(&Request::timestamp(&self.context.limits));
        let timestamp = driver.drive::<UpdateRoot>(stage.reusing(self.known.clone())).await?;
        if timestamp.forgets_stored() && source != Source::Store {
            // 5.3.11: the floors are written last, and record that the rest is done.
            self.context.store.remove(&StoredFile::Role(RoleName::TIMESTAMP))?;
            self.context.store.remove(&StoredFile::Role(RoleName::SNAPSHOT))?;
            driver.complete_floors();
        }
        driver.keep_floors(timestamp.floors())?;
        let snapshot = driver.drive(timestamp).await?;
        let targets = driver.drive(snapshot).await?;
        // All floors are now known again from the stored copies, so a lost record can be written.
        driver.complete_floors();
        driver.keep_floors(targets.floors())?;
        let trusted = driver.drive(targets).await?;
        driver.keep_root(trusted.root().bytes())?;
        Ok(Session::new(Arc::clone(&self.context), trusted, source))
    }
}

#[cfg(test)]
#[path = "updater_tests.rs"]
mod tests;
