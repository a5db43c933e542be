//! The output for a monitoring system: one line and an exit code.

use lastmile_cli_support::{ExitStatus, MonitorState, Output};
use lastmile_client::text::printable;
use serde_json::json;

use crate::Error;
use crate::error::chain;
use crate::report::counts::MAX_NAMED;
use crate::report::overview::{Overview, state_name};

/// Prints one line for a monitoring system, and returns the exit code that the system expects.
pub(super) fn monitor(overview: &Overview, output: &Output) -> Result<ExitStatus, Error> {
    let state = overview.state();
    let json = json!({ "state": state_name(state), "reasons": overview.reasons() });
    output.data_text(&json, &summary(overview))?;
    Ok(state.into())
}

/// Returns the state and the reasons for it in one line.
pub(super) fn summary(overview: &Overview) -> String {
    let mut reasons = overview.reasons();
    let more = reasons.len().saturating_sub(MAX_NAMED);
    reasons.truncate(MAX_NAMED);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    line(overview.state(), &reasons.join("; "))
}

/// Reports to a monitoring system that the status could not be determined.
pub(in crate::cli) fn unknown(error: &Error, output: &Output) -> ExitStatus {
    let reason = printable(&chain(error));
    let state = MonitorState::Unknown;
    let json = json!({ "state": state_name(state), "reasons": [reason] });
    // If the line cannot be written, the exit status still reports the state.
    let _ = output.data_text(&json, &line(state, &reason));
    state.into()
}

fn line(state: MonitorState, reasons: &str) -> String {
    format!("{}: {}", state_name(state), reasons.replace('\n', " "))
}
