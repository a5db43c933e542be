//! `push`: upload the published repository to a destination, which is a folder, an SSH server or an object store.

use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::BaseUrl;
use serde_json::{Value, json};

use super::context::Context;
use super::counts::{counted, some_of};
use super::dates::{State, note_dates};
use super::url::base_url;
use crate::edit::revert::MissingFiles;
use crate::files::roots;
use crate::push::merge::Merge;
use crate::push::settings::{DestinationSettings, Writers};
use crate::push::{self, Emptied, Mode, Options, Progress, PublicState, Pushed, Versions};
use crate::root_digest::RootDigest;
use crate::{Error, PushError, Repository, UserConfig};

/// The name under which a destination is stored if the user gives no name.
pub(super) const DEFAULT: &str = "default";

/// The default of `--public-wait`, in seconds.
const PUBLIC_WAIT: u64 = 60;

/// `push`
#[derive(Debug, Args)]
#[command(after_help = "\
Verifies this folder and the destination, both from the root that you pinned. Refuses to push if the
destination has a state that this folder never had. Uploads only files that the metadata lists and
the destination lacks: targets first, timestamp.json last. Then waits until clients get the new
state from the public URL. If a push is interrupted, clients keep working; run the command again to
finish the push.

For an ssh URL, the command runs `ssh`, or the program in the environment variable LASTMILE_SSH. The
program must not ask for a password or anything else.

Exit code 6 means that the repository was pushed, but clients do not get the new state from the
public URL yet, for example because a cache still serves the old timestamp. With --catch-up, it can
also mean that nothing was pushed, because signatures are missing.

Examples:
  lastmile-repo push --to /srv/www/packages --public-url https://example.org/packages
  lastmile-repo push --to ssh://example.org/srv/www/packages
  lastmile-repo push --to s3://bucket/packages --region eu-central-1
  lastmile-repo push             # later, to the stored destination
  lastmile-repo push --catch-up  # if several machines push
  lastmile-repo push --dry-run   # shows what would be uploaded")]
pub(crate) struct Push {
    /// Name of the destination in your configuration [default: the only destination, or the one named default]
    #[arg(value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// Push to this folder or URL; stored in your configuration
    #[arg(long, value_name = "DESTINATION")]
    pub(crate) to: Option<String>,
    /// URL from which clients get the repository; stored in your configuration [default: the metadata-url in your
    /// configuration]
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// URL of the API of an S3-compatible store or of a cloud emulator; stored in your configuration
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Region of the bucket; stored in your configuration [default: $AWS_REGION]
    #[arg(long, value_name = "NAME")]
    pub(crate) region: Option<String>,
    /// Allow a store that lacks conditional writes, if no other machine pushes to this store; stored in your
    /// configuration
    #[arg(long)]
    pub(crate) single_writer: bool,
    /// Maximum number of seconds to wait until clients get the new state from the public URL
    #[arg(long, value_name = "SECONDS", default_value_t = PUBLIC_WAIT)]
    pub(crate) public_wait: u64,
    /// If another machine has pushed, copy the state of the destination into this folder, publish the changes of this
    /// folder on top of that state, and push the result
    #[arg(long)]
    pub(crate) catch_up: bool,
    /// Push even if target files are missing both here and at the destination. Use this if another server has these
    /// files (`add --from-list`)
    #[arg(long)]
    pub(crate) allow_missing_targets: bool,
}

impl Push {
    pub(super) fn with_catch_up() -> Self {
        Self {
            destination: None,
            to: None,
            public_url: None,
            endpoint: None,
            region: None,
            single_writer: false,
            public_wait: PUBLIC_WAIT,
            catch_up: true,
            allow_missing_targets: false,
        }
    }
}

/// The maximum number of times that `push --catch-up` starts again because another machine has pushed in the meantime.
const MAX_ROUNDS: usize = 100;

