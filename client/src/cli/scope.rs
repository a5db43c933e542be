//! Lists, for each command, the common options that the command does not use. The help text of the command hides these
//! options, and the parser refuses them.

use std::ffi::OsString;

use clap::{Command, CommandFactory, FromArgMatches};
use lastmile_cli_support::scope::{Unused, hide_unused, refuse_unused};

use super::args::Arguments;

/// The common options that affect only network requests, which `verify` and `status` never make.
const NETWORK: &[&str] = &["verbose", "timeout", "deadline", "retries", "proxy", "ca_file"];

/// The common options that `trust` does not use: it makes no network requests, and its subcommands take the name of the
/// repository as an argument.
const ONE_REPOSITORY: &[&str] = &["repository", "verbose", "timeout", "deadline", "retries", "proxy", "ca_file"];

/// Commands that print text about the program itself use none of these options.
const ALL: &[&str] = &[
    "repository",
    "state_dir",
    "json",
    "quiet",
    "verbose",
    "timeout",
    "deadline",
    "retries",
    "proxy",
    "ca_file",
    "limits",
];

const UNUSED: &Unused<'_> =
    &[("trust", ONE_REPOSITORY), ("verify", NETWORK), ("status", NETWORK), ("completions", ALL), ("man", ALL)];

/// Returns the definition of the command line, in which each command hides the options that it does not use.
pub(super) fn command() -> Command {
    hide_unused(Arguments::command(), UNUSED)
}

/// Parses a command line, and refuses options that the command does not use.
pub(super) fn parsed(args: &[OsString]) -> Result<Arguments, clap::Error> {
    let mut command = command();
    let mut matches = command.try_get_matches_from_mut(args)?;
    refuse_unused(&mut command, &matches, UNUSED)?;
    Arguments::from_arg_matches_mut(&mut matches)
}
