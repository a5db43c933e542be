//! Recommends the number of bins from the bytes that clients fetch.
//!
//! A client that looks for one target fetches the timestamp, the snapshot, which lists every bin, and one bin. With more
//! bins, each is smaller and the snapshot is larger: by 132 bytes for each bin with length and hash, by 31 for each bin that
//! is listed by version ([`crate::publish::snapshot`]). docs/scale.md has the formula and measurements.

use chrono::{DateTime, Utc};
use lastmile_metadata::{Role as _, RoleName, Targets, Version};

use crate::Error;
use crate::edit::Edit;
use crate::edit::bins::Bins;

/// The number of targets that are measured as a sample.
const MEASURED: usize = 1000;
/// The assumed number of targets that a new client fetches: one package and its dependencies.
const FIRST: u64 = 10;
/// Bytes of a bin's snapshot entry with its version only: `"bin-0000.json":{"version":1},` and one more digit of the
/// version.
const VERSION_ENTRY: u64 = 31;
/// Bytes of a snapshot entry with version, length and SHA-256.
const HASH_ENTRY: u64 = 132;
/// Bytes of a bin's delegation in the targets role, if bins are not succinct.
const DELEGATION: u64 = 190;
/// Bytes of an empty role: header and one signature.
const EMPTY: u64 = 380;
/// Up to this many bytes of targets, bins save almost nothing.
const SMALL: u64 = 100_000;
/// The size of the targets of a role and of its bins, in metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The number of targets.
    pub targets: u64,
    /// The average number of bytes of a target in its role.
    pub bytes_per_target: u64,
    /// Whether the bins are succinct (TAP 15).
    pub succinct: bool,
    /// Whether the snapshot lists the bins by version only.
    pub by_version: bool,
}

/// Bytes of metadata that clients fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Bytes for a new client that looks for ten targets.
    pub first: u64,
    /// Bytes for a client that fetches one new target after a release.
    pub returning: u64,
}

/// A recommended number of bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The number of bins is 2 to this power; none if bins save nothing.
    pub bit_length: Option<u8>,
    /// The cost for clients with these bins.
    pub cost: Cost,
    /// The cost for clients without bins.
    pub flat: Cost,
}

impl Workload {
    /// Measures the targets that `role` and its bins list now.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such role; when a bin does not verify.
    pub fn of(edit: &mut Edit<'_>, role: &RoleName, succinct: bool, by_version: bool) -> Result<Self, Error> {
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
        Ok(Self { targets: targets as u64, bytes_per_target: bytes_per_target as u64, succinct, by_version })
    }

    /// Returns the cost for clients with 2 to the power of `bit_length` bins, or without bins. Timestamp and root are left out,
    /// because they are the same in every case.
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

    /// Returns a warning if 2 to the power of `bits` bins are too many.
    #[must_use]
    pub fn warning(&self, bits: u8) -> Option<String> {
        let most = self.most_bits();
        (bits > most).then(|| {
            format!(
                "2^{bits} bins make a snapshot of {}, which every client fetches after each release; the recommended maximum \
                is 2^{most}",
                size(self.snapshot_length(bits))
            )
        })
    }

    /// Returns the maximum number of bits that other clients accept with their default limits: python-tuf reads snapshots of at
    /// most 2,000,000 bytes and targets roles of at most 5,000,000; tough, which does not support succinct bins, reads
    /// snapshots of at most 1 MiB.
    #[must_use]
    pub fn most_bits(&self) -> u8 {
        match (self.by_version, self.succinct) {
            (true, true) => 15,
            (true, false) => 14,
            (false, true) => 13,
            (false, false) => 12,
        }
    }

    /// Returns the number of bins with the lowest total cost of a first visit and a later one.
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
    /// Explains the recommendation for a person, in three lines.
    #[must_use]
    pub fn text(&self, load: &Workload) -> String {
        let targets = load.targets;
        let flat = size(self.flat.first);
        let Some(bits) = self.bit_length else {
            return format!(
                "No bins: {targets} targets are {flat} in one file, which every client fetches after a change."
            );
        };
        let first = size(self.cost.first);
        let returning = size(self.cost.returning);
        let step = |bits: u8| {
            let cost = load.cost(Some(bits));
            format!("2^{bits}: {} and {}", size(cost.first), size(cost.returning))
        };
        format!(
            "2^{bits} bins for {targets} targets: a new client that looks for {FIRST} of them fetches {first} of metadata, and a \
            returning client after a release fetches {returning}; without bins both fetch {flat}.\nWith fewer bins, each bin is \
            larger; with more, the snapshot is larger ({}; {}).\n{}",
            step(bits.saturating_sub(1).max(1)),
            step(bits + 1),
            Self::entries_text(load)
        )
    }
}

impl Proposal {
    /// Explains the size of the bins' snapshot entries and the alternative.
    fn entries_text(load: &Workload) -> String {
        if load.by_version {
            return format!(
                "The snapshot lists these bins by version only, {VERSION_ENTRY} bytes each, because the keys that sign a bin can \
                also sign snapshot and timestamp."
            );
        }
        let other = Workload { by_version: true, ..*load };
        let proposal = other.proposal();
        let bits = proposal.bit_length.unwrap_or(1);
        let first = size(proposal.cost.first);
        let returning = size(proposal.cost.returning);
        format!(
            "The snapshot lists each bin with its hash, {HASH_ENTRY} bytes each, so a thief of the bins' key alone cannot replace \
            their content. Bins that need the keys of snapshot and timestamp (`--key snapshot-1 timestamp-1 --threshold 2`) \
            are listed by version: with 2^{bits} bins, clients fetch {first} and {returning}."
        )
    }
}

/// Formats a number of bytes for a person.
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
        // The maximum for clients limits the recommendation.
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
        assert!(text.contains("without bins both fetch 170.0 MB"), "{text}");
        assert!(load(100).proposal().text(&load(100)).starts_with("No bins: 100 targets are 17 kB"));
    }
}
