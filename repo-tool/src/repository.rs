//! A repository on disk. Opening a repository verifies it as a client would. A repository must be locked before it is
//! changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lastmile_keys::PublicKey;
use lastmile_metadata::{RoleName, TargetNames, Version};

use crate::config::{Config, KeyUri};
use crate::draft::{Draft, NewTargetFile};
use crate::edit::Edit;
use crate::edit::add::AddOptions;
use crate::edit::intake::{self, Incoming, Source};
use crate::files::digest::FileDigest;
use crate::files::layout::{Layout, Lock};
use crate::files::own_files::OwnFiles;
use crate::invocation::{Invocation, LockWait};
use crate::key_store::KeyStore;
use crate::pass_phrases::PassPhrases;
use crate::pin::{Authority, Start};
use crate::publish::staged;
use crate::publish::transaction;
use crate::published::Published;
use crate::root_digest::RootDigest;
use crate::{Error, FailingPackages, PublicationError, names};

/// A repository on disk. Opening a repository verifies it as a client would.
pub struct Repository {
    /// The paths of the repository.
    pub layout: Layout,
    /// The configuration of the repository.
    pub config: Config,
    /// The keys that are available for signing.
    pub keys: KeyStore,
    /// The published state of the repository.
    pub published: Published,
    /// The digest of the oldest root, which identifies the repository in the user's configuration.
    pub digest: RootDigest,
    pub(crate) authority: Authority,
    /// Versions of roles that were found on the server. A new version of a role must be higher than the version on the
    /// server, even if the version in this folder is older.
    pub(crate) seen: BTreeMap<RoleName, Version>,
    /// Whether this run has already compared the repository with the server.
    #[cfg(feature = "http")]
    pub(crate) is_compared: bool,
    /// Whether a key is being revoked. If so, some checks are skipped, because an attacker could otherwise publish
    /// metadata that fails these checks, and thereby prevent the revocation.
    pub(crate) is_emergency: bool,
    /// The private keys that the user specified for the current change.
    pub(crate) named_keys: Vec<KeyUri>,
    /// Whether to publish a change that makes clients refuse packages that are already published.
    pub failing: FailingPackages,
    /// The warnings for the user.
    pub warnings: Vec<String>,
    pub(crate) invocation: Invocation,
    lock: Option<Lock>,
}

impl Repository {
    /// Opens a repository for reading.
    ///
    /// # Errors
    /// Returns an error if there is no repository, or if a published file does not verify.
    pub fn open(dir: &Path, invocation: &Invocation) -> Result<Self, Error> {
        Self::open_layout(invocation.layout(dir), invocation, None)
    }

    /// Opens a repository for a change. Acquires the lock, and finishes an interrupted publication.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process holds the lock for too long. Also returns the errors of [`Repository::open`],
    /// and an error if an interrupted publication cannot be finished.
    pub fn open_for_change(dir: &Path, invocation: &Invocation) -> Result<Self, Error> {
        let layout = invocation.layout(dir);
        Config::read(&layout)?;
        let LockWait { at_most, on_wait } = &invocation.lock_wait;
        let lock = layout.lock_within(*at_most, on_wait.as_ref())?;
        transaction::recover(&layout, &lock)?;
        Self::open_layout(layout, invocation, Some(lock))
    }

    /// Opens a repository for signing the pending change. Acquires the lock, but does not finish an interrupted
    /// publication.
    ///
    /// # Errors
    /// [`Error::Publication`] if a publication was interrupted. Also returns the errors of
    /// [`Repository::open_for_change`].
    pub fn open_for_signing(dir: &Path, invocation: &Invocation) -> Result<Self, Error> {
        let layout = invocation.layout(dir);
        Config::read(&layout)?;
        let LockWait { at_most, on_wait } = &invocation.lock_wait;
        let lock = layout.lock_within(*at_most, on_wait.as_ref())?;
        match layout.interrupted()?.first() {
            Some(interrupted) => Err(PublicationError::Interrupted(interrupted.clone()).into()),
            None => Self::open_layout(layout, invocation, Some(lock)),
        }
    }

