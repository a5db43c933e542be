//! The metadata formats and the client workflow of TUF (TUF specification 4 and 5), as a state machine that requests
//! files and verifies them.
//!
//! This crate accesses no files, no network and no clock, and does not handle private keys. The caller passes in the
//! bytes of files and gets back verified metadata or errors. An update goes through these types:
//!
//! ```text
//! UpdateRoot → UpdateTimestamp → UpdateSnapshot → UpdateTargets → TrustedMetadata → TargetSearch → Found
//! ```
//!
//! `UpdateRoot`, `UpdateTimestamp`, `UpdateSnapshot`, `UpdateTargets` and `TargetSearch` implement [`Stage`]: each of
//! them requests files, verifies them, and returns a value of the next type. A stage owns the metadata that is
//! trusted so far, so code that verifies a snapshot before its timestamp does not compile.
//!
//! In comments, "Spec 5.3.4" refers to a section of the TUF specification, and "POUF A4" refers to a numbered decision in
//! `docs/pouf.md`, which describes this implementation.
#![no_std]

extern crate alloc;

mod canonical;
pub mod changes;
mod envelope;
mod error;
mod escapes;
mod floors;
mod format_time;
mod hashes;
mod index;
mod key;
mod key_id;
mod limit;
mod limits;
mod name;
mod parse_time;
mod path_pattern;
mod reader;
mod role;
mod scan;
mod signature;
mod stored;
mod succinct;
mod text;
mod threshold;
mod trusted;
mod update;
mod verified_targets;
mod verify;

pub use canonical::{Json, Unknown};
pub use envelope::{Envelope, Received, assemble};
pub use error::{Error, ErrorKind, Location};
pub use floors::{Floors, StoredFloors};
pub use format_time::format_time;
pub use hashes::{Algorithm, FileError, Hashes, HashingVerifier};
pub use key::{Key, KeyRing};
pub use key_id::KeyId;
pub use limit::Limit;
pub use limits::Limits;
pub use name::{NameError, RoleName, TargetPath, Version};
pub use parse_time::parse_time;
pub use path_pattern::{HashPrefix, PathPattern, hash_start};
pub use role::delegations::{DelegatedRoles, Delegation, Delegations, Paths};
pub use role::root::{RoleKeys, Root};
pub use role::router::Router;
pub use role::snapshot::{MetaFile, Snapshot};
pub use role::targets::{TargetFile, TargetNames, Targets};
pub use role::timestamp::Timestamp;
pub use role::{Header, Role, SPEC_VERSION};
pub use signature::Signature;
pub use stored::{Accepted, FileContent, RandomAccess};
pub use succinct::SuccinctRoles;
pub use text::is_unprintable;
pub use threshold::Threshold;
pub use trusted::TrustedMetadata;
pub use update::listing::Listing;
pub use update::root::UpdateRoot;
pub use update::search::{Found, TargetSearch};
pub use update::snapshot::UpdateSnapshot;
pub use update::targets::UpdateTargets;
pub use update::timestamp::UpdateTimestamp;
pub use update::{Request, Stage};
pub use verified_targets::{ReusableTargets, VerifiedTargets};
pub use verify::Verified;

/// Runs the example in the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
