//! `cargo xtask random`: runs 100,000 random histories, which are sequences of actions by a client, a repository and an
//! attacker. Signatures in these histories are fake, because fake signatures are fast to create and to verify.
//!
//! The command builds `client/` and `metadata/` from the shipped sources, in a workspace below `target/`. In this
//! workspace, `tests/random/toy-keys` replaces `keys/`, and `tests/random/toy-sigstore.rs` replaces the module of
//! `attest/` that uses the Sigstore library. Real signatures would take nine tenths of the running time. `cargo test`
//! runs some histories with real signatures.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use xtask::command::{Outcome, cargo, status};
use xtask::say;

/// The folder that contains the workspace with the fake implementation of signatures.
const WORKSPACE: &str = "target/random";
/// The folders of the project that the workspace contains as symbolic links.
const MEMBERS: [&str; 5] = ["cli-support", "fs", "metadata", "client", "tests"];

/// Runs the histories. Returns `true` if the client behaves as expected in all histories.
pub(crate) fn run(project: &Path) -> bool {
    let outcome = histories(project).map(|mut command| status(&mut command));
    match outcome {
        Ok(Outcome::Passed) => return true,
        Ok(Outcome::Failed(why) | Outcome::NotChecked(why)) | Err(why) => say::warn(why),
    }
    false
}

/// Creates or updates the workspace, and returns the command that runs the histories in it.
pub(crate) fn histories(project: &Path) -> Result<Command, String> {
    workspace(project).map_err(|error| format!("{WORKSPACE}: {error}"))?;
    let mut command = cargo(&project.join(WORKSPACE), &["test", "--profile", "random", "-p", "lastmile-random"]);
    command.args(["--target-dir", "target", "--test", "adversary"]);
    Ok(command)
}

fn workspace(project: &Path) -> io::Result<()> {
    let folder = project.join(WORKSPACE);
    fs::create_dir_all(&folder)?;
    for member in MEMBERS {
        link(&Path::new("../..").join(member), &folder.join(member))?;
    }
    attest(project, &folder.join("attest"))?;
    let original = fs::read_to_string(project.join("Cargo.toml"))?;
    let manifest: Vec<&str> = original
        .lines()
        .map(|line| match line.split(' ').next() {
            Some("members") => {
                r#"members = ["attest", "cli-support", "fs", "metadata", "client", "tests/random", "tests/random/toy-keys"]"#
            }
            Some("exclude") => "",
            Some("lastmile-keys") => r#"lastmile-keys = { path = "tests/random/toy-keys" }"#,
            _ => line,
        })
        .collect();
    write(&folder.join("Cargo.toml"), &manifest.join("\n"))?;
    // Copy the project's lock file when the workspace is created, so that the workspace uses the same versions of
    // dependencies as the project. cargo removes unused dependencies from the copy.
    let lock = folder.join("Cargo.lock");
    if !lock.exists() {
        fs::copy(project.join("Cargo.lock"), lock)?;
    }
    Ok(())
}

/// Creates a copy of the crate `attest` that does not need the Sigstore library. The copy consists of links to the
/// crate's source files. The module that uses the library is replaced by a link to `tests/random/toy-sigstore.rs`.
fn attest(project: &Path, copy: &Path) -> io::Result<()> {
    // An earlier version of this command made `copy` a symbolic link to the folder `attest`. Remove this link.
    if copy.is_symlink() {
        fs::remove_file(copy)?;
    }
    fs::create_dir_all(copy.join("src"))?;
    link(Path::new("../../../attest/README.md"), &copy.join("README.md"))?;
    for entry in fs::read_dir(project.join("attest/src"))? {
        let name = entry?.file_name();
        let original = if name == "sigstore.rs" {
            Path::new("../../../../tests/random/toy-sigstore.rs").to_owned()
        } else {
            Path::new("../../../../attest/src").join(&name)
        };
        link(&original, &copy.join("src").join(name))?;
    }
    let original = fs::read_to_string(project.join("attest/Cargo.toml"))?;
    let dropped = ["sigstore-verify", "[[test]]", "name = \"it\"", "name = \"memory\"", "[lints]", "workspace = true"];
    let is_kept = |line: &&str| !dropped.iter().any(|start| line.starts_with(start));
    let mut manifest: Vec<&str> = original.lines().filter(is_kept).collect();
    // Only the replaced module calls some functions of this crate, so these functions are unused in the copy.
    manifest.push("[lints.rust]\ndead_code = \"allow\"\n");
    write(&copy.join("Cargo.toml"), &manifest.join("\n"))
}

fn link(original: &Path, link: &Path) -> io::Result<()> {
    if link.symlink_metadata().is_ok() { Ok(()) } else { symlink(original, link) }
}

/// Writes a file unless the file already has this content, because cargo rebuilds a crate when one of its files is
/// written.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|found| found == text) { Ok(()) } else { fs::write(path, text) }
}
