//! Hash bins (spec 4.5, TAP 15): distributes a role's targets into bins, changes the number of bins, and removes bins.

use std::collections::{BTreeMap, BTreeSet};

use lastmile_metadata::{DelegatedRoles, Delegation, Delegations, HashPrefix, KeyId, Paths, RoleName, SuccinctRoles};

use super::bulk::Moving;
use super::delegations::Trust;
use super::{Edit, drop_unused};
use crate::{EditError, Error};

/// The settings of new bins.
#[derive(Clone, Debug)]
pub struct NewBins {
    /// The base-2 logarithm of the number of bins.
    pub bit_length: u8,
    /// The prefix of the bins' names.
    pub name_prefix: String,
    /// The keys and threshold of the bins.
    pub trust: Trust,
    /// Whether the bins are written as succinct roles (TAP 15). Otherwise, each bin is written as a delegation by hash
    /// prefix.
    pub succinct: bool,
}

/// The bins of a role.
#[derive(Clone, Debug)]
pub struct Bins {
    /// The base-2 logarithm of the number of bins.
    pub bit_length: u32,
    /// The prefix of the bins' names.
    pub name_prefix: String,
    /// Whether the bins are written as succinct roles (TAP 15). Otherwise, each bin is written as a delegation by hash
    /// prefix.
    pub succinct: bool,
    shape: SuccinctRoles,
}

impl Bins {
    /// Returns the bins in `delegations`. Returns `None` unless they form a complete set with one name prefix, one list
    /// of keys and one threshold.
    #[must_use]
    pub fn of(delegations: &Delegations) -> Option<Self> {
        match &delegations.roles {
            DelegatedRoles::Succinct(bins) => {
                let name_prefix = bins.name_prefix().to_string();
                Some(Self { bit_length: bins.bit_length(), name_prefix, succinct: true, shape: bins.clone() })
            }
            DelegatedRoles::Listed(roles) => {
                let bins: Vec<&Delegation> =
                    roles.iter().filter(|role| matches!(role.paths, Paths::HashPrefixes(_))).collect();
                let first = bins.first()?;
                let (name_prefix, _) = first.name.as_str().rsplit_once('-')?;
                let bit_length = bins.len().checked_ilog2().filter(|bits| bins.len() == 1 << bits)?;
                let shape = SuccinctRoles::new(first.keyids.clone(), first.threshold, bit_length, name_prefix).ok()?;
                // A delegation by hash prefix that does not have the expected name and prefixes is not a bin.
                let is_bin = |(number, (found, name)): (usize, (&&Delegation, RoleName))| {
                    let shared = found.keyids == first.keyids && found.threshold == first.threshold;
                    let plain = !found.terminating && found.unknown.is_empty();
                    let paths = prefixes_of(number, bit_length).map(Paths::HashPrefixes);
                    shared && plain && found.name == name && paths.is_ok_and(|paths| found.paths == paths)
                };
                let are_bins = bins.iter().zip(shape.names()).enumerate().all(is_bin);
                let name_prefix = name_prefix.to_string();
                are_bins.then_some(Self { bit_length, name_prefix, succinct: false, shape })
            }
        }
    }

    /// Returns the names of the bins.
    pub fn names(&self) -> impl Iterator<Item = RoleName> + '_ {
        self.shape.names()
    }

    /// Returns whether `role` is one of the bins.
    #[must_use]
    pub fn contains(&self, role: &RoleName) -> bool {
        self.shape.contains(role)
    }

    /// Compares the number of bins, the name prefix and the format.
    #[must_use]
    pub(crate) fn is_the_same_set_as(&self, other: &Self) -> bool {
        let shape = |bins: &Self| (bins.bit_length, bins.succinct, bins.name_prefix.clone());
        shape(self) == shape(other)
    }

    /// Returns the first bin. All bins have the same keys, so the keys of the first bin are the keys of every bin.
    #[must_use]
    pub fn first(&self) -> RoleName {
        self.shape.bin(0)
    }
}

