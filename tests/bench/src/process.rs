//! Runs a program and measures its time and its memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) seconds: f64,
    /// The largest resident set of any process of the program, in bytes.
    pub(crate) memory: f64,
}

impl Used {
    /// Combines the measurements of two programs that ran one after the other: the sum of the times and the larger
    /// memory.
    pub(crate) fn and(self, next: Self) -> Self {
        Self { seconds: self.seconds + next.seconds, memory: self.memory.max(next.memory) }
    }
}

pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(120);

/// A Python program that runs and measures another program.
///
/// Python is used because its standard library reports the resident set of a child that has ended, and Rust's does not.
/// Python itself uses about ten megabytes, so smaller values cannot be measured. The measured time does not include the
/// start of Python.
const MEASURE: &str = "\
import resource, signal, subprocess, sys, time
def late(*_): child.kill(); sys.exit('timed out after ' + sys.argv[1] + ' s')
signal.signal(signal.SIGALRM, late)
start = time.perf_counter()
child = subprocess.Popen(sys.argv[2:])
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
code = child.wait()
seconds = time.perf_counter() - start
if code: sys.exit('it ended with ' + str(code))
print(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)";

/// Returns a command that runs `program` in `folder`, with the environment variables that all benches use.
pub(crate) fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("LASTMILE_PASS_PHRASE", "only for measuring")
        .env("NO_COLOR", "1")
        .env("LASTMILE_REPO_CONFIG", "lastmile-repo.toml")
        .stdin(Stdio::null());
    command
}

/// Runs `program` and returns its standard output. If it fails, the error contains its standard error.
pub(crate) fn run(program: &Path, arguments: &[&str], folder: &Path) -> Result<String, String> {
    let output =
        command(program, folder).args(arguments).output().map_err(|error| format!("{}: {error}", program.display()))?;
    if !output.status.success() {
        return Err(format!("{} failed: {}", program.display(), String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Like [`run`], but measures the time and memory of the program with `python`. Kills the program if it exceeds the
/// time limit.
pub(crate) fn measure(python: &Path, measured: &Command, limit: Duration) -> Result<Used, String> {
    let mut command = Command::new(python);
    command.args(["-I", "-S", "-c", MEASURE, &limit.as_secs().to_string()]);
    command.arg(measured.get_program()).args(measured.get_args()).stdin(Stdio::null());
    command.envs(measured.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = measured.get_current_dir() {
        command.current_dir(folder);
    }
    let output = command.output().map_err(|error| format!("{}: {error}", python.display()))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or_default();
    if !output.status.success() {
        // Python writes the last line, so the program's own last line is the line before it.
        let before = text.lines().rev().nth(1).filter(|_| last.starts_with("it ended with"));
        return Err(before.unwrap_or(last).to_owned());
    }
    let mut numbers = last.split(' ').map_while(|number| number.parse::<f64>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(seconds), Some(kibibytes)) => Ok(Used { seconds, memory: kibibytes * 1024.0 }),
        _ => Err(format!("{} did not print its measurements", python.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::{command, measure};
    use std::path::Path;
    use std::time::Duration;

    fn shell(script: &str) -> std::process::Command {
        let mut shell = command(Path::new("/bin/sh"), Path::new("/"));
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn a_program_is_measured() {
        let used = measure(Path::new("python3"), &shell("sleep 0.2"), Duration::from_secs(10)).unwrap();
        assert!((0.2..5.0).contains(&used.seconds) && used.memory > 1e5, "{used:?}");
    }

    #[test]
    fn a_failure_contains_the_last_line_of_the_program() {
        let output =
            measure(Path::new("python3"), &shell("echo one >&2; echo two >&2; exit 3"), Duration::from_secs(10));
        assert_eq!(output.unwrap_err(), "two");
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed() {
        let output = measure(Path::new("python3"), &shell("exec sleep 30"), Duration::from_secs(1));
        assert_eq!(output.unwrap_err(), "timed out after 1 s");
    }
}
