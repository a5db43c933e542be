//! `cargo xtask mutants [FILE…]`: mutation testing of the code that makes decisions about trust.
//!
//! cargo-mutants lists the mutants, except those that `.cargo/mutants.toml` excludes; `tests/MUTANTS.md` gives the
//! reasons for excluding individual mutants. Building the mutants separately takes more than a day, so
//! `tests/mutants/at_once.py` builds all of them at once.

use std::path::Path;
use std::process::Command;

use xtask::command::{Outcome, cargo, status};
use xtask::say;
use xtask::setup::{quiet, tree_sitter};

/// The version of cargo-mutants for which `.cargo/mutants.toml` was written.
const CARGO_MUTANTS: &str = "27.1.0";

/// Searches `files`, or all files if `files` is empty, for mutants that no test detects. Returns `true` if every mutant
/// is detected.
pub(crate) fn run(project: &Path, files: &[&str]) -> bool {
    if !is_installed(project) || !tree_sitter(project) {
        return false;
    }
    match status(&mut at_once(project, files)) {
        Outcome::Failed(why) | Outcome::NotChecked(why) => {
            say::warn(format!("{why}; the undetected mutants are listed above"));
            false
        }
        Outcome::Passed => true,
    }
}

fn is_installed(project: &Path) -> bool {
    if quiet("cargo", &["mutants", "--version"]) {
        return true;
    }
    say::line(format!("installing cargo-mutants {CARGO_MUTANTS}; this takes some minutes"));
    let mut install = cargo(project, &["install", "--locked", "--version", CARGO_MUTANTS, "cargo-mutants"]);
    let outcome = status(install.env_remove("CARGO_TARGET_DIR"));
    if let Outcome::Failed(why) | Outcome::NotChecked(why) = outcome {
        say::warn(format!("cargo-mutants could not be installed: {why}"));
        return false;
    }
    true
}

fn at_once(project: &Path, files: &[&str]) -> Command {
    let mut command = Command::new(project.join("target/mutants/venv/bin/python"));
    command.current_dir(project).env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
    command.args(["-u", "tests/mutants/at_once.py", ".", "target/mutants/copy"]).args(files);
    command
}

#[cfg(test)]
mod tests {
    /// Returns the patterns in `.cargo/mutants.toml` that exclude individual mutants, without the backslashes that
    /// escape characters in the patterns.
    fn excluded() -> Vec<String> {
        let lines = include_str!("../../.cargo/mutants.toml").lines();
        let patterns = lines.filter_map(|line| line.trim().strip_prefix('\'')?.strip_suffix("$',"));
        patterns.map(|pattern| pattern.replace('\\', "")).collect()
    }

    #[test]
    fn every_excluded_mutant_has_a_reason() {
        let rows = include_str!("../../tests/MUTANTS.md").lines().filter_map(|line| {
            let (file, rest) = line.strip_prefix("| `")?.split_once("` | `")?;
            let (change, reason) = rest.split_once("` | ")?;
            // In mutants.toml, a pattern is a string in apostrophes. This kind of string cannot contain an apostrophe,
            // so the pattern contains a dot instead.
            (reason.len() > 2).then(|| format!("{file}.*{change}").replace('\\', "").replace('\'', "."))
        });
        let rows: Vec<_> = rows.collect();
        assert!(!rows.is_empty());
        assert_eq!(
            rows,
            excluded(),
            "tests/MUTANTS.md and .cargo/mutants.toml must list the same mutants in the same order"
        );
    }
}
