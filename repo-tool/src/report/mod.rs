//! Reports for people and programs: what a change contains, how a repository stands, and whether every file is right.

pub mod diff;
pub mod status;
pub mod verify;
