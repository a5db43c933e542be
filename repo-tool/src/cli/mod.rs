//! The command `lastmile-repo`: reads the command line, runs one command, and reports the result.

mod add;
mod args;
#[cfg(feature = "attack-lab")]
mod attack_lab;
mod bins;
mod catch_up;
mod completions;
mod confirm;
mod delegate;
#[expect(clippy::disallowed_methods, reason = "the demo simulates an attacker in a temporary folder")]
mod demo;
mod discard;
mod failure;
mod findings;
mod init;
mod key_names;
mod keys;
mod missing;
mod outcome;
mod phrases;
mod progress;
mod publish;
mod remove;
mod renew;
mod revert;
mod revoke;
mod rotate;
mod scope;
mod serve;
mod set_delegation;
mod set_expiry;
mod set_threshold;
mod sign;
mod status;
mod undelegate;
mod verify;

use std::ffi::OsString;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::FromArgMatches as _;
use lastmile_cli_support::scope::refuse_unused;
use lastmile_cli_support::{Environment, Failure, Output, OutputOptions, spare_descriptors};
pub use lastmile_cli_support::{ExitStatus, World};
use lastmile_client::BaseUrl;
use lastmile_client::text::printable_path;

use crate::config::{Config, LAST_SECOND};
use crate::files::layout::Layout;
use crate::files::links;
use crate::pin::GivenRoot;
use crate::publish::transaction;
use crate::root_digest::RootDigest;
use crate::sign::review::Accepted;
use crate::user::UserConfig;
use crate::{ClockCheck, Error, Invocation, LockWait, Repository, ServedState};
use args::{Cli, Command, Global};
use outcome::Run;
use phrases::Phrases;

/// The environment variable with the folder of the repository.
const REPOSITORY_VARIABLE: &str = "LASTMILE_REPOSITORY";
/// The environment variable with the path of the user's configuration.
const CONFIG_VARIABLE: &str = "LASTMILE_REPO_CONFIG";
/// The environment variable with the SHA-256 of the root to trust, for jobs without a stored configuration.
const ROOT_VARIABLE: &str = "LASTMILE_REPO_ROOT_SHA256";

/// The environment variable with a list of private key files outside the repository's folder that may be used, for jobs
/// without a stored configuration.
const KEYS_VARIABLE: &str = "LASTMILE_REPO_ALLOWED_KEYS";

/// Parses and runs one command line.
pub fn run(args: impl IntoIterator<Item = OsString>, mut world: World) -> ExitStatus {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match parsed(&args, &world) {
        Ok(cli) => cli,
        Err(error) => return lastmile_cli_support::usage(&error, &args, world),
    };
    let options = OutputOptions { json: cli.global.json, quiet: cli.global.quiet, no_progress: false };
    let output = Output::new(&mut world, options);
    if let Err(failure) = spare_descriptors() {
        return output.failure(&failure);
    }
    dispatch(&cli, world, &output).unwrap_or_else(|error| match &cli.command {
        Command::Status(args) if args.monitor => status::unknown(&error, &output),
        _ => output.failure(&Failure::from(&error)),
    })
}

/// Parses the command line. The default repository may come from the environment.
fn parsed(args: &[OsString], world: &World) -> Result<Cli, clap::Error> {
    let mut command = scope::command();
    if let Some(repository) = world.variable(REPOSITORY_VARIABLE) {
        command = command.mut_arg("repository", |argument| argument.default_value(repository));
    }
    let mut matches = command.try_get_matches_from_mut(args)?;
    refuse_unused(&mut command, &matches, scope::UNUSED)?;
    Cli::from_arg_matches_mut(&mut matches)
}

/// Parses a base URL from the command line, and checks that its scheme is supported.
fn base_url(text: &str) -> Result<BaseUrl, Error> {
    let url = BaseUrl::new(text).map_err(|error| Error::Usage(error.to_string()))?;
    if url.is_supported() {
        Ok(url)
    } else {
        Err(Error::Usage(format!("`{url}` is not a URL with the scheme http, https or file")))
    }
}

