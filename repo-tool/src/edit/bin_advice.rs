//! Recommends a number of bins, based on the number of bytes that clients would fetch.
//!
//! To find one target, a client fetches the timestamp, the snapshot and one bin. With more bins, each bin is smaller,
//! but the snapshot is larger, because it lists every bin. A bin takes 132 bytes in the snapshot if it is listed with
//! length and hash, and 31 bytes if it is listed by version only (see [`crate::publish::snapshot`]). The formula and
//! measurements are in docs/scale.md.

use chrono::{DateTime, Utc};
use lastmile_metadata::{Role as _, RoleName, Targets, Version};

use crate::Error;
use crate::edit::Edit;
use crate::edit::bins::Bins;

/// The maximum number of targets whose sizes are measured to compute the average.
const MEASURED: usize = 1000;
/// The assumed number of targets that a new client fetches: one package and its dependencies.
const FIRST: u64 = 10;
/// The length in bytes of a bin's snapshot entry without length and hash, such as `"bin-0000.json":{"version":1},`. One
/// byte is added, because later versions have more digits.
const VERSION_ENTRY: u64 = 31;
/// The length in bytes of a snapshot entry with version, length and SHA-256.
const HASH_ENTRY: u64 = 132;
/// The length in bytes of the delegation to one bin in the targets role, if the bins are not succinct.
const DELEGATION: u64 = 190;
/// The length in bytes of a metadata file without targets, with one signature.
const EMPTY: u64 = 380;
/// If the targets take up at most this number of bytes in metadata, bins save almost nothing.
const SMALL: u64 = 100_000;
/// The number and size of the targets that a role and its bins list, and the format of the bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The number of targets.
    pub targets: u64,
    /// The average length in bytes of a target's entry in the metadata of its role.
    pub bytes_per_target: u64,
    /// Whether the bins are succinct (TAP 15).
    pub succinct: bool,
    /// Whether the snapshot lists the bins by version only.
    pub by_version: bool,
}

/// The number of bytes of metadata that clients fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The bytes that a new client fetches to find ten targets.
    pub first: u64,
    /// The bytes that a returning client fetches to find one new target after a release.
    pub returning: u64,
}

/// A recommended number of bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The base-2 logarithm of the recommended number of bins; `None` if bins would save nothing.
    pub bit_length: Option<u8>,
    /// The number of bytes that clients fetch with the recommended bins.
    pub cost: Cost,
    /// The number of bytes that clients fetch without bins.
    pub flat: Cost,
}

impl Workload {
    /// Measures the targets that `role` and its bins currently list. `succinct` and `by_version` are set to false; the
    /// caller changes them to the planned format of the bins.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the role does not exist. Also returns an error if a bin does not verify.
    pub fn of(edit: &mut Edit<'_>, role: &RoleName) -> Result<Self, Error> {
        let targets = edit.count_targets(role)?;
        let mut measured = Targets::new(Version::ONE, DateTime::<Utc>::UNIX_EPOCH);
        let empty = measured.write().len();
        let bins: Vec<RoleName> = edit.bins(role)?.iter().flat_map(Bins::names).collect();
        for role in std::iter::once(role).chain(&bins) {
            let left = MEASURED - measured.len().min(MEASURED);
            edit.view(role)?.targets().take(left).for_each(|target| measured.insert(target));
            if left == 0 {
                break;
            }
        }
        let bytes_per_target = (measured.write().len() - empty) / measured.len().max(1);
        Ok(Self {
            targets: targets as u64,
            bytes_per_target: bytes_per_target as u64,
            succinct: false,
            by_version: false,
        })
    }

    /// Returns the cost for clients with 2 to the power of `bit_length` bins, or without bins if `bit_length` is
    /// `None`. The cost does not include the timestamp and the root, because their sizes do not depend on the bins.
    #[must_use]
    pub fn cost(&self, bit_length: Option<u8>) -> Cost {
        let all = self.targets.saturating_mul(self.bytes_per_target);
        let Some(bits) = bit_length else {
            let flat = EMPTY * 2 + HASH_ENTRY + all;
            return Cost { first: flat, returning: flat };
        };
        let bins = 1_u64 << bits.min(32);
        let snapshot = self.snapshot_length(bits);
        let top = EMPTY + if self.succinct { 300 } else { DELEGATION * bins };
        let bin = EMPTY + all / bins;
        Cost { first: snapshot + top + bin * FIRST.min(bins), returning: snapshot + bin }
    }

    /// Returns the length in bytes of the snapshot with 2 to the power of `bits` bins.
    #[must_use]
    pub fn snapshot_length(&self, bits: u8) -> u64 {
        let entry = if self.by_version { VERSION_ENTRY } else { HASH_ENTRY };
        EMPTY + HASH_ENTRY + entry * (1_u64 << bits.min(32))
    }

    /// Returns a warning if 2 to the power of `bits` bins are more than the recommended maximum.
    #[must_use]
    pub fn warning(&self, bits: u8) -> Option<String> {
        let most = self.most_bits();
        (bits > most).then(|| {
            format!(
                "2^{bits} bins make a snapshot of {}, which every client fetches after each release; the recommended \
                maximum is 2^{most}",
                size(self.snapshot_length(bits))
            )
        })
    }

