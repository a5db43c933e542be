//! The renewal dates of roles as a calendar (RFC 5545).

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use lastmile_client::text::printable;

use crate::files::own;
use crate::report::overview::{Overview, minute};
use crate::report::roles::RoleStatus;
use crate::shell;

/// The maximum length of a line in octets, not counting the line break (RFC 5545, section 3.1).
const MAX_LINE_LENGTH: usize = 75;

/// Returns a calendar with one event for each role that people renew. The calendar does not contain timestamp and
/// snapshot, because a scheduled job renews them.
pub(crate) fn text(overview: &Overview) -> String {
    let mut calendar = Lines(String::new());
    calendar.line("BEGIN:VCALENDAR");
    calendar.line("VERSION:2.0");
    calendar.line("PRODID:-//lastmile//lastmile-repo//EN");
    let name = escaped(&overview.repository);
    calendar.line(&format!("X-WR-CALNAME:Renewals of {name}"));
    for role in overview.roles_by_name().iter().filter(|role| !matches!(role.name.as_str(), "timestamp" | "snapshot")) {
        event(&mut calendar, overview, role);
    }
    calendar.line("END:VCALENDAR");
    calendar.0
}

fn event(calendar: &mut Lines, overview: &Overview, role: &RoleStatus) {
    let repository = escaped(&overview.repository);
    let name = escaped(&role.name);
    calendar.line("BEGIN:VEVENT");
    // The UID stays the same when the role is renewed, so that a calendar program moves the event to the new date.
    calendar.line(&format!("UID:{}@lastmile-repo", own::name_of(&format!("{}\n{}", overview.repository, role.name))));
    calendar.line(&format!("DTSTAMP:{}", date_time(overview.checked)));
    calendar.line(&format!("SEQUENCE:{}", role.version.get().min(i32::MAX as u64)));
    calendar.line(&format!("DTSTART:{}", date_time(role.renew_from)));
    let expires = minute(role.expires);
    calendar.line(&format!("SUMMARY:Renew {name} of {repository} before {expires}"));
    calendar.line(&format!("DESCRIPTION:{}", escaped(&description(role))));
    calendar.line("TRANSP:TRANSPARENT");
    alarm(calendar, "TRIGGER:PT0S", &format!("Renew {name} of {repository}"));
    // The role is overdue when half of its renewal period has passed.
    let overdue = role.renew_from + (role.expires - role.renew_from) / 2;
    let trigger = format!("TRIGGER;VALUE=DATE-TIME:{}", date_time(overdue));
    alarm(calendar, &trigger, &format!("{name} of {repository} is overdue"));
    calendar.line("END:VEVENT");
}

fn alarm(calendar: &mut Lines, trigger: &str, text: &str) {
    calendar.line("BEGIN:VALARM");
    calendar.line("ACTION:DISPLAY");
    calendar.line(trigger);
    calendar.line(&format!("DESCRIPTION:{text}"));
    calendar.line("END:VALARM");
}

/// Describes the keys that can renew a role, and the command to run.
fn description(role: &RoleStatus) -> String {
    let mut text = format!("{} of these keys must sign:\n", role.threshold);
    for key in &role.keys {
        let id: String = key.id.chars().take(8).collect();
        let _ = writeln!(text, "{} {}", printable(&id), key.keytype);
    }
    text + &format!("Run: lastmile-repo renew {}", shell::arguments([&role.name]))
}

/// Formats a time in UTC (RFC 5545, section 3.3.5).
fn date_time(time: DateTime<Utc>) -> String {
    time.format("%Y%m%dT%H%M%SZ").to_string()
}

/// Escapes text (RFC 5545, section 3.3.11). A text value may contain line breaks and tabs, but no other control
/// characters. Therefore this function replaces control characters other than line breaks with visible escape
/// sequences.
fn escaped(text: &str) -> String {
    let escape = |line: &str| printable(line).replace('\\', "\\\\").replace(';', "\\;").replace(',', "\\,");
    text.split('\n').map(escape).collect::<Vec<_>>().join("\\n")
}

struct Lines(String);

impl Lines {
    /// Adds a line. Folds a long line between characters (RFC 5545, section 3.1).
    fn line(&mut self, text: &str) {
        let mut length = 0;
        for character in text.chars() {
            if length + character.len_utf8() > MAX_LINE_LENGTH {
                self.0 += "\r\n ";
                length = 1;
            }
            self.0.push(character);
            length += character.len_utf8();
        }
        self.0 += "\r\n";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_long_lines_are_folded_between_characters() {
        assert_eq!(escaped("a;b,c\\d\ne\u{7}"), "a\\;b\\,c\\\\d\\ne\\\\u{7}");
        let mut lines = Lines(String::new());
        let long = "ö".repeat(100);
        lines.line(&long);
        assert!(lines.0.split("\r\n").all(|line| line.len() <= MAX_LINE_LENGTH), "{}", lines.0);
        assert_eq!(lines.0.replace("\r\n ", ""), format!("{long}\r\n"));
        let mut lines = Lines(String::new());
        lines.line(&"a".repeat(75));
        assert_eq!(lines.0.lines().count(), 1);
    }
}
