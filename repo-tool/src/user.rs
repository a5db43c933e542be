//! The configuration of the user who runs the tool. The configuration is stored outside every repository. Someone who
//! can write to a repository's folder must not be able to choose the trusted root, the private keys or the server.
//!
//! The configuration is a single file. When the tool changes a setting, it preserves the comments in the file:
//!
//! ```toml
//! [repositories.9f86d081…]                   # SHA-256 of the repository's oldest root, 1.root.json
//! pinned-root = { version = 3, sha256 = "2c26b46b…" }   # the newest root that was verified
//! metadata-url = "https://example.org/packages/metadata/"
//! keys = ["/media/usb/root-1.pem"]           # private keys outside the repository's folder
//!
//! [repositories.9f86d081….destinations.default]          # see `push/settings.rs`
//! url = "file:///srv/www/packages"
//!
//! [folders."/srv/packages"]
//! repository = "9f86d081…"                  # any other repository in this folder is refused
//! shared-with-group = "release"              # members of this group may also publish from the folder
//! ```

#[cfg(feature = "cli")]
mod monitor;
mod urls;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use lastmile_client::BaseUrl;
use lastmile_fs::disk;
use lastmile_metadata::Version;
use rustix::fs::OFlags;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value, value};

use crate::files::sharing::Sharing;
use crate::files::{access, lock};
use crate::root_digest::RootDigest;
use crate::{ConfigError, Error, PathError};

/// The maximum length in bytes of the configuration file, and of each file in which the tool stores state of the user.
const MAX_LENGTH: u64 = 16 << 20;

/// A root that the user trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedRoot {
    /// The version of the root.
    pub version: Version,
    /// The digest of the root file.
    pub digest: RootDigest,
}

/// The user's configuration file.
#[derive(Clone, Debug)]
pub struct UserConfig {
    file: Option<PathBuf>,
}

impl UserConfig {
    /// Returns the configuration that is stored in the file at this path. The file need not exist.
    #[must_use]
    pub fn at(file: &Path) -> Self {
        Self { file: Some(file.to_path_buf()) }
    }

    /// Returns an empty configuration that is not stored in a file. No root is pinned, and every change to a setting is
    /// ignored.
    #[must_use]
    pub fn none() -> Self {
        Self { file: None }
    }

    /// Returns the path of the file, for messages.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Returns the pinned root of a repository. `repository` is the digest of the oldest root of that repository.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, can be written by other users, or is invalid.
    pub fn pinned_root(&self, repository: RootDigest) -> Result<Option<PinnedRoot>, Error> {
        let document = self.read()?;
        let Some(pin) = entry(&document, repository).and_then(|entry| entry.get("pinned-root")) else {
            return Ok(None);
        };
        let member = |name: &str| pin.as_table_like().and_then(|pin| pin.get(name));
        let version = member("version").and_then(Item::as_integer).and_then(|version| u64::try_from(version).ok());
        let digest = member("sha256").and_then(Item::as_str).and_then(|digest| digest.parse().ok());
        match (version.and_then(Version::new), digest) {
            (Some(version), Some(digest)) => Ok(Some(PinnedRoot { version, digest })),
            _ => Err(self.invalid(ConfigError::PinnedRoot { repository })),
        }
    }

    /// Pins a root of a repository. `repository` is the digest of the oldest root of that repository.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or written.
    pub fn pin(&self, repository: RootDigest, root: PinnedRoot) -> Result<(), Error> {
        if self.file.is_none() || self.pinned_root(repository)? == Some(root) {
            return Ok(());
        }
        self.change("repositories", &repository.to_string(), |entry| {
            let mut pin = InlineTable::new();
            #[expect(clippy::expect_used, reason = "a `Version` is at most 2^63 - 1")]
            pin.insert("version", i64::try_from(root.version.get()).expect("a version fits").into());
            pin.insert("sha256", root.digest.to_string().into());
            entry.insert("pinned-root", value(pin));
        })
    }

