//! A store in a directory. The metadata file of each trusted role is stored unchanged, under its unversioned name. The
//! private folder `state` contains the root history, the record of trusted versions, the identity, the evidence for
//! packages and the locks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use lastmile_metadata::{Accepted, FileContent, RoleName};
use sha2::{Digest, Sha256};

use crate::error::LocalError;
use crate::open_directory::{OpenDirectory, PRIVATE};
use crate::store::large::{LargeBytes, LargeFile};
use crate::store::{LockKind, Store, StoreLock, StoredFile};
use crate::text::printable_path;

const STATE: &str = "state";

/// The maximum length, in bytes, of a role's file name. A longer name is replaced by its hash, because file systems
/// allow at most 255 bytes.
const MAX_NAME_LENGTH: usize = 200;

/// The default of [`DirectoryStore::large_from`].
const LARGE: u64 = 8 * 1024 * 1024;

/// A store for the trusted metadata of one repository in its own directory.
///
/// The trusted metadata of a role is stored in `DIR/ROLE.json`. In the role's name, every byte except ASCII letters,
/// digits, `_`, `.`, `-` and `~` is percent-encoded. Directories are created with mode 0700, files with mode 0600.
#[derive(Debug)]
pub struct DirectoryStore {
    path: PathBuf,
    access: Access,
    large_from: u64,
    /// Whether this value has already removed temporary files that earlier processes abandoned.
    is_cleaned: AtomicBool,
}

#[derive(Debug)]
enum Access {
    ReadWrite {
        roles: OpenDirectory,
        state: OpenDirectory,
    },
    /// Folders are never created. A folder that does not exist counts as empty.
    ReadOnly {
        roles: Option<OpenDirectory>,
        state: Option<OpenDirectory>,
    },
}

impl DirectoryStore {
    /// Opens the store in the directory `path`, and creates the store if it does not exist.
    ///
    /// # Errors
    ///
    /// Any I/O error. It is also an error if other users can change the directory or its folder `state`, or if `state`
    /// is a symbolic link: other users could then remove the record of trusted versions, and without this record, the
    /// client cannot detect a rollback.
    pub fn open(path: impl AsRef<Path>) -> Result<DirectoryStore, LocalError> {
        let path = path.as_ref().to_owned();
        let roles = OpenDirectory::make(&path, PRIVATE)?;
        roles.ensure_unwritable()?;
        let state = roles.enter_or_make(STATE, PRIVATE)?;
        state.ensure_unwritable()?;
        Ok(DirectoryStore::with_access(path, Access::ReadWrite { roles, state }))
    }

    /// Opens the store in the directory `path` for reading. Never writes or creates anything, even if the store does
    /// not exist, so this function works on a read-only file system.
    ///
    /// # Errors
    ///
    /// The same errors as [`DirectoryStore::open`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<DirectoryStore, LocalError> {
        let path = path.as_ref().to_owned();
        let failed = |error| LocalError::new("open", &path, error).naming_the_owner();
        let is_there = path.try_exists().map_err(failed)?;
        let roles = if is_there { Some(OpenDirectory::open(&path)?) } else { None };
        let state = match &roles {
            Some(roles) => roles.enter(STATE)?,
            None => None,
        };
        [&roles, &state].into_iter().flatten().try_for_each(OpenDirectory::ensure_unwritable)?;
        Ok(DirectoryStore::with_access(path, Access::ReadOnly { roles, state }))
    }

    fn with_access(path: PathBuf, access: Access) -> DirectoryStore {
        DirectoryStore { path, access, large_from: LARGE, is_cleaned: AtomicBool::new(false) }
    }

    /// Sets the minimum length, in bytes, of a large role. The client reads large roles in parts and does not hold them
    /// in memory. Verification reads the file of a large role once and needs little memory. Finding a target in a large
    /// role takes a few milliseconds. The default is 8 MiB.
    #[must_use]
    pub fn large_from(mut self, bytes: u64) -> DirectoryStore {
        self.large_from = bytes;
        self
    }

    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the time at which the trusted metadata of `role` was last replaced, according to this machine's clock.
    /// Returns `None` if no metadata of the role is stored.
    #[must_use]
    pub fn replaced_at(&self, role: &RoleName) -> Option<SystemTime> {
        let file = self.folders().0?.open_file(&role_file(role)).ok()??;
        file.metadata().ok()?.modified().ok()
    }

    fn folders(&self) -> (Option<&OpenDirectory>, Option<&OpenDirectory>) {
        match &self.access {
            Access::ReadWrite { roles, state } => (Some(roles), Some(state)),
            Access::ReadOnly { roles, state } => (roles.as_ref(), state.as_ref()),
        }
    }

    fn folder_for(&self, file: &StoredFile) -> Option<&OpenDirectory> {
        let (roles, state) = self.folders();
        if matches!(file, StoredFile::Role(_)) { roles } else { state }
    }

    fn writable_for(&self, file: &StoredFile) -> Result<&OpenDirectory, LocalError> {
        match self.folder_for(file) {
            Some(folder) if matches!(self.access, Access::ReadWrite { .. }) => Ok(folder),
            _ => {
                let error = std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem);
                Err(LocalError::new("write to the read-only store in", &self.path, error))
            }
        }
    }
}

