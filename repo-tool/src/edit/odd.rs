//! Removing what a role lists that is no key to be used here.

use lastmile_metadata::{KeyId, RoleName};

use super::{Edit, unknown};
use crate::Error;
use crate::trusting::{Odd, odd_ids, odd_in_delegations, odd_in_root};

impl Edit<'_> {
    /// The ids in the list of `role`, as it would become, that do not stand for one key to be used here.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such role.
    pub fn odd_ids(&mut self, role: &RoleName) -> Result<Vec<Odd>, Error> {
        let of_role = |all: Vec<(RoleName, Odd)>, role: &RoleName| {
            all.into_iter().filter(|(name, _)| name == role).map(|(_, odd)| odd).collect()
        };
        if self.root_view().roles.contains_key(role) {
            return Ok(of_role(odd_in_root(self.root_view()), role));
        }
        let delegator = self.delegator(role)?;
        let delegations = self.view(&delegator)?.delegations.as_ref().ok_or_else(|| unknown(role))?;
        // All succinct bins have the list of the first.
        Ok(match &delegations.roles {
            lastmile_metadata::DelegatedRoles::Succinct(bins) => odd_ids(&delegations.keys, &bins.keyids),
            lastmile_metadata::DelegatedRoles::Listed(_) => of_role(odd_in_delegations(delegations), role),
        })
    }

    /// Takes odd ids out of the lists of these roles: of one that is listed more than once and stands for a key, all but
    /// the first.
    ///
    /// # Errors
    /// [`Error::Refused`] when too few keys are left for the threshold.
    pub fn remove_ids(&mut self, roles: &[RoleName], ids: &[KeyId]) -> Result<(), Error> {
        self.change(roles, |role, entry| entry.remove_ids(role, ids))
    }

    /// Every odd id, with the role that lists it, as they would become. Reads all roles.
    ///
    /// # Errors
    /// When a file on the way does not verify.
    pub fn all_odd_ids(&mut self) -> Result<Vec<(RoleName, Odd)>, Error> {
        let mut found = odd_in_root(self.root_view());
        let mut delegators: Vec<RoleName> = Vec::new();
        for (_, delegator) in self.delegated_roles()? {
            if delegators.last() != Some(&delegator) && !delegators.contains(&delegator) {
                delegators.push(delegator);
            }
        }
        for delegator in delegators {
            found.extend(self.view(&delegator)?.delegations.iter().flat_map(odd_in_delegations));
        }
        Ok(found)
    }
}
