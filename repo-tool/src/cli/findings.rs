//! Prints findings in human-readable form on standard error.

use lastmile_cli_support::Output;

use crate::check::finding::{Finding, Severity, lines};

/// Prints warnings but not notes: after a change, the user should see only findings that need action.
pub(super) fn print_warnings<'a>(findings: impl IntoIterator<Item = &'a Finding>, output: &Output) {
    print(findings.into_iter().filter(|finding| finding.severity() > Severity::Note), output);
}

/// Prints warnings and notes, but not problems, because a command prints the problems as part of its result.
pub(super) fn print<'a>(findings: impl IntoIterator<Item = &'a Finding>, output: &Output) {
    for (severity, line) in lines(findings) {
        match severity {
            Severity::Note => output.note(&format!("note: {line}")),
            Severity::Warning => output.warning(&line),
            Severity::Problem => {}
        }
    }
}
