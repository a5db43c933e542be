//! Tests that use several crates. Most modules test one part of the TUF specification. If a test covers a requirement
//! in `spec-rows.txt`, the name of the test starts with the ID of the requirement.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy.toml allows these lints only in test functions, but this crate also has helper functions"
)]

mod attacks;
mod cached;
mod canonical;
mod cli;
mod conformance;
mod coverage;
mod crash;
mod decisions;
mod delegations;
mod disks;
mod download;
mod envelope;
mod examples;
mod formats;
mod framework;
mod guides;
mod hostile;
mod interop;
mod invariants;
mod keys;
mod killed;
mod limits;
mod made;
mod monitoring;
mod owners;
mod policies;
mod published_bundles;
mod pushed;
mod recipes;
mod root;
mod search;
mod servers;
mod sigstore_conformance;
mod snapshot;
mod taps;
mod targets;
mod teams;
mod threat_model;
mod time;
mod timestamp;
