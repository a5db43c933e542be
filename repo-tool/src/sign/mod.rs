//! Signs the pending change. All documents are reviewed before the first one is signed.

mod document;
pub(crate) mod review;

use std::collections::{BTreeMap, BTreeSet};

use lastmile_metadata::RoleName;

use crate::document::{Document, Rings};
use crate::draft::Draft;
use crate::key_store::KeyStore;
use crate::publish::completion::Completion;
use crate::publish::staged;
use crate::publish::versions::Issued;
use crate::sign::review::Reviewed;
use crate::{Error, Repository};

impl Repository {
    /// Returns the documents of the pending change.
    ///
    /// # Errors
    /// Fails if a document is not valid metadata.
    pub fn staged_documents(&self, draft: &Draft) -> Result<Vec<Document>, Error> {
        let published = Some(&self.published);
        let config = &self.config;
        let completion = Completion {
            published,
            config,
            keys: None,
            issued: &Issued::default(),
            authority: &self.authority,
            entries: BTreeMap::new(),
            signs_staged: false,
            accepted: &self.invocation.accepted,
            now: self.invocation.now,
        };
        let mut delegated: BTreeMap<RoleName, Rings> = draft.delegated_rings(&completion)?.into_iter().collect();
        let documents = draft.prior.iter().map(|(role, prior)| {
            let rings = delegated.remove(role).map_or_else(|| draft.rings(role, &completion), Ok)?;
            Document::prior(role, prior, rings)
        });
        documents.collect()
    }

    /// Reviews the documents of the `wanted` roles in the pending change, or all documents if `wanted` is empty.
    ///
    /// # Errors
    /// [`Error::NotAccepted`] if a document has unknown members or keys that the user has not accepted, and
    /// [`Error::Draft`] if a document has a fault that prevents publication.
    pub fn review_staged(
        &self,
        draft: &Draft,
        wanted: &BTreeSet<RoleName>,
    ) -> Result<Vec<(Document, Reviewed)>, Error> {
        let documents = self.staged_documents(draft)?.into_iter();
        let wanted = documents.filter(|document| wanted.is_empty() || wanted.contains(&document.role));
        let published = Some(&self.published);
        let accepted = &self.invocation.accepted;
        wanted.map(|document| Reviewed::of(published, draft, &document, accepted).map(|it| (document, it))).collect()
    }

    /// Signs documents of the pending change with `keys`. Signs the documents of the `wanted` roles, or all documents
    /// if `wanted` is empty. A key that has already signed does not sign again. Returns the first 8 digits of the key
    /// ID of each new signature, by role.
    ///
    /// # Errors
    /// [`Error::NotAccepted`] if a document has unknown members or keys that the user has not accepted, and
    /// [`Error::Draft`] if a document has a fault that prevents publication. Also returns an error if a key cannot be
    /// opened.
    pub fn sign_staged(
        &self,
        draft: &Draft,
        keys: &KeyStore,
        wanted: &BTreeSet<RoleName>,
    ) -> Result<Vec<(RoleName, Vec<String>)>, Error> {
        let signed = self.signed_documents(draft, keys, wanted)?;
        self.write_signed(&signed)?;
        Ok(signed.into_iter().map(|(document, new)| (document.role, new)).filter(|(_, new)| !new.is_empty()).collect())
    }

    /// Writes the documents that have new signatures.
    pub(crate) fn write_signed(&self, signed: &[(Document, Vec<String>)]) -> Result<(), Error> {
        for (document, _) in signed.iter().filter(|(_, new)| !new.is_empty()) {
            staged::write_document(&self.layout, &document.role, &document.file()?)?;
        }
        self.move_pin()
    }

    /// Like [`Repository::sign_staged`], but does not write the documents. Returns each document with its new
    /// signatures: the first 8 digits of each key ID.
    pub(crate) fn signed_documents(
        &self,
        draft: &Draft,
        keys: &KeyStore,
        wanted: &BTreeSet<RoleName>,
    ) -> Result<Vec<(Document, Vec<String>)>, Error> {
        // Review all documents before signing the first.
        let reviewed = self.review_staged(draft, wanted)?.into_iter();
        let signed = reviewed.map(|(mut document, reviewed)| {
            let before = document.signatures().to_vec();
            document.sign(keys, &self.authority, &reviewed)?;
            let new = document.signatures().iter().filter(|signature| !before.contains(signature));
            let new: Vec<String> = new.map(|signature| signature.keyid.to_string().chars().take(8).collect()).collect();
            Ok((document, new))
        });
        signed.collect()
    }
}
