//! The files of a repository: their paths, owners and contents, and the files that must stay private.

pub(crate) mod access;
pub(crate) mod der;
pub(crate) mod digest;
pub(crate) mod folder;
pub(crate) mod git_ignore;
pub(crate) mod interrupted;
pub(crate) mod key_material;
pub(crate) mod layout;
pub(crate) mod links;
pub(crate) mod lock;
#[cfg(feature = "cli")]
pub(crate) mod own;
pub(crate) mod own_files;
pub(crate) mod owner;
pub(crate) mod roots;
pub(crate) mod sharing;
pub(crate) mod spool;
pub(crate) mod take;
pub(crate) mod writable;
