//! Starts programs and reports how they ended.

use std::path::Path;
use std::process::{Command, Stdio};

/// The result of a step or of a program.
pub enum Outcome {
    /// The step or program succeeded.
    Passed,
    /// The step or program failed. The text is the reason.
    Failed(String),
    /// The check could not run on this machine. The text is the reason. The summary lists the check as not checked,
    /// instead of passed or failed.
    NotChecked(String),
}

/// Runs `command` and shows its output.
#[must_use]
pub fn status(command: &mut Command) -> Outcome {
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(status) => Outcome::Failed(status.to_string()),
        Err(error) => Outcome::Failed(cannot_run(command, &error)),
    }
}

/// The output of a program.
pub struct Output {
    /// The standard output.
    pub stdout: String,
    /// The standard error.
    pub stderr: String,
}

/// Runs a program without showing its output.
///
/// # Errors
///
/// Returns an error if the program cannot be started or fails. If the program fails, the error contains its standard
/// error output.
pub fn run_quietly(command: &mut Command) -> Result<Output, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| cannot_run(command, &error))?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let printed = Output { stdout: text(&output.stdout), stderr: text(&output.stderr) };
    if output.status.success() {
        Ok(printed)
    } else {
        Err(format!("{} failed: {}", command.get_program().to_string_lossy(), printed.stderr))
    }
}

/// Returns the command `cargo ARGUMENTS…` in the workspace. The command runs the same cargo that started this program,
/// so all commands use the same toolchain.
#[must_use]
pub fn cargo(project: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(project);
    command
}

/// Returns the message for a program that cannot be started.
#[must_use]
pub fn cannot_run(command: &Command, error: &std::io::Error) -> String {
    format!("{} could not be run: {error}", command.get_program().to_string_lossy())
}
