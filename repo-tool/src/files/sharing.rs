//! Repositories that a group shares. A folder that was created for a single user is opened to the group by its owner.

use super::folder::Folder;
use super::layout::{PUBLISHING, STAGED, SUPERSEDED};
use super::owner::user;
use crate::Error;

/// The folders that are opened to the group, and their modes in a shared repository.
///
/// Other members must be able to see whether `.publishing` contains a journal, and to modify the pending change. They
/// may also add keys to `keys`, where the sticky bit prevents them from removing the keys of others. A private key file
/// is readable only by its owner.
const FOLDERS: [(&str, u32); 4] = [(PUBLISHING, 0o711), (STAGED, 0o2770), (SUPERSEDED, 0o2770), ("keys", 0o3770)];

/// Opens this user's folders in the repository `dir` to the group. Skips links, such as a link to a key folder on
/// another disk.
pub(super) fn open_to_group(dir: &Folder, group: u32) -> Result<(), Error> {
    for (name, mode) in FOLDERS {
        let is_own = dir.look(name)?.is_some_and(|found| found.is_folder() && found.owner() == user());
        if is_own && let Some(folder) = dir.enter(name)? {
            folder.open_to_group(group, mode)?;
        }
    }
    Ok(())
}
