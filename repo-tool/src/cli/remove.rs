//! `remove`: remove targets from the repository.

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_metadata::TargetPath;

use super::context::Context;
use super::exchange::Exchange;
use super::outcome::{conclude, publish};
use crate::config::Config;
use crate::publish::queue::PublishRequest;
use crate::{Error, names};

/// `remove`
#[derive(Debug, Args)]
#[command(after_help = "\
Clients no longer trust the removed targets. The target files stay in the folder, because clients
may be in the middle of an update. An evidence file is removed together with the package that lists
it, if the name of the evidence file begins with the name of the package and a dot.

Example: lastmile-repo remove app-1.1.tar.gz")]
pub(crate) struct Remove {
    /// Target paths to remove.
    #[arg(required = true)]
    pub(super) names: Vec<String>,
    /// Role that lists the targets.
    #[arg(long, value_name = "ROLE")]
    pub(super) role: Option<String>,
    #[command(flatten)]
    pub(super) exchange: Exchange,
}

pub(super) fn remove(context: &Context<'_>, args: &Remove, output: &Output) -> Result<ExitStatus, Error> {
    args.exchange.around(context, output, || remove_targets(context, args, output))
}

fn remove_targets(context: &Context<'_>, args: &Remove, output: &Output) -> Result<ExitStatus, Error> {
    let role = args.role.as_deref().map(names::role).transpose()?;
    let path = |name: &String| TargetPath::new(name.as_str()).map_err(|error| Error::Usage(error.to_string()));
    let paths = args.names.iter().map(path).collect::<Result<Vec<_>, _>>()?;
    if !context.global.dry_run {
        let layout = context.layout();
        Config::read(&layout)?;
        return publish(context, &PublishRequest::enter_removal(&layout, role, paths)?, output);
    }
    let mut repository = context.open(output)?;
    let (draft, ()) = repository.prepare(|repository, draft| {
        let mut edit = repository.edit(draft);
        edit.remove_packages(role.as_ref(), &paths)?;
        Ok((edit.finish()?, ()))
    })?;
    conclude(context, &mut repository, draft, output)
}
