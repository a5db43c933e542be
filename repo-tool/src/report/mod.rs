//! Reports for people and programs: the unpublished changes, the status of a repository, and the result of a full
//! check.

#[cfg(feature = "cli")]
pub(crate) mod calendar;
#[cfg(feature = "cli")]
pub(crate) mod child;
#[cfg(feature = "cli")]
pub(crate) mod counts;
pub(crate) mod diff;
#[cfg(feature = "cli")]
pub(crate) mod metrics_server;
#[cfg(feature = "cli")]
pub(crate) mod notify;
#[cfg(feature = "cli")]
pub(crate) mod overview;
#[cfg(feature = "cli")]
pub(crate) mod page;
#[cfg(feature = "cli")]
pub(crate) mod prometheus;
pub(crate) mod roles;
#[cfg(feature = "cli")]
pub(crate) mod seen;
#[cfg(feature = "cli")]
pub(crate) mod served_status;
pub(crate) mod status;
pub(crate) mod verify;
