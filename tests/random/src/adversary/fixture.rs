//! Provides the honest repository of the random histories to other tests. These tests can also sign their own documents
//! with the keys of this repository.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::honest::Honest;
use super::ledger::{ROLES, Role, file};

/// Returns the shipped root and, by file name, all files of a repository on its first day. The bits of `kind` select
/// the features of the repository.
#[must_use]
pub fn published(kind: u32) -> (Bytes, BTreeMap<String, Bytes>) {
    let honest = Honest::new(kind);
    let files = honest.files.iter().map(|(name, document)| (name.clone(), document.bytes.clone())).collect();
    (honest.now[&Role::Root].bytes.clone(), files)
}

/// Signs `signed`, whose canonical form is `canonical`, and returns the file. The signing keys are those of a role in
/// the repository that [`published`] returns for `kind`: root (0), timestamp (1), snapshot (2) or targets (3).
#[must_use]
pub fn resigned(kind: u32, role: usize, signed: &str, canonical: &str) -> Bytes {
    let honest = Honest::new(kind);
    file(signed, canonical, &honest.rings[ROLES[role] as usize].keys)
}
