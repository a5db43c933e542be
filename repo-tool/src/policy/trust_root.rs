//! Fetches the trust root of a Sigstore instance from the instance's own TUF repository.
//!
//! The first root of this TUF repository is pinned in the user's configuration folder, not in the folder of the
//! repository that lists the packages. Otherwise, anyone who can write to the folder of that repository could choose
//! whom the policies trust. The trusted metadata is stored next to the pinned root, so that later updates refuse older
//! metadata.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use lastmile_attest::TrustRoot;
use lastmile_client::text::printable_path;
use lastmile_client::{BaseUrl, DirectoryStore, FetchByScheme, HttpFetch, HttpSettings, Updater, blocking};
use lastmile_metadata::{TargetPath, is_unprintable};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::chain;
use crate::files::access::{create_private_folder, read_if_there, write_new};
use crate::{Error, NetworkError, NotFound, PolicyError};

/// The file name of the pinned root in the folder of a [`TrustRootSource`].
const PINNED: &str = "root.json";

/// Whether an update uses the metadata that earlier updates stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Use and update the stored metadata.
    Kept,
    /// Neither read nor change the stored metadata.
    Ignored,
}

/// A TUF repository that publishes a trust root.
pub(crate) struct TrustRootSource {
    url: BaseUrl,
    /// The folder of the pinned root and the trusted metadata.
    folder: PathBuf,
    root: Vec<u8>,
}

impl TrustRootSource {
    /// `first` is the first root of the repository at `url`. It may be `None` if that root is already pinned. `config`
    /// is the path of the user's configuration file.
    ///
    /// # Errors
    /// [`PolicyError::FirstRoot`] if no root is pinned and `first` is `None`, or if `first` is not the pinned root.
    pub(crate) fn open(url: &BaseUrl, first: Option<Vec<u8>>, config: &Path) -> Result<Self, Error> {
        let name = hex::encode(Sha256::digest(url.as_str())).chars().take(16).collect::<String>();
        let all = config.parent().unwrap_or(Path::new(".")).join("trust-roots");
        let folder = all.join(name);
        let pinned = read_if_there(&folder.join(PINNED))?;
        let error = |problem: String| PolicyError::FirstRoot { url: url.to_string(), problem };
        let root = match (pinned, first) {
            (Some(pinned), Some(first)) if pinned != first => {
                return Err(error(format!("another first root is pinned in {}", printable_path(&folder))).into());
            }
            (Some(pinned), _) => pinned,
            (None, Some(first)) => first,
            (None, None) => return Err(error("no first root is pinned".to_string()).into()),
        };
        Ok(Self { url: url.clone(), folder, root })
    }

    /// Fetches a target, which must be a trust root. If a root is pinned and `memory` is [`Memory::Kept`], metadata
    /// that is older than the stored metadata is refused.
    ///
    /// # Errors
    /// [`Error::Network`] if the server fails, [`PolicyError::Upstream`] if the metadata of the source does not verify,
    /// [`Error::NotFound`] if the metadata does not list the target, and [`PolicyError::TrustRoot`] if the target is
    /// not a trust root. [`Error::Failed`] if a file exceeds a limit, or if the stored metadata cannot be used.
    pub(crate) fn fetch(&self, target: &TargetPath, now: DateTime<Utc>, memory: Memory) -> Result<Vec<u8>, Error> {
        let setup = |error: lastmile_client::Error| NetworkError::Setup(error.into());
        let fetch = FetchByScheme::new(HttpFetch::new(&HttpSettings::default()).map_err(setup)?);
        let targets = self.url.folder("targets");
        let mut builder = Updater::builder(self.root.clone()).mirror(self.url.as_str(), targets.as_str()).fetch(fetch);
        if memory == Memory::Kept && self.is_pinned()? {
            builder = builder.store(self.store()?);
        }
        let failed = |error| self.failed(error);
        let updater = blocking::Updater::new(builder.build().map_err(setup)?).map_err(failed)?;
        let mut session = updater.refresh_at(now).map_err(failed)?;
        let found = session.find(target).map_err(failed)?;
        let found = found.ok_or_else(|| NotFound::Target { path: target.clone() })?;
        let content = session.read(&found).map_err(failed)?;
        TrustRoot::parse(&content)
            .map_err(|error| PolicyError::TrustRoot { path: target.clone(), problem: error.to_string() })?;
        Ok(content)
    }

    /// Pins the root, and stores the trusted metadata for the next update. Call this function only after a successful
    /// fetch, which shows that the root belongs to the URL. Does nothing if a root is already pinned.
    pub(crate) fn remember(&self, target: &TargetPath, now: DateTime<Utc>) -> Result<(), Error> {
        if self.is_pinned()? {
            return Ok(());
        }
        self.pin()?;
        self.fetch(target, now, Memory::Kept).map(drop)
    }

    fn is_pinned(&self) -> Result<bool, Error> {
        Ok(read_if_there(&self.folder.join(PINNED))?.is_some())
    }

    fn failed(&self, error: lastmile_client::Error) -> Error {
        match error {
            lastmile_client::Error::Network(_) => NetworkError::Client(error.into()).into(),
            lastmile_client::Error::Refused(_) => {
                let problem = chain(&error);
                PolicyError::Upstream { url: self.url.to_string(), problem }.into()
            }
            // The remaining errors mean, for example, that a file exceeds a limit or that a stored file cannot be read.
            other => Error::Failed(format!("the TUF repository at {}: {}", self.url, chain(&other))),
        }
    }

    fn pin(&self) -> Result<(), Error> {
        let all = self.folder.parent().unwrap_or(Path::new("."));
        for folder in all.parent().into_iter().chain([all, self.folder.as_path()]) {
            create_private_folder(folder)?;
        }
        write_new(&self.folder.join(PINNED), &self.root, 0o600)
    }

    fn store(&self) -> Result<DirectoryStore, Error> {
        let store = DirectoryStore::open(self.folder.join("metadata"));
        store.map_err(|error| self.failed(error.into()))
    }
}

/// Describes the logs and authorities of a trust root, each in one line.
pub(crate) fn described(content: &[u8]) -> BTreeSet<String> {
    let root: Value = serde_json::from_slice(content).unwrap_or_default();
    let mut lines = BTreeSet::new();
    for (member, kind, name) in [
        ("tlogs", "transparency log", "/baseUrl"),
        ("ctlogs", "certificate log", "/baseUrl"),
        ("certificateAuthorities", "certificate authority", "/uri"),
        ("timestampAuthorities", "timestamp authority", "/uri"),
    ] {
        for entry in root.get(member).and_then(Value::as_array).into_iter().flatten() {
            let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string();
            let digest = hex::encode(Sha256::digest(entry.to_string()));
            let digest = digest.get(..8).unwrap_or_default();
            let period = if member.ends_with("logs") { "/publicKey/validFor" } else { "/validFor" };
            let end = text(&format!("{period}/end"));
            let until = if end.is_empty() { String::new() } else { format!(" until {end}") };
            let line = format!("{kind} {} ({digest}) from {}{until}", text(name), text(&format!("{period}/start")));
            lines.insert(line.chars().filter(|character| !is_unprintable(*character)).collect());
        }
    }
    lines
}
