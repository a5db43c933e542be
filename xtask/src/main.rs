//! The project's own commands: `cargo xtask setup`, `cargo xtask test`, `cargo xtask bench`.
//!
//! Only the standard library is used, so that the first command in a fresh clone starts at once.

mod bench;
mod checks;
mod counts;
mod deny;
mod fuzz;
mod language;
mod mutants;
mod planted_bugs;
mod random;
mod say;
mod setup;
mod steps;
mod style;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup          installs what the tests need, or says what is missing
  test           setup, then every check of the project; this is what CI runs
  bench [--peers] [--quick] [NAME…]
                 measures; with --peers beside other TUF implementations, too. All of it, with --peers and
                 without --quick, is written to docs/performance.md
                 (names: flat, bins, scale, road, download, publish, requests, loops)
  bench --curves [--quick]
                 measures how costs grow with the number of targets, and writes docs/curves.md
  random         plays 100,000 histories of a random adversary against the client
  fuzz [--seconds N] [TARGET…]
                 fuzzes the targets, or all, for N seconds each (600); corpora are kept in fuzz/corpus
  mutants [--one-by-one] [FILE…]
                 changes the code that decides trust, in these files or in all, and says which changes no test
                 notices; all changes are built at once, or else by cargo-mutants one by one, for a day and more
  planted-bugs [NAME…]
                 plants one bug after the other in a copy of the sources, and expects the scenarios that
                 tests/planted-bugs/NAME.patch names to fail there
  bench --record counts the instructions of the inner loops anew and records them
                 (tests/perf/instructions.txt, with which `test` compares them)";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let project = project_folder();
    match words.as_slice() {
        ["setup"] => exit(setup::run(&project)),
        ["test"] => exit(checks::run(&project)),
        ["random"] => exit(random::run(&project)),
        ["mutants", files @ ..] => exit(mutants::run(&project, files)),
        ["planted-bugs", names @ ..] => exit(planted_bugs::run(&project, names)),
        ["fuzz", words @ ..] => {
            fuzz::Wanted::parse(words).map_or_else(wrong_usage, |wanted| exit(fuzz::run(&project, &wanted)))
        }
        ["bench", "--record"] => exit(counts::record(&project)),
        ["bench", words @ ..] => {
            bench::Wanted::parse(words).map_or_else(wrong_usage, |wanted| exit(bench::run(&project, &wanted)))
        }
        ["help" | "--help" | "-h"] => {
            say::line(USAGE);
            ExitCode::SUCCESS
        }
        _ => wrong_usage(),
    }
}

fn wrong_usage() -> ExitCode {
    say::warn(USAGE);
    ExitCode::from(2)
}

fn exit(all_well: bool) -> ExitCode {
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The workspace folder: the parent of this crate's own.
fn project_folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
