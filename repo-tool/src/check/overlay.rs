//! A repository as it would be after publication: the draft's files over those that are published.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use lastmile_client::{Fetch, FetchError, Response};
use percent_encoding::percent_decode_str;

use crate::files::layout::{self, LONGEST_METADATA, Layout};

/// The base under which [`Overlay`] answers for metadata.
pub const METADATA_URL: &str = "repository:metadata/";
/// The base under which [`Overlay`] answers for targets.
pub const TARGETS_URL: &str = "repository:targets/";

/// Answers a client from memory where it can, and from a repository's folder otherwise.
#[derive(Clone, Debug)]
pub struct Overlay {
    layout: Layout,
    files: Arc<BTreeMap<String, Bytes>>,
    hidden: Arc<BTreeSet<String>>,
}

impl Overlay {
    /// What is published.
    #[must_use]
    pub fn published(layout: &Layout) -> Self {
        Self { layout: layout.clone(), files: Arc::default(), hidden: Arc::default() }
    }

    /// These metadata files, by the name a client asks for, over what is published.
    #[must_use]
    pub fn new(layout: &Layout, files: BTreeMap<String, impl Into<Bytes>>) -> Self {
        let files = files.into_iter().map(|(name, bytes)| (name, bytes.into())).collect();
        Self { files: Arc::new(files), ..Self::published(layout) }
    }

    /// The same without some metadata files.
    #[must_use]
    pub fn without(mut self, files: impl IntoIterator<Item = String>) -> Self {
        self.hidden = Arc::new(files.into_iter().collect());
        self
    }

    fn read(&self, url: &str) -> Result<Bytes, FetchError> {
        if let Some(name) = url.strip_prefix(METADATA_URL) {
            if let Some(bytes) = self.files.get(name) {
                return Ok(bytes.clone());
            }
            if self.hidden.contains(name) {
                return Err(FetchError::NotFound);
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

/// Reads a file as a web server would find it: each segment decoded, unless it would then be several.
fn read_below(base: PathBuf, url_path: &str) -> Result<Vec<u8>, FetchError> {
    let mut path = base;
    for segment in url_path.split('/') {
        let decoded = percent_decode_str(segment).decode_utf8().ok();
        let decoded = decoded.filter(|name| !name.contains(['/', '\\', '\0']));
        path.push(decoded.as_deref().filter(|name| !matches!(*name, "" | "." | "..")).unwrap_or(segment));
    }
    match layout::read_small(&path, LONGEST_METADATA) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(FetchError::NotFound),
        Err(error) => Err(FetchError::Io(error.to_string())),
    }
}
