//! Copies files and folders for the demo.

use std::path::Path;

use crate::Error;

/// Copies a folder, with hard links where possible. Hard links are safe, because the demo replaces files instead of
/// writing into them.
pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.map_err(|error| Error::file("read", from, error.into()))?;
        let goal = to.join(entry.path().strip_prefix(from).unwrap_or(entry.path()));
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&goal).map_err(|error| Error::file("create", &goal, error))?;
        } else {
            link_or_copy(entry.path(), &goal)?;
        }
    }
    Ok(())
}

pub(super) fn link_or_copy(from: &Path, to: &Path) -> Result<(), Error> {
    let made = std::fs::hard_link(from, to).or_else(|_| std::fs::copy(from, to).map(drop));
    made.map_err(|error| Error::file("write", to, error))
}
