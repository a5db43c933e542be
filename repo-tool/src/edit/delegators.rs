//! Finds all roles that delegate to a changed role.

use std::collections::{BTreeSet, VecDeque};

use lastmile_metadata::{DelegatedRoles, Delegations, Paths, RoleName};

use super::Edit;

/// The maximum number of roles that are read to find delegations. To change one role, a command should not have to read
/// thousands of others.
const MAX_ROLES: usize = 100;

impl Edit<'_> {
    /// Records all roles that delegate to a changed role. A client can reach the role through each of these
    /// delegations, so the keys of each delegation must sign the role.
    ///
    /// In repositories that other tools made, several roles may delegate to the same role. To find these delegations,
    /// also reads roles that have not been read yet, but at most [`MAX_ROLES`] roles, and no bins. `verify` checks
    /// every delegation.
    pub(crate) fn record_delegators(&mut self) {
        if self.draft.targets.keys().all(RoleName::is_top_level) {
            return;
        }
        let mut left = MAX_ROLES;
        let mut seen = BTreeSet::from([RoleName::TARGETS]);
        let mut waiting = VecDeque::from([RoleName::TARGETS]);
        while let Some(delegator) = waiting.pop_front() {
            for (child, is_bin) in children(self.known_delegations(&delegator)) {
                let is_changed = self.draft.targets.contains_key(&child);
                if is_changed {
                    self.draft.delegators.entry(child.clone()).or_default().insert(delegator.clone());
                }
                if !is_changed && self.published.known(&child).is_none() {
                    if is_bin || left == 0 {
                        continue;
                    }
                    left -= 1;
                    // Skip a role that does not verify, because clients do not follow its delegations either.
                    if self.published.role(&child).is_err() {
                        continue;
                    }
                }
                if seen.insert(child.clone()) {
                    waiting.push_back(child);
                }
            }
        }
    }

    /// Returns `None` if the role has no delegations, or if the role is not in the draft and has not been read.
    fn known_delegations(&self, role: &RoleName) -> Option<&Delegations> {
        match self.draft.targets.get(role) {
            Some(content) => content.delegations(),
            None => self.published.known(role)?.delegations.as_ref(),
        }
    }
}

/// Returns the names of the delegated roles, and for each role whether it is a bin.
fn children(delegations: Option<&Delegations>) -> Vec<(RoleName, bool)> {
    match delegations.map(|delegations| &delegations.roles) {
        None => Vec::new(),
        Some(DelegatedRoles::Listed(roles)) => {
            roles.iter().map(|role| (role.name.clone(), matches!(role.paths, Paths::HashPrefixes(_)))).collect()
        }
        Some(DelegatedRoles::Succinct(bins)) => bins.names().map(|name| (name, true)).collect(),
    }
}
