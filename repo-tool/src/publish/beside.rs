//! Changes beside the pending change. A change of other roles does not wait for the signatures of the pending change: it is
//! published at once, and the pending change stays pending.

use std::collections::BTreeMap;

use lastmile_metadata::{Delegations, KeyRing, RoleName};

use crate::draft::Draft;
use crate::edit::same_ring;
use crate::publish::staged;
use crate::published::Published;
use crate::{Error, PendingError, Repository};

impl Repository {
    /// Makes a draft with `change`, which gets the draft to continue. The draft continues the published state if the change is
    /// independent of the pending change, and the pending change otherwise. If there is a pending change, `change` is called
    /// twice.
    ///
    /// # Errors
    /// Those of `change`. A change that cannot be combined with the pending change is refused, because one of them could never
    /// be published.
    pub fn prepare<T>(
        &mut self,
        mut change: impl FnMut(&mut Self, Draft) -> Result<(Draft, T), Error>,
    ) -> Result<(Draft, T), Error> {
        let pending = self.staged()?;
        if !pending.from_staged {
            return change(self, pending);
        }
        let joined = change(self, pending.clone());
        if !matches!(joined, Ok(_) | Err(Error::NotFound(_))) {
            return joined;
        }
        // A change of something that only the pending change has fails here, and is added to the pending change.
        match change(self, Draft::default()) {
            Ok(alone) if is_independent(&alone.0, &pending, &self.published)? => Ok(alone),
            _ => joined,
        }
    }

    /// Returns the pending change that `draft` does not continue; none if there is no pending change, or if the draft only
    /// signs snapshot and timestamp again.
    ///
    /// # Errors
    /// [`PendingError::InTheWay`] when the draft is not independent of the pending change.
    pub(crate) fn pending_beside(&mut self, draft: &Draft) -> Result<Option<Draft>, Error> {
        let only_online = draft.root.is_none() && draft.targets.is_empty();
        if draft.from_staged || only_online || !staged::is_staged(&self.layout) {
            return Ok(None);
        }
        let pending = self.staged()?;
        if is_independent(draft, &pending, &self.published)? {
            Ok(Some(pending))
        } else {
            Err(PendingError::InTheWay.into())
        }
    }
}

impl Draft {
    /// Returns the roles of the draft.
    pub(crate) fn roles(&self) -> impl Iterator<Item = &RoleName> {
        self.root.iter().map(|_| &RoleName::ROOT).chain(self.targets.keys())
    }
}

/// Returns whether `draft` and the pending change change different roles and targets, and the pending change has the same
/// keys and thresholds after the draft is published.
fn is_independent(draft: &Draft, pending: &Draft, published: &Published) -> Result<bool, Error> {
    if draft.roles().any(|role| *role == RoleName::ROOT && pending.root.is_some() || pending.targets.contains_key(role))
        || draft.touched.intersection(&pending.touched).next().is_some()
    {
        return Ok(false);
    }
    if let Some(root) = &draft.root
        && pending.targets.contains_key(&RoleName::TARGETS)
        && !same_ring(&root.key_ring(&RoleName::TARGETS)?, &published.root.key_ring(&RoleName::TARGETS)?)
    {
        return Ok(false);
    }
    let rings = |delegations: Option<&Delegations>| -> BTreeMap<RoleName, KeyRing> {
        let rings = delegations.into_iter().flat_map(Delegations::rings);
        rings.filter(|(role, _)| pending.targets.contains_key(role)).collect()
    };
    Ok(draft.targets.iter().all(|(delegator, after)| {
        let before = published.known(delegator).and_then(|before| before.delegations.as_ref());
        let before = rings(before);
        let after = rings(after.delegations.as_ref());
        before.len() == after.len()
            && before.iter().zip(&after).all(|(one, other)| one.0 == other.0 && same_ring(one.1, other.1))
    }))
}

/// Returns the rings by which the pending change trusts the roles of `draft`. A role must stay valid when the pending change
/// is published later.
pub(crate) fn later_rings(draft: &Draft, pending: &Draft) -> Result<BTreeMap<RoleName, Vec<KeyRing>>, Error> {
    let mut later: BTreeMap<RoleName, Vec<KeyRing>> = BTreeMap::new();
    if let Some(root) = &pending.root
        && draft.targets.contains_key(&RoleName::TARGETS)
    {
        later.entry(RoleName::TARGETS).or_default().push(root.key_ring(&RoleName::TARGETS)?);
    }
    let delegations = pending.targets.values().filter_map(|targets| targets.delegations.as_ref());
    for (role, ring) in delegations.flat_map(Delegations::rings) {
        if draft.targets.contains_key(&role) {
            later.entry(role).or_default().push(ring);
        }
    }
    Ok(later)
}
