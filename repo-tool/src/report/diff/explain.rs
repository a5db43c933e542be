//! Describes every change to a signed text, which is the canonical JSON that the signatures of a metadata file cover.
//! [`Explanation::explain_change`] explains changes to known members. Any other added or changed member may have a
//! meaning that only later versions of lastmile know. Therefore a signer must accept this member by name (`--accept`).
//! Removed unknown members are described, but need not be accepted.

use std::collections::{BTreeMap, BTreeSet};

use lastmile_attest::policy::MEMBER;
use lastmile_metadata::changes::{Change, ChangeKind, Pointer, changes, member};
use lastmile_metadata::{Algorithm, TargetFile, TargetPath, Targets};

use super::explanation::Explanation;
use super::keys::{KeysBefore, RoleKeyList, ring_lines};
use super::lines::Lines;
use super::role_diff::{RoleDiff, Sign};
use super::{delegations, policy};
use crate::Error;
use crate::document::Document;
use crate::draft::Draft;
use crate::published::Published;
use crate::role_content::RoleContent;

/// The maximum number of new file versions in a snapshot or timestamp that are listed individually. If there are more,
/// only their number is shown.
const FILES: usize = 20;
/// The maximum number of targets that are described one by one. If a draft adds targets in bulk to more than this
/// number of roles, or if these roles together list more than this number of targets, the changes to targets are only
/// counted.
const DESCRIBED: usize = 1000;

/// The changed targets, files, keys and roles. Each is described in one line, even if several of its members change.
#[derive(Default)]
struct Touched<'c> {
    targets: BTreeSet<&'c str>,
    files: BTreeSet<&'c str>,
    keys: BTreeSet<&'c str>,
    /// The top-level roles whose keys or threshold change in the root.
    roles: BTreeSet<&'c str>,
    delegations: bool,
    policy: bool,
}

