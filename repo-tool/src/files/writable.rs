//! Checks for dry runs. They determine whether files could be written, but do not write any.

use crate::Error;
use crate::files::access::check_writable;
use crate::files::folder::Folder;
use crate::files::layout::{LOCK, Layout, PUBLISHING, locked_by, not_a_lock};
use crate::files::owner::user;
use crate::files::sharing::Sharing;

impl Layout {
    /// Opens [`Layout::publishing`] if it exists. Refuses a folder that does not belong to this user.
    pub(crate) fn open_publishing(&self) -> Result<Option<Folder>, Error> {
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
