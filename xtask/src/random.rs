//! `cargo xtask random`: a hundred thousand random histories, with signatures that cost nothing.
//!
//! The client and the judge are the ones that are shipped, file by file; in a workspace of its own below `target/`, another
//! crate stands in the place of `keys/`, where nine tenths of the time would be spent. A sample of the histories is played
//! with real signatures by `cargo test`.

use crate::say;
use crate::steps::{Outcome, cargo, status};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// Where that workspace lies.
const PLACE: &str = "target/random";
/// What is in it.
const MEMBERS: [&str; 4] = ["cli-support", "metadata", "client", "tests"];

/// Plays them; true when all end as they should.
pub(crate) fn run(project: &Path) -> bool {
    let outcome = histories(project).map(|mut command| status(&mut command));
    match outcome {
        Ok(Outcome::Passed) => return true,
        Ok(Outcome::Failed(why) | Outcome::NotChecked(why)) | Err(why) => say::warn(why),
    }
    false
}

/// The command that plays them.
pub(crate) fn histories(project: &Path) -> Result<Command, String> {
    workspace(project).map_err(|error| format!("{PLACE}: {error}"))?;
    let mut command = cargo(&project.join(PLACE), &["test", "--profile", "random", "-p", "lastmile-random"]);
    command.args(["--target-dir", "target", "--test", "adversary"]);
    Ok(command)
}

/// Makes the workspace, or brings it up to date.
fn workspace(project: &Path) -> io::Result<()> {
    let place = project.join(PLACE);
    fs::create_dir_all(&place)?;
    for member in MEMBERS {
        let link = place.join(member);
        if link.symlink_metadata().is_err() {
            symlink(Path::new("../..").join(member), link)?;
        }
    }
    let manifest = fs::read_to_string(project.join("Cargo.toml"))?;
    let manifest: Vec<&str> = manifest
        .lines()
        .map(|line| match line.split(' ').next() {
            Some("members") => {
                r#"members = ["cli-support", "metadata", "client", "tests/random", "tests/random/toy-keys"]"#
            }
            Some("exclude") => "",
            Some("lastmile-keys") => r#"lastmile-keys = { path = "tests/random/toy-keys" }"#,
            _ => line,
        })
        .collect();
    write(&place.join("Cargo.toml"), &manifest.join("\n"))?;
    // The same versions of everything; cargo leaves out what is not needed.
    let lock = place.join("Cargo.lock");
    if !lock.exists() {
        fs::copy(project.join("Cargo.lock"), lock)?;
    }
    Ok(())
}

/// Leaves a file alone that is right, so that nothing is built anew because of it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|found| found == text) { Ok(()) } else { fs::write(path, text) }
}