fn dispatch(cli: &Cli, world: World, output: &Output) -> Result<ExitStatus, Error> {
    let repository = &cli.global.repository;
    let dir = match &cli.command {
        Command::Completions(args) => return completions::completions(&mut scope::command(), args, output),
        Command::Man(args) => return completions::man(scope::command(), args, cli.global.run(), output),
        Command::Init(args) => args.dir.as_deref().unwrap_or(repository),
        _ => repository,
    };
    let context = Context::new(&cli.global, dir, world, output)?;
    match &cli.command {
        Command::Init(args) => init::init(&context, args, output),
        Command::Key(command) => keys::run(&context, command, output),
        Command::Add(args) => add::add(&context, args, output),
        Command::Remove(args) => remove::remove(&context, args, output),
        Command::Delegate(args) => delegate::delegate(&context, args, output),
        Command::SetDelegation(args) => set_delegation::set_delegation(&context, args, output),
        Command::Undelegate(args) => undelegate::undelegate(&context, args, output),
        Command::Bins(args) => bins::bins(&context, args, output),
        Command::Renew(args) => renew::renew(&context, args, output),
        Command::Rotate(args) => rotate::rotate(&context, args, output),
        Command::SetThreshold(args) => set_threshold::set_threshold(&context, args, output),
        Command::SetExpiry(args) => set_expiry::set_expiry(&context, args, output),
        Command::Revert(args) => revert::revert(&context, args, output),
        Command::Revoke(args) => revoke::revoke(&context, args, output),
        Command::Sign(args) => sign::sign(&context, args, output),
        Command::Publish(_) => publish::publish(&context, output),
        Command::Discard(args) => discard::discard(&context, args, output),
        Command::CatchUp(args) => catch_up::catch_up(&context, args, output),
        Command::Status(args) => status::status(&context, args, output),
        Command::Verify(args) => verify::verify(&context, args, output),
        Command::Serve(args) => serve::serve(&context, args, output),
        #[cfg(feature = "attack-lab")]
        Command::AttackLab(args) => attack_lab::attack(&context, args, output),
        Command::Demo(args) => demo::demo(&context, args, output),
        Command::Completions(_) | Command::Man(_) => Ok(ExitStatus::Done),
    }
}

impl Global {
    /// Returns whether this is a dry run.
    fn run(&self) -> Run {
        if self.dry_run { Run::Dry } else { Run::Real }
    }
}

/// The context of a command.
struct Context<'a> {
    global: &'a Global,
    invocation: Invocation,
    /// The content of the file given with `--root`.
    root: Option<Vec<u8>>,
    stdin: Mutex<Box<dyn BufRead + Send>>,
    /// Whether standard input is a terminal, so that the user can be asked.
    stdin_is_terminal: bool,
    env: Environment,
}

impl<'a> Context<'a> {
    /// Creates the context; `dir` is the folder of the repository.
    fn new(global: &'a Global, dir: &Path, mut world: World, output: &Output) -> Result<Self, Error> {
        let phrases = Arc::new(Phrases::new(global.pass_phrase_file.clone(), &mut world));
        let user = user(global, &world);
        // The root file may be a pipe, so it is read only once.
        let root = global.root.as_deref().map(links::read_named_root).transpose()?;
        let invocation = Invocation {
            now: now(&world, output)?,
            phrases,
            lock_wait: lock_wait(global, output),
            given_root: given_root(global, root.as_deref(), &world)?,
            served: if global.skip_served_check { ServedState::Ignore } else { ServedState::Compare },
            clock: if global.skip_clock_check { ClockCheck::Ignore } else { ClockCheck::Compare },
            accepted: Accepted::new(global.accept.iter().cloned()),
            allowed_keys: allowed_keys(global, &world)?,
            signers: Vec::new(),
            sharing: user.sharing(dir)?,
            user,
        };
        let stdin = Mutex::new(world.take_stdin());
        Ok(Self { global, invocation, root, stdin, stdin_is_terminal: world.stdin_is_terminal, env: world.env })
    }

    /// Returns whether this is a dry run.
    fn run(&self) -> Run {
        self.global.run()
    }

