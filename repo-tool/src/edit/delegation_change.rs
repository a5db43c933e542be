//! Changes the paths, the position, the threshold or the `terminating` flag of a delegation (spec 4.5).

use std::collections::BTreeSet;

use lastmile_metadata::{DelegatedRoles, Delegation, Delegations, Paths, RoleName, TargetPath, Threshold};

use super::Edit;
use super::bins::Bins;
use super::keys::change_delegated;
use super::path_patterns::refuse_useless;
use crate::{EditError, Error, InvalidInput, NotFound};

/// A change to a delegation. A field that is `None` leaves its property of the delegation unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DelegationChange {
    /// The paths that the delegated role may list.
    pub paths: Option<Paths>,
    /// The number of keys that must sign for the role.
    pub threshold: Option<u32>,
    /// Whether the delegation is terminating. If so, clients search no further roles for the paths of the delegation.
    pub terminating: Option<bool>,
    /// The position among the delegations of the delegating role. Earlier delegations have priority.
    pub position: Option<Position>,
}

/// A position in the list of delegations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Just before the delegation to this role.
    Before(RoleName),
    /// Just after the delegation to this role.
    After(RoleName),
}

/// A target that clients find in a different role, or no longer find, after a change to a delegation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderChange {
    /// The path of the target.
    pub path: TargetPath,
    /// The role in which clients found the target before the change.
    pub before: RoleName,
    /// The role in which clients find the target after the change; `None` if they no longer find it.
    pub after: Option<RoleName>,
}

impl Edit<'_> {
    /// Changes a delegation to the role `name`. The delegating role is `from`; if `from` is `None`, it is the first
    /// role that delegates to `name`. Returns the targets that clients will find in a different role or no longer find.
    /// Considers only the targets of roles to which the delegating role delegates directly.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such delegation; [`Error::InvalidInput`] if the threshold is 0;
    /// [`Error::Edit`] if the role is a bin, its keys cannot reach the threshold, or a pattern matches nothing;
    /// [`Error::Untrusted`] if metadata does not verify.
    pub fn change_delegation(
        &mut self,
        from: Option<&RoleName>,
        name: &RoleName,
        change: &DelegationChange,
    ) -> Result<Vec<HolderChange>, Error> {
        change.paths.as_ref().map_or(Ok(()), refuse_useless)?;
        let from = match from {
            Some(from) => from.clone(),
            None => self.delegator(name)?,
        };
        let before = self.view(&from)?.delegations.clone().unwrap_or_default();
        if Bins::of(&before).is_some_and(|bins| bins.contains(name)) {
            return Err(EditError::IsBin { role: name.clone() }.into());
        }
        let mut after = before.clone();
        apply(change, &from, name, &mut after)?;
        if after == before {
            return Ok(Vec::new());
        }
        let moved = self.holder_changes(&from, name, (&before, &after))?;
        self.targets(&from)?.delegations = Some(after);
        Ok(moved)
    }

    /// Returns the targets that clients find in a different role, or no longer find, after the change. Only paths that
    /// the delegation to `name` covers before or after the change can be affected.
    fn holder_changes(
        &mut self,
        from: &RoleName,
        name: &RoleName,
        (before, after): (&Delegations, &Delegations),
    ) -> Result<Vec<HolderChange>, Error> {
        let paths: Vec<&Paths> =
            [before, after].into_iter().filter_map(|all| Some(&listed(all, name)?.paths)).collect();
        let mut affected = BTreeSet::new();
        for role in before.names() {
            let covered = self.view(&role)?.paths().filter(|path| paths.iter().any(|paths| paths.cover(path)));
            affected.extend(covered);
        }
        let mut moved = Vec::new();
        for path in affected {
            // If the delegating role itself lists the path, clients find the target there before and after the change.
            if self.view(from)?.target(&path).is_some() {
                continue;
            }
            let before = self.holder_below(before, &path)?;
            let after = self.holder_below(after, &path)?;
            if let Some(before) = before.filter(|before| after.as_ref() != Some(before)) {
                moved.push(HolderChange { path, before, after });
            }
        }
        Ok(moved)
    }

    /// Searches the delegated roles as a client does, and returns the first one that lists `path`.
    fn holder_below(&mut self, delegations: &Delegations, path: &TargetPath) -> Result<Option<RoleName>, Error> {
        for (role, terminating) in delegations.covering(path) {
            if self.view(&role)?.target(path).is_some() {
                return Ok(Some(role));
            }
            if terminating {
                break;
            }
        }
        Ok(None)
    }
}

fn apply(
    change: &DelegationChange,
    from: &RoleName,
    name: &RoleName,
    delegations: &mut Delegations,
) -> Result<(), Error> {
    let missing = |role: &RoleName| NotFound::DelegationFrom { from: from.clone(), role: role.clone() };
    if listed(delegations, name).is_none() {
        return Err(missing(name).into());
    }
    if let Some(threshold) = change.threshold {
        let new = Threshold::new(threshold).ok_or(InvalidInput::Threshold)?;
        change_delegated(delegations, &[name.clone()].into(), &|role, entry| entry.set_threshold(role, new))?;
    }
    let DelegatedRoles::Listed(roles) = &mut delegations.roles else { return Err(missing(name).into()) };
    let at = |roles: &[Delegation], role: &RoleName| {
        roles.iter().position(|delegation| delegation.name == *role).ok_or_else(|| missing(role))
    };
    let old_place = at(roles, name)?;
    let mut delegation = roles.remove(old_place);
    if let Some(paths) = &change.paths {
        delegation.paths = paths.clone();
    }
    if let Some(terminating) = change.terminating {
        delegation.terminating = terminating;
    }
    let new_place = match &change.position {
        // Moving a delegation before or after itself does not change its position.
        Some(Position::Before(other)) if other != name => at(roles, other)?,
        Some(Position::After(other)) if other != name => at(roles, other)? + 1,
        _ => old_place,
    };
    roles.insert(new_place, delegation);
    Ok(())
}

/// Returns the delegation to `name`; `None` if there is none or if it is a succinct bin.
fn listed<'d>(delegations: &'d Delegations, name: &RoleName) -> Option<&'d Delegation> {
    match &delegations.roles {
        DelegatedRoles::Listed(roles) => roles.iter().find(|delegation| delegation.name == *name),
        DelegatedRoles::Succinct(_) => None,
    }
}
