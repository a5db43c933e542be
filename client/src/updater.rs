//! The client workflow (spec 5) with a network and a store, from the shipped root to trusted metadata.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lastmile_metadata::{KnownTargets, Request, RoleName, Stage, UpdateRoot};

use crate::clock::{now, warn_if_clock_wrong};
use crate::driver::{Driver, Source};
use crate::error::Error;
use crate::session::Session;
use crate::start::Start;
use crate::store::StoredFile;
use crate::update_context::UpdateContext;

/// Updates the trusted metadata of one repository.
///
/// Made once, used as often as wanted; every [`refresh`](Updater::refresh) is an update cycle of its
/// own with its own start time.
#[derive(Clone)]
pub struct Updater {
    pub(crate) context: Arc<UpdateContext>,
    pub(crate) shipped_root: Arc<[u8]>,
    pub(crate) known: Option<KnownTargets>,
}

impl Updater {
    /// Checks the shipped root and readies the store, without a request.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] where the shipped root is not signed by its own keys,
    /// [`Error::Local`] where the store belongs to another repository or cannot be written.
    pub async fn prepare(&self) -> Result<(), Error> {
        self.prepare_at(now()).await
    }

    /// Like [`prepare`](Updater::prepare), at a time that the caller chooses.
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

    /// Runs one update cycle (spec 5.1 to 5.6). All of it is judged at one time: what the clock of this machine shows
    /// when it starts.
    ///
    /// # Errors
    ///
    /// Whatever the [`Error`], what was trusted before stays trusted, and a later refresh starts from there.
    ///
    /// # Cancellation
    ///
    /// The future can be dropped at any time, and the lock of the store is then free. Every file that became trusted
    /// before is kept; the next refresh starts from there.
    pub async fn refresh(&self) -> Result<Session, Error> {
        self.refresh_at(now()).await
    }

    /// Like [`refresh`](Updater::refresh), but judges everything at `time` instead of the clock's time: for tests, for
    /// machines whose clock is set in another way, and for several repositories that are to be judged at one time.
    ///
    /// A time in the past accepts metadata that has expired.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Updater::refresh).
    pub async fn refresh_at(&self, time: DateTime<Utc>) -> Result<Session, Error> {
        let _lock = self.context.lock().await?;
        self.context.mirrors.reset();
        let start = Start::read(&self.context, &self.shipped_root, time)?;
        start.initialize(&self.context, &self.shipped_root, Some(time))?;
        self.judged_at(time, Source::MirrorsAndStore, start).await
    }

    /// Verifies again what is trusted already, from the shipped root on, without a request and without a change to the
    /// store (decision D5). It is judged at the time that the clock of this machine shows.
    ///
    /// # Errors
    ///
    /// As [`refresh`](Updater::refresh); [`Error::Refused`] where something has expired, [`Error::State`] where
    /// something was never fetched.
    pub async fn offline(&self) -> Result<Session, Error> {
        self.offline_at(now()).await
    }

    /// Like [`offline`](Updater::offline), but judges everything at `time`.
    ///
    /// # Errors
    ///
    /// As [`offline`](Updater::offline).
    pub async fn offline_at(&self, time: DateTime<Utc>) -> Result<Session, Error> {
        let _lock = self.context.lock().await?;
        let start = Start::read(&self.context, &self.shipped_root, time)?;
        self.judged_at(time, Source::Store, start).await
    }

    async fn judged_at(&self, now: DateTime<Utc>, source: Source, start: Start) -> Result<Session, Error> {
        let before = start.last_refresh();
        let session = self.drive_all(source, start).await;
        warn_if_clock_wrong(&self.context, now, before, session.as_ref().err());
        session
    }

    async fn drive_all(&self, source: Source, start: Start) -> Result<Session, Error> {
        let Start { stage, floors, floors_lost, .. } = start;
        let mut driver = Driver::resuming(&self.context, source, floors, floors_lost);
        // Needed whatever the roots say, and never versioned: asked for beside the first of them.
        driver.queue(&Request::timestamp(&self.context.limits));
        let timestamp = driver.drive::<UpdateRoot>(stage.knowing(self.known.clone())).await?;
        if timestamp.forgets_stored() && source != Source::Store {
            // 5.3.11: the floors, written last, say that it is done.
            self.context.store.remove(&StoredFile::Role(RoleName::TIMESTAMP))?;
            self.context.store.remove(&StoredFile::Role(RoleName::SNAPSHOT))?;
            driver.complete_floors();
        }
        driver.keep_floors(timestamp.floors())?;
        let snapshot = driver.drive(timestamp).await?;
        let targets = driver.drive(snapshot).await?;
        // A lost record has now been made again from the stored copies.
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
