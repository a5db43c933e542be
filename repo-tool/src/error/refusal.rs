//! The kinds of errors for which a process refuses to publish another process's change.

use serde::{Deserialize, Serialize};

/// The kind of error for which a process refused to publish another process's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalKind {
    /// Clients would refuse the change, as in [`crate::Error::Draft`].
    Draft,
    /// A role, target or file does not exist, as in [`crate::Error::NotFound`].
    NotFound,
    /// Any other error that the change itself causes.
    Refused,
    /// The input is invalid, as in [`crate::Error::InvalidInput`].
    Usage,
}
