//! What the tests in `it/` share: documents of the simulated repository, judged without a client.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "code for tests panics where a test misuses it")]

mod judge;

pub use judge::{judge, judge_bytes, judge_root, judge_targets, malformed, parse, ring, role, verdict, version};
