//! A connection to the SFTP server of a machine, through the program `ssh`.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openssh_sftp_client::error::SftpErrorKind;
use openssh_sftp_client::{Error as SftpError, Sftp, SftpOptions};
use tokio::net::unix::pipe;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::error::chain;
use crate::push::ssh::address::Address;
use crate::push::ssh::packets::{Packets, Replies};
use crate::{Error, NetworkError};

/// The options of `ssh`. They end a dead connection within a minute, and keep `ssh` from waiting
/// for input. They also keep other processes from sharing the connection, because it ends when the
/// push ends.
const OPTIONS: [&str; 6] = [
    "BatchMode=yes",
    "ClearAllForwardings=yes",
    "ConnectTimeout=30",
    "ControlMaster=no",
    "ServerAliveCountMax=3",
    "ServerAliveInterval=15",
];
/// The longest time until the server is ready. It includes the login.
const START: Duration = Duration::from_secs(120);
/// The longest time to wait for the next packet of the server while a request is pending.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// The time limit for each of two waits: for the last messages of `ssh`, and for `ssh` to exit.
const END: Duration = Duration::from_secs(2);
/// The maximum number of bytes of the messages of `ssh` that are kept.
const MAX_MESSAGES_LENGTH: usize = 4096;
/// The maximum number of lines of these messages that an error contains.
const REPORTED_LINES: usize = 4;

/// A connection that several threads can use at the same time.
pub(super) struct Session {
    server: String,
    sftp: Sftp,
    messages: Arc<Messages>,
    replies: Arc<Replies>,
    silence: Duration,
    /// Whether the server has failed to reply in time. If so, every later request fails immediately.
    is_silent: AtomicBool,
    handle: Handle,
    /// Dropping this field ends the thread of the runtime, and thereby the connection.
    _stop: oneshot::Sender<()>,
}

impl Session {
    /// Starts `program`, and connects to the SFTP server at `address`. `silence` is the longest time to wait for the
    /// next packet of the server while a request is pending.
    ///
    /// # Errors
    /// [`NetworkError::Ssh`] with the messages of `ssh`.
    pub(super) fn connect(program: &OsStr, address: &Address, silence: Duration) -> Result<Self, Error> {
        let server = address.to_string();
        let failed = |text: String| Error::from(NetworkError::Ssh { server: server.clone(), text });
        let started = command(program, address).spawn();
        let mut child =
            started.map_err(|error| failed(format!("cannot run `{}`: {error}", program.to_string_lossy())))?;
        let messages = Arc::new(Messages::default());
        let (input, output) = (child.stdin.take(), child.stdout.take());
        if let Some(from) = child.stderr.take() {
            let messages = Arc::clone(&messages);
            start_thread(move || messages.collect(from))?;
        }
        let runtime = Builder::new_current_thread().enable_all().build().map_err(NetworkError::Runtime)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        start_thread(move || {
            let _ = runtime.block_on(stopped);
            // Close the pipes, so that `ssh` ends.
            drop(runtime);
            end(&mut child);
        })?;
        let pipes = {
            let _inside = handle.enter();
            let input = input.map(|input| pipe::Sender::from_owned_fd(OwnedFd::from(input))).transpose();
            let output = output.map(|output| pipe::Receiver::from_owned_fd(OwnedFd::from(output))).transpose();
            input.and_then(|input| Ok(input.zip(output?))).map_err(NetworkError::Runtime)?
        };
        let Some((input, output)) = pipes else { return Err(failed("`ssh` has no pipes".to_string())) };
        let replies = Replies::new();
        let output = Packets::new(output, Arc::clone(&replies));
        let options = SftpOptions::new().flush_interval(Duration::ZERO);
        let connected = handle.block_on(async {
            // The library starts its own tasks in the runtime that runs this task.
            let started = handle.spawn(Sftp::new(input, output, options));
            tokio::time::timeout(START, started).await
        });
        let is_silent = AtomicBool::new(false);
        match connected {
            Ok(Ok(Ok(sftp))) => Ok(Self { server, sftp, messages, replies, silence, is_silent, handle, _stop: stop }),
            Ok(Ok(Err(error))) => {
                let text = replies.refused().map(str::to_string).or_else(|| messages.text());
                Err(failed(text.unwrap_or_else(|| chain(&error))))
            }
            Ok(Err(error)) => Err(failed(messages.text().unwrap_or_else(|| chain(&error)))),
            Err(_) => Err(failed(format!("no SFTP server answered within {} seconds", START.as_secs()))),
        }
    }

    pub(super) fn sftp(&self) -> &Sftp {
        &self.sftp
    }

