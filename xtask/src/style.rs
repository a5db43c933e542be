//! Style rules that no lint of rustc or clippy checks.

use std::fs;
use std::path::{Path, PathBuf};

use xtask::command::Outcome;
use xtask::say;

use crate::language;

/// The maximum length of a source file, in lines.
const MAX_FILE_LENGTH: usize = 500;

pub(crate) fn run(project: &Path) -> Outcome {
    let mut broken = Vec::new();
    for name in ["keys", "metadata"] {
        no_std_in_no_std_crates(project, name, &mut broken);
    }
    for name in [
        "attest",
        "cli-support",
        "fs",
        "keys",
        "metadata",
        "client",
        "repo-tool",
        "testkit",
        "attacks",
        "tests",
        "xtask",
    ] {
        for file in sources(&project.join(name)) {
            short_file_without_allow(project, &file, &mut broken);
        }
    }
    for name in ["attacks", "attest", "cli-support", "client", "fs", "keys", "metadata", "repo-tool", "testkit"] {
        includes_of_own_files(project, name, &mut broken);
    }
    // Skip the file with the lists, because it contains all forbidden names and phrases.
    let lists = project.join("xtask/src/language.rs");
    let texts = ["rs", "md", "toml"].iter().flat_map(|extension| files(project, extension));
    for file in texts.filter(|file| *file != lists) {
        language::check(project, &file, &mut broken);
    }
    for line in &broken {
        say::line(format!("  {line}"));
    }
    if broken.is_empty() { Outcome::Passed } else { Outcome::Failed(format!("{} violations", broken.len())) }
}

/// Checks that `#![no_std]` crates use std only in their tests.
fn no_std_in_no_std_crates(project: &Path, name: &str, broken: &mut Vec<String>) {
    for file in sources(&project.join(name).join("src")) {
        let mut before = "";
        let source = text(&file);
        for line in source.lines() {
            if line.trim().starts_with("extern crate std") && before.trim() != "#[cfg(test)]" {
                broken.push(format!("{}: uses std outside tests", shown(project, &file)));
            }
            before = line;
        }
    }
}

/// Checks that `include_str!` and `include_bytes!` in a published crate name only files of that crate. The crate's
/// package contains no other files.
fn includes_of_own_files(project: &Path, name: &str, broken: &mut Vec<String>) {
    let folder = project.join(name);
    for file in sources(&folder.join("src")) {
        let depth = file.strip_prefix(&folder).map_or(0, |inner| inner.components().count() - 1);
        for line in text(&file).lines() {
            let included = ["include_str!(\"", "include_bytes!(\""].iter().find_map(|start| line.split(start).nth(1));
            if included.is_some_and(|path| path.split('/').filter(|part| *part == "..").count() > depth) {
                broken.push(format!("{}: includes a file that is not in the crate", shown(project, &file)));
            }
        }
    }
}

fn short_file_without_allow(project: &Path, file: &Path, broken: &mut Vec<String>) {
    let source = text(file);
    let lines = source.lines().count();
    if lines > MAX_FILE_LENGTH {
        broken.push(format!("{}: {lines} lines, more than {MAX_FILE_LENGTH}", shown(project, file)));
    }
    // Split the text in two, so that this line itself does not violate the rule.
    let forbidden = ["#[", "allow("].concat();
    if source.lines().any(|line| line.trim_start().starts_with(&forbidden)) {
        broken.push(format!("{}: use `expect` with a reason instead of `allow`", shown(project, file)));
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    files(folder, "rs")
}

/// Returns the files below `folder` with the extension `ending`, sorted. Skips folders named `target` or `.git`.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                if entry.file_name() != "target" && entry.file_name() != ".git" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

pub(crate) fn shown(project: &Path, file: &Path) -> String {
    file.strip_prefix(project).unwrap_or(file).display().to_string()
}
