//! `undelegate`: remove a delegation.

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};

use super::context::Context;
use super::outcome::conclude;
use crate::{Error, names};

/// `undelegate`
#[derive(Debug, Args)]
#[command(after_help = "Example: lastmile-repo undelegate plugins-team")]
pub(crate) struct Undelegate {
    /// The delegated role.
    pub(crate) name: String,
    /// Role that delegates to NAME [default: the first such role that is found]
    #[arg(long, value_name = "ROLE")]
    pub(crate) from: Option<String>,
    /// Publish even if the change makes clients refuse published packages because of a policy.
    #[arg(long)]
    pub(crate) even_so: bool,
}

pub(super) fn undelegate(context: &Context<'_>, args: &Undelegate, output: &Output) -> Result<ExitStatus, Error> {
    let name = names::role(&args.name)?;
    let from = args.from.as_deref().map(names::role).transpose()?;
    let mut repository = context.open_accepting(args.even_so, output)?;
    let bins = format!("{}-", args.name);
    let (mut draft, has_bins) = repository.prepare(|repository, draft| {
        let mut edit = repository.edit(draft);
        edit.undelegate(from.as_ref(), &name)?;
        let has_bins = edit.delegated_roles()?.iter().any(|(role, _)| role.as_str().starts_with(&bins));
        Ok((edit.finish()?, has_bins))
    })?;
    let mut config = repository.config.clone();
    config.remove_role(&args.name);
    if !has_bins {
        config.remove_role(&format!("{bins}*"));
    }
    draft.set_config(config);
    conclude(context, &mut repository, draft, output)
}
