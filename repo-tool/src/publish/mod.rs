//! Publishes a plan (spec 6.3): issues versions, writes the files, keeps the journal, and serves the requests that wait.

pub mod batch;
pub mod compress;
pub(crate) mod journal;
pub(crate) mod publication;
pub mod queue;
pub mod snapshot;
pub mod staged;
pub(crate) mod superseded;
pub mod transaction;
pub(crate) mod versions;
