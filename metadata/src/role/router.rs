//! Routes very many paths to the delegations that cover them (spec 4.5, TAP 15), without a look at each delegation for each
//! path. It comes to what [`Delegations::covering`] comes to.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::delegations::{DelegatedRoles, Delegation, Delegations, Paths};
use crate::path::hash_of;
use crate::{HashPrefix, RoleName, SuccinctRoles, TargetPath};

/// Most digits of a prefix that the first 64 bits of a hash can be compared with.
const DIGITS_OF_START: u8 = 16;

/// The way from a path to the delegations of one role, made once for very many paths.
#[derive(Clone, Debug)]
pub struct Router(Shape);

#[derive(Clone, Debug)]
enum Shape {
    Succinct(SuccinctRoles),
    Listed {
        names: Vec<RoleName>,
        /// The places of the delegations that have a prefix, in the order of their priority.
        prefixes: BTreeMap<HashPrefix, Vec<usize>>,
        /// How many digits the prefixes have.
        lengths: BTreeSet<u8>,
        /// Those that go by patterns: each must be looked at.
        patterns: Vec<usize>,
    },
}

impl Router {
    /// With fewer delegations a look at each is as quick.
    pub(super) const WORTHWHILE: usize = 64;

    /// The router of these delegations.
    #[must_use]
    pub fn of(delegations: &Delegations) -> Self {
        let listed = match &delegations.roles {
            DelegatedRoles::Succinct(bins) => return Self(Shape::Succinct(bins.clone())),
            DelegatedRoles::Listed(listed) => listed,
        };
        let names = listed.iter().map(|delegation| delegation.name.clone()).collect();
        let (mut prefixes, mut lengths, mut patterns) = (BTreeMap::<_, Vec<usize>>::new(), BTreeSet::new(), Vec::new());
        for (at, delegation) in listed.iter().enumerate() {
            match &delegation.paths {
                Paths::Patterns(_) => patterns.push(at),
                Paths::HashPrefixes(all) => {
                    for prefix in all {
                        lengths.insert(prefix.digits());
                        prefixes.entry(prefix.clone()).or_default().push(at);
                    }
                }
            }
        }
        Self(Shape::Listed { names, prefixes, lengths, patterns })
    }

    /// Whether there are bins, and the [`hash_start`](crate::hash_start) of a path tells which it falls into.
    #[must_use]
    pub fn has_bins(&self) -> bool {
        match &self.0 {
            Shape::Succinct(_) => true,
            Shape::Listed { lengths, .. } => lengths.last().is_some_and(|longest| *longest <= DIGITS_OF_START),
        }
    }

    /// The bin that a path with this [`hash_start`](crate::hash_start) falls into, by its place among the delegations:
    /// the first role that is delegated to by hash and covers it. Prefixes of more than 16 digits are not looked at.
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

    /// The name of the role at this place among the delegations.
    #[must_use]
    pub fn name(&self, place: usize) -> Option<RoleName> {
        match &self.0 {
            Shape::Succinct(bins) => u32::try_from(place).ok().map(|number| bins.bin(number)),
            Shape::Listed { names, .. } => names.get(place).cloned(),
        }
    }

    /// The places of all listed delegations that cover `path`, in the order of their priority.
    pub(super) fn covering(&self, listed: &[Delegation], path: &TargetPath) -> BTreeSet<usize> {
        let Shape::Listed { prefixes, lengths, patterns, .. } = &self.0 else { return BTreeSet::new() };
        let hash = hash_of(path);
        let by_hash = lengths.iter().filter_map(|digits| prefixes.get(&HashPrefix::of(&hash, *digits)));
        let by_pattern =
            patterns.iter().filter(|at| listed.get(**at).is_some_and(|found| found.paths.cover_hashed(path, &hash)));
        by_hash.flatten().chain(by_pattern).copied().collect()
    }
}
