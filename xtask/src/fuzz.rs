//! `cargo xtask fuzz`: fuzzes the targets in `tests/fuzz` with libFuzzer and the stable compiler.
//!
//! The crate in `fuzz/`, which contains the fuzzer, also works with cargo-fuzz. This command does not need cargo-fuzz:
//! the stable compiler accepts the flags for coverage, and the crate `libfuzzer-sys` contains libFuzzer. Building
//! `libfuzzer-sys` requires a C++ compiler.

use std::fs;
use std::path::Path;
use std::process::Command;

use xtask::command::{Outcome, cargo, run_quietly, status};
use xtask::say;

/// The compiler flags that record coverage for libFuzzer and enable debug assertions. No sanitizer is used, because
/// the project contains no unsafe code.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1";
const FOLDER: &str = "fuzz";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    seconds: u32,
    /// The fuzz targets to run. If the list is empty, all fuzz targets run.
    targets: Vec<String>,
}

impl Arguments {
    /// Parses `[--seconds N] [TARGET…]`. Returns `None` if the arguments are invalid.
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let (seconds, targets) = match words {
            ["--seconds", number, targets @ ..] => (number.parse().ok()?, targets),
            targets => (600, targets),
        };
        let is_name = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
        let targets = targets.iter().all(is_name).then(|| targets.iter().map(|&word| word.to_owned()).collect())?;
        Some(Self { seconds, targets })
    }
}

/// Fuzzes one target after another. Returns `true` if no target failed.
pub(crate) fn run(project: &Path, arguments: &Arguments) -> bool {
    let result = build(project).and_then(|program| all(project, &program, arguments));
    result.map_err(say::warn).unwrap_or(false)
}

/// Builds the fuzzer, a single program for all targets. Returns its path relative to [`FOLDER`].
fn build(project: &Path) -> Result<String, String> {
    let host = run_quietly(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let host = host.stdout.trim().to_owned();
    // Without `--target`, cargo would also compile build scripts with these flags.
    let mut build = cargo(&project.join(FOLDER), &["build", "--release", "--bin", "fuzz", "--target", &host]);
    match status(build.env("RUSTFLAGS", FLAGS).env_remove("CARGO_TARGET_DIR")) {
        Outcome::Failed(why) => Err(format!("the fuzzer could not be built: {why}")),
        _ => Ok(format!("target/{host}/release/fuzz")),
    }
}

fn all(project: &Path, program: &str, arguments: &Arguments) -> Result<bool, String> {
    let folder = project.join(FOLDER);
    let fuzzer = |target: &str| {
        let mut fuzzer = Command::new(folder.join(program));
        fuzzer.current_dir(&folder).env("FUZZ_TARGET", target);
        fuzzer
    };
    let known = run_quietly(&mut fuzzer("list"))?.stdout;
    let known: Vec<String> = known.lines().map(str::to_owned).collect();
    if let Some(unknown) = arguments.targets.iter().find(|target| !known.contains(target)) {
        return Err(format!("there is no target {unknown}; the targets are {}", known.join(", ")));
    }
    let targets = if arguments.targets.is_empty() { &known } else { &arguments.targets };
    let mut nothing_found = true;
    for target in targets {
        say::line(format!("\n== {target}"));
        let corpus = format!("corpus/{target}");
        fs::create_dir_all(folder.join(&corpus)).map_err(|error| format!("{corpus}: {error}"))?;
        run_quietly(fuzzer(target).env("FUZZ_SEEDS", &corpus))?;
        let mut fuzzer = fuzzer(target);
        fuzzer.arg(&corpus).arg(format!("-max_total_time={}", arguments.seconds));
        fuzzer.args(["-max_len=16384", "-timeout=25", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        fuzzer.arg(format!("-artifact_prefix=../tests/fuzz/found/{target}-"));
        if let Outcome::Failed(why) = status(&mut fuzzer) {
            say::warn(format!("{target}: {why}; the input is in tests/fuzz/found"));
            nothing_found = false;
        }
    }
    Ok(nothing_found)
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    #[test]
    fn parses_seconds_and_targets() {
        let wanted = |seconds, targets: &[&str]| {
            Some(Arguments { seconds, targets: targets.iter().map(|&target| target.to_owned()).collect() })
        };
        assert_eq!(Arguments::parse(&[]), wanted(600, &[]));
        assert_eq!(Arguments::parse(&["--seconds", "9", "root"]), wanted(9, &["root"]));
        assert_eq!(Arguments::parse(&["root", "keys"]), wanted(600, &["root", "keys"]));
        for wrong in [&["--seconds"][..], &["--seconds", "x"], &["--long"], &["root", "--seconds"]] {
            assert_eq!(Arguments::parse(wrong), None, "{wrong:?}");
        }
    }
}
