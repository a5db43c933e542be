//! Adds and removes delegations (spec 4.5).

use std::collections::{BTreeMap, BTreeSet};

use lastmile_keys::PublicKey;
use lastmile_metadata::{DelegatedRoles, Delegation, HashPrefix, Key, KeyId, Paths, RoleName, Threshold};

use super::path_patterns::refuse_useless;
use super::{Edit, drop_unused};
use crate::{EditError, Error, NotFound};

/// The keys and the threshold of a role.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The keys.
    pub keys: Vec<PublicKey>,
    /// The number of keys that must sign.
    pub threshold: u32,
}

impl Trust {
    /// Returns the threshold, or an error if there are not enough keys to reach it.
    pub(crate) fn threshold(&self) -> Result<Threshold, Error> {
        let distinct: BTreeSet<_> = self.keys.iter().collect();
        Threshold::new(self.threshold)
            .filter(|threshold| threshold.get() as usize <= distinct.len())
            .ok_or_else(|| EditError::UnreachableThreshold { threshold: self.threshold, keys: distinct.len() }.into())
    }

    pub(super) fn entries(&self) -> BTreeMap<KeyId, Key> {
        self.keys.iter().map(Key::from_public).map(|key| (key.keyid(), key)).collect()
    }
}

/// The settings of a new delegation.
#[derive(Clone, Debug)]
pub struct NewDelegation {
    /// The name of the role.
    pub name: RoleName,
    /// The paths that the role may list.
    pub paths: Paths,
    /// The keys and the threshold of the role.
    pub trust: Trust,
    /// Whether the delegation is terminating. If so, clients search no further roles for the paths of the delegation.
    pub terminating: bool,
}

impl Edit<'_> {
    /// Adds a delegation from `from` to a new role, which lists no targets yet.
    ///
    /// # Errors
    /// [`Error::Edit`] if the role already exists, its keys cannot reach the threshold, a pattern matches nothing,
    /// `from` has succinct bins, or the name differs only in case from the name of another role of `from`. The existing
    /// roles are read to check that the name is not taken. [`Error::Untrusted`] if one of these roles does not verify.
    pub fn delegate(&mut self, from: &RoleName, new: NewDelegation) -> Result<(), Error> {
        let threshold = new.trust.threshold()?;
        refuse_useless(&new.paths)?;
        match self.delegator(&new.name) {
            Ok(delegator) => return Err(EditError::Delegated { delegator, role: new.name }.into()),
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let delegations = self.targets(from)?.delegations.get_or_insert_default();
        let DelegatedRoles::Listed(roles) = &mut delegations.roles else {
            return Err(EditError::SuccinctOnly { role: from.clone() }.into());
        };
        let folded = new.name.as_str().to_lowercase();
        if let Some(other) = roles.iter().find(|other| other.name.as_str().to_lowercase() == folded) {
            return Err(EditError::SameFileName { role: new.name, other: other.name.clone() }.into());
        }
        let entries = new.trust.entries();
        roles.push(Delegation {
            name: new.name.clone(),
            keyids: entries.keys().cloned().collect(),
            threshold,
            terminating: new.terminating,
            paths: new.paths,
            unknown: BTreeMap::new(),
        });
        delegations.keys.extend(entries);
        self.new_role(&new.name, from);
        Ok(())
    }

    /// Removes the delegation to a role, so that clients no longer trust the targets of the role. The snapshot still
    /// lists the role's version, because clients would treat the removal of this entry as a rollback. If `name` is a
    /// succinct bin or the name prefix of succinct bins, all of these bins are removed, and their targets move back
    /// into the delegating role. Returns the delegating role.
    ///
    /// # Errors
    /// [`Error::NotFound`] if `from` does not delegate to the role, or if `from` is `None` and no role delegates to the
    /// role.
    pub fn undelegate(&mut self, from: Option<&RoleName>, name: &RoleName) -> Result<RoleName, Error> {
        let from = match from {
            Some(from) => from.clone(),
            None if self.succinct_bins(&RoleName::TARGETS, name)?.is_some() => RoleName::TARGETS,
            None => self.delegator(name)?,
        };
        if let Some(bins) = self.succinct_bins(&from, name)? {
            self.dissolve(&from, &bins)?;
            return Ok(from);
        }
        let missing = || NotFound::DelegationFrom { from: from.clone(), role: name.clone() };
        let targets = self.targets(&from)?;
        let delegations = targets.delegations.as_mut().ok_or_else(missing)?;
        let DelegatedRoles::Listed(roles) = &mut delegations.roles else {
            return Err(missing().into());
        };
        let before = roles.len();
        roles.retain(|delegation| delegation.name != *name);
        if roles.len() == before {
            return Err(missing().into());
        }
        let used: BTreeSet<KeyId> = roles.iter().flat_map(|delegation| delegation.keyids.clone()).collect();
        drop_unused(&mut delegations.keys, &used);
        if roles.is_empty() {
            targets.delegations = None;
        }
        self.draft().targets.remove(name);
        Ok(from)
    }
}

/// Parses hash prefixes.
///
/// # Errors
/// [`Error::Edit`] if one of `texts` does not consist of 1 to 64 lower-case hexadecimal digits.
pub fn hash_prefixes(texts: &[String]) -> Result<Paths, Error> {
    let prefix = |text: &String| HashPrefix::new(text).map_err(|_| EditError::HashPrefix { text: text.clone() });
    Ok(Paths::HashPrefixes(texts.iter().map(prefix).collect::<Result<_, _>>()?))
}
