//! The context of a command: the shared options, the invocation, and the input of the user.

use std::cell::Cell;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lastmile_cli_support::{Environment, Output, Wait, World};
use lastmile_client::text::printable_path;

use super::global::{Global, Run};
use super::phrases::Phrases;
use crate::config::{Config, LAST_SECOND};
use crate::files::layout::Layout;
use crate::files::links;
use crate::pin::GivenRoot;
use crate::publish::transaction;
use crate::root_digest::RootDigest;
use crate::sign::review::Accepted;
use crate::user::UserConfig;
use crate::{ClockCheck, Error, FailingPackages, Invocation, LockWait, Repository, ServedState};

const CONFIG_VARIABLE: &str = "LASTMILE_REPO_CONFIG";

/// The SHA-256 of the root to trust. CI jobs set this variable, because they have no stored configuration.
const ROOT_VARIABLE: &str = "LASTMILE_REPO_ROOT_SHA256";

/// A list of private key files outside the repository's folder that this run may use. CI jobs set this variable,
/// because they have no stored configuration.
const KEYS_VARIABLE: &str = "LASTMILE_REPO_ALLOWED_KEYS";

pub(super) struct Context<'a> {
    pub(super) global: &'a Global,
    pub(super) invocation: Invocation,
    /// The content of the file given with `--root`.
    pub(super) root: Option<Vec<u8>>,
    pub(super) stdin: Mutex<Box<dyn BufRead + Send>>,
    pub(super) stdin_is_terminal: bool,
    pub(super) env: Environment,
    /// The clock, for commands that run until they are stopped. Other commands use `invocation.now`, which does not
    /// change while they run.
    pub(super) clock: Clock,
    pub(super) wait: Wait,
    pub(super) home: Option<PathBuf>,
    /// `None` if there is neither `XDG_STATE_HOME` nor a home folder.
    pub(super) state_dir: Option<PathBuf>,
    /// Whether overdue roles have already been checked, so that a command warns only once.
    pub(super) has_warned: Cell<bool>,
}

type Clock = Box<dyn Fn() -> DateTime<Utc>>;

impl<'a> Context<'a> {
    /// `dir` is the folder of the repository. For `init`, it may differ from `--repository`.
    pub(super) fn new(global: &'a Global, dir: &Path, mut world: World, output: &Output) -> Result<Self, Error> {
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
        let state_dir = world.base_dir("XDG_STATE_HOME", ".local/state").map(|state| state.join("lastmile-repo"));
        let stdin = Mutex::new(world.take_stdin());
        Ok(Self {
            global,
            invocation,
            root,
            stdin,
            stdin_is_terminal: world.stdin_is_terminal,
            env: world.env,
            clock: world.now,
            wait: world.wait,
            home: world.home,
            state_dir,
            has_warned: Cell::new(false),
        })
    }

    pub(super) fn run(&self) -> Run {
        self.global.run()
    }

    pub(super) fn stdin(&self) -> MutexGuard<'_, Box<dyn BufRead + Send>> {
        self.stdin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context<'_> {
    pub(super) fn layout(&self) -> Layout {
        self.invocation.layout(&self.global.repository)
    }

    /// Like [`Context::open`]. With `even_so`, a change may make clients refuse packages that are already published.
    pub(super) fn open_accepting(&self, even_so: bool, output: &Output) -> Result<Repository, Error> {
        let mut repository = self.open(output)?;
        if even_so {
            repository.failing = FailingPackages::Allow;
        }
        Ok(repository)
    }

    /// Opens the repository for a change. In a dry run, opens it only for reading, but checks beforehand whether it can
    /// be changed. A dry run also warns about commands that were interrupted while publishing.
    pub(super) fn open(&self, output: &Output) -> Result<Repository, Error> {
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

    pub(super) fn warn_of_interrupted(&self, output: &Output) -> Result<(), Error> {
        for interrupted in transaction::interrupted(&self.layout())? {
            output.warning(&interrupted.advice());
        }
        Ok(())
    }
}

/// Returns the user's configuration: the file given on the command line, or else the file named in the environment, or
/// else the platform's default file.
fn user(global: &Global, world: &World) -> UserConfig {
    let default = || Some(world.base_dir("XDG_CONFIG_HOME", ".config")?.join("lastmile-repo").join("config.toml"));
    let variable = || world.variable(CONFIG_VARIABLE).map(PathBuf::from);
    global.config.clone().or_else(variable).or_else(default).map_or_else(UserConfig::none, |file| UserConfig::at(&file))
}

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

fn allowed_keys(global: &Global, world: &World) -> Result<Vec<PathBuf>, Error> {
    let variable = world.variable(KEYS_VARIABLE).unwrap_or_default();
    let listed = std::env::split_paths(&variable).filter(|file| !file.as_os_str().is_empty());
    let absolute = |file: PathBuf| std::path::absolute(&file).map_err(|error| Error::file("find", &file, error));
    global.allow_key.iter().cloned().chain(listed).map(absolute).collect()
}

fn lock_wait(global: &Global, output: &Output) -> LockWait {
    let output = output.clone();
    let folder = global.repository.clone();
    let on_wait =
        move || output.note(&format!("Waiting for another process that is changing {} …", printable_path(&folder)));
    LockWait { at_most: Duration::from_secs(global.wait), on_wait: Arc::new(on_wait) }
}

/// Returns the current time. If `SOURCE_DATE_EPOCH` is set, returns that time (seconds since 1970), to make output
/// reproducible.
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
