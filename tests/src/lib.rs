//! Functions with which the tests in `it/` verify files of the simulated repository, and check evidence, without a
//! client.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "functions for tests may panic")]

mod bundle_check;
mod judge;

pub use bundle_check::{BundleCheck, ExpectedSigner, predicate_type};
pub use judge::{judge, judge_bytes, judge_root, judge_targets, malformed, parse, ring, role, verdict, version};
