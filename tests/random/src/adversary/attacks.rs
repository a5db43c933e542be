//! The attacker, who controls the network and has stolen keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::honest::Honest;
use super::ledger::{Body, Delegation, Document, Draft, Key, Listed, ROLES, Ring, Role, hash};
use super::policy::{Evidence, Policy, SIGNERS, Target, evidence_path};

/// The files that a mirror serves instead of the honest ones, by file name. `None` means that the file is missing.
pub(crate) type Overlay = BTreeMap<String, Option<Arc<Document>>>;

/// The attacker's own key.
const OWN: Key = 9_999;
/// The minimum length of a malicious target. Honest targets are shorter.
const EVIL: u64 = 1_000_000;

#[derive(Default)]
pub(crate) struct Attacker {
    keys: BTreeSet<Key>,
}

impl Attacker {
    pub(crate) fn steal(&mut self, keys: impl Iterator<Item = Key>) {
        self.keys.extend(keys);
    }

    pub(crate) fn keys(&self) -> &BTreeSet<Key> {
        &self.keys
    }

    /// Serves a forged root, or a forged targets role that lists a malicious target, together with a forged snapshot
    /// and a forged timestamp.
    pub(crate) fn attack(&self, honest: &Honest, overlays: &mut [Overlay], day: i32, by: u32) {
        let role = [Role::Targets, Role::A, Role::B, Role::Root][by as usize % 4];
        // How much higher the forged version numbers are than the honest ones.
        let ahead = [1, 2, 1_000, 0][by as usize / 4 % 4];
        let overlay = &mut overlays[0];
        let evil = self.forge(honest, role, ahead, day, by / 16);
        self.show(overlay, &evil);
        let mut listed = match honest.body(Role::Snapshot) {
            Body::Snapshot(listed) => listed,
            _ => BTreeMap::new(),
        };
        if role != Role::Root {
            listed.insert(role, about(&evil, by >> 8 & 1 == 0));
        }
        if by >> 9 & 7 == 0 {
            listed.remove(&Role::B);
        }
        let version = honest.version(Role::Snapshot) + ahead;
        let snapshot = self.sign(honest, Role::Snapshot, version, day + 20, Body::Snapshot(listed), by);
        self.show(overlay, &snapshot);
        let version = honest.version(Role::Timestamp) + ahead;
        let body = Body::Timestamp(about(&snapshot, by >> 12 & 1 == 0));
        let timestamp = self.sign(honest, Role::Timestamp, version, day + 20, body, by);
        self.show(overlay, &timestamp);
    }

    /// Serves one forged document. In a forged timestamp or snapshot, the listed versions may differ from the honest
    /// ones.
    pub(crate) fn forge_one(&self, honest: &Honest, overlays: &mut [Overlay], day: i32, by: u32) {
        let which = by as usize % overlays.len();
        let role = ROLES[by as usize / 2 % ROLES.len()];
        let version = [1, 0, 1, 1_000][by as usize >> 4 & 3];
        let forged = self.forge(honest, role, version, day, by >> 6);
        self.show(&mut overlays[which], &forged);
    }

    /// Serves an old document, either under its own file name or under the file name of the current document.
    pub(crate) fn replay(honest: &Honest, overlays: &mut [Overlay], old: &[&Arc<Document>], by: u32) {
        let which = by as usize % overlays.len();
        let Some(document) = old.get(by as usize / 2 % old.len()) else { return };
        let current = [document.version, honest.version(document.role)][by as usize >> 16 & 1];
        overlays[which].insert(document.role.file(current), Some(Arc::clone(document)));
    }

    pub(crate) fn withhold(honest: &Honest, overlays: &mut [Overlay], by: u32) {
        let role = ROLES[by as usize % ROLES.len()];
        let which = by as usize / 8 % overlays.len();
        overlays[which].insert(role.file(honest.version(role)), None);
    }

    pub(crate) fn garble(honest: &Honest, overlays: &mut [Overlay], by: u32) {
        let role = ROLES[by as usize % ROLES.len()];
        let version = honest.version(role) + u64::from(by >> 4 & 1);
        let which = by as usize / 8 % overlays.len();
        let draft = Draft { role, version, expires: 0, body: Body::Nothing };
        let none = BTreeSet::new();
        overlays[which].insert(role.file(version), Some(draft.sign(&none, &none, false)));
    }

