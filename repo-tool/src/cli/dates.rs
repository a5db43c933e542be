//! Reports the dates of roles: which roles were not renewed in time, and when the roles that people sign expire.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::{DateTime, Utc};
use lastmile_cli_support::Output;
use lastmile_metadata::{DelegatedRoles, KeyRing, RoleName, SuccinctRoles};

use super::args::Command;
use super::context::Context;
use super::counts::{MAX_NAMED, some_of};
use super::global::Run;
use super::key_names::KeyNames;
use crate::config::RoleConfig;
use crate::draft::Draft;
use crate::published::Published;
use crate::report::overview::minute;
use crate::{Outcome, Plan, Renewal, Repository, shell};

/// A warning about delegated roles requires reading their files, which could slow down a command that changes one of
/// many roles. The files are read only if the snapshot lists at most `MAX_ROLES` roles, and if the unread files have
/// at most `MAX_BYTES` bytes in total.
const MAX_ROLES: usize = 100;
const MAX_BYTES: u64 = 4 << 20;

/// After a command has succeeded, warns about roles that were not renewed in time. `dir` is the folder of the
/// repository.
///
/// This function is called after every command that succeeds, so a new command cannot omit the warning by mistake. The
/// `match` has no wildcard arm, so the author of a new command must decide whether the command warns.
pub(super) fn warn_after(command: &Command, context: &Context<'_>, dir: &Path, output: &Output) {
    let warns = match command {
        // `verify URL` and `verify FOLDER` do not check the repository in `dir`.
        Command::Verify(args) => args.place.is_none(),
        Command::Init(_)
        | Command::Key(_)
        | Command::Add(_)
        | Command::Attest(_)
        | Command::Remove(_)
        | Command::Delegate(_)
        | Command::SetDelegation(_)
        | Command::Undelegate(_)
        | Command::Bins(_)
        | Command::Policy(_)
        | Command::Rotate(_)
        | Command::SetThreshold(_)
        | Command::SetExpiry(_)
        | Command::Revert(_)
        | Command::Revoke(_)
        | Command::Sign(_)
        | Command::Publish(_)
        | Command::Discard(_)
        | Command::CatchUp(_)
        | Command::Push(_)
        | Command::Pull(_) => true,
        // These commands report the dates themselves.
        Command::Renew(_) | Command::Status(_) => false,
        // These commands run until they are stopped, or do not use the repository.
        Command::Serve(_) | Command::Demo(_) | Command::Completions(_) | Command::Man(_) => false,
        #[cfg(feature = "attack-lab")]
        Command::AttackLab(_) => false,
    };
    if !warns || context.run().is_dry() || context.global.quiet || context.has_warned.get() {
        return;
    }
    // The command has succeeded. If the repository cannot be read, for example because another process is changing it,
    // there is no warning.
    if let Ok(mut repository) = Repository::open(dir, &context.invocation) {
        warn_of_overdue(context, &mut repository, output);
    }
}

/// Warns in one line about overdue roles. A role is overdue if it was not renewed in the first half of its renewal
/// period, or if it expires before the timestamp is next due for renewal.
pub(super) fn warn_of_overdue(context: &Context<'_>, repository: &mut Repository, output: &Output) {
    context.has_warned.set(true);
    if can_read_all(&repository.published) {
        // A damaged role must not prevent a warning about the other roles.
        let _ = repository.published.read_all();
    } else {
        output.note(
            "Not all delegated roles were checked for renewal, because there are many of them or their files are long. \
             Run `lastmile-repo status`, which checks all roles.",
        );
    }
    let published = &repository.published;
    let next = repository.config.role(&RoleName::TIMESTAMP).renew_from(published.timestamp.expires);
    let overdue: Vec<(&RoleName, _)> = read_dates(published)
        .into_iter()
        .filter(|(role, expires)| {
            let renewal = repository.config.role(role).renewal(*expires, repository.now());
            renewal >= Renewal::Overdue || *expires <= next
        })
        .collect();
    if overdue.is_empty() {
        return;
    }
    let dates = overdue.iter().map(|(role, expires)| format!("{role} (expires {})", minute(*expires)));
    let is_due = |(role, expires): &(&RoleName, _)| repository.config.role(role).is_due(*expires, repository.now());
    let force = if overdue.iter().all(is_due) { "" } else { "--force " };
    let names = arguments(published, &overdue.iter().map(|(role, _)| *role).collect::<Vec<_>>());
    let dates = some_of(dates);
    output.warning(&format!(
        "not renewed in time: {dates}; run `lastmile-repo renew {force}{names}` with the keys of these roles"
    ));
}

fn can_read_all(published: &Published) -> bool {
    let unread = || published.snapshot.roles().filter(|(role, _)| published.known(role).is_none());
    let length = || unread().map(|(_, meta)| meta.length.unwrap_or(MAX_BYTES + 1)).fold(0, u64::saturating_add);
    published.snapshot.len() <= MAX_ROLES && length() <= MAX_BYTES
}

/// Returns the expiry dates of root, snapshot, timestamp and all targets roles that have been read.
pub(super) fn read_dates(published: &Published) -> Vec<(&RoleName, DateTime<Utc>)> {
    let mut roles = vec![
        (&RoleName::ROOT, published.root.expires),
        (&RoleName::SNAPSHOT, published.snapshot.expires),
        (&RoleName::TIMESTAMP, published.timestamp.expires),
    ];
    roles.extend(published.read_roles().map(|(role, targets)| (role, targets.expires)));
    roles
}

