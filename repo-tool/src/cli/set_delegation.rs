//! `set-delegation`: change the paths, order or threshold of a delegation, or whether it is terminating.

use clap::ArgGroup;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::text::printable;
use lastmile_metadata::{Paths, RoleName};

use super::context::Context;
use super::outcome::conclude;
use super::set_threshold::record_threshold;
use crate::edit::delegation_change::{DelegationChange, HolderChange, Position};
use crate::edit::delegations::hash_prefixes;
use crate::edit::path_patterns::{pattern_warnings, patterns};
use crate::{Error, names};

/// The maximum number of targets that are named in warnings. If there are more, a last warning states how many more.
const MAX_NAMED: usize = 10;

/// `set-delegation`
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("change").required(true).multiple(true),
    override_usage = "lastmile-repo set-delegation <NAME> [OPTIONS]",
    after_help = "\
Warns about targets that clients will no longer find, or will find in another role.

Examples:
  lastmile-repo set-delegation plugins-team --paths 'plugins/*' 'themes/*'
  lastmile-repo set-delegation partner --before plugins-team --not-terminating"
)]
pub(crate) struct Args {
    /// The delegated role.
    name: String,
    /// Role that delegates to NAME [default: the first such role that is found]
    #[arg(long, value_name = "ROLE")]
    from: Option<String>,
    /// Patterns of target paths that replace the current paths.
    #[arg(long, num_args = 1.., group = "change", conflicts_with = "hash_prefixes")]
    paths: Vec<String>,
    /// Hash prefixes that replace the current paths. A hash prefix consists of the first hexadecimal digits of the
    /// SHA-256 digest of a target path.
    #[arg(long, num_args = 1.., group = "change")]
    hash_prefixes: Vec<String>,
    /// Number of the role's keys that must sign.
    #[arg(long, value_name = "N", group = "change")]
    threshold: Option<u32>,
    /// Make the delegation terminating: for matching paths, clients search no further roles.
    #[arg(long, group = "change")]
    terminating: bool,
    /// Make the delegation non-terminating: clients continue the search after this role.
    #[arg(long, group = "change", conflicts_with = "terminating")]
    not_terminating: bool,
    /// Give the delegation a higher priority: move it before the delegation to ROLE.
    #[arg(long, value_name = "ROLE", group = "change")]
    before: Option<String>,
    /// Give the delegation a lower priority: move it after the delegation to ROLE.
    #[arg(long, value_name = "ROLE", group = "change", conflicts_with = "before")]
    after: Option<String>,
    /// Publish even if the change makes clients refuse published packages because of a policy.
    #[arg(long)]
    even_so: bool,
}

pub(super) fn set_delegation(context: &Context<'_>, args: &Args, output: &Output) -> Result<ExitStatus, Error> {
    let name = names::role(&args.name)?;
    let from = args.from.as_deref().map(names::role).transpose()?;
    let change = change(args)?;
    change.paths.iter().flat_map(pattern_warnings).for_each(|warning| output.warning(&warning));
    let mut repository = context.open_accepting(args.even_so, output)?;
    let (mut draft, moved) = repository.prepare(|repository, draft| {
        let mut edit = repository.edit(draft);
        let moved = edit.change_delegation(from.as_ref(), &name, &change)?;
        Ok((edit.finish()?, moved))
    })?;
    if let Some(threshold) = args.threshold {
        let mut config = repository.config.clone();
        record_threshold(&mut config, &name, threshold);
        draft.set_config(config);
    }
    warn_of(&moved, output);
    conclude(context, &mut repository, draft, output)
}

fn change(args: &Args) -> Result<DelegationChange, Error> {
    let place = |other: &Option<String>, position: fn(RoleName) -> Position| {
        other.as_deref().map(|other| names::role(other).map(position)).transpose()
    };
    let terminating = (args.terminating || args.not_terminating).then_some(args.terminating);
    let position = place(&args.before, Position::Before)?.or(place(&args.after, Position::After)?);
    Ok(DelegationChange { paths: paths(args)?, threshold: args.threshold, terminating, position })
}

fn paths(args: &Args) -> Result<Option<Paths>, Error> {
    if !args.paths.is_empty() {
        return patterns(&args.paths).map(Some);
    }
    if !args.hash_prefixes.is_empty() {
        return hash_prefixes(&args.hash_prefixes).map(Some);
    }
    Ok(None)
}

fn warn_of(moved: &[HolderChange], output: &Output) {
    for HolderChange { path, before, after } in moved.iter().take(MAX_NAMED) {
        let path = printable(path.as_str());
        output.warning(&match after {
            Some(after) => format!("clients will find `{path}` in {after} instead of {before}"),
            None => format!("clients will no longer find `{path}`, which {before} lists"),
        });
    }
    if moved.len() > MAX_NAMED {
        output.warning(&format!(
            "clients will find {} more targets in another role or not at all",
            moved.len() - MAX_NAMED
        ));
    }
}
