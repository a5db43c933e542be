//! The last step of commands that change a repository: publishes, stages or shows the change, and reports the result.

use lastmile_metadata::RoleName;
use serde_json::{Value, json};

use super::key_names::KeyNames;
use super::progress::Publishing;
use super::{Context, ExitStatus, Output, findings};
use crate::check::lint;
use crate::draft::Draft;
use crate::publish::batch::{self, Shared};
use crate::publish::queue::{Answer, PublishRequest};
use crate::publish::transaction::Unobserved;
use crate::report::diff;
use crate::{Error, Outcome, Plan, Repository, Signing};

/// The maximum number of names in a sentence.
const NAMED: usize = 8;

/// Shows the change and publishes or stages it; only shows it in a dry run.
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

/// Reports the change that was published or staged.
pub(super) fn report(
    repository: &Repository,
    plan: &Plan,
    outcome: &Outcome,
    output: &Output,
) -> Result<ExitStatus, Error> {
    note_void_signatures(&plan.draft, output);
    note_pending_beside(plan, outcome, output);
    repository.warnings.iter().for_each(|warning| output.warning(warning));
    let name = match &outcome {
        Outcome::Nothing => "nothing",
        Outcome::Published { .. } => "published",
        Outcome::Staged(_) => "staged",
    };
    output.data_text(&outcome_json(&diff::json(&plan.diff), false, name), &diff::text(&plan.diff))?;
    note_outcome(repository, outcome, output);
    if plan.draft.from_staged && matches!(outcome, Outcome::Staged(_)) {
        output.note("To sign the pending change, run `lastmile-repo sign`, which shows it first.");
    }
    if !plan.draft.requests.is_empty() {
        output.note(&format!("Published together with {} requests of other processes.", plan.draft.requests.len()));
    }
    if !matches!(outcome, Outcome::Nothing) {
        let found = lint::lint(&repository.published, &repository.config, &repository.keys, repository.now());
        findings::print_warnings(&found, output);
    }
    Ok(match outcome {
        Outcome::Nothing | Outcome::Published { .. } => ExitStatus::Done,
        // A script must not mistake a pending change for a published one.
        Outcome::Staged(_) => ExitStatus::Pending,
    })
}

fn outcome_json(changes: &Value, dry_run: bool, outcome: &str) -> Value {
    json!({ "changes": changes, "dry_run": dry_run, "outcome": outcome })
}

/// Publishes a request, alone or together with those of other processes.
pub(super) fn publish(context: &Context<'_>, request: &PublishRequest, output: &Output) -> Result<ExitStatus, Error> {
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

/// Notes that the change was added to the pending change, and which earlier signatures are void.
pub(super) fn note_void_signatures(draft: &Draft, output: &Output) {
    let root = draft.root.iter().map(|_| &RoleName::ROOT);
    let edited: Vec<&RoleName> =
        root.chain(draft.targets.keys()).filter(|role| draft.from_staged && !draft.prior.contains_key(role)).collect();
    if !edited.is_empty() {
        let roles = some_of(edited.into_iter().map(RoleName::to_string));
        output.note(&format!("Added to the pending change. Earlier signatures on {roles} no longer count."));
    }
}

/// Notes what becomes of the pending change that the plan does not continue.
pub(super) fn note_pending_beside(plan: &Plan, outcome: &Outcome, output: &Output) {
    if plan.pending.is_empty() {
        return;
    }
    let roles = some_of(plan.pending.iter().map(RoleName::to_string));
    match outcome {
        Outcome::Published { .. } => output.note(&format!("The pending change of {roles} stays pending.")),
        Outcome::Staged(_) => output.note(&format!("Added to the pending change of {roles}.")),
        Outcome::Nothing => {}
    }
}

/// Joins names with commas. Only the first names of a long list are shown.
pub(super) fn some_of(names: impl IntoIterator<Item = String>) -> String {
    let mut names: Vec<String> = names.into_iter().collect();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// Notes the outcome of a change for a person.
pub(super) fn note_outcome(repository: &Repository, outcome: &Outcome, output: &Output) {
    match outcome {
        Outcome::Nothing => output.note("Nothing to change."),
        Outcome::Published { seamless: true } => output.note("Published."),
        Outcome::Published { seamless: false } => output.note(
            "Published. The old keys were not available to sign too: a client in the middle of an update may fail once, and \
            succeeds when it tries again.",
        ),
        Outcome::Staged(documents) => {
            output.note("Nothing has been published. These signatures are missing:");
            let names = KeyNames::of(repository);
            for document in documents {
                for missing in document.missing() {
                    let needed = missing.describe(|id| names.get(id));
                    output.note(&format!("  {} version {} needs {needed}", document.role, document.version));
                }
            }
            output.note("Each key holder runs `lastmile-repo sign --key FILE`. Then run `lastmile-repo publish`.");
        }
    }
}