impl Edit<'_> {
    /// Returns the bins of `role` in the draft, or `None` if the role has no bins.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the role does not exist.
    pub fn bins(&mut self, role: &RoleName) -> Result<Option<Bins>, Error> {
        Ok(self.view(role)?.delegations.as_ref().and_then(Bins::of))
    }

    /// Returns the number of targets that `role` and its bins list.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the role does not exist. Also returns an error if a bin does not verify.
    pub fn count_targets(&mut self, role: &RoleName) -> Result<usize, Error> {
        let mut count = self.view(role)?.len();
        let names: Vec<RoleName> = self.bins(role)?.iter().flat_map(Bins::names).collect();
        self.published.read_children(role, &names)?;
        for bin in &names {
            count += match self.draft.targets.get(bin) {
                Some(content) => content.len(),
                None => self.published.role(bin)?.len(),
            };
        }
        Ok(count)
    }

    /// Distributes the targets of `role` and of its existing bins into new bins. Calls `progress` with the number of
    /// targets processed.
    ///
    /// # Errors
    /// [`Error::Edit`] if the role already has the same bins, or has delegations that cannot coexist with bins; if
    /// another role has the name of a bin; or if an existing bin has delegations.
    pub fn make_bins(
        &mut self,
        role: &RoleName,
        new: &NewBins,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<(), Error> {
        let threshold = new.trust.threshold()?;
        let entries = new.trust.entries();
        let keyids: Vec<KeyId> = entries.keys().cloned().collect();
        let bins = SuccinctRoles::new(keyids.clone(), threshold, u32::from(new.bit_length), &new.name_prefix)
            .map_err(EditError::Metadata)?;
        let old = self.bins(role)?;
        if old.as_ref().is_some_and(|old| old.bit_length == bins.bit_length() && old.succinct == new.succinct) {
            return Err(EditError::SameBins { role: role.clone(), bit_length: bins.bit_length() }.into());
        }
        self.check_names(role, &bins, old.as_ref())?;
        let mut moving = Moving::default();
        moving.take(self.view(role)?);
        if let Some(old) = &old {
            self.take_bins(role, old, &mut moving)?;
        }
        let targets = self.targets(role)?;
        targets.clear();
        let delegations = targets.delegations.get_or_insert_default();
        let DelegatedRoles::Listed(listed) = &mut delegations.roles else {
            return Err(EditError::HasBins { role: role.clone() }.into());
        };
        let has_bins = listed.iter().any(|delegation| matches!(delegation.paths, Paths::HashPrefixes(_)));
        if has_bins || (new.succinct && !listed.is_empty()) {
            return Err(EditError::HasDelegations { role: role.clone() }.into());
        }
        delegations.keys.extend(entries);
        let names: Vec<RoleName> = bins.names().collect();
        if new.succinct {
            delegations.roles = DelegatedRoles::Succinct(bins);
        } else {
            for (number, name) in names.iter().cloned().enumerate() {
                let paths = Paths::HashPrefixes(prefixes_of(number, u32::from(new.bit_length))?);
                let keyids = keyids.clone();
                let unknown = BTreeMap::new();
                listed.push(Delegation { name, keyids, threshold, terminating: false, paths, unknown });
            }
        }
        for bin in &names {
            self.new_role(bin, role);
        }
        self.fill(role, &moving, progress).map(drop)
    }

    /// Refuses bins if one of them has the name of another delegated role. Otherwise, the metadata of the bin would
    /// replace the metadata of that role.
    fn check_names(&mut self, role: &RoleName, bins: &SuccinctRoles, old: Option<&Bins>) -> Result<(), Error> {
        let is_old =
            |name: &RoleName, delegator: &RoleName| delegator == role && old.is_some_and(|old| old.contains(name));
        for (name, delegator) in self.delegated_roles()? {
            if bins.contains(&name) && !is_old(&name, &delegator) {
                return Err(EditError::BinNameTaken { delegator: delegator.clone(), role: name.clone() }.into());
            }
        }
        Ok(())
    }

    /// Removes the bins of a role, and adds their targets to `moving`.
    fn take_bins(&mut self, role: &RoleName, bins: &Bins, moving: &mut Moving) -> Result<(), Error> {
        let names: Vec<RoleName> = bins.names().collect();
        self.published.read_children(role, &names)?;
        for name in &names {
            let bin = self.view(name)?;
            if bin.delegations.is_some() {
                return Err(EditError::BinDelegates { role: name.clone() }.into());
            }
            moving.take(bin);
            self.draft.targets.remove(name);
            self.draft.bulk_filled.remove(name);
        }
        let targets = self.targets(role)?;
        let Some(delegations) = &mut targets.delegations else { return Ok(()) };
        match &mut delegations.roles {
            DelegatedRoles::Listed(roles) => {
                roles.retain(|delegation| !bins.contains(&delegation.name));
                let used: BTreeSet<KeyId> = roles.iter().flat_map(|delegation| delegation.keyids.clone()).collect();
                drop_unused(&mut delegations.keys, &used);
            }
            DelegatedRoles::Succinct(_) => {
                targets.delegations = None;
                return Ok(());
            }
        }
        if matches!(&delegations.roles, DelegatedRoles::Listed(roles) if roles.is_empty()) {
            targets.delegations = None;
        }
        Ok(())
    }

    /// Returns the succinct bins of `role`, if `name` is the name of one bin or the name prefix of all bins.
    pub(super) fn succinct_bins(&mut self, role: &RoleName, name: &RoleName) -> Result<Option<Bins>, Error> {
        let bins = self.bins(role)?.filter(|bins| bins.succinct);
        Ok(bins.filter(|bins| bins.contains(name) || bins.name_prefix == name.as_str()))
    }

    /// Removes bins, and moves their targets back into the delegating role.
    pub(super) fn dissolve(&mut self, role: &RoleName, bins: &Bins) -> Result<(), Error> {
        let mut moving = Moving::default();
        moving.take(self.view(role)?);
        self.take_bins(role, bins, &mut moving)?;
        self.fill(role, &moving, &|_| {}).map(drop)
    }
}

/// Returns the hash prefixes of bin `number`: all hexadecimal prefixes whose leading `bit_length` bits equal `number`.
fn prefixes_of(number: usize, bit_length: u32) -> Result<Vec<HashPrefix>, Error> {
    let digits = bit_length.div_ceil(4) as usize;
    let free_bits = digits * 4 - bit_length as usize;
    let first = number << free_bits;
    (first..first + (1 << free_bits))
        .map(|prefix| {
            HashPrefix::new(&format!("{prefix:0digits$x}")).map_err(|error| EditError::Metadata(error).into())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_bins_cover_everything_once() {
        for bits in 1..=9 {
            let mut all: Vec<_> = (0..1_usize << bits).flat_map(|number| prefixes_of(number, bits).unwrap()).collect();
            let digits = bits.div_ceil(4);
            assert_eq!(all.len(), 16_usize.pow(digits));
            assert!(all.iter().all(|prefix| u32::from(prefix.digits()) == digits));
            all.sort();
            all.dedup();
            assert_eq!(all.len(), 16_usize.pow(digits));
        }
    }
}
