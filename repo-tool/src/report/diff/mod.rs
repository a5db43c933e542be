//! What a draft changes, for a person to read before anything is signed: every member of the signed texts.

mod delegations;
mod explain;
mod keys;

use std::collections::BTreeMap;

use lastmile_client::text::printable;
use lastmile_metadata::changes::Pointer;
use lastmile_metadata::{Hashes, MetaFile, RoleName, Targets};
use serde_json::{Value, json};

use crate::document::Document;
use crate::draft::{Completed, Draft};
use crate::published::Published;

/// Lists of more entries than this are cut for people; JSON has all.
const SHOWN: usize = 20;
/// Of more roles or targets that come at once than these, the changes are counted.
const TOLD: usize = 1000;

/// How one line changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It comes.
    Added,
    /// It goes.
    Removed,
    /// It becomes something else.
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

/// The changes of one role, or of very many that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleDiff {
    /// The role; of many, what their names begin with and a `*`.
    pub role: String,
    /// `new`, `version 3 → 4`, and when it expires.
    pub title: String,
    /// What changes in it.
    pub lines: Vec<(Sign, String)>,
    /// What follows from the other changes, as it does in every snapshot and timestamp: for those who sign.
    pub routine: Vec<(Sign, String)>,
    /// What changes in many roles, counted instead of told.
    pub many: Option<Many>,
    /// What nobody signs unless it is named: members and keys that nothing here knows. They have lines as well.
    pub unusual: Vec<Unusual>,
}

/// A member or key that a signer must name to sign it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusual {
    /// The role in whose text it stands.
    pub role: RoleName,
    /// Where it stands.
    pub pointer: Pointer,
    /// Its line.
    pub line: String,
}

impl Unusual {
    /// What a person types to name it: no two places are typed alike, and nothing in it controls a terminal or a shell.
    #[must_use]
    pub fn typed(&self) -> String {
        typed(&format!("{}:{}", self.role.as_str(), self.pointer))
    }

    /// Whether `name` means this one: the whole, without the role, or its last member alone.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let last = self.pointer.segments().last().map(|last| typed(last));
        [self.typed(), typed(&self.pointer.to_string())].iter().chain(&last).any(|called| called == name)
    }
}

/// With every character escaped that could be taken for another one, or for the end of a quoted argument.
fn typed(text: &str) -> String {
    printable(&text.replace('\\', "\\u{5c}").replace('\'', "\\u{27}"))
}

/// What changes in the signed text of one document.
pub(crate) fn of_document(published: Option<&Published>, draft: &Draft, document: &Document) -> RoleDiff {
    explained(published, draft, document, counts(draft))
}

/// Whether targets are counted instead of told.
fn counts(draft: &Draft) -> bool {
    // It is asked for each document, of which there may be very many.
    draft.bulk_filled.len() > TOLD
        || draft.bulk_filled.iter().filter_map(|role| draft.targets.get(role)).map(Targets::len).sum::<usize>() > TOLD
}

fn explained(published: Option<&Published>, draft: &Draft, document: &Document, counts: bool) -> RoleDiff {
    let before = published.and_then(|published| published.version(&document.role));
    let versions = match before {
        Some(before) => format!("version {before} → {}", document.version),
        None => format!("version {}, new", document.version),
    };
    let title = format!("{versions}, expires {}", document.expires.format("%Y-%m-%d"));
    explain::explain(published, draft, document, counts && draft.targets.contains_key(&document.role), title)
}

/// Changes that are too many to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Many {
    /// In so many roles.
    pub roles: usize,
    /// Targets that come.
    pub added: usize,
    /// Targets that become others.
    pub changed: usize,
    /// Targets that go.
    pub removed: usize,
}

