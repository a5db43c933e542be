//! The context of one run of a command or program: the time, the user, the keys, and the treatment of other processes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::files::layout::{Layout, Sharing};
use crate::named_signer::NamedSigner;
use crate::pass_phrases::{NoPassPhrases, PassPhrases};
use crate::pin::GivenRoot;
use crate::sign::review::Accepted;
use crate::user::UserConfig;

/// The context of one run of a command or program: the time, the user, the keys, and the treatment of other processes.
#[derive(Clone)]
pub struct Invocation {
    /// The current time. The whole run uses this time.
    pub now: DateTime<Utc>,
    /// The source of pass-phrases.
    pub phrases: Arc<dyn PassPhrases>,
    /// How long to wait for another process that is changing the same repository.
    pub lock_wait: LockWait,
    /// The configuration of the user.
    pub user: UserConfig,
    /// A root that the user trusts in this run, in addition to the pinned one.
    pub given_root: Option<GivenRoot>,
    /// Whether to compare with the server before publishing.
    pub served: ServedState,
    /// Whether to compare this machine's clock with the published metadata before signing.
    pub clock: ClockCheck,
    /// Unknown members and keys that the user accepts to sign.
    pub accepted: Accepted,
    /// Private key files outside the repository's folder that `repo.toml` may name in this run, in addition to those of the
    /// user's configuration.
    pub allowed_keys: Vec<PathBuf>,
    /// Signers that are not key files. Each may sign in every repository that this run opens.
    pub signers: Vec<NamedSigner>,
    /// The other users who may change the repository.
    pub sharing: Sharing,
}

impl Invocation {
    /// Returns the settings of a user with this configuration: unencrypted keys only, a private repository, no waiting for
    /// other processes.
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

    /// Returns the paths of the repository in `dir` for this user.
    #[must_use]
    pub fn layout(&self, dir: &Path) -> Layout {
        Layout::new(dir).shared(self.sharing).of_user(self.user.clone())
    }
}

/// Whether to compare with the server before publishing, if the user's configuration has a metadata URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServedState {
    /// Compare, and refuse to publish if the server has newer metadata or cannot be reached.
    #[default]
    Compare,
    /// Publish without asking the server.
    Ignore,
}

/// Whether to compare this machine's clock with the published metadata before signing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockCheck {
    /// Compare, and refuse to sign if the clock is more than a day behind the time when the metadata was signed.
    #[default]
    Compare,
    /// Trust the clock. This is for repositories that were last signed on a machine with a fast clock.
    Ignore,
}

/// How long to wait for the lock of another process.
#[derive(Clone)]
pub struct LockWait {
    /// The longest time to wait. With zero, a held lock is an [`crate::Error::Busy`] at once.
    pub at_most: Duration,
    /// Called once when waiting begins.
    pub on_wait: Arc<dyn Fn() + Send + Sync>,
}

impl LockWait {
    /// Returns the setting that does not wait.
    #[must_use]
    pub fn none() -> Self {
        Self { at_most: Duration::ZERO, on_wait: Arc::new(|| {}) }
    }
}
