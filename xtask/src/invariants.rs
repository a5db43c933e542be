//! Invariants of ARCHITECTURE.md that a look at the sources can keep.

use crate::say;
use crate::steps::Outcome;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates that hold private keys or verify signatures; `keys` alone may name them.
const SIGNATURE_LIBRARIES: [&str; 5] = ["ed25519-dalek", "p256", "p384", "rsa", "ring"];

/// More lines than this and a file is to be divided.
const LONGEST_FILE: usize = 500;

/// Checks all; every violation is printed.
pub(crate) fn run(project: &Path) -> Outcome {
    let mut broken = Vec::new();
    for name in ["keys", "metadata"] {
        no_std(project, name, &mut broken);
    }
    for name in ["metadata", "client", "repo-tool"] {
        no_signature_library(project, name, &mut broken);
    }
    client_has_no_private_keys(project, &mut broken);
    repo_tool_has_no_http(project, &mut broken);
    one_place(project, "verified metadata is made", "Verified(self)", &mut broken);
    one_place(project, "signatures are counted", ".verify(signed, &signature.sig)", &mut broken);
    for name in ["keys", "metadata", "client", "repo-tool", "tests", "xtask"] {
        for file in sources(&project.join(name)) {
            short_file_without_allow(project, &file, &mut broken);
        }
    }
    for line in &broken {
        say::line(format!("  {line}"));
    }
    if broken.is_empty() { Outcome::Passed } else { Outcome::Failed(format!("{} broken", broken.len())) }
}

/// 1: `#![no_std]` and no way back to std, so that the compiler refuses I/O and clocks.
fn no_std(project: &Path, name: &str, broken: &mut Vec<String>) {
    let lib = text(&project.join(name).join("src/lib.rs"));
    if !lib.lines().any(|line| line.trim() == "#![no_std]") {
        broken.push(format!("{name}/src/lib.rs: not #![no_std]"));
    }
    for file in sources(&project.join(name).join("src")) {
        let mut before = "";
        let source = text(&file);
        for line in source.lines() {
            if line.trim().starts_with("extern crate std") && before.trim() != "#[cfg(test)]" {
                broken.push(format!("{}: brings std back", shown(project, &file)));
            }
            before = line;
        }
    }
}

/// 2: only `keys` names a signature library.
fn no_signature_library(project: &Path, name: &str, broken: &mut Vec<String>) {
    let manifest = text(&project.join(name).join("Cargo.toml"));
    for line in manifest.lines() {
        let dependency = line.split(['.', '=', ' ']).next().unwrap_or_default();
        if SIGNATURE_LIBRARIES.contains(&dependency) {
            broken.push(format!("{name}/Cargo.toml: names the signature library {dependency}"));
        }
    }
}

/// 2: the client never enables `keys/sign`.
fn client_has_no_private_keys(project: &Path, broken: &mut Vec<String>) {
    for name in ["client", "metadata"] {
        let manifest = text(&project.join(name).join("Cargo.toml"));
        let shipped = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        if shipped.contains("\"sign\"") || shipped.contains("lastmile-keys/sign") {
            broken.push(format!("{name}/Cargo.toml: enables private keys"));
        }
    }
}

/// 8, said in Cargo.toml: the repository tool checks its work with the client, without HTTP.
fn repo_tool_has_no_http(project: &Path, broken: &mut Vec<String>) {
    let manifest = text(&project.join("repo-tool/Cargo.toml"));
    if !manifest.contains("lastmile-client") {
        broken.push("repo-tool/Cargo.toml: does not use the client".into());
    }
    if manifest.contains("reqwest") {
        broken.push("repo-tool/Cargo.toml: names an HTTP client".into());
    }
}

/// 3: `Verified` is made in one function, and signatures are counted in one function.
fn one_place(project: &Path, what: &str, code: &str, broken: &mut Vec<String>) {
    let mut places = Vec::new();
    for file in sources(&project.join("metadata/src")) {
        for (number, line) in text(&file).lines().enumerate() {
            if line.split("//").next().unwrap_or_default().contains(code) {
                places.push(format!("{}:{}", shown(project, &file), number + 1));
            }
        }
    }
    if places.len() != 1 {
        broken.push(format!("{what} not in one place, but {}: {}", places.len(), places.join(", ")));
    }
}

fn short_file_without_allow(project: &Path, file: &Path, broken: &mut Vec<String>) {
    let source = text(file);
    let lines = source.lines().count();
    if lines > LONGEST_FILE {
        broken.push(format!("{}: {lines} lines, more than {LONGEST_FILE}", shown(project, file)));
    }
    // Written apart, or this very line would be found.
    let forbidden = ["#[", "allow("].concat();
    if source.lines().any(|line| line.trim_start().starts_with(&forbidden)) {
        broken.push(format!("{}: switches a lint off with allow; expect says more", shown(project, file)));
    }
}

/// Every Rust source below `folder`, in a fixed order.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

fn shown(project: &Path, file: &Path) -> String {
    file.strip_prefix(project).unwrap_or(file).display().to_string()
}
