//! Tests across crates, with one module for each part of the specification. The name of a test starts with the ID of
//! its requirement in `spec-rows.txt`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy allows these in test functions, but this crate also has helper functions"
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
mod threat_model;
mod time;
mod timestamp;
