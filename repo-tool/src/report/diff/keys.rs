//! Describes changes to the keys in a root or in delegations, and to the key lists of roles. Unusable keys are
//! described as well.

use std::collections::{BTreeMap, BTreeSet};

use lastmile_metadata::{DelegatedRoles, Delegations, Key, KeyId, Root, Threshold};

use super::lines::Lines;
use super::role_diff::Sign;
use crate::edit::bins::Bins;
use crate::key_store::keyid_of;

pub(super) struct RoleKeyList<'m> {
    name: String,
    /// The path of the list of key IDs, relative to the root or to the delegations.
    place: Vec<String>,
    keys: &'m BTreeMap<KeyId, Key>,
    keyids: &'m [KeyId],
    threshold: Threshold,
}

impl<'m> RoleKeyList<'m> {
    pub(super) fn of_root(root: &'m Root) -> Vec<Self> {
        let listing = |(name, role): (&lastmile_metadata::RoleName, &'m lastmile_metadata::RoleKeys)| Self {
            name: name.as_str().to_string(),
            place: ["roles", name.as_str(), "keyids"].map(ToString::to_string).to_vec(),
            keys: &root.keys,
            keyids: &role.keyids,
            threshold: role.threshold,
        };
        root.roles.iter().map(listing).collect()
    }

    /// Returns the key list of each delegated role. Bins share their keys, so all bins together have one entry, under
    /// the name of the first bin.
    pub(super) fn of_delegations(delegations: &'m Delegations) -> Vec<Self> {
        let bins = Bins::of(delegations);
        let keys = &delegations.keys;
        match &delegations.roles {
            DelegatedRoles::Succinct(succinct) => vec![Self {
                name: succinct.bin(0).as_str().to_string(),
                place: ["succinct_roles", "keyids"].map(ToString::to_string).to_vec(),
                keys,
                keyids: &succinct.keyids,
                threshold: succinct.threshold,
            }],
            DelegatedRoles::Listed(roles) => {
                let first = bins.as_ref().map(Bins::first);
                let is_listed =
                    |name| first.as_ref() == Some(name) || bins.as_ref().is_none_or(|bins| !bins.contains(name));
                let listed = roles.iter().filter(|role| is_listed(&role.name));
                let listing = |role: &'m lastmile_metadata::Delegation| Self {
                    name: role.name.as_str().to_string(),
                    place: ["roles", role.name.as_str(), "keyids"].map(ToString::to_string).to_vec(),
                    keys,
                    keyids: &role.keyids,
                    threshold: role.threshold,
                };
                listed.map(listing).collect()
            }
        }
    }

    /// For the common key list of bins, this is the name of the first bin.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Maps each key ID to the number of times that it is listed.
    fn ids(&self) -> BTreeMap<&'m KeyId, usize> {
        let mut ids = BTreeMap::new();
        self.keyids.iter().for_each(|id| *ids.entry(id).or_default() += 1);
        ids
    }

    fn described(&self) -> BTreeSet<String> {
        let described = |(id, count): (&KeyId, usize)| {
            let key = match self.keys.get(id) {
                Some(key) => described_key(id, key),
                None => format!("key ID {} without a key", id.as_str()),
            };
            let times = if count > 1 { format!(", listed {count} times") } else { String::new() };
            format!("{} {key}{times}", self.name)
        };
        self.ids().into_iter().map(described).collect()
    }
}

/// Describes a key by the ID that is computed from the key. If the metadata lists the key under a different ID, shows
/// that ID as well.
fn described_key(id: &KeyId, key: &Key) -> String {
    match key.public_key() {
        Ok(public) => {
            let computed = keyid_of(public);
            if id.as_str() == computed {
                format!("key {} {computed}", public.keytype())
            } else {
                format!("key {} {computed}, listed as {}", public.keytype(), id.as_str())
            }
        }
        Err(error) => {
            format!("key that lastmile cannot use ({error}): {}, listed as {}", key.to_json().to_text(), id.as_str())
        }
    }
}