    fn forge(&self, honest: &Honest, role: Role, ahead: u64, day: i32, by: u32) -> Arc<Document> {
        let version = honest.version(role).saturating_sub(u64::from(by & 15 == 15)).max(1) + ahead;
        let expires = if by >> 4 & 7 == 7 { day - 1 } else { day + 20 };
        let own = Ring { keys: BTreeSet::from([OWN]), threshold: 1, aliased: false };
        let body = match honest.body(role) {
            Body::Root(mut rings) => {
                // The attacker's key replaces the keys of some roles or of all roles.
                for (at, ring) in rings.iter_mut().enumerate() {
                    if by >> at & 1 == 0 {
                        *ring = own.clone();
                    }
                }
                Body::Root(rings)
            }
            Body::Timestamp(mut listed) => {
                listed.version = (listed.version + u64::from(by & 3)).saturating_sub(1).max(1);
                listed.digest = listed.digest.filter(|_| by & 3 == 1);
                Body::Timestamp(listed)
            }
            Body::Snapshot(mut listed) => {
                let roles = [Role::Targets, Role::A, Role::B];
                let about = listed.get_mut(&roles[by as usize % 3]);
                if let Some(Listed { version, digest }) = about {
                    *version = (*version + u64::from(by >> 2 & 3)).saturating_sub(1).max(1);
                    *digest = None;
                }
                if by >> 5 & 3 == 0 {
                    listed.remove(&roles[by as usize / 3 % 3]);
                }
                Body::Snapshot(listed)
            }
            Body::Targets(mut targets, mut delegations, policy) => {
                let path = ["x", "a/1", "a/2", "b/1"][by as usize >> 3 & 3];
                let length = EVIL + u64::from(by & 7);
                targets.insert(path, Target::Package { length, has_evidence: by >> 9 & 3 != 0 });
                self.forge_evidence(&mut targets, path, length, by >> 11);
                if by >> 6 & 1 == 0 {
                    let to = Role::B;
                    // The old delegation to B is removed, because a client refuses a document that lists a role twice.
                    delegations.retain(|delegation| delegation.to != to);
                    delegations.insert(0, Delegation { to, ring: own, folder: None, terminating: true });
                }
                // The attacker keeps, removes or replaces the policy of the role.
                let policy = match by >> 7 & 3 {
                    0 | 1 => policy,
                    2 => None,
                    _ => Some(Policy::random(u64::from(by)).with_key(OWN)),
                };
                Body::Targets(targets, delegations, policy)
            }
            Body::Nothing => Body::Nothing,
        };
        self.sign(honest, role, version, expires, body, by)
    }

    /// Lists evidence for the malicious package: evidence that the attacker's keys have signed, the evidence of another
    /// package, or no evidence.
    fn forge_evidence(&self, targets: &mut BTreeMap<&'static str, Target>, path: &str, length: u64, by: u32) {
        let own: BTreeSet<Key> = self.keys.iter().copied().chain([OWN]).filter(|key| *key >= SIGNERS[0]).collect();
        let evidence = match by & 3 {
            0 | 1 => Evidence { about: length, signers: own },
            2 => Evidence { about: 1, signers: SIGNERS.into_iter().collect() },
            _ => {
                targets.remove(evidence_path(path));
                return;
            }
        };
        targets.insert(evidence_path(path), Target::Evidence(evidence));
    }

    /// Signs with all of the attacker's keys, and sometimes adds invalid signatures under the IDs of the honest keys.
    fn sign(&self, honest: &Honest, role: Role, version: u64, expires: i32, body: Body, by: u32) -> Arc<Document> {
        let ring = &honest.rings[role as usize];
        let mut signers = self.keys.clone();
        signers.insert(OWN);
        let claimed = if by & 1 == 0 { ring.keys.clone() } else { BTreeSet::new() };
        Draft { role, version, expires, body }.sign(&signers, &claimed, ring.aliased)
    }

    fn show(&self, overlay: &mut Overlay, document: &Arc<Document>) {
        overlay.insert(document.role.file(document.version), Some(Arc::clone(document)));
    }
}

fn about(document: &Document, with_digest: bool) -> Listed {
    Listed { version: document.version, digest: with_digest.then(|| hash(&document.bytes)) }
}
