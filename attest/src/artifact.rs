//! The file that evidence is about, identified by its path and hashes.

use lastmile_metadata::{Algorithm, Hashes, TargetFile, TargetPath};

/// The path and the hashes of a file. The file itself is not needed, because signatures and statements can be checked
/// against its hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    path: TargetPath,
    hashes: Hashes,
}

impl Artifact {
    /// Creates an artifact from its path and hashes.
    #[must_use]
    pub fn new(path: TargetPath, hashes: Hashes) -> Self {
        Self { path, hashes }
    }

    /// Creates an artifact from a target's entry in trusted metadata.
    #[must_use]
    pub fn of(target: &TargetFile) -> Self {
        Self { path: target.path.clone(), hashes: target.hashes.clone() }
    }

    /// Returns the target path.
    #[must_use]
    pub fn path(&self) -> &TargetPath {
        &self.path
    }

    /// Returns the digest that the metadata lists for `algorithm`, if any.
    #[must_use]
    pub fn digest(&self, algorithm: Algorithm) -> Option<&[u8]> {
        self.hashes.known().find(|(known, _)| *known == algorithm).map(|(_, digest)| digest)
    }

    /// Returns the digests that the metadata lists.
    pub fn digests(&self) -> impl Iterator<Item = (Algorithm, &[u8])> {
        self.hashes.known()
    }
}
