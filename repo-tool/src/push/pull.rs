//! Downloads a complete repository into a new folder.
//!
//! Everything is verified from the root that the user trusts. Target files get their final names as
//! soon as they are verified, so a repeated pull continues where an interrupted pull stopped. The
//! metadata and `repo.toml` are written together at the end, so no other command uses an incomplete
//! folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use lastmile_client::blocking::Session;
use lastmile_client::{BaseUrl, Error as ClientError, Fetch as _, FetchError, MemoryStore, StoredFile, Target};
use lastmile_fs::disk;
use lastmile_metadata::{RoleName, TargetFile, TargetNames, Version};

use crate::check::Checked;
use crate::check::overlay::Overlay;
use crate::check::simulated_client::{self, from_client};
use crate::config::{Config, RoleConfig};
use crate::edit::intake;
use crate::files::access::MAX_METADATA_LENGTH;
use crate::files::folder::Folder;
use crate::files::layout::{Layout, Lock};
use crate::invocation::Invocation;
use crate::publish::journal::{Existing, FileKind};
use crate::publish::observer::Unobserved;
use crate::publish::transaction::{self, Content, Transaction};
use crate::published::Published;
use crate::push::Progress;
use crate::push::settings::ServedSnapshot;
use crate::report::overview::minute;
use crate::root_digest::RootDigest;
use crate::served::Served;
use crate::served::catch_up::check_pin;
use crate::served::download::download_each;
use crate::served::transport::Transport;
use crate::{Error, NetworkError, PublicationError, PushError, Repository, names};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetFiles {
    Download,
    /// Download only metadata.
    Skip,
}

/// Whether a pull accepts an expired timestamp or snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    /// Accept expired metadata, because the user has stated that nobody renewed the repository in time.
    Accept,
    /// Refuse expired metadata. The server may be replaying an old state, and a renewal after the pull would make this
    /// state valid again.
    Refuse,
}

pub(crate) struct Pull<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) invocation: &'a Invocation,
    pub(crate) transport: Transport,
    pub(crate) metadata_url: BaseUrl,
    /// How target files are named if the repository has consistent snapshots. Otherwise, they have plain names.
    pub(crate) names: TargetNames,
    pub(crate) targets: TargetFiles,
    pub(crate) expired: Expired,
    pub(crate) progress: &'a dyn Progress,
}

#[derive(Debug)]
pub(crate) struct Pulled {
    /// The digest of the oldest root.
    pub(crate) repository: RootDigest,
    pub(crate) snapshot: ServedSnapshot,
    /// The versions of root, snapshot and timestamp.
    pub(crate) versions: BTreeMap<RoleName, Version>,
    /// The number of targets.
    pub(crate) targets: usize,
}

