//! The trusted repositories. Each repository has a name and its own folder with the shipped root, the settings and the
//! store, so the files of two repositories are never mixed.

use std::fmt;
use std::path::{Path, PathBuf};

use lastmile_fs::disk;
use lastmile_metadata::{TargetNames, TargetPath};
use serde::{Deserialize, Serialize};

use crate::error::LocalError;
use crate::open_directory::{OpenDirectory, PRIVATE};
use crate::store::directory::DirectoryStore;

const SHIPPED_ROOT: &str = "shipped-root.json";
const SETTINGS: &str = "settings.json";
const METADATA: &str = "metadata";

/// The format version of the settings files that this program writes. The program refuses files with another format
/// version.
const FORMAT: u32 = 1;

/// The maximum length of a settings file in bytes.
const MAX_SETTINGS_LENGTH: u64 = 1024 * 1024;

/// The name that the user chose for a repository: up to 64 characters of `A–Z a–z 0–9 . _ -`, starting and ending with
/// a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RepositoryName(String);

impl RepositoryName {
    #[must_use]
    pub(crate) fn new(name: &str) -> Option<RepositoryName> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        let is_well_formed =
            bytes.len() <= 64 && bytes.iter().copied().all(inner) && outer(bytes.first()) && outer(bytes.last());
        // Refuse names such as `CON`, which some systems reserve for devices.
        let is_a_file = TargetPath::new(name).is_ok_and(|path| path.file_path().is_ok());
        (is_well_formed && is_a_file).then(|| RepositoryName(name.to_owned()))
    }

    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URLs of a mirror as stored in the settings. URLs stored by an earlier version of this program may be unusable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MirrorUrls {
    pub(crate) metadata_url: String,
    pub(crate) targets_url: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RepositorySettings {
    /// The mirrors, in order of priority.
    pub(crate) mirrors: Vec<MirrorUrls>,
    /// Whether HTTP 403 means "not found" (decision D2 in docs/pouf.md).
    pub(crate) forbidden_means_absent: bool,
    /// Whether targets are fetched as `HASH.NAME` if the repository uses consistent snapshots (spec 5.7.3).
    pub(crate) hash_prefixed_targets: bool,
    /// The absolute path of the file with the local policy, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<PathBuf>,
}

impl RepositorySettings {
    pub(crate) fn target_names(&self) -> TargetNames {
        if self.hash_prefixed_targets { TargetNames::HashPrefixed } else { TargetNames::Plain }
    }
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    #[serde(flatten)]
    settings: RepositorySettings,
}

#[derive(Debug, Clone)]
pub(crate) struct Repository {
    pub(crate) name: RepositoryName,
    /// The root metadata file passed to `trust add`. All other metadata is verified starting from this file.
    pub(crate) shipped_root: Vec<u8>,
    pub(crate) settings: RepositorySettings,
    folder: PathBuf,
}

impl Repository {
    /// Creates the store if it does not exist.
    pub(crate) fn store(&self) -> Result<DirectoryStore, LocalError> {
        DirectoryStore::open(self.folder.join(METADATA))
    }

    pub(crate) fn read_only_store(&self) -> Result<DirectoryStore, LocalError> {
        DirectoryStore::open_read_only(self.folder.join(METADATA))
    }

    /// Removes the record of trusted versions, and all trusted metadata except the shipped root. The next refresh
    /// cannot detect a rollback.
    pub(crate) fn forget(&self) -> Result<(), LocalError> {
        remove_all(&self.folder.join(METADATA))
    }
}

/// The directory with all trusted repositories.
#[derive(Debug, Clone)]
pub(crate) struct Repositories {
    path: PathBuf,
}

impl Repositories {
    /// The directory `path` need not exist; [`add`](Repositories::add) creates it.
    #[must_use]
    pub(crate) fn at(path: impl Into<PathBuf>) -> Repositories {
        Repositories { path: path.into() }
    }

    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the names of all repositories, sorted.
    pub(crate) fn names(&self) -> Result<Vec<RepositoryName>, LocalError> {
        let mut names = Vec::new();
        let Some(all) = self.folder()? else { return Ok(names) };
        for name in all.names()? {
            let name = name.to_str().and_then(RepositoryName::new);
            // Skip a folder without settings: it was left behind by an interrupted `trust add` or `trust remove`.
            // Return an error if it is unknown whether the settings exist, for example because the folder belongs to
            // another user.
            if let Some(name) = name
                && is_file(&self.path.join(name.as_str()).join(SETTINGS))?
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Returns an error if other users can change the directories or files of the repository, because these users could
    /// choose the trusted root and the mirrors.
    pub(crate) fn open(&self, name: &RepositoryName, longest_root: u64) -> Result<Option<Repository>, LocalError> {
        let Some(all) = self.folder()? else { return Ok(None) };
        let Some(folder) = all.enter(name.as_str())? else { return Ok(None) };
        all.ensure_unwritable()?;
        folder.ensure_unwritable()?;
        let Some(settings) = folder.read_unwritable(SETTINGS, MAX_SETTINGS_LENGTH)? else { return Ok(None) };
        let path = folder.path_of(SETTINGS);
        let unreadable = |problem: String| {
            LocalError::invalid("use", &path, problem)
                .with_hint(format!("remove it with `lastmile trust remove {name}` and add it again"))
        };
        let written: Written = serde_json::from_slice(&settings).map_err(|error| unreadable(error.to_string()))?;
        if written.format != FORMAT {
            return Err(unreadable(format!(
                "it has format {}, but this version of the program supports only format {FORMAT}",
                written.format
            )));
        }
        let shipped_root = folder
            .read_unwritable(SHIPPED_ROOT, longest_root)?
            .ok_or_else(|| unreadable(format!("`{SHIPPED_ROOT}` is missing from the folder of the settings")))?;
        Ok(Some(Repository {
            name: name.clone(),
            shipped_root,
            settings: written.settings,
            folder: self.path.join(name.as_str()),
        }))
    }

    /// Returns an error if a repository with the same name already exists. The comparison of names ignores case.
    pub(crate) fn add(
        &self,
        name: &RepositoryName,
        shipped_root: &[u8],
        settings: &RepositorySettings,
    ) -> Result<Repository, LocalError> {
        let taken = self.names()?.into_iter().find(|taken| taken.0.eq_ignore_ascii_case(&name.0));
        if let Some(taken) = taken {
            let problem = format!("the repository `{taken}` is already trusted");
            return Err(LocalError::invalid("add", name.as_str(), problem).with_hint(format!(
                "choose another name, or remove that repository with `lastmile trust remove {taken}`"
            )));
        }
        let folder = OpenDirectory::make(&self.path, PRIVATE)?.enter_or_make(name.as_str(), PRIVATE)?;
        folder.write(SHIPPED_ROOT, shipped_root, PRIVATE)?;
        let folder_path = self.path.join(name.as_str());
        // An interrupted `trust remove` may have left a store in this folder.
        remove_all(&folder_path.join(METADATA))?;
        write_settings(&folder, settings)?;
        Ok(Repository {
            name: name.clone(),
            shipped_root: shipped_root.to_vec(),
            settings: settings.clone(),
            folder: folder_path,
        })
    }

    /// Writes `repository.settings`. The trusted metadata of the repository stays unchanged.
    pub(crate) fn set(&self, repository: &Repository) -> Result<(), LocalError> {
        match OpenDirectory::open(&self.path)?.enter(repository.name.as_str())? {
            Some(folder) => write_settings(&folder, &repository.settings),
            None => {
                Err(LocalError::new("open", &repository.folder, std::io::Error::from(std::io::ErrorKind::NotFound)))
            }
        }
    }

    /// Returns `None` if the directory does not exist, and an error if its existence cannot be determined.
    fn folder(&self) -> Result<Option<OpenDirectory>, LocalError> {
        let failed = |error| LocalError::new("open", &self.path, error).naming_the_owner();
        let is_there = self.path.try_exists().map_err(failed)?;
        if is_there { OpenDirectory::open(&self.path).map(Some) } else { Ok(None) }
    }

    pub(crate) fn remove(&self, name: &RepositoryName) -> Result<(), LocalError> {
        let all = OpenDirectory::open(&self.path)?;
        if let Some(folder) = all.enter(name.as_str())? {
            folder.remove(SETTINGS)?;
            remove_all(&self.path.join(name.as_str()))?;
        }
        Ok(())
    }
}

fn write_settings(folder: &OpenDirectory, settings: &RepositorySettings) -> Result<(), LocalError> {
    let written = Written { format: FORMAT, settings: settings.clone() };
    let text = serde_json::to_vec_pretty(&written)
        .map_err(|error| LocalError::invalid("write", folder.path_of(SETTINGS), error.to_string()))?;
    folder.write(SETTINGS, &text, PRIVATE)
}

/// Unlike [`Path::is_file`], returns an error if it is unknown whether the file exists.
fn is_file(path: &Path) -> Result<bool, LocalError> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match path.metadata() {
        Ok(found) => Ok(found.is_file()),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(false),
        Err(error) => Err(LocalError::new("read", path, error).naming_the_owner()),
    }
}

/// Links are removed, not followed.
fn remove_all(path: &Path) -> Result<(), LocalError> {
    match disk::remove_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LocalError::new("remove", path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> RepositorySettings {
        RepositorySettings {
            mirrors: vec![MirrorUrls { metadata_url: "http://h/m/".into(), targets_url: "http://h/t/".into() }],
            forbidden_means_absent: true,
            hash_prefixed_targets: false,
            policy: None,
        }
    }

    fn name(name: &str) -> RepositoryName {
        RepositoryName::new(name).unwrap()
    }

    #[test]
    fn repository_names_are_plain_and_cannot_leave_the_folder() {
        let long = "x".repeat(65);
        for refused in [
            "", ".", "..", ".x", "x.", "-x", "a/b", "a\\b", "../x", "/x", "a b", "é", "CON", "nul", "com1.x", "a:b",
            "a\0", "~", "$(x)", &long,
        ] {
            assert_eq!(RepositoryName::new(refused), None, "{refused:?}");
        }
        for kept in ["a", "A.b_c-1", "example.org", "2"] {
            assert!(RepositoryName::new(kept).is_some(), "{kept}");
        }
    }

    #[test]
    fn an_added_repository_exists_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let all = Repositories::at(dir.path().join("state"));
        assert!(all.names().unwrap().is_empty());
        assert!(all.open(&name("one"), 99).unwrap().is_none());
        all.add(&name("two"), b"root 2", &settings()).unwrap();
        all.add(&name("one"), b"root 1", &settings()).unwrap();
        assert_eq!(all.names().unwrap(), [name("one"), name("two")]);
        let one = all.open(&name("one"), 99).unwrap().unwrap();
        assert_eq!((one.shipped_root.as_slice(), &one.settings), (&b"root 1"[..], &settings()));
        all.remove(&name("one")).unwrap();
        assert_eq!(all.names().unwrap(), [name("two")]);
    }

    #[test]
    fn a_taken_name_is_refused_in_any_case() {
        let dir = tempfile::tempdir().unwrap();
        let all = Repositories::at(dir.path());
        all.add(&name("Name"), b"root", &settings()).unwrap();
        assert!(all.add(&name("name"), b"root", &settings()).is_err());
    }

    #[test]
    fn settings_of_another_format_are_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let all = Repositories::at(dir.path());
        all.add(&name("x"), b"root", &settings()).unwrap();
        let path = dir.path().join("x/settings.json");
        let text = std::fs::read_to_string(&path).unwrap().replace("\"format\": 1", "\"format\": 2");
        std::fs::write(&path, &text).unwrap();
        assert!(all.open(&name("x"), 99).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_linked_repository_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let all = Repositories::at(dir.path());
        all.add(&name("x"), b"root", &settings()).unwrap();
        std::os::unix::fs::symlink("x", dir.path().join("y")).unwrap();
        assert!(all.open(&name("y"), 99).is_err());
    }
}
