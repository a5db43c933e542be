//! What is about to be signed, looked at first: a signature is made with a [`Reviewed`], and nothing else makes one.
//!
//! Members and keys that nothing here knows are signed only if a person has named them (`--accept`), for whoever can write in
//! `staged/` can put them there, and other clients may honour them. What was published with them before needs no naming.

use std::collections::BTreeSet;

use crate::Error;
use crate::check::gate;
use crate::document::Document;
use crate::draft::Draft;
use crate::published::Published;
use crate::report::diff;
use crate::report::diff::RoleDiff;

/// The members and keys that a person has named, as [`diff::Unusual::is_called`] knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted(BTreeSet<String>);

impl Accepted {
    /// These, and no others.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    fn names(&self, unusual: &diff::Unusual) -> bool {
        self.0.iter().any(|name| unusual.is_called(name))
    }
}

/// Proof that all that a document says was told, accepted where that is needed, and has no new fault of form.
#[derive(Debug)]
pub struct Reviewed {
    document: u64,
    changes: RoleDiff,
}

impl Reviewed {
    /// Reviews the text that `document` has signed, as `draft` changes it.
    ///
    /// # Errors
    /// [`Error::NotAccepted`] with what there is to name; [`Error::Draft`] when it could never be published.
    pub(crate) fn of(
        published: Option<&Published>,
        draft: &Draft,
        document: &Document,
        accepted: &Accepted,
    ) -> Result<Self, Error> {
        gate::admit(published, document)?;
        let changes = diff::of_document(published, draft, document);
        let unnamed: Vec<&diff::Unusual> = changes.unusual.iter().filter(|unusual| !accepted.names(unusual)).collect();
        match unnamed.is_empty() {
            true => Ok(Self { document: document.identity(), changes }),
            false => Err(Error::NotAccepted {
                role: document.role.clone(),
                unaccepted: unnamed.into_iter().cloned().collect(),
            }),
        }
    }

    /// What the document changes.
    pub(crate) fn into_changes(self) -> RoleDiff {
        self.changes
    }

    /// Whether this is about that document.
    pub(crate) fn is_of(&self, document: &Document) -> bool {
        self.document == document.identity()
    }
}
