//! `bins`: distribute the targets of a role into hash bins.

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_metadata::RoleName;
use serde_json::json;

use super::context::Context;
use super::keys::{publics, resolve_all, set_keys};
use super::outcome::conclude;
use crate::config::RoleConfig;
use crate::draft::Draft;
use crate::edit::bin_advice::{Cost, Workload};
use crate::edit::bins::NewBins;
use crate::edit::delegations::Trust;
use crate::publish::snapshot;
use crate::{Error, Repository, names};

/// `bins`
#[derive(Debug, Args)]
#[command(after_help = "\
Creates 2^N bins, and moves the targets of the role and of its earlier bins into the new bins.

Examples:
  lastmile-repo bins                                # recommends N and explains why; changes nothing
  lastmile-repo bins --bit-length 8
  lastmile-repo bins --bit-length 4 --prefixes      # for clients without succinct bins (TAP 15)")]
pub(crate) struct Bins {
    /// Number of bits of the path's hash that select the bin for a target, 1 to 16. Without this option, the command
    /// recommends a number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) bit_length: Option<u8>,
    /// Write each bin as a delegation by hash prefix, which every client supports.
    #[arg(long)]
    pub(crate) prefixes: bool,
    /// Role whose targets to distribute.
    #[arg(long, default_value = "targets", value_name = "ROLE")]
    pub(crate) role: String,
    /// Names of the bins: PREFIX-00, PREFIX-01, …
    #[arg(long, default_value = "bin", value_name = "PREFIX")]
    pub(crate) name_prefix: String,
    /// Keys of the bins [default: the keys of the role's earlier bins, or of the role if it has no bins]
    #[arg(long, num_args = 1.., value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// Number of keys that must sign for a bin [default: the threshold of the role's earlier bins, or else of the role]
    #[arg(long)]
    pub(crate) threshold: Option<u32>,
}

pub(super) fn bins(context: &Context<'_>, args: &Bins, output: &Output) -> Result<ExitStatus, Error> {
    let role = names::role(&args.role)?;
    let Some(bit_length) = args.bit_length else {
        return propose(context, &role, args, output);
    };
    names::new_role(&format!("{}-0", args.name_prefix))?;
    let mut repository = context.open(output)?;
    let named = resolve_all(&mut repository, &args.key)?;
    let (mut draft, (trust, warning)) = repository.prepare(|repository, draft| {
        let mut edit = repository.edit(draft);
        // If the role already has bins, the default keys are the keys of these bins.
        let signs = edit.bins(&role)?.map_or_else(|| role.clone(), |old| old.first());
        let (of_role, threshold) = edit.trust(&signs)?;
        let keys = if named.is_empty() { of_role } else { publics(&named) };
        let trust = Trust { keys, threshold: args.threshold.unwrap_or(threshold) };
        let name_prefix = args.name_prefix.clone();
        let new = NewBins { bit_length, name_prefix, trust, succinct: !args.prefixes };
        let count = edit.count_targets(&role)?;
        let root = edit.root_view().clone();
        let by_version = snapshot::need_online_keys(&new.trust.keys, new.trust.threshold, &root);
        let load = Workload { targets: count as u64, bytes_per_target: 0, succinct: new.succinct, by_version };
        let bar = output.bar("moving", count);
        edit.make_bins(&role, &new, &|done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        Ok((edit.finish()?, (new.trust, load.warning(bit_length))))
    })?;
    warning.iter().for_each(|warning| output.warning(warning));
    let mut config = repository.config.clone();
    let entry = format!("{}-*", args.name_prefix);
    let mut role_config = RoleConfig { threshold: trust.threshold, ..repository.config.role(&role) };
    if !args.key.is_empty() {
        role_config.keys.clear();
    }
    set_keys(&mut repository, &mut config, &entry, role_config, &named)?;
    draft.set_config(config);
    conclude(context, &mut repository, draft, output)
}

/// Recommends a number of bins, without changing the repository.
fn propose(context: &Context<'_>, role: &RoleName, args: &Bins, output: &Output) -> Result<ExitStatus, Error> {
    let mut repository = Repository::open(&context.global.repository, &context.invocation)?;
    let named = resolve_all(&mut repository, &args.key)?;
    let root = repository.published.root.clone();
    let mut edit = repository.edit(Draft::default());
    let signs = edit.bins(role)?.map_or_else(|| role.clone(), |bins| bins.first());
    let (of_role, threshold) = edit.trust(&signs)?;
    let keys = if named.is_empty() { of_role } else { publics(&named) };
    let by_version = snapshot::need_online_keys(&keys, args.threshold.unwrap_or(threshold), &root);
    let load = Workload { succinct: !args.prefixes, by_version, ..Workload::of(&mut edit, role)? };
    let proposal = load.proposal();
    let cost = |cost: Cost| json!({ "first": cost.first, "returning": cost.returning });
    let report = json!({
        "bit_length": proposal.bit_length, "targets": load.targets, "bytes_per_target": load.bytes_per_target,
        "bytes": cost(proposal.cost), "bytes_without_bins": cost(proposal.flat), "listed_by_version": by_version,
    });
    output.data_text(&report, &proposal.text(&load))?;
    if let Some(bits) = proposal.bit_length {
        output.note(&format!("Nothing was changed. Run `bins --bit-length {bits}` to create the bins."));
    }
    Ok(ExitStatus::Done)
}
