//! Files that must not be published, and how messages list them.

use std::path::PathBuf;

use lastmile_client::text::{printable, printable_path};

/// The maximum number of files that an error names.
const MAX_NAMED: usize = 50;

/// A file or folder that must not be published, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unpublishable {
    /// The path as the user specified it.
    pub path: PathBuf,
    /// The reason why the file must not be published.
    pub reason: String,
}

/// Appends the files to the text, one per line, with the reasons.
pub(super) fn listed(mut text: String, files: &[Unpublishable]) -> String {
    for Unpublishable { path, reason } in files.iter().take(MAX_NAMED) {
        text += &format!("\n  {}: {}", printable_path(path), printable(reason));
    }
    if let Some(more) = files.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        text += &format!("\n  … and {more} more");
    }
    text
}
