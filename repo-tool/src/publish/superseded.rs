//! `superseded/`: copies of local files that an adoption replaces with files from the server, so that nothing is lost.
//! Metadata files keep their names, target files are below `targets/`. If a name is taken, `~` is added.

use std::path::Path;

use lastmile_client::disk;

use crate::files::digest::FileDigest;
use crate::files::folder::Folder;
use crate::files::layout::Layout;
use crate::{Error, PublicationError};

/// Returns whether there is a copy of a metadata file with this name and content.
pub(crate) fn has(layout: &Layout, name: &str, content: &FileDigest) -> Result<bool, Error> {
    let Some(folder) = layout.open_superseded()? else { return Ok(false) };
    find(&folder, name, content).map(|(_, is_there)| is_there)
}

/// Returns the name of the copy with this content and true, or the first free name and false.
fn find(folder: &Folder, name: &str, content: &FileDigest) -> Result<(String, bool), Error> {
    let mut name = name.to_string();
    while let Some(found) = FileDigest::read(folder, &name, |_| {})? {
        if found == *content {
            return Ok((name, true));
        }
        name.push('~');
    }
    Ok((name, false))
}

/// Copies the file `name` of the folder `from` durably to `superseded/`, or to the folder `under` in it. The original is not
/// moved. A copy from an interrupted run is reused.
pub(crate) fn keep(layout: &Layout, from: &Folder, name: &str, under: &Path) -> Result<(), Error> {
    let Some(content) = FileDigest::read(from, name, |_| {})? else { return Ok(()) };
    let superseded = layout.make_superseded()?;
    let folder = superseded.descend(under, 0o700, layout.sharing())?;
    let (copy, is_there) = find(&folder, name, &content)?;
    if !is_there {
        let copied = disk::link_or_copy(from.place(name), folder.place(&copy));
        copied.map_err(|error| Error::file("copy", &from.path_of(name), error))?;
    }
    let path = folder.path_of(&copy);
    let synced = folder.open_file(&copy).and_then(|file| disk::sync(&file, &path));
    synced.map_err(|error| Error::file("sync", &path, error))?;
    if FileDigest::read(&folder, &copy, |_| {})? != Some(content) {
        return Err(PublicationError::ChangedWhileCopied { from: from.path_of(name), to: path }.into());
    }
    // Sync every folder on the path of the copy.
    let mut folder = layout.open()?;
    folder.sync()?;
    for part in Path::new("superseded").join(under).components() {
        let Some(next) = folder.enter(part)? else { break };
        next.sync()?;
        folder = next;
    }
    Ok(())
}
