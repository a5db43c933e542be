//! The kinds of errors that make a process refuse to publish a change for another process.

use serde::{Deserialize, Serialize};

/// The kind of error that made a process refuse to publish a change for another process.
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
