//! The changes to a role, as text and as JSON.

use lastmile_client::text::printable;
use lastmile_metadata::{RoleName, Targets};
use serde_json::{Value, json};

use super::unusual::Unusual;
use crate::Error;
use crate::role_content::RoleContent;

/// The maximum number of delegated roles in [`text`], and of lines for each role. [`full_text`] and [`json()`] show
/// everything.
const SHOWN: usize = 20;

/// The kind of change that a line describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Something is added.
    Added,
    /// Something is removed.
    Removed,
    /// Something is changed.
    Changed,
}

impl Sign {
    fn character(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Changed => '~',
        }
    }
}

/// The changes to one role, or to many similar roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleDiff {
    /// The name of the role, or the common prefix of many roles followed by `*`.
    pub role: String,
    /// A title with the versions and the expiry date, such as `version 3 → 4, expires 2030-01-31`.
    pub title: String,
    /// The lines that describe the changes.
    pub lines: Vec<(Sign, String)>,
    /// Lines about entries of the snapshot or timestamp that change only because other files change. Only
    /// [`full_text`], which signers see, shows these lines.
    pub routine: Vec<(Sign, String)>,
    /// How many targets change, or `None` if `lines` describes each changed target.
    pub many: Option<Many>,
    /// Unknown members and unusable keys, which are signed only if the user accepts them by name. `lines` also
    /// describes these members and keys.
    pub unusual: Vec<Unusual>,
}

/// How many targets change in a group of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Many {
    /// The number of roles.
    pub roles: usize,
    /// The number of added targets.
    pub added: usize,
    /// The number of changed targets.
    pub changed: usize,
    /// The number of removed targets.
    pub removed: usize,
}

impl RoleDiff {
    pub(super) fn new(role: String, title: String) -> Self {
        let lines = Vec::new();
        let routine = Vec::new();
        let unusual = Vec::new();
        Self { role, title, lines, routine, many: None, unusual }
    }

    fn is_top_level(&self) -> bool {
        RoleName::TOP_LEVEL.iter().any(|role| role.as_str() == self.role)
    }

    /// Shows at most `shown` lines.
    fn text(&self, shown: usize) -> String {
        let counted = self.many.map(Many::text).unwrap_or_default();
        let mut text = format!("{}: {}\n{counted}", printable(&self.role), self.title);
        for (sign, line) in self.lines.iter().take(shown) {
            text += &format!("  {} {line}\n", sign.character());
        }
        if self.lines.len() > shown {
            text += &format!("  … and {} more\n", self.lines.len() - shown);
        }
        text
    }

    /// `other` has the same name prefix as this role.
    pub(super) fn add(&mut self, other: Self) {
        self.lines.extend(other.lines);
        self.unusual.extend(other.unusual);
        let sum = self.many.get_or_insert_default();
        let other = other.many.unwrap_or_default();
        sum.roles += other.roles;
        (sum.added, sum.changed, sum.removed) =
            (sum.added + other.added, sum.changed + other.changed, sum.removed + other.removed);
    }
}

impl Many {
    pub(super) fn count(&mut self, before: Option<&Targets>, after: &RoleContent) -> Result<(), Error> {
        self.roles += 1;
        let Some(before) = before.filter(|before| !before.is_empty()) else {
            self.added += after.len();
            return Ok(());
        };
        let mut kept = 0;
        for target in after.read()?.targets() {
            match before.target(&target.path) {
                Some(old) => {
                    kept += 1;
                    self.changed += usize::from(old != target);
                }
                None => self.added += 1,
            }
        }
        self.removed += before.len() - kept;
        Ok(())
    }

    fn text(self) -> String {
        let counted = [("+", self.added), ("~", self.changed), ("-", self.removed)];
        let lines = counted.iter().filter(|(_, count)| *count > 0);
        lines.map(|(sign, count)| format!("  {sign} {count} targets\n")).collect()
    }
}

/// Returns the name under which similar roles are described together, such as `bin-*` for bins.
pub(super) fn family_of(role: &str) -> String {
    role.rsplit_once('-').map_or_else(|| role.to_string(), |(start, _)| format!("{start}-*"))
}

/// Formats the changes as text, and summarizes long lists. Control characters in names are escaped.
#[must_use]
pub fn text(diffs: &[RoleDiff]) -> String {
    let (delegated, top_level): (Vec<&RoleDiff>, Vec<&RoleDiff>) = diffs.iter().partition(|diff| !diff.is_top_level());
    let (root, others): (Vec<&RoleDiff>, Vec<&RoleDiff>) = top_level.into_iter().partition(|diff| diff.role == "root");
    let mut text: String = root.into_iter().map(|diff| diff.text(SHOWN)).collect();
    let families: Vec<&[&RoleDiff]> =
        delegated.chunk_by(|one, next| family_of(&one.role) == family_of(&next.role)).collect();
    let mut shown = 0;
    let mut left = 0;
    for family in families {
        if family.len() > SHOWN {
            text += &summed_up(family);
            continue;
        }
        for diff in family {
            if shown < SHOWN {
                text += &diff.text(SHOWN);
                shown += 1;
            } else {
                left += 1;
            }
        }
    }
    if left > 0 {
        let roles = if left == 1 { "role" } else { "roles" };
        text += &format!("… and {left} more {roles}\n");
    }
    text + &others.into_iter().map(|diff| diff.text(SHOWN)).collect::<String>()
}

