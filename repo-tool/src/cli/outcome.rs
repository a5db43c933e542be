//! The last step of commands that change a repository: publishes, stages or shows the change, and reports the result.

use lastmile_attest::Refused;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_metadata::RoleName;
use serde_json::{Value, json};

use super::context::Context;
use super::counts::{counted, some_of};
use super::dates::{State, note_dates, warn_of_overdue};
use super::exchange::{how_to_publish, pending_folder};
use super::findings;
use super::global::Run;
use super::key_names::KeyNames;
use super::missing::missing_lines;
use super::progress::Publishing;
use crate::check::lint;
use crate::draft::Draft;
use crate::publish::batch::{self, Shared};
use crate::publish::observer::Unobserved;
use crate::publish::queue::{Answer, PublishRequest};
use crate::report::diff;
use crate::{Error, Outcome, Plan, Repository, Signing};

/// Publishes or stages the change, reports it, and warns about roles that are overdue. A dry run checks and reports the
/// change without writing anything.
pub(super) fn conclude(
    context: &Context<'_>,
    repository: &mut Repository,
    draft: Draft,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let status = conclude_renewal(context, repository, draft, output)?;
    if !context.run().is_dry() {
        warn_of_overdue(context, repository, output);
    }
    Ok(status)
}

/// Like [`conclude`], but does not warn about overdue roles. `renew` calls this function, because it reports these
/// roles itself.
pub(super) fn conclude_renewal(
    context: &Context<'_>,
    repository: &mut Repository,
    draft: Draft,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let signing = output.spinner("signing", draft.targets.len());
    let plan = repository.plan(draft, Signing::Now)?;
    signing.finish_and_clear();
    let outcome = carry_out(context, repository, &plan, output)?;
    report(repository, &plan, &outcome, context.run(), output)
}

pub(super) fn carry_out(
    context: &Context<'_>,
    repository: &mut Repository,
    plan: &Plan,
    output: &Output,
) -> Result<Outcome, Error> {
    match context.run() {
        Run::Dry => repository.preview(plan),
        Run::Real => repository.conclude(plan, &mut Publishing::new(output, plan.completed.all().count())),
    }
}

pub(super) fn report(
    repository: &Repository,
    plan: &Plan,
    outcome: &Outcome,
    run: Run,
    output: &Output,
) -> Result<ExitStatus, Error> {
    note_pending(plan, outcome, run, output);
    repository.warnings.iter().for_each(|warning| output.warning_lines(warning.lines()));
    let mut document = outcome_json(&diff::json(&plan.diff), run, name(outcome));
    let refused = refused_packages(outcome);
    if let (false, Some(members)) = (refused.is_empty(), document.as_object_mut()) {
        members.insert("refused_from_now_on".to_string(), refused.iter().map(refused_json).collect());
    }
    output.report(&document, diff::text(&plan.diff).lines())?;
    note_outcome(repository, outcome, run, output);
    for package in refused {
        let (path, reason) = (&package.path, package.reason());
        output.warning(&match run {
            Run::Real => format!("clients refuse `{path}` from now on: {reason}"),
            Run::Dry => format!("clients would refuse `{path}`: {reason}"),
        });
    }
    if plan.draft.from_staged && matches!(outcome, Outcome::Staged(_)) && !run.is_dry() {
        output.note("To sign the pending change, run `lastmile-repo sign`, which shows it first.");
    }
    if !plan.draft.requests.is_empty() {
        let others = counted(plan.draft.requests.len(), "change");
        output.note(&format!("Published together with {others} from other processes."));
    }
    if !matches!(outcome, Outcome::Nothing) {
        note_dates(repository, plan, State::of(outcome, run), output);
        let found = lint::lint(&repository.published, &repository.config, &repository.keys, repository.now());
        findings::print_warnings(&found, output);
    }
    Ok(status(outcome))
}

/// Returns the packages that clients accepted before this publication, but refuse from now on.
fn refused_packages(outcome: &Outcome) -> &[Refused] {
    match outcome {
        Outcome::Published { refused, .. } => refused,
        Outcome::Nothing | Outcome::Staged(_) => &[],
    }
}

pub(super) fn refused_json(refused: &Refused) -> Value {
    json!({
        "path": refused.path.as_str(), "role": refused.origin.to_string(), "rule": refused.rule.as_deref().unwrap_or("policy"), "wanted": refused.wanted,
        "found": refused.found,
    })
}

