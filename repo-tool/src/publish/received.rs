//! A change from another machine, received as a copy of that machine's folder `staged/`.
//!
//! The copy is not trusted. Its documents and target files are verified like those of the pending change, and only the
//! command `sign` signs its documents.

use std::collections::BTreeSet;
use std::path::Path;

use lastmile_metadata::{KeyId, RoleName};

use crate::document::Prior;
use crate::draft::Draft;
use crate::edit::intake;
use crate::files::folder::Folder;
use crate::publish::staged;
use crate::{Error, PendingError, Repository};

/// Whether the target files of a received change are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Copy the files into the repository's working folder.
    Copy,
    /// Only check the files, for a dry run.
    Check,
}

impl Repository {
    /// Reads the change in `dir`. If all its documents are also part of the pending change, returns the pending change
    /// with the valid signatures from `dir` and from `staged/`.
    ///
    /// # Errors
    /// [`PendingError::NothingReceived`] if `dir` contains no change, [`PendingError::ReceivedOutdated`] if the version
    /// of a document can no longer be published, and [`PendingError::WrongFile`] if a file does not match its target
    /// entry.
    pub fn receive(&mut self, dir: &Path, receipt: Receipt) -> Result<Draft, Error> {
        let folder = Folder::open(dir)?;
        let mut received = staged::read_from(&folder, &mut self.published).map_err(|error| match error {
            Error::Pending(PendingError::Outdated { role, version }) => {
                PendingError::ReceivedOutdated { path: dir.to_path_buf(), role, version }.into()
            }
            error => error,
        })?;
        if received.prior.is_empty() {
            return Err(PendingError::NothingReceived { path: dir.to_path_buf() }.into());
        }
        if let Some(pending) = self.with_signatures_of(&received)? {
            return Ok(pending);
        }
        let working = match receipt {
            Receipt::Copy => {
                self.forget_incoming()?;
                Some(self.layout.make_publishing()?)
            }
            Receipt::Check => None,
        };
        let listed = staged::listed_places(&received, self.target_names())?;
        received.files = Vec::new();
        for (number, (target, mut file)) in listed.into_iter().enumerate() {
            let name = intake::file_name(number);
            let mut copy = working.as_ref().map(|working| working.create(&name, 0o644)).transpose()?;
            let from = working.as_ref().map_or(file.from, |working| working.path_of(&name));
            let write = |bytes: &[u8]| match &mut copy {
                Some(copy) => copy.write_all(bytes).map_err(|error| Error::file("write", &from, error)),
                None => Ok(()),
            };
            file.content = Some(staged::check_content(&folder, &target, &file.to, write)?);
            file.from = from;
            received.files.push(file);
        }
        Ok(received)
    }

    /// Returns the pending change with the valid signatures from both changes, or `None` if `received` has a document
    /// that is not part of the pending change.
    fn with_signatures_of(&mut self, received: &Draft) -> Result<Option<Draft>, Error> {
        let mut pending = self.staged()?;
        let is_same = |(role, prior): (&RoleName, &Prior)| {
            pending.prior.get(role).is_some_and(|pending| pending.signed == prior.signed)
        };
        if !received.prior.iter().all(is_same) {
            return Ok(None);
        }
        let ours = self.staged_documents(&pending)?;
        let theirs = self.staged_documents(received)?;
        for document in ours.iter().chain(&theirs) {
            let Some(prior) = pending.prior.get_mut(&document.role) else { continue };
            // A document can have only one signature for each key ID, and an invalid signature must not replace a valid
            // one.
            let ids: BTreeSet<&KeyId> = document.signatures().iter().map(|signature| &signature.keyid).collect();
            prior.signatures.retain(|signature| !ids.contains(&signature.keyid));
            prior.signatures.extend(document.signatures().iter().cloned());
        }
        Ok(Some(pending))
    }
}
