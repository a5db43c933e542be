//! The commands that change roles: each edits a draft, and all end the same way.

use lastmile_client::text::printable;
use lastmile_metadata::RoleName;
use serde_json::{Value, json};

use super::args::{Bins, Delegate, Renew, Rotate, SetExpiry, SetThreshold, Undelegate};
use super::keys::{Removal, Resolved, resolve_all, resolve_removal};
use super::progress::Publishing;
use super::{Context, ExitStatus, Output};
use crate::check::lint;
use crate::config::{Config, RoleConfig};
use crate::draft::Draft;
use crate::edit::bin_advice::{Cost, Workload};
use crate::edit::bins::NewBins;
use crate::edit::delegations::{NewDelegation, Trust, hash_prefixes, patterns};
use crate::publish::batch::{self, Shared};
use crate::publish::queue::{Answer, Request};
use crate::publish::snapshot;
use crate::publish::transaction::Unobserved;
use crate::report::diff;
use crate::{Error, Outcome, Plan, Repository, Signing, names};

/// Shows what changes, and publishes or stages it — or only shows it.
pub(super) fn conclude(
    context: &Context<'_>,
    repository: &mut Repository,
    draft: Draft,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let dry_run = context.global.dry_run;
    let signing = output.spinner("signing", draft.targets.len());
    let plan = repository.plan(draft, if dry_run { Signing::Never } else { Signing::Now })?;
    signing.finish_and_clear();
    if dry_run {
        output.data_text(&outcome_json(&diff::json(&plan.diff), true, "none"), &diff::text(&plan.diff))?;
        output.note("Nothing was changed (--dry-run).");
        return Ok(ExitStatus::Done);
    }
    let mut publishing = Publishing::new(output, plan.completed.all().count());
    let outcome = repository.conclude(&plan, &mut publishing)?;
    drop(publishing);
    report(repository, &plan, &outcome, output)
}

/// Says what was published or staged.
pub(super) fn report(
    repository: &Repository,
    plan: &Plan,
    outcome: &Outcome,
    output: &Output,
) -> Result<ExitStatus, Error> {
    tell_of_staged(&plan.draft, output);
    repository.warnings.iter().for_each(|warning| output.warning(warning));
    let said = match &outcome {
        Outcome::Nothing => "nothing",
        Outcome::Published { .. } => "published",
        Outcome::Staged(_) => "staged",
    };
    output.data_text(&outcome_json(&diff::json(&plan.diff), false, said), &diff::text(&plan.diff))?;
    say(outcome, output);
    if plan.draft.from_staged && matches!(outcome, Outcome::Staged(_)) {
        output.note("The pending change is signed only with `lastmile-repo sign`, which shows it first.");
    }
    if !plan.draft.served.is_empty() {
        output.note(&format!("Published together with {} requests of other processes.", plan.draft.served.len()));
    }
    if !matches!(outcome, Outcome::Nothing) {
        for advice in lint::lint(&repository.published, &repository.config, &repository.keys) {
            output.warning(&advice);
        }
    }
    Ok(ExitStatus::Done)
}

fn outcome_json(changes: &Value, dry_run: bool, outcome: &str) -> Value {
    json!({ "changes": changes, "dry_run": dry_run, "outcome": outcome })
}

/// Publishes a request, by itself or together with those of other processes.
pub(super) fn publish(context: &Context<'_>, request: &Request, output: &Output) -> Result<ExitStatus, Error> {
    match batch::publish(request, &context.invocation, &mut Unobserved)? {
        Shared::ByUs(done) => report(&done.repository, &done.plan, &done.outcome, output),
        Shared::ByOther(Answer::Published { changes, text }) => {
            output.data_text(&outcome_json(&changes, false, "published"), &text)?;
            output.note("Published by another process together with its own request.");
            Ok(ExitStatus::Done)
        }
        Shared::ByOther(Answer::Refused(fault, text)) => Err(fault.error(text)),
    }
}

