//! Changes the keys and thresholds of roles (spec 6.1). A new root changes the keys of top-level roles. The delegating
//! role changes the keys of a delegated role.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lastmile_keys::{KeyMaterial, PublicKey};
use lastmile_metadata::{DelegatedRoles, Delegations, Key, KeyId, KeyRing, RoleName, Threshold};

use super::{Edit, drop_unused, unknown};
use crate::draft::Draft;
use crate::published::Published;
use crate::{EditError, Error, InvalidInput, trusting};

pub(super) struct RoleKeysMut<'e> {
    keys: &'e mut BTreeMap<KeyId, Key>,
    keyids: &'e mut Vec<KeyId>,
    threshold: &'e mut Threshold,
}

impl RoleKeysMut<'_> {
    /// Returns the keys of the role that lastmile can use, without duplicates.
    fn publics(&self) -> BTreeSet<&PublicKey> {
        self.keyids.iter().filter_map(|id| self.keys.get(id)?.public_key().ok()).collect()
    }

    fn rotate(&mut self, role: &RoleName, add: &[PublicKey], remove: &[KeyMaterial]) -> Result<(), Error> {
        let before = self.publics();
        if let Some(key) = add.iter().find(|key| before.contains(key)) {
            return Err(EditError::KeyTrusted { role: role.clone(), key: short(key) }.into());
        }
        let listed: BTreeSet<KeyMaterial> =
            self.keyids.iter().filter_map(|id| Some(self.keys.get(id)?.material())).collect();
        if let Some(key) = remove.iter().find(|key| !listed.contains(key)) {
            return Err(EditError::KeyNotTrusted { role: role.clone(), key: short_material(key) }.into());
        }
        // TUF specification 2.1.1: a lost root key can be replaced, like any other key.
        for key in add.iter().map(Key::from_public) {
            self.keyids.push(key.keyid());
            self.keys.insert(key.keyid(), key);
        }
        // The same key may be listed under several key IDs and in several encodings. A comparison of the key material
        // finds all of these entries.
        let gone = |id: &KeyId| self.keys.get(id).is_some_and(|key| remove.contains(&key.material()));
        self.keyids.retain(|id| !gone(id));
        self.check_reachable(role)
    }

    /// Removes the key IDs `ids` from the role's key list. However, if lastmile can use the key with a certain ID,
    /// removes only the repeated entries of this key ID.
    pub(super) fn remove_ids(&mut self, role: &RoleName, ids: &[KeyId]) -> Result<(), Error> {
        let mut seen = BTreeSet::new();
        let keys = &*self.keys;
        let is_usable = |id: &KeyId| keys.get(id).is_some_and(|key| key.public_key().is_ok());
        self.keyids.retain(|id| !ids.contains(id) || (is_usable(id) && seen.insert(id.clone())));
        self.check_reachable(role)
    }

    pub(super) fn set_threshold(&mut self, role: &RoleName, threshold: Threshold) -> Result<(), Error> {
        *self.threshold = threshold;
        self.check_reachable(role)
    }

    fn check_reachable(&self, role: &RoleName) -> Result<(), Error> {
        let keys = self.publics().len();
        let threshold = self.threshold.get();
        if keys < threshold as usize {
            return Err(EditError::TooFewKeys { role: role.clone(), keys, threshold }.into());
        }
        Ok(())
    }
}

