//! `policy`: require evidence for packages, and show what is required.

mod explain;
mod set;
mod show;
mod test;
mod trust_root;

use clap::Subcommand;
use lastmile_cli_support::{ExitStatus, Output};

use super::context::Context;
use crate::Error;

/// `policy …`
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Give a role a policy: who must have signed its packages, and what must have built them.
    Set(set::Set),
    /// Show the policy of a role.
    Show(show::Show),
    /// Remove the policy of a role, so that it no longer demands evidence.
    Remove(set::Remove),
    /// Show everything that is demanded of a package, and whether its evidence satisfies it.
    Explain(explain::Explain),
    /// Judge the published packages by the published policies, and by those of the pending change.
    Test(test::Test),
    /// Publish the trust root of a Sigstore instance.
    #[command(subcommand)]
    TrustRoot(trust_root::TrustRootCommand),
}

pub(super) fn run(context: &Context<'_>, command: &PolicyCommand, output: &Output) -> Result<ExitStatus, Error> {
    match command {
        PolicyCommand::Set(args) => set::set(context, args, output),
        PolicyCommand::Show(args) => show::show(context, args, output),
        PolicyCommand::Remove(args) => set::remove(context, args, output),
        PolicyCommand::Explain(args) => explain::explain(context, args, output),
        PolicyCommand::Test(args) => test::test(context, args, output),
        PolicyCommand::TrustRoot(command) => trust_root::run(context, command, output),
    }
}
