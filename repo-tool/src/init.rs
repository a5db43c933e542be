//! Creates a repository: its keys, its configuration, and the first version of every role.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use lastmile_fs::disk;
use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use lastmile_metadata::{Header, Key, KeyId, RoleKeys, RoleName, Root, Targets, Threshold, Version};

use crate::check::policies::FailingPackages;
use crate::config::{Config, KeyUri, MAX_DAYS, MAX_KEYS, RoleConfig};
use crate::draft::Draft;
use crate::files::access;
use crate::files::git_ignore;
use crate::files::layout::Layout;
use crate::files::own_files;
use crate::immutable::Immutable;
use crate::key_store::{self, KeyStore, Protection};
use crate::named_signer::NamedSigner;
use crate::pin::Authority;
use crate::publish::completion::Completion;
use crate::publish::observer::Observer;
use crate::publish::plan::Plan;
use crate::publish::publication::Publication;
use crate::publish::transaction;
use crate::publish::versions::Issued;
use crate::report::diff;
use crate::role_content::RoleContent;
use crate::root_digest::RootDigest;
use crate::user::PinnedRoot;
use crate::{EditError, Error, InvalidInput, Invocation, PathError, parallel};

/// The settings of a new repository.
#[derive(Clone)]
pub struct NewRepository {
    /// The signature scheme of the generated keys.
    pub scheme: Scheme,
    /// Whether the repository has consistent snapshots, which means that the names of snapshot and targets metadata
    /// files contain the version.
    pub consistent_snapshot: bool,
    /// Whether the name of each target file contains the hash of the file.
    pub hash_prefixed_targets: bool,
    /// The patterns that match the names of immutable targets. The content of an immutable target must not change after
    /// publication.
    pub immutable: Immutable,
    /// The thresholds that differ from the default, by role.
    pub thresholds: BTreeMap<String, u32>,
    /// The lifetimes that differ from the default, in days, by role.
    pub expiry_days: BTreeMap<String, u32>,
    /// The folder for the private keys. If it is `None`, the keys are stored in the folder `keys/` of the repository.
    pub keys: Option<PathBuf>,
    /// The protection of the private root and targets keys on disk.
    pub offline_keys: Protection,
    /// The protection of the private snapshot and timestamp keys on disk.
    pub online_keys: Protection,
    /// The signers for top-level roles, such as hardware tokens and key services. No key files are generated for a role
    /// with signers. Later runs must provide the same signers ([`Invocation::signers`]).
    pub signers: BTreeMap<RoleName, Vec<NamedSigner>>,
}

impl NewRepository {
    /// Returns secure default settings: consistent snapshots, immutable targets, 3 root keys with a threshold of 2, and
    /// one key for each other role.
    #[must_use]
    pub fn new(keys: Protection) -> Self {
        Self {
            scheme: Scheme::Ed25519,
            consistent_snapshot: true,
            hash_prefixed_targets: true,
            immutable: Immutable::all(),
            thresholds: BTreeMap::new(),
            expiry_days: BTreeMap::new(),
            keys: None,
            offline_keys: keys.clone(),
            online_keys: keys,
            signers: BTreeMap::new(),
        }
    }

    /// Returns the initial configuration of `role`, without its keys.
    #[must_use]
    pub fn role(&self, role: &RoleName) -> RoleConfig {
        let mut config = RoleConfig::default_for(role);
        if let Some(threshold) = self.thresholds.get(role.as_str()) {
            config.threshold = *threshold;
        }
        if let Some(days) = self.expiry_days.get(role.as_str()) {
            config.set_expires_days(*days);
        }
        config
    }

    /// Returns the number of keys to generate for `role` if the role has no entry in [`NewRepository::signers`]. The
    /// number is the threshold of the role, plus one spare key for root (rule R-x-4 in `tests/spec-rows.txt`).
    #[must_use]
    pub fn key_count(&self, role: &RoleName) -> u32 {
        self.role(role).threshold + u32::from(*role == RoleName::ROOT)
    }

