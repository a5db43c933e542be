//! A repository in a temporary folder, and clients that read the repository.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_client::{Error as ClientError, MemoryStore, Updater, blocking};
use lastmile_keys::{PrivateKey, PublicKey, Scheme, Signer as _};
use lastmile_metadata::{RoleName, TargetPath};
use lastmile_repo_tool::internal::key_store::{self};
use lastmile_repo_tool::internal::layout::Layout;
use lastmile_repo_tool::internal::links::Links;
use lastmile_repo_tool::internal::lint::lint;
use lastmile_repo_tool::internal::list::List;
use lastmile_repo_tool::internal::overlay::{METADATA_URL, Overlay, TARGETS_URL};
use lastmile_repo_tool::{
    AddOptions, Draft, Edit, Error, Immutable, Invocation, KeyUri, LockWait, NewRepository, Observer, Outcome,
    Protection, Repository, Severity, Signing, Source, Unobserved, UserConfig, target_path,
};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) now: DateTime<Utc>,
}

impl World {
    pub(crate) fn new() -> Self {
        // Target names are not immutable here, because most tests publish different content under the same name.
        Self::with(&NewRepository { immutable: Immutable::none(), ..NewRepository::new(Protection::None) })
    }

    pub(crate) fn with(new: &NewRepository) -> Self {
        let now = "2030-01-01T12:00:00Z".parse().unwrap();
        let world = Self { folder: folder(), now };
        new.create(&world.dir(), &world.invocation(), &mut Unobserved).unwrap();
        world
    }

