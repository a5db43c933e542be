//! Random tests of the client against an adversary.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a mistake in a test must stop the test immediately"
)]

pub mod adversary;