/// Whoever changes what waits should know that others may have signed it, and that it goes on with this change.
pub(super) fn tell_of_staged(draft: &Draft, output: &Output) {
    let root = draft.root.iter().map(|_| &RoleName::ROOT);
    let edited: Vec<&str> = root
        .chain(draft.targets.keys())
        .filter(|role| draft.from_staged && !draft.prior.contains_key(role))
        .map(RoleName::as_str)
        .collect();
    if !edited.is_empty() {
        output.note(&format!(
            "Added to the pending change. Earlier signatures on {} no longer count.",
            printable(&edited.join(", "))
        ));
    }
}

/// What has become of a draft, for a person.
pub(super) fn say(outcome: &Outcome, output: &Output) {
    match outcome {
        Outcome::Nothing => output.note("Nothing to change."),
        Outcome::Published { seamless: true } => output.note("Published."),
        Outcome::Published { seamless: false } => output.note(
            "Published. The old keys were not available to sign as well: a client in the middle of an update may fail once, \
             and succeeds when it tries again.",
        ),
        Outcome::Staged(documents) => {
            output.note("Nothing has been published. These signatures are missing:");
            for document in documents {
                for missing in document.missing() {
                    output.note(&format!("  {}: {missing}", document.role));
                }
            }
            output.note("Each key holder runs `lastmile-repo sign --key FILE`. Then run `lastmile-repo publish`.");
        }
    }
}

pub(super) fn delegate(context: &Context<'_>, args: &Delegate, output: &Output) -> Result<ExitStatus, Error> {
    let name = names::new_role(&args.name)?;
    let from = names::role(&args.from)?;
    let paths =
        if args.hash_prefixes.is_empty() { patterns(&args.paths)? } else { hash_prefixes(&args.hash_prefixes)? };
    let mut repository = context.open(output)?;
    let keys = resolve_all(&mut repository, &args.key)?;
    let draft = repository.staged()?;
    let trust = Trust { keys: keys.iter().map(|key| key.public.clone()).collect(), threshold: args.threshold };
    let mut edit = repository.edit(draft);
    edit.delegate(&from, NewDelegation { name: name.clone(), paths, trust, terminating: args.terminating })?;
    let mut draft = edit.finish()?;
    let mut config = repository.config.clone();
    let role = RoleConfig { threshold: args.threshold, ..RoleConfig::default_for(&name) };
    set_keys(&mut repository, &mut config, name.as_str(), role, &keys)?;
    draft.config = Some(config);
    conclude(context, &mut repository, draft, output)
}

/// Writes where the keys of a role are, as far as they are here.
fn set_keys(
    repository: &mut Repository,
    config: &mut Config,
    entry: &str,
    mut role: RoleConfig,
    keys: &[Resolved],
) -> Result<(), Error> {
    for uri in keys.iter().filter_map(|key| key.uri.clone()) {
        repository.allow_later(&uri);
        if !role.keys.contains(&uri) {
            role.keys.push(uri);
        }
    }
    config.set_role(entry, role);
    Ok(())
}

pub(super) fn undelegate(context: &Context<'_>, args: &Undelegate, output: &Output) -> Result<ExitStatus, Error> {
    let name = names::role(&args.name)?;
    let from = args.from.as_deref().map(names::role).transpose()?;
    let mut repository = context.open(output)?;
    let draft = repository.staged()?;
    let mut edit = repository.edit(draft);
    edit.undelegate(from.as_ref(), &name)?;
    let bins = format!("{}-", args.name);
    let has_bins = edit.delegated_roles()?.iter().any(|(role, _)| role.as_str().starts_with(&bins));
    let mut draft = edit.finish()?;
    let mut config = repository.config.clone();
    config.remove_role(&args.name);
    if !has_bins {
        config.remove_role(&format!("{bins}*"));
    }
    draft.config = Some(config);
    conclude(context, &mut repository, draft, output)
}

