//! The honest repository. It publishes and renews metadata, delegates to roles and rotates keys (TUF specification 6).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ledger::{Body, Delegation, Document, Draft, Key, Listed, ROLES, Ring, Role, hash};
use super::policy::{Evidence, Policy, SIGNERS, Target, evidence_path};

/// The lifetimes of root, timestamp, snapshot, targets and the delegated roles, in days.
const VALID: [i32; 6] = [365, 7, 30, 90, 90, 90];

/// The current documents of the repository, and all files that the repository has published.
#[derive(Clone)]
pub(crate) struct Honest {
    /// The keys of root, timestamp, snapshot, targets and the delegated role A, and the keys that A lists for the role
    /// B.
    pub(crate) rings: [Ring; 6],
    /// The keys of the second delegation to B, in the top-level targets role. `None` if there is no such delegation.
    second: Option<Ring>,
    /// `true` if the delegation to A is terminating.
    terminating: bool,
    contents: BTreeMap<Role, u64>,
    /// For each role with a policy, the number from which the policy is derived.
    policies: BTreeMap<Role, u64>,
    /// Bits that decide which keys have signed each package, and whether the package's evidence is listed.
    evidence: u32,
    pub(crate) now: BTreeMap<Role, Arc<Document>>,
    pub(crate) files: BTreeMap<String, Arc<Document>>,
    lists_hashes: bool,
    next_key: Key,
    day: i32,
}

impl Honest {
    /// The bits of `kind` select the features of the repository.
    pub(crate) fn new(kind: u32) -> Self {
        let mut next_key = 1;
        let mut ring = |bits: u32| {
            let (keys, threshold) = [(1, 1), (2, 1), (2, 2), (3, 2)][bits as usize % 4];
            let keys = (0..keys).map(|_| take(&mut next_key)).collect();
            Ring { keys, threshold, aliased: bits & 4 != 0 }
        };
        // Most roles have only one key, so that signing and verifying take less time and more histories can be tested.
        let few = |shift: u32| if kind >> shift & 1 == 0 { 0 } else { kind >> (shift + 1) & 7 };
        let rings = [ring(kind >> 20 & 7), ring(few(0)), ring(few(4)), ring(few(8)), ring(few(12)), ring(0)];
        let second = (kind >> 24 & 3 == 0).then(|| ring(0));
        let mut honest = Self {
            rings,
            second,
            terminating: kind >> 26 & 1 == 0,
            contents: BTreeMap::new(),
            policies: BTreeMap::new(),
            evidence: 0,
            now: BTreeMap::new(),
            files: BTreeMap::new(),
            lists_hashes: kind >> 27 & 1 == 0,
            next_key,
            day: 0,
        };
        // Some repositories have policies from the beginning.
        for (role, bits) in [(Role::Targets, kind >> 16 & 3), (Role::A, kind >> 18 & 3)] {
            if bits == 3 {
                honest.policies.insert(role, u64::from(kind));
            }
        }
        honest.publish(&ROLES, &BTreeSet::new());
        honest
    }

    pub(crate) fn at(&mut self, day: i32) -> &mut Self {
        self.day = day;
        self
    }

    /// Returns the version of a role, or 0 if the role was never published.
    pub(crate) fn version(&self, role: Role) -> u64 {
        self.now.get(&role).map_or(0, |document| document.version)
    }

    /// Publishes new versions of `roles`, and always a new timestamp. If `roles` contains any role except the
    /// timestamp, publishes a new snapshot too. `outgoing` contains the previous keys of the root. They sign the new
    /// root and the new targets roles, in addition to the current keys of these roles.
    pub(crate) fn publish(&mut self, roles: &[Role], outgoing: &BTreeSet<Key>) {
        for role in [Role::Root, Role::B, Role::A, Role::Targets] {
            if roles.contains(&role) {
                *self.contents.entry(role).or_insert(0) += 1;
                self.put(role, self.body(role), outgoing);
            }
        }
        if roles.iter().any(|role| *role != Role::Timestamp) {
            self.put(Role::Snapshot, self.body(Role::Snapshot), &BTreeSet::new());
        }
        self.put(Role::Timestamp, self.body(Role::Timestamp), &BTreeSet::new());
    }

    /// Renews the timestamp and every role that expires within 5 days.
    pub(crate) fn renew(&mut self) {
        let soon = self.day + 5;
        let due: Vec<_> = ROLES.into_iter().filter(|role| self.now[role].expires <= soon).collect();
        self.publish(&due, &BTreeSet::new());
    }

