//! Measures the creation of a repository with many small files, and compares lastmile-repo with tuftool.

use crate::Setup;
use crate::large::thousands;
use crate::process::{self, TIME_LIMIT, Used};
use crate::report::Report;
use crate::row::{Bar, Contestant, OURS, Row, Unit, in_turns};
use std::fs;
use std::path::{Path, PathBuf};
use xtask::command::{Outcome, cargo, status};
use xtask::say;

const TUFTOOL: &str = "0.17.0";
const NAME: &str = "tuftool create";
const BAR: Bar = Bar { text: "10× `tuftool create`", ratios: &[(NAME, 10.0)], most: None, memory: None };

/// Measures the creation of a repository. lastmile-repo creates its keys, copies and signs the files, checks the result
/// with the client, and calls fsync. tuftool already has its keys and its root. Neither encrypts its keys.
pub(crate) fn run(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let folder = setup.scratch.join("publish");
    let files = folder.join("files");
    fs::create_dir_all(&files).map_err(|error| error.to_string())?;
    for number in 0..setup.sizes.files {
        let content = format!("{number:08}").repeat(128);
        fs::write(files.join(format!("file-{number:05}.txt")), content).map_err(|error| error.to_string())?;
    }
    let mut contestants = vec![Contestant { program: OURS, rounds: 3, turn: Box::new(|| ours(setup, &folder)) }];
    if setup.peers {
        let tuftool = tuftool(&setup.project)?;
        theirs_prepare(&tuftool, &folder)?;
        let turn = Box::new({
            let folder = folder.clone();
            move || theirs(setup, &tuftool, &folder)
        });
        contestants.push(Contestant { program: NAME, rounds: 3, turn });
    }
    let work = format!("`init` + `add` of {} files of 1 KiB, with fsync", thousands(setup.sizes.files));
    report.row(&Row::new(&work, &BAR, Unit::Seconds, &in_turns(contestants), None));
    let _ = fs::remove_dir_all(&folder);
    Ok(())
}

fn ours(setup: &Setup, folder: &Path) -> Result<Used, String> {
    let _ = fs::remove_dir_all(folder.join("repository"));
    let init = setup.measure_repo_tool(&["init", "repository", "--unencrypted-keys"], folder)?;
    let add = setup.measure_repo_tool(&["--repository", "repository", "add", "files"], folder)?;
    Ok(init.and(add))
}

/// Creates a `root.json` for tuftool. All its roles have the same ed25519 key.
fn theirs_prepare(tuftool: &Path, folder: &Path) -> Result<(), String> {
    let genpkey = ["genpkey", "-algorithm", "ed25519", "-outform", "DER", "-out", "key"];
    process::run(Path::new("openssl"), &genpkey, folder)?;
    let root = |arguments: &[&str]| process::run(tuftool, &[&["root"], arguments].concat(), folder).map(drop);
    root(&["init", "root.json"])?;
    root(&["expire", "root.json", "in 30 days"])?;
    let roles = ["root", "snapshot", "targets", "timestamp"];
    for role in roles {
        root(&["set-threshold", "root.json", role, "1"])?;
        root(&["add-key", "root.json", "--key", "key", "--role", role])?;
    }
    root(&["sign", "root.json", "--key", "key"])
}

fn theirs(setup: &Setup, tuftool: &Path, folder: &Path) -> Result<Used, String> {
    let _ = fs::remove_dir_all(folder.join("theirs"));
    let mut command = process::command(tuftool, folder);
    command.args(["create", "--root", "root.json", "--key", "key", "--add-targets", "files", "--outdir", "theirs"]);
    for role in ["targets", "snapshot", "timestamp"] {
        command.args([&format!("--{role}-version"), "1", &format!("--{role}-expires"), "in 7 days"]);
    }
    process::measure(&setup.python, &command, TIME_LIMIT)
}

/// Installs tuftool below target/ if it is missing, and returns its path.
fn tuftool(project: &Path) -> Result<PathBuf, String> {
    let root = project.join("target/bench-tools");
    let program = root.join("bin/tuftool");
    if !program.exists() {
        say::line(format!("installing tuftool {TUFTOOL}; this takes some minutes"));
        let mut install = cargo(project, &["install", "--locked", "--version", TUFTOOL, "tuftool"]);
        if let Outcome::Failed(why) = status(install.arg("--root").arg(&root)) {
            return Err(format!("tuftool could not be installed: {why}"));
        }
    }
    Ok(program)
}
