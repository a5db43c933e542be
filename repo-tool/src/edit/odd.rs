//! Removing what a role lists that is no key to be used here.

use std::collections::BTreeSet;

use lastmile_metadata::{DelegatedRoles, KeyId, RoleName};

use super::{Edit, unknown};
use crate::Error;
use crate::trusting::{Odd, odd_ids, odd_in_delegations, odd_in_root};

impl Edit<'_> {
    /// The ids in the lists of these roles, as they would become, that do not stand for one key to be used here. Each
    /// delegator is read once, however many of its roles are asked for.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such role.
    pub fn odd_ids(&mut self, roles: &[RoleName]) -> Result<Vec<Odd>, Error> {
        let wanted = |all: Vec<(RoleName, Odd)>, roles: &BTreeSet<RoleName>| {
            all.into_iter().filter(|(name, _)| roles.contains(name)).map(|(_, odd)| odd).collect::<Vec<_>>()
        };
        let (of_root, delegated): (Vec<&RoleName>, Vec<&RoleName>) =
            roles.iter().partition(|role| self.root_view().roles.contains_key(role));
        let mut found = match of_root.is_empty() {
            true => Vec::new(),
            false => wanted(odd_in_root(self.root_view()), &of_root.into_iter().cloned().collect()),
        };
        for (delegator, roles) in self.by_delegator(&delegated)? {
            let delegations = self.view(&delegator)?.delegations.as_ref().ok_or_else(|| unknown(&delegator))?;
            // All succinct bins have the list of the first.
            found.extend(match &delegations.roles {
                DelegatedRoles::Succinct(bins) => odd_ids(&delegations.keys, &bins.keyids),
                DelegatedRoles::Listed(_) => wanted(odd_in_delegations(delegations), &roles),
            });
        }
        Ok(found)
    }

    /// Takes odd ids out of the lists of these roles: of one that is listed more than once and stands for a key, all but
    /// the first.
    ///
    /// # Errors
    /// [`Error::Edit`] when too few keys are left for the threshold.
    pub fn remove_ids(&mut self, roles: &[RoleName], ids: &[KeyId]) -> Result<(), Error> {
        self.change(roles, |role, entry| entry.remove_ids(role, ids))
    }

    /// Every odd id, with the role that lists it, as they would become. Reads all roles.
    ///
    /// # Errors
    /// When a file on the way does not verify.
    pub fn all_odd_ids(&mut self) -> Result<Vec<(RoleName, Odd)>, Error> {
        let mut found = odd_in_root(self.root_view());
        let (mut delegators, mut seen) = (Vec::new(), BTreeSet::new());
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
