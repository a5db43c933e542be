//! `discard`: discard the pending change.

use serde_json::json;

use super::{Context, ExitStatus, Output};
use crate::Error;
use crate::publish::staged;

pub(super) fn discard(context: &Context<'_>, output: &Output) -> Result<ExitStatus, Error> {
    let repository = context.open(output)?;
    if !staged::is_staged(&repository.layout) {
        return Err(Error::Absent("there is no pending change".into()));
    }
    let dropped: Vec<String> =
        staged::documents(&repository.layout)?.into_iter().map(|(role, _)| role.to_string()).collect();
    if !context.global.dry_run {
        staged::clear(&repository.layout)?;
    }
    let text = format!("discarded the pending change of {}", dropped.join(", "));
    output.data_text(&json!({ "dropped": dropped, "dry_run": context.global.dry_run }), &text)?;
    Ok(ExitStatus::Done)
}
