//! Writes date-times (TUF specification 4.2.3).

use alloc::string::String;

use chrono::{DateTime, SecondsFormat, Utc};

/// Formats a date-time as TUF specification 4.2.3 requires: in UTC, with whole seconds and the suffix `Z`.
#[must_use]
pub fn format_time(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