/// Compares the draft with what is published. Of roles that were filled with very many targets at once, and of those
/// made with them, the changes are counted.
pub(crate) fn diff(published: Option<&Published>, draft: &Draft, completed: &mut Completed) -> Vec<RoleDiff> {
    let counts = counts(draft);
    let mut families: BTreeMap<String, RoleDiff> = BTreeMap::new();
    let mut told = Vec::new();
    let mut changes = std::mem::take(&mut completed.changes);
    for document in completed.all() {
        let known = changes.remove(&document.role);
        let mut found = known.unwrap_or_else(|| explained(published, draft, document, counts));
        if let Some(after) = draft.targets.get(&document.role).filter(|_| counts) {
            let before = published.and_then(|published| published.known(&document.role));
            found.many.get_or_insert_default().count(before, after);
        }
        if document.role == RoleName::SNAPSHOT {
            found.lines.extend(completed.entries.iter().map(completed_entry));
        }
        if found.many.is_none() || document.role.is_top_level() {
            told.push(found);
            continue;
        }
        // What is more than targets is told of each.
        let name = |(sign, line): (Sign, String)| (sign, format!("{}: {line}", printable(document.role.as_str())));
        found.lines = found.lines.into_iter().map(name).collect();
        let family = family_of(&document.role.to_string());
        let all = families.entry(family.clone()).or_insert_with(|| RoleDiff::new(family, String::new()));
        all.add(found);
    }
    let families = families.into_values().map(|family| {
        let title = format!("{} roles", family.many.unwrap_or_default().roles);
        RoleDiff { title, ..family }
    });
    families.chain(told).collect()
}

impl RoleDiff {
    fn new(role: String, title: String) -> Self {
        let (lines, routine, unusual) = (Vec::new(), Vec::new(), Vec::new());
        Self { role, title, lines, routine, many: None, unusual }
    }

    /// Adds the changes of another role of the same family.
    fn add(&mut self, other: Self) {
        self.lines.extend(other.lines);
        self.unusual.extend(other.unusual);
        let (sum, other) = (self.many.get_or_insert_default(), other.many.unwrap_or_default());
        sum.roles += other.roles;
        (sum.added, sum.changed, sum.removed) =
            (sum.added + other.added, sum.changed + other.changed, sum.removed + other.removed);
    }
}

/// Roles that are told of together: bins.
fn family_of(role: &str) -> String {
    role.rsplit_once('-').map_or_else(|| role.to_string(), |(start, _)| format!("{start}-*"))
}

impl Many {
    fn count(&mut self, before: Option<&Targets>, after: &Targets) {
        self.roles += 1;
        let Some(before) = before.filter(|before| !before.is_empty()) else {
            self.added += after.len();
            return;
        };
        let mut kept = 0;
        for target in after.targets() {
            match before.target(&target.path) {
                Some(old) => {
                    kept += 1;
                    self.changed += usize::from(old != target);
                }
                None => self.added += 1,
            }
        }
        self.removed += before.len() - kept;
    }

    fn text(self) -> String {
        let counted = [("+", self.added), ("~", self.changed), ("-", self.removed)];
        let lines = counted.iter().filter(|(_, count)| *count > 0);
        lines.map(|(sign, count)| format!("  {sign} {count} targets\n")).collect()
    }
}

/// The comparison for people, long lists cut. Names of targets and roles are printed without control characters.
#[must_use]
pub fn text(diffs: &[RoleDiff]) -> String {
    text_of(diffs, SHOWN, false)
}

/// The comparison for people who are about to sign: every line of it.
#[must_use]
pub fn full_text(diffs: &[RoleDiff]) -> String {
    text_of(diffs, usize::MAX, true)
}

fn text_of(diffs: &[RoleDiff], shown: usize, with_routine: bool) -> String {
    let mut text = String::new();
    let mut rest = diffs;
    while let Some((diff, others)) = rest.split_first() {
        let alike = 1 + others.iter().take_while(|other| is_alike(diff, other)).count();
        if alike > shown {
            let family = family_of(&diff.role);
            text += &format!("{}: {alike} roles, each {}\n", printable(&family), diff.title);
            rest = rest.get(alike..).unwrap_or_default();
            continue;
        }
        rest = others;
        let counted = diff.many.map(Many::text).unwrap_or_default();
        text += &format!("{}: {}\n{counted}", printable(&diff.role), diff.title);
        let routine = diff.routine.iter().filter(|_| with_routine);
        for (sign, line) in diff.lines.iter().take(shown).chain(routine) {
            text += &format!("  {} {line}\n", sign.character());
        }
        if diff.lines.len() > shown {
            text += &format!("  … and {} more\n", diff.lines.len() - shown);
        }
    }
    text
}

/// Whether both are about new roles of one family that say nothing more.
fn is_alike(one: &RoleDiff, other: &RoleDiff) -> bool {
    let is_empty = |diff: &RoleDiff| diff.many.is_none() && diff.lines.is_empty() && diff.routine.is_empty();
    is_empty(one) && is_empty(other) && one.title == other.title && family_of(&one.role) == family_of(&other.role)
}

