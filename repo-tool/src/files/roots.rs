//! The root files in the folder of a repository.

use std::io;

use lastmile_metadata::Version;

use crate::files::access;
use crate::files::layout::Layout;
use crate::{Error, NotFound};

/// Reads the oldest root in the metadata folder, which is usually `1.root.json`.
pub(crate) fn oldest_root(layout: &Layout) -> Result<Vec<u8>, Error> {
    let first = layout.metadata().join("1.root.json");
    if let Some(bytes) = access::read_if_there(&first)? {
        return Ok(bytes);
    }
    let oldest = root_versions(layout)?.into_iter().min();
    let oldest = oldest.ok_or(NotFound::File { path: first })?;
    let path = layout.metadata().join(format!("{oldest}.root.json"));
    Ok(access::read_if_there(&path)?.ok_or(NotFound::File { path })?)
}

/// Returns the versions of all root files in the metadata folder, in no particular order.
pub(crate) fn root_versions(layout: &Layout) -> Result<Vec<Version>, Error> {
    let folder = layout.metadata();
    let entries = std::fs::read_dir(&folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            NotFound::Repository { folder: layout.dir().to_path_buf() }.into()
        }
        _ => Error::file("list", &folder, error),
    })?;
    let mut versions = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| Error::file("list", &folder, error))?.file_name();
        let version = name.to_str().and_then(|name| name.strip_suffix(".root.json")?.parse().ok());
        versions.extend(version.and_then(Version::new));
    }
    Ok(versions)
}
