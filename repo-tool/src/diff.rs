//! What a draft changes, for a person to read before anything is signed.

use std::collections::{BTreeMap, BTreeSet};

use lastmile_client::text::printable;
use lastmile_keys::PublicKey;
use lastmile_metadata::{
    DelegatedRoles, Delegation, Delegations, Hashes, KeyId, KeyRing, MetaFile, Paths, RoleName, Root, TargetFile,
    Targets,
};
use serde_json::{Value, json};

use crate::draft::{Completed, Draft};
use crate::edit::bins::{Bins, distinct_rings};
use crate::key_store::keyid_of;
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

/// The changes of one role, or of very many that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleDiff {
    /// The role; of many, what their names begin with and a `*`.
    pub role: String,
    /// `new`, `version 3 → 4`, and when it expires.
    pub title: String,
    /// What changes in it.
    pub lines: Vec<(Sign, String)>,
    /// What changes in many roles, counted instead of told.
    pub many: Option<Many>,
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
#[must_use]
pub fn diff(published: Option<&Published>, draft: &Draft, completed: &Completed) -> Vec<RoleDiff> {
    let filled: usize = draft.filled.iter().filter_map(|role| draft.targets.get(role)).map(Targets::len).sum();
    let counts = filled > TOLD || draft.filled.len() > TOLD;
    let mut families: BTreeMap<String, Many> = BTreeMap::new();
    let mut told = Vec::new();
    for document in completed.all() {
        let after = draft.targets.get(&document.role).filter(|_| counts && !document.role.is_top_level());
        match after {
            Some(after) => {
                let before = published.and_then(|published| published.known(&document.role));
                families.entry(family(&document.role)).or_default().count(before, after);
            }
            None => told.push(document),
        }
    }
    let families = families.into_iter().map(|(role, many)| {
        let title = format!("{} roles", many.roles);
        RoleDiff { role, title, lines: Vec::new(), many: Some(many) }
    });
    let told = told.into_iter().map(|document| {
        let before = published.and_then(|published| published.version(&document.role));
        let versions = match before {
            Some(before) => format!("version {before} → {}", document.version),
            None => format!("version {}, new", document.version),
        };
        let title = format!("{versions}, expires {}", document.expires.format("%Y-%m-%d"));
        let is_long = counts && draft.targets.contains_key(&document.role);
        let (mut lines, many) = lines(published, draft, &document.role, is_long);
        if document.role == RoleName::SNAPSHOT {
            lines.extend(completed.entries.iter().map(completed_entry));
        }
        RoleDiff { role: document.role.to_string(), title, lines, many }
    });
    families.chain(told).collect()
}

/// Roles that are told of together: bins.
fn family(role: &RoleName) -> String {
    role.to_string().rsplit_once('-').map_or_else(|| role.to_string(), |(start, _)| format!("{start}-*"))
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
    text_of(diffs, SHOWN)
}

/// The comparison for people who are about to sign: every line of it.
#[must_use]
pub fn full_text(diffs: &[RoleDiff]) -> String {
    text_of(diffs, usize::MAX)
}

fn text_of(diffs: &[RoleDiff], shown: usize) -> String {
    let mut text = String::new();
    for diff in diffs {
        text += &format!("{}: {}\n{}", diff.role, diff.title, diff.many.map(Many::text).unwrap_or_default());
        for (sign, line) in diff.lines.iter().take(shown) {
            let sign = match sign {
                Sign::Added => '+',
                Sign::Removed => '-',
                Sign::Changed => '~',
            };
            text += &format!("  {sign} {line}\n");
        }
        if diff.lines.len() > shown {
            text += &format!("  … and {} more\n", diff.lines.len() - shown);
        }
    }
    text
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
        if let (Some(many), Some(told)) = (diff.many, told.as_object_mut()) {
            let counted = [("roles", many.roles), ("targets_added", many.added), ("targets_changed", many.changed)];
            let counted = counted.into_iter().chain([("targets_removed", many.removed)]);
            told.extend(counted.map(|(name, count)| (name.to_string(), count.into())));
        }
        told
    };
    diffs.iter().map(role).collect()
}

type Lines = Vec<(Sign, String)>;

/// An entry of the snapshot that listed a version alone before.
fn completed_entry((role, listed): (&RoleName, &MetaFile)) -> (Sign, String) {
    let length = listed.length.unwrap_or_default();
    let hashes: Vec<String> = listed.hashes.iter().flat_map(Hashes::prefixes).collect();
    (Sign::Changed, format!("lists the published {role} with {length} bytes and the hash {}", hashes.join(", ")))
}

