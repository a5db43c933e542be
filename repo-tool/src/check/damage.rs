//! Damage to the metadata files in a folder.

use std::fmt;

/// A metadata file that is missing or does not match the metadata that lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DamagedFile {
    /// The file name in `metadata/`.
    pub name: String,
    /// The kind of damage.
    pub damage: Damage,
}

/// The kind of damage to a metadata file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Damage {
    /// The file does not exist.
    Missing,
    /// The line endings of the file were changed to CRLF, for example by Git.
    LineEnds,
    /// The file does not match the length and hashes that other metadata lists for it, or is not a metadata file.
    Changed,
}

impl fmt::Display for DamagedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.damage {
            Damage::Missing => "missing",
            Damage::LineEnds => "changed on disk (line endings are now CRLF)",
            Damage::Changed => "changed on disk",
        };
        write!(f, "{what}: {}", self.name)
    }
}
