//! `verify`: check a repository as new and existing clients would.

use std::path::Path;

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_metadata::TargetNames;

use super::context::Context;
use super::findings;
use super::url::base_url;
use crate::Error;
use crate::check::finding::Severity;
use crate::config::Config;
use crate::files::roots;
use crate::report::verify::{self, Verification};

/// `verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lastmile-repo verify
  lastmile-repo verify /backup/packages
  lastmile-repo verify https://example.org/packages --root 1.root.json

Verification of a folder starts from the root given with --root, or from the oldest root in the
folder. If you pinned a root, the folder must contain it. Verification of a URL starts from the root
given with --root, or from the oldest root in the folder of --repository.")]
pub(crate) struct Verify {
    /// Folder or URL that contains metadata/ and targets/ [default: the folder of --repository]
    pub(crate) place: Option<String>,
    /// Accept missing target files that another server has (`add --from-list`); existing files are still checked.
    #[arg(long, alias = "elsewhere")]
    pub(crate) allow_missing_targets: bool,
    /// Exit with status 7 if there are warnings.
    #[arg(long)]
    pub(crate) strict: bool,
}

pub(super) fn verify(context: &Context<'_>, args: &Verify, output: &Output) -> Result<ExitStatus, Error> {
    let mut found = match args.place.as_deref() {
        Some(place) if place.contains("://") => {
            let url = base_url(place)?;
            let root = match &context.root {
                Some(root) => root.clone(),
                None => roots::oldest_root(&context.layout()).map_err(|_| {
                    Error::Usage(
                        "use --root FILE to give the root that clients of this repository were shipped with".into(),
                    )
                })?,
            };
            let bar = output.bar("fetching", usize::MAX);
            let found = verify::url(&url, root, context.invocation.now, &|done, of| {
                bar.set_length(of as u64);
                bar.set_position(done as u64);
            })?;
            bar.finish_and_clear();
            found
        }
        place => {
            let dir = place.map_or(context.global.repository.as_path(), Path::new);
            let layout = context.invocation.layout(dir);
            let root = verify::first_root(&layout, &context.invocation)?;
            // A folder that was copied from a server has no configuration.
            let names = match Config::read(&layout) {
                Ok(config) => config.target_names(),
                Err(Error::NotFound(_)) => TargetNames::HashPrefixed,
                Err(error) => return Err(error),
            };
            let bar = output.bar("reading", usize::MAX);
            let found = verify::directory_from(&layout, root, context.invocation.now, names, &|done, of| {
                bar.set_length(of as u64);
                bar.set_position(done as u64);
            })?;
            bar.finish_and_clear();
            found
        }
    };
    if args.allow_missing_targets {
        found.allow_absent_files();
    }
    output.data_text(&found.json(), &text(&found))?;
    let status = match found.most_severe() {
        Some(Severity::Problem) if found.is_unreachable() => ExitStatus::Network,
        Some(Severity::Problem) => ExitStatus::Refused,
        Some(Severity::Warning) if args.strict => ExitStatus::Findings,
        _ => ExitStatus::Done,
    };
    // Standard output has already shown the problems, so print only warnings and notes here. With `--strict`, warnings
    // determine the exit status, so print them even with `--quiet`.
    let reason = if status == ExitStatus::Findings { output.despite_quiet() } else { output.clone() };
    findings::print_warnings(&found.findings, &reason);
    findings::print_notes(&found.findings, output);
    Ok(status)
}

fn text(found: &Verification) -> String {
    let mut text = String::new();
    for (role, version, expires) in &found.versions {
        text += &format!("{role:<10} version {version}, expires {}\n", expires.format("%Y-%m-%d %H:%M UTC"));
    }
    for policy in &found.policies {
        text += &format!("policy: {}\n", policy.text());
    }
    for (version, _) in found.roots.iter().filter(|(_, failure)| failure.is_none()) {
        text += &format!("ok  a client shipped with root {version} reaches the newest state\n");
    }
    for problem in found.problems() {
        text += &format!("BAD {problem}\n");
    }
    if found.is_good() {
        text += &format!("ok  {} targets, {} bytes of files read\n", found.targets, found.bytes);
    }
    text
}
