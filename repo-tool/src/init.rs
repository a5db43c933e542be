//! A new repository: keys, policy, and the first version of every role.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use lastmile_client::disk;
use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use lastmile_metadata::{Header, Key, KeyId, RoleKeys, RoleName, Root, Targets, Threshold, Version};

use crate::diff;
use crate::draft::{Completion, Draft};
use crate::key_store::{self, KeyStore, Protection};
use crate::layout::{self, Layout};
use crate::own_files;
use crate::pin::Authority;
use crate::policy::{KeyUri, Policy, RolePolicy};
use crate::publication::{self, Observer};
use crate::publish::Release;
use crate::repository::Plan;
use crate::user::{PinnedRoot, RootDigest};
use crate::versions::Issued;
use crate::{Error, InvalidInput, PathError, Setting, git_ignore, parallel};

/// What a new repository is to be like.
#[derive(Clone)]
pub struct NewRepository {
    /// Kind of all keys.
    pub scheme: Scheme,
    /// Metadata files carry their version in their name.
    pub consistent_snapshot: bool,
    /// Target files carry their hash in their name.
    pub hash_prefixed_targets: bool,
    /// Thresholds that are not the default, by role.
    pub thresholds: BTreeMap<String, u32>,
    /// Days to expiry that are not the default, by role.
    pub expiry_days: BTreeMap<String, u32>,
    /// Where the private keys go; `keys/` of the repository if none.
    pub keys: Option<PathBuf>,
    /// How the root and targets keys are written.
    pub offline_keys: Protection,
    /// How the snapshot and timestamp keys are written.
    pub online_keys: Protection,
}

impl NewRepository {
    /// Safe defaults: everything consistent, two of three root keys, one key for each other role.
    #[must_use]
    pub fn new(keys: Protection) -> Self {
        Self {
            scheme: Scheme::Ed25519,
            consistent_snapshot: true,
            hash_prefixed_targets: true,
            thresholds: BTreeMap::new(),
            expiry_days: BTreeMap::new(),
            keys: None,
            offline_keys: keys.clone(),
            online_keys: keys,
        }
    }

    /// The policy of `role`, without its keys.
    #[must_use]
    pub fn role(&self, role: &RoleName) -> RolePolicy {
        let mut policy = RolePolicy::default_for(role);
        if let Some(threshold) = self.thresholds.get(role.as_str()) {
            policy.threshold = *threshold;
        }
        if let Some(days) = self.expiry_days.get(role.as_str()) {
            policy.set_expires_days(*days);
        }
        policy
    }

    /// How many keys `role` gets: as many as must sign, and for root one more, so that one may get lost.
    #[must_use]
    pub fn key_count(&self, role: &RoleName) -> u32 {
        self.role(role).threshold + u32::from(*role == RoleName::ROOT)
    }

    /// Makes the repository in `dir`, which must hold none.
    ///
    /// # Errors
    /// [`Error::Path`] when something is there already; else what the machine says.
    pub fn create(&self, dir: &Path, setting: &Setting, observer: &mut dyn Observer) -> Result<Plan, Error> {
        let layout = setting.layout(dir);
        if !publication::is_interrupted(&layout) {
            refuse_existing(&layout)?;
        }
        let folder = self.keys.clone().unwrap_or_else(|| layout.keys());
        own_files::refuse_served(&layout, &folder)?;
        disk::make_folders(dir, 0o777).map_err(|error| Error::file("create", dir, error))?;
        let lock = layout.lock()?;
        if publication::recover(&layout, &lock)? {
            return Err(PathError::RepositoryFinished { path: dir.to_path_buf() }.into());
        }
        refuse_existing(&layout)?;
        for folder in ["metadata", "targets"] {
            layout.open()?.enter_or_make(folder, 0o777, layout.sharing())?;
        }
        // Checked again now that both folders exist: one may be a link into the other.
        own_files::refuse_served(&layout, &folder)?;
        layout::create_private_folder(&folder)?;
        git_ignore::write(&layout, &folder)?;
        setting.user.check_writable()?;
        let mut key_files = Vec::new();
        let (policy, store, root) = self.keys_and_root(&layout, setting, &mut key_files)?;
        let empty = Targets::new(Version::ONE, DateTime::<Utc>::UNIX_EPOCH);
        let mut draft = Draft { root: Some(root), policy: Some(policy.clone()), ..Draft::default() };
        draft.targets.insert(RoleName::TARGETS, empty);
        let completion = Completion {
            published: None,
            policy: &policy,
            keys: Some(&store),
            issued: &Issued::default(),
            authority: &Authority::of_new_repository(),
            entries: BTreeMap::new(),
            signs_staged: false,
            accepted: &setting.accepted,
            now: setting.now,
        };
        let mut completed = draft.complete(&completion)?;
        let diff = diff::diff(None, &draft, &mut completed);
        let plan = Plan { draft, completed, diff };
        let release = Release {
            layout: &layout,
            lock: &lock,
            published: None,
            plan: &plan,
            policy: &policy,
            key_files: &key_files,
        };
        // Before anything is published: a repository that is there is pinned, whatever is cut short.
        if let Some(root) = &plan.completed.root {
            let digest = RootDigest::of(&root.file());
            setting.user.pin(digest, PinnedRoot { version: root.version, digest })?;
            setting.user.set_repository_in(dir, digest)?;
            for uri in policy.key_uris().iter().filter(|uri| !uri.is_below(dir)) {
                setting.user.allow_key(digest, &uri.path(dir))?;
            }
        }
        release.publish(setting.now, observer)?;
        Ok(plan)
    }

