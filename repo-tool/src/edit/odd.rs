//! Finds and removes odd key IDs. A key ID is odd if a role lists it more than once, if no key has this ID, or if
//! lastmile cannot use the key.

use std::collections::BTreeSet;

use lastmile_metadata::{DelegatedRoles, KeyId, RoleName};

use super::{Edit, unknown};
use crate::Error;
use crate::trusting::{OddKeyId, odd_ids, odd_in_delegations, odd_in_root};

impl Edit<'_> {
    /// Returns the [odd](OddKeyId) key IDs that `roles` list in the draft. Reads each delegating role only once.
    ///
    /// # Errors
    /// [`Error::NotFound`] if a role does not exist.
    pub fn odd_ids(&mut self, roles: &[RoleName]) -> Result<Vec<OddKeyId>, Error> {
        let wanted = |all: Vec<(RoleName, OddKeyId)>, roles: &BTreeSet<RoleName>| {
            all.into_iter().filter(|(name, _)| roles.contains(name)).map(|(_, odd)| odd).collect::<Vec<_>>()
        };
        let (of_root, delegated): (Vec<&RoleName>, Vec<&RoleName>) =
            roles.iter().partition(|role| self.root_view().roles.contains_key(role));
        let mut found = if of_root.is_empty() {
            Vec::new()
        } else {
            wanted(odd_in_root(self.root_view()), &of_root.into_iter().cloned().collect())
        };
        for (delegator, roles) in self.by_delegator(&delegated)? {
            let delegations = self.view(&delegator)?.delegations.as_ref().ok_or_else(|| unknown(&delegator))?;
            // Succinct bins share one list of key IDs.
            found.extend(match &delegations.roles {
                DelegatedRoles::Succinct(bins) => odd_ids(&delegations.keys, &bins.keyids),
                DelegatedRoles::Listed(_) => wanted(odd_in_delegations(delegations), &roles),
            });
        }
        Ok(found)
    }

    /// Removes the [odd](OddKeyId) key IDs `ids` from the key lists of `roles`. If a key ID is odd only because a role
    /// lists it more than once, keeps the first of these entries.
    ///
    /// # Errors
    /// [`Error::Edit`] if a role would have fewer usable keys than its threshold.
    pub fn remove_ids(&mut self, roles: &[RoleName], ids: &[KeyId]) -> Result<(), Error> {
        self.change(roles, |role, entry| entry.remove_ids(role, ids))
    }

    /// Returns every [odd](OddKeyId) key ID in the draft, with the role that lists the key ID. Reads all roles.
    ///
    /// # Errors
    /// Returns an error if the metadata of a delegated role does not verify.
    pub fn all_odd_ids(&mut self) -> Result<Vec<(RoleName, OddKeyId)>, Error> {
        let mut found = odd_in_root(self.root_view());
        let mut delegators = Vec::new();
        let mut seen = BTreeSet::new();
        for (_, delegator) in self.delegated_roles()? {
            if seen.insert(delegator.clone()) {
                delegators.push(delegator);
            }
        }
        for delegator in delegators {
            found.extend(self.view(&delegator)?.delegations.iter().flat_map(odd_in_delegations));
        }
        Ok(found)
    }
}
