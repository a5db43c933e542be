//! Configures an updater.

use std::sync::Arc;
use std::time::Duration;

use lastmile_metadata::{Limits, ReusableTargets, TargetNames};

use crate::error::Error;
use crate::event::{EventSink, TracingSink};
use crate::net::base_url::BaseUrl;
use crate::net::fetch::Fetch;
use crate::net::mirrors::{Mirror, Mirrors};
use crate::net::retry::RetryPolicy;
use crate::net::scheme::FetchByScheme;
use crate::open_directory::CleanedDirs;
#[cfg(feature = "attest")]
use crate::policies::Approve;
use crate::policies::Policies;
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::store::shared::SharedStore;
use crate::update_context::{Unreachable, UpdateContext};
use crate::updater::Updater;

/// Configures an [`Updater`]. By default, the store is in memory, the transport is chosen by the scheme of the URL, and
/// the limits and the retry policy have their default values.
#[must_use]
pub struct UpdaterBuilder {
    shipped_root: Vec<u8>,
    known: Option<ReusableTargets>,
    /// The metadata URL and the targets URL of each mirror.
    mirrors: Vec<(String, String)>,
    store: Box<dyn Store>,
    fetch: Option<Box<dyn Fetch>>,
    limits: Limits,
    retry_policy: RetryPolicy,
    events: Arc<dyn EventSink>,
    unreachable: Unreachable,
    lock_wait: Duration,
    target_names: TargetNames,
    sequential: bool,
    policies: Policies,
}