    pub(crate) fn copy(&self) -> Self {
        let copy = Self { folder: folder(), now: self.now };
        std::fs::copy(self.user_config(), copy.user_config()).unwrap();
        for entry in walkdir::WalkDir::new(self.dir()) {
            let entry = entry.unwrap();
            let to = copy.dir().join(entry.path().strip_prefix(self.dir()).unwrap());
            if entry.file_type().is_dir() {
                std::fs::create_dir_all(&to).unwrap();
                // Copy the permissions too. With some umasks, other users could otherwise write to the working folders,
                // and the tool would refuse the folders.
                std::fs::set_permissions(to, entry.metadata().unwrap().permissions()).unwrap();
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
        copy
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    pub(crate) fn user_config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    pub(crate) fn layout(&self) -> Layout {
        self.invocation().layout(&self.dir())
    }

    /// Returns an invocation that waits up to ten seconds for the repository's lock. The lock may stay held for a
    /// moment after this process has released it: a child process that another test starts inherits the open lock file
    /// until it executes its program.
    pub(crate) fn invocation(&self) -> Invocation {
        let lock_wait = LockWait { at_most: Duration::from_secs(10), on_wait: Arc::new(|| {}) };
        Invocation { lock_wait, ..Invocation::new(self.now, UserConfig::at(&self.user_config())) }
    }

    pub(crate) fn days_pass(&mut self, days: i64) {
        self.now += TimeDelta::days(days);
    }

    pub(crate) fn open(&self) -> Repository {
        Repository::open_for_change(&self.dir(), &self.invocation()).unwrap()
    }

    /// Returns the texts of the warnings that `lint` reports about `repository`.
    pub(crate) fn warnings(&self, repository: &Repository) -> Vec<String> {
        let found = lint(&repository.published, &repository.config, &repository.keys, self.now);
        found
            .into_iter()
            .filter(|finding| finding.severity() == Severity::Warning)
            .map(|finding| finding.text)
            .collect()
    }

    pub(crate) fn add(&self, name: &str, content: &str) -> Outcome {
        self.try_add(name, content, &mut Unobserved).unwrap()
    }

    pub(crate) fn try_add(&self, name: &str, content: &str, observer: &mut dyn Observer) -> Result<Outcome, Error> {
        self.add_to(&RoleName::TARGETS, name, content, observer)
    }

    pub(crate) fn add_to(
        &self,
        role: &RoleName,
        name: &str,
        content: &str,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, Error> {
        self.publish_file(&self.invocation(), role, (name, content), observer)
    }

    pub(crate) fn add_as(&self, invocation: &Invocation, name: &str, content: &str) -> Result<Outcome, Error> {
        self.publish_file(invocation, &RoleName::TARGETS, (name, content), &mut Unobserved)
    }

    fn publish_file(
        &self,
        invocation: &Invocation,
        role: &RoleName,
        (name, content): (&str, &str),
        observer: &mut dyn Observer,
    ) -> Result<Outcome, Error> {
        let file = self.folder.path().join("file");
        std::fs::write(&file, content).unwrap();
        let mut repository = Repository::open_for_change(&self.dir(), invocation)?;
        let draft = repository.staged()?;
        let sources = [Source::new(file, target_path(name)?)];
        let draft = repository.add_files(draft, role, &sources, &AddOptions::default(), &|_| {})?;
        let plan = repository.plan(draft, Signing::Now)?;
        repository.conclude(&plan, observer)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Edit<'_>)) -> Result<Outcome, Error> {
        self.change_with(&[], &mut Unobserved, change)
    }

    /// Makes `change`, and adds `keys` to the configured keys of every role, so that these keys can sign the change.
    /// Publishes the change or, if signatures are missing, stores it as the pending change.
    pub(crate) fn change_with(
        &self,
        keys: &[KeyUri],
        observer: &mut dyn Observer,
        change: impl FnOnce(&mut Edit<'_>),
    ) -> Result<Outcome, Error> {
        let mut repository = Repository::open_for_change(&self.dir(), &self.invocation())?;
        for key in keys {
            repository.keys.add(&self.dir(), key);
        }
        let draft = repository.staged()?;
        let mut edit = repository.edit(draft);
        change(&mut edit);
        let mut draft = edit.finish()?;
        let mut config = repository.config.clone();
        config.edit_roles(|_, role| role.keys.extend(keys.iter().cloned()));
        draft.set_config(config);
        let plan = repository.plan(draft, Signing::Now)?;
        repository.conclude(&plan, observer)
    }

    /// Signs and publishes the pending change.
    pub(crate) fn publish_pending(&self) {
        let mut repository = self.open();
        let draft = repository.staged().unwrap();
        let plan = repository.plan(draft, Signing::All).unwrap();
        assert!(is_published(&repository.conclude(&plan, &mut Unobserved).unwrap()));
    }

    /// Signs the timestamp and the snapshot again.
    pub(crate) fn renew(&self) -> Result<Outcome, Error> {
        let mut repository = Repository::open_for_change(&self.dir(), &self.invocation())?;
        let draft = Draft::renew_online_roles();
        let plan = repository.plan(draft, Signing::Now)?;
        repository.conclude(&plan, &mut Unobserved)
    }

    /// Generates a key in the repository's key folder.
    pub(crate) fn key(&self, name: &str) -> (PublicKey, KeyUri) {
        let key = PrivateKey::generate(Scheme::Ed25519).unwrap();
        key_store::write(&self.layout().keys(), name, &key, &Protection::None).unwrap();
        (key.public_key().clone(), KeyUri::File(Path::new("keys").join(format!("{name}.pem"))))
    }

    pub(crate) fn without_key(&self, name: &str, work: impl FnOnce()) {
        let (key, away) =
            (self.layout().keys().join(format!("{name}.pem")), self.folder.path().join("key-that-is-away"));
        std::fs::rename(&key, &away).unwrap();
        work();
        std::fs::rename(&away, &key).unwrap();
    }

    pub(crate) fn public(&self, name: &str) -> PublicKey {
        key_store::read_public_key(&self.layout().keys().join(format!("{name}.pub")), Links::Refuse).unwrap()
    }

    pub(crate) fn metadata(&self, file: &str) -> Value {
        let path = self.layout().metadata().join(file);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    /// Returns the paths of all files below the repository's folder `folder`, relative to it and sorted.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let folder = self.dir().join(folder);
        let files = walkdir::WalkDir::new(&folder).into_iter().map(Result::unwrap);
        let files = files.filter(|entry| entry.file_type().is_file());
        let mut names: Vec<String> =
            files.map(|entry| entry.path().strip_prefix(&folder).unwrap().to_str().unwrap().to_string()).collect();
        names.sort();
        names
    }

    /// Creates a client that ships with version `version` of the root.
    pub(crate) fn client(&self, version: u64, store: &MemoryStore) -> blocking::Updater {
        let root = std::fs::read(self.layout().metadata().join(format!("{version}.root.json"))).unwrap();
        let updater = Updater::builder(root)
            .mirror(METADATA_URL, TARGETS_URL)
            .fetch(Overlay::published(&self.layout()))
            .store(store.clone())
            .build()
            .unwrap();
        blocking::Updater::new(updater).unwrap()
    }

    /// Downloads the target `name` with a new client. Returns `None` if the client does not find the target.
    pub(crate) fn fetch(&self, name: &str) -> Result<Option<Vec<u8>>, ClientError> {
        self.fetch_with(&MemoryStore::default(), name)
    }

    /// Like [`World::fetch`], but the client keeps its state in `store`, which an earlier client may have used.
    pub(crate) fn fetch_with(&self, store: &MemoryStore, name: &str) -> Result<Option<Vec<u8>>, ClientError> {
        let mut session = self.client(1, store).refresh_at(self.now)?;
        let Some(target) = session.find(&TargetPath::new(name).unwrap())? else {
            return Ok(None);
        };
        let to = self.folder.path().join("fetched");
        session.download(&target, &to)?;
        Ok(Some(std::fs::read(to).unwrap()))
    }
}

/// Creates a temporary folder, in memory if possible, because `fsync` is fast in a file system in memory.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn is_published(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Published { .. })
}

pub(crate) fn target_list(text: &str) -> List {
    List::read_from(text.as_bytes(), Path::new("list"), &tempfile::env::temp_dir(), &|_| {}).unwrap()
}

/// Writes a line to standard error. In contrast to the output of `eprintln!`, the line is visible even if the test
/// passes.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
