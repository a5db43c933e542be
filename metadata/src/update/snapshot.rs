//! The update of the snapshot role (TUF specification 5.5).

use alloc::vec::Vec;

use super::{Request, Stage, Update, most_bytes};
use crate::update::targets::UpdateTargets;
use crate::{
    Accepted, Error, ErrorKind, FileContent, Floors, Limit, MetaFile, RoleName, Snapshot, Timestamp, Verified,
};

/// Fetches the snapshot that the timestamp lists, unless that snapshot is already stored.
#[derive(Clone, Debug)]
pub struct UpdateSnapshot {
    update: Update,
    timestamp: Verified<Timestamp>,
    snapshot: Option<Verified<Snapshot>>,
    /// Whether the record of trusted versions is damaged and no valid stored snapshot has been found.
    state_lost: bool,
}

impl UpdateSnapshot {
    pub(crate) fn start(update: Update, timestamp: Verified<Timestamp>) -> Self {
        let state_lost = update.floors.lost;
        Self { update, timestamp, snapshot: None, state_lost }
    }

    /// Returns the trusted timestamp.
    #[must_use]
    pub fn timestamp(&self) -> &Verified<Timestamp> {
        &self.timestamp
    }

    fn verified(&self, listed: Option<&MetaFile>, bytes: Vec<u8>) -> Result<Verified<Snapshot>, Error> {
        self.update.verified(&RoleName::SNAPSHOT, listed, bytes)
    }

    /// Checks that the snapshot has the version that the timestamp lists (TUF specification 5.5.4).
    fn check_version(&self, snapshot: &Snapshot) -> Result<(), ErrorKind> {
        let expected = self.timestamp.snapshot.version;
        let found = snapshot.version;
        if expected == found { Ok(()) } else { Err(ErrorKind::WrongVersion { expected, found }) }
    }
}

impl Stage for UpdateSnapshot {
    type Next = UpdateTargets;

    fn request(&self) -> Option<Request> {
        if self.snapshot.is_some() {
            return None;
        }
        // Spec 5.5.1: the file name contains the listed version, and the length is limited.
        let listed = &self.timestamp.snapshot;
        self.update.limits.check_listed(&RoleName::SNAPSHOT, listed.length).ok()?;
        let (max_length, limit) = most_bytes(listed.length, Limit::SnapshotLength, self.update.limits.snapshot_length);
        let version = self.update.prefix(listed.version);
        Some(Request { role: RoleName::SNAPSHOT, version, max_length, limit })
    }

    fn recall(&mut self, stored: FileContent) -> bool {
        if self.update.forgets_stored {
            return false;
        }
        // Spec 5.5.5, POUF A5: a stored snapshot that the current keys have signed is used to detect rollbacks, even if
        // it has expired or the timestamp lists a newer snapshot.
        let Some(Ok(stored)) = stored.into_bytes().map(|bytes| self.verified(None, bytes)) else { return false };
        // Ignore a copy that is older than the recorded versions. Somebody may have replaced the stored file.
        let Ok(floors) = self.update.floors.check_snapshot(&stored) else { return false };
        self.update.floors.raise_snapshot(floors);
        // The stored timestamp and the stored snapshot are both valid, so the record can be rebuilt.
        self.update.floors.lost = false;
        self.state_lost = false;
        // Spec 5.5.2, 5.5.4: the copy satisfies the request only if the timestamp lists it.
        let answers = self.check_version(&stored).is_ok() && self.timestamp.snapshot.check(stored.bytes()).is_ok();
        self.snapshot = if answers { Some(stored) } else { None };
        answers
    }

    fn apply(&mut self, fetched: Option<FileContent>) -> Result<Option<Accepted>, Error> {
        let role = &RoleName::SNAPSHOT;
        if self.state_lost {
            return Err(ErrorKind::StateLost.of(role));
        }
        let bytes = fetched.and_then(FileContent::into_bytes).ok_or_else(|| ErrorKind::Absent.of(role))?;
        // Spec 5.5.2, 5.5.3: check the hashes that the timestamp lists, and the signatures by the snapshot keys of the
        // root.
        let new = self.verified(Some(&self.timestamp.snapshot), bytes)?;
        // Spec 5.5.4: check the version that the timestamp lists.
        self.check_version(&new).map_err(|kind| kind.of(role))?;
        // Spec 5.5.5: no listed version decreases, and no listed file disappears.
        let floors = self.update.floors.check_snapshot(&new).map_err(|kind| kind.of(role))?;
        // Spec 5.5.6: the new snapshot must not have expired.
        self.update.check_expiry(role, new.expires)?;
        // Spec 5.5.7: return the snapshot so that the caller stores it.
        let bytes = new.bytes().clone();
        self.update.floors.raise_snapshot(floors);
        self.snapshot = Some(new);
        Ok(Some(Accepted::Received(bytes)))
    }

    fn floors(&self) -> Option<&Floors> {
        Some(&self.update.floors)
    }

    fn finish(self) -> Result<UpdateTargets, Error> {
        let role = &RoleName::SNAPSHOT;
        self.update.limits.check_listed(role, self.timestamp.snapshot.length)?;
        let kind = if self.state_lost { ErrorKind::StateLost } else { ErrorKind::Absent };
        let snapshot = self.snapshot.ok_or_else(|| kind.of(role))?;
        // Spec 5.5.6: a stored snapshot may have expired since it was stored.
        self.update.check_expiry(role, snapshot.expires)?;
        Ok(UpdateTargets::start(self.update, self.timestamp, snapshot))
    }
}