impl Edit<'_> {
    /// Returns the keys of `role` that lastmile can use, and the threshold of `role`, in the draft.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the role does not exist.
    pub fn trust(&mut self, role: &RoleName) -> Result<(Vec<PublicKey>, u32), Error> {
        let ring = if self.root_view().roles.contains_key(role) {
            self.root_view().key_ring(role)?
        } else {
            let delegator = self.delegator(role)?;
            let delegations = self.view(&delegator)?.delegations.as_ref();
            delegations.ok_or_else(|| unknown(role))?.key_ring(&delegator, role)?
        };
        let mut keys: Vec<PublicKey> = ring.keys().map(|(_, key)| key.clone()).collect();
        keys.sort();
        keys.dedup();
        Ok((keys, ring.threshold().get()))
    }

    /// Returns all delegated roles of the draft, at any depth, as pairs: the delegated role, and its delegating role.
    /// The order is breadth-first from `targets`. A role with two delegating roles has two entries. Reads all roles.
    ///
    /// # Errors
    /// Returns an error if the metadata of a delegated role does not verify.
    pub fn delegated_roles(&mut self) -> Result<Vec<(RoleName, RoleName)>, Error> {
        // Read all roles first, because `view` would otherwise search for each role separately.
        self.published().read_all()?;
        let mut edges = Vec::new();
        let mut waiting = VecDeque::from([RoleName::TARGETS]);
        let mut seen = BTreeSet::new();
        while let Some(delegator) = waiting.pop_front() {
            if !seen.insert(delegator.clone()) {
                continue;
            }
            let children = self.view(&delegator)?.delegations.as_ref().map(Delegations::names).unwrap_or_default();
            waiting.extend(children.iter().cloned());
            edges.extend(children.into_iter().map(|child| (child, delegator.clone())));
        }
        Ok(edges)
    }

    /// Returns every role of the draft whose key list contains `key` in any encoding, with its delegating role. For a
    /// top-level role, the delegating role is `None`. Reads all roles.
    ///
    /// # Errors
    /// Returns an error if the metadata of a delegated role does not verify.
    pub fn roles_trusting(&mut self, key: impl Into<KeyMaterial>) -> Result<Vec<(RoleName, Option<RoleName>)>, Error> {
        let key = key.into();
        let top_level = trusting::roles_of_root(self.root_view(), &key);
        let mut found: Vec<_> = top_level.into_iter().map(|role| (role, None)).collect();
        let mut by_delegator: BTreeMap<RoleName, BTreeSet<RoleName>> = BTreeMap::new();
        for (role, delegator) in self.delegated_roles()? {
            if !by_delegator.contains_key(&delegator) {
                let delegations = self.view(&delegator)?.delegations.as_ref();
                let trusting = delegations.map(|delegations| trusting::delegated_roles(delegations, &key));
                by_delegator.insert(delegator.clone(), trusting.unwrap_or_default());
            }
            if by_delegator.get(&delegator).is_some_and(|trusting| trusting.contains(&role)) {
                found.push((role, Some(delegator)));
            }
        }
        Ok(found)
    }

    /// Returns one entry for each delegation of the draft: the delegated role, the delegating role, and the key ring of
    /// the delegated role. Reads all roles.
    ///
    /// # Errors
    /// Returns an error if the metadata of a delegated role does not verify.
    pub fn delegated_rings(&mut self) -> Result<Vec<(RoleName, RoleName, KeyRing)>, Error> {
        // Collect each delegating role once, in the order of `delegated_roles`.
        let mut delegators: Vec<RoleName> = Vec::new();
        let mut seen = BTreeSet::new();
        for (_, delegator) in self.delegated_roles()? {
            if seen.insert(delegator.clone()) {
                delegators.push(delegator);
            }
        }
        let mut found = Vec::new();
        for delegator in delegators {
            let rings = self.view(&delegator)?.delegations.iter().flat_map(Delegations::rings);
            found.extend(rings.map(|(role, ring)| (role, delegator.clone(), ring)));
        }
        Ok(found)
    }

    /// Adds and removes keys of `role`. If the role is a succinct bin, the keys of all bins change, because the bins
    /// share their keys.
    ///
    /// # Errors
    /// Returns the errors of [`Edit::rotate_all`].
    pub fn rotate(&mut self, role: &RoleName, add: &[PublicKey], remove: &[PublicKey]) -> Result<(), Error> {
        self.rotate_all(std::slice::from_ref(role), add, remove)
    }

    /// Adds and removes keys of several roles. If `roles` contains a succinct bin, all bins of its delegating role
    /// change.
    ///
    /// # Errors
    /// [`Error::Edit`] if an added key is already trusted for a role, if a removed key is not trusted for a role, or if
    /// a role would have fewer keys than its threshold.
    pub fn rotate_all(&mut self, roles: &[RoleName], add: &[PublicKey], remove: &[PublicKey]) -> Result<(), Error> {
        let remove: Vec<KeyMaterial> = remove.iter().map(KeyMaterial::from).collect();
        self.rotate_material(roles, add, &remove)
    }

    /// Like [`Edit::rotate_all`], but can also remove keys that lastmile cannot use.
    ///
    /// # Errors
    /// Returns the errors of [`Edit::rotate_all`].
    pub fn rotate_material(
        &mut self,
        roles: &[RoleName],
        add: &[PublicKey],
        remove: &[KeyMaterial],
    ) -> Result<(), Error> {
        self.change(roles, |role, entry| entry.rotate(role, add, remove))
    }

    /// Sets the number of keys that must sign for `role`.
    ///
    /// # Errors
    /// Returns the errors of [`Edit::set_threshold_of_all`].
    pub fn set_threshold(&mut self, role: &RoleName, threshold: u32) -> Result<(), Error> {
        self.set_threshold_of_all(std::slice::from_ref(role), threshold)
    }

    /// Sets the threshold of several roles. If `roles` contains a succinct bin, all bins of its delegating role change.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the threshold is 0, and [`Error::Edit`] if a role has fewer keys than the threshold.
    pub fn set_threshold_of_all(&mut self, roles: &[RoleName], threshold: u32) -> Result<(), Error> {
        let new = Threshold::new(threshold).ok_or(InvalidInput::Threshold)?;
        self.change(roles, |role, entry| entry.set_threshold(role, new))
    }

    pub(super) fn change(
        &mut self,
        roles: &[RoleName],
        change: impl Fn(&RoleName, &mut RoleKeysMut<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (top_level, delegated): (Vec<&RoleName>, Vec<&RoleName>) =
            roles.iter().partition(|role| role.is_top_level() || self.root_view().roles.contains_key(role));
        for role in top_level {
            // TUF specification 6.1: a new root changes the keys of a top-level role.
            let root = self.root();
            let keys = root.roles.get_mut(role).ok_or_else(|| unknown(role))?;
            let keyids = &mut keys.keyids;
            let threshold = &mut keys.threshold;
            change(role, &mut RoleKeysMut { keys: &mut root.keys, keyids, threshold })?;
            let used: BTreeSet<KeyId> = root.roles.values().flat_map(|keys| keys.keyids.clone()).collect();
            drop_unused(&mut root.keys, &used);
        }
        for (delegator, roles) in self.by_delegator(&delegated)? {
            // TUF specification 6.1: the delegating role replaces the keys of a delegated role.
            let delegations = self.targets(&delegator)?.delegations.as_mut();
            change_delegated(delegations.ok_or_else(|| unknown(&delegator))?, &roles, &change)?;
        }
        Ok(())
    }

    /// Groups `roles` by delegating role. For a single role, searches for that role only. Otherwise, reads all roles
    /// once.
    pub(super) fn by_delegator(
        &mut self,
        roles: &[&RoleName],
    ) -> Result<BTreeMap<RoleName, BTreeSet<RoleName>>, Error> {
        let mut found: BTreeMap<RoleName, BTreeSet<RoleName>> = BTreeMap::new();
        if let [role] = roles {
            let delegator = self.delegator(role)?;
            found.entry(delegator).or_default().insert((*role).clone());
            return Ok(found);
        }
        let mut wanted: BTreeSet<&RoleName> = roles.iter().copied().collect();
        if !wanted.is_empty() {
            for (role, delegator) in self.delegated_roles()? {
                // If several roles delegate to `role`, use the first delegating role.
                if wanted.remove(&role) {
                    found.entry(delegator).or_default().insert(role);
                }
            }
        }
        wanted.first().map_or(Ok(found), |role| Err(unknown(role)))
    }
}

