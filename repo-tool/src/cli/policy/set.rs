//! `policy set` and `policy remove`: change the policy of a role.

use std::path::PathBuf;

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_metadata::RoleName;

use crate::cli::context::Context;
use crate::cli::outcome::conclude;
use crate::policy::text;
use crate::{Draft, Error, Repository, names};

/// `policy set`
#[derive(Debug, Args)]
#[command(after_help = "\
The policy covers the packages that clients find through the role, including the packages of roles
to which it delegates. A delegated role can add requirements, but cannot change the requirements of
the roles above it. Each trust root that the policy names must be a target of the same role, unless
the policy contains its SHA-256. Before publishing the policy, the command checks that clients still
accept the published packages. docs/policy.md describes the format.

Examples:
  lastmile-repo policy set policy.toml --dry-run
  lastmile-repo policy set policy.toml
  lastmile-repo policy set plugins.toml --role plugins-team")]
pub(crate) struct Set {
    /// File with the policy, in TOML or JSON.
    file: PathBuf,
    /// Role that signs the policy.
    #[arg(long, default_value = "targets", value_name = "ROLE")]
    role: String,
    /// Publish even if clients will refuse packages that are already published.
    #[arg(long)]
    even_so: bool,
}

/// `policy remove`
#[derive(Debug, Args)]
#[command(after_help = "Example: lastmile-repo policy remove --role plugins-team")]
pub(crate) struct Remove {
    /// Role whose policy to remove.
    #[arg(long, default_value = "targets", value_name = "ROLE")]
    role: String,
    /// Publish even if clients will refuse packages that are already published.
    #[arg(long)]
    even_so: bool,
}

pub(super) fn set(context: &Context<'_>, args: &Set, output: &Output) -> Result<ExitStatus, Error> {
    let role = names::role(&args.role)?;
    let policy = text::read(&args.file)?;
    change(context, &role, args.even_so, output, &mut |repository, draft| repository.set_policy(draft, &role, &policy))
}

pub(super) fn remove(context: &Context<'_>, args: &Remove, output: &Output) -> Result<ExitStatus, Error> {
    let role = names::role(&args.role)?;
    change(context, &role, args.even_so, output, &mut |repository, draft| {
        let mut edit = repository.edit(draft);
        edit.remove_policy(&role)?;
        edit.finish()
    })
}

type Change<'a> = dyn FnMut(&mut Repository, Draft) -> Result<Draft, Error> + 'a;

fn change(
    context: &Context<'_>,
    role: &RoleName,
    even_so: bool,
    output: &Output,
    make: &mut Change<'_>,
) -> Result<ExitStatus, Error> {
    let mut repository = context.open_accepting(even_so, output)?;
    repository.prefetch_keys(std::slice::from_ref(role));
    let (draft, ()) = repository.prepare(|repository, draft| Ok((make(repository, draft)?, ())))?;
    let exit = conclude(context, &mut repository, draft, output)?;
    if exit == ExitStatus::Pending {
        output.note("`lastmile-repo policy test` checks the published packages against the pending policy.");
    }
    Ok(exit)
}