fn summed_up(family: &[&RoleDiff]) -> String {
    let Some((first, others)) = family.split_first() else { return String::new() };
    let title = if others.iter().all(|other| other.title == first.title) {
        format!(", each {}", first.title)
    } else {
        String::new()
    };
    let mut text = format!("{}: {} roles{title}\n", printable(&family_of(&first.role)), family.len());
    let lines = family.iter().flat_map(|diff| diff.lines.iter().map(move |line| (&diff.role, line)));
    for (role, (sign, line)) in lines.clone().take(SHOWN) {
        text += &format!("  {} {}: {line}\n", sign.character(), printable(role));
    }
    if let Some(more) = lines.count().checked_sub(SHOWN).filter(|more| *more > 0) {
        text += &format!("  … and {more} more\n");
    }
    text
}

/// Formats the complete changes as text, for people who are about to sign.
#[must_use]
pub fn full_text(diffs: &[RoleDiff]) -> String {
    let routine = |diff: &RoleDiff| -> String {
        diff.routine.iter().map(|(sign, line)| format!("  {} {line}\n", sign.character())).collect()
    };
    diffs.iter().map(|diff| diff.text(usize::MAX) + &routine(diff)).collect()
}

/// Formats the changes as JSON.
#[must_use]
pub fn json(diffs: &[RoleDiff]) -> Value {
    let all = |diff: &RoleDiff, wanted: Sign| -> Vec<String> {
        diff.lines.iter().filter(|(sign, _)| *sign == wanted).map(|(_, line)| line.clone()).collect()
    };
    let role = |diff: &RoleDiff| {
        let mut object = json!({
            "role": diff.role, "change": diff.title, "added": all(diff, Sign::Added),
            "removed": all(diff, Sign::Removed), "changed": all(diff, Sign::Changed),
        });
        if let (false, Some(members)) = (diff.unusual.is_empty(), object.as_object_mut()) {
            let unusual: Vec<String> = diff.unusual.iter().map(Unusual::typed).collect();
            members.insert("unusual".to_string(), unusual.into());
        }
        if let (Some(many), Some(members)) = (diff.many, object.as_object_mut()) {
            let counted = [("roles", many.roles), ("targets_added", many.added), ("targets_changed", many.changed)];
            let counted = counted.into_iter().chain([("targets_removed", many.removed)]);
            members.extend(counted.map(|(name, count)| (name.to_string(), count.into())));
        }
        object
    };
    diffs.iter().map(role).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_bins_are_summarized_for_people() {
        let bin = |number: usize| RoleDiff::new(format!("bin-{number:04x}"), "version 1, new".into());
        let mut diffs: Vec<RoleDiff> = (0..16384).map(bin).collect();
        assert_eq!(text(&diffs), "bin-*: 16384 roles, each version 1, new\n");
        assert_eq!(full_text(&diffs).lines().count(), 16384);
        for (number, diff) in diffs.iter_mut().enumerate().filter(|(number, _)| number % 17 == 0) {
            diff.lines.push((Sign::Added, format!("target {number}")));
        }
        let summed = text(&diffs);
        assert!(summed.starts_with("bin-*: 16384 roles, each version 1, new\n  + bin-0000: target 0\n"), "{summed}");
        assert!(summed.ends_with("  … and 944 more\n") && summed.lines().count() == 22, "{summed}");
        if let Some(diff) = diffs.last_mut() {
            diff.title = "version 2".into();
        }
        assert!(text(&diffs).starts_with("bin-*: 16384 roles\n"));
    }

    #[test]
    fn many_delegated_roles_are_summarized_and_top_level_roles_are_shown() {
        let role = |name: String| RoleDiff::new(name, "version 2".into());
        let mut diffs = vec![role("root".into())];
        diffs.extend((0..100).map(|number| role(format!("team{number:02}"))));
        diffs.extend(["targets", "snapshot", "timestamp"].map(|name| role(name.into())));
        let summed = text(&diffs);
        let lines: Vec<&str> = summed.lines().collect();
        assert_eq!(
            (lines.len(), lines.first(), lines.get(21)),
            (25, Some(&"root: version 2"), Some(&"… and 80 more roles"))
        );
        assert_eq!(lines.last(), Some(&"timestamp: version 2"));
        assert_eq!(full_text(&diffs).lines().count(), 104);
    }

    #[test]
    fn long_lists_are_cut_except_for_signers() {
        let lines = (0..30).map(|number| (Sign::Added, number.to_string())).collect();
        let routine = vec![(Sign::Changed, "routine".to_string())];
        let diff = RoleDiff { lines, routine, ..RoleDiff::new("a\u{202e}".into(), "new".into()) };
        let cut = text(std::slice::from_ref(&diff));
        let full = full_text(&[diff]);
        assert!(cut.contains("… and 10 more") && !cut.contains("+ 29") && !cut.contains("routine"), "{cut}");
        assert!(full.contains("+ 29") && full.contains("~ routine") && full.starts_with("a\\u{202e}: new"), "{full}");
    }
}
