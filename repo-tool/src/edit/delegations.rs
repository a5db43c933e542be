//! Whom a role trusts with which paths (spec 4.5): delegations, and bins.

use std::collections::BTreeMap;

use lastmile_keys::PublicKey;
use lastmile_metadata::{
    DelegatedRoles, Delegation, HashPrefix, Key, KeyId, PathPattern, Paths, RoleName, SuccinctRoles, TargetFile,
    Threshold,
};

use super::{Edit, drop_unused};
use crate::Error;

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
        let distinct: std::collections::BTreeSet<_> = self.keys.iter().collect();
        Threshold::new(self.threshold).filter(|threshold| threshold.get() as usize <= distinct.len()).ok_or_else(|| {
            let count = distinct.len();
            Error::Refused(format!("a threshold of {} cannot be reached with {count} keys", self.threshold))
        })
    }

    fn entries(&self) -> BTreeMap<KeyId, Key> {
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

/// Bins to be made.
#[derive(Clone, Debug)]
pub struct NewBins {
    /// 2 to the power of this many bins.
    pub bit_length: u8,
    /// What their names begin with.
    pub name_prefix: String,
    /// Who signs for them.
    pub trust: Trust,
    /// Written as one line (TAP 15), or as a delegation for each.
    pub succinct: bool,
}

impl Edit<'_> {
    /// Makes a new, empty role to which `from` delegates.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is there already, or can never reach its threshold.
    pub fn delegate(&mut self, from: &RoleName, new: NewDelegation) -> Result<(), Error> {
        let threshold = new.trust.threshold()?;
        if let Ok(delegator) = self.delegator(&new.name) {
            return Err(Error::Refused(format!("{delegator} delegates to {} already", new.name)));
        }
        let delegations = self.targets(from)?.delegations.get_or_insert_default();
        let DelegatedRoles::Listed(roles) = &mut delegations.roles else {
            return Err(Error::Refused(format!(
                "{from} delegates to succinct bins, and can then have no other delegations"
            )));
        };
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
            None if self.bins_of(&RoleName::TARGETS, name)?.is_some() => RoleName::TARGETS,
            None => self.delegator(name)?,
        };
        if let Some(bins) = self.bins_of(&from, name)? {
            self.dissolve(&from, &bins)?;
            return Ok(from);
        }
        let missing = || Error::NotFound(format!("{from} does not delegate to {name}"));
        let targets = self.targets(&from)?;
        let delegations = targets.delegations.as_mut().ok_or_else(missing)?;
        let DelegatedRoles::Listed(roles) = &mut delegations.roles else {
            return Err(missing());
        };
        let before = roles.len();
        roles.retain(|delegation| delegation.name != *name);
        if roles.len() == before {
            return Err(missing());
        }
        let used: Vec<KeyId> = roles.iter().flat_map(|delegation| delegation.keyids.clone()).collect();
        drop_unused(&mut delegations.keys, &used);
        if roles.is_empty() {
            targets.delegations = None;
        }
        self.draft().targets.remove(name);
        Ok(from)
    }

    /// The succinct bins of `role` that `name` means.
    fn bins_of(&mut self, role: &RoleName, name: &RoleName) -> Result<Option<SuccinctRoles>, Error> {
        let delegations = self.view(role)?.delegations.as_ref();
        Ok(delegations.and_then(|delegations| match &delegations.roles {
            DelegatedRoles::Succinct(bins) if bins.contains(name) || bins.name_prefix() == name.as_str() => {
                Some(bins.clone())
            }
            _ => None,
        }))
    }

    fn dissolve(&mut self, role: &RoleName, bins: &SuccinctRoles) -> Result<(), Error> {
        let mut all: Vec<TargetFile> = Vec::new();
        for bin in bins.names() {
            all.extend(self.view(&bin)?.targets());
            self.draft().targets.remove(&bin);
        }
        self.draft().touched.extend(all.iter().map(|target| target.path.clone()));
        let targets = self.targets(role)?;
        targets.delegations = None;
        for target in all {
            targets.insert(target);
        }
        Ok(())
    }

    /// Spreads the targets of `role` over new bins.
    ///
    /// # Errors
    /// [`Error::Refused`] when it delegates already in a way that bins cannot stand beside.
    pub fn make_bins(&mut self, role: &RoleName, new: &NewBins) -> Result<(), Error> {
        let threshold = new.trust.threshold()?;
        let entries = new.trust.entries();
        let keyids: Vec<KeyId> = entries.keys().cloned().collect();
        let bins = SuccinctRoles::new(keyids.clone(), threshold, u32::from(new.bit_length), &new.name_prefix)
            .map_err(|error| Error::Refused(error.to_string()))?;
        // A role of that name would lose its targets.
        let taken = self.delegated_roles()?.into_iter().find(|(name, _)| bins.contains(name));
        let targets = self.targets(role)?;
        let delegations = targets.delegations.get_or_insert_default();
        let DelegatedRoles::Listed(listed) = &mut delegations.roles else {
            return Err(Error::Refused(format!("{role} delegates to bins already")));
        };
        let has_bins = listed.iter().any(|delegation| matches!(delegation.paths, Paths::HashPrefixes(_)));
        if has_bins || (new.succinct && !listed.is_empty()) {
            return Err(Error::Refused(format!(
                "{role} has delegations already; succinct bins stand alone, and there is one set of bins (try --prefixes, \
                 or --role for a role of their own)"
            )));
        }
        if let Some((name, delegator)) = taken {
            return Err(Error::Refused(format!(
                "{delegator} delegates to {name} already: choose other names with --name-prefix"
            )));
        }
        delegations.keys.extend(entries);
        if new.succinct {
            delegations.roles = DelegatedRoles::Succinct(bins.clone());
        } else {
            for (number, name) in bins.names().enumerate() {
                let paths = Paths::HashPrefixes(prefixes_of(number, new.bit_length)?);
                let (keyids, unknown) = (keyids.clone(), BTreeMap::new());
                listed.push(Delegation { name, keyids, threshold, terminating: false, paths, unknown });
            }
        }
        let all: Vec<TargetFile> = targets.targets().collect();
        for target in &all {
            targets.remove(&target.path);
        }
        for bin in bins.names() {
            self.new_role(&bin, role);
        }
        for target in all {
            let bin = bins.role_for(&target.path);
            self.draft().touched.insert(target.path.clone());
            self.targets(&bin)?.insert(target);
        }
        Ok(())
    }
}

