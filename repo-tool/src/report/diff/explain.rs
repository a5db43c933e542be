//! Every change of a signed text, told. This is the closed list of what is explained: a place that no arm of
//! [`Explanation::tell`] names is unexplained, and a signer must name it. So is every member that a later version of the
//! formats brings, until an arm for it is written here, with its line.

use std::collections::{BTreeMap, BTreeSet};

use lastmile_client::text::printable;
use lastmile_metadata::changes::{Change, ChangeKind, Pointer, changes};
use lastmile_metadata::{Algorithm, RoleName, TargetFile, TargetPath, Targets};

use super::keys::{KeysBefore, Listing, key_lines, ring_lines};
use super::{RoleDiff, Sign, Unusual, delegations};
use crate::document::Document;
use crate::draft::Draft;
use crate::published::Published;

/// From so many on, the files that a snapshot lists in a new version are counted.
const FILES: usize = 20;

/// The lines about one document, in the making.
pub(super) struct Explanation {
    role: RoleName,
    pub(super) lines: Lines,
    routine: Lines,
    unusual: Vec<Unusual>,
}

/// Lines, each made harmless for a terminal.
#[derive(Default)]
pub(super) struct Lines(Vec<(Sign, String)>);

impl Lines {
    pub(super) fn push(&mut self, sign: Sign, line: &str) {
        self.0.push((sign, printable(line)));
    }

    /// What comes, goes or becomes something else; nothing where it stays.
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

/// What is gathered on the way through the changes, for lines about whole targets, keys and delegations.
#[derive(Default)]
struct Touched<'c> {
    targets: BTreeSet<&'c str>,
    files: BTreeSet<&'c str>,
    /// Ids of keys of the root, or of the keys of delegations.
    keys: BTreeSet<&'c str>,
    /// Roles of the root whose keys or threshold change.
    roles: BTreeSet<&'c str>,
    delegations: bool,
}

/// Tells all changes of the text that `document` has signed.
pub(super) fn explain(
    published: Option<&Published>,
    draft: &Draft,
    document: &Document,
    counts: bool,
    title: String,
) -> RoleDiff {
    let role = &document.role;
    let before = published.and_then(|published| published.signed_text(role));
    let mut told =
        Explanation { role: role.clone(), lines: Lines::default(), routine: Lines::default(), unusual: Vec::new() };
    let is_passed_over = |member: &str| counts && member == "targets";
    match changes(before, document.signed(), &is_passed_over) {
        Ok(changes) => told.tell_all(published, draft, &changes, before.is_none()),
        Err(error) => told.unusual_line(Sign::Changed, &Pointer::default(), &format!("unexplained: {error}")),
    }
    let Explanation { lines, routine, mut unusual, .. } = told;
    unusual.dedup_by(|one, other| one.pointer == other.pointer);
    RoleDiff { role: role.to_string(), title, lines: lines.0, routine: routine.0, many: None, unusual }
}

impl Explanation {
    fn tell_all(&mut self, published: Option<&Published>, draft: &Draft, changes: &[Change<'_>], is_new: bool) {
        let mut touched = Touched::default();
        for change in changes {
            self.tell(change, &mut touched, is_new);
        }
        match self.role.as_str() {
            "root" => {
                let before = published.map(|published| &*published.root);
                if let Some(after) = &draft.root {
                    let listings = |root| Listing::of_root(root);
                    let (old, new) = (before.map(listings).unwrap_or_default(), Listing::of_root(after));
                    ring_lines(&mut self.lines, &old, &new, &|name| touched.roles.contains(name));
                    let keys = before.map(|before| &before.keys);
                    self.keys(&[], KeysBefore { keys, rings: &old }, &after.keys, &new, &touched.keys);
                }
            }
            "snapshot" | "timestamp" => self.files(changes, &touched.files),
            _ => {
                let before = published.and_then(|published| published.known(&self.role));
                if let Some(after) = draft.targets.get(&self.role) {
                    self.targets(before, after, &touched.targets);
                    if touched.delegations {
                        delegations::tell(self, before, after, &touched.keys);
                    }
                }
            }
        }
    }

    /// Tells one change, or takes note of what it belongs to.
    fn tell<'c>(&mut self, change: &'c Change<'_>, touched: &mut Touched<'c>, is_new: bool) {
        let segments = change.pointer.segments();
        let is_order = change.kind == ChangeKind::Order;
        let role = if self.role.is_top_level() { self.role.as_str() } else { "targets" }.to_string();
        match (role.as_str(), segments.as_slice(), is_order) {
            // The title.
            (_, ["version" | "expires"], false) => {}
            (_, ["_type" | "spec_version"], false) if is_new => {}
            // Nothing is listed yet.
            ("targets", ["targets"], false) if is_new => {}
            (_, ["spec_version"], false) | ("root", ["consistent_snapshot"], false) => self.value(change),
            ("root", ["keys"], false) | ("root", ["roles", _, "keyids"], false) => self.value(change),
            ("root", ["keys", id, "keytype" | "scheme"], false) | ("root", ["keys", id, "keyval", "public"], false) => {
                touched.keys.insert(own(change, id));
            }
            ("root", ["keys", id, rest @ ..], false) if !rest.is_empty() => {
                touched.keys.insert(own(change, id));
                self.unknown(change, if rest.first() == Some(&"keyval") { 4 } else { 3 });
            }
            ("root", ["roles", name, "threshold"], false) | ("root", ["roles", name, "keyids", _], false) => {
                touched.roles.insert(own(change, name));
            }
            (_, ["roles", _, "keyids"], true) if role == "root" => self.order(change),
            ("root", ["roles", _, _, ..], false) => self.unknown(change, 3),
            ("targets", ["targets", name, "length"], false) | ("targets", ["targets", name, "custom", ..], _) => {
                touched.targets.insert(own(change, name));
            }
            ("targets", ["targets", name, "hashes", algorithm], false) => {
                touched.targets.insert(own(change, name));
                if Algorithm::named(algorithm).is_none() {
                    self.unknown(change, 4);
                }
            }
            ("targets", ["targets", name, _, ..], false) => {
                touched.targets.insert(own(change, name));
                self.unknown(change, 3);
            }
            ("targets", ["delegations", rest @ ..], _) => {
                touched.delegations = true;
                self.delegation(change, rest, is_order, touched);
            }
            ("snapshot" | "timestamp", ["meta"], false) if is_new => {}
            // Length and hash are of the signed file, which is not there yet when a signer looks.
            ("snapshot" | "timestamp", ["meta", file, "version" | "length"], false)
            | ("snapshot" | "timestamp", ["meta", file, "hashes", "sha256" | "sha384" | "sha512"], false) => {
                touched.files.insert(own(change, file));
            }
            ("snapshot" | "timestamp", ["meta", _, "hashes", _, ..], false) => self.unknown(change, 4),
            ("snapshot" | "timestamp", ["meta", _, _, ..], false) => self.unknown(change, 3),
            // 4.2.1: a member of a role that the specification does not define.
            (_, [member, ..], _) if !is_defined(&role, member) => self.unknown(change, 1),
            _ => self.unexplained(change),
        }
    }

