//! Prints findings for people, on standard error.

use super::Output;
use crate::check::finding::{Finding, Severity, lines};

/// Prints warnings, without notes: after a change, people should read only what asks for an action.
pub(super) fn print_warnings<'a>(findings: impl IntoIterator<Item = &'a Finding>, output: &Output) {
    print(findings.into_iter().filter(|finding| finding.severity() > Severity::Note), output);
}

/// Prints warnings and notes. Problems are part of the result of a command, so it prints them itself.
pub(super) fn print<'a>(findings: impl IntoIterator<Item = &'a Finding>, output: &Output) {
    for (severity, line) in lines(findings) {
        match severity {
            Severity::Note => output.note(&format!("note: {line}")),
            Severity::Warning => output.warning(&line),
            Severity::Problem => {}
        }
    }
}
