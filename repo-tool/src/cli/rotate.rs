//! `rotate`: change the keys of a role.

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};

use super::context::Context;
use super::keys::{Removal, publics, resolve_all, resolve_removal, set_keys};
use super::outcome::conclude;
use crate::{Error, names};

/// `rotate`
#[derive(Debug, Args)]
#[command(after_help = "\
If the root keys change, enough of the old keys and enough of the new keys must sign the new root.

Examples:
  lastmile-repo rotate timestamp --add file:keys/timestamp-2.pem --remove file:keys/timestamp-1.pem
  lastmile-repo rotate root --add alice.pub")]
pub(crate) struct Rotate {
    /// Role whose keys to change.
    pub(crate) role: String,
    /// Keys to add: a key ID, a URI, a private key file or a .pub file.
    #[arg(long, value_name = "KEY")]
    pub(crate) add: Vec<String>,
    /// Keys to remove.
    #[arg(long, value_name = "KEY")]
    pub(crate) remove: Vec<String>,
}

pub(super) fn rotate(context: &Context<'_>, args: &Rotate, output: &Output) -> Result<ExitStatus, Error> {
    if args.add.is_empty() && args.remove.is_empty() {
        return Err(Error::Usage("nothing to do: give --add KEY or --remove KEY".into()));
    }
    let mut repository = context.open(output)?;
    let added = resolve_all(&mut repository, &args.add)?;
    let roles = repository.published.expand(&args.role)?;
    let role = names::role(&args.role)?;
    let pending = repository.staged()?;
    let odd = repository.edit(pending).odd_ids(&roles)?;
    let mut removed = Vec::new();
    let mut ids = Vec::new();
    for name in &args.remove {
        match resolve_removal(&mut repository, odd.clone(), name)? {
            Removal::Key(public) => removed.push(public),
            Removal::OddKeyId(odd) => ids.push(odd.id),
        }
    }
    let mut config = repository.config.clone();
    let entry = config.entry_name(&role).unwrap_or(role.as_str()).to_string();
    let (mut draft, unused) = repository.prepare(|repository, draft| {
        let mut edit = repository.edit(draft);
        edit.remove_ids(&roles, &ids)?;
        edit.rotate_all(&roles, &publics(&added), &removed)?;
        let mut unused = Vec::new();
        for key in &removed {
            // Several roles, such as bins, can share one entry in the configuration. Keep the location of a key in the
            // entry while the key is trusted for any of these roles.
            let shared = entry.ends_with('*') && {
                let trusting = edit.roles_trusting(key)?;
                trusting.iter().any(|(role, _)| config.entry_name(role) == Some(entry.as_str()))
            };
            if !shared {
                unused.push(key);
            }
        }
        Ok((edit.finish()?, unused))
    })?;
    let mut role_config = config.role(&role);
    let gone: Vec<_> = unused.into_iter().flat_map(|key| repository.keys.confirmed_uris_of(key)).collect();
    role_config.keys.retain(|uri| !gone.contains(&uri.to_string().as_str()));
    set_keys(&mut repository, &mut config, &entry, role_config, &added)?;
    draft.set_config(config);
    conclude(context, &mut repository, draft, output)
}
