//! The files of a repository: where they are, who owns them, what is in them, and which of them stay private.

mod der;
pub mod digest;
pub(crate) mod folder;
pub mod git_ignore;
pub(crate) mod key_material;
pub mod layout;
pub mod own_files;