/// Compares the signed text of `document` with the published text, and describes the changes.
///
/// # Errors
/// [`Error::File`] if a signed text is stored on disk and cannot be read.
pub(crate) fn of_document(
    published: Option<&Published>,
    draft: &Draft,
    document: &Document,
) -> Result<RoleDiff, Error> {
    explained(published, draft, document, TargetChanges::of(draft))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetChanges {
    Described,
    /// There are too many changes (see [`DESCRIBED`]), so only the numbers of added, changed and removed targets are
    /// shown.
    Counted,
}

impl TargetChanges {
    pub(super) fn of(draft: &Draft) -> Self {
        // This function is called for each document, so check the cheap condition first.
        let are_many = draft.bulk_filled.len() > DESCRIBED
            || draft.bulk_filled.iter().filter_map(|role| draft.targets.get(role)).map(RoleContent::len).sum::<usize>()
                > DESCRIBED;
        if are_many { Self::Counted } else { Self::Described }
    }
}

pub(super) fn explained(
    published: Option<&Published>,
    draft: &Draft,
    document: &Document,
    of_targets: TargetChanges,
) -> Result<RoleDiff, Error> {
    let before = published.and_then(|published| published.version(&document.role));
    let versions = match before {
        Some(before) => format!("version {before} → {}", document.version),
        None => format!("version {}, new", document.version),
    };
    let title = format!("{versions}, expires {}", document.expires.format("%Y-%m-%d"));
    explain(published, draft, document, of_targets, title)
}

fn explain(
    published: Option<&Published>,
    draft: &Draft,
    document: &Document,
    of_targets: TargetChanges,
    title: String,
) -> Result<RoleDiff, Error> {
    let role = &document.role;
    let before = published.and_then(|published| published.signed_text(role));
    let mut explanation = Explanation {
        role: role.clone(),
        is_new: before.is_none(),
        lines: Lines::default(),
        routine: Lines::default(),
        unusual: Vec::new(),
    };
    let is_passed_over =
        |member: &str| of_targets == TargetChanges::Counted && draft.targets.contains_key(role) && member == "targets";
    let after = document.signed()?;
    match changes(before, &after, &is_passed_over) {
        Ok(changes) => explanation.explain_all(published, draft, (before, &after), &changes)?,
        Err(error) => explanation.unusual_line(Sign::Changed, &Pointer::default(), &format!("unexplained: {error}")),
    }
    let Explanation { lines, routine, mut unusual, .. } = explanation;
    unusual.dedup_by(|one, other| one.pointer == other.pointer);
    Ok(RoleDiff { role: role.to_string(), title, lines: lines.0, routine: routine.0, many: None, unusual })
}

impl Explanation {
    fn explain_all(
        &mut self,
        published: Option<&Published>,
        draft: &Draft,
        (before_text, after_text): (Option<&str>, &str),
        changes: &[Change<'_>],
    ) -> Result<(), Error> {
        let mut touched = Touched::default();
        for change in changes {
            self.explain_change(change, &mut touched);
        }
        match self.role.as_str() {
            "root" => {
                let before = published.map(|published| &*published.root);
                if let Some(after) = &draft.root {
                    let listings = |root| RoleKeyList::of_root(root);
                    let old = before.map(listings).unwrap_or_default();
                    let new = RoleKeyList::of_root(after);
                    ring_lines(&mut self.lines, &old, &new, &|name| touched.roles.contains(name));
                    let keys = before.map(|before| &before.keys);
                    self.keys(&[], KeysBefore { keys, rings: &old }, &after.keys, &new, &touched.keys);
                }
            }
            "snapshot" | "timestamp" => self.files(changes, &touched.files),
            _ => {
                let before = published.and_then(|published| published.known(&self.role));
                if let Some(after) = draft.targets.get(&self.role) {
                    // If target changes are only counted, `touched.targets` is empty, so the targets need not be read.
                    if !touched.targets.is_empty() {
                        self.targets(before, &*after.read()?, &touched.targets);
                    }
                    if touched.delegations {
                        let before = before.and_then(|before| before.delegations.as_ref());
                        delegations::explain(self, before, after.delegations(), &touched.keys);
                    }
                }
                if touched.policy {
                    let policy = |text| member(text, MEMBER).ok().flatten();
                    policy::explain(self, before_text.and_then(policy), policy(after_text));
                }
            }
        }
        Ok(())
    }

    /// Describes one change, or adds the changed item to `touched`, so that all changes to the item are described in
    /// one line.
    fn explain_change<'c>(&mut self, change: &'c Change<'_>, touched: &mut Touched<'c>) {
        let segments = change.pointer.segments();
        let is_order = change.kind == ChangeKind::Order;
        let role = if self.role.is_top_level() { self.role.as_str() } else { "targets" }.to_string();
        match (role.as_str(), segments.as_slice(), is_order) {
            // The title already shows the version and the expiry date.
            (_, ["version" | "expires"], false) => {}
            (_, ["_type" | "spec_version"], false) if self.is_new => {}
            // The empty list of targets in a new role is not described.
            ("targets", ["targets"], false) if self.is_new => {}
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
            ("targets", [MEMBER, ..], _) => touched.policy = true,
            ("targets", ["delegations", rest @ ..], _) => {
                touched.delegations = true;
                self.delegation(change, rest, touched);
            }
            ("snapshot" | "timestamp", ["meta"], false) if self.is_new => {}
            // The length and the hash depend on the signed file, which does not exist yet when a signer reviews the
            // change.
            ("snapshot" | "timestamp", ["meta", file, "version" | "length"], false)
            | ("snapshot" | "timestamp", ["meta", file, "hashes", "sha256" | "sha384" | "sha512"], false) => {
                touched.files.insert(own(change, file));
            }
            ("snapshot" | "timestamp", ["meta", _, "hashes", _, ..], false) => self.unknown(change, 4),
            ("snapshot" | "timestamp", ["meta", _, _, ..], false) => self.unknown(change, 3),
            // A member that the specification does not define for this role (TUF specification 4.2.1).
            (_, [member, ..], _) if !is_defined(&role, member) => self.unknown(change, 1),
            _ => self.unexplained(change),
        }
    }

    /// Handles changes below `delegations`. [`delegations::explain`] describes the known members, and this function
    /// describes the unknown members.
    fn delegation<'c>(&mut self, change: &'c Change<'_>, rest: &[&str], touched: &mut Touched<'c>) {
        match (rest, change.kind == ChangeKind::Order) {
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

    fn value(&mut self, change: &Change<'_>) {
        let name = change.pointer.segments().join(".");
        let (before, after) = values(change);
        self.lines.compare(before.map(|value| plain(&name, value)), after.map(|value| plain(&name, value)));
    }

    fn order(&mut self, change: &Change<'_>) {
        self.lines.push(Sign::Changed, &format!("the order of {} changes", change.pointer.segments().join(".")));
    }

    /// Describes an unknown member. The pointer to the member is the first `depth` segments of the change's pointer.
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
                // This case is impossible, because the parser refuses invalid targets. If it occurred, the signer would
                // have to accept the target by name.
                (None, None) => {
                    let pointer = ["targets", name].map(ToString::to_string).into_iter().collect();
                    self.unusual(&pointer, &format!("unexplained: {name} is not a target"));
                }
            }
        }
    }

    /// Describes the changed entries of a snapshot or timestamp. Most of these changes are consequences of changes to
    /// other roles.
    fn files(&mut self, changes: &[Change<'_>], touched: &BTreeSet<&str>) {
        let versions: BTreeMap<String, _> = changes
            .iter()
            .filter_map(|change| match change.pointer.segments().as_slice() {
                ["meta", file, "version"] => Some((file.to_string(), values(change))),
                _ => None,
            })
            .collect();
        if touched.len() > FILES {
            self.routine.push(Sign::Changed, &format!("{} files have new versions", touched.len()));
        }
        for file in touched {
            match versions.get(*file).copied() {
                // Clients treat a removed entry as a rollback (TUF specification 5.5.5).
                Some((_, None)) => self.lines.push(Sign::Removed, &format!("no longer lists {file}")),
                _ if touched.len() > FILES => {}
                Some((before, after)) => {
                    let line = |version: &str| format!("{file} version {version}");
                    self.routine.compare(before.map(line), after.map(line));
                }
                None => self.routine.push(Sign::Changed, &format!("{file} has a different length or hash")),
            }
        }
    }
}

/// Returns `segment` as a slice of the change's pointer, so that it lives as long as the change.
fn own<'c>(change: &'c Change<'_>, segment: &str) -> &'c str {
    change.pointer.segments().into_iter().find(|own| *own == segment).unwrap_or_default()
}

pub(super) fn values<'t>(change: &Change<'t>) -> (Option<&'t str>, Option<&'t str>) {
    match change.kind {
        ChangeKind::Value { before, after } => (before, after),
        ChangeKind::Order => (None, None),
    }
}

/// Shows a string without quotes if it has no spaces or special characters.
fn plain(name: &str, value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    format!("{name} {}", inner.filter(|inner| !inner.contains(['"', '\\', ' '])).unwrap_or(value))
}

fn is_defined(role: &str, member: &str) -> bool {
    let own: &[&str] = match role {
        "root" => &["consistent_snapshot", "keys", "roles"],
        "targets" => &["targets", "delegations"],
        _ => &["meta"],
    };
    ["_type", "spec_version", "version", "expires"].contains(&member) || own.contains(&member)
}

/// Describes all signed data of a target except its name: length, hashes, custom data and unknown members.
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
