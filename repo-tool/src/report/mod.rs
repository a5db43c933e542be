//! Reports for people and programs: the changes in a draft, the status of a repository, and the result of a full check.

pub(crate) mod diff;
pub(crate) mod status;
pub(crate) mod verify;
