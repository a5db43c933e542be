//! Sets and removes the policy of a role. A policy specifies who must sign the role's packages and which builders must
//! build them.

use lastmile_attest::Policy;
use lastmile_attest::policy::MEMBER;
use lastmile_metadata::{Json, RoleName, TargetPath};

use super::Edit;
use crate::{Error, PolicyError};

impl Edit<'_> {
    /// Returns the policy of a role in the draft. If the draft does not change the role, returns its published policy.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no role delegates to `role`; [`PolicyError::NoTargets`] if `role` is root, snapshot or
    /// timestamp.
    pub fn policy(&mut self, role: &RoleName) -> Result<Option<Json>, Error> {
        check_has_targets(role)?;
        Ok(self.view(role)?.header.unknown.get(MEMBER).cloned())
    }

    /// Sets the policy of a role. If the role already has a policy, replaces it.
    ///
    /// # Errors
    /// [`PolicyError`] if the role cannot have a policy, or if the policy is malformed or uses features that this
    /// version does not support. [`PolicyError::TrustRootNotListed`] if the policy names a trust root without its
    /// SHA-256, and the role does not list that trust root.
    pub fn set_policy(&mut self, role: &RoleName, policy: &Json) -> Result<(), Error> {
        check_has_targets(role)?;
        self.refuse_bin(role)?;
        let parsed = read_policy(role, policy)?;
        for (name, source) in parsed.trust_sources() {
            if source.sha256().is_none() && !self.lists_itself(role, source.path())? {
                let name = name.to_string();
                let path = source.path().clone();
                return Err(PolicyError::TrustRootNotListed { role: role.clone(), name, path }.into());
            }
        }
        self.targets(role)?.header.unknown.insert(MEMBER.to_string(), policy.clone());
        Ok(())
    }

    /// Removes the policy of a role.
    ///
    /// # Errors
    /// [`PolicyError::None`] if the role has no policy.
    pub fn remove_policy(&mut self, role: &RoleName) -> Result<(), Error> {
        if self.policy(role)?.is_none() {
            return Err(PolicyError::None { role: role.clone() }.into());
        }
        self.targets(role)?.header.unknown.remove(MEMBER);
        Ok(())
    }

    /// Refuses a bin. If a bin had a policy, clients would refuse every package that they find through the bin.
    fn refuse_bin(&mut self, role: &RoleName) -> Result<(), Error> {
        if role.is_top_level() {
            return Ok(());
        }
        let delegator = self.delegator(role)?;
        match self.delegations(&delegator)? {
            Some(delegations) if delegations.is_bin(role) => Err(PolicyError::Bin { role: role.clone() }.into()),
            _ => Ok(()),
        }
    }

    fn lists_itself(&mut self, role: &RoleName, path: &TargetPath) -> Result<bool, Error> {
        Ok(self.view(role)?.target(path).is_some())
    }
}

/// Parses the policy of a role, from its published metadata or from a draft.
///
/// # Errors
/// [`PolicyError`] if the policy is malformed, or if this version of lastmile does not understand every part of it.
pub(crate) fn read_policy(role: &RoleName, policy: &Json) -> Result<Policy, PolicyError> {
    let parsed = Policy::parse(policy.to_text().as_bytes())
        .map_err(|error| PolicyError::OfRole { role: role.clone(), problem: error.to_string() })?;
    let parts = parsed.unsupported();
    if parts.is_empty() { Ok(parsed) } else { Err(PolicyError::Unsupported { parts }) }
}

fn check_has_targets(role: &RoleName) -> Result<(), PolicyError> {
    if role.is_top_level() && *role != RoleName::TARGETS {
        return Err(PolicyError::NoTargets { role: role.clone() });
    }
    Ok(())
}