    /// Below `delegations`: what [`delegations::tell`] puts into words, and what nothing here knows.
    fn delegation<'c>(&mut self, change: &'c Change<'_>, rest: &[&str], is_order: bool, touched: &mut Touched<'c>) {
        match (rest, is_order) {
            (["keys" | "roles"], false) | (["roles", _, "keyids" | "paths" | "path_hash_prefixes"], false) => {
                self.value(change);
            }
            (["succinct_roles", "keyids"], false) => self.value(change),
            (["keys", id, "keytype" | "scheme"], false) | (["keys", id, "keyval", "public"], false) => {
                touched.keys.insert(own(change, id));
            }
            (["keys", id, members @ ..], false) if !members.is_empty() => {
                touched.keys.insert(own(change, id));
                self.unknown(change, if members.first() == Some(&"keyval") { 5 } else { 4 });
            }
            (["roles"], true) => {}
            (["roles", _, "name" | "threshold" | "terminating"], false) => {}
            (["roles", _, "keyids" | "paths" | "path_hash_prefixes", _], false) => {}
            (["roles", _, "keyids" | "paths" | "path_hash_prefixes"], true) => self.order(change),
            (["roles", _, _, ..], _) => self.unknown(change, 4),
            (["succinct_roles", "threshold" | "bit_length" | "name_prefix"], false) => {}
            (["succinct_roles", "keyids", _], false) => {}
            (["succinct_roles", "keyids"], true) => self.order(change),
            (["succinct_roles", _, ..], _) => self.unknown(change, 3),
            ([member, ..], _) if !matches!(*member, "keys" | "roles" | "succinct_roles") => self.unknown(change, 2),
            _ => self.unexplained(change),
        }
    }

    /// A value that its name and its text explain.
    fn value(&mut self, change: &Change<'_>) {
        let name = change.pointer.segments().join(".");
        let (before, after) = values(change);
        self.lines.compare(before.map(|value| plain(&name, value)), after.map(|value| plain(&name, value)));
    }

    fn order(&mut self, change: &Change<'_>) {
        self.lines.push(Sign::Changed, &format!("{} are in another order", change.pointer.segments().join(".")));
    }

    /// A member that nothing here knows; its name is the `depth`th one on the way to it.
    fn unknown(&mut self, change: &Change<'_>, depth: usize) {
        let (before, after) = values(change);
        let line = |value: &str| format!("unknown member: {} = {value}", change.pointer);
        let (before, after) = match change.kind {
            ChangeKind::Order => (Some(line("in one order")), Some(line("in another order"))),
            ChangeKind::Value { .. } => (before.map(line), after.map(line)),
        };
        self.lines.compare(before, after.clone());
        if let Some(line) = after {
            self.unusual(&change.pointer.start(depth), &line);
        }
    }

    fn unexplained(&mut self, change: &Change<'_>) {
        let (sign, value) = match change.kind {
            ChangeKind::Order => (Sign::Changed, "in another order"),
            ChangeKind::Value { after: Some(after), before } => {
                (if before.is_some() { Sign::Changed } else { Sign::Added }, after)
            }
            ChangeKind::Value { after: None, before } => (Sign::Removed, before.unwrap_or_default()),
        };
        self.unusual_line(sign, &change.pointer, &format!("unexplained: {} = {value}", change.pointer));
    }

    fn unusual_line(&mut self, sign: Sign, pointer: &Pointer, line: &str) {
        self.lines.push(sign, line);
        self.unusual(pointer, line);
    }

    /// What a signer must name.
    pub(super) fn unusual(&mut self, pointer: &Pointer, line: &str) {
        let (role, pointer) = (self.role.clone(), pointer.clone());
        self.unusual.push(Unusual { role, pointer, line: printable(line) });
    }

    /// The keys of a root or of delegations, which stand `below` these members.
    pub(super) fn keys(
        &mut self,
        below: &[&str],
        before: KeysBefore<'_>,
        after: &std::collections::BTreeMap<lastmile_metadata::KeyId, lastmile_metadata::Key>,
        rings: &[Listing<'_>],
        touched: &BTreeSet<&str>,
    ) {
        for (segments, line) in key_lines(&mut self.lines, before, after, rings, touched) {
            let pointer = below.iter().map(ToString::to_string).chain(segments).collect();
            self.unusual(&pointer, &line);
        }
    }

    fn targets(&mut self, before: Option<&Targets>, after: &Targets, touched: &BTreeSet<&str>) {
        for name in touched {
            let path = TargetPath::new(*name).ok();
            let target = |of: &Targets| path.as_ref().and_then(|path| of.target(path));
            match (before.and_then(target), target(after)) {
                (None, Some(new)) => self.lines.push(Sign::Added, &format!("{name} {}", described(&new))),
                (Some(_), None) => self.lines.push(Sign::Removed, name),
                (Some(old), Some(new)) => {
                    let line = format!("{name} {} (was: {})", described(&new), described(&old));
                    self.lines.push(Sign::Changed, &line);
                }
                // The readers of both texts have refused what is no target. If one did not, the signer must name it.
                (None, None) => {
                    let pointer = ["targets", name].map(ToString::to_string).into_iter().collect();
                    self.unusual(&pointer, &format!("unexplained: {name} is not a target"));
                }
            }
        }
    }

    /// What a snapshot or timestamp lists in other versions: mostly what follows from the other changes.
    fn files(&mut self, changes: &[Change<'_>], touched: &BTreeSet<&str>) {
        let versions: BTreeMap<String, _> = changes
            .iter()
            .filter_map(|change| match change.pointer.segments().as_slice() {
                ["meta", file, "version"] => Some((file.to_string(), values(change))),
                _ => None,
            })
            .collect();
        if touched.len() > FILES {
            self.routine.push(Sign::Changed, &format!("{} files in new versions", touched.len()));
        }
        for file in touched {
            match versions.get(*file).copied() {
                // Clients take that for a rollback (5.5.5).
                Some((_, None)) => self.lines.push(Sign::Removed, &format!("no longer lists {file}")),
                _ if touched.len() > FILES => {}
                Some((before, after)) => {
                    let line = |version: &str| format!("{file} version {version}");
                    self.routine.compare(before.map(line), after.map(line));
                }
                None => self.routine.push(Sign::Changed, &format!("{file} has another length or hash")),
            }
        }
    }
}

/// The same text, borrowed from the change.
fn own<'c>(change: &'c Change<'_>, segment: &str) -> &'c str {
    change.pointer.segments().into_iter().find(|own| *own == segment).unwrap_or_default()
}

pub(super) fn values<'t>(change: &Change<'t>) -> (Option<&'t str>, Option<&'t str>) {
    match change.kind {
        ChangeKind::Value { before, after } => (before, after),
        ChangeKind::Order => (None, None),
    }
}

