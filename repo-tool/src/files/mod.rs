//! The files of a repository: their paths, owners and contents, and the files that must stay private.

pub(crate) mod der;
pub(crate) mod digest;
pub(crate) mod folder;
pub(crate) mod git_ignore;
pub(crate) mod key_material;
pub(crate) mod layout;
pub(crate) mod links;
pub(crate) mod own_files;
mod sharing;
pub(crate) mod spool;
pub(crate) mod writable;
