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
    /// Set the policy of a role: who must sign its packages, and which builders must build them.
    Set(set::Set),
    /// Show the policy of a role.
    Show(show::Show),
    /// Remove the policy of a role, so that the role no longer requires evidence.
    Remove(set::Remove),
    /// Show the evidence that policies require for a package, and whether the package has this evidence.
    Explain(explain::Explain),
    /// Check the published packages against the published policies and the policies of the pending change.
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