    /// Returns the digest that identifies the repository in `folder`. The digest was stored when the repository's root
    /// was pinned.
    ///
    /// # Errors
    /// Returns the errors of [`UserConfig::pinned_root`].
    pub fn repository_in(&self, folder: &Path) -> Result<Option<RootDigest>, Error> {
        let document = self.read()?;
        let Some(digest) = folder_entry(&document, folder).and_then(|entry| entry.get("repository")) else {
            return Ok(None);
        };
        let digest = digest.as_str().and_then(|digest| digest.parse().ok());
        digest.map(Some).ok_or_else(|| self.invalid(ConfigError::Repository))
    }

    /// Stores the digest that identifies the repository in `folder`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or written.
    pub fn set_repository_in(&self, folder: &Path, repository: RootDigest) -> Result<(), Error> {
        if self.repository_in(folder)? == Some(repository) {
            return Ok(());
        }
        let name = real_path(folder).to_string_lossy().into_owned();
        self.change("folders", &name, |entry| {
            entry.insert("repository", value(repository.to_string()));
        })
    }

    /// Checks that the configuration can be changed. Creates the folder of the file if necessary, and briefly locks the
    /// configuration.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be created, or if the configuration cannot be locked.
    pub fn check_writable(&self) -> Result<(), Error> {
        match &self.file {
            Some(path) => lock(folder_of(path)?).map(drop),
            None => Ok(()),
        }
    }

    /// Like [`UserConfig::check_writable`], but for dry runs: creates neither the folder nor the lock file.
    pub(crate) fn check_creatable(&self) -> Result<(), Error> {
        self.file.as_deref().and_then(Path::parent).map_or(Ok(()), access::check_creatable)
    }

    /// Returns the URL from which the metadata is served, or `None` if no URL is configured.
    ///
    /// # Errors
    /// Returns the errors of [`UserConfig::pinned_root`], and [`Error::Config`] if the value is not a valid base URL.
    pub fn metadata_url(&self, repository: RootDigest) -> Result<Option<BaseUrl>, Error> {
        let document = self.read()?;
        let url = entry(&document, repository).and_then(|entry| entry.get("metadata-url"));
        let Some(url) = url else { return Ok(None) };
        let url = url.as_str().ok_or_else(|| self.invalid(ConfigError::MetadataUrl))?;
        BaseUrl::new(url).map(Some).map_err(|error| self.invalid(ConfigError::InvalidMetadataUrl(error)))
    }

    /// Stores the URL from which the metadata is served.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or written.
    pub fn set_metadata_url(&self, repository: RootDigest, url: &BaseUrl) -> Result<(), Error> {
        self.change("repositories", &repository.to_string(), |entry| {
            entry.insert("metadata-url", value(url.as_str()));
        })
    }

    /// Returns the private key files outside the repository's folder that the user has allowed for this repository.
    ///
    /// # Errors
    /// Returns the errors of [`UserConfig::pinned_root`].
    pub fn keys(&self, repository: RootDigest) -> Result<Vec<PathBuf>, Error> {
        let document = self.read()?;
        let Some(keys) = entry(&document, repository).and_then(|entry| entry.get("keys")) else {
            return Ok(Vec::new());
        };
        let keys = keys.as_array().ok_or_else(|| self.invalid(ConfigError::KeyList))?;
        Ok(keys.iter().filter_map(Value::as_str).map(PathBuf::from).collect())
    }

    /// Allows the use of a private key file outside the repository's folder.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or written.
    pub fn allow_key(&self, repository: RootDigest, key: &Path) -> Result<(), Error> {
        if self.file.is_none() || self.keys(repository)?.iter().any(|known| known == key) {
            return Ok(());
        }
        let Some(text) = key.to_str() else {
            return Err(PathError::NotUtf8 { path: key.to_path_buf() }.into());
        };
        self.change("repositories", &repository.to_string(), |entry| {
            let keys = entry.entry("keys").or_insert_with(|| value(Array::new()));
            if let Some(keys) = keys.as_array_mut() {
                keys.push(text);
            }
        })
    }

