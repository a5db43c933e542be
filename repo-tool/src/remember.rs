//! Records the newest verified root and the allowed keys of a repository in the user's configuration.

use crate::config::KeyUri;
use crate::pin::Authority;
use crate::root_digest::RootDigest;
use crate::user::PinnedRoot;
use crate::{Error, Repository};

impl Repository {
    /// Returns the roles for which keys may sign in this repository.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Pins the newest root, and records which repository the folder contains. The newest root has already been
    /// verified, starting from the root that the user trusts. Does nothing if the user trusts no root, or trusts a root
    /// only for this run.
    ///
    /// # Errors
    /// Returns an error if the user's configuration cannot be written.
    pub fn move_pin(&self) -> Result<(), Error> {
        let remember = self.invocation.given_root.as_ref().is_none_or(|given| given.remember);
        if !self.authority.is_pinned() || !remember {
            return Ok(());
        }
        let root = &self.published.root;
        let pin = PinnedRoot { version: root.version, digest: RootDigest::of(root.bytes()) };
        self.invocation.user.pin(self.digest, pin)?;
        self.invocation.user.set_repository_in(self.layout.dir(), self.digest)
    }

    /// Pins the newest root and allows the keys that the user specified. An error only causes a warning, because the
    /// publication has already succeeded.
    pub(crate) fn remember(&mut self) {
        let named = std::mem::take(&mut self.named_keys);
        let remembered = self.move_pin().and_then(|()| named.iter().try_for_each(|uri| self.allow_key(uri)));
        if let Err(error) = remembered {
            self.warnings.push(format!("cannot write your configuration: {error}"));
        }
    }

    /// Allows the use of a private key that the user specified, but does not record this permission yet. It is recorded
    /// once the change that lists the key has been published or stored as the pending change.
    pub fn allow_later(&mut self, uri: &KeyUri) {
        self.named_keys.push(uri.clone());
    }

    /// Allows the use of a private key file that the user specified, if it is outside the repository's folder.
    ///
    /// # Errors
    /// Returns an error if the user's configuration cannot be written.
    pub fn allow_key(&self, uri: &KeyUri) -> Result<(), Error> {
        if uri.is_below(self.layout.dir()) {
            Ok(())
        } else {
            self.invocation.user.allow_key(self.digest, &uri.path(self.layout.dir()))
        }
    }
}
