//! A new repository of many small files, beside tuftool.

use super::report::Report;
use super::{Place, median, process};
use crate::say;
use crate::steps::{Outcome, cargo, status};
use std::fs;
use std::path::{Path, PathBuf};

const TUFTOOL: &str = "0.17.0";
const FILES: usize = 10_000;
const RUNS: usize = 3;

/// Publishes the same files with each, in turns.
pub(crate) fn run(place: &Place, report: &mut Report) -> Result<(), String> {
    let tuftool = tuftool(&place.project)?;
    let folder = place.scratch.join("publish");
    let files = folder.join("files");
    fs::create_dir_all(&files).map_err(|error| error.to_string())?;
    for number in 0..FILES {
        let content = format!("{number:08}").repeat(128);
        fs::write(files.join(format!("file-{number:05}.txt")), content).map_err(|error| error.to_string())?;
    }
    theirs_prepare(&tuftool, &folder)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let _ = fs::remove_dir_all(folder.join("theirs"));
        theirs.push(theirs_publish(&tuftool, &folder)?);
        let _ = fs::remove_dir_all(folder.join("repository"));
        ours.push(ours_publish(place, &folder)?);
    }
    let _ = fs::remove_dir_all(&folder);
    let (mine, other) = (median(&ours), median(&theirs));
    report.part(
        "A repository of 10,000 files of 1 KiB",
        "`lastmile-repo init` and `add` make keys, sign, copy every file, read the result with the client, and sync it to the \
         disk. `tuftool create` has its keys and root already, signs and copies.",
    );
    report.line("| | median |");
    report.line("|---|---|");
    report.line(&format!("| `lastmile-repo init` + `add` | {mine:.2} s |"));
    report.line(&format!("| `tuftool create` {TUFTOOL} | {other:.2} s |"));
    report.line("");
    report.line(&format!("**{:.2}** times as fast; {RUNS} runs each.", other / mine));
    report.promise("faster than `tuftool create`", mine < other);
    Ok(())
}

fn ours_publish(place: &Place, folder: &Path) -> Result<f64, String> {
    let init = process::measure(&place.repo_tool, &["init", "repository"], folder)?;
    let add = process::measure(&place.repo_tool, &["--repository", "repository", "add", "files"], folder)?;
    Ok((init.time + add.time).as_secs_f64())
}

/// A root with one ed25519 key in every role.
fn theirs_prepare(tuftool: &Path, folder: &Path) -> Result<(), String> {
    let genpkey = ["genpkey", "-algorithm", "ed25519", "-outform", "DER", "-out", "key"];
    process::run(Path::new("openssl"), &genpkey, folder)?;
    let root = |arguments: &[&str]| process::run(tuftool, &[&["root"], arguments].concat(), folder);
    root(&["init", "root.json"])?;
    root(&["expire", "root.json", "in 30 days"])?;
    let roles = ["root", "snapshot", "targets", "timestamp"];
    for role in roles {
        root(&["set-threshold", "root.json", role, "1"])?;
        root(&["add-key", "root.json", "--key", "key", "--role", role])?;
    }
    root(&["sign", "root.json", "--key", "key"])
}

fn theirs_publish(tuftool: &Path, folder: &Path) -> Result<f64, String> {
    let mut arguments = vec!["create", "--root", "root.json", "--key", "key", "--add-targets", "files"];
    for role in ["targets", "snapshot", "timestamp"] {
        arguments.extend(match role {
            "targets" => ["--targets-version", "1", "--targets-expires", "in 7 days"],
            "snapshot" => ["--snapshot-version", "1", "--snapshot-expires", "in 7 days"],
            _ => ["--timestamp-version", "1", "--timestamp-expires", "in 7 days"],
        });
    }
    arguments.extend(["--outdir", "theirs"]);
    Ok(process::measure(tuftool, &arguments, folder)?.time.as_secs_f64())
}

/// tuftool, installed below target/ if need be.
fn tuftool(project: &Path) -> Result<PathBuf, String> {
    let root = project.join("target/bench-tools");
    let program = root.join("bin/tuftool");
    if !program.exists() {
        say::line(format!("installing tuftool {TUFTOOL}; that takes some minutes"));
        let mut install = cargo(project, &["install", "--locked", "--version", TUFTOOL, "tuftool"]);
        if let Outcome::Failed(why) = status(install.arg("--root").arg(&root)) {
            return Err(format!("tuftool could not be installed: {why}"));
        }
    }
    Ok(program)
}