/// Text stands without its quotes where there is nothing to confuse.
fn plain(name: &str, value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    format!("{name} {}", inner.filter(|inner| !inner.contains(['"', '\\', ' '])).unwrap_or(value))
}

/// The members of a role of this type that the specification defines.
fn is_defined(role: &str, member: &str) -> bool {
    let own: &[&str] = match role {
        "root" => &["consistent_snapshot", "keys", "roles"],
        "targets" => &["targets", "delegations"],
        _ => &["meta"],
    };
    ["_type", "spec_version", "version", "expires"].contains(&member) || own.contains(&member)
}

/// What is vouched for besides the name: the content by its hashes, and all else that clients are told.
fn described(target: &TargetFile) -> String {
    let known =
        target.hashes.known().map(|(algorithm, digest)| format!("{} {}", algorithm.name(), hex::encode(digest)));
    let unknown = target.hashes.unknown().map(|(name, value)| format!("{name} {}", value.to_text()));
    let hashes: Vec<String> = known.chain(unknown).collect();
    let mut text = format!("({} bytes, {})", target.length, hashes.join(", "));
    if let Some(custom) = &target.custom {
        text += &format!(" custom {}", custom.to_text());
    }
    for (name, value) in &target.unknown {
        text += &format!(" {name} = {}", value.to_text());
    }
    text
}
