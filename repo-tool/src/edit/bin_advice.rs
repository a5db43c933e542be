//! How many bins a repository should have: what clients pay for few bins, and for many.
//!
//! A client that looks for one target fetches the timestamp, the snapshot, which lists every bin, and one bin. More bins
//! are smaller, and make the snapshot larger: by 132 bytes each with length and hash, by 31 where the version suffices
//! ([`crate::publish::snapshot`]). docs/scale.md has the formula and measurements.

use chrono::{DateTime, Utc};
use lastmile_metadata::{Role as _, RoleName, Targets, Version};

use crate::Error;
use crate::edit::Edit;
use crate::edit::bins::Bins;

/// So many targets are measured, and stand for all.
const MEASURED: usize = 1000;
/// Targets that a client is thought to look for when it comes for the first time: one package and what it needs.
const FIRST: u64 = 10;
/// Bytes of a bin's entry in the snapshot that lists its version alone: `"bin-0000.json":{"version":1},` and one more
/// digit of the version.
const VERSION_ENTRY: u64 = 31;
/// Bytes of an entry that lists length and SHA-256 as well.
const HASH_ENTRY: u64 = 132;
/// Bytes of a bin's delegation in the targets role, where bins are no succinct ones.
const DELEGATION: u64 = 190;
/// Bytes of a role that lists nothing: header and one signature.
const EMPTY: u64 = 380;
/// Up to so many bytes of targets, bins save next to nothing.
const SMALL: u64 = 100_000;
/// What the targets of a role, and of its bins, cost in metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// How many targets.
    pub targets: u64,
    /// Bytes of one of them in its role, on average.
    pub bytes_per_target: u64,
    /// Whether the bins are succinct (TAP 15).
    pub succinct: bool,
    /// Whether the snapshot lists the bins by version alone.
    pub by_version: bool,
}

/// Bytes of metadata that clients fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// By a new client that looks for ten targets.
    pub first: u64,
    /// By a client that comes back after a release, for the target that was released.
    pub returning: u64,
}

/// How many bins to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// 2 to the power of this many; none where bins save nothing.
    pub bit_length: Option<u8>,
    /// What clients pay then.
    pub cost: Cost,
    /// What they pay without bins.
    pub flat: Cost,
}

impl Workload {
    /// What `role`, and the bins that it has, list now.
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

    /// What clients pay with 2 to the power of `bit_length` bins, or without bins. Timestamp and root, which are the
    /// same in every case, are left out.
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

    /// Bytes of the snapshot with 2 to the power of `bits` bins.
    #[must_use]
    pub fn snapshot_length(&self, bits: u8) -> u64 {
        let entry = if self.by_version { VERSION_ENTRY } else { HASH_ENTRY };
        EMPTY + HASH_ENTRY + entry * (1_u64 << bits.min(32))
    }

    /// What speaks against 2 to the power of `bits` bins, if anything does.
    #[must_use]
    pub fn warning(&self, bits: u8) -> Option<String> {
        let most = self.most_bits();
        (bits > most).then(|| {
            format!(
                "2^{bits} bins make a snapshot of {}, which every client fetches after a release; at most 2^{most} are \
                 proposed",
                size(self.snapshot_length(bits))
            )
        })
    }

    /// The most bits that are proposed, so that other clients accept the result without being configured: python-tuf reads
    /// snapshots of at most 2,000,000 bytes and targets roles of at most 5,000,000; tough, which reads no succinct
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

    /// The number of bins with which a first visit and a return together are cheapest.
    #[must_use]
    pub fn proposal(&self) -> Proposal {
        let flat = self.cost(None);
        let sum = |bits: &u8| {
            let cost = self.cost(Some(*bits));
            cost.first.saturating_add(cost.returning)
        };
        let is_small = self.targets.saturating_mul(self.bytes_per_target) <= SMALL;
        let bit_length = (1..=self.most_bits()).min_by_key(sum).filter(|_| !is_small);
        Proposal { bit_length, cost: self.cost(bit_length), flat }
    }
}

impl Proposal {
    /// The reason, for a person: three lines.
    #[must_use]
    pub fn text(&self, load: &Workload) -> String {
        let (targets, flat) = (load.targets, size(self.flat.first));
        let Some(bits) = self.bit_length else {
            return format!(
                "No bins: {targets} targets are {flat} in one file, which every client fetches after a change."
            );
        };
        let (first, returning) = (size(self.cost.first), size(self.cost.returning));
        let step = |bits: u8| {
            let cost = load.cost(Some(bits));
            format!("2^{bits}: {} and {}", size(cost.first), size(cost.returning))
        };
        format!(
            "2^{bits} bins for {targets} targets: a new client that looks for {FIRST} of them fetches {first} of metadata, one \
             that comes back after a release {returning}; without bins both fetch {flat}.\nFewer bins are larger, and more \
             make the snapshot larger ({}; {}).\n{}",
            step(bits.saturating_sub(1).max(1)),
            step(bits + 1),
            Self::entries_text(load)
        )
    }
}

impl Proposal {
    /// What the entries of the bins in the snapshot cost, and the alternative.
    fn entries_text(load: &Workload) -> String {
        if load.by_version {
            return format!(
                "The snapshot lists these bins by version alone, {VERSION_ENTRY} bytes each: whoever can sign a bin can sign \
                 snapshot and timestamp too."
            );
        }
        let other = Workload { by_version: true, ..*load };
        let proposal = other.proposal();
        let bits = proposal.bit_length.unwrap_or(1);
        let (first, returning) = (size(proposal.cost.first), size(proposal.cost.returning));
        format!(
            "The snapshot lists each bin with its hash, {HASH_ENTRY} bytes each, so that a stolen key of the bins alone changes \
             nothing. Bins that need the keys of snapshot and timestamp (`--key snapshot-1 timestamp-1 --threshold 2`) are \
             listed by version: 2^{bits} of them cost {first} and {returning}."
        )
    }
}

/// Bytes for a person.
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
        // What nobody could read is not proposed.
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
    fn the_reason_is_three_lines() {
        let text = load(1_000_000).proposal().text(&load(1_000_000));
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("without bins both fetch 170.0 MB"), "{text}");
        assert!(load(100).proposal().text(&load(100)).starts_with("No bins: 100 targets are 17 kB"));
    }
}
