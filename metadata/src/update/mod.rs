//! The client workflow (TUF specification 5) as a chain of [`Stage`]s, which request files and verify them.
//!
//! A stored file with valid signatures may have expired, or may differ from the listed version, length or hashes. The
//! client then uses the file only to detect rollbacks: it accepts no lower version of the role.

pub(crate) mod listing;
pub(crate) mod root;
pub(crate) mod search;
pub(crate) mod snapshot;
pub(crate) mod targets;
#[cfg(test)]
mod tests;
pub(crate) mod timestamp;

use alloc::string::String;
use alloc::vec::Vec;

use chrono::{DateTime, Utc};

use crate::verify::Required;
use crate::{
    Accepted, Error, ErrorKind, FileContent, Floors, Limit, Limits, MetaFile, ReusableTargets, Role, RoleName, Root,
    Verified, Version,
};

/// A request for a file that a [`Stage`] needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The role whose file is needed.
    pub role: RoleName,
    /// The version in the file name, if the file name contains one.
    pub version: Option<Version>,
    /// The maximum number of bytes to read. A longer file is refused.
    pub max_length: u64,
    /// The limit that determines `max_length`, or `None` if `max_length` is the length that trusted metadata lists.
    pub limit: Option<Limit>,
}

impl Request {
    /// Returns the request for the timestamp. Its file name contains no version. A limit determines its maximum length,
    /// because no metadata lists the length of a timestamp (TUF specification 5.4.1).
    #[must_use]
    pub fn timestamp(limits: &Limits) -> Self {
        Self {
            role: RoleName::TIMESTAMP,
            version: None,
            max_length: limits.timestamp_length,
            limit: Some(Limit::TimestampLength),
        }
    }

    /// Returns the percent-encoded name of the file below the metadata URL.
    #[must_use]
    pub fn file_name(&self) -> String {
        self.role.file_name(self.version)
    }

    /// Returns whether the file may be absent. Only a newer root may be absent (TUF specification 5.3.3).
    #[must_use]
    pub fn may_be_absent(&self) -> bool {
        self.role == RoleName::ROOT
    }
}

/// Returns the maximum length of a file in bytes, and the limit that determines this maximum (TUF specification 4.4).
/// If metadata lists the length of the file, that length is the maximum, and the limit is `None`.
fn most_bytes(listed: Option<u64>, limit: Limit, value: u64) -> (u64, Option<Limit>) {
    listed.map_or((value, Some(limit)), |length| (length, None))
}

/// One step of the client workflow. For each [`Request`], the caller passes the stored copy of the file to
/// [`Stage::recall`]. If the copy does not satisfy the request, the caller fetches the file and passes it to
/// [`Stage::apply`]. When there are no more requests, the caller calls [`Stage::finish`].
pub trait Stage {
    /// The result of the stage, usually the next stage.
    type Next;

    /// Returns the next request, or `None` if the stage needs no more files.
    fn request(&self) -> Option<Request>;

    /// Returns the requests that will follow the next request if no file is refused, but at most `most` of them.
    /// Callers use these requests to fetch files in parallel. A stage that knows only the next request returns an empty
    /// list.
    fn upcoming(&self, most: usize) -> Vec<Request> {
        let _ = most;
        Vec::new()
    }

    /// Returns whether [`Stage::recall`] would accept the stored copy `stored` for `request`. `request` must be one of
    /// the [`Stage::upcoming`] requests. Does not change the stage.
    fn would_recall(&self, request: &Request, stored: FileContent) -> bool {
        let _ = (request, stored);
        false
    }

    /// Offers the stored copy of the requested file to the stage. Returns whether the copy satisfies the request.
    /// Always offer the stored copy: even if it does not satisfy the request, its version may prevent a rollback. If
    /// the record of trusted versions is damaged, `UpdateTimestamp` and `UpdateSnapshot` refuse every fetched file
    /// unless a valid stored copy has been offered first.
    fn recall(&mut self, stored: FileContent) -> bool;

    /// Verifies a fetched file. Pass `None` only if the server reports that the file does not exist. For other
    /// failures, do not call this method. Returns the file to store, if there is one. The caller must store this file
    /// before the next request.
    ///
    /// # Errors
    /// Returns an error if the file is refused. In this case, the stage is unchanged, so a file from another mirror can
    /// be tried.
    fn apply(&mut self, fetched: Option<FileContent>) -> Result<Option<Accepted>, Error>;

    /// Returns the record of trusted versions, which the caller must store whenever it has changed. Returns `None` for
    /// stages that never change the record.
    fn floors(&self) -> Option<&Floors>;

    /// Performs the final checks and returns the next stage.
    ///
    /// # Errors
    /// Returns an error if a check fails, for example [`ErrorKind::Expired`].
    fn finish(self) -> Result<Self::Next, Error>
    where
        Self: Sized;
}

/// The state that all stages share.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) root: Verified<Root>,
    pub(crate) start_time: DateTime<Utc>,
    pub(crate) limits: Limits,
    pub(crate) floors: Floors,
    /// Whether to ignore the stored timestamp and snapshot because keys of these roles were rotated (TUF specification
    /// 5.3.11).
    pub(crate) forgets_stored: bool,
    /// The top-level targets role that an earlier update in this process verified.
    pub(crate) known: Option<ReusableTargets>,
}

impl Update {
    /// Verifies a file of a role whose keys the root lists (TUF specification 5.4.2, 5.5.3).
    fn verified<R: Role>(
        &self,
        role: &RoleName,
        listed: Option<&MetaFile>,
        bytes: Vec<u8>,
    ) -> Result<Verified<R>, Error> {
        let ring = self.root.key_ring(role)?;
        Required { role, ring: &ring, listed, limits: &self.limits }.verify(bytes)
    }

    /// Checks that metadata expires after the update started (TUF specification 4.3, 5.3.10, 5.4.4, 5.5.6, 5.6.5).
    pub(crate) fn check_expiry(&self, role: &RoleName, expires: DateTime<Utc>) -> Result<(), Error> {
        if expires <= self.start_time {
            return Err(ErrorKind::Expired { expires, start_time: self.start_time }.of(role));
        }
        Ok(())
    }

    /// Returns the version to use in a file name (TUF specification 5.3.12, 6.2.1). This is `version` if the newest
    /// root enables consistent snapshots, and `None` otherwise.
    pub(crate) fn prefix(&self, version: Version) -> Option<Version> {
        self.root.consistent_snapshot.then_some(version)
    }
}
