//! Whom a role trusts with which paths (spec 4.5): delegations.

use std::collections::{BTreeMap, BTreeSet};

use lastmile_keys::PublicKey;
use lastmile_metadata::{DelegatedRoles, Delegation, HashPrefix, Key, KeyId, PathPattern, Paths, RoleName, Threshold};

use super::{Edit, drop_unused};
use crate::{EditError, Error, NotFound};

/// Who is trusted: keys, and how many of them must sign.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The keys.
    pub keys: Vec<PublicKey>,
    /// How many must sign.
    pub threshold: u32,
}

impl Trust {
    /// The threshold, if the keys can reach it.
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

/// A delegation to be made.
#[derive(Clone, Debug)]
pub struct NewDelegation {
    /// Name of the role.
    pub name: RoleName,
    /// What it is trusted with.
    pub paths: Paths,
    /// Who signs for it.
    pub trust: Trust,
    /// Whether the search ends with it.
    pub terminating: bool,
}

impl Edit<'_> {
    /// Makes a new, empty role to which `from` delegates.
    ///
    /// # Errors
    /// [`Error::Edit`] when it is there already, or can never reach its threshold; [`Error::Untrusted`] when a file that
    /// shows whether it is there does not verify.
    pub fn delegate(&mut self, from: &RoleName, new: NewDelegation) -> Result<(), Error> {
        let threshold = new.trust.threshold()?;
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

    /// Takes a delegation back. What the role lists is then trusted no more; its file and its version stay known to
    /// clients, which would take it for a rollback if it went. Succinct bins, named by one of them or by what their
    /// names begin with, go together, and what they list moves back into the role.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nobody, or not `from`, delegates to it.
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

/// Reads patterns, which should start with no `/` (4.5): targets never do.
///
/// # Errors
/// [`Error::Edit`] for a pattern that can match nothing.
pub fn patterns(texts: &[String]) -> Result<Paths, Error> {
    let pattern = |text: &String| match text.starts_with('/') || text.is_empty() {
        true => Err(EditError::UselessPattern { pattern: text.clone() }),
        false => Ok(PathPattern::new(text)),
    };
    Ok(Paths::Patterns(texts.iter().map(pattern).collect::<Result<_, _>>()?))
}

/// Reads hash prefixes.
///
/// # Errors
/// [`Error::Edit`] for what is not 1 to 64 lower-case hexadecimal digits.
pub fn hash_prefixes(texts: &[String]) -> Result<Paths, Error> {
    let prefix = |text: &String| HashPrefix::new(text).map_err(|_| EditError::HashPrefix { text: text.clone() });
    Ok(Paths::HashPrefixes(texts.iter().map(prefix).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f_4_5_14_a_pattern_with_a_leading_slash_is_refused() {
        assert!(patterns(&["/x/*".into()]).is_err());
        assert!(patterns(&["x/*".into()]).is_ok());
    }
}