/// The hash prefixes of bin `number`: all hexadecimal beginnings whose first bits are that number.
fn prefixes_of(number: usize, bit_length: u8) -> Result<Vec<HashPrefix>, Error> {
    let digits = usize::from(bit_length.div_ceil(4));
    let free_bits = digits * 4 - usize::from(bit_length);
    let first = number << free_bits;
    (first..first + (1 << free_bits))
        .map(|prefix| {
            HashPrefix::new(&format!("{prefix:0digits$x}")).map_err(|error| Error::Refused(error.to_string()))
        })
        .collect()
}

/// Reads patterns, which should start with no `/` (4.5): targets never do.
///
/// # Errors
/// [`Error::Refused`] for a pattern that can match nothing.
pub fn patterns(texts: &[String]) -> Result<Paths, Error> {
    let pattern = |text: &String| match text.starts_with('/') || text.is_empty() {
        true => Err(Error::Refused(format!("the pattern `{text}` matches nothing: target paths never start with `/`"))),
        false => Ok(PathPattern::new(text)),
    };
    texts.iter().map(pattern).collect::<Result<_, _>>().map(Paths::Patterns)
}

/// Reads hash prefixes.
///
/// # Errors
/// [`Error::Refused`] for what is not 1 to 64 lower-case hexadecimal digits.
pub fn hash_prefixes(texts: &[String]) -> Result<Paths, Error> {
    let prefix = |text: &String| {
        HashPrefix::new(text).map_err(|_| Error::Refused(format!("`{text}` is not 1 to 64 digits of 0-9 and a-f")))
    };
    texts.iter().map(prefix).collect::<Result<_, _>>().map(Paths::HashPrefixes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_bins_cover_everything_once() {
        for bits in 1..=9 {
            let mut all: Vec<_> = (0..1_usize << bits).flat_map(|number| prefixes_of(number, bits).unwrap()).collect();
            let digits = usize::from(bits.div_ceil(4));
            assert_eq!(all.len(), 16_usize.pow(u32::from(bits.div_ceil(4))));
            assert!(all.iter().all(|prefix| prefix.as_str().len() == digits));
            all.sort();
            all.dedup();
            assert_eq!(all.len(), 16_usize.pow(u32::from(bits.div_ceil(4))));
        }
    }

    #[test]
    fn f_4_5_14_a_pattern_with_a_leading_slash_is_refused() {
        assert!(patterns(&["/x/*".into()]).is_err());
        assert!(patterns(&["x/*".into()]).is_ok());
    }
}
