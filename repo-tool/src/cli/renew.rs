//! `renew`: sign the roles that are due for renewal.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_metadata::{KeyRing, RoleName};

use super::context::Context;
use super::counts::{MAX_NAMED, some_of};
use super::dates::{how_to_renew, read_dates, signers};
use super::key_names::KeyNames;
use super::outcome::conclude_renewal;
use super::watch;
use crate::draft::Draft;
use crate::error::chain;
use crate::{Error, Renewal, Repository, shell};

/// `renew`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lastmile-repo renew               # timestamp and snapshot, when they are due
  lastmile-repo renew root targets  # root and targets too; needs their keys
  lastmile-repo renew 'bin-*'       # all roles whose names start with bin-
  lastmile-repo renew --force       # timestamp and snapshot, even if they are not due
  lastmile-repo renew --watch       # keeps running, and renews each role well before it expires
  lastmile-repo renew --watch --push  # on several hosts, each with its own folder")]
pub(crate) struct Renew {
    /// Roles to renew in addition to timestamp and snapshot; PREFIX* matches all delegated roles with that prefix.
    /// Without --force, only roles that are due are renewed.
    pub(crate) roles: Vec<String>,
    /// Also sign roles that are not due.
    #[arg(long)]
    pub(crate) force: bool,
    /// Keep running, and renew each role at a random time in the first quarter of its renewal period.
    #[arg(long, conflicts_with = "force")]
    pub(crate) watch: bool,
    /// With --watch, push to the stored destination after each renewal. Before each renewal, update this folder with
    /// the files that other hosts have pushed.
    #[arg(long, requires = "watch")]
    pub(crate) push: bool,
}

/// If the snapshot lists at most this many roles, the command reads all delegated roles, to report when they expire.
const MAX_ROLES_READ: usize = 100;

pub(super) fn renew(context: &Context<'_>, args: &Renew, output: &Output) -> Result<ExitStatus, Error> {
    if args.watch {
        return watch::watch(context, args, output);
    }
    let mut repository = context.open(output)?;
    let mut further = Vec::new();
    for name in &args.roles {
        further.extend(repository.published.named(name)?);
    }
    let now = repository.now();
    let config = repository.config.clone();
    // Start from an empty draft, because a renewal is published separately from the pending change. Roles in the
    // pending change cannot be renewed.
    let mut edit = repository.edit(Draft::default());
    let mut renewed = BTreeSet::new();
    for role in RoleName::ONLINE.iter().chain(&further) {
        let expires = edit.expires(role)?;
        if args.force || config.role(role).is_due(expires, now) {
            edit.sign_again(role)?;
            renewed.insert(role.clone());
        }
    }
    let draft = edit.finish()?;
    let left = not_renewed(&mut repository, &renewed).unwrap_or_else(|error| {
        // A damaged role must not prevent the renewal of the other roles.
        output.warning(&format!("cannot read the roles that are not renewed: {}", chain(&error)));
        Vec::new()
    });
    let status = conclude_renewal(context, &mut repository, draft, output)?;
    report(&repository, &left, output);
    Ok(status)
}

struct NotRenewed {
    role: RoleName,
    expires: DateTime<Utc>,
    renewal: Renewal,
    ring: KeyRing,
}

/// Returns the roles that are not in `renewed`. If the snapshot lists more than [`MAX_ROLES_READ`] roles, returns only those
/// whose metadata has already been read.
fn not_renewed(repository: &mut Repository, renewed: &BTreeSet<RoleName>) -> Result<Vec<NotRenewed>, Error> {
    if repository.published.snapshot.len() <= MAX_ROLES_READ {
        repository.published.read_all()?;
    }
    let published = &repository.published;
    // Look up the keys of the roles before publishing, because some roles are not read again afterwards.
    let left = read_dates(published).into_iter().filter(|(role, _)| !renewed.contains(role)).map(|(role, expires)| {
        let renewal = repository.config.role(role).renewal(expires, repository.now());
        Ok(NotRenewed { role: role.clone(), expires, renewal, ring: published.key_ring(role)? })
    });
    left.collect()
}

fn report(repository: &Repository, left: &[NotRenewed], output: &Output) {
    let names = KeyNames::of(repository);
    let mut later = Vec::new();
    let mut due = Vec::new();
    for NotRenewed { role, expires, renewal, ring } in left {
        let expires = expires.format("%Y-%m-%d %H:%M UTC");
        if *renewal == Renewal::Later {
            later.push(format!("{role} (expires {expires})"));
            continue;
        }
        let how = how_to_renew(&shell::arguments([role]), signers(repository, ring, &names).as_deref());
        let verb = if *renewal == Renewal::Expired { "expired" } else { "expires" };
        due.push(format!("{role} was not renewed and {verb} {expires}: {how}"));
    }
    due.iter().take(MAX_NAMED).for_each(|line| output.warning(line));
    if let Some(more) = due.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        output.warning(&format!("{more} more roles were not renewed; `lastmile-repo status` lists them"));
    }
    if !later.is_empty() {
        output.note(&format!("Not due yet: {}.", some_of(later)));
    }
}
