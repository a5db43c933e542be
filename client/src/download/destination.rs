//! Where a target goes, and whether it is there already (decision D8).

use std::io::Read;
use std::path::{Path, PathBuf};

use lastmile_metadata::{NameError, TargetFile};

use crate::error::{Error, LocalError, Refusal, RefusedError};
use crate::folder::{CleanedDirs, Folder, PUBLIC, Temporary};

/// Where a target goes: a name in an open directory.
#[derive(Debug)]
pub(crate) struct Destination {
    folder: Folder,
    name: String,
}

impl Destination {
    /// The target's own path below `folder`, its sub-directories made where they are missing and
    /// never reached through a link (decision D8).
    pub(crate) fn below(folder: &Path, target: &TargetFile) -> Result<Destination, Error> {
        let path = target.path.file_path().map_err(refused)?;
        let mut folder = Folder::make(folder, PUBLIC)?;
        let mut segments: Vec<&str> = path.split('/').collect();
        let name = segments.pop().unwrap_or_default().to_owned();
        for segment in segments {
            folder = folder.enter_or_make(segment, PUBLIC)?;
        }
        Ok(Destination { folder, name })
    }

    /// Exactly this file; its directory must exist.
    pub(crate) fn file(path: &Path) -> Result<Destination, Error> {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| LocalError::invalid("write to", path, "it does not end in a file name in UTF-8"))?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Ok(Destination { folder: Folder::open(folder)?, name: name.to_owned() })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path_of(&self.name)
    }

    /// Whether the file is there and is what `target` says, judged by what is read through one open
    /// file. What is there and is no regular file is an error.
    pub(super) fn holds(&self, target: &TargetFile) -> Result<bool, LocalError> {
        let Some(mut file) = self.folder.open_file(&self.name)? else { return Ok(false) };
        let failed = |error| LocalError::new("read", self.path(), error);
        if file.metadata().map_err(failed)?.len() != target.length {
            return Ok(false);
        }
        let mut verifier = target.verifier();
        let mut part = vec![0; 256 * 1024];
        loop {
            let read = file.read(&mut part).map_err(failed)?;
            match part.get(..read) {
                Some([]) | None => return Ok(verifier.finish().is_ok()),
                Some(bytes) => {
                    if verifier.update(bytes).is_err() {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Creates the temporary file that will become this one; first, once per directory, removes abandoned ones.
    pub(super) fn temporary(&self, cleaned_dirs: &CleanedDirs) -> Result<Temporary, LocalError> {
        cleaned_dirs.clean_once(&self.folder);
        self.folder.held_temporary(PUBLIC)
    }

    /// Gives the verified file its final name.
    pub(super) fn finish(&self, file: Temporary) -> Result<(), LocalError> {
        file.finish(&self.folder, &self.name)
    }
}

pub(super) fn refused(error: NameError) -> Error {
    RefusedError::from(Refusal::Name(error)).into()
}
