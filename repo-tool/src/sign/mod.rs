//! Signing a pending change: each document is reviewed, and all of them before the first is signed.

pub(crate) mod review;

use std::collections::{BTreeMap, BTreeSet};

use lastmile_metadata::RoleName;

use crate::document::{Document, Rings};
use crate::draft::{Completion, Draft};
use crate::key_store::KeyStore;
use crate::publish::staged;
use crate::publish::versions::Issued;
use crate::sign::review::Reviewed;
use crate::{Error, Repository};

impl Repository {
    /// The documents of the pending change.
    ///
    /// # Errors
    /// When one of them is no metadata.
    pub fn staged_documents(&self, draft: &Draft) -> Result<Vec<Document>, Error> {
        let (published, config) = (Some(&self.published), &self.config);
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

    /// Reviews the pending change: the roles that are `wanted`, or all if that is empty.
    ///
    /// # Errors
    /// [`Error::NotAccepted`] when one of them says what nobody has accepted; [`Error::Draft`] when it could never be
    /// published.
    pub fn review_staged(
        &self,
        draft: &Draft,
        wanted: &BTreeSet<RoleName>,
    ) -> Result<Vec<(Document, Reviewed)>, Error> {
        let documents = self.staged_documents(draft)?.into_iter();
        let wanted = documents.filter(|document| wanted.is_empty() || wanted.contains(&document.role));
        let (published, accepted) = (Some(&self.published), &self.invocation.accepted);
        wanted.map(|document| Reviewed::of(published, draft, &document, accepted).map(|it| (document, it))).collect()
    }

    /// Signs the pending change with `keys`: the roles that are `wanted`, or all if that is empty. Returns which key ids signed
    /// what; a key that has signed already signs nothing again.
    ///
    /// # Errors
    /// When a key cannot be opened; [`Error::NotAccepted`] when one of them says what nobody has accepted.
    pub fn sign_staged(
        &self,
        draft: &Draft,
        keys: &KeyStore,
        wanted: &BTreeSet<RoleName>,
    ) -> Result<Vec<(RoleName, Vec<String>)>, Error> {
        let mut all = Vec::new();
        // All are reviewed before one is signed.
        for (mut document, reviewed) in self.review_staged(draft, wanted)? {
            let before = document.signatures().to_vec();
            document.sign(keys, &self.authority, &reviewed)?;
            let new = document.signatures().iter().filter(|signature| !before.contains(signature));
            let new: Vec<String> = new.map(|signature| signature.keyid.to_string().chars().take(8).collect()).collect();
            if !new.is_empty() {
                staged::write_document(&self.layout, &document.role, &document.file())?;
                all.push((document.role, new));
            }
        }
        self.move_pin()?;
        Ok(all)
    }
}
