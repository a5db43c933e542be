//! The files of a repository: where they are, who owns them, what is in them, and which of them stay private.

mod der;
pub(crate) mod digest;
pub(crate) mod folder;
pub(crate) mod git_ignore;
pub(crate) mod key_material;
pub(crate) mod layout;
pub(crate) mod own_files;