    /// Creates the repository in `dir`, which must not contain a repository yet. If an earlier call was interrupted
    /// after it had written its journal, finishes the creation of that repository and returns
    /// [`PathError::RepositoryFinished`].
    ///
    /// # Errors
    /// [`Error::Path`] if a repository already exists, [`Error::InvalidInput`] if a setting is out of range or a signer
    /// is for a delegated role, [`Error::Edit`] if a role has fewer signers than its threshold, and [`Error::File`] if
    /// a file cannot be written.
    pub fn create(&self, dir: &Path, invocation: &Invocation, observer: &mut dyn Observer) -> Result<Plan, Error> {
        self.check_numbers()?;
        self.check_signers()?;
        let layout = invocation.layout(dir);
        if !transaction::is_interrupted(&layout) {
            refuse_existing(&layout)?;
        }
        let folder = self.keys.clone().unwrap_or_else(|| layout.keys());
        own_files::refuse_served(&layout, &folder)?;
        disk::make_folders(dir, 0o777).map_err(|error| Error::file("create", dir, error))?;
        let lock = layout.lock()?;
        if transaction::recover(&layout, &lock)? {
            return Err(PathError::RepositoryFinished { path: dir.to_path_buf() }.into());
        }
        refuse_existing(&layout)?;
        for folder in ["metadata", "targets"] {
            layout.open()?.enter_or_make(folder, 0o777, layout.sharing())?;
        }
        // Check again now that `metadata/` and `targets/` exist, because the key folder may be a link into one of them.
        own_files::refuse_served(&layout, &folder)?;
        access::create_private_folder(&folder)?;
        git_ignore::write(&layout, &folder)?;
        invocation.user.check_writable()?;
        let mut key_files = Vec::new();
        let (plan, config) = self.plan(&layout, invocation, &mut key_files)?;
        let publication = Publication {
            layout: &layout,
            published: None,
            plan: &plan,
            config: &config,
            key_files: &key_files,
            failing: FailingPackages::Refuse,
        };
        // Pin the root before publishing, so that an interruption never leaves an unpinned repository behind.
        if let Some(root) = &plan.completed.root {
            let digest = RootDigest::of(&root.file()?);
            invocation.user.pin(digest, PinnedRoot { version: root.version, digest })?;
            invocation.user.set_repository_in(dir, digest)?;
            for uri in config.key_uris().iter().filter(|uri| !uri.is_below(dir)) {
                invocation.user.allow_key(digest, &uri.path(dir))?;
            }
        }
        publication.publish(&lock, invocation.now, observer)?;
        Ok(plan)
    }

    /// Performs all checks of [`NewRepository::create`], but does not write any file. The keys in the result are
    /// examples and are not stored.
    ///
    /// # Errors
    /// Returns the same errors as [`NewRepository::create`]. If an earlier creation was interrupted, returns
    /// [`PathError::RepositoryUnfinished`].
    pub fn preview(&self, dir: &Path, invocation: &Invocation) -> Result<Plan, Error> {
        self.check_numbers()?;
        self.check_signers()?;
        let layout = invocation.layout(dir);
        if dir.is_dir() && transaction::is_interrupted(&layout) {
            return Err(PathError::RepositoryUnfinished { path: dir.to_path_buf() }.into());
        }
        refuse_existing(&layout)?;
        let folder = self.keys.clone().unwrap_or_else(|| layout.keys());
        own_files::refuse_served(&layout, &folder)?;
        access::check_creatable(dir)?;
        let above = parent_of(&folder);
        if !folder.exists() && !dir.starts_with(above) {
            access::check_writable(above)?;
        }
        if dir.is_dir() {
            transaction::check_recoverable(&layout)?;
        }
        invocation.user.check_creatable()?;
        let [offline_keys, online_keys] = [Protection::NotWritten, Protection::NotWritten];
        let examples = Self { offline_keys, online_keys, ..self.clone() };
        let (plan, config) = examples.plan(&layout, invocation, &mut Vec::new())?;
        let publication = Publication {
            layout: &layout,
            published: None,
            plan: &plan,
            config: &config,
            key_files: &[],
            failing: FailingPackages::Refuse,
        };
        publication.preview(invocation.now)?;
        Ok(plan)
    }

