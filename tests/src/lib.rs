//! Functions for the tests in `it/`: verifying documents of the simulated repository without a client.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "code for tests panics where a test misuses it")]

mod judge;

pub use judge::{judge, judge_bytes, judge_root, judge_targets, malformed, parse, ring, role, verdict, version};
