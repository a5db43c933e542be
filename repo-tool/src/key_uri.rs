//! URIs that specify private keys in `repo.toml` and on the command line.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use crate::InvalidKeyUri;

/// The location of a private key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyUri {
    /// A PEM file in PKCS#8 or in the format of cosign, written as `file:PATH`. A relative path is relative to the
    /// repository's folder.
    File(PathBuf),
}

impl KeyUri {
    /// Returns the path of the key file. A relative path is joined to the repository's folder.
    #[must_use]
    pub fn path(&self, repository: &Path) -> PathBuf {
        match self {
            Self::File(path) => repository.join(path),
        }
    }

    /// Returns whether the key file is inside the repository's folder. Symbolic links in the path of the folder that
    /// contains the file are resolved.
    #[must_use]
    pub fn is_below(&self, repository: &Path) -> bool {
        let path = self.path(repository);
        let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
        match (folder, repository.canonicalize()) {
            (Some(folder), Ok(repository)) => folder.starts_with(repository),
            // If the folder of the file cannot be resolved, the file cannot be opened either. Comparing the unresolved
            // paths is therefore safe.
            _ => path.starts_with(repository) && path.components().all(|part| part != Component::ParentDir),
        }
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.to_string_lossy()),
        }
    }
}

impl FromStr for KeyUri {
    type Err = InvalidKeyUri;

    fn from_str(text: &str) -> Result<Self, InvalidKeyUri> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(PathBuf::from(path))),
            _ => Err(InvalidKeyUri { text: text.to_string() }),
        }
    }
}
