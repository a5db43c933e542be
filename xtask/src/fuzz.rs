//! `cargo xtask fuzz`: long runs of the targets of `tests/fuzz` under libFuzzer, by the stable compiler.
//!
//! The folder `fuzz/` is laid out as cargo-fuzz wants it, and can be used with it. Nothing of it is needed here: the flags
//! that ask the compiler for coverage are stable, and libFuzzer comes with the crate that links it. It needs a C++ compiler.

use crate::say;
use crate::steps::{Outcome, cargo, run_quietly, status};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Coverage for libFuzzer, without a sanitizer: there is no unsafe code to sanitize.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1";
const FOLDER: &str = "fuzz";

/// What to fuzz, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    seconds: u32,
    /// None: all.
    targets: Vec<String>,
}

impl Wanted {
    /// Reads `[--seconds N] [TARGET…]`; none where that is not what the words say.
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

/// Fuzzes one target after the other; true when nothing was found.
pub(crate) fn run(project: &Path, wanted: &Wanted) -> bool {
    let result = build(project).and_then(|program| all(project, &program, wanted));
    result.map_err(say::warn).unwrap_or(false)
}

/// Builds the one program that fuzzes any target.
fn build(project: &Path) -> Result<String, String> {
    let host = run_quietly(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let host = host.stdout.trim().to_owned();
    // A target triple, so that build scripts are built without these flags.
    let mut build = cargo(&project.join(FOLDER), &["build", "--release", "--bin", "fuzz", "--target", &host]);
    match status(build.env("RUSTFLAGS", FLAGS).env_remove("CARGO_TARGET_DIR")) {
        Outcome::Failed(why) => Err(format!("the fuzzer could not be built: {why}")),
        _ => Ok(format!("target/{host}/release/fuzz")),
    }
}

fn all(project: &Path, program: &str, wanted: &Wanted) -> Result<bool, String> {
    let folder = project.join(FOLDER);
    let fuzzer = |target: &str| {
        let mut fuzzer = Command::new(folder.join(program));
        fuzzer.current_dir(&folder).env("FUZZ_TARGET", target);
        fuzzer
    };
    let known = run_quietly(&mut fuzzer("list"))?.stdout;
    let known: Vec<String> = known.lines().map(str::to_owned).collect();
    if let Some(unknown) = wanted.targets.iter().find(|target| !known.contains(target)) {
        return Err(format!("there is no target {unknown}; there are {}", known.join(", ")));
    }
    let targets = if wanted.targets.is_empty() { &known } else { &wanted.targets };
    let mut nothing_found = true;
    for target in targets {
        say::line(format!("\n== {target}"));
        let corpus = format!("corpus/{target}");
        fs::create_dir_all(folder.join(&corpus)).map_err(|error| format!("{corpus}: {error}"))?;
        run_quietly(fuzzer(target).env("FUZZ_SEEDS", &corpus))?;
        let mut fuzzer = fuzzer(target);
        fuzzer.arg(&corpus).arg(format!("-max_total_time={}", wanted.seconds));
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
    use super::Wanted;

    #[test]
    fn seconds_come_first_and_targets_are_words() {
        let wanted = |seconds, targets: &[&str]| {
            Some(Wanted { seconds, targets: targets.iter().map(|&target| target.to_owned()).collect() })
        };
        assert_eq!(Wanted::parse(&[]), wanted(600, &[]));
        assert_eq!(Wanted::parse(&["--seconds", "9", "root"]), wanted(9, &["root"]));
        assert_eq!(Wanted::parse(&["root", "keys"]), wanted(600, &["root", "keys"]));
        for wrong in [&["--seconds"][..], &["--seconds", "x"], &["--long"], &["root", "--seconds"]] {
            assert_eq!(Wanted::parse(wrong), None, "{wrong:?}");
        }
    }
}