/// A pending change has its own exit status, so that scripts do not treat the change as published.
pub(super) fn status(outcome: &Outcome) -> ExitStatus {
    match outcome {
        Outcome::Nothing | Outcome::Published { .. } => ExitStatus::Done,
        Outcome::Staged(_) => ExitStatus::Pending,
    }
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Nothing => "nothing",
        Outcome::Published { .. } => "published",
        Outcome::Staged(_) => "staged",
    }
}

fn outcome_json(changes: &Value, run: Run, outcome: &str) -> Value {
    json!({ "changes": changes, "dry_run": run.is_dry(), "outcome": outcome })
}

/// Publishes the change in a [`PublishRequest`], alone or together with the changes of other processes.
pub(super) fn publish(context: &Context<'_>, request: &PublishRequest, output: &Output) -> Result<ExitStatus, Error> {
    match batch::publish(request, &context.invocation, &mut Unobserved)? {
        Shared::ByUs(mut done) => {
            let status = report(&done.repository, &done.plan, &done.outcome, Run::Real, output)?;
            warn_of_overdue(context, &mut done.repository, output);
            Ok(status)
        }
        Shared::ByOther(Answer::Published { changes, text }) => {
            output.report(&outcome_json(&changes, Run::Real, "published"), text.lines())?;
            output.note("Another process published this change together with its own change.");
            Ok(ExitStatus::Done)
        }
        Shared::ByOther(Answer::Refused(fault, text)) => Err(fault.error(text)),
    }
}

/// Tells the user whether the change was added to the pending change, and which earlier signatures no longer count. If
/// the change was published instead, names the roles that are still part of the pending change.
pub(super) fn note_pending(plan: &Plan, outcome: &Outcome, run: Run, output: &Output) {
    let added = if run.is_dry() { "This would be added" } else { "Added" };
    let draft = &plan.draft;
    let edited = draft.roles().filter(|role| draft.from_staged && !draft.prior.contains_key(role));
    let edited = some_of(edited.map(RoleName::to_string));
    if !edited.is_empty() {
        output.note(&format!("{added} to the pending change. Earlier signatures on {edited} no longer count."));
    }
    let beside = some_of(plan.pending.iter().map(RoleName::to_string));
    match outcome {
        _ if beside.is_empty() => {}
        Outcome::Published { .. } => output.note(&format!("An earlier change to {beside} is still pending.")),
        Outcome::Staged(_) => output.note(&format!("{added} to the pending change to {beside}.")),
        Outcome::Nothing => {}
    }
}

pub(super) fn note_outcome(repository: &Repository, outcome: &Outcome, run: Run, output: &Output) {
    if run.is_dry() {
        output.note("Nothing was changed (--dry-run).");
    }
    let verb = if run.is_dry() { "The change would be published." } else { "Published." };
    match outcome {
        Outcome::Nothing => output.note("Nothing to change."),
        Outcome::Published { seamless: true, .. } => output.note(verb),
        Outcome::Published { seamless: false, .. } => output.note(&format!(
            "{verb} The old keys {} the new files, because these keys are not on this machine. A client that is \
             updating at {} moment may fail once, but its next attempt succeeds.",
            if run.is_dry() { "would not sign" } else { "did not sign" },
            if run.is_dry() { "that" } else { "this" },
        )),
        Outcome::Staged(documents) if documents.iter().all(|document| document.role.is_online()) && !run.is_dry() => {
            output
                .despite_quiet()
                .note("Nothing has been published, because this machine lacks private keys of snapshot or timestamp.");
            output.note_lines(how_to_publish(repository));
        }
        Outcome::Staged(documents) => {
            let reason = output.despite_quiet();
            reason.note(match run {
                Run::Real => "Nothing has been published. These signatures are missing:",
                Run::Dry => "The change would be pending, not published. These signatures would be missing:",
            });
            let names = KeyNames::of(repository);
            let lacking = documents.iter().map(|it| (it.role.clone(), it.version, it.missing()));
            for line in missing_lines(lacking.filter(|(_, _, missing)| !missing.is_empty()), &names) {
                reason.note(&format!("  {} {}", line.documents, line.needed.unwrap_or_default()));
            }
            if !run.is_dry() {
                output.note("Each key holder runs `lastmile-repo sign --key FILE`. Then run `lastmile-repo publish`.");
                output.note(&format!(
                    "On another machine, a key holder runs `lastmile-repo sign --from FOLDER` with a copy of the folder {}.",
                    pending_folder(repository)
                ));
            }
        }
    }
}
