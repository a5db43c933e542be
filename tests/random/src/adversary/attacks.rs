//! The adversary: holds the network and whatever keys it has stolen, and shows what it likes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::honest::Honest;
use super::paper::{Delegation, Draft, Key, Listed, PARTS, Paper, Part, Ring, Says, hash};

/// By file name: what is shown instead of the honest file, or that nothing is.
pub(crate) type Overlay = BTreeMap<String, Option<Arc<Paper>>>;

/// A key that the thief made.
const OWN: Key = 9_999;
/// The length of a target that no honest role lists.
const EVIL: u64 = 1_000_000;

/// Whoever has stolen keys.
#[derive(Default)]
pub(crate) struct Thief {
    keys: BTreeSet<Key>,
}

impl Thief {
    pub(crate) fn steal(&mut self, keys: impl Iterator<Item = Key>) {
        self.keys.extend(keys);
    }

    pub(crate) fn keys(&self) -> &BTreeSet<Key> {
        &self.keys
    }

    /// A target of the thief's, in a role, a snapshot and a timestamp of the thief's.
    pub(crate) fn attack(&self, honest: &Honest, overlays: &mut [Overlay], day: i32, by: u32) {
        let role = [Part::Targets, Part::A, Part::B, Part::Root][by as usize % 4];
        // A little ahead, or as far as possible.
        let ahead = [1, 2, 1_000, 0][by as usize / 4 % 4];
        let overlay = &mut overlays[0];
        let evil = self.forge(honest, role, ahead, day, by / 16);
        self.show(overlay, &evil);
        let mut listed = match honest.says(Part::Snapshot) {
            Says::Snapshot(listed) => listed,
            _ => BTreeMap::new(),
        };
        if role != Part::Root {
            listed.insert(role, about(&evil, by >> 8 & 1 == 0));
        }
        if by >> 9 & 7 == 0 {
            listed.remove(&Part::B);
        }
        let version = honest.version(Part::Snapshot) + ahead;
        let snapshot = self.sign(honest, Part::Snapshot, version, day + 20, Says::Snapshot(listed), by);
        self.show(overlay, &snapshot);
        let version = honest.version(Part::Timestamp) + ahead;
        let says = Says::Timestamp(about(&snapshot, by >> 12 & 1 == 0));
        let timestamp = self.sign(honest, Part::Timestamp, version, day + 20, says, by);
        self.show(overlay, &timestamp);
    }

    /// One document of the thief's, which lists honest files, or what was shown of the thief's before.
    pub(crate) fn forge_one(&self, honest: &Honest, overlays: &mut [Overlay], day: i32, by: u32) {
        let which = by as usize % overlays.len();
        let role = PARTS[by as usize / 2 % PARTS.len()];
        let version = [1, 0, 1, 1_000][by as usize >> 4 & 3];
        let forged = self.forge(honest, role, version, day, by >> 6);
        self.show(&mut overlays[which], &forged);
    }

    /// An old document in the place of the current one, or under its own name.
    pub(crate) fn replay(honest: &Honest, overlays: &mut [Overlay], old: &[&Arc<Paper>], by: u32) {
        let which = by as usize % overlays.len();
        let Some(paper) = old.get(by as usize / 2 % old.len()) else { return };
        let current = [paper.version, honest.version(paper.part)][by as usize >> 16 & 1];
        overlays[which].insert(paper.part.file(current), Some(Arc::clone(paper)));
    }

    pub(crate) fn withhold(honest: &Honest, overlays: &mut [Overlay], by: u32) {
        let part = PARTS[by as usize % PARTS.len()];
        let which = by as usize / 8 % overlays.len();
        overlays[which].insert(part.file(honest.version(part)), None);
    }

    pub(crate) fn garble(honest: &Honest, overlays: &mut [Overlay], by: u32) {
        let part = PARTS[by as usize % PARTS.len()];
        let version = honest.version(part) + u64::from(by >> 4 & 1);
        let which = by as usize / 8 % overlays.len();
        let draft = Draft { part, version, expires: 0, says: Says::Nothing };
        let none = BTreeSet::new();
        overlays[which].insert(part.file(version), Some(draft.sign(&none, &none, false)));
    }

    fn forge(&self, honest: &Honest, part: Part, ahead: u64, day: i32, by: u32) -> Arc<Paper> {
        let version = honest.version(part).saturating_sub(u64::from(by & 15 == 15)).max(1) + ahead;
        let expires = if by >> 4 & 7 == 7 { day - 1 } else { day + 20 };
        let own = Ring { keys: BTreeSet::from([OWN]), threshold: 1, aliased: false };
        let says = match honest.says(part) {
            Says::Root(mut rings) => {
                // All is the thief's, or some of it.
                for (at, ring) in rings.iter_mut().enumerate() {
                    if by >> at & 1 == 0 {
                        *ring = own.clone();
                    }
                }
                Says::Root(rings)
            }
            Says::Timestamp(mut listed) => {
                listed.version = (listed.version + u64::from(by & 3)).saturating_sub(1).max(1);
                listed.digest = listed.digest.filter(|_| by & 3 == 1);
                Says::Timestamp(listed)
            }
            Says::Snapshot(mut listed) => {
                let parts = [Part::Targets, Part::A, Part::B];
                let about = listed.get_mut(&parts[by as usize % 3]);
                if let Some(Listed { version, digest }) = about {
                    *version = (*version + u64::from(by >> 2 & 3)).saturating_sub(1).max(1);
                    *digest = None;
                }
                if by >> 5 & 3 == 0 {
                    listed.remove(&parts[by as usize / 3 % 3]);
                }
                Says::Snapshot(listed)
            }
            Says::Targets(mut targets, mut delegations) => {
                targets.insert(["x", "a/1", "a/2", "b/1"][by as usize >> 3 & 3], EVIL + u64::from(by & 7));
                if by >> 6 & 1 == 0 {
                    let to = Part::B;
                    // A role that is listed twice would be refused.
                    delegations.retain(|delegation| delegation.to != to);
                    delegations.insert(0, Delegation { to, ring: own, folder: None, terminating: true });
                }
                Says::Targets(targets, delegations)
            }
            Says::Nothing => Says::Nothing,
        };
        self.sign(honest, part, version, expires, says, by)
    }

    /// Signed by all that the thief has, and perhaps as if by those who should.
    fn sign(&self, honest: &Honest, part: Part, version: u64, expires: i32, says: Says, by: u32) -> Arc<Paper> {
        let ring = &honest.rings[part as usize];
        let mut signers = self.keys.clone();
        signers.insert(OWN);
        let claimed = if by & 1 == 0 { ring.keys.clone() } else { BTreeSet::new() };
        Draft { part, version, expires, says }.sign(&signers, &claimed, ring.aliased)
    }

    fn show(&self, overlay: &mut Overlay, paper: &Arc<Paper>) {
        overlay.insert(paper.part.file(paper.version), Some(Arc::clone(paper)));
    }
}

fn about(paper: &Paper, with_digest: bool) -> Listed {
    Listed { version: paper.version, digest: with_digest.then(|| hash(&paper.bytes)) }
}