pub(super) fn ring_lines(
    lines: &mut Lines,
    before: &[RoleKeyList<'_>],
    after: &[RoleKeyList<'_>],
    is_touched: &dyn Fn(&str) -> bool,
) {
    let by_name = |all| -> BTreeMap<String, &RoleKeyList<'_>> {
        let all: &[RoleKeyList<'_>] = all;
        all.iter().map(|listing| (listing.name.clone(), listing)).collect()
    };
    let old_by_name = by_name(before);
    let new_by_name = by_name(after);
    let names: BTreeSet<&String> = old_by_name.keys().chain(new_by_name.keys()).collect();
    for name in names {
        let old = old_by_name.get(name);
        let new = new_by_name.get(name);
        let keys = |listing: Option<&&RoleKeyList<'_>>| listing.map(|listing| listing.described()).unwrap_or_default();
        let old_keys = keys(old);
        let new_keys = keys(new);
        if old_keys == new_keys && !is_touched(name) {
            continue;
        }
        old_keys.difference(&new_keys).for_each(|key| lines.push(Sign::Removed, key));
        new_keys.difference(&old_keys).for_each(|key| lines.push(Sign::Added, key));
        let threshold = |listing: &&RoleKeyList<'_>| format!("{name} threshold {}", listing.threshold);
        lines.compare(old.map(threshold), new.map(threshold));
    }
}

#[derive(Clone, Copy)]
pub(super) struct KeysBefore<'k> {
    pub(super) keys: Option<&'k BTreeMap<KeyId, Key>>,
    pub(super) rings: &'k [RoleKeyList<'k>],
}

/// Describes the changes that [`ring_lines`] does not show: added and removed keys that no role lists, and keys whose
/// encoding changes.
///
/// Returns the unusual entries, each as a pointer and a line. These are added or changed keys that are unusable, and
/// key IDs that a role lists more often than before. A key ID is returned only if it has no usable key or the role
/// lists it more than once.
pub(super) fn key_lines(
    lines: &mut Lines,
    before: KeysBefore<'_>,
    after: &BTreeMap<KeyId, Key>,
    rings: &[RoleKeyList<'_>],
    touched: &BTreeSet<&str>,
) -> Vec<(Vec<String>, String)> {
    let lists = |rings: &[RoleKeyList<'_>], id: &KeyId| rings.iter().any(|ring| ring.keyids.contains(id));
    let mut unusual = Vec::new();
    for text in touched {
        let id = KeyId::new(*text);
        let old = before.keys.and_then(|keys| keys.get(&id));
        let new = after.get(&id);
        match (old, new) {
            (None, Some(key)) if !lists(rings, &id) => {
                lines.push(Sign::Added, &format!("{} (no role lists it)", described_key(&id, key)));
            }
            (Some(key), None) if !lists(before.rings, &id) => {
                lines.push(Sign::Removed, &format!("{} (no role listed it)", described_key(&id, key)));
            }
            (Some(old), Some(new)) if old != new => {
                let old = old.to_json().to_text();
                let new = new.to_json().to_text();
                lines.push(Sign::Changed, &format!("the key with the ID {text} becomes {new} (was: {old})"));
            }
            _ => {}
        }
        if let Some(key) = new.filter(|key| old != Some(*key) && key.public_key().is_err()) {
            unusual.push((vec!["keys".to_string(), (*text).to_string()], described_key(&id, key)));
        }
    }
    // Compare each list of key IDs with the earlier list at the same path in the metadata. Comparing only the keys is
    // not enough, because a role may start to list a key that already existed.
    let old_by_place: BTreeMap<&[String], &RoleKeyList<'_>> =
        before.rings.iter().rev().map(|old| (old.place.as_slice(), old)).collect();
    for ring in rings {
        let old = old_by_place.get(ring.place.as_slice()).map(|old| old.ids()).unwrap_or_default();
        for (id, count) in ring.ids() {
            let is_usable = ring.keys.get(id).is_some_and(|key| key.public_key().is_ok());
            if old.get(id).copied().unwrap_or(0) < count && (!is_usable || count > 1) {
                let what = ring.keys.get(id).map_or_else(|| "an ID without a key".into(), |key| described_key(id, key));
                let place = ring.place.iter().cloned().chain([id.as_str().to_string()]).collect();
                let times = if count > 1 { format!(", listed {count} times") } else { String::new() };
                unusual.push((place, format!("{} trusts {what}{times}", ring.name)));
            }
        }
    }
    unusual
}
