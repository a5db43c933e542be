//! `set-expiry`: change the number of days after which a role's metadata expires.

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use serde_json::json;

use super::context::Context;
use super::counts::MAX_NAMED;
use super::dates::note_lifetime;
use crate::config::MAX_DAYS;
use crate::{Error, names};

/// `set-expiry`
#[derive(Debug, Args)]
#[command(after_help = "\
The new lifetime takes effect when the role is next signed. To sign the role now, run
`lastmile-repo renew --force ROLE`.

Example: lastmile-repo set-expiry timestamp 3")]
pub(crate) struct SetExpiry {
    /// Role whose lifetime to change.
    pub(crate) role: String,
    /// Number of days from signing to expiry, 1 to 36500.
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DAYS)))]
    pub(crate) days: u32,
}

pub(super) fn set_expiry(context: &Context<'_>, args: &SetExpiry, output: &Output) -> Result<ExitStatus, Error> {
    let role = names::role(&args.role)?;
    let mut repository = context.open(output)?;
    let draft = repository.staged()?;
    // Check that the role exists: an entry for a misspelled name would have no effect.
    let roles = if args.role.ends_with('*') {
        repository.published.expand(&args.role)?
    } else {
        repository.edit(draft).trust(&role)?;
        vec![role.clone()]
    };
    let mut config = repository.config.clone();
    let entry = config.entry_name(&role).unwrap_or(role.as_str()).to_string();
    let mut role_config = config.role(&role);
    let before = role_config.expires_days;
    role_config.set_expires_days(args.days);
    config.set_role(&entry, role_config.clone());
    let dry_run = context.global.dry_run;
    if !dry_run {
        repository.layout.replace(&repository.layout.config(), config.text().as_bytes(), 0o644)?;
    }
    let report = json!({ "role": args.role, "expires_days": args.days, "before": before, "dry_run": dry_run });
    output.report(&report, [format!("{role}: expires after {} days (was: {before})", args.days)])?;
    output.note(if dry_run {
        "Nothing was changed (--dry-run)."
    } else {
        "The new lifetime takes effect when the role is next signed. To sign it now, run `lastmile-repo renew --force \
         ROLE`."
    });
    for role in roles.iter().take(MAX_NAMED) {
        note_lifetime(&mut repository, role, &role_config, output);
    }
    Ok(ExitStatus::Done)
}
