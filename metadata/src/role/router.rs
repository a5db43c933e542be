//! An index of delegations (TUF specification 4.5, TAP 15), which finds the delegations that cover a path without
//! checking every delegation. The index finds the same delegations as [`Delegations::covering`].

use alloc::collections::{BTreeMap, BTreeSet, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::delegations::{DelegatedRoles, Delegations, Paths, Rings};
use super::pattern_index::PatternIndex;
use crate::limits::Budget;
use crate::path_pattern::hash_of;
use crate::{ErrorKind, HashPrefix, KeyRing, PathPattern, RoleName, SuccinctRoles, TargetPath};

/// The number of hexadecimal digits in the first 64 bits of a hash.
const DIGITS_OF_START: u8 = 16;

/// Adding this number of keys to a key ring costs one step of a [`Budget`].
const KEYS_PER_STEP: usize = 4;

/// An index of the delegations of one role, for looking up a large number of paths.
#[derive(Clone, Debug)]
pub struct Router(Shape);

#[derive(Clone, Debug)]
enum Shape {
    Succinct(SuccinctRoles),
    Listed {
        names: Vec<RoleName>,
        /// For each prefix, the indices of the delegations that list it, in order of priority.
        prefixes: BTreeMap<HashPrefix, Vec<usize>>,
        /// The lengths of all prefixes, in digits.
        lengths: BTreeSet<u8>,
        patterns: PatternIndex,
    },
}

impl Router {
    /// Creates a router for `delegations`.
    #[must_use]
    pub fn of(delegations: &Delegations) -> Self {
        let listed = match &delegations.roles {
            DelegatedRoles::Succinct(bins) => return Self(Shape::Succinct(bins.clone())),
            DelegatedRoles::Listed(listed) => listed,
        };
        let names = listed.iter().map(|delegation| delegation.name.clone()).collect();
        let mut prefixes: BTreeMap<HashPrefix, Vec<usize>> = BTreeMap::new();
        let mut lengths = BTreeSet::new();
        let mut patterns: Vec<(&PathPattern, usize)> = Vec::new();
        for (at, delegation) in listed.iter().enumerate() {
            match &delegation.paths {
                Paths::Patterns(all) => patterns.extend(all.iter().map(|pattern| (pattern, at))),
                Paths::HashPrefixes(all) => {
                    for prefix in all {
                        lengths.insert(prefix.digits());
                        prefixes.entry(prefix.clone()).or_default().push(at);
                    }
                }
            }
        }
        let patterns = PatternIndex::of(patterns.into_iter());
        Self(Shape::Listed { names, prefixes, lengths, patterns })
    }

    /// Returns `true` if the role delegates to hash bins and no hash prefix has more than 16 digits. In this case, the
    /// [`hash_start`](crate::hash_start) of a path is enough to determine its bin.
    #[must_use]
    pub fn has_bins(&self) -> bool {
        match &self.0 {
            Shape::Succinct(_) => true,
            Shape::Listed { lengths, .. } => lengths.last().is_some_and(|longest| *longest <= DIGITS_OF_START),
        }
    }

    /// Returns the hash bin of a path, as an index into the delegated roles. `hash_start` is the result of
    /// [`hash_start`](crate::hash_start) for the path. The bin is the role of the first delegation that covers the path
    /// by a hash prefix. Prefixes of more than 16 digits are ignored.
    #[must_use]
    pub fn bin(&self, hash_start: u64) -> Option<usize> {
        match &self.0 {
            Shape::Succinct(bins) => usize::try_from(hash_start.checked_shr(64 - bins.bit_length())?).ok(),
            Shape::Listed { prefixes, lengths, .. } => {
                let mut hash = [0; 32];
                hash.iter_mut().zip(hash_start.to_be_bytes()).for_each(|(byte, start)| *byte = start);
                let lengths = lengths.iter().filter(|digits| **digits <= DIGITS_OF_START);
                let covering = lengths.filter_map(|digits| prefixes.get(&HashPrefix::of(&hash, *digits))?.first());
                covering.min().copied()
            }
        }
    }

    /// Returns the name of the delegated role with the index `place`.
    #[must_use]
    pub fn name(&self, place: usize) -> Option<RoleName> {
        match &self.0 {
            Shape::Succinct(bins) => u32::try_from(place).ok().map(|number| bins.bin(number)),
            Shape::Listed { names, .. } => names.get(place).cloned(),
        }
    }

    /// Returns the indices of the delegations that cover `path`, in order of priority and at most `most` of them.
    /// Returns no indices for succinct hash bins.
    fn covering(&self, path: &TargetPath, most: usize, steps: &mut Budget) -> Result<Vec<usize>, ErrorKind> {
        let Shape::Listed { prefixes, lengths, patterns, .. } = &self.0 else { return Ok(Vec::new()) };
        // Each list of indices is in ascending order.
        let mut lists: Vec<&[usize]> = Vec::new();
        patterns.matching(path, steps, |delegations| lists.push(delegations))?;
        if !lengths.is_empty() {
            let hash = hash_of(path);
            lists.extend(
                lengths.iter().filter_map(|digits| prefixes.get(&HashPrefix::of(&hash, *digits))).map(Vec::as_slice),
            );
        }
        let mut next: BinaryHeap<Reverse<(usize, usize, usize)>> = BinaryHeap::new();
        let first =
            lists.iter().enumerate().filter_map(|(list, delegations)| Some(Reverse((*delegations.first()?, list, 1))));
        next.extend(first);
        let mut covering = Vec::new();
        while let Some(Reverse((delegation, list, following))) = next.pop() {
            steps.spend()?;
            if covering.last() != Some(&delegation) {
                if covering.len() == most {
                    break;
                }
                covering.push(delegation);
            }
            if let Some(delegation) = lists.get(list).and_then(|delegations| delegations.get(following)) {
                next.push(Reverse((*delegation, list, following + 1)));
            }
        }
        Ok(covering)
    }
}

impl Delegations {
    /// Like [`Delegations::rings_covering`], but returns at most `most` roles, and uses `router` instead of checking
    /// every delegation.
    pub(crate) fn rings_by(
        &self,
        router: &Router,
        path: &TargetPath,
        most: usize,
        steps: &mut Budget,
    ) -> Result<Vec<(RoleName, KeyRing, bool)>, ErrorKind> {
        let (listed, bins) = self.listed_or_bins();
        let mut rings = Rings::of(self);
        let mut covering = Vec::new();
        for found in router.covering(path, most, steps)?.into_iter().filter_map(|at| listed.get(at)) {
            steps.spend_many(1 + found.keyids.len() / KEYS_PER_STEP)?;
            covering.push((found.name.clone(), rings.ring(&found.keyids, found.threshold), found.terminating));
        }
        if let Some(bins) = bins {
            steps.spend_many(1 + bins.keyids.len() / KEYS_PER_STEP)?;
            covering.push((bins.role_for(path), self.ring(&bins.keyids, bins.threshold), false));
        }
        Ok(covering)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::{Delegation, KeyId, Limit, Threshold, Unknown};

    fn delegation(name: &str, patterns: &[&str]) -> Delegation {
        let name = RoleName::delegated(name).unwrap();
        let keyids = alloc::vec![KeyId::new("k")];
        let paths = Paths::Patterns(patterns.iter().copied().map(PathPattern::new).collect());
        Delegation { name, keyids, threshold: Threshold::ONE, terminating: true, paths, unknown: Unknown::new() }
    }

    fn unlimited() -> Budget {
        Budget::new(Limit::ListSteps, u64::MAX)
    }

    #[test]
    fn f_4_5_6_a_router_finds_the_requested_number_of_roles_in_order_of_priority() {
        let listed = alloc::vec![
            delegation("a", &["x/*", "x/y", "*/y"]),
            delegation("b", &["y"]),
            delegation("c", &["?/?"]),
            delegation("d", &["x/y"]),
        ];
        let delegations = Delegations { roles: DelegatedRoles::Listed(listed), ..Delegations::new() };
        let router = Router::of(&delegations);
        let path = TargetPath::new("x/y").unwrap();
        for (most, expected) in
            [(0, &[][..]), (1, &["a"]), (2, &["a", "c"]), (3, &["a", "c", "d"]), (9, &["a", "c", "d"])]
        {
            let found = delegations.rings_by(&router, &path, most, &mut unlimited()).unwrap();
            assert_eq!(found.iter().map(|(role, ..)| role.as_str()).collect::<Vec<_>>(), expected, "{most}");
        }
    }

    #[test]
    fn b1_each_delegation_that_covers_a_path_is_a_step_and_more_with_many_keys() {
        let keyids: Vec<_> = (0..9).map(|number| KeyId::new(number.to_string())).collect();
        let few = delegation("few", &["*"]);
        let many = Delegation { keyids: keyids.clone(), ..delegation("many", &["*"]) };
        let bins = |keyids| DelegatedRoles::Succinct(SuccinctRoles::new(keyids, Threshold::ONE, 4, "bin").unwrap());
        let path = TargetPath::new("x").unwrap();
        for (roles, steps) in [
            (DelegatedRoles::Listed(alloc::vec![few]), 1),
            (DelegatedRoles::Listed(alloc::vec![many]), 3),
            (bins(alloc::vec![KeyId::new("k")]), 1),
            (bins(keyids), 3),
        ] {
            let delegations = Delegations { roles, ..Delegations::new() };
            let router = Router::of(&delegations);
            let mut to_find = unlimited();
            router.covering(&path, 9, &mut to_find).unwrap();
            let mut in_all = unlimited();
            delegations.rings_by(&router, &path, 9, &mut in_all).unwrap();
            assert_eq!(to_find.left() - in_all.left(), steps);
        }
    }
}
