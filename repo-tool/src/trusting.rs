//! Finds the roles that list a given key, whatever the encoding of the key. Also finds odd key IDs in the key lists of
//! roles: key IDs without a usable key, and key IDs that are listed more than once.
//!
//! Lastmile ignores invalid keys and keys of unknown types. Other clients may accept such keys, so this tool finds,
//! shows and removes them like all other keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lastmile_client::text::printable;
use lastmile_keys::KeyMaterial;
use lastmile_metadata::{DelegatedRoles, Delegations, Key, KeyId, RoleName, Root};

/// A key ID in a role's key list that is listed more than once, or for which there is no usable key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddKeyId {
    /// The odd key ID.
    pub id: KeyId,
    /// The reason why the key ID is odd.
    pub kind: OddKind,
}

/// The reason why a key ID is odd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OddKind {
    /// The key has an unknown type or is invalid. Other clients may accept this key.
    Unusable(Box<Key>),
    /// No key has this ID.
    Dangling,
    /// The key ID is listed more than once.
    Twice,
}

impl fmt::Display for OddKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = printable(self.id.as_str());
        match &self.kind {
            OddKind::Unusable(key) => {
                let reason = key.public_key().err().map(ToString::to_string).unwrap_or_default();
                write!(f, "{id} cannot be used by lastmile, but other clients may honor it: {}", printable(&reason))
            }
            OddKind::Dangling => write!(f, "{id} has no key"),
            OddKind::Twice => write!(f, "{id} is listed more than once"),
        }
    }
}

/// Returns each [odd](OddKeyId) key ID in `keyids` once.
pub(crate) fn odd_ids(keys: &BTreeMap<KeyId, Key>, keyids: &[KeyId]) -> Vec<OddKeyId> {
    let mut counts: BTreeMap<&KeyId, usize> = BTreeMap::new();
    keyids.iter().for_each(|id| *counts.entry(id).or_default() += 1);
    let kind = |id: &KeyId, count: usize| match keys.get(id) {
        Some(key) if key.public_key().is_err() => Some(OddKind::Unusable(Box::new(key.clone()))),
        None => Some(OddKind::Dangling),
        Some(_) => (count > 1).then_some(OddKind::Twice),
    };
    counts.into_iter().filter_map(|(id, count)| Some(OddKeyId { id: id.clone(), kind: kind(id, count)? })).collect()
}

pub(crate) fn odd_in_root(root: &Root) -> Vec<(RoleName, OddKeyId)> {
    let odd = root
        .roles
        .iter()
        .flat_map(|(name, role)| odd_ids(&root.keys, &role.keyids).into_iter().map(|odd| (name.clone(), odd)));
    odd.collect()
}

/// Returns the [odd](OddKeyId) key IDs in delegations, each with the delegated role that lists it. Succinct bins share one
/// key list, so their odd key IDs are returned only once, with the first bin.
pub(crate) fn odd_in_delegations(delegations: &Delegations) -> Vec<(RoleName, OddKeyId)> {
    let of_role = |name: &RoleName, keyids: &[KeyId]| -> Vec<(RoleName, OddKeyId)> {
        odd_ids(&delegations.keys, keyids).into_iter().map(|odd| (name.clone(), odd)).collect()
    };
    match &delegations.roles {
        DelegatedRoles::Succinct(bins) => of_role(&bins.bin(0), &bins.keyids),
        DelegatedRoles::Listed(roles) => roles.iter().flat_map(|role| of_role(&role.name, &role.keyids)).collect(),
    }
}

/// Returns the roles of a root whose key lists contain the key `material`.
pub(crate) fn roles_of_root(root: &Root, material: &KeyMaterial) -> Vec<RoleName> {
    let ids = ids_of(&root.keys, material);
    let listing = root.roles.iter().filter(|(_, role)| role.keyids.iter().any(|id| ids.contains(id)));
    let listing: BTreeSet<&RoleName> = listing.map(|(name, _)| name).collect();
    let known = RoleName::TOP_LEVEL.iter().filter(|name| listing.contains(name));
    let others = listing.iter().filter(|name| !name.is_top_level()).copied();
    known.chain(others).cloned().collect()
}

/// Returns the delegated roles whose key lists contain the key `material`.
pub(crate) fn delegated_roles(delegations: &Delegations, material: &KeyMaterial) -> BTreeSet<RoleName> {
    let ids = ids_of(&delegations.keys, material);
    let lists = |keyids: &[KeyId]| !ids.is_empty() && keyids.iter().any(|id| ids.contains(id));
    match &delegations.roles {
        DelegatedRoles::Succinct(bins) if lists(&bins.keyids) => bins.names().collect(),
        DelegatedRoles::Succinct(_) => BTreeSet::new(),
        DelegatedRoles::Listed(roles) => {
            roles.iter().filter(|role| lists(&role.keyids)).map(|role| role.name.clone()).collect()
        }
    }
}

fn ids_of(keys: &BTreeMap<KeyId, Key>, material: &KeyMaterial) -> BTreeSet<KeyId> {
    keys.iter().filter(|(_, key)| key.material() == *material).map(|(id, _)| id.clone()).collect()
}
