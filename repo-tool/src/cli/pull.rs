//! `pull`: download a repository into a new folder, or bring an existing folder up to date.

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::BaseUrl;
use lastmile_metadata::{RoleName, TargetNames};
use serde_json::{Map, Value, json};

use super::catch_up;
use super::context::Context;
use super::counts::counted;
use super::push::{Bar, DEFAULT, endpoint_url, metadata_url, require_stored, stored, variables};
use crate::files::roots;
use crate::push;
use crate::push::merge::{self, GivenUp};
use crate::push::pull::{Expired, Pull as NewFolder, TargetFiles};
use crate::push::settings::{DestinationSettings, ServedSnapshot};
use crate::root_digest::RootDigest;
use crate::served::catch_up::{CaughtUp, Foreign, Mode, catch_up_through};
use crate::served::transport::Transport;
use crate::{Error, NotFound, Repository};

/// `pull`
#[derive(Debug, Args)]
#[command(after_help = "\
Downloads a repository into a new folder: verifies all metadata from a root that you trust, and
downloads all targets. If a pull is interrupted, run the command again to continue. Private keys are
never downloaded: list the keys of this machine in the repo.toml of the new folder.

If the folder already contains the repository, brings the folder up to date as `catch-up` does.

Examples:
  lastmile-repo pull --from https://example.org/packages --root 1.root.json -C packages
  lastmile-repo pull --from ssh://example.org/srv/www/packages --root 1.root.json -C packages
  lastmile-repo pull --from /srv/www/packages --root-sha256 34eeb043… -C packages
  lastmile-repo pull             # later, in the folder")]
pub(crate) struct Pull {
    /// Folder or URL from which to download the repository; stored in your configuration
    #[arg(long, value_name = "URL")]
    pub(crate) from: Option<String>,
    /// URL of the API of an S3-compatible store or of a cloud emulator; stored in your configuration
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Region of the bucket; stored in your configuration [default: $AWS_REGION]
    #[arg(long, value_name = "NAME")]
    pub(crate) region: Option<String>,
    /// Download only metadata
    #[arg(long)]
    pub(crate) without_targets: bool,
    /// Fetch target files by their plain names, without a hash prefix. Use this option if the repository was created
    /// with `init --no-hash-prefix`
    #[arg(long)]
    pub(crate) no_hash_prefix: bool,
    /// Copy content from the server even if it was not published from this folder; by default, the command refuses
    /// such content
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Download the repository into a new folder even if its timestamp or snapshot has expired
    #[arg(long)]
    pub(crate) accept_expired: bool,
}

struct Source {
    transport: Transport,
    metadata_url: BaseUrl,
    /// Set if the repository can also be pushed to this location.
    destination: Option<DestinationSettings>,
}

impl Source {
    fn parse(context: &Context<'_>, args: &Pull, text: &str) -> Result<Self, Error> {
        let is_web = text
            .split_once("://")
            .is_some_and(|(scheme, _)| ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web)));
        if is_web {
            return Self::web(metadata_url(text)?);
        }
        let mut settings = DestinationSettings::new(push::parse(text)?);
        settings.options.endpoint = args.endpoint.as_deref().map(endpoint_url).transpose()?;
        settings.options.region.clone_from(&args.region);
        Self::destination(context, settings)
    }

    fn url(&self) -> Option<BaseUrl> {
        self.destination.as_ref().map(|settings| settings.url.clone())
    }

    fn web(metadata_url: BaseUrl) -> Result<Self, Error> {
        Ok(Self { transport: Transport::by_scheme()?, metadata_url, destination: None })
    }

    fn destination(context: &Context<'_>, settings: DestinationSettings) -> Result<Self, Error> {
        let transport = push::open(&settings, &variables(context))?.transport()?;
        Ok(Self { transport, metadata_url: settings.url.folder("metadata"), destination: Some(settings) })
    }

    /// Stores the location in the user's configuration, but does not replace a different destination that has the name
    /// [`DEFAULT`].
    fn remember(&self, context: &Context<'_>, repository: RootDigest) -> Result<(), Error> {
        let user = &context.invocation.user;
        match &self.destination {
            Some(settings) => match user.destination(repository, DEFAULT)? {
                Some(stored) if stored.url != settings.url => Ok(()),
                _ => user.set_destination(repository, DEFAULT, settings),
            },
            None => user.set_metadata_url(repository, &self.metadata_url),
        }
    }
}

