//! `superseded/`: copies of the files of this folder that an adoption replaces by those of the server, so that nothing is
//! lost. Metadata lies there under its own name, target files below `targets/`. Where a name is taken, `~` is added.

use std::path::Path;

use lastmile_client::disk;

use crate::files::digest::FileDigest;
use crate::files::folder::Folder;
use crate::files::layout::Layout;
use crate::{Error, PublicationError};

/// Whether a copy of a metadata file with this name and content was set aside.
pub(crate) fn has(layout: &Layout, name: &str, content: &FileDigest) -> Result<bool, Error> {
    let Some(folder) = layout.open_superseded()? else { return Ok(false) };
    find(&folder, name, content).map(|(_, is_there)| is_there)
}

/// The name of the copy with this content, and true; or the first free name, and false.
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

/// Keeps a durable copy of the file `name` of the folder `from` in `superseded/`, or `under` a folder there. The file
/// stays where it is. A copy that an interrupted run made is used again.
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
    // The names that lead to the copy.
    let mut folder = layout.open()?;
    folder.sync()?;
    for part in Path::new("superseded").join(under).components() {
        let Some(next) = folder.enter(part)? else { break };
        next.sync()?;
        folder = next;
    }
    Ok(())
}
