//! A simulated TUF repository, a fake network, a loopback server and a test client, for testing applications that use
//! [`lastmile-client`](https://docs.rs/lastmile-client).
//!
//! * [`Repository`] writes and signs TUF metadata in memory. A test can change every document before it is signed.
//! * [`FakeNetwork`] contains the published files, records requests, and can answer requests for any path with a
//!   [`NetworkFault`].
//! * [`Server`] serves a [`FakeNetwork`] over HTTP on 127.0.0.1, for code that takes a URL.
//! * [`sigstore`] simulates a Sigstore instance, for tests of policies.
//! * [`TestClient`] is an installation of `lastmile-client` in a temporary directory.
//!
//! The README has a worked example. This crate has its own canonical JSON encoder, so tests can detect mistakes in the
//! encoder of `lastmile-metadata`. Keys are derived from names, and the test sets the time, so tests give the same
//! results on every machine and at any time.
//!
//! Use this crate in tests only: its functions panic when they are misused, and anyone can derive its private keys from
//! their names.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test code panics when it is misused"
)]

pub mod canonical;
mod delegations;
mod fake_network;
mod key;
mod outcome;
mod repository;
mod server;
pub mod sigstore;
mod test_client;

pub use delegations::{Delegation, bin_of};
pub use fake_network::{Answer, BASE, FakeNetwork, NetworkFault};
pub use key::TestKey;
pub use outcome::{network_error, refused, time, too_long};
pub use repository::{DEFAULT_EXPIRY, METADATA, Repository, TARGETS, file_name, hash, sign};
pub use server::{Connection, Request, Responder, Server};
pub use test_client::{TestClient, Versions};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