impl Store for DirectoryStore {
    fn read(&self, file: &StoredFile, max_length: u64) -> Result<Option<Vec<u8>>, LocalError> {
        match self.folder_for(file) {
            Some(folder) => folder.read(&name_of(file), max_length),
            None => Ok(None),
        }
    }

    fn open(&self, file: &StoredFile, max_length: u64) -> Result<Option<FileContent>, LocalError> {
        let folder = self.folder_for(file);
        let name = name_of(file);
        if let Some(opened) = folder.map(|folder| folder.open_file(&name)).transpose()?.flatten() {
            let length = opened.metadata().map(|found| found.len()).unwrap_or(0);
            if (self.large_from..=max_length).contains(&length) {
                return Ok(Some(FileContent::File(Arc::new(LargeFile::new(opened, length)))));
            }
        }
        Ok(self.read(file, max_length)?.map(FileContent::Bytes))
    }

    fn hold(&self, bytes: Vec<u8>) -> FileContent {
        if bytes.len() as u64 >= self.large_from {
            return FileContent::File(Arc::new(LargeBytes::new(bytes)));
        }
        FileContent::Bytes(bytes)
    }

    fn write(&self, file: &StoredFile, bytes: &[u8]) -> Result<(), LocalError> {
        self.writable_for(file)?.write(&name_of(file), bytes, PRIVATE)
    }

    fn keep(&self, file: &StoredFile, kept: &Accepted) -> Result<(), LocalError> {
        match kept {
            Accepted::Received(bytes) => self.write(file, bytes),
            Accepted::File(parts) => self.writable_for(file)?.write_parts(&name_of(file), &**parts, PRIVATE),
        }
    }

    fn remove(&self, file: &StoredFile) -> Result<(), LocalError> {
        self.writable_for(file)?.remove(&name_of(file))
    }

    fn try_lock(&self, kind: LockKind) -> Result<Option<StoreLock>, LocalError> {
        let name = match kind {
            LockKind::Files => "lock",
            LockKind::Refresh => "refresh.lock",
        };
        match &self.access {
            Access::ReadWrite { roles, state } => {
                let Some(lock) = state.try_lock(name)? else { return Ok(None) };
                if kind == LockKind::Files && !self.is_cleaned.swap(true, Ordering::Relaxed) {
                    roles.remove_leftovers()?;
                    state.remove_leftovers()?;
                }
                Ok(Some(Box::new(lock)))
            }
            // Without a lock file, no process can hold the lock, so continue. Also continue if the lock file cannot be
            // opened or locked, for example on a file system without locks.
            Access::ReadOnly { state, .. } => match state.as_ref().map(|state| state.try_existing_lock(name)) {
                Some(Ok(None)) => Ok(None),
                Some(Ok(Some(lock))) => Ok(Some(Box::new(lock))),
                None | Some(Err(_)) => Ok(Some(Box::new(()))),
            },
        }
    }

    fn description(&self) -> String {
        format!("`{}`", printable_path(&self.path))
    }
}

fn name_of(file: &StoredFile) -> String {
    match file {
        StoredFile::Role(role) => role_file(role),
        StoredFile::Root(version) => RoleName::ROOT.file_name(Some(*version)),
        StoredFile::Floors => "floors".to_owned(),
        StoredFile::Identity => "stamp.json".to_owned(),
        StoredFile::Evidence(sha256) => format!("evidence-{}", hex::encode(sha256)),
        StoredFile::EvidenceIndex => "evidence".to_owned(),
    }
}