pub(super) fn push(context: &Context<'_>, args: &Push, output: &Output) -> Result<ExitStatus, Error> {
    for _ in 0..MAX_ROUNDS {
        match push_once(context, args, output) {
            Err(Error::Push(
                PushError::Newer { .. }
                | PushError::Fork { .. }
                | PushError::Changed { .. }
                | PushError::LeaseLost { .. }
                | PushError::Unfinished { .. },
            )) if args.catch_up && !context.run().is_dry() => {
                if let Some(status) = merge(context, args, output)? {
                    return Ok(status);
                }
            }
            ended => return ended,
        }
    }
    push_once(context, args, output)
}

/// Publishes the changes of the folder on top of the state of the destination. If signatures are missing, returns
/// [`ExitStatus::Pending`], because nothing can be pushed yet. Otherwise returns `None`.
fn merge(context: &Context<'_>, args: &Push, output: &Output) -> Result<Option<ExitStatus>, Error> {
    let repository = Repository::open(&context.global.repository, &context.invocation)?;
    let name = name(&repository, args.destination.as_deref())?;
    let settings = settings(&repository, &name, args)?;
    let destination = push::open(&settings, &variables(context))?;
    let merge = Merge {
        dir: &context.global.repository,
        invocation: &context.invocation,
        destination: destination.as_ref(),
        name: &name,
        url: &settings.url,
        missing: if args.allow_missing_targets { MissingFiles::Allow } else { MissingFiles::Refuse },
    };
    let merged = merge.run()?;
    let targets = some_of(merged.republished.iter().map(ToString::to_string));
    if targets.is_empty() {
        output.note("Copied the state of the destination into this folder.");
    } else {
        output.note(&format!(
            "Copied the state of the destination into this folder, and published the changes of {targets} on top of it."
        ));
    }
    if let Some(plan) = &merged.plan {
        let state = if merged.is_pending { State::NotPublished } else { State::Published };
        note_dates(&repository, plan, state, output);
    }
    if merged.is_pending {
        let reason =
            "Nothing was pushed: the change is pending, because signatures are missing. Run `lastmile-repo status`.";
        output.despite_quiet().note(reason);
        return Ok(Some(ExitStatus::Pending));
    }
    Ok(None)
}

fn push_once(context: &Context<'_>, args: &Push, output: &Output) -> Result<ExitStatus, Error> {
    let mut repository = context.open(output)?;
    // Unlock the repository, because a long upload must not block other commands. This is safe: published roots and
    // target files do not change, and all other metadata is already in memory.
    repository.unlock();
    let name = name(&repository, args.destination.as_deref())?;
    let settings = settings(&repository, &name, args)?;
    if settings.unpushed.is_some() {
        return Err(PushError::Unfinished { url: settings.url }.into());
    }
    let destination = push::open(&settings, &variables(context))?;
    let progress = Bar(output.bar("uploading", usize::MAX));
    let options = Options {
        mode: if context.run().is_dry() { Mode::Preview } else { Mode::Upload },
        missing: if args.allow_missing_targets { MissingFiles::Allow } else { MissingFiles::Refuse },
        name: &name,
        settings: &settings,
        emptied: if args.to.is_some() { Emptied::Refill } else { Emptied::Refuse },
        progress: &progress,
    };
    let pushed = push::push(&mut repository, destination.as_ref(), &options);
    progress.0.finish_and_clear();
    let pushed = pushed?;
    let user = &repository.invocation.user;
    let public_url = match &settings.public_url {
        Some(url) => Some(url.clone()),
        None => user.metadata_url(repository.digest)?,
    };
    let public = match (&public_url, options.mode) {
        (Some(url), Mode::Upload) => {
            let root = roots::oldest_root(&repository.layout)?;
            let limit = Duration::from_secs(args.public_wait);
            let waiting = output.bar("waiting for the public URL", usize::MAX);
            let state = push::wait_until_public(url, &root, pushed.after.timestamp, limit);
            waiting.finish_and_clear();
            Some((url, state))
        }
        _ => None,
    };
    report(context, (&name, &settings.url), &pushed, public.as_ref(), output)
}