pub(super) fn pull(context: &Context<'_>, args: &Pull, output: &Output) -> Result<ExitStatus, Error> {
    let given = args.from.as_deref().map(|from| Source::parse(context, args, from)).transpose()?;
    if context.layout().config().symlink_metadata().is_ok() {
        let (mut done, source, repository) = update(context, args.adopt, given)?;
        if args.adopt && !context.run().is_dry() {
            give_up(context, &source, repository, &mut done, output)?;
        }
        return catch_up::report(&done, context.run(), output);
    }
    let source = given.ok_or_else(|| Error::Usage("give the location of the repository with --from URL".into()))?;
    let progress = Bar(output.bar("downloading", usize::MAX));
    let pull = NewFolder {
        dir: &context.global.repository,
        invocation: &context.invocation,
        transport: source.transport.clone(),
        metadata_url: source.metadata_url.clone(),
        names: if args.no_hash_prefix { TargetNames::Plain } else { TargetNames::HashPrefixed },
        targets: if args.without_targets { TargetFiles::Skip } else { TargetFiles::Download },
        expired: if args.accept_expired { Expired::Accept } else { Expired::Refuse },
        progress: &progress,
    };
    let is_dry = context.run().is_dry();
    let pulled = if is_dry { pull.preview() } else { pull.run() };
    progress.0.finish_and_clear();
    let pulled = pulled?;
    if !is_dry {
        source.remember(context, pulled.repository)?;
        let user = &context.invocation.user;
        if user.destination(pulled.repository, DEFAULT)?.map(|stored| stored.url) == source.url() {
            user.set_served(pulled.repository, DEFAULT, &pulled.snapshot)?;
        }
    }
    let versions: Map<String, Value> =
        pulled.versions.iter().map(|(role, version)| (role.as_str().to_string(), version.get().into())).collect();
    let document = json!({
        "outcome": "pulled", "dry_run": is_dry, "url": source.metadata_url.to_string(), "versions": versions,
        "targets": pulled.targets, "repository": pulled.repository.to_string(),
    });
    let lines = pulled.versions.iter().map(|(role, version)| format!("{role} version {version}"));
    output.report(&document, lines)?;
    let targets = counted(pulled.targets as u64, "target");
    output.note(&if is_dry {
        format!("{targets} would be downloaded from {}. Nothing was changed (--dry-run).", source.metadata_url)
    } else if args.without_targets {
        format!("Downloaded the metadata of {targets} from {}.", source.metadata_url)
    } else {
        format!("Downloaded {targets} from {}.", source.metadata_url)
    });
    if !is_dry {
        output.note(
            "repo.toml contains defaults. In it, set the lifetimes of the roles, and list the keys of this machine.",
        );
    }
    Ok(ExitStatus::Done)
}

/// Returns whether the folder has published changes that the stored destination lacks. [`adopt`] would discard these
/// unpushed changes. Returns `false` if this machine lacks the snapshot key, because a machine without this key cannot
/// publish changes. `option` is the command-line option that needs the stored destination. The error message names this
/// option.
///
/// # Errors
/// Returns [`Error::Usage`] if this machine can publish, but no destination is stored.
pub(super) fn has_unpushed(context: &Context<'_>, option: &str) -> Result<bool, Error> {
    let repository = Repository::open(&context.global.repository, &context.invocation)?;
    if !repository.can_sign(&RoleName::SNAPSHOT) {
        return Ok(false);
    }
    let (_, settings, _) = require_stored(context, option)?;
    Ok(settings.served != Some(ServedSnapshot::of(&repository.published.snapshot)))
}

/// Updates the folder with the state that other machines have published, as `pull --adopt` does.
pub(super) fn adopt(context: &Context<'_>, output: &Output) -> Result<(), Error> {
    let (done, ..) = update(context, true, None)?;
    catch_up::report(&done, context.run(), output).map(drop)
}

/// Gives up the changes that an interrupted `push --catch-up` has not published yet.
fn give_up(
    context: &Context<'_>,
    source: &Source,
    repository: RootDigest,
    done: &mut CaughtUp,
    output: &Output,
) -> Result<(), Error> {
    let dir = &context.global.repository;
    for change in merge::give_up(dir, &context.invocation, repository, &source.metadata_url)? {
        match change {
            GivenUp::Listed(path) => done.dropped.push(path.to_string()),
            GivenUp::Removed(path) => output.warning(&format!(
                "the target `{path}`, which was removed in this folder, is still listed on the server; to remove it \
                 there too, run `lastmile-repo remove` again"
            )),
        }
    }
    Ok(())
}

fn update(context: &Context<'_>, adopts: bool, given: Option<Source>) -> Result<(CaughtUp, Source, RootDigest), Error> {
    let layout = context.layout();
    let digest = RootDigest::of(&roots::oldest_root(&layout)?);
    let is_given = given.is_some();
    let source = match (given, stored(context, digest)?, context.invocation.user.metadata_url(digest)?) {
        (Some(given), ..) => given,
        (None, Some((_, settings)), _) => Source::destination(context, settings)?,
        (None, None, Some(url)) => Source::web(url)?,
        (None, None, None) => return Err(NotFound::Origin { folder: layout.dir().to_path_buf() }.into()),
    };
    let foreign = if adopts { Foreign::Adopt } else { Foreign::Refuse };
    let mode = if context.run().is_dry() { Mode::Preview } else { Mode::Apply };
    let dir = &context.global.repository;
    let done = catch_up_through(&source.transport, dir, &context.invocation, &source.metadata_url, foreign, mode)?;
    if is_given && mode == Mode::Apply {
        source.remember(context, digest)?;
        // `catch_up_through` recorded the snapshot for the destinations that were stored at that time. If `remember`
        // has added a destination, the snapshot must be recorded for it too.
        let repository = Repository::open(dir, &context.invocation)?;
        context.invocation.user.record_adoption(digest, &repository.published.snapshot)?;
    }
    Ok((done, source, digest))
}