pub(super) fn bins(context: &Context<'_>, args: &Bins, output: &Output) -> Result<ExitStatus, Error> {
    let role = names::role(&args.role)?;
    let Some(bit_length) = args.bit_length else {
        return propose(context, &role, args, output);
    };
    names::new_role(&format!("{}-0", args.name_prefix))?;
    let mut repository = context.open(output)?;
    let draft = repository.staged()?;
    let mut keys = resolve_all(&mut repository, &args.key)?;
    let mut edit = repository.edit(draft);
    // Bins that are made anew keep their keys.
    let signs = edit.bins(&role)?.map_or_else(|| role.clone(), |old| old.first());
    let (of_role, threshold) = edit.trust(&signs)?;
    if keys.is_empty() {
        keys = of_role.into_iter().map(|public| Resolved { public, uri: None }).collect();
    }
    let new = NewBins {
        bit_length,
        name_prefix: args.name_prefix.clone(),
        trust: Trust {
            keys: keys.iter().map(|key| key.public.clone()).collect(),
            threshold: args.threshold.unwrap_or(if args.key.is_empty() { threshold } else { 1 }),
        },
        succinct: !args.prefixes,
    };
    let count = edit.count_targets(&role)?;
    let root = edit.root_view().clone();
    let by_version = snapshot::need_online_keys(&new.trust.keys, new.trust.threshold, &root);
    let load = Workload { targets: count as u64, bytes_per_target: 0, succinct: new.succinct, by_version };
    load.warning(bit_length).iter().for_each(|warning| output.warning(warning));
    let bar = output.bar("moving", count);
    edit.make_bins(&role, &new, &|done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    let mut draft = edit.finish()?;
    let mut config = repository.config.clone();
    let entry = format!("{}-*", args.name_prefix);
    let mut role_config = RoleConfig { threshold: new.trust.threshold, ..repository.config.role(&role) };
    if !args.key.is_empty() {
        role_config.keys.clear();
    }
    set_keys(&mut repository, &mut config, &entry, role_config, &keys)?;
    draft.config = Some(config);
    conclude(context, &mut repository, draft, output)
}

/// How many bins the role should have, and why; nothing is changed.
fn propose(context: &Context<'_>, role: &RoleName, args: &Bins, output: &Output) -> Result<ExitStatus, Error> {
    let mut repository = Repository::open(&context.global.repository, &context.invocation)?;
    let keys = resolve_all(&mut repository, &args.key)?;
    let root = repository.published.root.clone();
    let mut edit = repository.edit(Draft::default());
    let signs = edit.bins(role)?.map_or_else(|| role.clone(), |bins| bins.first());
    let (of_role, threshold) = edit.trust(&signs)?;
    let trust = match keys.is_empty() {
        true => Trust { keys: of_role, threshold: args.threshold.unwrap_or(threshold) },
        false => {
            Trust { keys: keys.into_iter().map(|key| key.public).collect(), threshold: args.threshold.unwrap_or(1) }
        }
    };
    let by_version = snapshot::need_online_keys(&trust.keys, trust.threshold, &root);
    let load = Workload::of(&mut edit, role, !args.prefixes, by_version)?;
    let proposal = load.proposal();
    let cost = |cost: Cost| json!({ "first": cost.first, "returning": cost.returning });
    let report = json!({
        "bit_length": proposal.bit_length, "targets": load.targets, "bytes_per_target": load.bytes_per_target,
        "bytes": cost(proposal.cost), "bytes_without_bins": cost(proposal.flat), "listed_by_version": by_version,
    });
    output.data_text(&report, &proposal.text(&load))?;
    if let Some(bits) = proposal.bit_length {
        output.note(&format!("Nothing was changed. Run `bins --bit-length {bits}` to create the bins."));
    }
    Ok(ExitStatus::Done)
}

pub(super) fn renew(context: &Context<'_>, args: &Renew, output: &Output) -> Result<ExitStatus, Error> {
    let mut repository = context.open(output)?;
    let mut further = Vec::new();
    for name in &args.roles {
        further.extend(repository.published.named(name)?);
    }
    let (now, config) = (repository.now(), repository.config.clone());
    // What waits for signatures goes on waiting.
    let mut edit = repository.edit(Draft::default());
    for role in [RoleName::SNAPSHOT, RoleName::TIMESTAMP].iter().chain(&further) {
        let expires = edit.expires(role)?;
        if args.force || config.role(role).is_due(expires, now) {
            edit.sign_again(role)?;
        }
    }
    let draft = edit.finish()?;
    conclude(context, &mut repository, draft, output)
}

pub(super) fn rotate(context: &Context<'_>, args: &Rotate, output: &Output) -> Result<ExitStatus, Error> {
    if args.add.is_empty() && args.remove.is_empty() {
        return Err(Error::Usage("nothing to do: give --add KEY or --remove KEY".into()));
    }
    let mut repository = context.open(output)?;
    let added = resolve_all(&mut repository, &args.add)?;
    let publics = |keys: &[Resolved]| keys.iter().map(|key| key.public.clone()).collect::<Vec<_>>();
    let roles = repository.published.expand(&args.role)?;
    let role = names::role(&args.role)?;
    let draft = repository.staged()?;
    let odd = repository.edit(draft.clone()).odd_ids(&roles)?;
    let (mut removed, mut ids) = (Vec::new(), Vec::new());
    for name in &args.remove {
        match resolve_removal(&mut repository, odd.clone(), name)? {
            Removal::Key(public) => removed.push(public),
            Removal::Odd(odd) => ids.push(odd.id),
        }
    }
    let mut config = repository.config.clone();
    let entry = config.entry_name(&role).unwrap_or(role.as_str()).to_string();
    let mut edit = repository.edit(draft);
    edit.remove_ids(&roles, &ids)?;
    edit.rotate_all(&roles, &publics(&added), &removed)?;
    let mut unused = Vec::new();
    for key in &removed {
        // Roles with one entry, such as bins, have their keys in common: the others may go on trusting it.
        let shared = entry.ends_with('*') && {
            let trusting = edit.roles_trusting(key)?;
            trusting.iter().any(|(role, _)| config.entry_name(role) == Some(entry.as_str()))
        };
        if !shared {
            unused.push(key);
        }
    }
    let mut draft = edit.finish()?;
    let mut role_config = config.role(&role);
    let gone: Vec<_> = unused.into_iter().flat_map(|key| repository.keys.confirmed_uris_of(key)).collect();
    role_config.keys.retain(|uri| !gone.contains(&uri.to_string().as_str()));
    set_keys(&mut repository, &mut config, &entry, role_config, &added)?;
    draft.config = Some(config);
    conclude(context, &mut repository, draft, output)
}

pub(super) fn set_threshold(context: &Context<'_>, args: &SetThreshold, output: &Output) -> Result<ExitStatus, Error> {
    let role = names::role(&args.role)?;
    let mut repository = context.open(output)?;
    let roles = repository.published.expand(&args.role)?;
    let draft = repository.staged()?;
    let mut edit = repository.edit(draft);
    edit.set_threshold_of_all(&roles, args.threshold)?;
    let mut draft = edit.finish()?;
    let mut config = repository.config.clone();
    let entry = config.entry_name(&role).unwrap_or(role.as_str()).to_string();
    config.set_role(&entry, RoleConfig { threshold: args.threshold, ..config.role(&role) });
    draft.config = Some(config);
    conclude(context, &mut repository, draft, output)
}

pub(super) fn set_expiry(context: &Context<'_>, args: &SetExpiry, output: &Output) -> Result<ExitStatus, Error> {
    let role = names::role(&args.role)?;
    let mut repository = context.open(output)?;
    let draft = repository.staged()?;
    // A slip of the pen would change nothing, and nobody would notice.
    match args.role.ends_with('*') {
        true => repository.published.expand(&args.role).map(drop)?,
        false => repository.edit(draft).trust(&role).map(drop)?,
    }
    let mut config = repository.config.clone();
    let entry = config.entry_name(&role).unwrap_or(role.as_str()).to_string();
    let mut role_config = config.role(&role);
    let before = role_config.expires_days;
    role_config.set_expires_days(args.days);
    config.set_role(&entry, role_config);
    let dry_run = context.global.dry_run;
    if !dry_run {
        repository.layout.replace(&repository.layout.config(), config.text().as_bytes(), 0o644)?;
    }
    let report = json!({ "role": args.role, "expires_days": args.days, "before": before, "dry_run": dry_run });
    output.data_text(&report, &format!("{role}: expires after {} days (was: {before})", args.days))?;
    output.note("The new lifetime takes effect at the next signature; `lastmile-repo renew --force ROLE` signs now.");
    Ok(ExitStatus::Done)
}