    /// Generates the keys, and creates and signs the first version of each role.
    fn plan(
        &self,
        layout: &Layout,
        invocation: &Invocation,
        key_files: &mut Vec<String>,
    ) -> Result<(Plan, Config), Error> {
        let (config, store, root) = self.keys_and_root(layout, invocation, key_files)?;
        let empty = Targets::new(Version::ONE, DateTime::<Utc>::UNIX_EPOCH);
        let mut draft = Draft { root: Some(root), config: Some(config.clone()), ..Draft::default() };
        draft.targets.insert(RoleName::TARGETS, RoleContent::Held(empty));
        let completion = Completion {
            published: None,
            config: &config,
            keys: Some(&store),
            issued: &Issued::default(),
            authority: &Authority::of_new_repository(),
            entries: BTreeMap::new(),
            signs_staged: false,
            accepted: &invocation.accepted,
            now: invocation.now,
        };
        let mut completed = draft.complete(&completion)?;
        let diff = diff::diff(None, &draft, &mut completed)?;
        let plan = Plan { draft, completed, diff, pending: Vec::new() };
        Ok((plan, config))
    }

    /// Refuses thresholds and lifetimes that are out of range, before any file is written.
    fn check_numbers(&self) -> Result<(), Error> {
        for (numbers, most, what) in
            [(&self.thresholds, MAX_KEYS, "threshold"), (&self.expiry_days, MAX_DAYS, "expiry")]
        {
            if let Some((role, _)) = numbers.iter().find(|(_, number)| !(1..=most).contains(*number)) {
                return Err(InvalidInput::OutOfRange { what, role: role.clone(), most }.into());
            }
        }
        Ok(())
    }

    /// Refuses signers for delegated roles, and roles that have fewer signers than their threshold.
    fn check_signers(&self) -> Result<(), Error> {
        for (role, signers) in &self.signers {
            if !role.is_top_level() {
                return Err(InvalidInput::NotTopLevel { role: role.clone() }.into());
            }
            let keys = signers.iter().map(NamedSigner::public_key).collect::<BTreeSet<_>>().len();
            let threshold = self.role(role).threshold;
            if keys < threshold as usize {
                return Err(EditError::UnreachableThreshold { threshold, keys }.into());
            }
        }
        Ok(())
    }

    /// In a preview, the key file does not exist, so an error of [`key_uri`] is ignored.
    fn new_key_uri(&self, layout: &Layout, folder: &Path, name: &str) -> Result<KeyUri, Error> {
        match (&self.offline_keys, key_uri(layout, folder, name)) {
            (Protection::NotWritten, Err(_)) => Ok(KeyUri::File(folder.join(format!("{name}.pem")))),
            (_, uri) => uri,
        }
    }

    /// If the keys are stored in the repository, their files are first written
    /// to `.publishing/` and then moved together with the other files. A crash therefore leaves no key files behind.
    fn keys_and_root(
        &self,
        layout: &Layout,
        invocation: &Invocation,
        key_files: &mut Vec<String>,
    ) -> Result<(Config, KeyStore, Root), Error> {
        let mut config = Config::new();
        if !self.consistent_snapshot {
            config.disable_consistent_snapshot();
        }
        if !self.hash_prefixed_targets {
            config.disable_hash_prefixes();
        }
        config.set_immutable(self.immutable.clone());
        let mut store = KeyStore::new(layout.dir(), [], std::sync::Arc::clone(&invocation.phrases));
        let mut root = Root {
            header: Header::new(Version::ONE, invocation.now),
            consistent_snapshot: self.consistent_snapshot,
            keys: BTreeMap::new(),
            roles: BTreeMap::new(),
        };
        let folder = self.keys.clone().unwrap_or_else(|| layout.keys());
        let roles = [RoleName::ROOT, RoleName::TARGETS, RoleName::SNAPSHOT, RoleName::TIMESTAMP];
        let wanted: Vec<(RoleName, String)> = roles
            .iter()
            .filter(|role| !self.signers.contains_key(role))
            .flat_map(|role| (1..=self.key_count(role)).map(move |number| (role.clone(), format!("{role}-{number}"))))
            .collect();
        let publishing = layout.publishing();
        let written_to = if self.keys.is_some() { &folder } else { &publishing };
        // Every repository gets its own keys (rule R-x-3 in `tests/spec-rows.txt`). Generate the keys in parallel,
        // because encrypting a key takes a third of a second.
        let keys = parallel::try_map(&wanted, |(role, name)| {
            let key = PrivateKey::generate(self.scheme).map_err(|error| Error::key(name, error))?;
            let online = matches!(role.as_str(), "snapshot" | "timestamp");
            let protection = if online { &self.online_keys } else { &self.offline_keys };
            if matches!(protection, Protection::NotWritten) && folder.exists() {
                check_key_is_new(&folder, name)?;
            }
            key_store::write(written_to, name, &key, protection)?;
            Ok(key)
        })?;
        if self.keys.is_none() {
            key_files.extend(wanted.iter().flat_map(|(_, name)| [format!("{name}.pem"), format!("{name}.pub")]));
        }
        let mut named = wanted.into_iter().zip(keys).peekable();
        for role in roles {
            let mut role_config = self.role(&role);
            let mut keyids: Vec<KeyId> = Vec::new();
            while let Some(((_, name), key)) = named.next_if(|((of, _), _)| *of == role) {
                let uri = self.new_key_uri(layout, &folder, &name)?;
                let public = Key::from_public(key.public_key());
                keyids.push(public.keyid());
                root.keys.insert(public.keyid(), public);
                store.add_open(layout.dir(), &uri, key);
                role_config.keys.push(uri);
            }
            for signer in self.signers.get(&role).into_iter().flatten() {
                let public = Key::from_public(signer.public_key());
                if !keyids.contains(&public.keyid()) {
                    keyids.push(public.keyid());
                }
                root.keys.insert(public.keyid(), public);
                store.add_named(signer.clone());
            }
            let threshold = Threshold::new(role_config.threshold)
                .ok_or_else(|| InvalidInput::ThresholdOf { role: role.clone() })?;
            root.roles.insert(role.clone(), RoleKeys::new(keyids, threshold));
            config.set_role(role.as_str(), role_config);
        }
        Ok((config, store, root))
    }
}

