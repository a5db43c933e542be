//! The output for a monitoring system: one line and an exit code.

use lastmile_cli_support::{ExitStatus, MonitorState, Output};
use lastmile_client::text::printable;
use serde_json::json;

use crate::Error;
use crate::error::chain;
use crate::report::counts::NAMED;
use crate::report::overview::{Overview, state_name};

/// Prints one line for a monitoring system, and returns the exit code that the system expects.
pub(super) fn monitor(overview: &Overview, output: &Output) -> Result<ExitStatus, Error> {
    let state = overview.state();
    let mut reasons = overview.reasons();
    let json = json!({ "state": state_name(state), "reasons": reasons });
    let more = reasons.len().saturating_sub(NAMED);
    reasons.truncate(NAMED);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    output.data_text(&json, &answer(state, &reasons.join("; ")))?;
    Ok(state.into())
}

/// Reports to a monitoring system that the status could not be determined.
pub(in crate::cli) fn unknown(error: &Error, output: &Output) -> ExitStatus {
    let reason = printable(&chain(error));
    let state = MonitorState::Unknown;
    let json = json!({ "state": state_name(state), "reasons": [reason] });
    // If the line cannot be written, the exit status still reports the state.
    let _ = output.data_text(&json, &answer(state, &reason));
    state.into()
}

fn answer(state: MonitorState, reasons: &str) -> String {
    format!("{}: {}\n", state_name(state), reasons.replace('\n', " "))
}