    pub(super) fn run<T>(&self, request: impl Future<Output = Result<T, SftpError>>) -> Result<T, SftpError> {
        self.handle.block_on(self.limit(request))
    }

    /// Runs a request, and fails if the server sends nothing for the time `silence`. After such a
    /// failure, the connection cannot be used any more, because a late reply could belong to a
    /// request that has already failed.
    pub(super) async fn limit<T>(&self, request: impl Future<Output = Result<T, SftpError>>) -> Result<T, SftpError> {
        let mut request = pin!(request);
        let start = Instant::now();
        while !self.is_silent.load(Ordering::Relaxed) {
            let end = start.max(self.replies.last()) + self.silence;
            let pause = {
                // The caller may use a runtime without a timer, so use the timer of the connection's runtime.
                let _inside = self.handle.enter();
                tokio::time::sleep_until(end.into())
            };
            tokio::select! {
                biased;
                done = &mut request => return done,
                () = pause => {}
            }
            if start.max(self.replies.last()) + self.silence <= Instant::now() {
                self.is_silent.store(true, Ordering::Relaxed);
            }
        }
        Err(io::Error::from(io::ErrorKind::TimedOut).into())
    }

    pub(super) fn error(&self, action: &'static str, path: &str, error: &SftpError) -> Error {
        let server = self.server.clone();
        let refused = |text| NetworkError::Sftp { server: server.clone(), action, path: path.to_string(), text }.into();
        if let Some(text) = self.replies.refused() {
            return refused(text.to_string());
        }
        match error {
            SftpError::SftpError(SftpErrorKind::NoSuchFile, _) => refused("no such file or folder".to_string()),
            SftpError::SftpError(SftpErrorKind::PermDenied, _) => refused("permission denied".to_string()),
            SftpError::SftpError(_, message) => refused(format!("the server reports `{}`", message.get().0)),
            SftpError::IOError(error) if error.kind() == io::ErrorKind::InvalidData => refused(error.to_string()),
            SftpError::IOError(error) if error.kind() == io::ErrorKind::TimedOut => {
                let seconds = self.silence.as_secs();
                NetworkError::SftpSilent { server, action, path: path.to_string(), seconds }.into()
            }
            error => {
                let text = self.messages.text().unwrap_or_else(|| format!("the connection ended: {}", chain(error)));
                NetworkError::Ssh { server, text }.into()
            }
        }
    }
}

/// Returns the error for a reply that no honest server sends.
pub(super) fn invalid(text: &'static str) -> SftpError {
    io::Error::new(io::ErrorKind::InvalidData, text).into()
}

fn command(program: &OsStr, address: &Address) -> Command {
    let mut command = Command::new(program);
    command.args(["-a", "-x", "-T"]).args(OPTIONS.iter().flat_map(|option| ["-o", option]));
    if let Some(port) = address.port {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(user) = &address.user {
        command.args(["-l", user]);
    }
    command.args(["-s", "--", &address.host, "sftp"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start_thread(run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    std::thread::Builder::new().spawn(run).map(drop).map_err(|error| NetworkError::Runtime(error).into())
}

/// Waits until `ssh` exits, and kills it if this takes too long.
fn end(child: &mut Child) {
    let start = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if start.elapsed() >= END {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The last messages of `ssh`.
#[derive(Default)]
struct Messages {
    state: Mutex<Received>,
    ended: Condvar,
}

#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    is_complete: bool,
}

impl Messages {
    fn state(&self) -> MutexGuard<'_, Received> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(&self, mut from: impl Read) {
        let mut part = [0; 1024];
        while let Ok(count @ 1..) = from.read(&mut part) {
            let bytes = &mut self.state().bytes;
            bytes.extend(part.iter().take(count));
            let surplus = bytes.len().saturating_sub(MAX_MESSAGES_LENGTH);
            bytes.drain(..surplus);
        }
        self.state().is_complete = true;
        self.ended.notify_all();
    }

    /// Returns the last lines of the messages. First waits a short time for the remaining messages.
    fn text(&self) -> Option<String> {
        let waited = self.ended.wait_timeout_while(self.state(), END, |state| !state.is_complete);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&state.bytes);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(REPORTED_LINES)..).unwrap_or_default();
        (!last.is_empty()).then(|| last.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_messages_are_kept() {
        let messages = Messages::default();
        let printed = "x".repeat(100_000) + "\na banner\r\n\none\ntwo\nHost key verification failed.\n";
        messages.collect(printed.as_bytes());
        assert_eq!(messages.text().unwrap(), "a banner; one; two; Host key verification failed.");
        let endless = Messages::default();
        endless.collect("y".repeat(100_000).as_bytes());
        assert_eq!(endless.text().unwrap().len(), MAX_MESSAGES_LENGTH);
    }
}
