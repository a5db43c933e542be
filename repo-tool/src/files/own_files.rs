//! Refuses to publish private keys (`key_material.rs`) and the repository's own files, even if the user specifies them
//! by another path or through a link.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use lastmile_fs::read_at_most;
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;
use zeroize::Zeroizing;

use crate::config::Config;
pub use crate::error::Unpublishable;
use crate::files::access;
use crate::files::key_material::Scanner;
use crate::files::layout::Layout;
use crate::files::roots;
use crate::root_digest::RootDigest;
use crate::{Error, PathError, parallel};

const MAX_KEY_LENGTH: u64 = 1 << 20;

/// The device and inode number of a file or folder. These numbers do not depend on the name by which the file or folder
/// is opened.
type FileId = (u64, u64);

/// The files and folders that belong to a repository itself and must not be published as targets.
pub struct OwnFiles {
    dir: FileId,
    /// The repository's folder and all folders that contain it.
    above: BTreeSet<FileId>,
    /// The folders in the repository that the tool manages, such as `metadata/` and `keys/`.
    folders: BTreeSet<FileId>,
    /// The files that belong to the repository, each with the reason for refusing it. Hard links to these files are
    /// refused too.
    files: BTreeMap<FileId, String>,
    /// The SHA-256 of each private key file, with the reason for refusing it. Copies of these files are refused too.
    contents: BTreeMap<[u8; 32], String>,
    /// The length of the longest private key file.
    longest: usize,
}

/// Checks whether a file is a copy of a private key, by comparing the SHA-256 of the whole file with the SHA-256 of
/// each private key file.
pub(crate) struct CopyCheck<'o> {
    own: &'o OwnFiles,
    bytes: Zeroizing<Vec<u8>>,
}

impl CopyCheck<'_> {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        // Keep at most one byte more than the length of the longest private key. A file that has this byte is longer
        // than every key, so it cannot be a copy of a key.
        let missing = (self.own.longest + 1).saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(bytes.get(..missing).unwrap_or_default());
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        let is_short = self.bytes.len() <= self.own.longest;
        is_short.then(|| self.own.contents.get(&sha256(&self.bytes))).flatten().map(String::as_str)
    }
}

