//! Runs named steps one after another, times them, and sums them up. A failed step stops no other.

use crate::say;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a step ended.
pub(crate) enum Outcome {
    Passed,
    /// With what went wrong, in a few words.
    Failed(String),
    /// The check needs something that this machine cannot reach. Never silent, never a pass.
    NotChecked(String),
}

/// The steps run so far.
pub(crate) struct Steps {
    started: Instant,
    done: Vec<(String, Duration, Outcome)>,
    tests: Tally,
}

/// Tests counted from the closing lines of `cargo test`.
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

    /// Runs a program; its exit code is the outcome.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) {
        self.run(name, || status(command));
    }

    /// Runs `cargo test` and counts what it says. A run without any test is a failure.
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

    /// Prints the table, and the line of counts last. True when nothing failed.
    pub(crate) fn summary(self) -> bool {
        say::line("\n== summary");
        let width = self.done.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
        let mut failed_steps = 0;
        for (name, time, outcome) in &self.done {
            let word = match outcome {
                Outcome::Passed => "passed".to_owned(),
                Outcome::Failed(why) => {
                    failed_steps += 1;
                    format!("FAILED: {why}")
                }
                Outcome::NotChecked(why) => format!("NOT CHECKED: {why}"),
            };
            say::line(format!("  {name:width$}  {:>7.1} s  {word}", time.as_secs_f64()));
        }
        let total = self.started.elapsed().as_secs_f64();
        say::line(format!("  {:width$}  {total:>7.1} s  {} steps, {failed_steps} failed", "in all", self.done.len()));
        // A step that failed without a failing test (a lint, say) must not look like success.
        let failed = self.tests.failed.max(failed_steps);
        say::line(format!("\n{} passed, {failed} failed", self.tests.passed));
        failed == 0
    }
}

/// Runs `command` to its end with its output shown.
pub(crate) fn status(command: &mut Command) -> Outcome {
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(status.to_string()),
        Err(error) => Outcome::Failed(cannot_run(command, &error)),
    }
}

/// What a program said.
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program that must succeed; what it says is shown only when it does not.
pub(crate) fn run_quietly(command: &mut Command) -> Result<Said, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| cannot_run(command, &error))?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let said = Said { stdout: text(&output.stdout), stderr: text(&output.stderr) };
    if output.status.success() {
        Ok(said)
    } else {
        Err(format!("{} failed: {}", command.get_program().to_string_lossy(), said.stderr))
    }
}

/// `cargo ARGUMENTS…` in the workspace. The cargo that started us, so that toolchains do not mix.
pub(crate) fn cargo(project: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(project);
    command
}

fn cannot_run(command: &Command, error: &std::io::Error) -> String {
    format!("{} could not be run: {error}", command.get_program().to_string_lossy())
}

/// Passes standard output on line by line, and counts on the way.
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
    /// `test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.01s`
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
    fn the_closing_line_of_cargo_test_is_counted() {
        let mut tally = Tally::default();
        tally.count(
            "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s",
        );
        tally.count("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        tally.count("test tests::something ... ok");
        assert_eq!((tally.passed, tally.failed, tally.ignored), (15, 2, 1));
    }
}
