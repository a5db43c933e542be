//! The names of the fields of [`Limits`](crate::Limits), for error messages.

use core::fmt;

/// Identifies the field of [`Limits`](crate::Limits) that an error is about. `Display` writes the name of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::root_length`](crate::Limits::root_length).
    RootLength,
    /// [`Limits::timestamp_length`](crate::Limits::timestamp_length).
    TimestampLength,
    /// [`Limits::snapshot_length`](crate::Limits::snapshot_length).
    SnapshotLength,
    /// [`Limits::targets_length`](crate::Limits::targets_length).
    TargetsLength,
    /// [`Limits::listed_length`](crate::Limits::listed_length).
    ListedLength,
    /// [`Limits::root_updates`](crate::Limits::root_updates).
    RootUpdates,
    /// [`Limits::roles_visited`](crate::Limits::roles_visited).
    RolesVisited,
    /// [`Limits::roles_listed`](crate::Limits::roles_listed).
    RolesListed,
    /// [`Limits::list_steps`](crate::Limits::list_steps).
    ListSteps,
    /// [`Limits::delegation_depth`](crate::Limits::delegation_depth).
    DelegationDepth,
    /// [`Limits::signatures`](crate::Limits::signatures).
    Signatures,
    /// [`Limits::keys`](crate::Limits::keys).
    Keys,
}

impl Limit {
    /// Returns the name of the field in [`Limits`](crate::Limits).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RootLength => "root_length",
            Self::TimestampLength => "timestamp_length",
            Self::SnapshotLength => "snapshot_length",
            Self::TargetsLength => "targets_length",
            Self::ListedLength => "listed_length",
            Self::RootUpdates => "root_updates",
            Self::RolesVisited => "roles_visited",
            Self::RolesListed => "roles_listed",
            Self::ListSteps => "list_steps",
            Self::DelegationDepth => "delegation_depth",
            Self::Signatures => "signatures",
            Self::Keys => "keys",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
