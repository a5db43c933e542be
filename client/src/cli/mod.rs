//! The implementation of the program `lastmile`: a function that takes the arguments and the environment as parameters.

mod args;
mod completions;
mod failure;
mod get;
mod hints;
mod list;
#[cfg(feature = "attest")]
mod policy;
mod refresh;
mod repositories;
mod roles;
mod scope;
mod setup;
mod status;
mod targets;
mod terminal;
mod trust;
mod verify;

use std::ffi::OsString;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
pub use lastmile_cli_support::{ExitStatus, World};
use lastmile_cli_support::{Failure, Output, OutputOptions, spare_descriptors};

use args::Command;

/// Runs one command.
pub fn run(args: impl IntoIterator<Item = OsString>, mut world: World) -> ExitStatus {
    let args: Vec<OsString> = args.into_iter().collect();
    let arguments = match scope::parsed(&args) {
        Ok(arguments) => arguments,
        Err(error) => return lastmile_cli_support::usage(error, &args, world),
    };
    let common = &arguments.common;
    let options = OutputOptions { json: common.json, quiet: common.quiet, no_progress: common.verbose };
    let output = Output::new(&mut world, options);
    if common.verbose {
        show_requests(&output);
    }
    let app = App { common, output: &output, now: (world.now)(), world: &world };
    app.run(arguments.command).unwrap_or_else(|failure| output.failure(&failure))
}

/// The state shared by all commands.
struct App<'a> {
    common: &'a args::Common,
    output: &'a Output,
    /// The current time, read once when the program starts.
    now: DateTime<Utc>,
    world: &'a World,
}

impl App<'_> {
    fn run(&self, command: Command) -> Result<ExitStatus, Failure> {
        match command {
            Command::Completions { shell } => return self.completions(shell),
            Command::Man { command } => return self.manual(&command),
            _ => {}
        }
        spare_descriptors()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
        runtime.block_on(async {
            tokio::select! {
                // `biased` polls the command first. Before its first await, the command reads the files given on the
                // command line, which may be pipes. While the command reads these files, the signal handlers are not
                // installed yet, so a signal ends the process as usual.
                biased;
                ended = self.command(command) => ended,
                () = interrupted() => Err(Failure::failed("interrupted").with_kind("interrupted")),
            }
        })
    }

    async fn command(&self, command: Command) -> Result<ExitStatus, Failure> {
        match command {
            Command::Trust(trust) => self.trust(trust).await,
            Command::Refresh { jitter } => self.refresh(jitter).await,
            Command::Get(get) => self.get(get).await,
            Command::List { pattern, source } => self.list(pattern, &source).await,
            Command::Verify(verify) => self.verify(verify).await,
            Command::Status { within } => self.status(within).await,
            Command::Completions { .. } | Command::Man { .. } => Ok(ExitStatus::Done),
        }
    }
}

/// Waits for SIGINT or SIGTERM. The caller then drops the future of the command, so that unfinished files are removed.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

fn show_requests(output: &Output) {
    let filter = tracing_subscriber::EnvFilter::new("lastmile_client=debug");
    let log = Mutex::new(output.log());
    let shown = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log).without_time().try_init();
    // An application that embeds this command may have set its own subscriber. Setting a second subscriber then fails,
    // and the application's subscriber receives the messages about requests.
    drop(shown);
}

#[cfg(test)]
#[cfg(feature = "attest")]
mod policy_tests;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod trust_tests;
