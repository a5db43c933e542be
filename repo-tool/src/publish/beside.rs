//! Publishes changes while another change is pending. A change to roles that the pending change does not affect is
//! published immediately. It does not have to wait for the signatures that the pending change lacks, and the pending
//! change stays pending.

use std::collections::BTreeMap;

use lastmile_metadata::{Delegations, KeyRing, RoleName};

use crate::draft::Draft;
use crate::edit::same_ring;
use crate::publish::staged;
use crate::published::Published;
use crate::role_content::RoleContent;
use crate::{Error, PendingError, Repository};

impl Repository {
    /// Calls `change` to create a draft. The draft is based on the published state if there is no pending change, or if
    /// the pending change and the new change are independent. Otherwise, the draft is based on the pending change. If
    /// there is a pending change, `change` may be called twice: first with the pending change, and then with an empty
    /// draft.
    ///
    /// # Errors
    /// Returns the errors of `change`. A change that cannot be combined with the pending change is refused, because
    /// only one of the two changes could ever be published.
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
        // On an empty draft, `change` fails if it concerns a role or target that exists only in the pending change. In
        // that case, return `joined`, which is based on the pending change.
        match change(self, Draft::default()) {
            Ok(alone) if is_independent(&alone.0, &pending, &self.published)? => Ok(alone),
            _ => joined,
        }
    }

    /// Returns the pending change if `draft` is independent of it. Returns `None` if there is no pending change, if
    /// `draft` is based on it, or if `draft` changes only snapshot and timestamp.
    ///
    /// # Errors
    /// [`PendingError::InTheWay`] if the draft is neither based on the pending change nor independent of it.
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
    /// Returns the root and targets roles that the draft changes.
    pub(crate) fn roles(&self) -> impl Iterator<Item = &RoleName> {
        self.root.iter().map(|_| &RoleName::ROOT).chain(self.targets.keys())
    }
}

/// Returns whether `draft` is independent of the pending change. The two changes must affect different roles and
/// targets. `draft` must also keep the keys and thresholds of the roles in the pending change.
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
        let after = rings(after.delegations());
        before.len() == after.len()
            && before.iter().zip(&after).all(|(one, other)| one.0 == other.0 && same_ring(one.1, other.1))
    }))
}

/// Returns, for each role of `draft`, the key rings that the pending change lists for it. Keys of these key rings must
/// sign the role too, so that it stays valid once the pending change is published.
pub(crate) fn later_rings(draft: &Draft, pending: &Draft) -> Result<BTreeMap<RoleName, Vec<KeyRing>>, Error> {
    let mut later: BTreeMap<RoleName, Vec<KeyRing>> = BTreeMap::new();
    if let Some(root) = &pending.root
        && draft.targets.contains_key(&RoleName::TARGETS)
    {
        later.entry(RoleName::TARGETS).or_default().push(root.key_ring(&RoleName::TARGETS)?);
    }
    let delegations = pending.targets.values().filter_map(RoleContent::delegations);
    for (role, ring) in delegations.flat_map(Delegations::rings) {
        if draft.targets.contains_key(&role) {
            later.entry(role).or_default().push(ring);
        }
    }
    Ok(later)
}
