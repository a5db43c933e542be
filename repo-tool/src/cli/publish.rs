//! `publish`: publish the pending change, or a change from another machine, once it has all signatures.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_keys::PublicKey;
use lastmile_metadata::{Key, KeyId};

use super::context::Context;
use super::exchange::Exchange;
use super::outcome::conclude;
use super::revoke::warn_of_refutation;
use crate::draft::Draft;
use crate::edit::keys::short;
use crate::publish::staged;
use crate::revoke::proof::{Before, is_refuted, prove, table};
use crate::{Error, Repository};

/// `publish`
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 6 means that nothing was published, because signatures are still missing. With --push,
exit code 6 can also mean that the change was pushed, but clients do not get the new state from the
public URL yet.

Examples:
  lastmile-repo publish
  lastmile-repo publish --from /home/team-a/staged --push")]
pub(crate) struct Publish {
    /// Publish the change in FOLDER, which is a copy of the folder `staged` from the machine where the change was made.
    /// Everything in FOLDER is verified.
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
    /// Publish the change even if it makes a policy stricter, so that clients refuse packages that are already
    /// published.
    #[arg(long)]
    even_so: bool,
    #[command(flatten)]
    exchange: Exchange,
}

pub(super) fn publish(context: &Context<'_>, args: &Publish, output: &Output) -> Result<ExitStatus, Error> {
    args.exchange.around(context, output, || publish_change(context, args, output))
}

fn publish_change(context: &Context<'_>, args: &Publish, output: &Output) -> Result<ExitStatus, Error> {
    let mut repository = context.open_accepting(args.even_so, output)?;
    let mut draft = match &args.from {
        Some(folder) => repository.receive(folder, context.run().into())?,
        None if staged::is_staged(&repository.layout) => repository.staged()?,
        None => return Err(Error::Absent("there is no pending change to publish".into())),
    };
    draft.config = Some(repository.config_without_unused_keys(&draft)?);
    let revoked = revoked_keys(&mut repository, &draft)?;
    // When a key is revoked, skip some checks. Otherwise, an attacker who has the key could publish files on the server
    // that fail these checks, and so prevent the revocation.
    repository.is_emergency = !revoked.is_empty();
    // If the pending change has target files but no metadata, nothing is published, and the change stays pending.
    let is_empty = draft.is_empty();
    let mut exit = conclude(context, &mut repository, draft, output)?;
    if is_empty {
        output.despite_quiet().note("Nothing was published: the pending change has target files, but no metadata.");
        return Ok(ExitStatus::Pending);
    }
    if exit == ExitStatus::Pending {
        return Ok(exit);
    }
    for (key, before) in revoked {
        let rows = prove(&mut repository, &key, &before)?;
        let state = if context.run().is_dry() { "would no longer be" } else { "is no longer" };
        output.note(&format!("The key {} {state} trusted for any role.", short(&key)));
        output.note_lines(table(&rows).lines());
        if is_refuted(&rows) {
            warn_of_refutation(&rows, output);
            exit = ExitStatus::Refused;
        }
    }
    Ok(exit)
}

/// Returns the keys that are no longer trusted for any role once `draft` is published. Each key comes with the
/// currently published state, because [`prove`] needs the state before the revocation.
fn revoked_keys(repository: &mut Repository, draft: &Draft) -> Result<Vec<(PublicKey, Before)>, Error> {
    let publics = |keys: &BTreeMap<KeyId, Key>| -> BTreeSet<PublicKey> {
        keys.values().filter_map(|key| key.public_key().ok().cloned()).collect()
    };
    let mut gone = BTreeSet::new();
    if let Some(root) = &draft.root {
        gone.extend(&publics(&repository.published.root.keys) - &publics(&root.keys));
    }
    for (role, content) in &draft.targets {
        let before = match repository.published.role(role) {
            Ok(before) => before.delegations.as_ref(),
            Err(Error::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let after = content.delegations().map_or_else(BTreeSet::new, |after| publics(&after.keys));
        gone.extend(before.into_iter().flat_map(|before| publics(&before.keys)).filter(|key| !after.contains(key)));
    }
    let mut revoked = Vec::new();
    for key in gone {
        if repository.edit(draft.clone()).roles_trusting(&key)?.is_empty() {
            let roles = repository.published.roles_trusting(&key)?;
            revoked.push((key, Before::remember(repository, &roles)?));
        }
    }
    Ok(revoked)
}
