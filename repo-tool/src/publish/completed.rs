//! The documents of a draft, after they have been created and signed.

use std::collections::BTreeMap;

use lastmile_metadata::{MetaFile, RoleName};

use crate::document::Document;
use crate::report::diff::RoleDiff;

/// The documents of a draft, signed as far as the available keys allow.
#[derive(Debug)]
pub struct Completed {
    /// All documents except the root, in the order of publication.
    pub documents: Vec<Document>,
    /// The root, if it changes.
    pub root: Option<Document>,
    pub(crate) changes: BTreeMap<RoleName, RoleDiff>,
    /// Snapshot entries that get a length and a hash although their roles do not change.
    pub entries: BTreeMap<RoleName, MetaFile>,
    /// The new content of `.issued.json`, the record of issued versions.
    pub(crate) record: Vec<u8>,
}

impl Completed {
    pub(super) fn push(&mut self, (document, changes): (Document, RoleDiff)) {
        self.changes.insert(document.role.clone(), changes);
        self.documents.push(document);
    }

    /// Returns all documents.
    pub fn all(&self) -> impl Iterator<Item = &Document> {
        self.root.iter().chain(&self.documents)
    }

    /// Returns the documents that lack signatures.
    pub fn incomplete(&self) -> impl Iterator<Item = &Document> {
        self.all().filter(|document| !document.missing().is_empty())
    }
}
