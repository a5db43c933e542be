//! The update of the timestamp role (TUF specification 5.4).

use alloc::vec::Vec;

use super::{Request, Stage, Update};
use crate::update::snapshot::UpdateSnapshot;
use crate::{Accepted, Error, ErrorKind, FileContent, Floors, RoleName, Timestamp, Verified};

/// Fetches the timestamp and compares it with the trusted timestamp.
#[derive(Clone, Debug)]
pub struct UpdateTimestamp {
    update: Update,
    trusted: Option<Verified<Timestamp>>,
    answered: bool,
    /// Whether the record of trusted versions is damaged and no valid stored timestamp has been found.
    state_lost: bool,
    /// The error that replaces [`ErrorKind::ThresholdNotMet`] if the update stopped at the limit on new roots. In this
    /// case, the trusted root may not list the keys that signed the newest timestamp.
    behind: Option<Error>,
}

impl UpdateTimestamp {
    pub(crate) fn start(update: Update, behind: Option<Error>) -> Self {
        let state_lost = update.floors.lost;
        Self { update, trusted: None, answered: false, state_lost, behind }
    }

    /// Returns whether the keys of timestamp or snapshot were rotated (TUF specification 5.3.11). If so, before using
    /// this stage, the caller must delete the stored copies of both roles and store the record that [`Stage::floors`]
    /// returns. This stage and the next one ignore the stored copies in any case.
    #[must_use]
    pub fn forgets_stored(&self) -> bool {
        self.update.forgets_stored
    }

    fn verified(&self, bytes: Vec<u8>) -> Result<Verified<Timestamp>, Error> {
        // Spec 5.4.2: the timestamp keys that the root lists must have signed the file.
        self.update.verified(&RoleName::TIMESTAMP, None, bytes).map_err(|verdict| match &self.behind {
            Some(behind) if matches!(verdict.kind, ErrorKind::ThresholdNotMet { .. }) => behind.clone(),
            _ => verdict,
        })
    }
}

impl Stage for UpdateTimestamp {
    type Next = UpdateSnapshot;

    fn request(&self) -> Option<Request> {
        if self.answered {
            return None;
        }
        // Spec 5.4.1: read at most X bytes.
        Some(Request::timestamp(&self.update.limits))
    }

    fn recall(&mut self, stored: FileContent) -> bool {
        if self.update.forgets_stored {
            return false;
        }
        // POUF A5: use a stored timestamp only if the current keys have signed it. It may have expired.
        let Some(Ok(stored)) = stored.into_bytes().map(|bytes| self.verified(bytes)) else { return false };
        let floor = self.update.floors.timestamp;
        // Ignore a copy that is older than the recorded versions. Somebody may have replaced the stored file.
        if floor.is_none_or(|(version, snapshot)| version <= stored.version && snapshot <= stored.snapshot.version) {
            self.update.floors.raise_timestamp(&stored);
            self.trusted = Some(stored);
            self.state_lost = false;
        }
        // A stored timestamp never satisfies the request, because there may always be a newer one.
        false
    }

    fn apply(&mut self, fetched: Option<FileContent>) -> Result<Option<Accepted>, Error> {
        let role = &RoleName::TIMESTAMP;
        if self.state_lost {
            return Err(ErrorKind::StateLost.of(role));
        }
        let new =
            self.verified(fetched.and_then(FileContent::into_bytes).ok_or_else(|| ErrorKind::Absent.of(role))?)?;
        if let Some((trusted, snapshot)) = self.update.floors.timestamp {
            // Spec 5.4.3.1: the new timestamp must not be older than the trusted timestamp. If the versions are equal,
            // the trusted timestamp is kept (POUF A6).
            if new.version < trusted {
                return Err(ErrorKind::Rollback { trusted, found: new.version }.of(role));
            }
            if new.version == trusted && self.trusted.is_some() {
                self.answered = true;
                return Ok(None);
            }
            // Spec 5.4.3.2: the listed snapshot must not be older than the trusted snapshot.
            if new.snapshot.version < snapshot {
                let kind = ErrorKind::ListedRollback {
                    listed: RoleName::SNAPSHOT,
                    trusted: snapshot,
                    found: new.snapshot.version,
                };
                return Err(kind.of(role));
            }
        }
        // Spec 5.4.4: the new timestamp must not have expired.
        self.update.check_expiry(role, new.expires)?;
        // Spec 5.4.5: return the timestamp so that the caller stores it.
        let bytes = new.bytes().clone();
        self.update.floors.raise_timestamp(&new);
        self.trusted = Some(new);
        self.answered = true;
        Ok(Some(Accepted::Received(bytes)))
    }

    fn floors(&self) -> Option<&Floors> {
        Some(&self.update.floors)
    }

    fn finish(self) -> Result<UpdateSnapshot, Error> {
        let role = &RoleName::TIMESTAMP;
        let kind = if self.state_lost { ErrorKind::StateLost } else { ErrorKind::Absent };
        let timestamp = self.trusted.ok_or_else(|| kind.of(role))?;
        // Spec 5.4.4: a trusted timestamp that was stored earlier may have expired since then.
        self.update.check_expiry(role, timestamp.expires)?;
        Ok(UpdateSnapshot::start(self.update, timestamp))
    }
}
