//! The client workflow (spec 5): a chain of stages that ask for files and judge them.
//!
//! What may surprise: metadata that has expired, or that does not match what is listed about it, is still good for
//! judging its successor — its signatures are valid, so its version is a floor. It is never good for more.

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

/// A file that a stage needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whose file.
    pub role: RoleName,
    /// The version that its name begins with, if any.
    pub version: Option<Version>,
    /// Most bytes to read. A longer file is refused.
    pub max_length: u64,
    /// The field of [`Limits`] that says so; none where it is the length that trusted metadata lists.
    pub limit: Option<Limit>,
}

impl Request {
    /// The timestamp: never versioned, never listed (5.4.1).
    #[must_use]
    pub fn timestamp(limits: &Limits) -> Self {
        let (max_length, limit) = (limits.timestamp_length, Some(Limit::TimestampLength));
        Self { role: RoleName::TIMESTAMP, version: None, max_length, limit }
    }

    /// The file's name below the metadata URL, percent-encoded.
    #[must_use]
    pub fn file_name(&self) -> String {
        self.role.file_name(self.version)
    }

    /// Whether the file may be absent: a newer root only (5.3.3).
    #[must_use]
    pub fn may_be_absent(&self) -> bool {
        self.role == RoleName::ROOT
    }
}

/// Most bytes of a file and the limit that says so, unless its length is listed.
fn most_bytes(listed: Option<u64>, limit: Limit, value: u64) -> (u64, Option<Limit>) {
    listed.map_or((value, Some(limit)), |length| (length, None))
}

/// A step of the workflow. For each [`Request`]: offer what is stored, and if that does not answer, what was fetched.
pub trait Stage {
    /// What follows.
    type Next;

    /// The next file that is needed; none: enough.
    fn request(&self) -> Option<Request>;

    /// Files that will be needed after that one if all goes well, in their order and at most so many: for whoever can
    /// ask for several at once. None from a stage that learns of each from the one before it.
    fn upcoming(&self, most: usize) -> Vec<Request> {
        let _ = most;
        Vec::new()
    }

    /// Whether a kept copy would answer a request that is upcoming. Nothing comes of it.
    fn would_recall(&self, request: &Request, stored: FileContent) -> bool {
        let _ = (request, stored);
        false
    }

    /// Takes the copy kept from last time, and tells whether it answers the request. A copy that does not may still
    /// be a floor, so offer it always: where the record of trusted versions is damaged, nothing else is trusted
    /// before it.
    fn recall(&mut self, stored: FileContent) -> bool;

    /// Judges the file; none means that the server says it is not there, and nothing less definite. Gives what is to
    /// be kept, if anything is, before anything else is asked for.
    ///
    /// # Errors
    /// The verdict. The stage is as it was, so that another mirror's file can be tried.
    fn apply(&mut self, fetched: Option<FileContent>) -> Result<Option<Accepted>, Error>;

    /// The record of trusted versions, to be kept whenever it has changed; none from a stage that never changes it.
    fn floors(&self) -> Option<&Floors>;

    /// The final checks, then the next stage.
    ///
    /// # Errors
    /// The verdict, [`ErrorKind::Expired`] above all. The update has failed.
    fn finish(self) -> Result<Self::Next, Error>
    where
        Self: Sized;
}

/// What all stages share.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) root: Verified<Root>,
    pub(crate) start_time: DateTime<Utc>,
    pub(crate) limits: Limits,
    pub(crate) floors: Floors,
    /// What was verified before in this process.
    pub(crate) known: Option<ReusableTargets>,
}

impl Update {
    /// Verifies a file of a role that the root vouches for (5.4.2, 5.5.3), of which this is listed.
    fn verified<R: Role>(
        &self,
        role: &RoleName,
        listed: Option<&MetaFile>,
        bytes: Vec<u8>,
    ) -> Result<Verified<R>, Error> {
        let ring = self.root.key_ring(role)?;
        Required { role, ring: &ring, listed, limits: &self.limits }.verify(bytes)
    }

    /// 5.3.10, 5.4.4, 5.5.6, 5.6.5: expires strictly later than the update started.
    pub(crate) fn check_expiry(&self, role: &RoleName, expires: DateTime<Utc>) -> Result<(), Error> {
        if expires <= self.start_time {
            return Err(ErrorKind::Expired { expires, start_time: self.start_time }.of(role));
        }
        Ok(())
    }

    /// The version that a file name begins with (6.2.1).
    pub(crate) fn prefix(&self, version: Version) -> Option<Version> {
        self.root.consistent_snapshot.then_some(version)
    }
}
