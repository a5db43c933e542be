//! Which roles list a key, in whatever way it is written, and what roles list that is no key to be used here.
//!
//! Lastmile counts neither keys of unknown kinds nor broken ones. Other clients may, so that they are looked for, shown
//! and removed like all others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lastmile_client::text::printable;
use lastmile_keys::KeyMaterial;
use lastmile_metadata::{DelegatedRoles, Delegations, Key, KeyId, RoleName, Root};

/// An id in the list of a role that does not stand for one key to be used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    /// The id.
    pub id: KeyId,
    /// What is the matter with it.
    pub kind: OddKind,
}

/// What is the matter with an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OddKind {
    /// Its key is of an unknown kind, or broken. Other clients may honour it.
    Unusable(Box<Key>),
    /// No key stands under it.
    Dangling,
    /// It is listed more than once.
    Twice,
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = printable(self.id.as_str());
        match &self.kind {
            OddKind::Unusable(key) => {
                let reason = key.public_key().err().map(ToString::to_string).unwrap_or_default();
                write!(f, "{id} cannot be used here, and other clients may honour it: {}", printable(&reason))
            }
            OddKind::Dangling => write!(f, "{id} names no key"),
            OddKind::Twice => write!(f, "{id} is listed more than once"),
        }
    }
}

/// The odd ids among `keyids`, each once.
pub(crate) fn odd_ids(keys: &BTreeMap<KeyId, Key>, keyids: &[KeyId]) -> Vec<Odd> {
    let mut counts: BTreeMap<&KeyId, usize> = BTreeMap::new();
    keyids.iter().for_each(|id| *counts.entry(id).or_default() += 1);
    let kind = |id: &KeyId, count: usize| match keys.get(id) {
        Some(key) if key.public_key().is_err() => Some(OddKind::Unusable(Box::new(key.clone()))),
        None => Some(OddKind::Dangling),
        Some(_) => (count > 1).then_some(OddKind::Twice),
    };
    counts.into_iter().filter_map(|(id, count)| Some(Odd { id: id.clone(), kind: kind(id, count)? })).collect()
}

/// The odd ids of each role of a root.
pub(crate) fn odd_in_root(root: &Root) -> Vec<(RoleName, Odd)> {
    let odd = root
        .roles
        .iter()
        .flat_map(|(name, role)| odd_ids(&root.keys, &role.keyids).into_iter().map(|odd| (name.clone(), odd)));
    odd.collect()
}

/// The odd ids of each delegated role; of succinct bins, which have one list, those of the first.
pub(crate) fn odd_in_delegations(delegations: &Delegations) -> Vec<(RoleName, Odd)> {
    let of_role = |name: &RoleName, keyids: &[KeyId]| -> Vec<(RoleName, Odd)> {
        odd_ids(&delegations.keys, keyids).into_iter().map(|odd| (name.clone(), odd)).collect()
    };
    match &delegations.roles {
        DelegatedRoles::Succinct(bins) => of_role(&bins.bin(0), &bins.keyids),
        DelegatedRoles::Listed(roles) => roles.iter().flat_map(|role| of_role(&role.name, &role.keyids)).collect(),
    }
}

/// The roles of a root that list this key.
pub(crate) fn roles_of_root(root: &Root, material: &KeyMaterial) -> Vec<RoleName> {
    let ids = ids_of(&root.keys, material);
    let listing = root.roles.iter().filter(|(_, role)| role.keyids.iter().any(|id| ids.contains(id)));
    let listing: BTreeSet<&RoleName> = listing.map(|(name, _)| name).collect();
    let known = RoleName::TOP_LEVEL.iter().filter(|name| listing.contains(name));
    let others = listing.iter().filter(|name| !name.is_top_level()).copied();
    known.chain(others).cloned().collect()
}

/// The delegated roles that list this key.
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

/// The ids under which this key stands.
fn ids_of(keys: &BTreeMap<KeyId, Key>, material: &KeyMaterial) -> BTreeSet<KeyId> {
    keys.iter().filter(|(_, key)| key.material() == *material).map(|(id, _)| id.clone()).collect()
}