/// Roles with equal dates and signers are reported in one line.
#[derive(PartialEq, Eq)]
struct Dates {
    expires: DateTime<Utc>,
    renew_from: DateTime<Utc>,
    /// The result of [`signers`].
    signers: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Published,
    NotPublished,
}

impl State {
    pub(super) fn of(outcome: &Outcome, run: Run) -> Self {
        match (outcome, run) {
            (Outcome::Published { .. }, Run::Real) => Self::Published,
            _ => Self::NotPublished,
        }
    }
}

/// Tells the user when the new versions of roles expire, and when and how to renew these roles. Omits timestamp and
/// snapshot, because people do not sign them.
pub(super) fn note_dates(repository: &Repository, plan: &Plan, state: State, output: &Output) {
    let names = KeyNames::of(repository);
    let mut groups: Vec<(Dates, Vec<&RoleName>)> = Vec::new();
    for document in plan.completed.all().filter(|document| !document.role.is_online()) {
        let role = &document.role;
        let ring = document.rings().required.first();
        let dates = Dates {
            expires: document.expires,
            renew_from: repository.config.role(role).renew_from(document.expires),
            signers: ring.and_then(|ring| signers(repository, ring, &names)),
        };
        match groups.iter_mut().find(|(same, _)| *same == dates) {
            Some((_, roles)) => roles.push(role),
            None => groups.push((dates, vec![role])),
        }
    }
    let when = if state == State::Published { "" } else { "Once published, " };
    for (dates, roles) in groups.iter().take(MAX_NAMED) {
        output.note(&format!("{when}{}", line(&repository.published, dates, roles)));
    }
    if groups.len() > MAX_NAMED {
        output.note("`lastmile-repo status` shows the dates of the other roles.");
    }
    if state == State::Published && !groups.is_empty() {
        output.note("`lastmile-repo status --calendar FILE` writes the renewal dates to a calendar.");
    }
}

/// Tells the user when the published version of a role expires, and when a version signed now would expire, with the
/// lifetime in `config`. Prints nothing for timestamp and snapshot, because people do not sign them.
pub(super) fn note_lifetime(repository: &mut Repository, role: &RoleName, config: &RoleConfig, output: &Output) {
    let Ok(expires) = repository.edit(Draft::default()).expires(role) else {
        // A role that exists only in the pending change has no expiry date yet.
        return;
    };
    if role.is_online() {
        return;
    }
    let names = KeyNames::of(repository);
    let ring = repository.published.key_ring(role).ok();
    let signers = ring.and_then(|ring| signers(repository, &ring, &names));
    let dates = Dates { expires, renew_from: config.renew_from(expires), signers };
    output.note(&line(&repository.published, &dates, &[role]));
    output.note(&format!("If {role} is signed now, it is valid until {}.", minute(config.expiry(repository.now()))));
}

fn line(published: &Published, dates: &Dates, roles: &[&RoleName]) -> String {
    let names = some_of(roles.iter().map(ToString::to_string));
    let (verb, them) = if roles.len() == 1 { ("is", "it") } else { ("are", "them") };
    let how = how_to_renew(&arguments(published, roles), dates.signers.as_deref());
    let (expires, from) = (minute(dates.expires), minute(dates.renew_from));
    format!("{names} {verb} valid until {expires}. Renew {them} on or after {from}: {how}.")
}

const MAX_ARGUMENTS: usize = 100;

/// Returns the arguments with which the command `renew` renews `roles`. The succinct bins of a role share one argument,
/// because there may be many. If more than [`MAX_ARGUMENTS`] arguments remain, all delegated roles share one argument.
pub(super) fn arguments(published: &Published, roles: &[&RoleName]) -> String {
    let delegations = published.read_roles().filter_map(|(_, targets)| targets.delegations.as_ref());
    let succinct: Vec<&SuccinctRoles> = delegations
        .filter_map(|delegations| match &delegations.roles {
            DelegatedRoles::Succinct(bins) => Some(bins),
            DelegatedRoles::Listed(_) => None,
        })
        .collect();
    let argument = |role: &&RoleName| match succinct.iter().find(|bins| bins.contains(role)) {
        Some(bins) => format!("{}-*", bins.name_prefix()),
        None => role.to_string(),
    };
    let mut arguments: BTreeSet<String> = roles.iter().map(argument).collect();
    if arguments.len() > MAX_ARGUMENTS {
        let top_level = roles.iter().filter(|role| RoleName::TOP_LEVEL.contains(role)).map(ToString::to_string);
        arguments = top_level.chain(["*".to_string()]).collect();
    }
    shell::arguments(&arguments)
}

/// `roles` holds the arguments of `renew`, quoted for the shell. `signers` is the result of the function [`signers`].
pub(super) fn how_to_renew(roles: &str, signers: Option<&str>) -> String {
    let signers = signers.map_or_else(String::new, |signers| format!("{signers}; "));
    format!("{signers}run `lastmile-repo renew {roles}`")
}

/// Returns `None` if this machine has enough keys of `ring` to sign. Otherwise, returns a phrase that says how many of
/// the keys must sign, and names the keys.
pub(super) fn signers(repository: &Repository, ring: &KeyRing, names: &KeyNames) -> Option<String> {
    if repository.can_sign_with(ring) {
        return None;
    }
    let keys = some_of(ring.keys().map(|(id, _)| names.shown(id)));
    Some(format!("{} of these keys must sign: {keys}", ring.threshold()))
}
