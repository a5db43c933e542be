//! What every command is given: the time, the user, and how to deal with others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::files::layout::{Layout, Sharing};
use crate::key_store::{NoPassPhrases, PassPhrases};
use crate::named_signer::NamedSigner;
use crate::pin::GivenRoot;
use crate::sign::review::Accepted;
use crate::user::UserConfig;

/// What every command is given.
#[derive(Clone)]
pub struct Invocation {
    /// The time that counts as now.
    pub now: DateTime<Utc>,
    /// Where pass-phrases come from.
    pub phrases: Arc<dyn PassPhrases>,
    /// What to do while other processes change the same repository.
    pub lock_wait: LockWait,
    /// The configuration of the user.
    pub user: UserConfig,
    /// A root that the user trusts in this run.
    pub given_root: Option<GivenRoot>,
    /// Whether to compare with what is served before publishing.
    pub served: ServedState,
    /// Members and keys that nothing here knows, and that are signed all the same.
    pub accepted: Accepted,
    /// Private key files outside the repository's folder that `repo.toml` may name in this run, beside those of the user's
    /// configuration.
    pub allowed_keys: Vec<PathBuf>,
    /// Signers that are not key files. Handing one over authorizes its use in every repository that is opened.
    pub signers: Vec<NamedSigner>,
    /// Who changes the repository besides this user.
    pub sharing: Sharing,
}

impl Invocation {
    /// For a user with this configuration: keys that are not encrypted, a repository of their own, no waiting for others.
    #[must_use]
    pub fn new(now: DateTime<Utc>, user: UserConfig) -> Self {
        Self {
            now,
            phrases: Arc::new(NoPassPhrases),
            lock_wait: LockWait::none(),
            user,
            given_root: None,
            served: ServedState::Compare,
            accepted: Accepted::default(),
            allowed_keys: Vec::new(),
            signers: Vec::new(),
            sharing: Sharing::Private,
        }
    }

    /// Where the files of the repository in `dir` are, for this user.
    #[must_use]
    pub fn layout(&self, dir: &Path) -> Layout {
        Layout::new(dir).shared(self.sharing).of_user(self.user.clone())
    }
}

/// Whether to compare with what is served before publishing, where the user's configuration says where that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServedState {
    /// Refuse to publish where the server has something newer, or cannot be reached.
    #[default]
    Compare,
    /// Do not ask the server.
    Ignore,
}

/// How long to wait for another process.
#[derive(Clone)]
pub struct LockWait {
    /// The longest time; at zero the answer is [`crate::Error::Busy`] at once.
    pub at_most: Duration,
    /// Called when waiting begins.
    pub on_wait: Arc<dyn Fn() + Send + Sync>,
}

impl LockWait {
    /// Waits for nobody.
    #[must_use]
    pub fn none() -> Self {
        Self { at_most: Duration::ZERO, on_wait: Arc::new(|| {}) }
    }
}
