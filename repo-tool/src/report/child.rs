//! Runs a program that the user configured, and passes text to its standard input. The program runs without a shell,
//! with a minimal environment, in its own process group, and only for a limited time.

use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use lastmile_client::text::printable;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// The only environment variables that the program gets.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C.UTF-8")];

/// The maximum number of bytes of the program's standard error that an error message contains.
const MAX_STDERR_LENGTH: usize = 512;

/// The process ID of the program that is running, or zero. This process runs at most one such program at a time.
static RUNNING: AtomicU32 = AtomicU32::new(0);

/// How long to wait for more output on standard error after the program has ended.
const REST: Duration = Duration::from_secs(1);

/// The time between two checks of whether the program has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// Runs a program, and waits until it has ended or the time limit is reached.
///
/// # Errors
/// Returns a description of the problem if the program cannot be started, does not end in time, or fails.
pub(crate) fn run(program: &Path, arguments: &[String], input: &[u8], limit: Duration) -> Result<(), String> {
    run_with(&RUNNING, program, arguments, input, limit)
}

/// Kills the running program, if there is one. This function is for a process that is about to exit.
pub(crate) fn end_running() {
    end_group(RUNNING.load(Ordering::SeqCst));
}

/// Like [`run`], but stores the process ID of the program in `running` while it runs.
fn run_with(
    running: &AtomicU32,
    program: &Path,
    arguments: &[String],
    input: &[u8],
    limit: Duration,
) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(ENVIRONMENT).current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    running.store(child.id(), Ordering::SeqCst);
    let stdin = child.stdin.take();
    let stderr = child.stderr.take();
    let input = input.to_vec();
    let (sender, receiver) = channel();
    // Do not wait for these threads to end, because a process that has left the process group can keep the pipes open.
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    thread::spawn(move || stderr.map(|stderr| first_bytes(stderr, &sender)));
    let has_ended = wait(&child, limit);
    // The program has not been reaped yet, so no other process group can have its ID.
    end_group(child.id());
    running.store(0, Ordering::SeqCst);
    match has_ended.then(|| child.wait()) {
        Some(Ok(status)) if status.success() => Ok(()),
        Some(Ok(status)) => Err(format!("it ended with {status}{}", printed(&receiver))),
        Some(Err(error)) => Err(format!("waiting for it failed: {error}")),
        None => {
            // The program may have left its process group, so kill it by its process ID, too.
            let _ = child.kill();
            let _ = child.wait();
            Err(format!("it did not end within {} s", limit.as_secs()))
        }
    }
}

/// Waits until the program has ended, but does not reap it. Returns `false` if the program is still running at the time
/// limit.
fn wait(child: &Child, limit: Duration) -> bool {
    let start = Instant::now();
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // An error means that there is nothing to wait for.
    while matches!(waitid(WaitId::Pid(Pid::from_child(child)), options), Ok(None)) {
        if start.elapsed() >= limit {
            return false;
        }
        thread::sleep(PAUSE);
    }
    true
}

/// Kills all processes of a process group. Does nothing if `id` is zero.
fn end_group(id: u32) {
    if let Some(group) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // An error means that no process of the group is left, so ignore it.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Reads a stream to its end, but sends only its first [`MAX_STDERR_LENGTH`] bytes to `sender`.
fn first_bytes(mut stream: impl Read, sender: &Sender<Vec<u8>>) {
    let mut room = MAX_STDERR_LENGTH;
    let mut part = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut part) {
        let kept: Vec<u8> = part.iter().take(length.min(room)).copied().collect();
        room -= kept.len();
        // Ignore an error, which means that the receiver has stopped waiting.
        let _ = sender.send(kept);
    }
}

/// Returns a colon and the first bytes of the program's standard error, for the end of a message. Returns an empty
/// string if the program wrote nothing.
fn printed(receiver: &Receiver<Vec<u8>>) -> String {
    let end = Instant::now() + REST;
    let mut kept = Vec::new();
    while let Ok(part) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
        kept.extend(part);
    }
    let text = String::from_utf8_lossy(&kept);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {}", printable(text)) }
}

#[cfg(test)]
mod tests {
    use rustix::process::kill_process;

    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<(), String> {
        run(Path::new("/bin/sh"), &["-c".to_string(), script.to_string()], b"input", limit)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn the_running_program_can_be_ended() {
        let running = AtomicU32::new(0);
        let arguments = ["-c".to_string(), "sleep 600 & sleep 600".to_string()];
        thread::scope(|scope| {
            let program = scope.spawn(|| run_with(&running, Path::new("/bin/sh"), &arguments, b"", LONG));
            while running.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            end_group(running.load(Ordering::SeqCst));
            let ended = program.join().unwrap().unwrap_err();
            assert!(ended.starts_with("it ended with signal: 9"), "{ended}");
        });
        assert_eq!(running.load(Ordering::SeqCst), 0);
    }

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
        // A child process that outlives the program holds the pipes open, but `run` does not wait for it.
        assert_eq!(sh("sleep 600 &", LONG), Ok(()));
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }

    /// A shell script that starts a process in another session. That process keeps the script's standard input and
    /// standard error open. The script writes the ID of that process to the file `$1`.
    const LEAVE: &str = "exec 3<&0; echo $(setsid sh -c 'echo $$; exec sleep 60 >/dev/null' <&3 &) > \"$1\"";

    #[test]
    fn processes_in_other_sessions_do_not_delay_the_end() {
        for (end, limit, expected) in [
            ("exit 0", LONG, Ok(())),
            ("echo sorry >&2; exit 3", LONG, Err("it ended with exit status: 3: sorry".to_string())),
            ("sleep 600", Duration::from_secs(1), Err("it did not end within 1 s".to_string())),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("id").to_str().unwrap().to_string();
            let arguments = ["-c".to_string(), format!("{LEAVE}; {end}"), "sh".to_string(), file.clone()];
            let start = Instant::now();
            // The input is larger than the buffer of a pipe, so the thread that writes it blocks.
            let ended = run(Path::new("/bin/sh"), &arguments, &[b'x'; 200_000], limit);
            let elapsed = start.elapsed();
            let id = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
            kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
            assert_eq!(ended, expected);
            assert!(elapsed < Duration::from_secs(10), "{end}: {elapsed:?}");
        }
    }
}