/// Checks the base URL of an object store's API, and removes slashes from its end.
pub(super) fn endpoint_url(text: &str) -> Result<String, Error> {
    base_url(text)?;
    Ok(text.trim_end_matches('/').to_string())
}

/// Returns the name of the destination: `given`, or else the name of the stored destination, or else `default`.
fn name(repository: &Repository, given: Option<&str>) -> Result<String, Error> {
    let stored = || stored_name(&repository.invocation.user, repository.digest);
    let name = given.map_or_else(stored, |name| Ok(Some(name.to_string())))?;
    Ok(name.unwrap_or_else(|| DEFAULT.to_string()))
}

/// Returns the name of the stored destination to use if the user gives no name: the only destination, or else the one
/// with the name `default`. Returns `None` if no destination is stored.
///
/// # Errors
/// [`Error::Usage`] if several destinations are stored, but none has the name `default`.
fn stored_name(user: &UserConfig, repository: RootDigest) -> Result<Option<String>, Error> {
    let names = user.destinations(repository)?;
    match names.as_slice() {
        [] => Ok(None),
        [name] => Ok(Some(name.clone())),
        names if names.iter().any(|name| name == DEFAULT) => Ok(Some(DEFAULT.to_string())),
        names => Err(Error::Usage(format!(
            "several destinations are stored ({}), but none has the name `{DEFAULT}`: run `lastmile-repo push NAME`",
            names.join(", ")
        ))),
    }
}

/// Returns the settings of the destination. Options on the command line override the stored settings. If `--to` gives a
/// new URL, all stored settings are ignored.
fn settings(repository: &Repository, name: &str, args: &Push) -> Result<DestinationSettings, Error> {
    let stored = repository.invocation.user.destination(repository.digest, name)?;
    let url = args.to.as_deref().map(push::parse).transpose()?;
    let public_url = args.public_url.as_deref().map(metadata_url).transpose()?;
    let mut settings = match (stored, url) {
        // An interrupted `push --catch-up` to the old destination must be finished before the destination is changed.
        (Some(stored), Some(url)) if stored.url != url && stored.unpushed.is_some() => {
            return Err(PushError::Unfinished { url: stored.url }.into());
        }
        (Some(stored), Some(url)) if stored.url != url => DestinationSettings::new(url),
        (Some(stored), _) => stored,
        (None, Some(url)) => DestinationSettings::new(url),
        (None, None) => {
            return Err(Error::Usage(
                "give the destination with --to FOLDER or --to URL; it is stored in your configuration".into(),
            ));
        }
    };
    settings.public_url = public_url.or(settings.public_url);
    let options = &mut settings.options;
    if let Some(endpoint) = &args.endpoint {
        options.endpoint = Some(endpoint_url(endpoint)?);
    }
    options.region = args.region.clone().or(options.region.take());
    if args.single_writer {
        options.writers = Writers::Single;
    }
    Ok(settings)
}

/// Returns a function that reads an environment variable. If `HOME` is not set, the function returns the user's home
/// folder for it.
pub(super) fn variables<'c>(context: &'c Context<'_>) -> impl Fn(&str) -> Option<String> + 'c {
    |name| match (context.env)(name) {
        None if name == "HOME" => context.home.as_ref().map(|home| home.to_string_lossy().into_owned()),
        value => value.and_then(|value| value.into_string().ok()),
    }
}

/// Returns the metadata URL of a repository. `text` is this URL, or the URL of the folder that contains metadata/.
pub(super) fn metadata_url(text: &str) -> Result<BaseUrl, Error> {
    let url = base_url(text)?;
    Ok(if url.as_str().ends_with("/metadata/") { url } else { url.folder("metadata") })
}