    /// For each of `roles`, replaces the keys that are in `lost`, and sets the threshold to `threshold`. If `threshold`
    /// is `None`, the threshold stays the same. If none of a role's keys is in `lost`, its oldest key is replaced.
    ///
    /// If `lost` contains a key of the second delegation to B, this delegation gets a single new key.
    pub(crate) fn rotate(&mut self, roles: &[Role], lost: &BTreeSet<Key>, threshold: Option<usize>) {
        let outgoing = self.rings[Role::Root as usize].keys.clone();
        for role in roles {
            let ring = &mut self.rings[*role as usize];
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
        let of_root = roles.iter().any(|role| *role <= Role::Targets);
        // The delegating roles must list the new keys, and the roles with new keys must be signed with these keys.
        let root = if of_root { Some(Role::Root) } else { None };
        let all: Vec<Role> = root.into_iter().chain([Role::Targets, Role::A, Role::B]).collect();
        self.publish(&all, &outgoing);
    }

    /// Adds or removes the second delegation to B, or changes whether the delegation to A is terminating.
    pub(crate) fn redelegate(&mut self, by: u32) {
        if by & 1 == 0 {
            self.terminating = !self.terminating;
        } else if self.second.take().is_none() {
            let key = take(&mut self.next_key);
            self.second = Some(Ring { keys: BTreeSet::from([key]), threshold: 1, aliased: by & 2 == 0 });
        }
        self.publish(&[Role::Targets, Role::A, Role::B], &BTreeSet::new());
    }

    /// Changes or removes the policy of a role, and changes who signs packages.
    pub(crate) fn change_policies(&mut self, by: u32) {
        let role = [Role::Targets, Role::A, Role::B][by as usize % 3];
        if by >> 2 & 3 == 0 {
            self.policies.remove(&role);
        } else {
            self.policies.insert(role, u64::from(by));
        }
        self.evidence = by >> 4;
        self.publish(&[Role::Targets, Role::A, Role::B], &BTreeSet::new());
    }

    /// Returns the entries for the package at `path` with the length `length`, and for its evidence.
    fn package(&self, path: &'static str, length: u64) -> Vec<(&'static str, Target)> {
        // Most packages are signed by all signers.
        let bits = self.evidence.rotate_left(path.len() as u32);
        let signed = |(at, _): &(usize, Key)| bits & 7 < 4 || bits >> (3 + at) & 1 == 0;
        let signers = SIGNERS.into_iter().enumerate().filter(signed).map(|(_, key)| key).collect();
        let mut entries = vec![(path, Target::Package { length, has_evidence: bits >> 6 & 7 != 1 })];
        if bits >> 9 & 7 != 1 {
            let about = if bits >> 12 & 7 == 1 { length + 1 } else { length };
            entries.push((evidence_path(path), Target::Evidence(Evidence { about, signers })));
        }
        entries
    }

    pub(crate) fn keys(&self) -> BTreeSet<Key> {
        self.rings.iter().chain(&self.second).flat_map(|ring| ring.keys.iter().copied()).collect()
    }

    pub(crate) fn body(&self, role: Role) -> Body {
        let listed = |document: &Arc<Document>| Listed {
            version: document.version,
            digest: self.lists_hashes.then(|| hash(&document.bytes)),
        };
        let content = self.contents.get(&role).copied().unwrap_or(0);
        let ring = |role: Role| self.rings[role as usize].clone();
        let policy = self.policies.get(&role).map(|number| Policy::random(*number));
        match role {
            Role::Root => Body::Root([Role::Root, Role::Timestamp, Role::Snapshot, Role::Targets].map(ring)),
            Role::Timestamp => Body::Timestamp(listed(&self.now[&Role::Snapshot])),
            Role::Snapshot => {
                let roles = [Role::Targets, Role::A, Role::B];
                Body::Snapshot(roles.into_iter().map(|role| (role, listed(&self.now[&role]))).collect())
            }
            Role::Targets => {
                let mut delegations = vec![Delegation {
                    to: Role::A,
                    ring: ring(Role::A),
                    folder: Some("a"),
                    terminating: self.terminating,
                }];
                let second = self.second.clone();
                delegations.extend(second.map(|ring| Delegation {
                    to: Role::B,
                    ring,
                    folder: None,
                    terminating: false,
                }));
                Body::Targets(self.package("x", content).into_iter().collect(), delegations, policy)
            }
            Role::A => {
                let to_b = Delegation { to: Role::B, ring: ring(Role::B), folder: None, terminating: false };
                Body::Targets(self.package("a/1", content).into_iter().collect(), vec![to_b], policy)
            }
            Role::B => {
                let packages = ["a/2", "b/1"].into_iter().flat_map(|path| self.package(path, content)).collect();
                Body::Targets(packages, Vec::new(), policy)
            }
        }
    }

    fn put(&mut self, role: Role, body: Body, outgoing: &BTreeSet<Key>) {
        let version = self.version(role) + 1;
        let draft = Draft { role, version, expires: self.day + VALID[role as usize], body };
        let ring = &self.rings[role as usize];
        let mut signers: BTreeSet<Key> = ring.keys.union(outgoing).copied().collect();
        if role == Role::B {
            signers.extend(self.second.iter().flat_map(|second| &second.keys));
        }
        let document = draft.sign(&signers, &BTreeSet::new(), ring.aliased);
        self.files.insert(role.file(version), Arc::clone(&document));
        self.now.insert(role, document);
    }
}

fn take(next: &mut Key) -> Key {
    *next += 1;
    *next - 1
}
