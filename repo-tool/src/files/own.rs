//! Files that the tool writes for its user outside of all repositories: the user's state, and reports for other
//! programs.

use std::path::Path;

use lastmile_fs::disk;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::user::read_own;
use crate::{Error, NetworkError};

/// Permissions of files that only their owner may read.
const PRIVATE: u32 = 0o600;
/// Permissions of files that other programs, such as a web server or a metrics exporter, must be able to read.
const PUBLIC: u32 = 0o644;

/// Converts any text, such as a URL, to a file name: the SHA-256 of the text, in hexadecimal digits.
pub(crate) fn name_of(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Reads a file of the user's state. Refuses a file that other users can write to. Returns `None` if the file does not
/// exist.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Error> {
    read_own(path)
}

/// Writes a file of the user's state atomically. Creates the file's folder if necessary.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    disk::make_folders(folder, 0o700).map_err(|error| Error::file("create", folder, error))?;
    let text = serde_json::to_string(value).map_err(|error| NetworkError::Runtime(error.into()))?;
    replace(path, text.as_bytes(), PRIVATE)
}

/// Writes a report for other programs atomically: a reader sees either the old or the new file.
pub(crate) fn write_report(path: &Path, text: &str) -> Result<(), Error> {
    replace(path, text.as_bytes(), PUBLIC)
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (mut file, new) = disk::create_unique(folder, ".lastmile-", ".tmp", |path| disk::create(path, mode))
        .map_err(|error| Error::file("create a file in", folder, error))?;
    let written = file.write_all(bytes).and_then(|()| file.sync()).and_then(|()| disk::rename(&new, path));
    written.map_err(|error| {
        let _ = disk::remove(&new);
        Error::file("write", path, error)
    })
}
