//! What a draft changes, for a person to read before anything is signed.

use std::collections::BTreeSet;

use lastmile_client::text::printable;
use lastmile_keys::PublicKey;
use lastmile_metadata::{DelegatedRoles, Delegations, KeyId, KeyRing, Paths, RoleName, Root, TargetFile, Targets};
use serde_json::{Value, json};

use crate::draft::{Completed, Draft};
use crate::key_store::keyid_of;
use crate::published::Published;

/// Lists of more entries than this are cut for people; JSON has all.
const SHOWN: usize = 20;

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

/// The changes of one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleDiff {
    /// The role.
    pub role: RoleName,
    /// `new`, `version 3 → 4`, and when it expires.
    pub title: String,
    /// What changes in it.
    pub lines: Vec<(Sign, String)>,
}

/// Compares the draft with what is published.
#[must_use]
pub fn diff(published: Option<&Published>, draft: &Draft, completed: &Completed) -> Vec<RoleDiff> {
    let documents = completed.all().map(|document| {
        let before = published.and_then(|published| published.version(&document.role));
        let versions = match before {
            Some(before) => format!("version {before} → {}", document.version),
            None => format!("version {}, new", document.version),
        };
        let title = format!("{versions}, expires {}", document.expires.format("%Y-%m-%d"));
        RoleDiff { role: document.role.clone(), title, lines: lines(published, draft, &document.role) }
    });
    documents.collect()
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
        text += &format!("{}: {}\n", diff.role, diff.title);
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
        json!({
            "role": diff.role.as_str(), "change": diff.title, "added": all(diff, Sign::Added),
            "removed": all(diff, Sign::Removed), "changed": all(diff, Sign::Changed),
        })
    };
    diffs.iter().map(role).collect()
}

fn lines(published: Option<&Published>, draft: &Draft, role: &RoleName) -> Vec<(Sign, String)> {
    match (role.as_str(), draft.targets.get(role)) {
        ("root", _) => {
            let after = draft.root.as_ref();
            after.map(|after| root_lines(published.map(|published| &*published.root), after)).unwrap_or_default()
        }
        (_, Some(after)) => targets_lines(published.and_then(|published| published.known(role)), after, role),
        _ => Vec::new(),
    }
}

fn root_lines(before: Option<&Root>, after: &Root) -> Vec<(Sign, String)> {
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

fn targets_lines(before: Option<&Targets>, after: &Targets, role: &RoleName) -> Vec<(Sign, String)> {
    let mut lines = Vec::new();
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
    let none = Delegations::new();
    let old = before.and_then(|before| before.delegations.as_ref()).unwrap_or(&none);
    let new = after.delegations.as_ref().unwrap_or(&none);
    if old != new {
        delegation_lines(&mut lines, role, old, new);
    }
    unknown_lines(&mut lines, Some(&old.unknown), &new.unknown);
    unknown_lines(&mut lines, before.map(|targets| &targets.unknown), &after.unknown);
    lines
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

fn delegation_lines(lines: &mut Vec<(Sign, String)>, role: &RoleName, before: &Delegations, after: &Delegations) {
    let (old, new) = (described(before), described(after));
    for (name, _) in old.iter().filter(|(name, _)| new.iter().all(|(other, _)| other != name)) {
        lines.push((Sign::Removed, format!("delegation to {name}")));
    }
    for (name, description) in &new {
        let before_description =
            old.iter().find(|(other, _)| other == name).map(|(_, description)| description.clone());
        compare(lines, before_description, Some(description.clone()));
    }
    // 4.5: the order is the priority.
    let order = |these: &[(String, String)], others: &[(String, String)]| {
        let others: BTreeSet<&String> = others.iter().map(|(name, _)| name).collect();
        let both: Vec<&str> =
            these.iter().map(|(name, _)| name).filter(|name| others.contains(name)).map(String::as_str).collect();
        both.join(", ")
    };
    let orders = [order(&old, &new), order(&new, &old)].map(|order| Some(format!("delegations in the order {order}")));
    let [old_order, new_order] = orders;
    compare(lines, old_order, new_order);
    let names = match &after.roles {
        DelegatedRoles::Succinct(bins) => bins.names().take(1).collect(),
        DelegatedRoles::Listed(_) => after.names(),
    };
    for name in names {
        let ring = |delegations: &Delegations| delegations.key_ring(role, &name).ok();
        ring_lines(lines, &name, ring(before).as_ref(), ring(after).as_ref());
    }
}

/// Each delegation in words, by name.
fn described(delegations: &Delegations) -> Vec<(String, String)> {
    match &delegations.roles {
        DelegatedRoles::Succinct(bins) => {
            let name = format!("{}-*", printable(bins.name_prefix()));
            let description = format!("delegation to 2^{} succinct bins {name}", bins.bit_length());
            vec![(name, description)]
        }
        DelegatedRoles::Listed(roles) => {
            let describe = |delegation: &lastmile_metadata::Delegation| {
                let paths = match &delegation.paths {
                    Paths::Patterns(patterns) => patterns.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    Paths::HashPrefixes(prefixes) => {
                        prefixes.iter().map(|prefix| format!("#{}", prefix.as_str())).collect()
                    }
                };
                let terminating = if delegation.terminating { ", terminating" } else { "" };
                let name = delegation.name.to_string();
                let mut description = format!("delegation to {name}: {}{terminating}", paths.join(" "));
                for (member, value) in &delegation.unknown {
                    description += &format!(", {} = {}", printable(member), printable(&value.to_text()));
                }
                (name, description)
            };
            roles.iter().map(describe).collect()
        }
    }
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
    for (name, value) in after {
        let show = |value: &lastmile_metadata::Json| format!("{} = {}", printable(name), printable(&value.to_text()));
        compare(lines, before.and_then(|before| before.get(name)).map(show), Some(show(value)));
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
