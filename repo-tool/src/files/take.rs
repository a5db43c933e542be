//! Copies files into folders where no other user can change them.

use std::io::Read as _;

use lastmile_fs::disk;
use lastmile_metadata::TargetFile;

use crate::files::digest::FileDigest;
use crate::files::folder::Folder;
use crate::files::owner::is_ours;
use crate::{Error, PublicationError};

const CHUNK_SIZE: usize = 256 * 1024;

/// Creates the file `new` in the folder `to` from the file `name`, which must have `length` bytes. The new file is a
/// hard link if possible and if only this user can change the file `name`. Otherwise, it is a copy. The folder `to`
/// must belong to this user, so that no other user can change the new file. The caller must check the content of the
/// new file.
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
        // Another user replaced the file between the check and the creation of the link.
        disk::remove(to.place(new)).map_err(failed)?;
    }
    let mut copy = to.create(new, 0o644)?;
    let mut rest = file.take(length.saturating_add(1));
    let mut part = vec![0; CHUNK_SIZE];
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
