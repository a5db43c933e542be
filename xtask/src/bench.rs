//! `cargo xtask bench`: measures, side by side, what the project promises, and writes docs/performance.md.

use crate::say;
use std::path::Path;

/// Runs the named benches, or all; true when each could be measured.
pub(crate) fn run(_project: &Path, _names: &[&str]) -> bool {
    say::warn("nothing is measured yet");
    false
}
