//! The command line of `lastmile-repo`. The arguments of each command are defined in the command's own file.

use clap::{Parser, Subcommand};

use super::add::Add;
use super::attest::Attest;
use super::bins::Bins;
use super::catch_up::CatchUp;
use super::completions::{Completions, Man};
use super::delegate::Delegate;
use super::demo::Demo;
use super::global::Global;
use super::init::Init;
use super::keys::KeyCommand;
use super::policy::PolicyCommand;
use super::publish::Publish;
use super::pull::Pull;
use super::push::Push;
use super::remove::Remove;
use super::renew::Renew;
use super::revoke::Revoke;
use super::rotate::Rotate;
use super::serve::Serve;
use super::set_expiry::SetExpiry;
use super::set_threshold::SetThreshold;
use super::sign::Sign;
use super::undelegate::Undelegate;
use super::verify::Verify;

/// Create, change, sign and publish TUF repositories.
///
/// A repository is a folder with the configuration file `repo.toml` and the folders `metadata/` and `targets/`, which
/// any web server can serve. The tool computes versions, dates, hashes and file names. It never publishes metadata that
/// clients would refuse.
#[derive(Debug, Parser)]
#[command(
    name = "lastmile-repo",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  lastmile-repo init packages && cd packages
  lastmile-repo add ../dist
  lastmile-repo serve
  lastmile-repo renew            # from cron: signs timestamp and snapshot when they are due

Exit codes:
  0  done
  1  failed on this machine
  2  wrong usage
  3  no such target, role, key or repository
  4  the network or a server failed
  5  refused: untrusted metadata, a change that clients would refuse, a root that is not pinned, or
     private files to be published
  6  not published, because signatures are missing; push: pushed, but the public URL still serves
     the old state or cannot be read
  7  status: something is overdue, expired, pending or interrupted, or clients cannot use the
     repository; verify --strict: there are warnings; policy test and policy explain: clients
     refuse a package; attack-lab: an attack succeeded"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a signed repository that is ready to serve.
    Init(Init),
    /// Generate, list, show and import keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Publish files or folders.
    Add(Add),
    /// Create evidence for packages: signatures and signed statements.
    Attest(Attest),
    /// Remove targets from the repository.
    Remove(Remove),
    /// Delegate some target paths to another role.
    Delegate(Delegate),
    /// Change the paths, order or threshold of a delegation, or whether it is terminating.
    SetDelegation(super::set_delegation::Args),
    /// Remove a delegation.
    Undelegate(Undelegate),
    /// Distribute a role's targets into hash bins, so that clients download less metadata.
    Bins(Bins),
    /// Require evidence for packages: signatures, attestations and build provenance.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Renew timestamp, snapshot and the roles that you name, if they are due.
    Renew(Renew),
    /// Change the keys of a role.
    Rotate(Rotate),
    /// Change how many keys of a role must sign.
    SetThreshold(SetThreshold),
    /// Change the number of days after which a role's metadata expires.
    SetExpiry(SetExpiry),
    /// Undo the last publication by publishing the earlier content again.
    Revert(super::revert::Args),
    /// Revoke a lost or stolen key in all roles, and prove that clients refuse it.
    Revoke(Revoke),
    /// Sign the pending change.
    Sign(Sign),
    /// Publish the pending change once it has all signatures.
    Publish(Publish),
    /// Discard the pending change.
    Discard(super::discard::Args),
    /// Synchronize a restored or copied repository with the server.
    CatchUp(CatchUp),
    /// Upload the published repository to a folder, an SSH server or an object store.
    Push(Push),
    /// Download a repository into a new folder, or bring this folder up to date.
    Pull(Pull),
    /// Show versions, expiry dates, keys, and the roles that are due for renewal.
    Status(super::status::Args),
    /// Check a repository as new and existing clients would.
    Verify(Verify),
    /// Serve metadata/ and targets/ over HTTP, for testing.
    Serve(Serve),
    /// Run any TUF client against the attack suite and report which attacks it withstands.
    #[cfg(feature = "attack-lab")]
    AttackLab(super::attack_lab::AttackLab),
    /// Demonstrate releases and attacks with real packages, and show how the client responds.
    Demo(Demo),
    /// Print a shell completion script.
    Completions(Completions),
    /// Write manual pages.
    Man(Man),
}
