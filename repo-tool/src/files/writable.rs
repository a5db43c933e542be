//! Checks whether files could be written, without writing any. Dry runs use this.

use std::path::Path;

use rustix::fs::Access;

use crate::Error;
use crate::files::folder::Folder;
use crate::files::layout::{LOCK, Layout, PUBLISHING, Sharing, locked_by, not_a_lock};
use crate::files::owner::user;

impl Layout {
    /// Opens [`Layout::publishing`] if it exists. Refuses a folder that does not belong to this user.
    pub(crate) fn find_publishing(&self) -> Result<Option<Folder>, Error> {
        let folder = self.open()?.enter(self.own(PUBLISHING))?;
        folder.as_ref().map_or(Ok(()), Folder::check_ours).map(|()| folder)
    }

    /// Checks that this user may write to the repository's folder, and that the lock file does not belong to another
    /// user.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        let dir = self.open()?;
        let path = self.dir().join(LOCK);
        check_writable(self.dir())?;
        match (self.sharing(), dir.look(LOCK)?) {
            (_, Some(found)) if !found.is_file() => Err(not_a_lock(&path)),
            (Sharing::Private, Some(found)) if found.owner() != user() => Err(locked_by(&path, found.owner())),
            _ => Ok(()),
        }
    }
}

/// Checks that this user may create the folder `path`, or create files in it if it already exists.
pub(crate) fn check_creatable(path: &Path) -> Result<(), Error> {
    let mut existing = path.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    existing.find(|path| path.symlink_metadata().is_ok()).map_or(Ok(()), check_writable)
}

/// Checks that this user may create files in `folder`.
pub(crate) fn check_writable(folder: &Path) -> Result<(), Error> {
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| Error::file("write to", folder, error.into()))
}
