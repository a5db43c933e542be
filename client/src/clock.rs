//! The clock, when there is reason to doubt it. Nothing is decided here: metadata is judged by what the clock says,
//! and a person is told what else is known about the time.

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_metadata::ErrorKind;

use crate::error::Error;
use crate::event::Notice;
use crate::update_context::UpdateContext;

/// By so much the clocks of two machines may differ before anybody is told.
const TOLERANCE: TimeDelta = TimeDelta::days(1);

/// What the clock says.
#[expect(clippy::disallowed_methods, reason = "whoever gives no time means this one")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Tells what is known about the time, where something has expired by a clock that shows `now`, or where the server's
/// clock shows something quite different. `before` is what this clock showed at an earlier refresh.
pub(crate) fn warn_if_clock_wrong(
    context: &UpdateContext,
    now: DateTime<Utc>,
    before: Option<DateTime<Utc>>,
    failure: Option<&Error>,
) {
    let server = context.fetch.server_time();
    let is_expired = failure.is_some_and(has_expired) && (before.is_some() || server.is_some());
    let differs = server.is_some_and(|server| (server - now).abs() > TOLERANCE);
    if is_expired || differs {
        context.notify.notify(&Notice::ClockInDoubt { now, server, before });
    }
}

fn has_expired(error: &Error) -> bool {
    error.verdict().is_some_and(|verdict| matches!(verdict.kind, ErrorKind::Expired { .. }))
}
