//! Starts an update: reads the identity of the store and the record of trusted versions.

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_metadata::{Floors, RoleName, Stage, StoredFloors, UpdateRoot};

use crate::error::Error;
use crate::event::Event;
use crate::store::StoredFile;
use crate::store::identity::StoreIdentity;
use crate::store::shared::LockedStore;
use crate::update_context::UpdateContext;

/// The maximum length, in bytes, of the record of trusted versions. The record grows with the number of roles.
pub(crate) const MAX_FLOORS_LENGTH: u64 = 64 * 1024 * 1024;

/// How far this machine's clock may be behind the time of the last refresh without causing a warning. A small
/// difference is normal: a refresh reads the clock and then waits for the lock on the store, and in the meantime
/// another refresh may read a later time and store it first.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::hours(1);

/// The state from which an update starts, as read from the store.
pub(crate) struct Start {
    pub(crate) stage: UpdateRoot,
    pub(crate) floors: FloorsRecord,
    identity: StoreIdentity,
    last_refresh: Option<DateTime<Utc>>,
}

/// The record of trusted versions in the store: the lowest versions that are still accepted (floors).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FloorsRecord {
    /// The text of the record, including changes of this update that are not stored yet. `None` if there is no record
    /// yet.
    Text(Option<String>),
    /// The stored record is damaged, or a store that was used before has no record. The update writes a new record only
    /// when all trusted versions are known again, because a new record with only some of the versions would look like a
    /// complete record.
    Lost,
}

impl Start {
    /// Does not change the store.
    pub(crate) fn read(
        context: &UpdateContext,
        store: &LockedStore<'_>,
        shipped: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Start, Error> {
        let identity = StoreIdentity::read(&**store)?;
        let (stored, text) = match store.read(&StoredFile::Floors, MAX_FLOORS_LENGTH) {
            Ok(Some(bytes)) => {
                let text = String::from_utf8(bytes).unwrap_or_default();
                match Floors::from_text(&text) {
                    StoredFloors::Known(floors) => (StoredFloors::Known(floors), Some(text)),
                    lost => (lost, None),
                }
            }
            // If the store was used before, a missing record of trusted versions means that the record was lost.
            Ok(None) if identity.is_some() || is_used(context, store, shipped)? => (StoredFloors::Lost, None),
            Ok(None) => (StoredFloors::FirstRun, None),
            Err(error) if error.is_unusable_content() => (StoredFloors::Lost, None),
            Err(error) => return Err(error.into()),
        };
        let floors = if stored == StoredFloors::Lost { FloorsRecord::Lost } else { FloorsRecord::Text(text) };
        let stage = UpdateRoot::start(shipped.to_vec(), stored, now, context.limits.clone())?;
        let identity = StoreIdentity::check_belongs(identity, &**store, shipped, context.limits.root_length)?;
        let last_refresh = identity.refreshed;
        Ok(Start { stage, floors, identity, last_refresh })
    }

    pub(crate) fn last_refresh(&self) -> Option<DateTime<Utc>> {
        self.last_refresh
    }

    pub(crate) fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    /// Writes the record of trusted versions before the identity. Therefore every store with an identity has a record.
    pub(crate) fn initialize(
        &mut self,
        context: &UpdateContext,
        store: &LockedStore<'_>,
        shipped: &[u8],
        refreshed: Option<DateTime<Utc>>,
    ) -> Result<(), Error> {
        let is_first = self.floors == FloorsRecord::Text(None);
        if let Some(floors) = self.stage.floors().filter(|_| is_first) {
            store.write(&StoredFile::Floors, floors.to_text().as_bytes())?;
        }
        self.identity.starts = self.identity.starts.wrapping_add(1);
        if let Some(now) = refreshed {
            match self.identity.refreshed.filter(|before| *before > now) {
                // The stored time is slightly later than `now`. This is normal: another refresh may have read the clock
                // later than this refresh, but taken the lock on the store earlier.
                Some(before) if before - now <= CLOCK_TOLERANCE => {}
                later => {
                    // Report a clock that has stepped back, but do not fail (decision D4 in docs/pouf.md).
                    if let Some(before) = later {
                        context.events.handle(&Event::ClockSteppedBack { now, before });
                    }
                    self.identity.refreshed = Some(now);
                }
            }
        }
        self.identity.write(store)?;
        let root = StoredFile::Role(RoleName::ROOT);
        if matches!(store.read(&root, context.limits.root_length), Ok(None)) {
            store.write(&root, shipped)?;
        }
        Ok(())
    }
}

/// Returns whether the store contains any metadata other than the shipped root.
fn is_used(context: &UpdateContext, store: &LockedStore<'_>, shipped: &[u8]) -> Result<bool, Error> {
    for role in RoleName::TOP_LEVEL {
        let longest = context.longest(&role);
        match store.read(&StoredFile::Role(role.clone()), longest) {
            Ok(None) => {}
            Ok(Some(bytes)) if role == RoleName::ROOT && bytes == shipped => {}
            Err(error) if !error.is_unusable_content() => return Err(error.into()),
            _ => return Ok(true),
        }
    }
    Ok(false)
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
