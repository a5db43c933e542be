//! Reviews a document before it is signed. Signing requires a [`Reviewed`], which only this module creates.
//!
//! Unknown members and keys are signed only if a person has accepted them by name (`--accept`). Anyone who can write to
//! `staged/` can add such members and keys, and other clients may honor them. Unknown members that are already
//! published need not be accepted again.

use std::collections::BTreeSet;

use crate::Error;
use crate::check::gate;
use crate::document::Document;
use crate::draft::Draft;
use crate::published::Published;
use crate::report::diff::{RoleDiff, Unusual, explain};

/// The names of the unknown members and unusable keys that a person accepts. [`Unusual::is_called`] defines these
/// names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted(BTreeSet<String>);

impl Accepted {
    /// Accepts only the members and keys whose names are in `names`.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    fn names(&self, unusual: &Unusual) -> bool {
        self.0.iter().any(|name| unusual.is_called(name))
    }
}

/// Proof that a document was reviewed: the changes were described to the user, the document has no new format fault,
/// and the user has accepted every unknown member and key.
#[derive(Debug)]
pub struct Reviewed {
    document: u64,
    changes: RoleDiff,
}

impl Reviewed {
    /// Fails with [`Error::NotAccepted`] if the user has not accepted an unknown member or key, and with
    /// [`Error::Draft`] if the document has a fault that prevents publication.
    pub(crate) fn of(
        published: Option<&Published>,
        draft: &Draft,
        document: &Document,
        accepted: &Accepted,
    ) -> Result<Self, Error> {
        gate::admit(published, document)?;
        let changes = explain::of_document(published, draft, document)?;
        let unnamed: Vec<&Unusual> = changes.unusual.iter().filter(|unusual| !accepted.names(unusual)).collect();
        if unnamed.is_empty() {
            Ok(Self { document: document.identity(), changes })
        } else {
            Err(Error::NotAccepted { role: document.role.clone(), unaccepted: unnamed.into_iter().cloned().collect() })
        }
    }

    pub(crate) fn into_changes(self) -> RoleDiff {
        self.changes
    }

    pub(crate) fn is_of(&self, document: &Document) -> bool {
        self.document == document.identity()
    }
}
