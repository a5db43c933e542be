//! Publishes a change (TUF specification 6.3): assigns versions, writes files, keeps a journal, and answers the
//! requests from waiting processes.

pub(crate) mod batch;
pub(crate) mod beside;
pub(crate) mod completed;
pub(crate) mod completion;
pub(crate) mod compress;
mod conclude;
pub(crate) mod journal;
pub(crate) mod observer;
pub(crate) mod plan;
pub(crate) mod publication;
pub(crate) mod queue;
pub(crate) mod received;
pub(crate) mod snapshot;
pub(crate) mod staged;
mod stored_request;
pub(crate) mod superseded;
pub(crate) mod transaction;
pub(crate) mod versions;
