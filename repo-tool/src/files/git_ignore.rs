//! The `.gitignore` file of a new repository, which prevents accidental commits of private keys and working files.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::files::access;
use crate::files::layout::Layout;

const HEAD: &str = "# Private keys and working files of lastmile-repo. Never commit or serve them.\n";

fn path(layout: &Layout) -> PathBuf {
    layout.dir().join(".gitignore")
}

fn patterns(layout: &Layout, keys: &Path) -> Result<Vec<String>, Error> {
    let mut patterns: Vec<String> = ["/keys/", "/.publishing*", "/.queue*", "/.lock"].map(ToString::to_string).into();
    let canonical = |path: &Path| path.canonicalize().map_err(|error| Error::file("find", path, error));
    if let Ok(inside) = canonical(keys)?.strip_prefix(canonical(layout.dir())?)
        && inside != Path::new("keys")
    {
        patterns.push(format!("/{}/", inside.to_string_lossy()));
    }
    Ok(patterns)
}

/// Writes the `.gitignore` file, unless it already exists.
pub(crate) fn write(layout: &Layout, keys: &Path) -> Result<(), Error> {
    let path = path(layout);
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let text = format!("{HEAD}{}\n", patterns(layout, keys)?.join("\n"));
    layout.replace(&path, text.as_bytes(), 0o644)
}

/// Returns the patterns that are missing from the `.gitignore` file of the repository.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub fn missing(layout: &Layout, keys: &Path) -> Result<Vec<String>, Error> {
    let bytes = access::read_if_there(&path(layout))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut patterns = patterns(layout, keys)?;
    patterns.retain(|pattern| text.lines().all(|line| line.trim() != pattern));
    Ok(patterns)
}
