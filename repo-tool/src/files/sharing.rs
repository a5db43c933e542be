//! The users who may change a repository.

/// The users who may change a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sharing {
    /// A single user. Working folders that belong to another user are refused.
    #[default]
    Private,
    /// The members of the group with this ID. Each member must set the group in the user configuration, and has
    /// separate working folders.
    Group(u32),
}
