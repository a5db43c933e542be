//! Repositories that a group shares: folders that their owner made before, for one user, are opened to the group.

use super::folder::{Folder, user};
use super::layout::{PUBLISHING, STAGED, SUPERSEDED};
use crate::Error;

/// The folders of one user, and their modes in a shared repository.
///
/// Others must be able to see whether there is a journal in `.publishing`, and to change a pending change. They may add their own
/// keys to `keys`, but the sticky bit keeps them from removing each other's. Only its owner can read a private key.
const FOLDERS: [(&str, u32); 4] = [(PUBLISHING, 0o711), (STAGED, 0o2770), (SUPERSEDED, 0o2770), ("keys", 0o3770)];

/// Opens this user's folders in the repository `dir` to the group. A link is left alone, such as one to keys on another disk.
pub(super) fn open_to_group(dir: &Folder, group: u32) -> Result<(), Error> {
    for (name, mode) in FOLDERS {
        let is_own = dir.look(name)?.is_some_and(|found| found.is_folder() && found.owner() == user());
        if is_own && let Some(folder) = dir.enter(name)? {
            folder.open_to_group(group, mode)?;
        }
    }
    Ok(())
}