/// What changes in a role, and how many targets do where these are only counted.
fn lines(published: Option<&Published>, draft: &Draft, role: &RoleName, counts: bool) -> (Lines, Option<Many>) {
    match (role.as_str(), draft.targets.get(role)) {
        ("root", _) => {
            let after = draft.root.as_ref();
            let lines = after.map(|after| root_lines(published.map(|published| &*published.root), after));
            (lines.unwrap_or_default(), None)
        }
        (_, Some(after)) => {
            let before = published.and_then(|published| published.known(role));
            let mut many = counts.then(Many::default);
            let mut lines = match &mut many {
                Some(many) => {
                    many.count(before, after);
                    Vec::new()
                }
                None => target_lines(before, after),
            };
            other_lines(&mut lines, before, after, role);
            (lines, many)
        }
        _ => (Vec::new(), None),
    }
}

/// What changes from one root to another.
pub(crate) fn root_lines(before: Option<&Root>, after: &Root) -> Vec<(Sign, String)> {
    let mut lines = Vec::new();
    let consistent = |root: &Root| format!("consistent_snapshot {}", root.consistent_snapshot);
    compare(&mut lines, before.map(consistent), Some(consistent(after)));
    let names: BTreeSet<&RoleName> =
        before.iter().flat_map(|root| root.roles.keys()).chain(after.roles.keys()).collect();
    for name in names {
        let ring = |root: &Root| root.key_ring(name).ok();
        ring_lines(&mut lines, name, before.and_then(ring).as_ref(), ring(after).as_ref());
        if let Some(keys) = after.roles.get(name) {
            unknown_lines(&mut lines, before.and_then(|root| Some(&root.roles.get(name)?.unknown)), &keys.unknown);
        }
    }
    unknown_lines(&mut lines, before.map(|root| &root.unknown), &after.unknown);
    lines
}

/// What changes from one version of a targets role to another.
pub(crate) fn targets_lines(before: Option<&Targets>, after: &Targets, role: &RoleName) -> Vec<(Sign, String)> {
    let mut lines = target_lines(before, after);
    other_lines(&mut lines, before, after, role);
    lines
}

fn target_lines(before: Option<&Targets>, after: &Targets) -> Lines {
    let mut lines = Vec::new();
    if before.is_some_and(|before| after.is_clone_of(before)) {
        return lines;
    }
    for target in after.targets() {
        let shown = described_target(&target);
        match before.map(|before| before.target(&target.path)) {
            Some(Some(old)) if old == target => {}
            Some(Some(_)) => lines.push((Sign::Changed, shown)),
            _ => lines.push((Sign::Added, shown)),
        }
    }
    let gone = before.iter().flat_map(|before| before.paths()).filter(|path| after.target(path).is_none());
    lines.extend(gone.map(|path| (Sign::Removed, path.to_string())));
    lines
}

/// Whom else the role trusts, and what else it says.
fn other_lines(lines: &mut Lines, before: Option<&Targets>, after: &Targets, role: &RoleName) {
    let none = Delegations::new();
    let old = before.and_then(|before| before.delegations.as_ref()).unwrap_or(&none);
    let new = after.delegations.as_ref().unwrap_or(&none);
    if old != new {
        delegation_lines(lines, role, old, new);
    }
    unknown_lines(lines, Some(&old.unknown), &new.unknown);
    unknown_lines(lines, before.map(|targets| &targets.unknown), &after.unknown);
}

/// What is vouched for: the name, the content by its hash, and all else that clients are told.
fn described_target(target: &TargetFile) -> String {
    let hash: String = target.hashes.prefixes().next().unwrap_or_default().chars().take(16).collect();
    let mut text = format!("{} ({} bytes, {hash}…)", target.path, target.length);
    if let Some(custom) = &target.custom {
        text += &format!(" custom {}", printable(&custom.to_text()));
    }
    for (name, value) in &target.unknown {
        text += &format!(" {} = {}", printable(name), printable(&value.to_text()));
    }
    text
}

fn delegation_lines(lines: &mut Lines, role: &RoleName, before: &Delegations, after: &Delegations) {
    let (old, new) = (described(before), described(after));
    let by_name = |all: &[(String, String)]| all.iter().cloned().collect::<BTreeMap<String, String>>();
    let (old_by_name, new_by_name) = (by_name(&old), by_name(&new));
    for (name, _) in old.iter().filter(|(name, _)| !new_by_name.contains_key(name)) {
        lines.push((Sign::Removed, format!("delegation to {name}")));
    }
    for (name, description) in &new {
        compare(lines, old_by_name.get(name).cloned(), Some(description.clone()));
    }
    // 4.5: the order is the priority.
    let order = |these: &[(String, String)], others: &BTreeMap<String, String>| {
        let both = these.iter().map(|(name, _)| name.as_str()).filter(|name| others.contains_key(*name));
        both.collect::<Vec<_>>().join(", ")
    };
    let orders = [order(&old, &new_by_name), order(&new, &old_by_name)];
    let [old_order, new_order] = orders.map(|order| Some(format!("delegations in the order {order}")));
    compare(lines, old_order, new_order);
    let old_rings = distinct_rings(before, role);
    for (name, ring) in distinct_rings(after, role) {
        let old = old_rings.get(&name).cloned().or_else(|| before.key_ring(role, &name).ok());
        ring_lines(lines, &name, old.as_ref(), Some(&ring));
    }
}

