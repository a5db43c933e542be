//! Runs a program of the user with a text on its standard input: without a shell, with a minimal environment, in its own
//! process group, and only for a limited time.

use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lastmile_client::text::printable;
use rustix::process::{Pid, Signal, kill_process_group};

/// The only environment variables of the program.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C.UTF-8")];

/// The number of bytes of the program's error output that are kept.
const MOST_SAID: usize = 512;

/// The time between two looks at whether the program has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// Runs a program to its end.
///
/// # Errors
/// A description of the problem if the program cannot be started, does not end in time, or fails.
pub(crate) fn run(program: &Path, arguments: &[String], input: &[u8], limit: Duration) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(ENVIRONMENT).current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    let stdin = child.stdin.take();
    let stderr = child.stderr.take();
    thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        let said = scope.spawn(move || stderr.map(first_bytes).unwrap_or_default());
        let ended = wait(&mut child, limit);
        // Processes that the program left behind could keep the pipes open.
        end_group(&child);
        let said = said.join().unwrap_or_default();
        match ended {
            Some(Ok(status)) if status.success() => Ok(()),
            Some(Ok(status)) => Err(format!("it ended with {status}{said}")),
            Some(Err(error)) => Err(format!("waiting for it failed: {error}")),
            None => {
                let _ = child.wait();
                Err(format!("it did not end within {} s", limit.as_secs()))
            }
        }
    })
}

/// Waits for the end of the program. Returns `None` at the time limit.
fn wait(child: &mut Child, limit: Duration) -> Option<std::io::Result<std::process::ExitStatus>> {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(Ok(status)),
            Ok(None) if start.elapsed() >= limit => return None,
            Ok(None) => thread::sleep(PAUSE),
            Err(error) => return Some(Err(error)),
        }
    }
}

fn end_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // An error means that no process is left.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Reads a stream to its end, and returns its first bytes as text that follows a message.
fn first_bytes(mut stream: impl Read) -> String {
    let mut kept = Vec::new();
    let mut part = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut part) {
        let room = MOST_SAID.saturating_sub(kept.len());
        kept.extend(part.iter().take(length.min(room)));
    }
    let text = String::from_utf8_lossy(&kept);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {}", printable(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<(), String> {
        run(Path::new("/bin/sh"), &["-c".to_string(), script.to_string()], b"input", limit)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_program_gets_its_input_and_only_a_minimal_environment() {
        assert_eq!(sh("test \"$(cat)\" = input && test \"$(env | grep -c HOME)\" = 0", LONG), Ok(()));
        let failed = sh("echo so\u{1b}rry >&2; exit 3", LONG).unwrap_err();
        assert_eq!(failed, "it ended with exit status: 3: so\\u{1b}rry");
        let noisy = sh("yes | head -c 1000000 >&2; exit 1", LONG).unwrap_err();
        assert!(noisy.len() < 2000, "{}", noisy.len());
        assert!(run(Path::new("/nonexistent"), &[], b"", LONG).unwrap_err().starts_with("it cannot be started"));
    }

    #[test]
    fn a_program_and_its_children_end_at_the_time_limit() {
        let start = Instant::now();
        let stuck = sh("sleep 600 & sleep 600", Duration::from_millis(200));
        assert_eq!(stuck, Err("it did not end within 0 s".to_string()));
        // A child that the program leaves behind holds the pipes open, but does not delay the end.
        assert_eq!(sh("sleep 600 &", LONG), Ok(()));
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}
