//! `set-expiry`: change the number of days after which a role's metadata expires.

use serde_json::json;

use super::args::SetExpiry;
use super::{Context, ExitStatus, Output};
use crate::{Error, names};

pub(super) fn set_expiry(context: &Context<'_>, args: &SetExpiry, output: &Output) -> Result<ExitStatus, Error> {
    let role = names::role(&args.role)?;
    let mut repository = context.open(output)?;
    let draft = repository.staged()?;
    // Check that the role exists: an entry for a misspelled name would have no effect.
    if args.role.ends_with('*') {
        repository.published.expand(&args.role).map(drop)?
    } else {
        repository.edit(draft).trust(&role).map(drop)?
    }
    let mut config = repository.config.clone();
    let entry = config.entry_name(&role).unwrap_or(role.as_str()).to_string();
    let mut role_config = config.role(&role);
    let before = role_config.expires_days;
    role_config.set_expires_days(args.days);
    config.set_role(&entry, role_config);
    let dry_run = context.global.dry_run;
    if !dry_run {
        repository.layout.replace(&repository.layout.config(), config.text().as_bytes(), 0o644)?;
    }
    let report = json!({ "role": args.role, "expires_days": args.days, "before": before, "dry_run": dry_run });
    output.report(&report, [format!("{role}: expires after {} days (was: {before})", args.days)])?;
    output.note("The new lifetime takes effect at the next signature; `lastmile-repo renew --force ROLE` signs now.");
    Ok(ExitStatus::Done)
}
