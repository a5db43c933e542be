//! Reads evidence files and Sigstore trust roots. The new files of a draft take precedence over the files in the
//! repository's folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lastmile_metadata::{TargetFile, TargetNames};

use crate::draft::NewTargetFile;
use crate::edit::intake;
use crate::files::access::read_small;
use crate::files::layout::Layout;
use crate::{Error, PolicyError};

/// The maximum length of an evidence file or a trust root, in bytes. `lastmile-attest` has lower limits.
pub(crate) const MAX_LENGTH: u64 = 16 << 20;

/// A reader of target files: the new files of a draft, and the files in the repository's folder.
pub(crate) struct TargetContents {
    folder: PathBuf,
    names: TargetNames,
    /// The current path of each new file of the draft. The map's keys are the final paths of these files, relative to
    /// `folder`.
    new: BTreeMap<PathBuf, PathBuf>,
}

impl TargetContents {
    /// `names` specifies whether the names of target files have hash prefixes once `files` are published.
    pub(crate) fn new(layout: &Layout, names: TargetNames, files: &[NewTargetFile]) -> Self {
        let new = files.iter().map(|file| (file.to.clone(), file.from.clone())).collect();
        Self { folder: layout.targets(), names, new }
    }

    /// Returns the content of a target, after checking its length and hashes. Returns `None` if the target file is not
    /// on this machine.
    ///
    /// # Errors
    /// [`PolicyError::WrongFile`] if the file does not match the entry of the target, and [`Error::Path`] if the file
    /// is too long.
    pub(crate) fn read(&self, target: &TargetFile) -> Result<Option<Vec<u8>>, Error> {
        for place in intake::published_paths(target, self.names) {
            let path = self.path(&place);
            let Some(content) = read_small(&path, MAX_LENGTH)? else { continue };
            let mut verifier = target.verifier();
            let verdict = verifier.update(&content).and_then(|()| verifier.finish());
            return match verdict {
                Ok(()) => Ok(Some(content)),
                Err(error) => {
                    let problem = format!("the file differs from its entry in the metadata: {error}");
                    Err(PolicyError::WrongFile { path: target.path.clone(), problem }.into())
                }
            };
        }
        Ok(None)
    }

    fn path(&self, place: &Path) -> PathBuf {
        self.new.get(place).cloned().unwrap_or_else(|| self.folder.join(place))
    }
}
