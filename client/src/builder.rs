//! Putting an updater together.

use std::sync::Arc;
use std::time::Duration;

use lastmile_metadata::{KnownTargets, Limits};

use crate::error::Error;
use crate::event::{Notify, TracingSink};
use crate::folder::CleanedDirs;
use crate::net::fetch::Fetch;
use crate::net::mirrors::{Mirror, Mirrors};
use crate::net::retry::Patience;
use crate::net::scheme::FetchByScheme;
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::update_context::UpdateContext;
use crate::updater::Updater;

/// Puts an [`Updater`] together. What is not said has a default: a store in memory, fetching by the
/// scheme of the URL, the default limits and patience.
#[must_use]
pub struct UpdaterBuilder {
    shipped_root: Vec<u8>,
    known: Option<KnownTargets>,
    mirrors: Vec<Mirror>,
    store: Box<dyn Store>,
    fetch: Option<Box<dyn Fetch>>,
    limits: Limits,
    patience: Patience,
    notify: Arc<dyn Notify>,
    lock_wait: Duration,
    hash_prefixes: bool,
    sequential: bool,
}

impl Updater {
    /// An updater that trusts `shipped_root`, the bytes of a `root.json` that came with the program
    /// or from the maintainers themselves, and never from the repository.
    pub fn builder(shipped_root: impl Into<Vec<u8>>) -> UpdaterBuilder {
        UpdaterBuilder::new(shipped_root.into())
    }
}

impl UpdaterBuilder {
    fn new(shipped_root: Vec<u8>) -> UpdaterBuilder {
        UpdaterBuilder {
            shipped_root,
            known: None,
            mirrors: Vec::new(),
            store: Box::new(MemoryStore::default()),
            fetch: None,
            limits: Limits::default(),
            patience: Patience::default(),
            notify: Arc::new(TracingSink),
            lock_wait: Duration::from_secs(300),
            hash_prefixes: true,
            sequential: false,
        }
    }

    /// Adds a mirror, to be asked after those added before. URLs are percent-encoded already and
    /// are used as they are.
    pub fn mirror(mut self, metadata_url: impl Into<String>, targets_url: impl Into<String>) -> UpdaterBuilder {
        let (metadata_url, targets_url) = (metadata_url.into(), targets_url.into());
        self.mirrors.push(Mirror { metadata_url, targets_url });
        self
    }

    /// Where trusted metadata is kept. In memory, an older state cannot be recognised after the
    /// program has ended: use a [`DirectoryStore`](crate::DirectoryStore) for lasting protection.
    pub fn store(self, store: impl Store) -> UpdaterBuilder {
        UpdaterBuilder { store: Box::new(store), ..self }
    }

    /// Where bytes come from.
    pub fn fetch(self, fetch: impl Fetch) -> UpdaterBuilder {
        UpdaterBuilder { fetch: Some(Box::new(fetch)), ..self }
    }

    /// How much to read and to follow before giving up.
    pub fn limits(self, limits: Limits) -> UpdaterBuilder {
        UpdaterBuilder { limits, ..self }
    }

    /// How long and how often to try.
    pub fn patience(self, patience: Patience) -> UpdaterBuilder {
        UpdaterBuilder { patience, ..self }
    }

    /// Who gets notices; by default they are `tracing` warnings.
    pub fn notify(self, notify: impl Notify) -> UpdaterBuilder {
        UpdaterBuilder { notify: Arc::new(notify), ..self }
    }

    /// How long to wait for another process that uses the same store; five minutes by default.
    pub fn lock_wait(self, lock_wait: Duration) -> UpdaterBuilder {
        UpdaterBuilder { lock_wait, ..self }
    }

    /// Whether targets of a repository with consistent snapshots are fetched as `HASH.NAME` (spec
    /// 5.7.3), which is the default. Some repositories have unique target names and do without
    /// (spec 3.1.1).
    pub fn hash_prefixed_targets(self, hash_prefixes: bool) -> UpdaterBuilder {
        UpdaterBuilder { hash_prefixes, ..self }
    }

    /// Whether metadata is asked for one file after the other, in the order of the specification's
    /// workflow. By default what will be needed is asked for beside what is waited for: the timestamp
    /// beside the next root, delegated roles beside each other. What is judged, and in which order, is
    /// the same.
    pub fn sequential(self, sequential: bool) -> UpdaterBuilder {
        UpdaterBuilder { sequential, ..self }
    }

    /// What an earlier session in this process has come to trust: where it meets the same top-level targets again, these
    /// are not read and verified a second time.
    #[doc(hidden)]
    pub fn known_targets(self, known: Option<KnownTargets>) -> UpdaterBuilder {
        UpdaterBuilder { known, ..self }
    }

    /// The updater.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where the default connection cannot be set up.
    pub fn build(self) -> Result<Updater, Error> {
        let fetch = match self.fetch {
            Some(fetch) => fetch,
            None => default_fetch()?,
        };
        let context = UpdateContext {
            mirrors: Mirrors::new(self.mirrors),
            store: self.store,
            fetch,
            limits: self.limits,
            patience: self.patience,
            notify: self.notify,
            lock_wait: self.lock_wait,
            hash_prefixes: self.hash_prefixes,
            sequential: self.sequential,
            cleaned_dirs: CleanedDirs::default(),
        };
        Ok(Updater { context: Arc::new(context), shipped_root: self.shipped_root.into(), known: self.known })
    }
}

#[cfg(feature = "http")]
fn default_fetch() -> Result<Box<dyn Fetch>, Error> {
    let http = crate::net::http::HttpFetch::new(&crate::net::http::HttpSettings::default())?;
    Ok(Box::new(FetchByScheme::new(http)))
}

#[cfg(not(feature = "http"))]
#[expect(clippy::unnecessary_wraps, reason = "with HTTP it can fail")]
fn default_fetch() -> Result<Box<dyn Fetch>, Error> {
    Ok(Box::new(FetchByScheme::default()))
}