    /// Returns the name or the ID of the group with which the user shares the repository in `folder`.
    ///
    /// # Errors
    /// Returns the errors of [`UserConfig::pinned_root`].
    pub fn shared_with_group(&self, folder: &Path) -> Result<Option<String>, Error> {
        let document = self.read()?;
        let Some(group) = folder_entry(&document, folder).and_then(|entry| entry.get("shared-with-group")) else {
            return Ok(None);
        };
        match (group.as_str(), group.as_integer()) {
            (Some(name), _) => Ok(Some(name.to_string())),
            (None, Some(number)) => Ok(Some(number.to_string())),
            (None, None) => Err(self.invalid(ConfigError::Group)),
        }
    }

    /// Returns the users who may change the repository in `folder`: only this user, or also the members of a group.
    ///
    /// # Errors
    /// Returns the errors of [`UserConfig::shared_with_group`], and [`Error::Config`] if the group does not exist.
    pub fn sharing(&self, folder: &Path) -> Result<Sharing, Error> {
        let Some(group) = self.shared_with_group(folder)? else { return Ok(Sharing::Private) };
        match group.parse().ok().or_else(|| group_number(&group)) {
            Some(number) => Ok(Sharing::Group(number)),
            None => Err(self.invalid(ConfigError::NoSuchGroup { group })),
        }
    }

    pub(crate) fn read(&self) -> Result<DocumentMut, Error> {
        let Some(path) = &self.file else { return Ok(DocumentMut::new()) };
        let Some(text) = read_own(path)? else { return Ok(DocumentMut::new()) };
        text.parse().map_err(|error| self.invalid(ConfigError::Toml { text: position_and_message(&text, &error) }))
    }

    pub(crate) fn change(
        &self,
        section: &'static str,
        name: &str,
        change: impl FnOnce(&mut Table),
    ) -> Result<(), Error> {
        let Some(path) = &self.file else { return Ok(()) };
        let _lock = lock(folder_of(path)?)?;
        // The file may be a link, for example into a folder with version control. Replace the file, not the link.
        let path = &real_file(path)?;
        let folder = folder_of(path)?;
        let mut document = self.read()?;
        let mut implicit = Table::new();
        implicit.set_implicit(true);
        let all = document.entry(section).or_insert(Item::Table(implicit));
        let entry = all.as_table_mut().map(|all| all.entry(name).or_insert_with(|| Item::Table(Table::new())));
        let entry = entry.and_then(Item::as_table_mut);
        change(entry.ok_or_else(|| self.invalid(ConfigError::NoTable { section }))?);
        let create = |path: &Path| disk::create(path, 0o600);
        let (mut file, new) = disk::create_unique(folder, ".config-", "", create)
            .map_err(|error| Error::file("create a file in", folder, error))?;
        let written = file.write_all(document.to_string().as_bytes()).and_then(|()| file.sync());
        let replaced = written.and_then(|()| file.keep_owner(path)).and_then(|()| disk::rename(&new, path));
        if let Err(error) = replaced {
            let _ = disk::remove(&new);
            return Err(Error::file("write", path, error));
        }
        access::sync_folder(folder)
    }

    pub(crate) fn invalid(&self, reason: ConfigError) -> Error {
        Error::Config { path: self.file.clone().unwrap_or_default(), reason }
    }
}

/// Creates the folder of the configuration file if it does not exist.
fn folder_of(path: &Path) -> Result<&Path, Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    disk::make_folders(folder, 0o700).map_err(|error| Error::file("create", folder, error))?;
    Ok(folder)
}

/// Resolves all symbolic links in `path`. If nothing exists at `path`, returns `path` unchanged.
///
/// # Errors
/// [`Error::File`] if `path` is a link to a file that does not exist.
fn real_file(path: &Path) -> Result<PathBuf, Error> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(path.to_path_buf()),
        found => found.map_err(|error| Error::file("follow the link", path, error)),
    }
}

