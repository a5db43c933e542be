//! The honest repository of the play for others: its files, and any document signed by the right keys.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::honest::Honest;
use super::paper::{PARTS, Part, file};

/// The root to ship, and the files by name, of a repository whose features the bits of `kind` choose, on its first day.
#[must_use]
pub fn published(kind: u32) -> (Bytes, BTreeMap<String, Bytes>) {
    let honest = Honest::new(kind);
    let files = honest.files.iter().map(|(name, paper)| (name.clone(), paper.bytes.clone())).collect();
    (honest.now[&Part::Root].bytes.clone(), files)
}

/// A file of that repository that says `signed`, whose canonical form is `canonical`: validly signed, of the root (0), the
/// timestamp (1), the snapshot (2) or the targets (3).
#[must_use]
pub fn resigned(kind: u32, role: usize, signed: &str, canonical: &str) -> Bytes {
    let honest = Honest::new(kind);
    file(signed, canonical, &honest.rings[PARTS[role] as usize].keys)
}
