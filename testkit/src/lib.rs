//! A simulated TUF repository, an imperfect road to it and a device that updates from it.
//!
//! The simulator writes every document itself, with `serde_json` and its own canonical JSON, so that a mistake in
//! lastmile's reader cannot be repeated by the writer that tests it. Keys come from names, time is a value, and
//! nothing is published before [`Repository::publish`] says so.
//!
//! ```
//! use lastmile_testkit::Repository;
//!
//! let mut repository = Repository::new();
//! repository.add_target("targets", "hello.txt", b"hello");
//! repository.publish(&["targets"]);
//! assert_eq!(repository.version("targets"), 2);
//! assert!(repository.road().file("metadata/2.targets.json").is_some());
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a simulator that is used wrongly must stop the test at the place that misuses it"
)]

pub mod canonical;
mod delegations;
mod device;
mod key;
mod repository;
mod road;
mod server;

pub use delegations::{Delegation, bin_of};
pub use device::{Device, Versions, refused, road_error, time, too_long};
pub use key::TestKey;
pub use repository::{METADATA, Repository, SHIPPED_EXPIRY, TARGETS, file_name, hash, sign};
pub use road::{Answer, BASE, Fault, Road};
pub use server::{Request, Responder, Server, Wire};