impl Pull<'_> {
    /// Verifies the repository, and returns its state without writing anything.
    ///
    /// # Errors
    /// [`Error::NotPinned`] if the user trusts no root of the repository.
    pub(crate) fn preview(&self) -> Result<Pulled, Error> {
        let (root, mut served) = self.verify()?;
        let targets = served.session.list().map_err(from_client)?;
        Ok(pulled(&root, &served, targets.len()))
    }

    /// Downloads the repository.
    ///
    /// # Errors
    /// Returns the errors of [`Pull::preview`], and an error if a target file cannot be downloaded.
    pub(crate) fn run(&self) -> Result<Pulled, Error> {
        let (root, mut served) = self.verify()?;
        let made = disk::make_folders_of_owner(self.dir, 0o777);
        made.map_err(|error| Error::file("create", self.dir, error))?;
        let layout = self.invocation.layout(self.dir);
        let lock = layout.lock_within(self.invocation.lock_wait.at_most, self.invocation.lock_wait.on_wait.as_ref())?;
        transaction::recover(&layout, &lock)?;
        let targets = served.session.list().map_err(from_client)?;
        if self.targets == TargetFiles::Download {
            self.download(&layout, &mut served, &targets)?;
        }
        self.publish(&layout, &lock, &root, &served)?;
        let repository = Repository::open_layout(layout, self.invocation, Some(lock))?;
        repository.move_pin()?;
        Ok(pulled(&root, &served, targets.len()))
    }

    /// Fetches the oldest root and verifies the repository, starting from this root. The root that
    /// the user trusts must be part of the chain of roots.
    fn verify(&self) -> Result<(Vec<u8>, Served), Error> {
        let root = self.first_root()?;
        let digest = RootDigest::of(&root);
        let layout = self.invocation.layout(self.dir);
        if self.invocation.given_root.is_none() && self.invocation.user.pinned_root(digest)?.is_none() {
            return Err(Error::NotPinned { folder: self.dir.to_path_buf(), digest: digest.to_string() });
        }
        let served = Served::fetch_with(&self.transport, &self.metadata_url, root.clone(), self.names);
        let served = served.map_err(NetworkError::of_reading)?;
        check_pin(&layout, self.invocation, digest, &root, &served)?;
        self.check_age(digest, &served)?;
        Ok((root, served))
    }

    /// Returns an error if the server seems to replay an old state. There are two signs of a replay: the timestamp or
    /// the snapshot has expired, or the user's configuration records a newer snapshot. [`Expired::Accept`] ignores the
    /// first sign.
    fn check_age(&self, repository: RootDigest, served: &Served) -> Result<(), Error> {
        let url = || self.metadata_url.clone();
        let (timestamp, snapshot) = (served.trusted().timestamp(), served.trusted().snapshot());
        for (role, expires) in [(RoleName::TIMESTAMP, timestamp.expires), (RoleName::SNAPSHOT, snapshot.expires)] {
            if self.expired == Expired::Refuse && expires <= self.invocation.now {
                return Err(PushError::Expired { url: url(), role, expires: minute(expires) }.into());
            }
        }
        let user = &self.invocation.user;
        for name in user.destinations(repository)? {
            let stored = user.destination(repository, &name)?;
            let stored = stored.filter(|stored| stored.url.folder("metadata") == self.metadata_url);
            if let Some(known) = stored.and_then(|stored| stored.served)
                && known.version > snapshot.version
            {
                let (served, known) = (snapshot.version, known.version);
                return Err(PushError::WentBack { url: url(), served, known }.into());
            }
        }
        Ok(())
    }

    fn first_root(&self) -> Result<Vec<u8>, Error> {
        let url = self.metadata_url.file(&RoleName::ROOT.file_name(Some(Version::ONE)));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NetworkError::Runtime)?;
        let most = MAX_METADATA_LENGTH.min(1 << 24);
        let fetched = runtime.block_on(async {
            let response = self.transport.fetch_metadata(url.as_str(), most).await?;
            response.read_all(most).await
        });
        fetched.map_err(|error: FetchError| NetworkError::Fetch(error).into())
    }

    fn download(&self, layout: &Layout, served: &mut Served, targets: &[TargetFile]) -> Result<(), Error> {
        let names = served.trusted().root().target_names(self.names);
        let folder = layout.open()?;
        self.progress.begin(targets.len());
        let targets: Vec<&TargetFile> = targets.iter().collect();
        let looked_up = |_: &TargetFile, found: Result<Target, ClientError>| found.map(Some).map_err(from_client);
        download_each(&mut served.session, &targets, looked_up, |session, target| {
            self.download_target(layout, &folder, session, target, names)?;
            self.progress.uploaded();
            Ok(())
        })?;
        Ok(())
    }

    fn download_target(
        &self,
        layout: &Layout,
        folder: &Folder,
        session: &Session,
        target: &Target,
        names: TargetNames,
    ) -> Result<(), Error> {
        let mut first: Option<PathBuf> = None;
        for place in intake::published_paths(target, names) {
            let place = Path::new("targets").join(place);
            let parent = folder.descend(place.parent().unwrap_or(Path::new("")), 0o777, layout.sharing())?;
            let path = parent.path_of(names::of_file(&place)?);
            match &first {
                None => drop(session.download(target, &path).map_err(local)?),
                Some(first) if path.symlink_metadata().is_err() => {
                    let linked = disk::link_or_copy(first, &path);
                    linked.map_err(|error| Error::file("copy", first, error))?;
                }
                Some(_) => {}
            }
            first.get_or_insert(path);
        }
        Ok(())
    }

    /// Writes the metadata and `repo.toml` in one step.
    fn publish(&self, layout: &Layout, lock: &Lock, root: &[u8], served: &Served) -> Result<(), Error> {
        let files = metadata_files(root, served)?;
        let overlay = files.iter().map(|(_, name, bytes)| (name.clone(), Bytes::from(bytes.clone())));
        let overlay = Overlay::new(layout, overlay.collect());
        let memory = MemoryStore::default();
        let limits = simulated_client::reading_limits();
        let client = simulated_client::client(root.to_vec(), overlay.clone(), memory.clone(), limits, None)?;
        let session = client.refresh_at(DateTime::<Utc>::UNIX_EPOCH).map_err(from_client)?;
        let published = Published::new(overlay, session.trusted(), root.to_vec(), memory)?;
        let checked = Checked { published, refused: Vec::new() };
        let mut observer = Unobserved;
        let mut publication = Transaction::begin(layout, lock, &mut observer)?;
        for (kind, name, bytes) in files {
            let existing = if kind == FileKind::Root { Existing::Same } else { Existing::Replaced };
            publication.add(kind, Path::new("metadata").join(name), Content::Bytes(bytes), existing);
        }
        let config = Content::Bytes(configuration(served, self.names).text().into_bytes());
        publication.add(FileKind::Config, "repo.toml".into(), config, Existing::Replaced);
        publication.prepare()?.commit(&checked)
    }
}

