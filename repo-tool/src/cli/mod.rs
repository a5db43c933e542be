//! The command `lastmile-repo`: reads the command line, runs one command, and reports the result.

mod add;
mod args;
#[cfg(feature = "attack-lab")]
mod attack_lab;
mod attest;
mod bins;
mod catch_up;
mod completions;
mod confirm;
mod context;
mod dates;
mod delegate;
#[expect(clippy::disallowed_methods, reason = "the demo simulates an attacker in a temporary folder")]
mod demo;
mod discard;
mod exchange;
mod failure;
mod findings;
mod global;
mod init;
mod key_names;
mod keys;
mod missing;
mod outcome;
mod phrases;
mod policy;
mod progress;
mod publish;
mod pull;
mod push;
mod remove;
mod renew;
mod revert;
mod revoke;
mod rotate;
mod scope;
mod serve;
mod set_delegation;
mod set_expiry;
mod set_threshold;
mod sign;
mod signals;
mod signer_toml;
mod status;
mod undelegate;
mod url;
mod verify;
mod watch;

use std::ffi::OsString;

use clap::FromArgMatches as _;
use lastmile_cli_support::scope::refuse_unused;
pub use lastmile_cli_support::{ExitStatus, World};
use lastmile_cli_support::{Failure, Output, OutputOptions, spare_descriptors};

use crate::Error;
use crate::report::counts;
use args::{Cli, Command};
use context::Context;
pub use signals::wait_for_signals;

const REPOSITORY_VARIABLE: &str = "LASTMILE_REPOSITORY";

/// Parses and runs one command line.
pub fn run(args: impl IntoIterator<Item = OsString>, mut world: World) -> ExitStatus {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match parsed(&args, &world) {
        Ok(cli) => cli,
        Err(error) => return lastmile_cli_support::usage(error, &args, world),
    };
    let options = OutputOptions { json: cli.global.json, quiet: cli.global.quiet, no_progress: false };
    let output = Output::new(&mut world, options);
    if let Err(failure) = spare_descriptors() {
        return output.failure(&failure);
    }
    dispatch(&cli, world, &output).unwrap_or_else(|error| match &cli.command {
        Command::Status(args) if args.monitor => status::unknown(&error, &output),
        _ => output.failure(&Failure::from(&error)),
    })
}

/// If [`REPOSITORY_VARIABLE`] is set, its value is the default of `--repository`.
fn parsed(args: &[OsString], world: &World) -> Result<Cli, clap::Error> {
    let mut command = scope::command();
    if let Some(repository) = world.variable(REPOSITORY_VARIABLE) {
        command = command.mut_arg("repository", |argument| argument.default_value(repository));
    }
    let mut matches = command.try_get_matches_from_mut(args)?;
    refuse_unused(&mut command, &matches, scope::UNUSED)?;
    Cli::from_arg_matches_mut(&mut matches)
}

fn dispatch(cli: &Cli, world: World, output: &Output) -> Result<ExitStatus, Error> {
    let repository = &cli.global.repository;
    let dir = match &cli.command {
        Command::Completions(args) => return completions::completions(&mut scope::command(), args, output),
        Command::Man(args) => return completions::man(scope::command(), args, cli.global.run(), output),
        Command::Init(args) => args.dir.as_deref().unwrap_or(repository),
        _ => repository,
    };
    let mut context = Context::new(&cli.global, dir, world, output)?;
    let status = match &cli.command {
        Command::Init(args) => init::init(&context, args, output),
        Command::Key(command) => keys::run(&context, command, output),
        Command::Add(args) => add::add(&context, args, output),
        Command::Attest(args) => attest::attest(&context, args, output),
        Command::Remove(args) => remove::remove(&context, args, output),
        Command::Delegate(args) => delegate::delegate(&context, args, output),
        Command::SetDelegation(args) => set_delegation::set_delegation(&context, args, output),
        Command::Undelegate(args) => undelegate::undelegate(&context, args, output),
        Command::Bins(args) => bins::bins(&context, args, output),
        Command::Policy(command) => policy::run(&context, command, output),
        Command::Renew(args) => renew::renew(&context, args, output),
        Command::Rotate(args) => rotate::rotate(&context, args, output),
        Command::SetThreshold(args) => set_threshold::set_threshold(&context, args, output),
        Command::SetExpiry(args) => set_expiry::set_expiry(&context, args, output),
        Command::Revert(args) => revert::revert(&context, args, output),
        Command::Revoke(args) => revoke::revoke(&context, args, output),
        Command::Sign(args) => sign::sign(&context, args, output),
        Command::Publish(args) => publish::publish(&context, args, output),
        Command::Discard(args) => discard::discard(&context, args, output),
        Command::CatchUp(args) => catch_up::catch_up(&context, args, output),
        Command::Push(args) => push::push(&context, args, output),
        Command::Pull(args) => pull::pull(&context, args, output),
        Command::Status(args) => status::status(&mut context, args, output),
        Command::Verify(args) => verify::verify(&context, args, output),
        Command::Serve(args) => serve::serve(&context, args, output),
        #[cfg(feature = "attack-lab")]
        Command::AttackLab(args) => attack_lab::attack(&context, args, output),
        Command::Demo(args) => demo::demo(&context, args, output),
        Command::Completions(_) | Command::Man(_) => Ok(ExitStatus::Done),
    }?;
    dates::warn_after(&cli.command, &context, dir, output);
    Ok(status)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod watch_tests;