    fn stdin(&self) -> MutexGuard<'_, Box<dyn BufRead + Send>> {
        self.stdin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context<'_> {
    /// Returns the paths of the repository that the command line specifies.
    fn layout(&self) -> Layout {
        self.invocation.layout(&self.global.repository)
    }

    /// Opens the repository for a change. A dry run makes the same checks and warns of interrupted publications, but
    /// opens the repository only for reading.
    fn open(&self, output: &Output) -> Result<Repository, Error> {
        let dir = &self.global.repository;
        if !self.global.dry_run {
            return Repository::open_for_change(dir, &self.invocation);
        }
        let layout = self.layout();
        Config::read(&layout)?;
        transaction::check_recoverable(&layout)?;
        self.warn_of_interrupted(output)?;
        Repository::open(dir, &self.invocation)
    }

    /// Warns of interrupted publications.
    fn warn_of_interrupted(&self, output: &Output) -> Result<(), Error> {
        for interrupted in transaction::interrupted(&self.layout())? {
            output.warning(&interrupted.advice());
        }
        Ok(())
    }
}

/// Returns the user's configuration: the file given on the command line or in the environment, or the platform's
/// default.
fn user(global: &Global, world: &World) -> UserConfig {
    let default = || Some(world.base_dir("XDG_CONFIG_HOME", ".config")?.join("lastmile-repo").join("config.toml"));
    let variable = || world.variable(CONFIG_VARIABLE).map(PathBuf::from);
    global.config.clone().or_else(variable).or_else(default).map_or_else(UserConfig::none, |file| UserConfig::at(&file))
}

/// Returns the root to trust from the command line or the environment.
fn given_root(global: &Global, root: Option<&[u8]>, world: &World) -> Result<Option<GivenRoot>, Error> {
    if let Some(root) = root {
        return Ok(Some(GivenRoot { digest: RootDigest::of(root), remember: true }));
    }
    if let Some(digest) = global.root_sha256 {
        return Ok(Some(GivenRoot { digest, remember: true }));
    }
    let Some(text) = world.variable(ROOT_VARIABLE) else { return Ok(None) };
    let digest = text.to_string_lossy().parse().map_err(|reason| Error::Usage(format!("{ROOT_VARIABLE}: {reason}")))?;
    Ok(Some(GivenRoot { digest, remember: false }))
}

/// Returns the private key files that the command line or the environment allows.
fn allowed_keys(global: &Global, world: &World) -> Result<Vec<PathBuf>, Error> {
    let variable = world.variable(KEYS_VARIABLE).unwrap_or_default();
    let listed = std::env::split_paths(&variable).filter(|file| !file.as_os_str().is_empty());
    let absolute = |file: PathBuf| std::path::absolute(&file).map_err(|error| Error::file("find", &file, error));
    global.allow_key.iter().cloned().chain(listed).map(absolute).collect()
}

/// Returns how long to wait for the repository's lock. A message tells the user when the wait begins.
fn lock_wait(global: &Global, output: &Output) -> LockWait {
    let output = output.clone();
    let folder = global.repository.clone();
    let on_wait =
        move || output.note(&format!("Waiting for another process that is changing {} …", printable_path(&folder)));
    LockWait { at_most: Duration::from_secs(global.wait), on_wait: Arc::new(on_wait) }
}

/// Returns the current time, or `SOURCE_DATE_EPOCH` (seconds since 1970) for reproducible output.
fn now(world: &World, output: &Output) -> Result<DateTime<Utc>, Error> {
    let Some(text) = (world.env)("SOURCE_DATE_EPOCH") else {
        return Ok((world.now)());
    };
    let seconds = text.to_str().and_then(|text| text.parse::<i64>().ok());
    let seconds = seconds.filter(|seconds| (0..=LAST_SECOND).contains(seconds));
    let time = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let time = time.ok_or_else(|| {
        Error::Usage("SOURCE_DATE_EPOCH must be a number of seconds since 1970, before the year 10000".into())
    })?;
    output.note(&format!("SOURCE_DATE_EPOCH is set: using the time {}", lastmile_metadata::format_time(&time)));
    Ok(time)
}

#[cfg(test)]
mod tests;
