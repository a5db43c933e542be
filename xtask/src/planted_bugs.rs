//! `cargo xtask planted-bugs`: checks that the attack scenarios detect bugs. Each patch in `tests/planted-bugs/` adds a
//! bug to a copy of the sources. The scenarios that the patch names must then fail.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use xtask::command::cargo;
use xtask::say;

/// The folders to copy, in addition to a few files in the root folder of the workspace.
const FOLDERS: [&str; 11] =
    ["attest", "cli-support", "fs", "keys", "metadata", "client", "repo-tool", "testkit", "attacks", "tests", "xtask"];

/// A patch, and the scenarios that must fail with it.
struct PlantedBug {
    name: String,
    file: PathBuf,
    breaks: Vec<String>,
}

/// Checks the patches with the names in `wanted`, or all patches if `wanted` is empty. Applies one patch at a time, and
/// runs the scenarios that the patch names. Returns `true` if all these scenarios failed.
pub(crate) fn run(project: &Path, wanted: &[&str]) -> bool {
    let started = Instant::now();
    let scratch = project.join("target/planted-bugs");
    let bugs = match planted_bugs(project, wanted).and_then(|bugs| copy(project, &scratch).map(|()| bugs)) {
        Ok(bugs) => bugs,
        Err(error) => {
            say::warn(error.to_string());
            return false;
        }
    };
    let wrong = bugs.iter().filter(|bug| !is_detected(&scratch, bug)).count();
    let seconds = started.elapsed().as_secs();
    say::line(format!("\n{} planted bugs, {wrong} of them missed by at least one scenario, {seconds} s", bugs.len()));
    wrong == 0
}

/// Checks one patch, and prints the result. Returns `true` if all scenarios that the patch names failed.
fn is_detected(scratch: &Path, bug: &PlantedBug) -> bool {
    let started = Instant::now();
    let missed = missed(scratch, bug);
    let all = bug.breaks.len();
    let seconds = started.elapsed().as_secs_f64();
    let printed = match &missed {
        Ok(missed) if missed.is_empty() => format!("{all:2} scenarios fail  {seconds:6.1} s"),
        Ok(missed) => format!("NOT DETECTED by {}", missed.join(", ")),
        Err(error) => error.to_string(),
    };
    say::line(format!("{:28}  {printed}", bug.name));
    missed.is_ok_and(|missed| missed.is_empty())
}

fn planted_bugs(project: &Path, wanted: &[&str]) -> io::Result<Vec<PlantedBug>> {
    let mut bugs = Vec::new();
    for entry in fs::read_dir(project.join("tests/planted-bugs"))? {
        let file = entry?.path();
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if file.extension().is_some_and(|ending| ending == "patch") && (wanted.is_empty() || wanted.contains(&&*name)) {
            let text = fs::read_to_string(&file)?;
            let breaks = text.lines().filter_map(|line| line.strip_prefix("Breaks: ")).map(str::to_owned).collect();
            bugs.push(PlantedBug { name, file, breaks });
        }
    }
    bugs.sort_by(|one, other| one.name.cmp(&other.name));
    if bugs.is_empty() { Err(io::Error::other("no such patch in tests/planted-bugs")) } else { Ok(bugs) }
}

/// Applies the patch, runs the scenarios that it names, and reverts the patch. Returns the scenarios that did not
/// detect the bug.
fn missed(scratch: &Path, bug: &PlantedBug) -> io::Result<Vec<String>> {
    apply(scratch, bug, &[])?;
    let scenarios = ["run", "--locked", "--quiet", "-p", "lastmile-tests", "--bin", "lastmile-scenarios", "--"];
    let mut command = cargo(scratch, &scenarios);
    // The copy must have its own target folder. Otherwise, cargo would confuse the patched crates with the unpatched
    // crates.
    command.args(&bug.breaks).env_remove("CARGO_TARGET_DIR");
    let result = command.output();
    apply(scratch, bug, &["--reverse"])?;
    let output = result?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if printed.trim().is_empty() {
        return Err(io::Error::other(format!("cannot be run: {}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(bug.breaks.iter().filter(|id| !is_noticed(id, &printed)).cloned().collect())
}

/// Returns `true` if, according to the output `printed`, a case of the scenario failed during or after the attack. A
/// failure before the attack does not count.
fn is_noticed(id: &str, printed: &str) -> bool {
    let sample = format!("{id} [");
    let mut wrong =
        printed.lines().filter(|line| line.starts_with(&sample)).filter_map(|line| line.split_once("]: WRONG: "));
    wrong.any(|(_, why)| !why.starts_with("before the attack"))
}

fn apply(scratch: &Path, bug: &PlantedBug, more: &[&str]) -> io::Result<()> {
    let mut command = Command::new("git");
    // The copy is inside the git repository of the project. `GIT_CEILING_DIRECTORIES` prevents git from finding that
    // repository.
    command.args(["apply"]).args(more).arg(&bug.file).current_dir(scratch);
    command.env("GIT_CEILING_DIRECTORIES", scratch.parent().unwrap_or(scratch));
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{} does not apply", bug.file.display()))) }
}

/// Copies the sources. Leaves unchanged files alone, so that cargo does not rebuild them.
fn copy(project: &Path, scratch: &Path) -> io::Result<()> {
    for name in ["Cargo.toml", "Cargo.lock", "clippy.toml"] {
        copy_file(&project.join(name), &scratch.join(name))?;
    }
    FOLDERS.iter().try_for_each(|name| copy_folder(&project.join(name), &scratch.join(name)))
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let source = entry.path();
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_file() {
            copy_file(&source, &copy)?;
        } else if entry.file_type()?.is_dir() && !["target", "node_modules"].iter().any(|name| source.ends_with(name)) {
            copy_folder(&source, &copy)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::write(to, bytes)
}

#[cfg(test)]
mod tests {
    use super::is_noticed;

    #[test]
    fn a_failure_before_the_attack_is_not_a_detection() {
        let printed =
            "a [x]: WRONG: before the attack: no\na [y]: refused\nb [x]: WRONG: accepted\nab [x]: WRONG: accepted\n";
        assert!(!is_noticed("a", printed));
        assert!(is_noticed("b", printed) && is_noticed("ab", printed));
    }
}
