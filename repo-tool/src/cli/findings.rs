//! Prints findings in human-readable form on standard error.

use lastmile_cli_support::Output;

use crate::check::finding::{Finding, Severity, lines};

pub(super) fn print_warnings<'a>(findings: impl IntoIterator<Item = &'a Finding>, output: &Output) {
    for line in lines_with(Severity::Warning, findings) {
        output.warning(&line);
    }
}

/// Commands that change a repository do not print notes, because the user should then see only findings that need
/// action.
pub(super) fn print_notes<'a>(findings: impl IntoIterator<Item = &'a Finding>, output: &Output) {
    for line in lines_with(Severity::Note, findings) {
        output.note(&format!("note: {line}"));
    }
}

fn lines_with<'a>(severity: Severity, findings: impl IntoIterator<Item = &'a Finding>) -> impl Iterator<Item = String> {
    lines(findings).into_iter().filter(move |(found, _)| *found == severity).map(|(_, line)| line)
}