    /// Keys in the repository are written to `.publishing/`, and get their place with the rest: a crash leaves none.
    fn keys_and_root(
        &self,
        layout: &Layout,
        setting: &Setting,
        key_files: &mut Vec<String>,
    ) -> Result<(Policy, KeyStore, Root), Error> {
        let mut policy = Policy::new(self.consistent_snapshot, self.hash_prefixed_targets);
        let mut store = KeyStore::new(layout.dir(), [], std::sync::Arc::clone(&setting.phrases));
        let mut root = Root {
            header: Header::new(Version::ONE, setting.now),
            consistent_snapshot: self.consistent_snapshot,
            keys: BTreeMap::new(),
            roles: BTreeMap::new(),
        };
        let folder = self.keys.clone().unwrap_or_else(|| layout.keys());
        let roles = [RoleName::ROOT, RoleName::TARGETS, RoleName::SNAPSHOT, RoleName::TIMESTAMP];
        let wanted: Vec<(RoleName, String)> = roles
            .iter()
            .flat_map(|role| (1..=self.key_count(role)).map(move |number| (role.clone(), format!("{role}-{number}"))))
            .collect();
        let publishing = layout.publishing();
        let written_to = if self.keys.is_some() { &folder } else { &publishing };
        // Encrypting one takes a third of a second.
        let keys = parallel::try_map(&wanted, |(role, name)| {
            let key = PrivateKey::generate(self.scheme).map_err(|error| Error::key(name, error))?;
            let online = matches!(role.as_str(), "snapshot" | "timestamp");
            key_store::write(written_to, name, &key, if online { &self.online_keys } else { &self.offline_keys })?;
            Ok(key)
        })?;
        if self.keys.is_none() {
            key_files.extend(wanted.iter().flat_map(|(_, name)| [format!("{name}.pem"), format!("{name}.pub")]));
        }
        let mut named = wanted.into_iter().zip(keys).peekable();
        for role in roles {
            let mut role_policy = self.role(&role);
            let mut keyids: Vec<KeyId> = Vec::new();
            while let Some(((_, name), key)) = named.next_if(|((of, _), _)| *of == role) {
                let uri = key_uri(layout, &folder, &name)?;
                let public = Key::from_public(key.public_key());
                keyids.push(public.keyid());
                root.keys.insert(public.keyid(), public);
                store.add_open(layout.dir(), &uri, key);
                role_policy.keys.push(uri);
            }
            let threshold = Threshold::new(role_policy.threshold)
                .ok_or_else(|| InvalidInput::ThresholdOf { role: role.clone() })?;
            root.roles.insert(role.clone(), RoleKeys::new(keyids, threshold));
            policy.set_role(role.as_str(), role_policy);
        }
        Ok((policy, store, root))
    }
}

/// How the policy names the key `name` in `folder`: relative inside the repository, absolute elsewhere.
///
/// # Errors
/// When `folder` is not there.
pub fn key_uri(layout: &Layout, folder: &Path, name: &str) -> Result<KeyUri, Error> {
    let file = folder.join(format!("{name}.pem"));
    if let Ok(relative) = file.strip_prefix(layout.dir()) {
        return Ok(KeyUri::File(relative.to_path_buf()));
    }
    let absolute = |path: &Path| path.canonicalize().map_err(|error| Error::file("find", path, error));
    let (file, dir) = (absolute(&file)?, absolute(layout.dir())?);
    Ok(KeyUri::File(file.strip_prefix(&dir).map(Path::to_path_buf).unwrap_or(file)))
}

fn refuse_existing(layout: &Layout) -> Result<(), Error> {
    for path in [layout.policy(), layout.metadata().join("1.root.json"), layout.keys().join("root-1.pem")] {
        if path.symlink_metadata().is_ok() {
            return Err(PathError::RepositoryExists { path: path.to_path_buf() }.into());
        }
    }
    Ok(())
}
