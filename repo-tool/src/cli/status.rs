//! `status`: show versions, expiry dates, keys, and the roles that are due for renewal.

use lastmile_cli_support::MonitorState;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::text::printable;
use serde_json::json;

use super::context::Context;
use super::counts::{NAMED, counted, some_of};
use super::findings;
use super::key_names::KeyNames;
use super::missing::missing_lines;
use crate::error::chain;
use crate::publish::transaction;
use crate::report::status::{RoleStatus, Status};
use crate::{Error, Renewal, Repository};

/// The options of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit code 0 means that nothing needs your attention yet, but roles may be due for renewal. Exit code 7 means that half of a
role's renewal period has passed, a role has expired, a change is pending, or a publication was interrupted.

With --monitor, the exit codes are 0 for OK, 1 for a warning, 2 for critical (a role has expired, or at most a quarter of its
renewal period is left) and 3 for unknown.

Example: lastmile-repo status || mail -s 'repository needs you' me")]
pub(crate) struct Args {
    /// Print one line, and exit with 0, 1, 2 or 3 as monitoring systems expect.
    #[arg(long)]
    pub(crate) monitor: bool,
}

pub(super) fn status(context: &Context<'_>, args: &Args, output: &Output) -> Result<ExitStatus, Error> {
    let mut repository = Repository::open(&context.global.repository, &context.invocation)?;
    let status = Status::of(&mut repository)?;
    if args.monitor {
        return monitor(&status, output);
    }
    let mut text = String::new();
    for role in &status.roles {
        text += &line(role, &repository);
    }
    for policy in &status.policies {
        text += &format!("policy: {}\n", policy.text());
    }
    let names = KeyNames::of(&repository);
    let pending = status.pending.iter().map(|it| (it.role.clone(), it.version, it.missing.clone()));
    for line in missing_lines(pending, &names) {
        text += &match line.needed {
            Some(needed) => {
                format!("pending: {} {needed}. They run: lastmile-repo sign --key FILE\n", line.documents)
            }
            None => format!("pending: {} all signatures; run `lastmile-repo publish`\n", line.documents),
        };
    }
    for interrupted in transaction::interrupted(&repository.layout)? {
        text += &format!("{}\n", interrupted.advice());
    }
    output.data_text(&status.json(), &text)?;
    if !status.pinned {
        output.warning(&format!(
            "the root of this repository (SHA-256 {}) is not pinned, so you cannot sign content for it: compare the SHA-256 with \
             the one that the owners publish, then pass it with --root-sha256",
            repository.digest
        ));
    }
    findings::print_warnings(&status.findings, output);
    let due = status.roles.iter().filter(|role| role.renewal == Renewal::Due);
    let due: Vec<String> = due.map(|role| printable(&role.name)).collect();
    if !due.is_empty() {
        output.note(&format!(
            "Due for renewal: {}. Run `lastmile-repo renew` for timestamp and snapshot, and `lastmile-repo renew ROLE` for \
             other roles.",
            some_of(due)
        ));
    }
    Ok(if status.needs_attention() { ExitStatus::Findings } else { ExitStatus::Done })
}

/// Prints one line for a monitoring system, and returns the exit code that the system expects.
fn monitor(status: &Status, output: &Output) -> Result<ExitStatus, Error> {
    let urgent = status.most_urgent().unwrap_or(Renewal::Later);
    let state = if urgent >= Renewal::Urgent {
        MonitorState::Critical
    } else if status.needs_attention() {
        MonitorState::Warning
    } else {
        MonitorState::Ok
    };
    let mut reasons = Vec::new();
    for role in status.roles.iter().filter(|role| role.renewal >= Renewal::Overdue) {
        let expires = role.expires.format("%Y-%m-%d %H:%M UTC");
        let verb = if role.renewal == Renewal::Expired { "expired" } else { "was not renewed and expires" };
        reasons.push(format!("{} {verb} {expires}", printable(&role.name)));
    }
    if !status.pending.is_empty() {
        let pending = some_of(status.pending.iter().map(|document| document.role.to_string()));
        reasons.push(format!("a change is pending ({pending})"));
    }
    if status.interrupted {
        reasons.push("a publication was interrupted".to_string());
    }
    if reasons.is_empty()
        && let Some(first) = status.roles.iter().min_by_key(|role| role.expires)
    {
        let expires = first.expires.format("%Y-%m-%d %H:%M UTC");
        reasons.push(format!("{} is the first role to expire, {expires}", printable(&first.name)));
    }
    let json = json!({ "state": name(state), "reasons": reasons });
    let more = reasons.len().saturating_sub(NAMED);
    reasons.truncate(NAMED);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    output.data_text(&json, &answer(state, &reasons.join("; ")))?;
    Ok(state.into())
}

/// Tells a monitoring system that the status could not be determined.
pub(super) fn unknown(error: &Error, output: &Output) -> ExitStatus {
    let reason = printable(&chain(error));
    let state = MonitorState::Unknown;
    let json = json!({ "state": name(state), "reasons": [reason] });
    // If the line cannot be written, the exit status still reports the state.
    let _ = output.data_text(&json, &answer(state, &reason));
    state.into()
}

fn answer(state: MonitorState, reasons: &str) -> String {
    format!("{}: {}\n", name(state), reasons.replace('\n', " "))
}

fn name(state: MonitorState) -> &'static str {
    match state {
        MonitorState::Ok => "OK",
        MonitorState::Warning => "WARNING",
        MonitorState::Critical => "CRITICAL",
        MonitorState::Unknown => "UNKNOWN",
    }
}

fn line(role: &RoleStatus, repository: &Repository) -> String {
    let days = counted((role.expires - repository.now()).num_days(), "day");
    let state = match role.renewal {
        Renewal::Expired => "EXPIRED".to_string(),
        Renewal::Overdue | Renewal::Urgent => format!("OVERDUE, expires in {days}"),
        Renewal::Due => format!("due, expires in {days}"),
        Renewal::Later => format!("expires in {days}"),
    };
    let mut text = format!(
        "{:<12} version {:<5} {state}, {} ({} of {} keys)\n",
        printable(&role.name),
        role.version,
        role.expires.format("%Y-%m-%d %H:%M UTC"),
        role.threshold,
        role.keys.len()
    );
    for key in &role.keys {
        let place = key.uri.as_deref().map_or("not on this machine".to_string(), printable);
        let id: String = key.id.chars().take(8).collect();
        text += &format!("             {} {} {place}\n", printable(&id), key.keytype);
    }
    for odd in &role.odd {
        text += &format!("             {odd}\n");
    }
    text
}
