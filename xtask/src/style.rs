//! Rules of style that no lint checks, read from the sources.

use crate::language;
use crate::say;
use crate::steps::Outcome;
use std::fs;
use std::path::{Path, PathBuf};

/// More lines than this and a file is to be divided.
const LONGEST_FILE: usize = 500;

/// Checks all; every violation is printed.
pub(crate) fn run(project: &Path) -> Outcome {
    let mut broken = Vec::new();
    for name in ["keys", "metadata"] {
        no_way_back_to_std(project, name, &mut broken);
    }
    for name in ["cli-support", "keys", "metadata", "client", "repo-tool", "testkit", "attacks", "tests", "xtask"] {
        for file in sources(&project.join(name)) {
            short_file_without_allow(project, &file, &mut broken);
        }
    }
    for file in ["rs", "md", "toml"].iter().flat_map(|ending| files(project, ending)) {
        language::check(project, &file, &mut broken);
    }
    for line in &broken {
        say::line(format!("  {line}"));
    }
    if broken.is_empty() { Outcome::Passed } else { Outcome::Failed(format!("{} broken", broken.len())) }
}

/// `#![no_std]` crates may bring std back for their tests only.
fn no_way_back_to_std(project: &Path, name: &str, broken: &mut Vec<String>) {
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
    files(folder, "rs")
}

/// Every file below `folder` with this ending, in a fixed order; what is built is left out.
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
