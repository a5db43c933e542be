//! Reads this machine's clock, and warns when the clock may be wrong. The warning does not affect verification, which
//! uses the time of the clock or a time that the application passes.

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_metadata::ErrorKind;

use crate::error::Error;
use crate::event::Event;
use crate::update_context::UpdateContext;

/// The maximum difference between this machine's clock and the server's clock that causes no warning.
const TOLERANCE: TimeDelta = TimeDelta::days(1);

#[expect(clippy::disallowed_methods, reason = "the default for callers that do not specify a time")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Sends [`Event::ClockInDoubt`] if the server's clock differs from `now` by more than [`TOLERANCE`]. `now` is the time
/// of this machine's clock, and `before` is the time that this clock showed at the last refresh. If `failure` reports
/// expired metadata, also sends the event if the difference is smaller or only `before` is known, so that the user can
/// check this machine's clock.
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
        context.events.handle(&Event::ClockInDoubt { now, server, before });
    }
}

fn has_expired(error: &Error) -> bool {
    error.verdict().is_some_and(|verdict| matches!(verdict.kind, ErrorKind::Expired { .. }))
}
