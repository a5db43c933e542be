//! The packages that cargo downloaded to build this program. Cargo.lock contains independently computed hashes of these
//! packages.

use std::path::{Path, PathBuf};

use lastmile_cli_support::Environment;
use sha2::{Digest as _, Sha256};
use toml_edit::DocumentMut;

use crate::Error;

const LOCK_FILE: &str = include_str!("../../../Cargo.lock");

pub(super) struct Package {
    /// The file name, `NAME-VERSION.crate`.
    pub(super) file: String,
    path: PathBuf,
    sha256: String,
}

impl Package {
    /// Returns whether `folder` contains this package with the checksum from Cargo.lock.
    pub(super) fn is_at(&self, folder: &Path) -> bool {
        std::fs::read(folder.join(&self.file)).is_ok_and(|bytes| hex::encode(Sha256::digest(bytes)) == self.sha256)
    }
}

/// Returns the packages of Cargo.lock that are in cargo's cache.
pub(super) fn of_this_build(env: &Environment) -> Result<Vec<Package>, Error> {
    let caches = caches(env);
    let lock: DocumentMut =
        LOCK_FILE.parse().map_err(|error| Error::Failed(format!("cannot parse Cargo.lock: {error}")))?;
    let locked = lock.get("package").and_then(|packages| packages.as_array_of_tables()).into_iter().flatten();
    let packages: Vec<Package> = locked
        .filter_map(|package| {
            let text = |name| package.get(name).and_then(|value| value.as_str());
            let name = text("name")?;
            let version = text("version")?;
            let sha256 = text("checksum")?;
            let file = format!("{name}-{version}.crate");
            let path = caches.iter().map(|cache| cache.join(&file)).find(|path| path.is_file())?;
            Some(Package { file, path, sha256: sha256.to_string() })
        })
        .collect();
    if packages.len() < 10 {
        return Err(Error::Absent(
            "cargo's cache lacks the packages that this program was built from: run `cargo demo` in the project's folder".into(),
        ));
    }
    Ok(packages)
}

/// Returns cargo's download caches, one for each registry.
fn caches(env: &Environment) -> Vec<PathBuf> {
    let home = env("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env("HOME")?).join(".cargo")));
    let folders = home.and_then(|home| std::fs::read_dir(home.join("registry/cache")).ok());
    folders.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

pub(super) fn link(packages: &[Package], folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|error| Error::file("create", folder, error))?;
    packages.iter().try_for_each(|package| super::copies::link_or_copy(&package.path, &folder.join(&package.file)))
}
