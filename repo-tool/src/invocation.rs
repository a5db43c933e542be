//! The context of one run of a command or program, such as the time, the user, the keys, and how long to wait for other
//! processes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::Error;
use crate::config::{Config, KeyUri};
use crate::files::layout::Layout;
use crate::files::sharing::Sharing;
use crate::named_signer::NamedSigner;
use crate::pass_phrases::{NoPassPhrases, PassPhrases};
use crate::pin::GivenRoot;
use crate::root_digest::RootDigest;
use crate::sign::review::Accepted;
use crate::user::UserConfig;

/// The context of one run of a command or program, such as the time, the user, the keys, and how long to wait for other
/// processes.
#[derive(Clone)]
pub struct Invocation {
    /// The time that is used as the current time in the whole run.
    pub now: DateTime<Utc>,
    /// The source of pass-phrases.
    pub phrases: Arc<dyn PassPhrases>,
    /// How long to wait while another process changes the same repository.
    pub lock_wait: LockWait,
    /// The configuration of the user.
    pub user: UserConfig,
    /// A root that the user trusts in this run, in addition to the pinned root.
    pub given_root: Option<GivenRoot>,
    /// Whether to compare the repository with the server before publishing.
    pub served: ServedState,
    /// Whether to compare this machine's clock with the published metadata before signing.
    pub clock: ClockCheck,
    /// The unknown JSON members and unusable keys that the user accepts in metadata to be signed.
    pub accepted: Accepted,
    /// The private key files that may be used in this run, even if they are outside the repository's folder. The user's
    /// configuration may allow further files.
    pub allowed_keys: Vec<PathBuf>,
    /// The signers other than key files, such as hardware tokens. Each signer may sign in every repository that this
    /// run opens.
    pub signers: Vec<NamedSigner>,
    /// The users who may change the repository.
    pub sharing: Sharing,
}

impl Invocation {
    /// Returns a context with the time `now` and the configuration `user`. In this context, only unencrypted keys can
    /// be used. No other user shares the repository, and the run does not wait for other processes.
    #[must_use]
    pub fn new(now: DateTime<Utc>, user: UserConfig) -> Self {
        Self {
            now,
            phrases: Arc::new(NoPassPhrases),
            lock_wait: LockWait::none(),
            user,
            given_root: None,
            served: ServedState::Compare,
            clock: ClockCheck::Compare,
            accepted: Accepted::default(),
            allowed_keys: Vec::new(),
            signers: Vec::new(),
            sharing: Sharing::Private,
        }
    }

    /// Returns the layout of the repository in `dir` for this user.
    #[must_use]
    pub fn layout(&self, dir: &Path) -> Layout {
        Layout::new(dir).shared(self.sharing).of_user(self.user.clone())
    }

    /// Returns the URIs of all keys that the user allows, and of those keys of `repo.toml` that are in the repository's
    /// folder.
    pub(crate) fn usable_keys(
        &self,
        layout: &Layout,
        config: &Config,
        digest: RootDigest,
    ) -> Result<Vec<KeyUri>, Error> {
        let mut allowed = self.user.keys(digest)?;
        allowed.extend(self.allowed_keys.iter().cloned());
        let mut uris = config.key_uris();
        uris.retain(|uri| uri.is_below(layout.dir()) || allowed.contains(&uri.path(layout.dir())));
        for file in allowed {
            if !uris.iter().any(|uri| uri.path(layout.dir()) == file) {
                uris.push(KeyUri::File(file));
            }
        }
        Ok(uris)
    }
}

/// Whether to compare the repository with the metadata on the server before publishing. This requires a metadata URL in
/// the user's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServedState {
    /// Compare the repository with the server. Refuse to publish if the server has newer metadata or cannot be reached.
    #[default]
    Compare,
    /// Publish without contacting the server.
    Ignore,
}

/// Whether to compare this machine's clock with the published metadata before signing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockCheck {
    /// Compare the clock, and refuse to sign if it is more than a day behind the time at which the published metadata
    /// was signed.
    #[default]
    Compare,
    /// Trust the clock, for example because the published metadata was signed on a machine whose clock was ahead.
    Ignore,
}

/// How long to wait for a lock that another process holds.
#[derive(Clone)]
pub struct LockWait {
    /// The maximum time to wait. If it is zero, [`crate::Error::Busy`] is returned immediately while another process
    /// holds the lock.
    pub at_most: Duration,
    /// A function that is called once if the run has to wait.
    pub on_wait: Arc<dyn Fn() + Send + Sync>,
}

impl LockWait {
    /// Returns the setting for a run that does not wait for the lock.
    #[must_use]
    pub fn none() -> Self {
        Self { at_most: Duration::ZERO, on_wait: Arc::new(|| {}) }
    }
}
