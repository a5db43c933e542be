//! Runs a program and says how long it took and how much memory it held.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a program took.
pub(crate) struct Used {
    pub(crate) time: Duration,
    /// Largest resident set, in bytes.
    pub(crate) memory: u64,
}

/// Runs `program`, which must succeed. Output is shown only when it does not.
pub(crate) fn run(program: &Path, arguments: &[&str], folder: &Path) -> Result<(), String> {
    let said =
        command(program, arguments, folder).output().map_err(|error| format!("{}: {error}", program.display()))?;
    succeeded(program, said.status.success(), &said.stderr)
}

/// As [`run`], under GNU time. The measurer's own time is in it, about a millisecond.
pub(crate) fn measure(program: &Path, arguments: &[&str], folder: &Path) -> Result<Used, String> {
    let timer = Path::new("/usr/bin/time");
    if !timer.exists() {
        return Err("GNU time is not there: apt-get install time".into());
    }
    let mut command = command(timer, &["--format=%M"], folder);
    command.arg(program).args(arguments);
    let start = Instant::now();
    let said = command.output().map_err(|error| error.to_string())?;
    let time = start.elapsed();
    succeeded(program, said.status.success(), &said.stderr)?;
    let text = String::from_utf8_lossy(&said.stderr);
    let kilobytes: u64 = text.lines().last().and_then(|line| line.parse().ok()).ok_or("time said nothing")?;
    Ok(Used { time, memory: kilobytes * 1024 })
}

fn command(program: &Path, arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .env("LASTMILE_PASS_PHRASE", "only for measuring")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

fn succeeded(program: &Path, success: bool, stderr: &[u8]) -> Result<(), String> {
    if success {
        return Ok(());
    }
    Err(format!("{} failed: {}", program.display(), String::from_utf8_lossy(stderr)))
}