impl Updater {
    /// Returns a builder for an updater that trusts `shipped_root`, the content of a `root.json` file. Ship this file
    /// with the program, or get it from the maintainers through a channel that you trust (spec 2.1.1), never from the
    /// repository.
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
            retry_policy: RetryPolicy::default(),
            events: Arc::new(TracingSink),
            unreachable: Unreachable::Refuse,
            lock_wait: Duration::from_secs(300),
            target_names: TargetNames::HashPrefixed,
            sequential: false,
            policies: Policies::default(),
        }
    }

    /// Adds a mirror with a lower priority than all mirrors added so far. The URLs must be percent-encoded and are used
    /// unchanged; [`build`](UpdaterBuilder::build) checks them in the same way as [`BaseUrl::new`].
    pub fn mirror(mut self, metadata_url: impl Into<String>, targets_url: impl Into<String>) -> UpdaterBuilder {
        self.mirrors.push((metadata_url.into(), targets_url.into()));
        self
    }

    /// Sets the store for the trusted metadata. With a store in memory, the program cannot detect a rollback after a
    /// restart. Use a [`DirectoryStore`](crate::DirectoryStore) to keep this protection across restarts.
    pub fn store(self, store: impl Store) -> UpdaterBuilder {
        UpdaterBuilder { store: Box::new(store), ..self }
    }

    /// Sets the transport, which fetches files from the mirrors. By default, the transport is chosen by the scheme of
    /// each URL.
    pub fn fetch(self, fetch: impl Fetch) -> UpdaterBuilder {
        UpdaterBuilder { fetch: Some(Box::new(fetch)), ..self }
    }

    /// Sets the limits on the lengths, counts and depths of metadata.
    pub fn limits(self, limits: Limits) -> UpdaterBuilder {
        UpdaterBuilder { limits, ..self }
    }

    /// Sets how many times to retry a temporary failure, and for how long.
    pub fn retry_policy(self, retry_policy: RetryPolicy) -> UpdaterBuilder {
        UpdaterBuilder { retry_policy, ..self }
    }

    /// Sets the receiver of events. By default, events are logged as `tracing` warnings.
    pub fn event_sink(self, sink: impl EventSink) -> UpdaterBuilder {
        UpdaterBuilder { events: Arc::new(sink), ..self }
    }

    /// Sets what [`Updater::refresh`] does if no mirror can be reached. By default, the refresh fails.
    pub fn unreachable(self, unreachable: Unreachable) -> UpdaterBuilder {
        UpdaterBuilder { unreachable, ..self }
    }

    /// Sets how long to wait for another process that uses the same store. The default is five minutes. A refresh waits
    /// while another process refreshes the store. An operation that needs the lock on the stored files
    /// ([`LockKind::Files`](crate::LockKind::Files)) waits while another process holds that lock.
    pub fn lock_wait(self, lock_wait: Duration) -> UpdaterBuilder {
        UpdaterBuilder { lock_wait, ..self }
    }

    /// Sets how the target files of a repository with consistent snapshots are named. The default is `HASH.NAME` (spec
    /// 5.7.3). Set [`TargetNames::Plain`] for repositories that never publish two different files under the same name,
    /// and therefore omit the hash prefix (spec 3.1.1).
    pub fn target_names(self, target_names: TargetNames) -> UpdaterBuilder {
        UpdaterBuilder { target_names, ..self }
    }

    /// Requests metadata files one after the other, in the order of the client workflow (spec 5). By default, files
    /// that later steps need are requested in advance: the timestamp together with the next root, and several delegated
    /// roles in parallel. This setting does not change the order in which files are verified.
    pub fn sequential(self) -> UpdaterBuilder {
        UpdaterBuilder { sequential: true, ..self }
    }

    /// Ignores the policies of the repository, so that targets can be downloaded without evidence. A TUF client that
    /// does not support policies behaves in the same way. All TUF checks remain in force, and a local policy is still
    /// enforced.
    pub fn ignore_policies(mut self) -> UpdaterBuilder {
        self.policies.are_ignored = true;
        self
    }

    /// Sets the local policy. The local policy adds requirements to those of the repository. It can also make
    /// exceptions, which allow targets that do not satisfy a policy.
    #[cfg(feature = "attest")]
    pub fn local_policy(mut self, local: lastmile_attest::LocalPolicy) -> UpdaterBuilder {
        self.policies.local = local;
        self
    }

    /// Sets a callback with which the application decides whether a target may be downloaded. The callback runs only
    /// for targets that the policies allow.
    #[cfg(feature = "attest")]
    pub fn approve(mut self, approve: impl Approve) -> UpdaterBuilder {
        self.policies.approve = Some(Box::new(approve));
        self
    }

    /// Reuses the targets role of an earlier session in this process: if the repository still has the same targets
    /// file, the file is not parsed and verified again.
    #[doc(hidden)]
    pub fn reusable_targets(self, known: Option<ReusableTargets>) -> UpdaterBuilder {
        UpdaterBuilder { known, ..self }
    }

    /// Checks the settings, and builds the updater.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if the URL of a mirror is unusable, or if no transport was set and the default transport
    /// cannot be created; see `HttpFetch::new`.
    pub fn build(self) -> Result<Updater, Error> {
        let has_transport = self.fetch.is_some();
        let base = |url: &str| {
            let base = BaseUrl::new(url).map_err(|error| Error::Config(error.to_string()))?;
            if has_transport || base.is_supported() {
                Ok(base)
            } else {
                Err(Error::Config(format!("`{base}` has a scheme that is not supported")))
            }
        };
        let mirror =
            |(metadata, targets): &(String, String)| Ok(Mirror { metadata: base(metadata)?, targets: base(targets)? });
        let mirrors = self.mirrors.iter().map(mirror).collect::<Result<_, Error>>()?;
        let fetch = match self.fetch {
            Some(fetch) => fetch,
            None => default_fetch()?,
        };
        let context = UpdateContext {
            mirrors: Mirrors::new(mirrors),
            store: SharedStore::new(self.store, Arc::clone(&self.events), self.lock_wait),
            fetch,
            limits: self.limits,
            retry_policy: self.retry_policy,
            events: self.events,
            unreachable: self.unreachable,
            target_names: self.target_names,
            sequential: self.sequential,
            cleaned_dirs: CleanedDirs::default(),
            policies: self.policies,
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
#[expect(clippy::unnecessary_wraps, reason = "fallible only with the feature `http`")]
fn default_fetch() -> Result<Box<dyn Fetch>, Error> {
    Ok(Box::new(FetchByScheme::default()))
}
