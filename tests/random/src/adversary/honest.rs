//! The honest repository: publishes, renews, delegates, and rotates its keys, as spec 6 says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::paper::{Delegation, Draft, Key, Listed, PARTS, Paper, Part, Ring, Says, hash};

/// Days for which root, timestamp, snapshot, targets and delegated roles are valid.
const VALID: [i32; 6] = [365, 7, 30, 90, 90, 90];

/// What the repository says now, and all that it ever published.
#[derive(Clone)]
pub(crate) struct Honest {
    /// Of root, timestamp, snapshot, targets, A, and B as A's way leads to it.
    pub(crate) rings: [Ring; 6],
    /// Where B is delegated to on a second way: by the top-level role, and with which keys.
    second: Option<Ring>,
    /// Whether the delegation to A is terminating.
    terminating: bool,
    contents: BTreeMap<Part, u64>,
    pub(crate) now: BTreeMap<Part, Arc<Paper>>,
    pub(crate) files: BTreeMap<String, Arc<Paper>>,
    lists_hashes: bool,
    next_key: Key,
    day: i32,
}

impl Honest {
    /// A repository whose features are chosen by the bits of `kind`.
    pub(crate) fn new(kind: u32) -> Self {
        let mut next_key = 1;
        let mut ring = |bits: u32| {
            let (keys, threshold) = [(1, 1), (2, 1), (2, 2), (3, 2)][bits as usize % 4];
            let keys = (0..keys).map(|_| take(&mut next_key)).collect();
            Ring { keys, threshold, aliased: bits & 4 != 0 }
        };
        // Mostly one key, for speed.
        let few = |shift: u32| if kind >> shift & 1 == 0 { 0 } else { kind >> (shift + 1) & 7 };
        let rings = [ring(kind >> 20 & 7), ring(few(0)), ring(few(4)), ring(few(8)), ring(few(12)), ring(0)];
        let second = (kind >> 24 & 3 == 0).then(|| ring(0));
        let mut honest = Self {
            rings,
            second,
            terminating: kind >> 26 & 1 == 0,
            contents: BTreeMap::new(),
            now: BTreeMap::new(),
            files: BTreeMap::new(),
            lists_hashes: kind >> 27 & 1 == 0,
            next_key,
            day: 0,
        };
        honest.publish(&PARTS, &BTreeSet::new());
        honest
    }

    /// The days pass.
    pub(crate) fn at(&mut self, day: i32) -> &mut Self {
        self.day = day;
        self
    }

    /// The version of a role; 0 before it was ever published.
    pub(crate) fn version(&self, part: Part) -> u64 {
        self.now.get(&part).map_or(0, |paper| paper.version)
    }

    /// Publishes new versions of `parts` and of those that list them; the root is signed by `outgoing` as well.
    pub(crate) fn publish(&mut self, parts: &[Part], outgoing: &BTreeSet<Key>) {
        for part in [Part::Root, Part::B, Part::A, Part::Targets] {
            if parts.contains(&part) {
                *self.contents.entry(part).or_insert(0) += 1;
                self.put(part, self.says(part), outgoing);
            }
        }
        if parts.iter().any(|part| *part != Part::Timestamp) {
            self.put(Part::Snapshot, self.says(Part::Snapshot), &BTreeSet::new());
        }
        self.put(Part::Timestamp, self.says(Part::Timestamp), &BTreeSet::new());
    }

    /// Renews all that expires within a few days, and the timestamp.
    pub(crate) fn renew(&mut self) {
        let soon = self.day + 5;
        let due: Vec<_> = PARTS.into_iter().filter(|part| self.now[part].expires <= soon).collect();
        self.publish(&due, &BTreeSet::new());
    }