    pub(crate) fn open_layout(layout: Layout, invocation: &Invocation, lock: Option<Lock>) -> Result<Self, Error> {
        let config = Config::read(&layout)?;
        let start = Start::find(&layout, &invocation.user, invocation.given_root.as_ref())?;
        let digest = start.repository;
        let keys = invocation.usable_keys(&layout, &config, digest)?;
        let mut keys = KeyStore::new(layout.dir(), keys, Arc::clone(&invocation.phrases));
        invocation.signers.iter().cloned().for_each(|signer| keys.add_named(signer));
        let mut published =
            Published::open(&layout, start.root.clone()).map_err(|error| match layout.interrupted() {
                Ok(interrupted) if !interrupted.is_empty() => {
                    PublicationError::Unreadable { interrupted, error: error.into() }.into()
                }
                _ => error,
            })?;
        if !start.is_pinned {
            // Without a pinned root, only keys that sign for no other role may sign snapshots and timestamps. Read all
            // delegated roles, so that `Authority::of` finds the keys of roles at any depth.
            published.read_all()?;
        }
        let authority = Authority::of(&start, &published, &layout);
        let seen = BTreeMap::new();
        let mut repository = Self {
            layout,
            config,
            keys,
            published,
            digest,
            authority,
            seen,
            #[cfg(feature = "http")]
            is_compared: false,
            is_emergency: false,
            named_keys: Vec::new(),
            failing: FailingPackages::Refuse,
            warnings: Vec::new(),
            invocation: invocation.clone(),
            lock,
        };
        if repository.lock.is_some() && repository.invocation.given_root.is_some() {
            repository.remember();
        }
        Ok(repository)
    }

