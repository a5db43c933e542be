//! `delegate`: delegate some target paths to another role.

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};

use super::context::Context;
use super::keys::{publics, resolve_all, set_keys};
use super::outcome::conclude;
use crate::config::RoleConfig;
use crate::edit::delegations::{NewDelegation, Trust, hash_prefixes};
use crate::edit::path_patterns::{pattern_warnings, patterns};
use crate::{Error, names};

/// `delegate`
#[derive(Debug, Args)]
#[command(override_usage = USAGE, after_help = "\
`*` matches any characters except `/`, and `?` matches one character. No other character is special.

Examples:
  lastmile-repo key generate plugins-1
  lastmile-repo delegate plugins-team --paths 'plugins/*' --key file:keys/plugins-1.pem
  lastmile-repo delegate partner --paths 'partner/*' --key partner.pub --terminating")]
pub(crate) struct Delegate {
    /// Name of the new role.
    pub(crate) name: String,
    /// Patterns of the target paths to delegate.
    #[arg(long, num_args = 1.., required_unless_present = "hash_prefixes", conflicts_with = "hash_prefixes", value_name = "PATTERN")]
    pub(crate) paths: Vec<String>,
    /// Hash prefixes to delegate: the first hexadecimal digits of the SHA-256 digests of target paths.
    #[arg(long, num_args = 1.., value_name = "PREFIX")]
    pub(crate) hash_prefixes: Vec<String>,
    /// Keys of the role: a key ID, a URI, a private key file or a .pub file.
    #[arg(long, required = true, num_args = 1.., value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// Number of the role's keys that must sign.
    #[arg(long, default_value_t = 1)]
    pub(crate) threshold: u32,
    /// Make the delegation terminating: for matching paths, clients search no further roles.
    #[arg(long)]
    pub(crate) terminating: bool,
    /// Role that delegates.
    #[arg(long, default_value = "targets", value_name = "ROLE")]
    pub(crate) from: String,
}

/// The name comes before `--key` and `--paths`. These options take several values, so a name after one of them would
/// be parsed as another value.
pub(super) const USAGE: &str = "lastmile-repo delegate [OPTIONS] <NAME> --key <KEY>... --paths <PATTERN>...";

pub(super) fn delegate(context: &Context<'_>, args: &Delegate, output: &Output) -> Result<ExitStatus, Error> {
    let name = names::new_role(&args.name)?;
    let from = names::role(&args.from)?;
    let paths =
        if args.hash_prefixes.is_empty() { patterns(&args.paths)? } else { hash_prefixes(&args.hash_prefixes)? };
    pattern_warnings(&paths).iter().for_each(|warning| output.warning(warning));
    let mut repository = context.open(output)?;
    let keys = resolve_all(&mut repository, &args.key)?;
    let trust = Trust { keys: publics(&keys), threshold: args.threshold };
    let new = NewDelegation { name: name.clone(), paths, trust, terminating: args.terminating };
    let (mut draft, ()) = repository.prepare(|repository, draft| {
        let mut edit = repository.edit(draft);
        edit.delegate(&from, new.clone())?;
        Ok((edit.finish()?, ()))
    })?;
    let mut config = repository.config.clone();
    let role = RoleConfig { threshold: args.threshold, ..RoleConfig::default_for(&name) };
    set_keys(&mut repository, &mut config, name.as_str(), role, &keys)?;
    draft.set_config(config);
    conclude(context, &mut repository, draft, output)
}