fn report(
    context: &Context<'_>,
    (name, url): (&str, &BaseUrl),
    pushed: &Pushed,
    public: Option<&(&BaseUrl, PublicState)>,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let bytes: u64 = pushed.sent.iter().map(|(_, length)| length).sum();
    let sent: Vec<Value> = pushed.sent.iter().map(|(name, length)| json!({ "name": name, "length": length })).collect();
    let is_dry = context.run().is_dry();
    let document = json!({
        "destination": name, "url": url.to_string(), "outcome": outcome(pushed), "dry_run": is_dry, "sent": sent,
        "bytes": bytes, "present": pushed.present, "missing": pushed.missing, "served_before": pushed.before.map(versions),
        "versions": versions(pushed.after), "public": public.map(|(url, state)| public_json(url, state)),
    });
    output.report(&document, pushed.sent.iter().map(|(name, length)| format!("{name} ({length} bytes)")))?;
    let files = counted(pushed.sent.len(), "file");
    if pushed.is_unchanged() {
        output.note(&format!("Nothing to push: {url} already has timestamp version {}.", pushed.after.timestamp));
    } else if is_dry {
        output.note(&format!("{files} ({bytes} bytes) would be uploaded to {url}. Nothing was changed (--dry-run)."));
    } else {
        output.note(&format!("Pushed {files} ({bytes} bytes) to {url}: timestamp version {}.", pushed.after.timestamp));
    }
    if let Some(first) = pushed.missing.first() {
        let count = counted(pushed.missing.len(), "target file");
        output.warning(&format!("{count} missing from both this folder and {url}; the first is {first}"));
    }
    match public {
        None => Ok(ExitStatus::Done),
        Some((url, PublicState::Current)) => {
            output.note(&format!("Clients get this state from {url}."));
            Ok(ExitStatus::Done)
        }
        Some((url, PublicState::Stale(version))) => {
            output.despite_quiet().warning(&format!("published, but {url} still serves timestamp version {version}"));
            Ok(ExitStatus::Pending)
        }
        Some((url, state)) => {
            let error = state.error().unwrap_or_default();
            let reason = format!("published, but the repository cannot be read from {url}: {error}");
            output.despite_quiet().warning(&reason);
            Ok(ExitStatus::Pending)
        }
    }
}

fn outcome(pushed: &Pushed) -> &'static str {
    if pushed.is_unchanged() { "nothing" } else { "pushed" }
}

fn versions(versions: Versions) -> Value {
    json!({
        "root": versions.root.get(), "snapshot": versions.snapshot.get(), "timestamp": versions.timestamp.get(),
    })
}

fn public_json(url: &BaseUrl, state: &PublicState) -> Value {
    match state {
        PublicState::Current => json!({ "url": url.to_string(), "state": "current" }),
        PublicState::Stale(version) => {
            json!({ "url": url.to_string(), "state": "stale", "timestamp": version.get() })
        }
        PublicState::Unreadable(_) => {
            json!({ "url": url.to_string(), "state": "unreadable", "error": state.error() })
        }
    }
}

pub(super) struct Bar(pub(super) ProgressBar);

impl Progress for Bar {
    fn begin(&self, files: usize) {
        self.0.set_length(files as u64);
    }

    fn uploaded(&self) {
        self.0.inc(1);
    }
}

/// Returns the name and the settings of the destination to use if the user gives no name. See [`stored_name`].
pub(super) fn stored(
    context: &Context<'_>,
    repository: RootDigest,
) -> Result<Option<(String, DestinationSettings)>, Error> {
    let user = &context.invocation.user;
    let Some(name) = stored_name(user, repository)? else { return Ok(None) };
    Ok(user.destination(repository, &name)?.map(|settings| (name, settings)))
}

/// Returns the name and the settings of the stored destination, and the digest of the repository's oldest root. If no
/// destination is stored, the error message says that `option` needs one.
///
/// # Errors
/// [`Error::Usage`] if no destination is stored, or if several are stored, but none has the name `default`.
pub(super) fn require_stored(
    context: &Context<'_>,
    option: &str,
) -> Result<(String, DestinationSettings, RootDigest), Error> {
    let repository = RootDigest::of(&roots::oldest_root(&context.layout())?);
    let (name, settings) = stored(context, repository)?.ok_or_else(|| {
        Error::Usage(format!("{option} needs a destination: run `lastmile-repo push --to DESTINATION` once"))
    })?;
    Ok((name, settings, repository))
}
