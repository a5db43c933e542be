//! Which of the options of every command mean something to each command.

use clap::{Command, CommandFactory as _};
use lastmile_cli_support::scope::{Unused, hide_unused};

use super::args::Cli;

/// What commands do not use that read no repository.
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

/// What commands do not use that sign nothing.
const OF_SIGNING: &[&str] =
    &["pass_phrase_file", "allow_key", "skip_served_check", "skip_clock_check", "wait", "accept"];

/// What commands do not use that print text about the program itself, besides the options of a repository.
const OF_OUTPUT: &[&str] = &["json", "quiet"];

/// What commands do not use that change nothing.
const DRY_RUN: &[&str] = &["dry_run"];

pub(super) const UNUSED: &Unused<'_> = &[
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

/// Returns the definition of the command line.
pub(super) fn command() -> Command {
    hide_unused(Cli::command(), UNUSED)
}
