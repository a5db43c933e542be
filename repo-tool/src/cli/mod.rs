//! The command `lastmile-repo`: reads the command line, runs one command, and says what came of it.

mod add;
mod args;
mod catch_up;
mod change;
#[expect(clippy::disallowed_methods, reason = "the demo plays an attacker in a folder of its own")]
mod demo;
mod keys;
#[cfg(feature = "attack-lab")]
mod lab;
mod look;
mod output;
mod phrases;
mod revoke;
mod serve;
mod setup;
mod sign;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{CommandFactory as _, Parser as _};

use crate::layout::Layout;
use crate::pin::GivenRoot;
use crate::queue::Fault;
use crate::review::Accepted;
use crate::user::UserConfig;
use crate::{Error, Patience, Repository, ServedState, Setting, publication};
use args::{Cli, Command, Global};
use etcetera::BaseStrategy as _;
use output::Output;
use phrases::Phrases;

/// The file with the user's configuration.
const CONFIG_VARIABLE: &str = "LASTMILE_REPO_CONFIG";
/// The SHA-256 of the root to trust, for jobs that keep no files.
const ROOT_VARIABLE: &str = "LASTMILE_REPO_ROOT_SHA256";

/// Private keys outside the repository's folder that may be used, for jobs that keep no files.
const KEYS_VARIABLE: &str = "LASTMILE_REPO_ALLOWED_KEYS";

/// What the command's exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed; for `status`: something is due.
    Failed = 1,
    /// The command line does not make sense.
    Usage = 2,
    /// There is no such target, role, key or repository.
    NoSuchName = 3,
    /// The road to a repository elsewhere failed.
    Network = 4,
    /// Something was refused: an untrusted published file, a draft that clients would refuse, or files that must stay
    /// private.
    Refused = 5,
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error {
            Error::Usage(_) | Error::InvalidInput(_) | Error::Request { fault: Fault::Usage, .. } => Self::Usage,
            Error::Absent(_) | Error::NotFound(_) | Error::Request { fault: Fault::NotFound, .. } => Self::NoSuchName,
            Error::Network(_) => Self::Network,
            Error::Untrusted(_)
            | Error::Draft(_)
            | Error::NotPinned { .. }
            | Error::Private { .. }
            | Error::Request { fault: Fault::Draft, .. } => Self::Refused,
            Error::Busy { .. }
            | Error::Edit(_)
            | Error::Failed(_)
            | Error::File { .. }
            | Error::Key { .. }
            | Error::MissingKeys { .. }
            | Error::NotAccepted { .. }
            | Error::Path(_)
            | Error::Pending(_)
            | Error::Pin(_)
            | Error::Policy { .. }
            | Error::Publication(_)
            | Error::Request { fault: Fault::Refused, .. }
            | Error::Revoke(_)
            | Error::Served(_)
            | Error::Version(_) => Self::Failed,
        }
    }
}

/// Runs the command line of this process.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is where the program gets its arguments")]
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()) as u8)
}

/// The value of an environment variable, if it is set.
#[expect(clippy::disallowed_methods, reason = "this is where the program reads its environment")]
fn environment(variable: &str) -> Option<OsString> {
    std::env::var_os(variable)
}

/// What the clock shows.
#[expect(clippy::disallowed_methods, reason = "this is where the program reads the clock")]
fn clock() -> DateTime<Utc> {
    Utc::now()
}

/// Runs one command line, writing to this process's standard output and standard error.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let mut output = Output::new(cli.global.json, cli.global.quiet);
    let result = dispatch(&cli, &mut output).and_then(|exit| output.flush().map(|()| exit));
    result.unwrap_or_else(|error| {
        output.error(&error);
        Exit::from(&error)
    })
}

fn dispatch(cli: &Cli, output: &mut Output) -> Result<Exit, Error> {
    let repository = &cli.global.repository;
    let dir = match &cli.command {
        Command::Completions(args) => return setup::completions(&mut Cli::command(), args, output),
        Command::Man(args) => return setup::man(Cli::command(), args),
        Command::Init(args) => args.dir.as_deref().unwrap_or(repository),
        _ => repository,
    };
    let context = Context::new(&cli.global, dir, output)?;
    match &cli.command {
        Command::Init(args) => setup::init(&context, args, output),
        Command::Key(command) => keys::run(&context, command, output),
        Command::Add(args) => add::add(&context, args, output),
        Command::Remove(args) => add::remove(&context, args, output),
        Command::Delegate(args) => change::delegate(&context, args, output),
        Command::Undelegate(args) => change::undelegate(&context, args, output),
        Command::Bins(args) => change::bins(&context, args, output),
        Command::Renew(args) => change::renew(&context, args, output),
        Command::Rotate(args) => change::rotate(&context, args, output),
        Command::SetThreshold(args) => change::set_threshold(&context, args, output),
        Command::SetExpiry(args) => change::set_expiry(&context, args, output),
        Command::Revoke(args) => revoke::revoke(&context, args, output),
        Command::Sign(args) => sign::sign(&context, args, output),
        Command::Publish(_) => sign::publish(&context, output),
        Command::Discard => sign::discard(&context, output),
        Command::CatchUp(args) => catch_up::catch_up(&context, args, output),
        Command::Status(_) => look::status(&context, output),
        Command::Verify(args) => look::verify(&context, args, output),
        Command::Serve(args) => serve::serve(&context, args, output),
        #[cfg(feature = "attack-lab")]
        Command::AttackLab(args) => lab::attack(args, output),
        Command::Demo(args) => demo::demo(&context, args),
        Command::Completions(_) | Command::Man(_) => Ok(Exit::Done),
    }
}

