//! Reports for people and programs: the changes in a draft, the status of a repository, and the result of a full check.

#[cfg(feature = "cli")]
pub(crate) mod counts;
pub(crate) mod diff;
#[cfg(feature = "cli")]
pub(crate) mod overview;
pub(crate) mod roles;
#[cfg(feature = "cli")]
pub(crate) mod seen;
#[cfg(feature = "cli")]
pub(crate) mod served_status;
pub(crate) mod status;
pub(crate) mod verify;
