//! The honest repository for other tests: its files, and any document signed by the right keys.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::honest::Honest;
use super::ledger::{ROLES, Role, file};

/// Returns the root to ship, and the files by name, of a repository on its first day. The bits of `kind` select its features.
#[must_use]
pub fn published(kind: u32) -> (Bytes, BTreeMap<String, Bytes>) {
    let honest = Honest::new(kind);
    let files = honest.files.iter().map(|(name, document)| (name.clone(), document.bytes.clone())).collect();
    (honest.now[&Role::Root].bytes.clone(), files)
}

/// Returns a file of that repository with the document `signed`, whose canonical form is `canonical`, and valid signatures of the
/// root (0), the timestamp (1), the snapshot (2) or the targets role (3).
#[must_use]
pub fn resigned(kind: u32, role: usize, signed: &str, canonical: &str) -> Bytes {
    let honest = Honest::new(kind);
    file(signed, canonical, &honest.rings[ROLES[role] as usize].keys)
}