pub(super) fn change_delegated(
    delegations: &mut Delegations,
    roles: &BTreeSet<RoleName>,
    change: &impl Fn(&RoleName, &mut RoleKeysMut<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let keys = &mut delegations.keys;
    let used: BTreeSet<KeyId> = match &mut delegations.roles {
        DelegatedRoles::Listed(listed) => {
            for found in listed.iter_mut().filter(|found| roles.contains(&found.name)) {
                let keyids = &mut found.keyids;
                let threshold = &mut found.threshold;
                change(&found.name, &mut RoleKeysMut { keys: &mut *keys, keyids, threshold })?;
            }
            listed.iter().flat_map(|delegation| delegation.keyids.iter().cloned()).collect()
        }
        DelegatedRoles::Succinct(bins) => {
            if let Some(role) = roles.first() {
                change(role, &mut RoleKeysMut { keys, keyids: &mut bins.keyids, threshold: &mut bins.threshold })?;
            }
            bins.keyids.iter().cloned().collect()
        }
    };
    drop_unused(&mut delegations.keys, &used);
    Ok(())
}

impl Published {
    /// Returns every published role whose key list contains `key` in any encoding, with its delegating role. For a
    /// top-level role, the delegating role is `None`. Reads all roles.
    pub fn roles_trusting(&mut self, key: impl Into<KeyMaterial>) -> Result<Vec<(RoleName, Option<RoleName>)>, Error> {
        Edit::new(self, Draft::default()).roles_trusting(key)
    }
}

/// Returns the first 16 characters of the key material, for messages about keys without a key ID.
#[must_use]
pub(crate) fn short_material(key: &KeyMaterial) -> String {
    key.to_string().chars().take(16).collect()
}

/// Returns the first 8 digits of the key ID, for messages.
#[must_use]
pub(crate) fn short(key: &PublicKey) -> String {
    crate::key_store::keyid_of(key).chars().take(8).collect()
}
