//! The folder `superseded/`, which keeps copies of replaced local files, so that no data is lost. Local files may be
//! replaced with files from the server when this tool takes over the state of the server (`served/adoption.rs`).
//!
//! Copies of metadata files keep their names, and copies of target files are below `targets/`. If the name of a
//! copy is already used, `~` is appended to it.

use crate::Error;
use crate::files::digest::FileDigest;
use crate::files::folder::Folder;
use crate::files::layout::Layout;

/// Returns whether the folder contains a copy of the metadata file `name` with the content `content`.
pub(crate) fn has(layout: &Layout, name: &str, content: &FileDigest) -> Result<bool, Error> {
    let Some(folder) = layout.open_superseded()? else { return Ok(false) };
    find(&folder, name, content).map(|(_, is_there)| is_there)
}

/// Returns the name of the copy with this content, or the first unused name if there is no such copy. The second value
/// is whether the copy exists.
pub(crate) fn find(folder: &Folder, name: &str, content: &FileDigest) -> Result<(String, bool), Error> {
    let mut name = name.to_string();
    while let Some(found) = folder.digest(&name, |_| {})? {
        if found == *content {
            return Ok((name, true));
        }
        name.push('~');
    }
    Ok((name, false))
}
