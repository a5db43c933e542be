//! `catch-up`: synchronize a restored or copied repository with the server.

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use serde_json::json;

use super::context::Context;
use super::global::Run;
use super::url::base_url;
use crate::Error;
use crate::files::layout::Layout;
use crate::files::roots;
use crate::report::diff;
use crate::root_digest::RootDigest;
use crate::served::catch_up::{CaughtUp, Foreign, Mode, Resolution, catch_up as run};

/// `catch-up`
#[derive(Debug, Args)]
#[command(after_help = "\
Verifies the repository on the server from the root that you pinned, and shows how it differs from
this folder. If only the snapshot and timestamp on the server are newer, copies them into this
folder. If this folder has newer content, but the versions on the server are higher, signs the
snapshot and timestamp of this folder again with versions above those of the server. Refuses content
that was not published from this folder, unless --adopt is given.

Examples:
  lastmile-repo catch-up --metadata-url https://example.org/packages/metadata/
  lastmile-repo catch-up --adopt       # after a restore, if the server's newer releases are yours")]
pub(crate) struct CatchUp {
    /// URL of the metadata on the server; stored in your configuration
    #[arg(long, value_name = "URL")]
    pub(crate) metadata_url: Option<String>,
    /// Copy content from the server even if it was not published from this folder; by default, the command refuses
    /// such content
    #[arg(long)]
    pub(crate) adopt: bool,
}

/// Warnings name at most this number of targets. The JSON output lists all of them.
const MAX_NAMED: usize = 20;

pub(super) fn catch_up(context: &Context<'_>, args: &CatchUp, output: &Output) -> Result<ExitStatus, Error> {
    let dir = &context.global.repository;
    let invocation = &context.invocation;
    let dry_run = context.global.dry_run;
    let digest = RootDigest::of(&roots::oldest_root(&Layout::new(dir))?);
    let given = args.metadata_url.as_deref().map(base_url).transpose()?;
    let url = match given {
        Some(url) => Some(url),
        None => invocation.user.metadata_url(digest)?,
    };
    let url = url.ok_or_else(|| {
        Error::Usage(
            "give the URL of the metadata on the server with --metadata-url URL; it is stored in your configuration"
                .into(),
        )
    })?;
    let foreign = if args.adopt { Foreign::Adopt } else { Foreign::Refuse };
    let mode = if dry_run { Mode::Preview } else { Mode::Apply };
    let done = run(dir, invocation, &url, foreign, mode)?;
    if !dry_run && args.metadata_url.is_some() {
        invocation.user.set_metadata_url(digest, &url)?;
    }
    report(&done, context.run(), output)
}

pub(super) fn report(done: &CaughtUp, run: Run, output: &Output) -> Result<ExitStatus, Error> {
    let dry_run = run.is_dry();
    let resolution = match done.resolution {
        Resolution::Nothing => "nothing",
        Resolution::Adopted => "adopted",
        Resolution::MovedPast => "moved-past",
    };
    let json = json!({
        "resolution": resolution, "changes": diff::json(&done.diff), "dropped": done.dropped, "missing": done.missing,
        "dry_run": dry_run,
    });
    output.report(&json, diff::text(&done.diff).lines())?;
    output.note(match (done.resolution, dry_run) {
        (Resolution::Nothing, _) => "This folder already has everything that the server has.",
        (_, true) => "Nothing was changed (--dry-run).",
        (Resolution::Adopted, false) => "Copied the newer files of the server into this folder.",
        (Resolution::MovedPast, false) => {
            "Published a new snapshot and timestamp of this folder, with versions above those of the server."
        }
    });
    for name in done.dropped.iter().take(MAX_NAMED) {
        output.warning(&format!(
            "the target `{name}` of this folder is missing from the server or has different content there; to publish \
             it, add the file again"
        ));
    }
    if let Some(more) = done.dropped.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        output.warning(&format!(
            "{more} more targets of this folder are missing from the server or have different content there"
        ));
    }
    for missing in done.missing.iter().take(MAX_NAMED) {
        output.warning(&format!("cannot fetch a target file: {missing}"));
    }
    if let Some(more) = done.missing.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        output.warning(&format!("cannot fetch {more} more target files"));
    }
    Ok(ExitStatus::Done)
}