fn parent_of(folder: &Path) -> &Path {
    folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks that the files of a new key `name` could be written to `folder`, without writing them.
///
/// # Errors
/// [`PathError::KeyExists`] if one of the files exists, [`Error::File`] if the folder cannot be created or written to,
/// and [`Error::InvalidInput`] if `name` is not a valid key name.
pub(crate) fn check_key_is_new(folder: &Path, name: &str) -> Result<(), Error> {
    key_store::check_name(name)?;
    // Only the last folder of the path would be created, so its parent folder must be writable.
    let is_there = folder.symlink_metadata().is_ok();
    access::check_writable(if is_there { folder } else { parent_of(folder) })?;
    for end in ["pem", "pub"] {
        let path = folder.join(format!("{name}.{end}"));
        if path.symlink_metadata().is_ok() {
            return Err(PathError::KeyExists { path }.into());
        }
    }
    Ok(())
}

/// Returns the URI with which `repo.toml` refers to the key `name` in `folder`. The path in the URI is relative if the
/// key is inside the repository, and absolute otherwise.
///
/// # Errors
/// Returns an error if the key file does not exist, unless `folder` starts with the path of the repository.
pub(crate) fn key_uri(layout: &Layout, folder: &Path, name: &str) -> Result<KeyUri, Error> {
    key_file_uri(layout, &folder.join(format!("{name}.pem")))
}

/// Returns the URI with which `repo.toml` refers to a private key file, in the same form as [`key_uri`].
///
/// # Errors
/// Returns an error if `file` does not exist, unless it starts with the path of the repository.
pub(crate) fn key_file_uri(layout: &Layout, file: &Path) -> Result<KeyUri, Error> {
    if let Ok(relative) = file.strip_prefix(layout.dir()) {
        return Ok(KeyUri::File(relative.to_path_buf()));
    }
    let absolute = |path: &Path| path.canonicalize().map_err(|error| Error::file("find", path, error));
    let file = absolute(file)?;
    let dir = absolute(layout.dir())?;
    Ok(KeyUri::File(file.strip_prefix(&dir).map(Path::to_path_buf).unwrap_or(file)))
}

fn refuse_existing(layout: &Layout) -> Result<(), Error> {
    for path in [layout.config(), layout.metadata().join("1.root.json"), layout.keys().join("root-1.pem")] {
        if path.symlink_metadata().is_ok() {
            return Err(PathError::RepositoryExists { path: path.to_path_buf() }.into());
        }
    }
    Ok(())
}