    /// Replaces some keys of a role by new ones: all that are in `lost`, or else the oldest.
    pub(crate) fn rotate(&mut self, parts: &[Part], lost: &BTreeSet<Key>, threshold: Option<usize>) {
        let outgoing = self.rings[Part::Root as usize].keys.clone();
        for part in parts {
            let ring = &mut self.rings[*part as usize];
            let mut leaving: BTreeSet<Key> = ring.keys.intersection(lost).copied().collect();
            if leaving.is_empty() && threshold.is_none() {
                leaving.extend(ring.keys.first());
            }
            for key in leaving {
                ring.keys.remove(&key);
                ring.keys.insert(take(&mut self.next_key));
            }
            ring.threshold = threshold.unwrap_or(ring.threshold).clamp(1, ring.keys.len());
        }
        if let Some(second) = self.second.as_mut().filter(|second| !second.keys.is_disjoint(lost)) {
            second.keys = BTreeSet::from([take(&mut self.next_key)]);
        }
        let of_root = parts.iter().any(|part| *part <= Part::Targets);
        // A delegator says who may sign, and what is signed by other keys is signed anew.
        let root = if of_root { Some(Part::Root) } else { None };
        let all: Vec<Part> = root.into_iter().chain([Part::Targets, Part::A, Part::B]).collect();
        self.publish(&all, &outgoing);
    }

    /// B is delegated to on a second way, or no more; or the delegation to A becomes terminating, or not.
    pub(crate) fn redelegate(&mut self, by: u32) {
        if by & 1 == 0 {
            self.terminating = !self.terminating;
        } else if self.second.take().is_none() {
            let key = take(&mut self.next_key);
            self.second = Some(Ring { keys: BTreeSet::from([key]), threshold: 1, aliased: by & 2 == 0 });
        }
        self.publish(&[Part::Targets, Part::A, Part::B], &BTreeSet::new());
    }

    /// Keys that sign something now.
    pub(crate) fn keys(&self) -> BTreeSet<Key> {
        self.rings.iter().chain(&self.second).flat_map(|ring| ring.keys.iter().copied()).collect()
    }

    pub(crate) fn says(&self, part: Part) -> Says {
        let listed = |paper: &Arc<Paper>| Listed {
            version: paper.version,
            digest: self.lists_hashes.then(|| hash(&paper.bytes)),
        };
        let content = self.contents.get(&part).copied().unwrap_or(0);
        let ring = |part: Part| self.rings[part as usize].clone();
        match part {
            Part::Root => Says::Root([Part::Root, Part::Timestamp, Part::Snapshot, Part::Targets].map(ring)),
            Part::Timestamp => Says::Timestamp(listed(&self.now[&Part::Snapshot])),
            Part::Snapshot => {
                let roles = [Part::Targets, Part::A, Part::B];
                Says::Snapshot(roles.into_iter().map(|part| (part, listed(&self.now[&part]))).collect())
            }
            Part::Targets => {
                let mut delegations = vec![Delegation {
                    to: Part::A,
                    ring: ring(Part::A),
                    folder: Some("a"),
                    terminating: self.terminating,
                }];
                let second = self.second.clone();
                delegations.extend(second.map(|ring| Delegation {
                    to: Part::B,
                    ring,
                    folder: None,
                    terminating: false,
                }));
                Says::Targets(BTreeMap::from([("x", content)]), delegations)
            }
            Part::A => {
                let to_b = Delegation { to: Part::B, ring: ring(Part::B), folder: None, terminating: false };
                Says::Targets(BTreeMap::from([("a/1", content)]), vec![to_b])
            }
            Part::B => Says::Targets(BTreeMap::from([("a/2", content), ("b/1", content)]), Vec::new()),
        }
    }

    fn put(&mut self, part: Part, says: Says, outgoing: &BTreeSet<Key>) {
        let version = self.version(part) + 1;
        let draft = Draft { part, version, expires: self.day + VALID[part as usize], says };
        let ring = &self.rings[part as usize];
        let mut signers: BTreeSet<Key> = ring.keys.union(outgoing).copied().collect();
        if part == Part::B {
            signers.extend(self.second.iter().flat_map(|second| &second.keys));
        }
        let paper = draft.sign(&signers, &BTreeSet::new(), ring.aliased);
        self.files.insert(part.file(version), Arc::clone(&paper));
        self.now.insert(part, paper);
    }
}

fn take(next: &mut Key) -> Key {
    *next += 1;
    *next - 1
}
