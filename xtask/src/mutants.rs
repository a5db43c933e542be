//! `cargo xtask mutants [--one-by-one] [FILE…]`: whether the tests notice when the code is changed.
//!
//! cargo-mutants says what there is to change; what it leaves out stands in `.cargo/mutants.toml`, with the reason in
//! `tests/MUTANTS.md`. It would take a day and more, so all changes are built at once (`tests/mutants/at_once.py`).

use crate::say;
use crate::setup::{quiet, tree_sitter};
use crate::steps::{Outcome, cargo, status};
use std::path::Path;
use std::process::Command;

/// The version that `.cargo/mutants.toml` is written for.
const CARGO_MUTANTS: &str = "27.1.0";

/// Looks for mutants that survive, in these files or in all; true when there is none.
pub(crate) fn run(project: &Path, words: &[&str]) -> bool {
    if !is_installed(project) {
        return false;
    }
    let mut command = match words {
        ["--one-by-one", files @ ..] => one_by_one(project, files),
        files if tree_sitter(project) => at_once(project, files),
        _ => return false,
    };
    match status(&mut command) {
        Outcome::Failed(why) | Outcome::NotChecked(why) => {
            say::warn(format!("{why}; what no test notices is named above"));
            false
        }
        Outcome::Passed => true,
    }
}

fn is_installed(project: &Path) -> bool {
    if quiet("cargo", &["mutants", "--version"]) {
        return true;
    }
    say::line(format!("installing cargo-mutants {CARGO_MUTANTS}; that takes some minutes"));
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

fn one_by_one(project: &Path, files: &[&str]) -> Command {
    let mut command = cargo(project, &["mutants", "--output", "target"]);
    for file in files {
        command.args(["--file", file]);
    }
    command
}

#[cfg(test)]
mod tests {
    /// What `.cargo/mutants.toml` leaves out of single files, without what a pattern escapes.
    fn left_out() -> Vec<String> {
        let lines = include_str!("../../.cargo/mutants.toml").lines();
        let patterns = lines.filter_map(|line| line.trim().strip_prefix('\'')?.strip_suffix("$',"));
        patterns.map(|pattern| pattern.replace('\\', "")).collect()
    }

    #[test]
    fn no_mutant_is_left_out_without_a_reason() {
        let rows = include_str!("../../tests/MUTANTS.md").lines().filter_map(|line| {
            let (file, rest) = line.strip_prefix("| `")?.split_once("` | `")?;
            let (change, reason) = rest.split_once("` | ")?;
            // An apostrophe would end the pattern's own text.
            (reason.len() > 2).then(|| format!("{file}.*{change}").replace('\\', "").replace('\'', "."))
        });
        let rows: Vec<_> = rows.collect();
        assert!(!rows.is_empty());
        assert_eq!(rows, left_out(), "tests/MUTANTS.md and .cargo/mutants.toml, in one order");
    }
}
