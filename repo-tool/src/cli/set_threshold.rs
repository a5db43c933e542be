//! `set-threshold`: change how many keys of a role must sign.

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_metadata::RoleName;

use super::context::Context;
use super::outcome::conclude;
use crate::config::{Config, RoleConfig};
use crate::{Error, names};

/// `set-threshold`
#[derive(Debug, Args)]
#[command(after_help = "Example: lastmile-repo set-threshold root 2")]
pub(crate) struct SetThreshold {
    /// Role whose threshold to change.
    pub(crate) role: String,
    /// Number of the role's keys that must sign.
    pub(crate) threshold: u32,
}

pub(super) fn set_threshold(context: &Context<'_>, args: &SetThreshold, output: &Output) -> Result<ExitStatus, Error> {
    let role = names::role(&args.role)?;
    let mut repository = context.open(output)?;
    let roles = repository.published.expand(&args.role)?;
    let (mut draft, ()) = repository.prepare(|repository, draft| {
        let mut edit = repository.edit(draft);
        edit.set_threshold_of_all(&roles, args.threshold)?;
        Ok((edit.finish()?, ()))
    })?;
    let mut config = repository.config.clone();
    record_threshold(&mut config, &role, args.threshold);
    draft.set_config(config);
    conclude(context, &mut repository, draft, output)
}

pub(super) fn record_threshold(config: &mut Config, role: &RoleName, threshold: u32) {
    let entry = config.entry_name(role).unwrap_or(role.as_str()).to_string();
    config.set_role(&entry, RoleConfig { threshold, ..config.role(role) });
}
