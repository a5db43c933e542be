//! The plan of a change: the draft and the documents that were created from it, and the result of publishing them.

use lastmile_attest::Refused;
use lastmile_metadata::RoleName;

use crate::document::Document;
use crate::draft::Draft;
use crate::publish::completed::Completed;
use crate::report::diff::RoleDiff;

/// A draft with the documents that were created from it. It is ready to be published or, if signatures are missing, to
/// be stored as the pending change.
#[derive(Debug)]
pub struct Plan {
    /// The draft from which the documents were created.
    pub draft: Draft,
    /// The documents, signed as far as the available keys allow.
    pub completed: Completed,
    /// Descriptions of the changes to each document.
    pub diff: Vec<RoleDiff>,
    /// The roles of the pending change, if that change is independent of the draft and therefore stays pending.
    pub(crate) pending: Vec<RoleName>,
}

/// The result of [`Repository::conclude`](crate::Repository::conclude).
#[derive(Debug)]
pub enum Outcome {
    /// The draft was empty, so nothing was published.
    Nothing,
    /// The draft was published.
    Published {
        /// Whether clients can update without errors even during the publication. This is false if a new root makes
        /// published files invalid and the old keys did not sign all new files.
        seamless: bool,
        /// The packages that were published earlier and that clients refuse from now on, for example because a policy
        /// requires evidence that these packages do not have.
        refused: Vec<Refused>,
    },
    /// The draft was added to the pending change, because these documents lack signatures.
    Staged(Vec<Document>),
}

/// Which documents of a plan to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// Signs new documents with the available keys. If the draft is based on the pending change, signs only snapshot
    /// and timestamp, because otherwise anyone who can write to `staged/` could obtain a signature.
    /// [`Repository::sign_staged`](crate::Repository::sign_staged) signs the other roles after a person has reviewed
    /// them.
    Now,
    /// Signs all documents with the available keys, including the documents of the pending change.
    All,
    /// Signs no documents, for a plan that is only displayed.
    Never,
}
