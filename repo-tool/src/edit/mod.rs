//! Edits the content of a repository in memory. Other modules sign the metadata, set the dates and write the files.

pub(crate) mod add;
pub(crate) mod bin_advice;
pub(crate) mod bins;
pub(crate) mod bulk;
mod clashes;
pub(crate) mod delegation_change;
pub(crate) mod delegations;
mod delegators;
pub(crate) mod evidence;
pub(crate) mod intake;
pub(crate) mod keys;
pub(crate) mod list;
mod list_line;
pub(crate) mod odd;
pub(crate) mod path_patterns;
pub(crate) mod policy;
pub(crate) mod revert;
pub(crate) mod target_source;
mod targets;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use lastmile_metadata::{DelegatedRoles, Delegations, KeyId, KeyRing, RoleName, Root, Targets, Version};

use crate::draft::Draft;
use crate::published::Published;
use crate::role_content::RoleContent;
use crate::{Error, NotFound};

/// An editor for a draft. If the draft does not change a role, the editor returns the published role.
pub struct Edit<'a> {
    published: &'a mut Published,
    draft: Draft,
}

impl<'a> Edit<'a> {
    /// Creates an editor that continues `draft`, which may be empty.
    pub fn new(published: &'a mut Published, draft: Draft) -> Self {
        Self { published, draft }
    }

    /// Returns the published state.
    pub fn published(&mut self) -> &mut Published {
        self.published
    }

    /// Returns the draft with the changes made so far.
    pub fn draft(&mut self) -> &mut Draft {
        &mut self.draft
    }

    /// Returns the root of the draft for editing. If the draft has no root yet, copies the published root into the
    /// draft.
    pub fn root(&mut self) -> &mut Root {
        self.draft.prior.remove(&RoleName::ROOT);
        self.draft.root.get_or_insert_with(|| (*self.published.root).clone())
    }

    /// Returns the root of the draft, or the published root if the draft does not change it.
    #[must_use]
    pub fn root_view(&self) -> &Root {
        self.draft.root.as_ref().unwrap_or(&self.published.root)
    }

    /// Returns a targets role of the draft, or the published role if the draft does not change it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no role delegates to `role`.
    pub fn view(&mut self, role: &RoleName) -> Result<&Targets, Error> {
        match self.draft.targets.get_mut(role) {
            Some(content) => Ok(content.hold()?),
            None => Ok(self.published.role(role)?),
        }
    }

    /// Like [`Self::view`], but returns only the delegations. Reads nothing from disk if the draft contains the role.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no role delegates to `role`.
    fn delegations(&mut self, role: &RoleName) -> Result<Option<&Delegations>, Error> {
        match self.draft.targets.get(role) {
            Some(content) => Ok(content.delegations()),
            None => Ok(self.published.role(role)?.delegations.as_ref()),
        }
    }

    /// Returns a targets role of the draft for editing. If the draft does not contain the role yet, copies the
    /// published role into the draft.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no role delegates to `role`.
    pub fn targets(&mut self, role: &RoleName) -> Result<&mut Targets, Error> {
        if !self.draft.targets.contains_key(role) {
            let targets = (**self.published.role(role)?).clone();
            if let Some(delegator) = self.published.delegator(role) {
                self.draft.delegators.entry(role.clone()).or_default().insert(delegator.clone());
            }
            self.draft.targets.insert(role.clone(), RoleContent::Held(targets));
        }
        self.draft.prior.remove(role);
        self.draft.targets.get_mut(role).ok_or_else(|| unknown(role))?.hold()
    }

    /// Marks a role to be signed again with its current content, a new version and a new expiry date. If it is the
    /// snapshot, also marks the timestamp.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the role does not exist.
    pub fn sign_again(&mut self, role: &RoleName) -> Result<(), Error> {
        match role.as_str() {
            "root" => {
                self.root();
            }
            "snapshot" => {
                self.draft.again.extend(RoleName::ONLINE);
            }
            "timestamp" => {
                self.draft.again.insert(RoleName::TIMESTAMP);
            }
            _ => {
                self.targets(role)?;
            }
        }
        Ok(())
    }

    /// Returns the expiry date of the published role.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the role does not exist.
    pub fn expires(&mut self, role: &RoleName) -> Result<DateTime<Utc>, Error> {
        Ok(match role.as_str() {
            "root" => self.published.root.expires,
            "snapshot" => self.published.snapshot.expires,
            "timestamp" => self.published.timestamp.expires,
            _ => self.published.role(role)?.expires,
        })
    }

    /// Adds an empty role to the draft. No other role may already delegate to this role.
    pub fn new_role(&mut self, role: &RoleName, delegator: &RoleName) {
        self.draft.prior.remove(role);
        self.draft.delegators.insert(role.clone(), [delegator.clone()].into());
        let empty = Targets::new(Version::ONE, DateTime::<Utc>::UNIX_EPOCH);
        self.draft.targets.insert(role.clone(), RoleContent::Held(empty));
    }

