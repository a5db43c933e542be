//! Functions with which the tests in `it/` verify single files of the simulated repository, or check evidence, without
//! running a client.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "functions for tests may panic")]

mod bundle_check;
mod judge;

pub use bundle_check::{BundleCheck, ExpectedSigner, predicate_type};
pub use judge::{judge, judge_bytes, judge_root, judge_targets, malformed, parse, ring, role, verdict, version};

/// Writes a line to standard error. In contrast to the output of `eprintln!`, the line is visible even if the test
/// passes.
pub fn say(line: &str) {
    use std::io::Write as _;
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("standard error can be written");
}