/// Returns the metadata files that the client has verified, in the order of publication.
fn metadata_files(first_root: &[u8], served: &Served) -> Result<Vec<(FileKind, String, Vec<u8>)>, Error> {
    let trusted = served.trusted();
    let mut files = vec![(FileKind::Root, RoleName::ROOT.file_name(Some(Version::ONE)), first_root.to_vec())];
    let mut version = Version::ONE.next();
    while let Some(number) = version.filter(|version| *version <= trusted.root().version) {
        if let Some(bytes) = served.file(&StoredFile::Root(number))? {
            files.push((FileKind::Root, RoleName::ROOT.file_name(Some(number)), bytes));
        }
        version = number.next();
    }
    let delegated = trusted.delegated().map(|(role, _)| role.clone());
    let roles = delegated.map(|role| (FileKind::Delegated, role)).chain([
        (FileKind::Targets, RoleName::TARGETS),
        (FileKind::Snapshot, RoleName::SNAPSHOT),
        (FileKind::Timestamp, RoleName::TIMESTAMP),
    ]);
    for (kind, role) in roles {
        let version = match kind {
            FileKind::Snapshot => Some(trusted.snapshot().version),
            FileKind::Timestamp => None,
            _ => trusted.snapshot().meta(&role).map(|listed| listed.version),
        };
        let version = version.and_then(|version| trusted.root().version_in_name(&role, version));
        if let Some(bytes) = served.file(&StoredFile::Role(role.clone()))? {
            files.push((kind, names::metadata_file(&role, version), bytes));
        }
    }
    Ok(files)
}

/// Returns a configuration with the settings that follow from the metadata, such as the thresholds,
/// and defaults for all other settings.
fn configuration(served: &Served, names: TargetNames) -> Config {
    let root = served.trusted().root();
    let mut config = Config::new();
    if !root.consistent_snapshot {
        config.disable_consistent_snapshot();
    }
    if root.target_names(names) == TargetNames::Plain {
        config.disable_hash_prefixes();
    }
    for role in RoleName::TOP_LEVEL {
        let mut of_role = RoleConfig::default_for(&role);
        of_role.threshold = root.key_ring(&role).map_or(of_role.threshold, |ring| ring.threshold().get());
        config.set_role(role.as_str(), of_role);
    }
    config
}

fn pulled(root: &[u8], served: &Served, targets: usize) -> Pulled {
    let of_role = |role: &RoleName| *role == RoleName::ROOT || role.is_online();
    let versions = served.versions().filter(|(role, _)| of_role(role)).collect();
    let snapshot = ServedSnapshot::of(served.trusted().snapshot());
    Pulled { repository: RootDigest::of(root), snapshot, versions, targets }
}

/// Converts the error of a failed download. Local failures, such as a full disk, get a different error than failures of
/// the network or the server.
fn local(error: ClientError) -> Error {
    match error {
        ClientError::Local(failed) => Error::file(failed.operation, &failed.path, failed.error),
        error @ ClientError::Network(_) => NetworkError::Client(error.into()).into(),
        error => PublicationError::Client(error.into()).into(),
    }
}
