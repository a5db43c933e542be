//! The path to which a target is downloaded. Symbolic links below the chosen folder are never followed (decision D8 in
//! docs/pouf.md).

use std::io::Read;
use std::path::{Path, PathBuf};

use lastmile_fs::Access;
use lastmile_metadata::{NameError, TargetFile};

use crate::error::{Error, LocalError, Refusal, RefusedError};
use crate::open_directory::{CleanedDirs, OpenDirectory, PUBLIC, Temporary, is_temporary};

#[derive(Debug)]
pub(crate) struct Destination {
    folder: OpenDirectory,
    name: String,
}

impl Destination {
    /// Returns the destination at the target's own path below `folder_path` (spec 5.7.3). Creates missing
    /// subdirectories, and does not follow symbolic links (decision D8 in docs/pouf.md).
    pub(crate) fn below(folder_path: &Path, target: &TargetFile) -> Result<Destination, Error> {
        let path = target.path.file_path().map_err(refused)?;
        let mut folder = OpenDirectory::make(folder_path, PUBLIC)?;
        let mut segments: Vec<&str> = path.split('/').collect();
        let name = segments.pop().unwrap_or_default().to_owned();
        not_reserved(&name, &folder_path.join(path))?;
        for segment in segments {
            folder = folder.enter_or_make(segment, PUBLIC)?;
        }
        Ok(Destination { folder, name })
    }

    /// The parent directory must exist.
    pub(crate) fn file(path: &Path) -> Result<Destination, Error> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            LocalError::invalid("write to", path, "the path does not end in a file name that is valid UTF-8")
        })?;
        not_reserved(name, path)?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Ok(Destination { folder: OpenDirectory::open(folder)?, name: name.to_owned() })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path_of(&self.name)
    }

    /// Returns `true` if the file exists, has the content of `target`, and can be changed only by the current user.
    ///
    /// # Errors
    ///
    /// Any I/O error. Something other than a regular file at the path is also an error.
    pub(super) fn holds(&self, target: &TargetFile) -> Result<bool, LocalError> {
        let Some(mut file) = self.folder.open_file(&self.name)? else { return Ok(false) };
        let failed = |error| LocalError::new("read", self.path(), error);
        let access = Access::of(&file).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if length != target.length || !access.is_own() || access.ensure_unwritable().is_err() {
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

    /// Creates the temporary file that will be renamed to the destination. The first call for a directory also removes
    /// temporary files that earlier processes abandoned there.
    pub(super) fn temporary(&self, cleaned_dirs: &CleanedDirs) -> Result<Temporary, LocalError> {
        cleaned_dirs.clean_once(&self.folder);
        self.folder.held_temporary(PUBLIC)
    }

    /// Renames the verified temporary file to its final name.
    pub(super) fn finish(&self, file: Temporary) -> Result<(), LocalError> {
        file.finish(&self.folder, &self.name)
    }
}

/// Refuses a name that has the form of a temporary file name, because the next download into the same directory would
/// remove the file as an abandoned temporary file.
fn not_reserved(name: &str, path: &Path) -> Result<(), LocalError> {
    if is_temporary(name) {
        let problem = format!("the name `{name}` is reserved for temporary files; save the target under another name");
        return Err(LocalError::invalid("write to", path, &problem));
    }
    Ok(())
}

pub(super) fn refused(error: NameError) -> Error {
    RefusedError::from(Refusal::Name(error)).into()
}
