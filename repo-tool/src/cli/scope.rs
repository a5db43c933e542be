//! Lists the global options that have no effect in certain commands.

use clap::{Command, CommandFactory as _};
use lastmile_cli_support::scope::{Unused, hide_unused};

use super::args::Cli;

/// The global options that have no effect in commands that do not read a repository.
const OF_REPOSITORY: &[&str] = &[
    "repository",
    "pass_phrase_file",
    "config",
    "root",
    "root_sha256",
    "allow_key",
    "skip_served_check",
    "skip_clock_check",
    "wait",
    "accept",
];

/// The global options that have no effect in commands that do not sign.
const OF_SIGNING: &[&str] =
    &["pass_phrase_file", "allow_key", "skip_served_check", "skip_clock_check", "wait", "accept"];

/// The global options that have no effect in commands that sign, but publish nothing.
const OF_PUBLISHING: &[&str] = &["skip_served_check", "skip_clock_check", "wait", "accept"];

/// The global options that have no effect in commands that print text about the program itself.
const OF_OUTPUT: &[&str] = &["json", "quiet"];

/// The global option that has no effect in commands that change nothing.
const DRY_RUN: &[&str] = &["dry_run"];

pub(super) const UNUSED: &Unused<'_> = &[
    ("attest", OF_PUBLISHING),
    ("serve", OF_SIGNING),
    ("demo", OF_REPOSITORY),
    ("demo", DRY_RUN),
    ("attack-lab", OF_REPOSITORY),
    ("attack-lab", DRY_RUN),
    ("completions", OF_REPOSITORY),
    ("completions", DRY_RUN),
    ("completions", OF_OUTPUT),
    ("man", OF_REPOSITORY),
];

pub(super) fn command() -> Command {
    hide_unused(Cli::command(), UNUSED)
}
