//! The update of the root role (TUF specification 5.1 to 5.3).

use alloc::vec::Vec;

use chrono::{DateTime, Utc};

use super::{Request, Stage, Update};
use crate::limits::Budget;
use crate::update::timestamp::UpdateTimestamp;
use crate::{
    Accepted, Error, ErrorKind, FileContent, Floors, Limit, Limits, ReusableTargets, RoleName, Root, StoredFloors,
    Verified,
};

/// Follows the chain of roots from the shipped root to the newest root.
#[derive(Clone, Debug)]
pub struct UpdateRoot {
    update: Update,
    fetches: Budget,
    at_the_newest: bool,
    /// Whether the record of trusted versions and the stored copy of the next root are both damaged.
    state_lost: bool,
}

impl UpdateRoot {
    /// Starts an update from the root that was shipped with the application (TUF specification 5.1, 5.2). Metadata
    /// counts as expired if it expires at or before `start_time`.
    ///
    /// # Errors
    /// Returns an error if the shipped root is malformed, is not signed by its own keys, or lists keys that `limits`
    /// does not allow.
    pub fn start(
        shipped: Vec<u8>,
        floors: StoredFloors,
        start_time: DateTime<Utc>,
        limits: Limits,
    ) -> Result<Self, Error> {
        // Spec 1.5, 5.2: the shipped root is always trusted, even if it has expired. Its own signatures are verified
        // only to detect a damaged file.
        let root = Verified::of_itself(shipped, &limits)?;
        limits.check_keys(&RoleName::ROOT, &root.keys)?;
        let floors = match floors {
            StoredFloors::Known(floors) => floors,
            StoredFloors::FirstRun => Floors::under(&root),
            StoredFloors::Lost => Floors { lost: true, ..Floors::under(&root) },
        };
        // A new release of the application may ship a root that is newer than the recorded root. If its timestamp or
        // snapshot keys differ from the recorded keys, this counts as a key rotation.
        let forgets_stored = floors.root <= root.version && floors.online_keys != root.online_keys();
        let fetches = Budget::new(Limit::RootUpdates, u64::from(limits.root_updates));
        let update = Update { root, start_time, limits, floors, forgets_stored, known: None };
        Ok(Self { update, fetches, at_the_newest: false, state_lost: false })
    }

    /// Allows the update to reuse the targets role that an earlier update in this process verified.
    #[must_use]
    pub fn reusing(mut self, known: Option<ReusableTargets>) -> Self {
        self.update.known = known;
        self
    }

    /// Returns the newest root that is trusted so far.
    #[must_use]
    pub fn root(&self) -> &Verified<Root> {
        &self.update.root
    }

    fn accept(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        let role = &RoleName::ROOT;
        let trusted = &self.update.root;
        // Spec 5.3.4: the new root must be signed by the keys of the trusted root and, like every root, by its own
        // keys. If the new root is refused, the current root remains trusted.
        let next = self.update.verified::<Root>(role, None, bytes)?;
        self.update.limits.check_keys(role, &next.keys)?;
        // Spec 5.3.5: the new root must have exactly the next version.
        let expected = trusted.version.next();
        if expected != Some(next.version) {
            let trusted = trusted.version;
            let kind = match expected {
                Some(expected) if next.version > trusted => ErrorKind::WrongVersion { expected, found: next.version },
                _ => ErrorKind::Rollback { trusted, found: next.version },
            };
            return Err(kind.of(role));
        }
        // Spec 5.3.6: a root that is not the newest may have expired.
        // Spec 5.3.11, POUF A4: if the timestamp or snapshot keys of a root differ from those of the previous root,
        // they were rotated. Consider only roots that are newer than the recorded root, because an earlier update has
        // handled the others.
        let is_new = next.version > self.update.floors.root;
        self.update.forgets_stored |= is_new && next.online_keys() != trusted.online_keys();
        self.update.root = next;
        Ok(())
    }
}

impl Stage for UpdateRoot {
    type Next = UpdateTimestamp;

    fn request(&self) -> Option<Request> {
        // Spec 5.3.1, 5.3.3: request one root after another, each of at most W bytes.
        if self.at_the_newest {
            return None;
        }
        Some(Request {
            role: RoleName::ROOT,
            version: Some(self.update.root.version.next()?),
            max_length: self.update.limits.root_length,
            limit: Some(Limit::RootLength),
        })
    }

    fn recall(&mut self, stored: FileContent) -> bool {
        // Spec 5.2: continue from the newest root of the previous update.
        let forgets_stored = self.update.forgets_stored;
        let answers = stored.into_bytes().is_some_and(|bytes| self.accept(bytes).is_ok());
        if self.update.floors.lost {
            // Without the record, assume that an earlier update has handled the key rotations up to the newest stored
            // root. The following stages then use the stored timestamp and snapshot to detect rollbacks. If either file
            // is missing or not signed with the keys of this root, the update fails, unless a fetched root rotates the
            // keys.
            self.update.forgets_stored = forgets_stored;
            self.state_lost = !answers;
        }
        answers
    }

    fn apply(&mut self, fetched: Option<FileContent>) -> Result<Option<Accepted>, Error> {
        let Some(bytes) = fetched.and_then(FileContent::into_bytes) else {
            if self.state_lost {
                return Err(ErrorKind::StateLost.of(&RoleName::ROOT));
            }
            // Spec 5.3.3: the chain of roots ends only if the next root does not exist.
            self.at_the_newest = true;
            return Ok(None);
        };
        // Spec 5.3.3: accept at most Y roots in one update. The next update continues after the last accepted root.
        if self.fetches.check().is_err() {
            self.at_the_newest = true;
            return Ok(None);
        }
        self.accept(bytes)?;
        self.state_lost = false;
        self.at_the_newest = self.fetches.spend().and_then(|()| self.fetches.check()).is_err();
        Ok(Some(Accepted::Received(self.update.root.bytes().clone())))
    }

    fn floors(&self) -> Option<&Floors> {
        Some(&self.update.floors)
    }

    fn finish(mut self) -> Result<UpdateTimestamp, Error> {
        let role = &RoleName::ROOT;
        let root = &self.update.root;
        if self.state_lost {
            return Err(ErrorKind::StateLost.of(role));
        }
        // Spec 5.3.5: the root must not be older than a root that was trusted before.
        let trusted = self.update.floors.root;
        if root.version < trusted {
            return Err(ErrorKind::Rollback { trusted, found: root.version }.of(role));
        }
        // Spec 5.3.10: check the expiry of the final root only. If the limit on new roots was reached, this root may
        // not be the newest root.
        let behind = self.fetches.check().err().map(|kind| kind.of(role));
        self.update.check_expiry(role, root.expires).map_err(|expired| behind.clone().unwrap_or(expired))?;
        // Spec 5.3.11: forget the trusted timestamp and snapshot if the keys of either role were rotated.
        if self.update.forgets_stored {
            self.update.floors = Floors::under(root);
        }
        self.update.floors.root = root.version;
        self.update.floors.online_keys = root.online_keys();
        Ok(UpdateTimestamp::start(self.update, behind))
    }
}
