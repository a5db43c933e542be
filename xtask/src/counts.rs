//! Counts the instructions of inner loops with callgrind, and compares the counts with `tests/perf/instructions.txt`.
//! Unlike measured times, instruction counts are the same in every run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::command::{Outcome, cargo, run_quietly, status};
use xtask::say;

const RECORDED: &str = "tests/perf/instructions.txt";
/// The percentage by which a count may exceed the recorded count.
const TOLERATED_PERCENT: u64 = 5;
/// The callgrind option that restricts counting to the function `counted` of `tests/perf`.
const COUNTED: &str = "--toggle-collect=*counted*";

#[derive(Debug, PartialEq, Eq)]
struct Counts {
    /// The versions of the compiler, valgrind and the C library, and the kind of processor. Counts from different
    /// systems are not comparable.
    system: String,
    loops: BTreeMap<String, u64>,
}

pub(crate) fn check(project: &Path) -> Outcome {
    let recorded = fs::read_to_string(project.join(RECORDED)).map_err(|error| format!("{RECORDED}: {error}"));
    match recorded.and_then(|text| Ok((Counts::read(&text), Counts::take(project)?))) {
        Ok((recorded, now)) => compare(&recorded, &now),
        Err(error) => Outcome::Failed(error),
    }
}

pub(crate) fn record(project: &Path) -> bool {
    let written = Counts::take(project)
        .and_then(|counts| fs::write(project.join(RECORDED), counts.text()).map_err(|error| error.to_string()));
    match written {
        Ok(()) => say::line(format!("written: {RECORDED}")),
        Err(error) => {
            say::warn(error);
            return false;
        }
    }
    true
}

fn compare(recorded: &Counts, now: &Counts) -> Outcome {
    let mut worse = Vec::new();
    for (name, count) in &now.loops {
        let Some(before) = recorded.loops.get(name).filter(|before| **before > 0) else {
            say::line(format!("  {name:20} {count:>12}  not recorded"));
            worse.push(format!("{name} is not recorded"));
            continue;
        };
        let percent = (*count as f64 / *before as f64 - 1.0) * 100.0;
        say::line(format!("  {name:20} {count:>12}  {percent:+.1} %"));
        if count * 100 > before * (100 + TOLERATED_PERCENT) {
            worse.push(format!("{name} takes {percent:.1} % more instructions than recorded"));
        }
    }
    let gone = recorded.loops.keys().filter(|name| !now.loops.contains_key(*name));
    worse.extend(gone.map(|name| format!("{name} no longer exists")));
    if worse.is_empty() {
        return Outcome::Passed;
    }
    say::line(
        "if the change is intended, record the new counts with `cargo xtask bench --record`, and state the reason in the commit",
    );
    if recorded.system == now.system {
        return Outcome::Failed(worse.join("; "));
    }
    say::line(format!("recorded on {}; this system is {}", recorded.system, now.system));
    Outcome::NotChecked(format!("the counts were recorded on another system; {}", worse.join("; ")))
}

/// Builds the program that contains the loops. The release profile is used, as it is for the shipped programs.
fn build(project: &Path) -> Result<PathBuf, String> {
    let build = ["build", "--release", "--locked", "-p", "lastmile-perf", "--bin", "loops"];
    match status(&mut cargo(project, &build)) {
        Outcome::Failed(why) => Err(format!("the loops could not be built: {why}")),
        _ => Ok(project.join("target/release/loops")),
    }
}

impl Counts {
    fn take(project: &Path) -> Result<Self, String> {
        let program = build(project)?;
        let listed = run_quietly(Command::new(&program).arg("--list"))?;
        let names = listed.stdout.lines().map(str::to_owned);
        let loops = names.map(|name| Ok((name.clone(), count(&program, &name)?))).collect::<Result<_, String>>()?;
        Ok(Self { system: system()?, loops })
    }

    /// Formats the counts as the line `with SYSTEM`, followed by a line `NAME COUNT` for each loop.
    fn text(&self) -> String {
        let mut text = format!(
            "# Instructions of the inner loops (tests/perf/src/main.rs). Written by `cargo xtask bench --record`.\n\
             with {}\n",
            self.system
        );
        for (name, count) in &self.loops {
            let _ = writeln!(text, "{name} {count}");
        }
        text
    }

    fn read(text: &str) -> Self {
        let mut counts = Self { system: String::new(), loops: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match line.split_once(' ') {
                Some(("with", system)) => system.clone_into(&mut counts.system),
                Some((name, count)) => counts.loops.extend(count.parse().ok().map(|count| (name.to_owned(), count))),
                None => {}
            }
        }
        counts
    }
}

fn count(program: &Path, name: &str) -> Result<u64, String> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no", COUNTED]);
    let output = run_quietly(valgrind.arg(program).arg(name))?;
    let collected = output.stderr.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok());
    collected.filter(|count| *count > 0).ok_or_else(|| format!("callgrind counted no instructions for {name}"))
}

/// Describes the properties of the system that affect the counts. These include whether the processor supports AVX2,
/// because some libraries run different code on processors with AVX2. Under valgrind, no other extension of the
/// processor changes the counts.
fn system() -> Result<String, String> {
    let first_line = |program: &str, argument: &str| {
        let text = run_quietly(Command::new(program).arg(argument))?.stdout;
        Ok::<_, String>(text.lines().next().unwrap_or_default().to_owned())
    };
    let rustc = first_line("rustc", "--version")?;
    let valgrind = first_line("valgrind", "--version")?;
    let libc = first_line("getconf", "GNU_LIBC_VERSION")?;
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let avx2 = if flags.split_whitespace().any(|flag| flag == "avx2") { " with avx2" } else { "" };
    Ok(format!("{rustc}, {valgrind}, {libc}, {}{avx2}", std::env::consts::ARCH))
}

#[cfg(test)]
mod tests {
    use super::{Counts, Outcome, compare};

    fn counts(system: &str, loops: &[(&str, u64)]) -> Counts {
        Counts {
            system: system.to_owned(),
            loops: loops.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn written_counts_are_read_back() {
        let counts = counts("rustc 1.0, valgrind 3", &[("a-loop", 100), ("b-loop", 7)]);
        assert_eq!(Counts::read(&counts.text()), counts);
    }

    #[test]
    fn more_than_five_percent_fails_on_the_same_system_only() {
        let recorded = counts("here", &[("a", 1000)]);
        assert!(matches!(compare(&recorded, &counts("here", &[("a", 1050)])), Outcome::Passed));
        assert!(matches!(compare(&recorded, &counts("here", &[("a", 1)])), Outcome::Passed));
        assert!(matches!(compare(&recorded, &counts("here", &[("a", 1051)])), Outcome::Failed(_)));
        assert!(matches!(compare(&recorded, &counts("there", &[("a", 1051)])), Outcome::NotChecked(_)));
    }

    #[test]
    fn a_loop_without_a_record_and_a_record_without_a_loop_fail() {
        let one = counts("here", &[("a", 1)]);
        let two = counts("here", &[("a", 1), ("b", 1)]);
        assert!(matches!(compare(&one, &two), Outcome::Failed(_)));
        assert!(matches!(compare(&two, &one), Outcome::Failed(_)));
    }
}
