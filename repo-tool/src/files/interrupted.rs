//! Publications that were interrupted, for example by a crash.

use std::path::PathBuf;

use lastmile_client::text::printable_path;

use crate::files::owner::user;

/// A publication that was interrupted. Its working folder still contains a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// The working folder of the publication.
    pub folder: PathBuf,
    /// The name of the working folder in the repository.
    pub(crate) name: String,
    /// The ID of the user who started the publication.
    pub owner: u32,
}

impl Interrupted {
    /// Returns a message that explains the interruption and names the command that finishes the publication.
    #[must_use]
    pub fn advice(&self) -> String {
        let folder = printable_path(&self.folder);
        let owner = self.owner;
        if owner == user() {
            "a publication was interrupted; run `lastmile-repo renew` to finish it".to_string()
        } else {
            format!(
                "a publication of user {owner} was interrupted: user {owner} must run `lastmile-repo renew` to finish it; if that \
                user no longer exists, remove {folder} and run `lastmile-repo verify`"
            )
        }
    }
}