fn role_file(role: &RoleName) -> String {
    let name = role.file_name(None);
    if name.len() <= MAX_NAME_LENGTH {
        return name;
    }
    // No percent-encoded name starts with `%.`, so this name cannot collide with the file of another role.
    format!("%.sha256-{}.json", hex::encode(Sha256::digest(role.as_str())))
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::Duration;

    use lastmile_metadata::Version;

    use super::*;

    fn role(name: &str) -> StoredFile {
        StoredFile::Role(RoleName::listed(name).unwrap())
    }

    #[test]
    fn roles_are_in_the_directory_and_other_files_in_the_private_folder() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(dir.path().join("m")).unwrap();
        for file in
            [role("root"), role("a/b é"), StoredFile::Root(Version::ONE), StoredFile::Floors, StoredFile::Identity]
        {
            store.write(&file, b"{}").unwrap();
            assert_eq!(store.read(&file, 2).unwrap().unwrap(), b"{}");
        }
        let mut found: Vec<_> = walk(&dir.path().join("m"));
        found.sort();
        assert_eq!(
            found,
            ["a%2Fb%20%C3%A9.json", "root.json", "state/1.root.json", "state/floors", "state/stamp.json"]
        );
    }

    fn walk(dir: &Path) -> Vec<String> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                names.extend(walk(&entry.path()).iter().map(|inner| format!("{name}/{inner}")));
            } else {
                names.push(name);
            }
        }
        names
    }

    #[test]
    fn hostile_role_names_cannot_leave_the_directory_or_collide() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(dir.path().join("m")).unwrap();
        let long = "x".repeat(5000);
        let longer = "x".repeat(5001);
        let hostile = ["..", "../../x", "/etc/x", "a\0b", "CON", "%2e", ".", &long, &longer];
        for name in hostile {
            store.write(&role(name), name.as_bytes()).unwrap();
        }
        for name in hostile {
            assert_eq!(store.read(&role(name), 9999).unwrap().unwrap(), name.as_bytes());
        }
        let outside: Vec<_> = walk(dir.path()).into_iter().filter(|n| !n.starts_with("m/")).collect();
        assert!(outside.is_empty(), "{outside:?}");
    }

    #[test]
    fn leftovers_of_a_crash_are_removed_under_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(dir.path()).unwrap();
        let leftover = dir.path().join(".lastmile-0123456789ab.part");
        // A store removes abandoned temporary files only when it takes the lock `LockKind::Files` for the first time.
        for (kind, stays) in [(LockKind::Refresh, true), (LockKind::Files, false), (LockKind::Files, true)] {
            std::fs::write(&leftover, b"half").unwrap();
            drop(store.try_lock(kind).unwrap());
            assert_eq!(leftover.exists(), stays, "{kind:?}");
        }
    }

    #[test]
    fn a_second_opener_waits_for_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(dir.path()).unwrap();
        let held = store.try_lock(LockKind::Files).unwrap();
        assert!(held.is_some());
        let other = DirectoryStore::open(dir.path()).unwrap();
        assert!(other.try_lock(LockKind::Files).unwrap().is_none());
        let reader = DirectoryStore::open_read_only(dir.path()).unwrap();
        assert!(reader.try_lock(LockKind::Files).unwrap().is_none());
        assert!(other.try_lock(LockKind::Refresh).unwrap().is_some());
    }

    #[test]
    fn opening_read_only_creates_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let store = DirectoryStore::open_read_only(&missing).unwrap();
        assert!(store.try_lock(LockKind::Files).unwrap().is_some());
        assert_eq!(store.read(&role("root"), 9).unwrap(), None);
        assert!(store.write(&role("root"), b"{}").is_err());
        assert!(store.remove(&role("root")).is_err());
        assert!(!missing.exists());
    }

    #[test]
    fn a_linked_state_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("m")).unwrap();
        symlink(dir.path(), dir.path().join("m/state")).unwrap();
        assert!(DirectoryStore::open(dir.path().join("m")).is_err());
    }

    #[test]
    fn opening_read_only_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let writer = DirectoryStore::open(dir.path()).unwrap();
        writer.write(&role("root"), b"{}").unwrap();
        let reader = DirectoryStore::open_read_only(dir.path()).unwrap();
        let parts = Accepted::File(Arc::new(LargeBytes::new(b"[]".to_vec())));
        let tried = [
            reader.write(&role("root"), b"[]"),
            reader.keep(&role("root"), &parts),
            reader.remove(&role("root")),
            reader.write(&StoredFile::Floors, b"[]"),
        ];
        assert!(tried.iter().all(Result::is_err));
        assert_eq!(reader.read(&role("root"), 9).unwrap().unwrap(), b"{}");
        assert_eq!(walk(dir.path()), ["root.json"]);
    }

    #[test]
    fn b5_a_store_that_other_users_can_change_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        drop(DirectoryStore::open(dir.path()).unwrap());
        for folder in [dir.path().to_owned(), dir.path().join(STATE)] {
            for (mode, is_safe) in [(0o755, true), (0o702, false), (0o700, true)] {
                set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
                for opened in [DirectoryStore::open(dir.path()), DirectoryStore::open_read_only(dir.path())] {
                    assert_eq!(opened.is_ok(), is_safe, "{mode:o}");
                    let hint = opened.err().and_then(|error| error.hint);
                    assert!(hint.is_none_or(|hint| hint.ends_with(&format!("`chmod go-w {}`", folder.display()))));
                }
            }
        }
    }

    #[test]
    fn the_time_of_a_role_is_that_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(dir.path()).unwrap();
        assert_eq!(store.replaced_at(&RoleName::ROOT), None);
        store.write(&role("root"), b"{}").unwrap();
        let before = std::time::SystemTime::now() - Duration::from_secs(600);
        assert!(store.replaced_at(&RoleName::ROOT).is_some_and(|replaced| replaced > before));
    }
}
