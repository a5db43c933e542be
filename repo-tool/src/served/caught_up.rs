//! The result of synchronizing a folder with the server ([`catch_up`](super::catch_up)).

use crate::report::diff::RoleDiff;

/// The result of synchronizing a folder with the server.
#[derive(Debug)]
pub struct CaughtUp {
    /// How the difference was resolved or, if this was a preview, how it would be resolved.
    pub resolution: Resolution,
    /// The differences between the server and the folder.
    pub diff: Vec<RoleDiff>,
    /// The targets of the folder that the server does not list, or lists with different content.
    pub dropped: Vec<String>,
    /// The target files that could not be fetched, each with the reason.
    pub missing: Vec<String>,
}

/// How a difference between the server and the folder was resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The folder has everything that the server has.
    Nothing,
    /// The server's files were copied to the folder and published there.
    Adopted,
    /// The folder's content was signed again with versions above those of the server.
    MovedPast,
}
