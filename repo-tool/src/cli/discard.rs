//! `discard`: discard the pending change.

use lastmile_cli_support::{ExitStatus, Output};
use lastmile_metadata::RoleName;
use serde_json::{Value, json};

use super::confirm::Confirmation;
use super::context::Context;
use crate::publish::staged;
use crate::report::diff::{self, RoleDiff};
use crate::{Error, Repository, Signing};

/// `discard`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shows the changes that will be lost, and asks for confirmation.

Example: lastmile-repo discard")]
pub(crate) struct Args {
    /// Discard without asking.
    #[arg(long, short)]
    pub(super) yes: bool,
}

pub(super) fn discard(context: &Context<'_>, args: &Args, output: &Output) -> Result<ExitStatus, Error> {
    let mut repository = context.open(output)?;
    if !staged::is_staged(&repository.layout) {
        return Err(Error::Absent("there is no pending change".into()));
    }
    let roles: Vec<RoleName> = staged::documents(&repository.layout)?.into_iter().map(|(role, _)| role).collect();
    let files = staged::file_count(&repository.layout)?;
    // An invalid pending change cannot be shown, but it can still be discarded.
    let (changes, mut text) = match changes(&mut repository) {
        Ok(changes) => (diff::json(&changes), diff::text(&changes)),
        Err(error) => {
            output.warning_lines(format!("cannot show the pending change: {error}").lines());
            (Value::Null, roles.iter().map(|role| format!("{role}\n")).collect())
        }
    };
    if files > 0 {
        text += &format!("unpublished target files: {files}\n");
    }
    let dropped: Vec<&str> = roles.iter().map(RoleName::as_str).collect();
    let dry_run = context.run().is_dry();
    let json = json!({ "dropped": dropped, "changes": changes, "files": files, "dry_run": dry_run });
    let confirmation = if args.yes { Confirmation::Given } else { Confirmation::Ask };
    confirmation.show(&json, &text, output)?;
    let question = "Discard this pending change, with its signatures and files?";
    confirmation.require(context, question, "not discarded", output)?;
    if dry_run {
        output.note("Nothing was changed (--dry-run).");
    } else {
        staged::clear(&repository.layout)?;
        output.note("Discarded the pending change.");
    }
    Ok(ExitStatus::Done)
}

fn changes(repository: &mut Repository) -> Result<Vec<RoleDiff>, Error> {
    let draft = repository.staged()?;
    let mut changes = repository.plan(draft, Signing::Never)?.diff;
    // Snapshot and timestamp are not part of the pending change.
    changes.retain(|change| !matches!(change.role.as_str(), "snapshot" | "timestamp"));
    Ok(changes)
}