    /// Returns the time that is used as the current time in this run.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.invocation.now
    }

    /// Returns the source of pass-phrases.
    #[must_use]
    pub fn phrases(&self) -> &dyn PassPhrases {
        self.invocation.phrases.as_ref()
    }

    /// Returns the source of pass-phrases as a shared pointer.
    #[must_use]
    pub fn pass_phrases(&self) -> Arc<dyn PassPhrases> {
        Arc::clone(&self.invocation.phrases)
    }

    /// Returns the configuration without unused keys. Removes a key from the entry of a role if the role does not list
    /// the key in `draft`. Does not remove keys that cannot be opened.
    ///
    /// # Errors
    /// Returns an error if published metadata does not verify.
    pub fn config_without_unused_keys(&mut self, draft: &Draft) -> Result<Config, Error> {
        let mut config = self.config.clone();
        let publics: BTreeMap<String, PublicKey> =
            self.keys.file_publics().map(|(public, uri)| (uri, public)).collect();
        let mut trusted = BTreeMap::new();
        for entry in self.config.entries() {
            match Edit::new(&mut self.published, draft.clone()).trust(&names::role(entry)?) {
                Ok((keys, _)) => drop(trusted.insert(entry.to_string(), keys)),
                // Keep the keys of an entry that applies to several roles or to a role that does not exist yet.
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        config.edit_roles(|entry, role| {
            if let Some(keys) = trusted.get(entry) {
                role.keys.retain(|uri| match publics.get(&uri.to_string()) {
                    // The `.pub` file may belong to a different key, so open the private key before removing its URI.
                    Some(public) if !keys.contains(public) => {
                        !self.keys.confirmed_uris_of(public).contains(&uri.to_string().as_str())
                    }
                    _ => true,
                });
            }
        });
        Ok(config)
    }

    /// Returns the pending change as a draft, or an empty draft if there is no pending change.
    ///
    /// # Errors
    /// Returns an error if the pending change no longer matches the published state.
    pub fn staged(&mut self) -> Result<Draft, Error> {
        staged::read(&self.layout, &mut self.published)
    }

    /// Returns an editor that applies changes to `draft`, which is based on the published state.
    pub fn edit(&mut self, draft: Draft) -> Edit<'_> {
        Edit::new(&mut self.published, draft)
    }

    /// Copies files into the repository's working folder and adds them to `role`, or to its bins. Calls `progress` with
    /// the number of files processed.
    ///
    /// # Errors
    /// [`Error::Private`] if some of the files must stay private, [`Error::NotFound`] if the role does not exist,
    /// [`Error::Edit`] if the role is not allowed to list one of the targets, [`Error::Publication`] if the repository
    /// was opened for reading, and [`Error::File`] if a file cannot be read.
    pub fn add_files(
        &mut self,
        draft: Draft,
        role: &RoleName,
        sources: &[Source],
        options: &AddOptions,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Draft, Error> {
        self.lock()?;
        let own = OwnFiles::of(&self.layout, &self.config)?;
        let into = self.layout.make_publishing()?;
        let incoming = intake::copy_into(sources, &into, &self.config.hashes, &own, progress)?;
        let files = self.new_files(&incoming)?;
        self.list_files(draft, role, (&incoming, &files), options)
    }

    /// Adds files to `role` like [`Repository::add_files`], but without copying them. The resulting draft can only be
    /// previewed with [`Repository::preview`].
    ///
    /// # Errors
    /// Returns the errors of [`Repository::add_files`].
    pub fn preview_files(
        &mut self,
        draft: Draft,
        role: &RoleName,
        sources: &[Source],
        options: &AddOptions,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Draft, Error> {
        let own = OwnFiles::of(&self.layout, &self.config)?;
        let incoming = intake::measure(sources, &self.config.hashes, &own, progress)?;
        self.preview_measured(draft, role, &incoming, options)
    }

    /// Adds the files `measured`, whose hashes have already been computed, to `role` for a preview.
    pub(crate) fn preview_measured(
        &mut self,
        draft: Draft,
        role: &RoleName,
        measured: &[Incoming],
        options: &AddOptions,
    ) -> Result<Draft, Error> {
        let names = self.target_names();
        let files = measured.iter().flat_map(|measured| {
            let content = FileDigest::listed(&measured.target);
            let new = |to| NewTargetFile { from: measured.file.clone(), to, content: content.clone() };
            intake::published_paths(&measured.target, names).into_iter().map(new).collect::<Vec<_>>()
        });
        let files: Vec<NewTargetFile> = files.collect();
        self.list_files(draft, role, (measured, &files), options)
    }

    /// Returns the target files to publish: the copies in `.publishing/`, and the paths at which they will be
    /// published. If a target is published at several paths, creates a hard link to the copy for each additional path.
    pub(crate) fn new_files(&self, incoming: &[Incoming]) -> Result<Vec<NewTargetFile>, Error> {
        let mut files = Vec::new();
        let folder = self.layout.make_publishing()?;
        for incoming in incoming {
            let content = FileDigest::listed(&incoming.target);
            let copies = intake::link_copies(incoming, &folder, self.target_names())?.into_iter();
            files.extend(copies.map(|(from, to)| NewTargetFile { from, to, content: content.clone() }));
        }
        Ok(files)
    }

    pub(crate) fn list_files(
        &mut self,
        draft: Draft,
        role: &RoleName,
        (incoming, files): (&[Incoming], &[NewTargetFile]),
        options: &AddOptions,
    ) -> Result<Draft, Error> {
        let mut draft = self.list_targets(draft, role, incoming, options)?;
        // If a pending file has the same path, the new file replaces it.
        let new: BTreeSet<&Path> = files.iter().map(|file| file.to.as_path()).collect();
        draft.files.retain(|waiting| !new.contains(waiting.to.as_path()));
        draft.files.extend_from_slice(files);
        Ok(draft)
    }

    fn list_targets(
        &mut self,
        draft: Draft,
        role: &RoleName,
        incoming: &[Incoming],
        options: &AddOptions,
    ) -> Result<Draft, Error> {
        let folder = self.layout.targets();
        let names = self.target_names();
        let mut edit = Edit::new(&mut self.published, draft);
        edit.refuse_clashes(&incoming.iter().map(|incoming| &incoming.target.path).collect(), &folder, names)?;
        let targets = incoming.iter().map(|incoming| incoming.target.clone()).collect();
        edit.list(role, targets, options, &self.config.immutable)?;
        edit.finish()
    }

    pub(crate) fn target_names(&self) -> TargetNames {
        self.published.root.target_names(self.config.target_names())
    }

    /// Removes files that were copied into the repository but will not be published. Does nothing if the repository was
    /// opened for reading.
    ///
    /// # Errors
    /// [`Error::File`] if a file cannot be removed.
    pub fn forget_incoming(&self) -> Result<(), Error> {
        self.lock.as_ref().map_or(Ok(()), |lock| transaction::recover(&self.layout, lock).map(drop))
    }

    /// Fails with [`Error::Publication`] if the repository was opened only for reading.
    pub(crate) fn lock(&self) -> Result<&Lock, Error> {
        self.lock.as_ref().ok_or_else(|| PublicationError::ReadOnly.into())
    }

    pub(crate) fn unlock(&mut self) {
        self.lock = None;
    }

    /// Starts to open keys in the background. These are the keys of the top-level roles in `roles`, and the keys of
    /// snapshot and timestamp, which every publication needs. Opens only as many keys of a role as its threshold
    /// requires.
    pub fn prefetch_keys(&self, roles: &[RoleName]) {
        for role in roles.iter().chain(&RoleName::ONLINE) {
            if let Ok(ring) = self.published.root.key_ring(role) {
                let here = ring.keys().map(|(_, key)| key).filter(|key| self.keys.has(key));
                self.keys.prefetch(here.take(ring.threshold().get() as usize));
            }
        }
    }
}

#[cfg(not(feature = "http"))]
impl Repository {
    /// A build without the feature `http` cannot contact the server. It therefore refuses to publish if the user has
    /// configured a metadata URL, unless the user chose to ignore the server.
    ///
    /// # Errors
    /// [`Error::Served`] if the user's configuration contains a metadata URL.
    pub(crate) fn compare_with_served(
        &mut self,
        _: &Draft,
        _: &BTreeMap<RoleName, lastmile_metadata::MetaFile>,
    ) -> Result<(), Error> {
        if self.invocation.served == crate::ServedState::Ignore {
            return Ok(());
        }
        match self.invocation.user.metadata_url(self.digest)? {
            None => Ok(()),
            Some(url) => Err(crate::ServedError::Unsupported { url }.into()),
        }
    }
}
