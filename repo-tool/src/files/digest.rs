//! Computes the length and hash of files, and copies files into folders where no other user can change them.

use std::fs::File;
use std::io::{self, Read as _};

use lastmile_fs::disk;
use lastmile_metadata::{Hashes, TargetFile};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::files::folder::{Folder, is_ours};
use crate::{Error, PublicationError};

/// The number of bytes that are read at once.
const PART: usize = 256 * 1024;

/// The length and SHA-256 of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    length: u64,
    sha256: String,
}

impl FileDigest {
    /// Computes the digest of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { length: bytes.len() as u64, sha256: hex::encode(Sha256::digest(bytes)) }
    }

    /// Returns the length and SHA-256 that metadata lists for a target, or `None` if no SHA-256 is listed.
    pub(crate) fn listed(target: &TargetFile) -> Option<Self> {
        let sha256 = sha256(&target.hashes)?;
        Some(Self { length: target.length, sha256 })
    }

    /// Computes the digest of the file `name` and passes all its bytes to `each`. Returns `None` if the file does not
    /// exist.
    pub(crate) fn read(folder: &Folder, name: &str, each: impl FnMut(&[u8])) -> Result<Option<Self>, Error> {
        let path = folder.path_of(name);
        match folder.open_file(name).and_then(|file| Self::of_file(file, each)) {
            Ok(digest) => Ok(Some(digest)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", &path, error)),
        }
    }

    fn of_file(mut file: File, mut each: impl FnMut(&[u8])) -> io::Result<Self> {
        let listed = file.metadata()?.len();
        let mut hasher = Sha256::new();
        let mut length = 0_u64;
        // The buffer is one byte longer than a small file, so that one read reaches the end of the file.
        let mut part = vec![0; usize::try_from(listed).map_or(PART, |listed| listed.saturating_add(1).min(PART))];
        loop {
            let count = file.read(&mut part)?;
            let Some(bytes) = part.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Ok(Self { length, sha256: hex::encode(hasher.finalize()) });
            };
            hasher.update(bytes);
            each(bytes);
            length = length.saturating_add(bytes.len() as u64);
        }
    }

    /// Returns the length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Formats the digest for messages.
    pub(crate) fn shown(&self) -> String {
        format!("{} bytes with SHA-256 {}", self.length, self.sha256.get(..16).unwrap_or(&self.sha256))
    }
}

fn sha256(hashes: &Hashes) -> Option<String> {
    hashes.known().find(|(algorithm, _)| algorithm.name() == "sha256").map(|(_, digest)| hex::encode(digest))
}

/// Links or copies the file `name`, which must have `length` bytes, into the folder `to`. The folder belongs to this
/// user, so no other user can change the new file. The caller must check the content of the new file.
pub(crate) fn take(from: &Folder, name: &str, to: &Folder, new: &str, length: u64) -> Result<(), Error> {
    let at = from.path_of(name);
    let read = |error| Error::file("read", &at, error);
    let file = from.open_file(name).map_err(read)?;
    let found = file.metadata().map_err(read)?.len();
    if found != length {
        return Err(PublicationError::WrongLength { path: at, found, expected: length }.into());
    }
    let failed = |error| Error::file("copy", &at, error);
    if is_ours(&file) {
        disk::link_or_copy(from.place(name), to.place(new)).map_err(failed)?;
        if to.open_file(new).is_ok_and(|taken| is_ours(&taken)) {
            return Ok(());
        }
        // Another user replaced the file after it was checked and before it was linked.
        disk::remove(to.place(new)).map_err(failed)?;
    }
    let mut copy = to.create(new, 0o644)?;
    let mut rest = file.take(length.saturating_add(1));
    let mut part = vec![0; PART];
    loop {
        let count = rest.read(&mut part).map_err(read)?;
        match part.get(..count).filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => copy.write_all(bytes).map_err(failed)?,
            None => return Ok(()),
        }
    }
}

/// Like [`take`], but refuses a file that does not match the length and hashes of `target`.
pub(crate) fn take_target(
    from: &Folder,
    name: &str,
    to: &Folder,
    new: &str,
    target: &TargetFile,
) -> Result<FileDigest, Error> {
    take(from, name, to, new, target.length)?;
    let mut verifier = target.verifier();
    let read = |error| Error::file("read", &from.path_of(name), error);
    let mut verified = Ok(());
    let digest = FileDigest::of_file(to.open_file(new).map_err(read)?, |bytes| {
        if verified.is_ok() {
            verified = verifier.update(bytes);
        }
    });
    let digest = digest.map_err(read)?;
    verified.and_then(|()| verifier.finish()).map_err(|error| PublicationError::WrongTarget {
        path: from.path_of(name),
        target: target.path.clone(),
        error,
    })?;
    Ok(digest)
}
