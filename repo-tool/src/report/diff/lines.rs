//! The lines of text that describe the changes to a role.

use lastmile_client::text::printable;

use super::role_diff::Sign;

/// Control characters are escaped.
#[derive(Default)]
pub(super) struct Lines(pub(super) Vec<(Sign, String)>);

impl Lines {
    pub(super) fn push(&mut self, sign: Sign, line: &str) {
        self.0.push((sign, printable(line)));
    }

    /// Adds a line if the value was added, removed or changed.
    pub(super) fn compare(&mut self, before: Option<String>, after: Option<String>) {
        match (before, after) {
            (None, Some(after)) => self.push(Sign::Added, &after),
            (Some(before), None) => self.push(Sign::Removed, &before),
            (Some(before), Some(after)) if before != after => {
                self.push(Sign::Changed, &format!("{after} (was: {before})"));
            }
            _ => {}
        }
    }
}