/// Leaves out the line that the parser's own error message quotes, because the line may contain a secret, such as the
/// URL to which notifications are sent.
fn position_and_message(text: &str, error: &toml_edit::TomlError) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.split('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {}", error.message())
}

fn real_path(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf())
}

fn folder_entry<'d>(document: &'d DocumentMut, folder: &Path) -> Option<&'d dyn toml_edit::TableLike> {
    let folders = document.get("folders")?.as_table_like()?;
    let wanted = real_path(folder);
    let (_, entry) = folders.iter().find(|(name, _)| Path::new(name) == wanted)?;
    entry.as_table_like()
}

/// Returns the ID that `/etc/group` lists for the group with this name.
fn group_number(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let mut fields = groups.lines().map(|line| line.split(':'));
    fields.find_map(|mut fields| (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten())
}

pub(crate) fn entry(document: &DocumentMut, repository: RootDigest) -> Option<&dyn toml_edit::TableLike> {
    document.get("repositories")?.as_table_like()?.get(&repository.to_string())?.as_table_like()
}

/// If another command of this user holds the lock, waits until that command releases it.
fn lock(folder: &Path) -> Result<File, Error> {
    lock::lock(&folder.join(".lastmile-repo.lock"))
}

/// Reads a file. Returns `None` if the file does not exist. The file must belong to this user or to the superuser, and
/// nobody else may be able to write to it. Symbolic links are followed, because the user specified the file.
pub(crate) fn read_own(path: &Path) -> Result<Option<String>, Error> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(Error::file("read", path, error)),
    };
    let found = file.metadata().map_err(|error| Error::file("read", path, error))?;
    if !found.is_file() {
        return Err(PathError::NoRegularFile { path: path.to_path_buf() }.into());
    }
    access::ensure_unwritable(&file, path)?;
    let bytes = access::read_at_most(file, path, MAX_LENGTH)?;
    let text = String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()));
    text.map(Some).map_err(|error| Error::file("read", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_url(file: &Path) -> Result<(), Error> {
        let url = BaseUrl::new("https://example.org/metadata/").unwrap();
        UserConfig::at(file).set_metadata_url(RootDigest::of(b"root"), &url)
    }

    #[test]
    fn a_file_that_is_too_long_is_neither_read_nor_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        let long = format!("# {}\n[folders.a]\n", "x".repeat(16 << 20));
        std::fs::write(&file, &long).unwrap();
        let refused = set_url(&file);
        assert!(matches!(refused, Err(Error::Path(PathError::TooLong { .. }))), "{refused:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), long);
    }

    #[test]
    fn a_change_is_written_to_the_file_to_which_a_link_points() {
        let folder = tempfile::tempdir().unwrap();
        let dotfiles = folder.path().join("dotfiles");
        std::fs::create_dir(&dotfiles).unwrap();
        let real = dotfiles.join("lastmile.toml");
        let link = folder.path().join("config.toml");
        std::os::unix::fs::symlink("dotfiles/lastmile.toml", &link).unwrap();
        // If the link points to a missing file, for example on a drive that is not mounted, the change fails.
        assert!(matches!(set_url(&link), Err(Error::File { .. })));
        std::fs::write(&real, "# comment\n").unwrap();
        set_url(&link).unwrap();
        assert!(link.is_symlink());
        let text = std::fs::read_to_string(&real).unwrap();
        assert!(text.contains("# comment\n") && text.contains("https://example.org/metadata/"), "{text}");
    }

    #[test]
    fn a_syntax_error_does_not_quote_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, "[monitor]\nurl = \"https://hooks.example.org/secret\" x\n").unwrap();
        let error = UserConfig::at(&file).read().unwrap_err();
        let Error::Config { reason: ConfigError::Toml { text }, .. } = error else { panic!("{error}") };
        assert!(text.starts_with("line 2, column 42: ") && !text.contains("secret"), "{text}");
    }
}