/// Each delegation in words, by name; whole sets of bins by what their names begin with.
fn described(delegations: &Delegations) -> Vec<(String, String)> {
    let bins = Bins::of(delegations);
    let mut all: Vec<(String, String)> = match &delegations.roles {
        DelegatedRoles::Succinct(_) => Vec::new(),
        DelegatedRoles::Listed(roles) => {
            let is_other = |name: &RoleName| bins.as_ref().is_none_or(|bins| !bins.contains(name));
            roles.iter().filter(|delegation| is_other(&delegation.name)).map(described_delegation).collect()
        }
    };
    if let Some(bins) = bins {
        let name = format!("{}-*", printable(&bins.name_prefix));
        let kind = if bins.succinct { "succinct" } else { "prefix" };
        let description = format!("delegation to 2^{} {kind} bins {name}", bins.bit_length);
        all.push((name, description));
    }
    all
}

fn described_delegation(delegation: &Delegation) -> (String, String) {
    let paths = match &delegation.paths {
        Paths::Patterns(patterns) => patterns.iter().map(ToString::to_string).collect::<Vec<_>>(),
        Paths::HashPrefixes(prefixes) => prefixes.iter().map(|prefix| format!("#{prefix}")).collect(),
    };
    let terminating = if delegation.terminating { ", terminating" } else { "" };
    let name = delegation.name.to_string();
    let mut description = format!("delegation to {name}: {}{terminating}", paths.join(" "));
    for (member, value) in &delegation.unknown {
        description += &format!(", {} = {}", printable(member), printable(&value.to_text()));
    }
    (name, description)
}

fn ring_lines(lines: &mut Vec<(Sign, String)>, role: &RoleName, before: Option<&KeyRing>, after: Option<&KeyRing>) {
    let keys = |ring: Option<&KeyRing>| -> BTreeSet<String> {
        let described = |ring: &KeyRing| -> Vec<String> {
            ring.keys().map(|(id, key)| format!("{role} key {}", described_key(id, key))).collect()
        };
        ring.map(described).unwrap_or_default().into_iter().collect()
    };
    let (old, new) = (keys(before), keys(after));
    lines.extend(old.difference(&new).map(|key| (Sign::Removed, key.clone())));
    lines.extend(new.difference(&old).map(|key| (Sign::Added, key.clone())));
    let threshold = |ring: &KeyRing| format!("{role} threshold {}", ring.threshold());
    compare(lines, before.map(threshold), after.map(threshold));
}

/// Ids are whatever the file says: what identifies a key for a signer is computed.
fn described_key(id: &KeyId, key: &PublicKey) -> String {
    let computed = keyid_of(key);
    match id.as_str() == computed {
        true => format!("{} {id}", key.keytype()),
        false => format!("{} {computed}, listed as {id}", key.keytype()),
    }
}

fn unknown_lines(
    lines: &mut Vec<(Sign, String)>,
    before: Option<&lastmile_metadata::Unknown>,
    after: &lastmile_metadata::Unknown,
) {
    let names: BTreeSet<&String> = before.iter().flat_map(|before| before.keys()).chain(after.keys()).collect();
    for name in names {
        let show = |value: &lastmile_metadata::Json| format!("{} = {}", printable(name), printable(&value.to_text()));
        compare(lines, before.and_then(|before| before.get(name)).map(show), after.get(name).map(show));
    }
}

fn compare(lines: &mut Vec<(Sign, String)>, before: Option<String>, after: Option<String>) {
    match (before, after) {
        (None, Some(after)) => lines.push((Sign::Added, after)),
        (Some(before), None) => lines.push((Sign::Removed, before)),
        (Some(before), Some(after)) if before != after => {
            lines.push((Sign::Changed, format!("{after} (was: {before})")));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastmile_metadata::{Json, Unknown};

    #[test]
    fn a_member_that_goes_is_told_like_one_that_comes() {
        let member = |name: &str| Unknown::from([(name.to_string(), Json::parse("1").unwrap())]);
        let mut lines = Vec::new();
        unknown_lines(&mut lines, Some(&member("old")), &member("new"));
        assert_eq!(lines, [(Sign::Added, "new = 1".to_string()), (Sign::Removed, "old = 1".to_string())]);
    }
}