/// What every command is given.
struct Context<'a> {
    global: &'a Global,
    setting: Setting,
}

impl<'a> Context<'a> {
    /// `dir` is the folder of the repository.
    fn new(global: &'a Global, dir: &Path, output: &mut Output) -> Result<Self, Error> {
        let phrases = Arc::new(Phrases::new(global.pass_phrase_file.clone(), std::io::stdin().is_terminal()));
        let user = user(global);
        let setting = Setting {
            now: now(output)?,
            phrases,
            patience: patience(global),
            given_root: given_root(global)?,
            served: if global.skip_served_check { ServedState::Ignore } else { ServedState::Compare },
            accepted: Accepted::new(global.accept.iter().cloned()),
            allowed_keys: allowed_keys(global)?,
            sharing: user.sharing(dir)?,
            user,
        };
        Ok(Self { global, setting })
    }
}

impl Context<'_> {
    /// Where the files of the repository are that the command line names.
    fn layout(&self) -> Layout {
        self.setting.layout(&self.global.repository)
    }

    /// Opens the repository for a change. With `--dry-run` it is opened for reading: nothing is finished, removed or
    /// written, and a publication that was cut short is reported.
    fn open(&self, output: &mut Output) -> Result<Repository, Error> {
        let dir = &self.global.repository;
        if !self.global.dry_run {
            return Repository::open_for_change(dir, &self.setting);
        }
        let repository = Repository::open(dir, &self.setting)?;
        self.tell_of_interrupted(output)?;
        Ok(repository)
    }

    /// Says whether a publication was cut short, and what finishes it.
    fn tell_of_interrupted(&self, output: &mut Output) -> Result<(), Error> {
        for interrupted in publication::interrupted(&self.layout())? {
            output.warning(&interrupted.advice());
        }
        Ok(())
    }
}

/// The configuration of the user: the file that was named, or the platform's place for it.
fn user(global: &Global) -> UserConfig {
    let default =
        || Some(etcetera::choose_base_strategy().ok()?.config_dir().join("lastmile-repo").join("config.toml"));
    let variable = || environment(CONFIG_VARIABLE).filter(|file| !file.is_empty()).map(PathBuf::from);
    global.config.clone().or_else(variable).or_else(default).map_or_else(UserConfig::none, |file| UserConfig::at(&file))
}

/// The root that the command line or the environment says is to be trusted.
fn given_root(global: &Global) -> Result<Option<GivenRoot>, Error> {
    if let Some(file) = &global.root {
        return GivenRoot::read(file).map(Some);
    }
    if let Some(digest) = global.root_sha256 {
        return Ok(Some(GivenRoot { digest, remember: true }));
    }
    let Some(text) = environment(ROOT_VARIABLE).filter(|text| !text.is_empty()) else { return Ok(None) };
    let digest = text.to_string_lossy().parse().map_err(|reason| Error::Usage(format!("{ROOT_VARIABLE}: {reason}")))?;
    Ok(Some(GivenRoot { digest, remember: false }))
}

/// The private key files that the command line or the environment allows.
fn allowed_keys(global: &Global) -> Result<Vec<PathBuf>, Error> {
    let variable = environment(KEYS_VARIABLE).unwrap_or_default();
    let listed = std::env::split_paths(&variable).filter(|file| !file.as_os_str().is_empty());
    let absolute = |file: PathBuf| std::path::absolute(&file).map_err(|error| Error::file("find", &file, error));
    global.allow_key.iter().cloned().chain(listed).map(absolute).collect()
}

/// Waits for other processes as long as the command line says, and tells that once.
fn patience(global: &Global) -> Patience {
    let (quiet, folder) = (global.quiet, global.repository.clone());
    let told = move || {
        if !quiet {
            let _ = writeln!(std::io::stderr(), "Waiting for another process that changes {} …", folder.display());
        }
    };
    Patience { at_most: Duration::from_secs(global.wait), told: Arc::new(told) }
}

/// The clock, or `SOURCE_DATE_EPOCH` (seconds since 1970), so that the same input makes the same bytes.
fn now(output: &mut Output) -> Result<DateTime<Utc>, Error> {
    let Some(text) = environment("SOURCE_DATE_EPOCH") else {
        return Ok(clock());
    };
    let seconds = text.to_str().and_then(|text| text.parse::<i64>().ok());
    let time = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let time = time.ok_or_else(|| Error::Usage("SOURCE_DATE_EPOCH must be a number of seconds since 1970".into()))?;
    output.note(&format!("SOURCE_DATE_EPOCH is set: the time counts as {}", lastmile_metadata::format_time(&time)));
    Ok(time)
}
