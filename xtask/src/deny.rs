//! `cargo deny` in two parts: what can always be checked, and the advisories, whose database lies
//! outside.

use crate::steps::{Outcome, cargo, status};
use crate::{say, setup};
use std::path::Path;
use std::process::Command;

/// `cargo deny ARGUMENTS…`, with the program that `setup` found or installed.
fn cargo_deny(project: &Path, arguments: &[&str]) -> Command {
    let mut command = cargo(project, &["deny"]);
    command.args(arguments);
    let installed = project.join(setup::CARGO_DENY_PLACE).join("bin");
    // Cargo looks for its sub-commands on the path.
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Ok(path) = std::env::join_paths(std::env::split_paths(&path).chain([installed])) {
        command.env("PATH", path);
    }
    command
}

/// `cargo deny check PARTS…` by deny.toml. It looks at every platform's crates, so cargo may have to fetch some.
pub(crate) fn check(project: &Path, parts: &[&str]) -> Command {
    let mut command = cargo_deny(project, &["--locked", "--all-features", "check", "--hide-inclusion-graph"]);
    command.args(parts);
    command
}

/// The RustSec database must be fetched. Where it cannot be had, the advisories are *not* checked,
/// and the summary says so.
pub(crate) fn advisories(project: &Path) -> Outcome {
    if let Outcome::Failed(_) = status(cargo_deny(project, &["--version"]).stdout(std::process::Stdio::null())) {
        return Outcome::Failed("cargo-deny is not there".into());
    }
    let mut fetch = cargo_deny(project, &["--locked", "fetch", "db"]);
    fetch.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    if let Outcome::Failed(_) = status(&mut fetch) {
        say::line("the RustSec advisory database cannot be reached from this machine:");
        say::line("known advisories against our dependencies were NOT checked in this run");
        return Outcome::NotChecked("the RustSec database is out of reach".into());
    }
    status(&mut check(project, &["advisories"]))
}
