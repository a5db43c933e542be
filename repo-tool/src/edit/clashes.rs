//! Finds pairs of target paths that cannot coexist. For `x` and `x/y`, clients would have to store `x` both as a file
//! and as a folder. If file names have no hash prefixes, the server would also have to store `x` both as a file and as
//! a folder.

use std::collections::BTreeSet;
use std::path::Path;

use lastmile_metadata::{TargetNames, TargetPath, Targets};
use walkdir::WalkDir;

use super::Edit;
use crate::edit::target_source::NamedTarget;
use crate::{EditError, Error};

impl Edit<'_> {
    /// Refuses new targets that clash with each other or with listed targets. `folder` is the `targets/` folder of the
    /// repository. To find targets below a path, looks at the files in this folder, which is faster than reading all
    /// roles.
    ///
    /// # Errors
    /// Returns [`EditError::FileAndFolder`], which lists all clashes, if there are any.
    pub(crate) fn refuse_clashes(
        &mut self,
        new: &BTreeSet<&TargetPath>,
        folder: &Path,
        names: TargetNames,
    ) -> Result<(), Error> {
        let mut clashes = BTreeSet::new();
        let mut checked = BTreeSet::new();
        for path in new {
            for above in above(path) {
                let is_new = new.contains(&above);
                if is_new || (checked.insert(above.clone()) && self.is_taken(&above, folder, names)?) {
                    clashes.insert((above, (*path).clone()));
                }
            }
            if let Some(below) = self.below(path, folder, names)? {
                clashes.insert(((*path).clone(), below));
            }
        }
        if clashes.is_empty() {
            return Ok(());
        }
        Err(EditError::FileAndFolder { clashes: clashes.into_iter().collect() }.into())
    }

    /// Returns whether clients would find a target at `path`. If file names have no hash prefixes, also returns true if
    /// the file of a removed target is still stored at this path.
    fn is_taken(&mut self, path: &TargetPath, folder: &Path, names: TargetNames) -> Result<bool, Error> {
        Ok(names == TargetNames::Plain && folder.join(path.as_str()).is_file() || self.lists(path)?)
    }

    /// Returns whether clients would find `path` after the draft is published.
    fn lists(&mut self, path: &TargetPath) -> Result<bool, Error> {
        match self.holder(path)? {
            Some(role) => Ok(self.view(&role)?.target(path).is_some()),
            None => Ok(false),
        }
    }

    /// Returns a target below the folder `path`, if there is one.
    fn below(&mut self, path: &TargetPath, folder: &Path, names: TargetNames) -> Result<Option<TargetPath>, Error> {
        let start = format!("{path}/", path = path.as_str());
        let touched = self.draft.touched.iter().filter(|touched| touched.as_str().starts_with(&start));
        for touched in touched.cloned().collect::<Vec<_>>() {
            if self.lists(&touched)? {
                return Ok(Some(touched));
            }
        }
        // The folder still contains the files of removed targets. With hash prefixes, the file of a removed target does
        // not conflict with a new target.
        for entry in WalkDir::new(folder.join(path.as_str())).min_depth(1).into_iter().filter_map(Result::ok) {
            let relative = entry.path().strip_prefix(folder).ok().and_then(Path::to_str);
            let name = relative.and_then(|relative| without_prefix(relative, names));
            if let Some(listed) = name.and_then(|name| TargetPath::new(name).ok())
                && entry.file_type().is_file()
                && (names == TargetNames::Plain || self.lists(&listed)?)
            {
                return Ok(Some(listed));
            }
        }
        Ok(None)
    }
}

/// Refuses new targets of one role that clash with each other. Also refuses a new target `x/y` if the role lists the
/// target `x`. `new` must be sorted by path. Targets of other roles are not compared, because there may be too many
/// roles to read.
///
/// # Errors
/// Returns [`EditError::FileAndFolder`], which lists all clashes, if there are any.
pub(super) fn refuse_clashes_in(role: &Targets, new: &[NamedTarget]) -> Result<(), Error> {
    let mut clashes = Vec::new();
    let mut folder = "";
    for NamedTarget { path, .. } in new {
        // Skip a target in the same folder as the previous target, because that folder has already been checked.
        let Some((parent, _)) = path.as_str().rsplit_once('/').filter(|(parent, _)| *parent != folder) else {
            continue;
        };
        folder = parent;
        for above in above(path) {
            if new.binary_search_by(|other| other.path.cmp(&above)).is_ok() || role.target(&above).is_some() {
                clashes.push((above, path.clone()));
            }
        }
    }
    if clashes.is_empty() { Ok(()) } else { Err(EditError::FileAndFolder { clashes }.into()) }
}

/// Returns the paths of all folders above a target, as target paths.
fn above(path: &TargetPath) -> impl Iterator<Item = TargetPath> {
    let text = path.as_str();
    text.match_indices('/').filter_map(|(at, _)| TargetPath::new(text.get(..at)?).ok())
}

/// Returns the path of the published target file `file` without its hash prefix.
fn without_prefix(file: &str, names: TargetNames) -> Option<String> {
    if names == TargetNames::Plain {
        return Some(file.to_string());
    }
    let (folder, name) = file.rsplit_once('/')?;
    Some(format!("{folder}/{}", name.split_once('.')?.1))
}
