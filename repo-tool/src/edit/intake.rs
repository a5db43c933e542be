//! Copies new target files into the repository. The hash is computed from the copied bytes, so a later change to the
//! source file has no effect. [`copy`] refuses files that must stay private.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use lastmile_fs::disk;
use lastmile_metadata::{Algorithm, Hashes, TargetFile, TargetNames, TargetPath};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use walkdir::WalkDir;

use crate::error::Unpublishable;
use crate::files::access;
use crate::files::folder::Folder;
use crate::files::key_material::Scanner;
use crate::files::own_files::{self, OwnFiles, is_hidden};
use crate::names::{of_file, target_path};
use crate::{EditError, Error, PathError, parallel};

/// The size of the buffer for reading files, in bytes.
const CHUNK_SIZE: usize = 256 * 1024;
/// The maximum length of a file name on common file systems, in bytes.
const MAX_NAME_LENGTH: usize = 255;

/// A file to publish and its target path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The location of the file on disk.
    pub file: PathBuf,
    /// The target path under which the file is published.
    pub name: TargetPath,
    private_keys: PrivateKeys,
}

impl Source {
    /// Creates a source. [`copy`] refuses the file if it contains a private key.
    #[must_use]
    pub fn new(file: PathBuf, name: TargetPath) -> Self {
        Self { file, name, private_keys: PrivateKeys::Refuse }
    }

    /// Allows the file to contain a private key, such as a test key. [`copy`] still refuses the private keys of the
    /// repository.
    #[must_use]
    pub fn allow_private_keys(self) -> Self {
        Self { private_keys: PrivateKeys::Allow, ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PrivateKeys {
    Refuse,
    Allow,
}

/// Whether to publish files and folders whose names start with a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// Skip hidden files and folders.
    Skip,
    /// Publish hidden files and folders.
    Include,
}

/// The result of a search for files to publish.
#[derive(Clone, Debug, Default)]
pub struct FoundFiles {
    /// The files.
    pub sources: Vec<Source>,
    /// The number of hidden files and folders that were skipped.
    pub hidden: usize,
}

/// A copied file.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The entry for the target in the metadata, with length and hashes.
    pub target: TargetFile,
    /// The path of the copy.
    pub file: PathBuf,
}

/// Finds the files to publish in each of `paths`, which may be files or folders. For a file that is itself in `paths`,
/// the target path is the file name. For a file in a folder, the target path is relative to the folder. If `under` is
/// given, it is prepended to every target path. A path in `paths` is published even if it is hidden.
///
/// # Errors
/// [`PathError::Unpublishable`] if some files cannot be published. The error lists all of them. Only regular files can
/// be published, and only if their names are UTF-8 and safe on every platform.
pub fn find<P: AsRef<Path>>(paths: &[P], under: Option<&str>, hidden: Hidden) -> Result<FoundFiles, Error> {
    let mut found = FoundFiles::default();
    let mut refused = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        let is_wanted = |entry: &walkdir::DirEntry| {
            let is_skipped = hidden == Hidden::Skip && entry.depth() > 0 && is_hidden(entry.file_name());
            found.hidden += usize::from(is_skipped);
            !is_skipped
        };
        let entries = WalkDir::new(path).follow_root_links(false).sort_by_file_name();
        for entry in entries.into_iter().filter_entry(is_wanted) {
            let entry = entry.map_err(|error| {
                let at = error.path().unwrap_or(path).to_path_buf();
                Error::File { action: "read", path: at, error: error.into() }
            })?;
            if entry.file_type().is_dir() {
                continue;
            }
            match source(&entry, path, under) {
                Ok(source) => found.sources.push(source),
                Err(reason) => refused.push(Unpublishable { path: entry.into_path(), reason }),
            }
        }
    }
    if refused.is_empty() { Ok(found) } else { Err(PathError::Unpublishable { files: refused }.into()) }
}

fn source(entry: &walkdir::DirEntry, path: &Path, under: Option<&str>) -> Result<Source, String> {
    let file = entry.path();
    let kind = entry.file_type();
    if !kind.is_file() {
        let kind = if kind.is_symlink() { "a link" } else { "not a regular file" };
        return Err(format!("is {kind}; only regular files can be published"));
    }
    let relative = match file.strip_prefix(path) {
        Ok(relative) if entry.depth() > 0 => relative,
        _ => Path::new(entry.file_name()),
    };
    let name = relative.to_str().ok_or("has a name that is not UTF-8")?;
    let name = match under {
        Some(folder) => format!("{}/{name}", folder.trim_end_matches('/')),
        None => name.to_string(),
    };
    let name = target_path(&name).map_err(|error| error.to_string())?;
    Ok(Source::new(file.to_path_buf(), name))
}