    /// Returns the role that delegates to `role` in the draft. Searches the draft first, and then the published roles.
    /// Ignores published delegations that the draft removes.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no role delegates to `role`.
    pub fn delegator(&mut self, role: &RoleName) -> Result<RoleName, Error> {
        // Check the top-level targets role first. It usually delegates to the bins, of which there may be many.
        if delegates(self.delegations(&RoleName::TARGETS)?, role) {
            return Ok(RoleName::TARGETS);
        }
        let by_draft = self.draft.targets.iter().find(|(_, content)| delegates(content.delegations(), role));
        if let Some((name, _)) = by_draft {
            return Ok(name.clone());
        }
        self.published.role(role)?;
        let delegator = self.published.delegator(role).cloned().ok_or_else(|| unknown(role))?;
        // The draft may have removed the published delegation.
        match self.draft.targets.get(&delegator) {
            Some(edited) if !delegates(edited.delegations(), role) => Err(unknown(role)),
            _ => Ok(delegator),
        }
    }

    /// Finishes the edit and returns the draft. If a change of keys has made signatures of other roles invalid, these
    /// roles must be signed again, so this function marks them.
    ///
    /// # Errors
    /// Returns an error if published metadata does not verify.
    pub fn finish(mut self) -> Result<Draft, Error> {
        self.settle_top_level()?;
        let delegators: Vec<RoleName> = self.draft.targets.keys().cloned().collect();
        for delegator in delegators {
            self.settle_delegations(&delegator)?;
        }
        self.record_delegators();
        Ok(self.draft)
    }

    /// Returns the draft without marking other roles to be signed again.
    pub(crate) fn into_draft(self) -> Draft {
        self.draft
    }

    /// Marks each top-level role to be signed again if its signatures are not valid under the draft's root.
    ///
    /// # Errors
    /// Returns an error if published metadata does not verify.
    pub(crate) fn settle_top_level(&mut self) -> Result<(), Error> {
        let Some(root) = self.draft.root.clone() else {
            return Ok(());
        };
        let ring = root.key_ring(&RoleName::TARGETS)?;
        if self.published.targets()?.verify(&RoleName::TARGETS, &ring).is_err()
            && !self.draft.targets.contains_key(&RoleName::TARGETS)
        {
            self.targets(&RoleName::TARGETS)?;
        }
        let published = &self.published;
        let snapshot_holds =
            published.snapshot.verify(&RoleName::SNAPSHOT, &root.key_ring(&RoleName::SNAPSHOT)?).is_ok();
        let timestamp_holds =
            published.timestamp.verify(&RoleName::TIMESTAMP, &root.key_ring(&RoleName::TIMESTAMP)?).is_ok();
        if !snapshot_holds {
            self.draft.again.insert(RoleName::SNAPSHOT);
        }
        if !snapshot_holds || !timestamp_holds {
            self.draft.again.insert(RoleName::TIMESTAMP);
        }
        Ok(())
    }

    fn settle_delegations(&mut self, delegator: &RoleName) -> Result<(), Error> {
        let Some(delegations) = self.delegations(delegator)?.cloned() else {
            return Ok(());
        };
        let before = self.published.known(delegator).and_then(|before| before.delegations.as_ref());
        for child in changed_children(before, &delegations, delegator) {
            if self.draft.targets.contains_key(&child) {
                self.draft.delegators.entry(child).or_default().insert(delegator.clone());
                continue;
            }
            let ring = delegations.key_ring(delegator, &child)?;
            if self.published.role(&child)?.verify(&child, &ring).is_err() {
                self.targets(&child)?;
                self.draft.delegators.entry(child).or_default().insert(delegator.clone());
            }
        }
        Ok(())
    }
}

/// Returns the delegated roles that are new or whose keys or threshold changed.
fn changed_children(before: Option<&Delegations>, after: &Delegations, delegator: &RoleName) -> Vec<RoleName> {
    // Build a map of key rings. Searching the earlier delegations for each role would be slow if there are many roles.
    let listed: BTreeMap<RoleName, KeyRing> = match before.map(|before| &before.roles) {
        Some(DelegatedRoles::Listed(_)) => before.into_iter().flat_map(Delegations::rings).collect(),
        _ => BTreeMap::new(),
    };
    let changed = |child: &RoleName, ring: &KeyRing| match before.map(|before| &before.roles) {
        Some(DelegatedRoles::Succinct(_)) => {
            let before = before.and_then(|before| before.key_ring(delegator, child).ok());
            before.is_none_or(|before| !same_ring(&before, ring))
        }
        _ => listed.get(child).is_none_or(|before| !same_ring(before, ring)),
    };
    let mut rings = after.rings().peekable();
    // All succinct bins share one key ring. If the first bin is unchanged, no bin has changed.
    let is_one_ring = matches!(&after.roles, DelegatedRoles::Succinct(_));
    if is_one_ring && rings.peek().is_some_and(|(bin, ring)| !changed(bin, ring)) {
        return Vec::new();
    }
    rings.filter(|(child, ring)| changed(child, ring)).map(|(child, _)| child).collect()
}

pub(crate) fn same_ring(one: &KeyRing, other: &KeyRing) -> bool {
    one.threshold() == other.threshold() && one.keys().eq(other.keys())
}

pub(crate) fn delegates(delegations: Option<&Delegations>, role: &RoleName) -> bool {
    delegations.is_some_and(|delegations| match &delegations.roles {
        DelegatedRoles::Listed(roles) => roles.iter().any(|delegation| delegation.name == *role),
        DelegatedRoles::Succinct(bins) => bins.contains(role),
    })
}

fn drop_unused<V>(keys: &mut BTreeMap<KeyId, V>, used: &BTreeSet<KeyId>) {
    keys.retain(|id, _| used.contains(id));
}

fn unknown(role: &RoleName) -> Error {
    NotFound::Delegation { role: role.clone() }.into()
}
