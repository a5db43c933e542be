//! The user ID of this process, and a check for whether only this user can change a file.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

/// The write permissions of the group and of all other users.
pub(super) const OTHERS_WRITE: u32 = 0o022;

/// Returns the effective user ID of this process.
pub(crate) fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Returns whether only this user can change the content of the file.
pub(crate) fn is_ours(file: &File) -> bool {
    file.metadata().is_ok_and(|found| found.uid() == user() && found.mode() & OTHERS_WRITE == 0)
}
