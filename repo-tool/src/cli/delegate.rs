//! `delegate`: delegate some target paths to another role.

use super::args::Delegate;
use super::keys::{publics, resolve_all, set_keys};
use super::outcome::conclude;
use super::{Context, ExitStatus, Output};
use crate::config::RoleConfig;
use crate::edit::delegations::{NewDelegation, Trust, hash_prefixes};
use crate::edit::path_patterns::{pattern_warnings, patterns};
use crate::{Error, names};

/// The usage line. The name is first, because after `--key` or `--paths`, it would be parsed as a value of that option.
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