/// Returns the paths in `targets/` at which a target is published. If file names have hash prefixes, there is one path
/// for each hash (TUF specification 6.2.1). Otherwise, there is only the plain path (TUF specification 3.1.1).
pub fn published_paths(target: &TargetFile, names: TargetNames) -> Vec<PathBuf> {
    let path = target.path.as_str();
    if names == TargetNames::Plain {
        return vec![PathBuf::from(path)];
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    target.hashes.prefixes().map(|hash| Path::new(folder).join(format!("{hash}.{name}"))).collect()
}

/// Copies files into the empty folder `into` and hashes them on all cores. Calls `progress` with the number of files
/// processed.
///
/// # Errors
/// [`Error::Private`] if some files must stay private, because they belong to the repository itself (`own`) or contain
/// a private key. The error lists all of them. After any error, all copies are removed.
pub fn copy(
    sources: &[Source],
    into: &Path,
    algorithms: &[Algorithm],
    own: &OwnFiles,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Incoming>, Error> {
    copy_into(sources, &Folder::open(into)?, algorithms, own, progress)
}

pub(crate) fn copy_into(
    sources: &[Source],
    into: &Folder,
    algorithms: &[Algorithm],
    own: &OwnFiles,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Incoming>, Error> {
    let copied = each(sources, own, progress, |number, source| {
        let name = file_name(number);
        let mode = 0o644;
        let file = into.path_of(&name);
        let mut copy = into.create(&name, mode)?;
        let write = |bytes: &[u8]| copy.write_all(bytes).map_err(|error| Error::file("write", &file, error));
        let target = hash(source, algorithms, own, write)?;
        Ok(target.map(|target| Incoming { target, file }))
    });
    if copied.is_err() {
        for number in 0..sources.len() {
            let _ = disk::remove(into.place(&file_name(number)));
        }
    }
    copied
}

/// Hashes files without copying them.
pub(crate) fn measure(
    sources: &[Source],
    algorithms: &[Algorithm],
    own: &OwnFiles,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Incoming>, Error> {
    each(sources, own, progress, |_, source| {
        let target = hash(source, algorithms, own, |_| Ok(()))?;
        Ok(target.map(|target| Incoming { target, file: source.file.clone() }))
    })
}

/// Calls `work` for each source, on all cores. If some files must stay private, returns one error that lists all of
/// them.
fn each(
    sources: &[Source],
    own: &OwnFiles,
    progress: &(dyn Fn(usize) + Sync),
    work: impl Fn(usize, &Source) -> Result<Result<Incoming, Unpublishable>, Error> + Sync,
) -> Result<Vec<Incoming>, Error> {
    let numbered: Vec<(usize, &Source)> = sources.iter().enumerate().collect();
    let done = AtomicUsize::new(0);
    let refused = own.unpublishable_files(&sources.iter().map(|source| source.file.as_path()).collect::<Vec<_>>())?;
    let refused: BTreeMap<&Path, &Unpublishable> =
        refused.iter().map(|refused| (refused.path.as_path(), refused)).collect();
    let all = parallel::try_map(&numbered, |(number, source)| {
        if let Some(refused) = refused.get(source.file.as_path()) {
            return Ok(Err((*refused).clone()));
        }
        let incoming = work(*number, source)?;
        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(incoming)
    })?;
    let mut incoming = Vec::new();
    let mut refused = Vec::new();
    for one in all {
        match one {
            Ok(taken_in) => incoming.push(taken_in),
            Err(file) => refused.push(file),
        }
    }
    own_files::refuse(refused)?;
    Ok(incoming)
}

/// Returns the file name for the copy of source number `number`.
pub(crate) fn file_name(number: usize) -> String {
    format!("in-{number}")
}

/// Hashes a file and passes its bytes to `write`. If the file must stay private, returns the reason instead.
fn hash(
    source: &Source,
    algorithms: &[Algorithm],
    own: &OwnFiles,
    mut write: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Result<TargetFile, Unpublishable>, Error> {
    let read = |error| Error::file("read", &source.file, error);
    let refused = |reason: String| Ok(Err(Unpublishable { path: source.file.clone(), reason }));
    let mut from = access::open_regular(&source.file).map_err(read)?;
    let found = from.metadata().map_err(read)?;
    // Check the opened file too, because another file may have taken its name since the first check.
    if let Some(reason) = own.reason_of(&found) {
        return refused(reason.to_string());
    }
    let listed = found.len();
    let mut scanner = (source.private_keys == PrivateKeys::Refuse).then(Scanner::default);
    let mut content = own.content();
    let mut digests: Vec<Digests> = algorithms.iter().filter_map(|algorithm| Digests::new(*algorithm)).collect();
    let mut length = 0_u64;
    // A small file needs only a small buffer. The buffer is never empty, because a read into an empty buffer looks like
    // the end of the file.
    let mut part = vec![0; usize::try_from(listed).map_or(CHUNK_SIZE, |listed| (listed + 1).min(CHUNK_SIZE))];
    loop {
        let count = from.read(&mut part).map_err(read)?;
        let Some(bytes) = part.get(..count).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        digests.iter_mut().for_each(|digest| digest.update(bytes));
        scanner.iter_mut().for_each(|scanner| scanner.update(bytes));
        content.update(bytes);
        write(bytes)?;
        length += bytes.len() as u64;
    }
    if let Some(reason) = content.reason() {
        return refused(reason.to_string());
    }
    if let Some(key) = scanner.and_then(Scanner::finish) {
        return refused(format!("contains {key}"));
    }
    let hashes = Hashes::new(digests.into_iter().map(Digests::finish)).ok_or(EditError::NoHash)?;
    check_length_of_name(&source.name, &hashes)?;
    Ok(Ok(TargetFile::new(source.name.clone(), length, hashes)))
}

/// Refuses a target if its file name is too long for common file systems. The hash prefix counts as part of the name.
pub fn check_length_of_name(path: &TargetPath, hashes: &Hashes) -> Result<(), EditError> {
    let longest = hashes.known().map(|(_, digest)| 2 * digest.len()).max().unwrap_or_default();
    let name = path.as_str().rsplit('/').next().unwrap_or_default();
    if longest + 1 + name.len() > MAX_NAME_LENGTH {
        return Err(EditError::NameTooLong { path: path.clone() });
    }
    Ok(())
}

/// Creates further copies of the incoming file in `folder`, as hard links if possible, so that there is one copy for
/// each path at which the target is published. Returns all copies as pairs: the current path, and the path in
/// `targets/`.
pub(crate) fn link_copies(
    incoming: &Incoming,
    folder: &Folder,
    names: TargetNames,
) -> Result<Vec<(PathBuf, PathBuf)>, Error> {
    let mut copies = Vec::new();
    for (number, place) in published_paths(&incoming.target, names).into_iter().enumerate() {
        if number == 0 {
            copies.push((incoming.file.clone(), place));
            continue;
        }
        let copy = incoming.file.with_extension(number.to_string());
        let from = of_file(&incoming.file)?;
        let to = of_file(&copy)?;
        let linked = disk::link_or_copy(folder.place(from), folder.place(to));
        linked.map_err(|error| Error::file("copy", &incoming.file, error))?;
        copies.push((copy, place));
    }
    Ok(copies)
}

pub(crate) enum Digests {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Digests {
    pub(crate) fn new(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::Sha256 => Some(Self::Sha256(Sha256::new())),
            Algorithm::Sha384 => Some(Self::Sha384(Sha384::new())),
            Algorithm::Sha512 => Some(Self::Sha512(Sha512::new())),
            _ => None,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(digest) => digest.update(bytes),
            Self::Sha384(digest) => digest.update(bytes),
            Self::Sha512(digest) => digest.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> (Algorithm, Vec<u8>) {
        match self {
            Self::Sha256(digest) => (Algorithm::Sha256, digest.finalize().to_vec()),
            Self::Sha384(digest) => (Algorithm::Sha384, digest.finalize().to_vec()),
            Self::Sha512(digest) => (Algorithm::Sha512, digest.finalize().to_vec()),
        }
    }
}

/// Reads a file in parts and passes each part to `each`, until `each` returns false. Returns `None` if the file does
/// not exist.
pub(crate) fn read_parts(path: &Path, mut each: impl FnMut(&[u8]) -> bool) -> Result<Option<()>, Error> {
    let mut file: File = match access::open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("read", path, error)),
    };
    let mut part = vec![0; CHUNK_SIZE];
    loop {
        let count = file.read(&mut part).map_err(|error| Error::file("read", path, error))?;
        match part.get(..count) {
            Some(bytes) if count > 0 && each(bytes) => {}
            _ => return Ok(Some(())),
        }
    }
}
