//! A repository as it would be after publication: the published files together with the new metadata files of a change.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use lastmile_client::{Fetch, FetchError, Response};
use lastmile_metadata::{RoleName, Version};
use percent_encoding::percent_decode_str;

use crate::document::DocumentFile;
use crate::files::access::{self, MAX_METADATA_LENGTH};
use crate::files::layout::Layout;
use crate::{Error, names};

/// The base URL of metadata in an [`Overlay`].
pub const METADATA_URL: &str = "repository://metadata/";
/// The base URL of targets in an [`Overlay`].
pub const TARGETS_URL: &str = "repository://targets/";

/// A fetcher that serves new metadata files from memory or a temporary file, and all other files from the folder of a
/// repository.
#[derive(Clone, Debug)]
pub struct Overlay {
    layout: Layout,
    files: Arc<BTreeMap<String, DocumentFile>>,
    hidden: Arc<BTreeSet<String>>,
}

impl Overlay {
    /// Creates an overlay that serves only the published files.
    #[must_use]
    pub fn published(layout: &Layout) -> Self {
        Self { layout: layout.clone(), files: Arc::default(), hidden: Arc::default() }
    }

    /// Creates an overlay of the published files and the metadata files in `files`. A file in `files` replaces a
    /// published file with the same name.
    #[must_use]
    pub(crate) fn new(layout: &Layout, files: BTreeMap<String, impl Into<DocumentFile>>) -> Self {
        Self::published(layout).with(files)
    }

    /// Returns an overlay that also serves the metadata files in `files`. A file in `files` replaces any other file
    /// with the same name.
    #[must_use]
    pub(crate) fn with(mut self, files: BTreeMap<String, impl Into<DocumentFile>>) -> Self {
        let files = files.into_iter().map(|(name, file)| (name, file.into()));
        Arc::make_mut(&mut self.files).extend(files);
        self
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Reads the metadata file of a role from the new files, or from the folder if the new files do not contain it.
    /// Refuses a file in the folder that has more than `most` bytes. Returns `None` if the file does not exist.
    pub(crate) fn metadata(
        &self,
        role: &RoleName,
        version: Option<Version>,
        most: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        match self.files.get(&role.file_name(version)) {
            Some(file) => Ok(Some(file.read()?.into())),
            // On disk, the name is not percent-encoded, because servers decode the names that clients encode in URLs.
            None => access::read_small(&self.layout.metadata().join(names::metadata_file(role, version)), most),
        }
    }

    /// Returns whether a metadata file of `role` with this version exists. Returns true if this cannot be determined.
    pub(crate) fn has(&self, role: &RoleName, version: Version) -> bool {
        let path = self.layout.metadata().join(names::metadata_file(role, Some(version)));
        self.files.contains_key(&role.file_name(Some(version)))
            || path.symlink_metadata().map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true)
    }

    /// Returns an overlay that does not serve the metadata files named in `files`.
    #[must_use]
    pub fn without(mut self, files: impl IntoIterator<Item = String>) -> Self {
        self.hidden = Arc::new(files.into_iter().collect());
        self
    }

    fn read(&self, url: &str) -> Result<Bytes, FetchError> {
        if let Some(name) = url.strip_prefix(METADATA_URL) {
            if self.hidden.contains(name) {
                return Err(FetchError::NotFound);
            }
            if let Some(file) = self.files.get(name) {
                return file.read().map_err(|error| FetchError::Io(error.to_string()));
            }
            return read_below(self.layout.metadata(), name).map(Bytes::from);
        }
        match url.strip_prefix(TARGETS_URL) {
            Some(path) => read_below(self.layout.targets(), path).map(Bytes::from),
            None => Err(FetchError::Url(url.to_string())),
        }
    }
}

impl Fetch for Overlay {
    fn fetch(&self, url: &str, _offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let answer = self.read(url).map(Response::whole);
        Box::pin(async move { answer })
    }
}

/// Reads a file as a web server would. Percent-decodes each segment of the path. If the decoded segment is not a
/// valid file name, uses the segment as it is. Returns [`FetchError::NotFound`] for a path that leads out of `base`.
fn read_below(base: PathBuf, url_path: &str) -> Result<Vec<u8>, FetchError> {
    let is_name = |segment: &str| !matches!(segment, "" | "." | "..");
    let mut path = base;
    for segment in url_path.split('/') {
        if !is_name(segment) {
            return Err(FetchError::NotFound);
        }
        let decoded = percent_decode_str(segment).decode_utf8().ok();
        let decoded = decoded.filter(|name| is_name(name) && !name.contains(['/', '\\', '\0']));
        path.push(decoded.as_deref().unwrap_or(segment));
    }
    match access::read_small(&path, MAX_METADATA_LENGTH) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(FetchError::NotFound),
        Err(error) => Err(FetchError::Io(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_folders_of_a_repository() {
        let folder = tempfile::tempdir().unwrap();
        let overlay = Overlay::published(&Layout::new(folder.path()));
        for dir in ["metadata", "targets", "keys"] {
            std::fs::create_dir(folder.path().join(dir)).unwrap();
        }
        std::fs::write(folder.path().join("keys/root.pem"), "secret").unwrap();
        std::fs::write(folder.path().join("targets/a b"), "public").unwrap();
        assert_eq!(overlay.read("repository://targets/a%20b").unwrap(), "public");
        for path in ["../keys/root.pem", "./../keys/root.pem", "%2e%2e/keys/root.pem", "..%2fkeys/root.pem", "/a%20b"] {
            for base in [METADATA_URL, TARGETS_URL] {
                assert!(matches!(overlay.read(&format!("{base}{path}")), Err(FetchError::NotFound)), "{path}");
            }
        }
    }
}