/// The comparison for programs.
#[must_use]
pub fn json(diffs: &[RoleDiff]) -> Value {
    let all = |diff: &RoleDiff, wanted: Sign| -> Vec<String> {
        diff.lines.iter().filter(|(sign, _)| *sign == wanted).map(|(_, line)| line.clone()).collect()
    };
    let role = |diff: &RoleDiff| {
        let mut told = json!({
            "role": diff.role, "change": diff.title, "added": all(diff, Sign::Added),
            "removed": all(diff, Sign::Removed), "changed": all(diff, Sign::Changed),
        });
        if let Some(told) = told.as_object_mut().filter(|_| !diff.unusual.is_empty()) {
            let unusual: Vec<String> = diff.unusual.iter().map(Unusual::typed).collect();
            told.insert("unusual".to_string(), unusual.into());
        }
        if let (Some(many), Some(told)) = (diff.many, told.as_object_mut()) {
            let counted = [("roles", many.roles), ("targets_added", many.added), ("targets_changed", many.changed)];
            let counted = counted.into_iter().chain([("targets_removed", many.removed)]);
            told.extend(counted.map(|(name, count)| (name.to_string(), count.into())));
        }
        told
    };
    diffs.iter().map(role).collect()
}

/// An entry of the snapshot that listed a version alone before.
fn completed_entry((role, listed): (&RoleName, &MetaFile)) -> (Sign, String) {
    let length = listed.length.unwrap_or_default();
    let hashes: Vec<String> = listed.hashes.iter().flat_map(Hashes::prefixes).collect();
    let role = printable(role.as_str());
    (Sign::Changed, format!("lists the published {role} with {length} bytes and the hash {}", hashes.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unusual(pointer: &[&str]) -> Unusual {
        Unusual { role: RoleName::ROOT, pointer: pointer.iter().copied().collect(), line: String::new() }
    }

    #[test]
    fn what_is_typed_names_one_place_and_nothing_in_it_is_hidden() {
        let cases = [
            (&["a"][..], "root:/a"),
            (&["a", "b"], "root:/a/b"),
            (&["a/b"], "root:/a~1b"),
            (&["it's"], "root:/it\\u{27}s"),
            (&["a\u{200b}"], "root:/a\\u{200b}"),
            (&["a\\u{200b}"], "root:/a\\u{5c}u{200b}"),
            (&["a\n"], "root:/a\\u{a}"),
        ];
        for (pointer, expected) in cases {
            assert_eq!(unusual(pointer).typed(), expected);
        }
    }

    #[test]
    fn a_place_is_called_by_all_of_it_or_by_its_last_member() {
        let place = unusual(&["keys", "abcd"]);
        for (name, expected) in [
            ("root:/keys/abcd", true),
            ("/keys/abcd", true),
            ("abcd", true),
            ("targets:/keys/abcd", false),
            ("/keys", false),
            ("keys", false),
            ("abc", false),
            ("", false),
        ] {
            assert_eq!(place.is_called(name), expected, "{name}");
        }
    }

    #[test]
    fn many_new_bins_are_one_line_for_people() {
        let bin = |number: usize| RoleDiff::new(format!("bin-{number:02x}"), "version 1, new".into());
        let mut diffs: Vec<RoleDiff> = (0..64).map(bin).collect();
        assert_eq!(text(&diffs), "bin-*: 64 roles, each version 1, new\n");
        assert_eq!(full_text(&diffs).lines().count(), 64);
        if let Some(diff) = diffs.get_mut(32) {
            diff.lines.push((Sign::Added, "a target".to_string()));
        }
        assert_eq!(text(&diffs).lines().count(), 4, "{}", text(&diffs));
    }

    #[test]
    fn long_lists_are_cut_for_people_and_never_for_those_who_sign() {
        let lines = (0..30).map(|number| (Sign::Added, number.to_string())).collect();
        let routine = vec![(Sign::Changed, "routine".to_string())];
        let diff = RoleDiff { lines, routine, ..RoleDiff::new("a\u{202e}".into(), "new".into()) };
        let (cut, full) = (text(std::slice::from_ref(&diff)), full_text(&[diff]));
        assert!(cut.contains("… and 10 more") && !cut.contains("+ 29") && !cut.contains("routine"), "{cut}");
        assert!(full.contains("+ 29") && full.contains("~ routine") && full.starts_with("a\\u{202e}: new"), "{full}");
    }
}