    /// Returns the largest bit length for which clients other than lastmile accept the metadata with their default
    /// limits. The bit length is the base-2 logarithm of the number of bins. python-tuf reads snapshots of at most
    /// 2,000,000 bytes and targets roles of at most 5,000,000 bytes. The client tough, which does not support succinct
    /// bins, reads snapshots of at most 1 MiB.
    #[must_use]
    pub fn most_bits(&self) -> u8 {
        match (self.by_version, self.succinct) {
            (true, true) => 15,
            (true, false) => 14,
            (false, true) => 13,
            (false, false) => 12,
        }
    }

    /// Recommends the number of bins for which a new client and a returning client together fetch the fewest bytes. If
    /// the targets take up little space in metadata, recommends no bins.
    #[must_use]
    pub fn proposal(&self) -> Proposal {
        let flat = self.cost(None);
        let sum = |bits: &u8| {
            let cost = self.cost(Some(*bits));
            cost.first.saturating_add(cost.returning)
        };
        let is_small = self.targets.saturating_mul(self.bytes_per_target) <= SMALL;
        let bit_length = if is_small { None } else { (1..=self.most_bits()).min_by_key(sum) };
        Proposal { bit_length, cost: self.cost(bit_length), flat }
    }
}

impl Proposal {
    /// Explains the recommendation in three lines of text, or in one line if no bins are recommended.
    #[must_use]
    pub fn text(&self, load: &Workload) -> String {
        let targets = load.targets;
        let flat = size(self.flat.first);
        let Some(bits) = self.bit_length else {
            return format!(
                "No bins are needed: the metadata of {targets} targets takes {flat} in one file, which every client \
                fetches after a change."
            );
        };
        let first = size(self.cost.first);
        let returning = size(self.cost.returning);
        let step = |bits: u8| {
            let cost = load.cost(Some(bits));
            format!("2^{bits}: {} and {}", size(cost.first), size(cost.returning))
        };
        format!(
            "2^{bits} bins for {targets} targets: a new client that looks for {FIRST} of them fetches {first} of \
            metadata, and a returning client fetches {returning} after a release; without bins, both fetch {flat}.\n\
            With fewer bins, each bin is larger; with more, the snapshot is larger ({}; {}).\n{}",
            step(bits.saturating_sub(1).max(1)),
            step(bits + 1),
            Self::entries_text(load)
        )
    }
}

impl Proposal {
    /// Explains whether the snapshot lists the bins by version or with a hash. If the snapshot lists them with a hash,
    /// also states how many bytes clients would fetch if the snapshot listed the bins by version.
    fn entries_text(load: &Workload) -> String {
        if load.by_version {
            return format!(
                "The snapshot lists these bins by version only, {VERSION_ENTRY} bytes each, because the keys that sign \
                a bin can also sign snapshot and timestamp."
            );
        }
        let other = Workload { by_version: true, ..*load };
        let proposal = other.proposal();
        let bits = proposal.bit_length.unwrap_or(1);
        let first = size(proposal.cost.first);
        let returning = size(proposal.cost.returning);
        format!(
            "The snapshot lists each bin with its hash, {HASH_ENTRY} bytes each, so an attacker who steals only the \
            bins' key cannot replace their content. Bins that need the keys of snapshot and timestamp (`--key \
            snapshot-1 timestamp-1 --threshold 2`) are listed by version: with 2^{bits} bins, a new client fetches \
            {first}, and a returning client fetches {returning}."
        )
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(targets: u64) -> Workload {
        Workload { targets, bytes_per_target: 170, succinct: true, by_version: false }
    }

    #[test]
    fn more_targets_get_more_bins() {
        let bits: Vec<_> =
            (2..=8).map(|digits| load(10_u64.pow(digits)).proposal().bit_length.unwrap_or_default()).collect();
        assert_eq!(bits, [0, 6, 8, 10, 11, 13, 13]);
        let by_version = |digits| Workload { by_version: true, ..load(10_u64.pow(digits)) };
        let bits: Vec<_> = (2..=8).map(|digits| by_version(digits).proposal().bit_length.unwrap_or_default()).collect();
        assert_eq!(bits, [0, 7, 9, 11, 12, 14, 15]);
        // The recommendation never exceeds the maximum that clients accept.
        let prefixes = Workload { succinct: false, ..load(u64::MAX / 1_000_000) };
        assert_eq!(prefixes.proposal().bit_length, Some(12));
    }

    #[test]
    fn no_other_number_of_bins_is_cheaper() {
        let load = load(1_000_000);
        let sum = |bits| load.cost(Some(bits)).first + load.cost(Some(bits)).returning;
        let proposed = load.proposal().bit_length.unwrap();
        assert!((1..=16).all(|bits| sum(bits) >= sum(proposed)));
    }

    #[test]
    fn the_explanation_has_three_lines() {
        let text = load(1_000_000).proposal().text(&load(1_000_000));
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("without bins, both fetch 170.0 MB"), "{text}");
        assert!(
            load(100)
                .proposal()
                .text(&load(100))
                .starts_with("No bins are needed: the metadata of 100 targets takes 17 kB")
        );
    }
}
