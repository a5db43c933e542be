//! `cargo xtask mutants [FILE…]`: whether the tests notice when the code is changed, by cargo-mutants. What it changes
//! stands in `.cargo/mutants.toml`; a run over all of it takes hours.

use crate::say;
use crate::setup::quiet;
use crate::steps::{Outcome, cargo, status};
use std::path::Path;

/// The version that `.cargo/mutants.toml` is written for.
const CARGO_MUTANTS: &str = "27.0.0";

/// Runs cargo-mutants over these files, or all; true when no mutant survives.
pub(crate) fn run(project: &Path, files: &[&str]) -> bool {
    if !quiet("cargo", &["mutants", "--version"]) {
        say::line(format!("installing cargo-mutants {CARGO_MUTANTS}; that takes some minutes"));
        let mut install = cargo(project, &["install", "--locked", "--version", CARGO_MUTANTS, "cargo-mutants"]);
        if let Outcome::Failed(why) = status(install.env_remove("CARGO_TARGET_DIR")) {
            say::warn(format!("cargo-mutants could not be installed: {why}"));
            return false;
        }
    }
    let mut mutants = cargo(project, &["mutants", "--output", "target"]);
    for file in files {
        mutants.args(["--file", file]);
    }
    match status(&mut mutants) {
        Outcome::Failed(why) => {
            say::warn(format!("{why}; the survivors are in target/mutants.out/missed.txt"));
            false
        }
        _ => true,
    }
}