impl OwnFiles {
    /// Collects the files of the repository in `layout`. These include the private keys that are named in the
    /// configuration of the repository or of the user.
    ///
    /// # Errors
    /// Returns an error if the repository's folder or the user's configuration cannot be read.
    pub fn of(layout: &Layout, config: &Config) -> Result<Self, Error> {
        let looked_at = |error| Error::file("look at", layout.dir(), error);
        let dir = layout.dir().canonicalize().map_err(looked_at)?;
        let mut own = Self {
            dir: id(&dir.metadata().map_err(looked_at)?),
            above: dir.ancestors().filter_map(id_of).collect(),
            folders: BTreeSet::new(),
            files: BTreeMap::new(),
            contents: BTreeMap::new(),
            longest: 0,
        };
        for entry in fs::read_dir(&dir).map_err(looked_at)? {
            let entry = entry.map_err(looked_at)?;
            let name = entry.file_name();
            if !Layout::is_own(&name) {
                continue;
            }
            match readable(fs::metadata(entry.path())).map_err(looked_at)? {
                Some(found) if found.is_dir() => drop(own.folders.insert(id(&found))),
                Some(found) => own.add_file(&found, &name.to_string_lossy()),
                None => {}
            }
        }
        let keys = layout.keys();
        let looked_at_key = |error| Error::file("look at", &keys, error);
        for entry in WalkDir::new(&keys) {
            let entry = readable(entry.map_err(io::Error::from)).map_err(looked_at_key)?;
            let Some(entry) = entry else { continue };
            let found = readable(entry.metadata().map_err(io::Error::from)).map_err(looked_at_key)?;
            if let Some(found) = found.filter(Metadata::is_file) {
                let what = format!("keys/{}", entry.file_name().to_string_lossy());
                own.add_file(&found, &what);
                // The folder may also contain files that are not secret, such as public keys. Copies of those files may
                // be published.
                own.add_content(entry.path(), &what, |bytes| {
                    let mut scanner = Scanner::default();
                    scanner.update(bytes);
                    scanner.finish().is_some()
                })?;
            }
        }
        let named = config.key_uris().into_iter().map(|uri| (uri.path(layout.dir()), uri.to_string()));
        // The user's configuration identifies a repository by its oldest root. Therefore, it has no entry for a folder
        // without a root, such as the folder of a new repository.
        let users = match roots::oldest_root(layout) {
            Ok(root) => layout.user().keys(RootDigest::of(&root))?,
            Err(Error::NotFound(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        let users = users.into_iter().map(|path| (path.clone(), path.to_string_lossy().into_owned()));
        for (path, name) in users.chain(named) {
            let found = readable(fs::metadata(&path)).map_err(|error| Error::file("look at", &path, error))?;
            if let Some(found) = found {
                let what = format!("the private key {name}");
                own.add_file(&found, &what);
                // The configuration names this file as a private key, so refuse copies of it even if its format is
                // unknown.
                own.add_content(&path, &what, |bytes| !bytes.is_empty())?;
            }
        }
        Ok(own)
    }

    /// Stores the hash of a private key file. Skips files longer than [`MAX_KEY_LENGTH`]. Also skips files that this user
    /// cannot read, because the user cannot publish copies of them.
    fn add_content(&mut self, path: &Path, what: &str, is_private: impl Fn(&[u8]) -> bool) -> Result<(), Error> {
        let read = || {
            let Some(file) = readable(path.canonicalize().and_then(|path| access::open_regular(&path)))? else {
                return Ok(None);
            };
            Ok(read_at_most(file, MAX_KEY_LENGTH)?.map(Zeroizing::new))
        };
        let bytes = read().map_err(|error| Error::file("read", path, error))?;
        if let Some(bytes) = bytes.filter(|bytes| is_private(bytes)) {
            self.longest = self.longest.max(bytes.len());
            let reason = format!("is a copy of {what} of this repository");
            self.contents.entry(sha256(&bytes)).or_insert(reason);
        }
        Ok(())
    }

    /// Starts to check whether a file is a copy of a private key.
    pub(crate) fn content(&self) -> CopyCheck<'_> {
        CopyCheck { own: self, bytes: Zeroizing::default() }
    }

    fn add_file(&mut self, found: &Metadata, what: &str) {
        self.files.insert(id(found), format!("is {what} of this repository"));
    }

    /// Returns the reason why a whole folder must not be published, if there is one.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read.
    pub fn unpublishable_folder(&self, path: &Path) -> Result<Option<Unpublishable>, Error> {
        let looked_at = |error| Error::file("look at", path, error);
        let folder = path.canonicalize().map_err(looked_at)?;
        let reason = match self.kind_of(&folder) {
            FolderKind::Tool => "belongs to this repository itself",
            _ if self.above.contains(&id(&folder.metadata().map_err(looked_at)?)) => {
                "contains this repository's own folders (metadata, targets, keys and others); name the files or folders \
                 to publish"
            }
            _ => return Ok(None),
        };
        Ok(Some(Unpublishable { path: path.to_path_buf(), reason: reason.into() }))
    }

    /// Returns the elements of `files` that belong to the repository, each with the reason for refusing it.
    pub(crate) fn unpublishable_files(&self, files: &[&Path]) -> Result<Vec<Unpublishable>, Error> {
        let parent = |path: &Path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let parents: BTreeSet<PathBuf> = files.iter().map(|path| parent(path)).collect();
        let parents: Vec<PathBuf> = parents.into_iter().collect();
        let places = parallel::try_map(&parents, |parent| {
            let folder = parent.canonicalize().map_err(|error| Error::file("look at", parent, error))?;
            Ok(self.kind_of(&folder))
        })?;
        let places: BTreeMap<PathBuf, FolderKind> = parents.into_iter().zip(places).collect();
        let refused = parallel::try_map(files, |path| {
            let found = path.symlink_metadata().map_err(|error| Error::file("read", path, error))?;
            let is_entry = |name| Layout::is_own(name);
            let is_own = match places.get(&parent(path)) {
                Some(FolderKind::Tool) => true,
                Some(FolderKind::Repository) => path.file_name().is_some_and(is_entry),
                _ => false,
            };
            let by_place = || is_own.then(|| "belongs to this repository itself".to_string());
            let reason = self.reason_of(&found).map(ToString::to_string).or_else(by_place);
            Ok(reason.map(|reason| Unpublishable { path: path.to_path_buf(), reason }))
        })?;
        Ok(refused.into_iter().flatten().collect())
    }

    /// Compares files by device and inode, so their names do not matter.
    pub(crate) fn reason_of(&self, file: &Metadata) -> Option<&str> {
        self.files.get(&id(file)).map(String::as_str)
    }

    /// `folder` must be a canonical path. Compares the device and inode of the folder and of all folders that contain
    /// it.
    fn kind_of(&self, folder: &Path) -> FolderKind {
        let ids: Vec<Option<FileId>> = folder.ancestors().map(id_of).collect();
        if ids.iter().flatten().any(|id| self.folders.contains(id)) {
            return FolderKind::Tool;
        }
        // A folder that the tool created after `folders` was collected is recognized by its name.
        let inner = folder.ancestors().zip(ids.iter().skip(1));
        let is_new = |(inner, outer): (&Path, &Option<FileId>)| {
            *outer == Some(self.dir) && inner.file_name().is_some_and(Layout::is_own)
        };
        match ids.first() {
            _ if inner.into_iter().any(is_new) => FolderKind::Tool,
            Some(Some(id)) if *id == self.dir => FolderKind::Repository,
            _ => FolderKind::Other,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FolderKind {
    /// A folder that the tool manages, or one of its subfolders.
    Tool,
    Repository,
    Other,
}

/// Returns an error that lists `files`, unless `files` is empty.
pub fn refuse(mut files: Vec<Unpublishable>) -> Result<(), Error> {
    if files.is_empty() {
        return Ok(());
    }
    files.sort();
    files.dedup();
    Err(Error::Private { files })
}

/// Refuses to store private keys in a folder that is served to clients.
///
/// # Errors
/// [`Error::Path`] if the folder is `metadata/`, `targets/` or a subfolder of one of them, and [`Error::File`] if the
/// path cannot be resolved.
pub(crate) fn refuse_served(layout: &Layout, folder: &Path) -> Result<(), Error> {
    let place = resolved(folder)?;
    for served in [layout.metadata(), layout.targets()] {
        if place.starts_with(resolved(&served)?) {
            return Err(PathError::KeysServed { folder: folder.to_path_buf(), served }.into());
        }
    }
    Ok(())
}

/// Resolves the links in `path`. The last components of the path need not exist.
fn resolved(path: &Path) -> Result<PathBuf, Error> {
    let absolute = std::path::absolute(path).map_err(|error| Error::file("find", path, error))?;
    let mut found = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => drop(found.pop()),
            part => found.push(part),
        }
        match found.canonicalize() {
            Ok(real) => found = real,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file("find", path, error)),
        }
    }
    Ok(found)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn id(found: &Metadata) -> FileId {
    (found.dev(), found.ino())
}

/// Replaces an error with `None` if the file does not exist, if it is not a regular file, if its path contains a link
/// loop, or if this user may not read it.
fn readable<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{InvalidInput, NotADirectory, NotFound, PermissionDenied};
    let is_link_loop = |error: &io::Error| error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), InvalidInput | NotADirectory | NotFound | PermissionDenied) => Ok(None),
        Err(error) if is_link_loop(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn id_of(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().as_ref().map(id)
}

pub(crate) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}
