//! Reads files by path. Links are followed for files that the user specified, and refused for files of a repository.

use std::fs::File;
use std::path::Path;

use lastmile_fs::{Access, named};
use lastmile_keys::Zeroizing;

use crate::files::access::{SMALL, ensure, if_there, open_regular, read_at_most};
use crate::{Error, NotFound};

/// Whether to follow symbolic links when a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Follow links, and also read from pipes. This is for files that the user specified.
    Follow,
    /// Refuse links, because another user may have placed a link in the repository.
    Refuse,
}

/// Reads a file of at most `most` bytes. Returns `None` if the file does not exist. With [`Links::Follow`], an empty
/// file is an error.
pub(crate) fn read_through(path: &Path, links: Links, most: u64) -> Result<Option<Vec<u8>>, Error> {
    open_through(path, links)?.map(|file| read_open(file, path, links, most)).transpose()
}

/// Like [`read_through`], but for private keys and pass-phrases. Refuses a file that other users can read or change.
pub(crate) fn read_secret(path: &Path, links: Links, most: u64) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let Some(file) = open_through(path, links)? else { return Ok(None) };
    ensure(&file, path, Access::ensure_secret)?;
    read_open(file, path, links, most).map(Zeroizing::new).map(Some)
}

fn open_through(path: &Path, links: Links) -> Result<Option<File>, Error> {
    if_there(path, if links == Links::Follow { named::open(path) } else { open_regular(path) })
}

fn read_open(file: File, path: &Path, links: Links, most: u64) -> Result<Vec<u8>, Error> {
    match links {
        Links::Follow => named::read(file, most).map_err(|error| Error::file("read", path, error)),
        Links::Refuse => read_at_most(file, path, most),
    }
}

/// Reads the root file at a path that the user specified.
pub(crate) fn read_named_root(path: &Path) -> Result<Vec<u8>, Error> {
    Ok(read_through(path, Links::Follow, SMALL)?.ok_or_else(|| NotFound::File { path: path.to_path_buf() })?)
}
