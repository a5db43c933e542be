//! `policy show`: show the policy of a role.

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::draft::Draft;
use crate::policy::text;
use crate::{Error, PolicyError, Repository, names};

/// `policy show`
#[derive(Debug, Args)]
#[command(after_help = "\
Shows the published policy. `lastmile-repo sign` shows the changes in a pending policy.

Examples:
  lastmile-repo policy show > policy.toml
  lastmile-repo policy show --role plugins-team --json")]
pub(crate) struct Show {
    /// Role that signs the policy.
    #[arg(long, default_value = "targets", value_name = "ROLE")]
    role: String,
}

pub(super) fn show(context: &Context<'_>, args: &Show, output: &Output) -> Result<ExitStatus, Error> {
    let role = names::role(&args.role)?;
    let mut repository = Repository::open(&context.global.repository, &context.invocation)?;
    let policy = repository.edit(Draft::default()).policy(&role)?;
    let policy = policy.ok_or_else(|| PolicyError::None { role: role.clone() })?;
    let value: Value = serde_json::from_str(&policy.to_text())
        .map_err(|error| PolicyError::OfRole { role: role.clone(), problem: error.to_string() })?;
    output.data_text(&json!({ "role": role.as_str(), "policy": value }), &text::toml(&policy))?;
    Ok(ExitStatus::Done)
}
