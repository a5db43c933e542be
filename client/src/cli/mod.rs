//! The command `lastmile` as a function: arguments and a world in, an exit status out.

mod args;
mod failure;
mod generated;
mod hints;
mod judged;
mod opened;
mod terminal;
mod transfers;
mod trust;

use std::ffi::OsString;
use std::io::{BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Parser;
use clap::error::ErrorKind;

use args::{Arguments, Command};
use failure::Failure;
use terminal::Terminal;

/// How a command ended. The numbers are documented in `lastmile --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// Done.
    Done = 0,
    /// Failed, by something on this machine.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// No such target.
    NoSuchTarget = 3,
    /// The network or the server failed.
    Network = 4,
    /// Refused as untrusted.
    Untrusted = 5,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> ExitCode {
        ExitCode::from(status as u8)
    }
}

/// All that a command touches of the world besides files and network.
pub struct World {
    /// The clock.
    pub now: Box<dyn Fn() -> DateTime<Utc>>,
    /// Where data goes.
    pub stdout: Box<dyn Write + Send>,
    /// Where progress, notes and errors go.
    pub stderr: Box<dyn Write + Send>,
    /// Whether `stderr` is a terminal, which can show colours and bars.
    pub stderr_is_terminal: bool,
    /// The environment.
    pub env: Environment,
}

/// The value of each variable that is set.
pub type Environment = Box<dyn Fn(&str) -> Option<OsString>>;

impl World {
    /// The one we live in.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where the program gets its clock and its environment")]
    pub fn system() -> World {
        World {
            now: Box::new(Utc::now),
            stdout: Box::new(BufWriter::new(std::io::stdout())),
            stderr: Box::new(std::io::stderr()),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            env: Box::new(|name| std::env::var_os(name)),
        }
    }
}

/// Runs one command.
pub fn run(args: impl IntoIterator<Item = OsString>, mut world: World) -> ExitStatus {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => return told(&error, &mut world),
    };
    let World { now, stdout, stderr, stderr_is_terminal, env } = world;
    let colours = stderr_is_terminal && env("NO_COLOR").is_none_or(|value| value.is_empty());
    let terminal = Terminal::new(stdout, stderr, colours, stderr_is_terminal, &arguments.common);
    if arguments.common.verbose {
        show_requests();
    }
    let here = Here { common: &arguments.common, terminal: &terminal, now: now(), env: &*env };
    match here.run(arguments.command) {
        Ok(status) => status,
        Err(failure) => {
            let failed = terminal.failure(&failure);
            if failed.is_err() { ExitStatus::Failed } else { failure.status() }
        }
    }
}

/// Where a command runs.
struct Here<'a> {
    common: &'a args::Common,
    terminal: &'a Terminal,
    now: DateTime<Utc>,
    env: &'a dyn Fn(&str) -> Option<OsString>,
}

impl Here<'_> {
    fn run(&self, command: Command) -> Result<ExitStatus, Failure> {
        match command {
            Command::Completions { shell } => return self.completions(shell),
            Command::Man { command } => return self.manual(&command),
            _ => {}
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
        runtime.block_on(async {
            tokio::select! {
                ended = self.command(command) => ended,
                () = interrupted() => Err(Failure::new("interrupted")),
            }
        })
    }

    async fn command(&self, command: Command) -> Result<ExitStatus, Failure> {
        match command {
            Command::Trust(trust) => self.trust(trust).await,
            Command::Refresh => self.refresh().await,
            Command::Get(get) => self.get(get).await,
            Command::List { pattern, offline } => self.list(pattern, offline).await,
            Command::Verify { file, target } => self.verify(&file, target).await,
            Command::Status { within } => self.status(within).await,
            Command::Completions { .. } | Command::Man { .. } => Ok(ExitStatus::Done),
        }
    }
}

/// A signal to end: what is going on is dropped, which removes unfinished files.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

/// What the argument parser has to say: help and version are data.
fn told(error: &clap::Error, world: &mut World) -> ExitStatus {
    let is_data = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let written = if is_data {
        write!(world.stdout, "{}", error.render()).and_then(|()| world.stdout.flush())
    } else {
        let colours = world.stderr_is_terminal && (world.env)("NO_COLOR").is_none_or(|value| value.is_empty());
        let text = error.render();
        if colours { write!(world.stderr, "{}", text.ansi()) } else { write!(world.stderr, "{text}") }
    };
    match (is_data, written) {
        (true, Ok(())) => ExitStatus::Done,
        (true, Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitStatus::Done,
        (true, Err(_)) => ExitStatus::Failed,
        (false, _) => ExitStatus::Usage,
    }
}

fn show_requests() {
    let filter = tracing_subscriber::EnvFilter::new("lastmile_client=debug");
    let shown =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().try_init();
    // A program that embeds this command may have its own subscriber: then that one shows them.
    drop(shown);
}

#[cfg(test)]
mod tests;
