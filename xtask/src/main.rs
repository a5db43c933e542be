//! The project's own commands, such as `cargo xtask test`.
//!
//! The commands use only the standard library, so they build quickly in a new clone.

mod checks;
mod counts;
mod deny;
mod fuzz;
mod language;
mod mutants;
mod planted_bugs;
mod random;
mod steps;
mod style;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use xtask::command::{Outcome, cargo, status};
use xtask::{say, setup};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup          install what the tests need, or report what is missing
  test           run `setup` and every check of the project, as CI does
  lint           run the checks that only read the sources: format, style and clippy
  bench [--peers] [--quick] [NAME…]
                 measure lastmile, and with --peers also other TUF implementations; `bench --peers` without further
                 arguments writes docs/performance.md
                 (names: flat, bins, scale, network, download, publish, requests, evidence, loops)
  bench --curves [--quick]
                 measure how costs grow with the number of targets, and write docs/curves.md
  bench --record
                 count the instructions of the loops in tests/perf, and record the counts in
                 tests/perf/instructions.txt; `test` compares later counts with the recorded counts
  random         run 100,000 random sequences of actions by a client, a repository and an attacker
  fuzz [--seconds N] [TARGET…]
                 fuzz the given targets, or all targets, for N seconds each [default: 600]; the inputs that reach new
                 code are kept in fuzz/corpus for the next run
  mutants [FILE…]
                 change the code that makes decisions about trust, in the given files or in all files, and list the
                 changes that no test detects
  planted-bugs [NAME…]
                 apply the given patches in tests/planted-bugs, or all of them, to a copy of the sources, one patch at
                 a time, and check that the scenarios that the patch names fail";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let project = project_folder();
    match words.as_slice() {
        ["setup"] => exit(setup::run(&project)),
        ["test"] => exit(checks::run(&project)),
        ["lint"] => exit(checks::lint(&project)),
        ["random"] => exit(random::run(&project)),
        ["mutants", files @ ..] => exit(mutants::run(&project, files)),
        ["planted-bugs", names @ ..] => exit(planted_bugs::run(&project, names)),
        ["fuzz", words @ ..] => {
            fuzz::Arguments::parse(words).map_or_else(wrong_usage, |arguments| exit(fuzz::run(&project, &arguments)))
        }
        ["bench", "--record"] => exit(counts::record(&project)),
        ["bench", words @ ..] => bench(&project, words),
        ["help" | "--help" | "-h"] => {
            say::line(USAGE);
            ExitCode::SUCCESS
        }
        _ => wrong_usage(),
    }
}

/// Runs the benches, a separate program in `tests/bench`.
fn bench(project: &Path, words: &[&str]) -> ExitCode {
    let mut command = cargo(project, &["run", "--quiet", "--locked", "-p", "lastmile-bench", "--"]);
    match status(command.args(words)) {
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Failed(_) | Outcome::NotChecked(_) => ExitCode::FAILURE,
    }
}

fn wrong_usage() -> ExitCode {
    say::warn(USAGE);
    ExitCode::from(2)
}

fn exit(succeeded: bool) -> ExitCode {
    if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns the root folder of the workspace.
fn project_folder() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}
