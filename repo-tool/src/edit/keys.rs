//! Which keys a role trusts (spec 6.1): top-level roles in a new root, delegated ones in their delegator.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lastmile_keys::PublicKey;
use lastmile_metadata::{DelegatedRoles, Delegations, Key, KeyId, KeyRing, RoleName, Threshold};

use super::{Edit, drop_unused};
use crate::Error;

/// Where a role's keys are written, for a change.
struct Entry<'e> {
    keys: &'e mut BTreeMap<KeyId, Key>,
    keyids: &'e mut Vec<KeyId>,
    threshold: &'e mut Threshold,
}

impl Edit<'_> {
    /// The keys of `role` and its threshold, as they would become. Keys of unknown kinds are left out.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such role.
    pub fn trust(&mut self, role: &RoleName) -> Result<(Vec<PublicKey>, u32), Error> {
        let ring = if role.is_top_level() {
            self.root_view().key_ring(role)?
        } else {
            let delegator = self.delegator(role)?;
            let delegations = self.view(&delegator)?.delegations.clone().unwrap_or_default();
            delegations.key_ring(&delegator, role)?
        };
        let mut keys: Vec<PublicKey> = ring.keys().map(|(_, key)| key.clone()).collect();
        keys.sort();
        keys.dedup();
        Ok((keys, ring.threshold().get()))
    }

    /// Every delegated role, at any depth, as they would become: delegators first, each with its delegator. A role with
    /// two delegators comes twice. Reads all roles.
    ///
    /// # Errors
    /// When a file on the way does not verify.
    pub fn delegated_roles(&mut self) -> Result<Vec<(RoleName, RoleName)>, Error> {
        // Read from above, so that each is found at once below.
        self.published().read_all()?;
        let mut edges = Vec::new();
        let (mut waiting, mut seen) = (VecDeque::from([RoleName::TARGETS]), BTreeSet::new());
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

    /// Every role that would trust `key`, with its delegator; none for the top-level ones. Reads all roles.
    ///
    /// # Errors
    /// When a file on the way does not verify.
    pub fn roles_trusting(&mut self, key: &PublicKey) -> Result<Vec<(RoleName, Option<RoleName>)>, Error> {
        let trusts = |ring: &KeyRing| ring.keys().any(|(_, other)| other == key);
        let mut found = Vec::new();
        for role in RoleName::TOP_LEVEL {
            if self.root_view().key_ring(&role).is_ok_and(|ring| trusts(&ring)) {
                found.push((role, None));
            }
        }
        for (role, delegator) in self.delegated_roles()? {
            let delegations = self.view(&delegator)?.delegations.as_ref();
            let ring = delegations.and_then(|delegations| delegations.key_ring(&delegator, &role).ok());
            if ring.is_some_and(|ring| trusts(&ring)) {
                found.push((role, Some(delegator)));
            }
        }
        Ok(found)
    }

    /// Adds and removes keys of `role`. Succinct bins have their keys in common.
    ///
    /// # Errors
    /// [`Error::Refused`] when a key is there already, or is not, or too few are left for the threshold.
    pub fn rotate(&mut self, role: &RoleName, add: &[PublicKey], remove: &[PublicKey]) -> Result<(), Error> {
        let (before, _) = self.trust(role)?;
        if let Some(key) = add.iter().find(|key| before.contains(key)) {
            return Err(Error::Refused(format!("{role} trusts the key {} already", short(key))));
        }
        if let Some(key) = remove.iter().find(|key| !before.contains(key)) {
            return Err(Error::Refused(format!("{role} does not trust the key {}", short(key))));
        }
        self.change(role, |entry| {
            for key in add.iter().map(Key::from_public) {
                entry.keyids.push(key.keyid());
                entry.keys.insert(key.keyid(), key);
            }
            // By material: whatever id the key is listed under.
            let gone = |id: &KeyId| {
                entry.keys.get(id).and_then(|key| key.public_key().ok()).is_some_and(|key| remove.contains(key))
            };
            entry.keyids.retain(|id| !gone(id));
        })?;
        self.check_reachable(role)
    }

    /// Changes how many keys of `role` must sign.
    ///
    /// # Errors
    /// [`Error::Refused`] when it has fewer keys.
    pub fn set_threshold(&mut self, role: &RoleName, threshold: u32) -> Result<(), Error> {
        let new = Threshold::new(threshold).ok_or_else(|| Error::Usage("a threshold is at least 1".into()))?;
        self.change(role, |entry| *entry.threshold = new)?;
        self.check_reachable(role)
    }

    fn check_reachable(&mut self, role: &RoleName) -> Result<(), Error> {
        let (keys, threshold) = self.trust(role)?;
        if keys.len() < threshold as usize {
            let count = keys.len();
            return Err(Error::Refused(format!(
                "{role} would have {count} keys for a threshold of {threshold}: nobody could sign for it any more"
            )));
        }
        Ok(())
    }

    fn change(&mut self, role: &RoleName, change: impl FnOnce(&mut Entry<'_>)) -> Result<(), Error> {
        let missing = || Error::NotFound(format!("nobody delegates to a role {role}"));
        if role.is_top_level() {
            let root = self.root();
            let keys = root.roles.get_mut(role).ok_or_else(missing)?;
            let (keyids, threshold) = (&mut keys.keyids, &mut keys.threshold);
            change(&mut Entry { keys: &mut root.keys, keyids, threshold });
            let used: Vec<KeyId> = root.roles.values().flat_map(|keys| keys.keyids.clone()).collect();
            drop_unused(&mut root.keys, &used);
            return Ok(());
        }
        let delegator = self.delegator(role)?;
        let delegations = self.targets(&delegator)?.delegations.as_mut().ok_or_else(missing)?;
        let keys = &mut delegations.keys;
        let used = match &mut delegations.roles {
            DelegatedRoles::Listed(roles) => {
                let found = roles.iter_mut().find(|delegation| delegation.name == *role).ok_or_else(missing)?;
                change(&mut Entry { keys, keyids: &mut found.keyids, threshold: &mut found.threshold });
                roles.iter().flat_map(|delegation| delegation.keyids.clone()).collect()
            }
            DelegatedRoles::Succinct(bins) => {
                change(&mut Entry { keys, keyids: &mut bins.keyids, threshold: &mut bins.threshold });
                bins.keyids.clone()
            }
        };
        drop_unused(&mut delegations.keys, &used);
        Ok(())
    }
}

/// The beginning of a key's id, for messages.
#[must_use]
pub fn short(key: &PublicKey) -> String {
    crate::key_store::keyid_of(key).chars().take(8).collect()
}
