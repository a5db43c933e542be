//! Runs named steps one after another and prints a summary. All steps run, even if one fails.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use xtask::command::{Outcome, cannot_run, status};
use xtask::say;

pub(crate) struct Steps {
    started: Instant,
    done: Vec<(String, Duration, Outcome)>,
    tests: Tally,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), done: Vec::new(), tests: Tally::default() }
    }

    /// Runs `step` under a heading.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Outcome) {
        say::line(format!("\n== {name}"));
        let started = Instant::now();
        let outcome = step();
        self.done.push((name.to_owned(), started.elapsed(), outcome));
    }

    /// Runs a program as a step. The step passes if the exit code is 0.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) {
        self.run(name, || status(command));
    }

    /// Runs `cargo test` as a step, and counts the tests. The step fails if a test fails or is ignored, or if no test
    /// ran.
    pub(crate) fn tests(&mut self, name: &str, command: &mut Command) {
        let mut tally = Tally::default();
        self.run(name, || match counted(command, &mut tally) {
            Ok(true) if tally.passed + tally.failed == 0 => Outcome::Failed("no test ran".into()),
            Ok(true) if tally.ignored > 0 => Outcome::Failed(format!("{} ignored", tally.ignored)),
            Ok(true) => Outcome::Passed,
            Ok(false) => Outcome::Failed(format!("{} failed", tally.failed)),
            Err(error) => Outcome::Failed(error),
        });
        self.tests.passed += tally.passed;
        self.tests.failed += tally.failed;
        self.tests.ignored += tally.ignored;
    }

    /// Prints the summary, which ends with the number of tests. Returns `true` if nothing failed.
    pub(crate) fn summary(self) -> bool {
        say::line("\n== summary");
        let width = self.done.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
        let mut failed_steps = 0;
        for (name, time, outcome) in &self.done {
            let result = match outcome {
                Outcome::Passed => "passed".to_owned(),
                Outcome::Failed(why) => {
                    failed_steps += 1;
                    format!("FAILED: {why}")
                }
                Outcome::NotChecked(why) => format!("NOT CHECKED: {why}"),
            };
            say::line(format!("  {name:width$}  {:>7.1} s  {result}", time.as_secs_f64()));
        }
        let total = self.started.elapsed().as_secs_f64();
        say::line(format!("  {:width$}  {total:>7.1} s  {} steps, {failed_steps} failed", "total", self.done.len()));
        // A step that runs no tests, such as clippy, can fail while no test fails, so also consider the failed steps.
        let failed = self.tests.failed.max(failed_steps);
        say::line(format!("\n{} passed, {failed} failed", self.tests.passed));
        failed == 0
    }
}

/// Runs `cargo test`, prints its standard output, and counts the tests. Returns `true` if `cargo test` succeeded.
fn counted(command: &mut Command, tally: &mut Tally) -> Result<bool, String> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|error| cannot_run(command, &error))?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(&line);
            tally.count(&text);
            say::line(text);
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    Ok(status.success())
}

impl Tally {
    /// Adds the numbers in a line such as `test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered
    /// out`. Ignores all other lines.
    fn count(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else {
            return;
        };
        let number = |what: &str| {
            rest.split([';', '.'])
                .filter_map(|part| part.trim().strip_suffix(what))
                .find_map(|number| number.trim().parse::<usize>().ok())
                .unwrap_or(0)
        };
        self.passed += number("passed");
        self.failed += number("failed");
        self.ignored += number("ignored");
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn the_last_line_of_cargo_test_is_counted() {
        let mut tally = Tally::default();
        tally.count(
            "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s",
        );
        tally.count("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        tally.count("test tests::something ... ok");
        assert_eq!((tally.passed, tally.failed, tally.ignored), (15, 2, 1));
    }
}
