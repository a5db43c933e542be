//! Reports for people and programs: what a change contains, how a repository stands, and whether every file is right.

pub(crate) mod diff;
pub(crate) mod status;
pub(crate) mod verify;
