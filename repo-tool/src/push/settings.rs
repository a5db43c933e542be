//! The destinations of a repository in the user's own configuration. They are never read from the repository's folder,
//! because whoever can write to the folder must not choose where the user's credentials are sent.

use std::time::Duration;

use lastmile_client::BaseUrl;
use lastmile_metadata::{Snapshot, Verified, Version};
use sha2::{Digest as _, Sha256};
use toml_edit::{Array, InlineTable, Item, Table, TableLike, Value, value};

use crate::root_digest::RootDigest;
use crate::user::{UserConfig, entry};
use crate::{ConfigError, Error};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DestinationSettings {
    pub(crate) url: BaseUrl,
    /// The metadata URL that clients use.
    pub(crate) public_url: Option<BaseUrl>,
    /// The snapshot that the last command of this user saw at the destination.
    pub(crate) served: Option<ServedSnapshot>,
    /// The snapshots that were recorded after `served`, oldest first. A command records a snapshot here before it
    /// uploads the snapshot or adopts it into the folder. If the command is interrupted, it is not known whether the
    /// snapshot has reached the destination or the folder.
    pub(crate) intended: Vec<ServedSnapshot>,
    /// The changes that an interrupted merge has not published yet.
    pub(crate) unpushed: Option<Unpushed>,
    pub(crate) options: StoreOptions,
}

/// The options of an object store. An SSH server uses only `lease`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreOptions {
    /// The URL of the store's API. `None` means the API of the cloud provider that the URL scheme
    /// names.
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) writers: Writers,
    /// The duration of the lock, which its holder renews.
    pub(crate) lease: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// Several machines may push, so the destination must have a lock.
    Any,
    Single,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { endpoint: None, region: None, writers: Writers::Any, lease: LEASE }
    }
}

/// The default duration of the lock on an object store or an SSH server.
const LEASE: Duration = Duration::from_secs(30);

/// The durations that a lock may have, in seconds. Another machine can take over an abandoned lock once the duration of
/// this lock has passed.
const LEASES: std::ops::RangeInclusive<u64> = 1..=600;

/// The maximum number of snapshots in [`DestinationSettings::intended`]. The newest ones are kept.
const INTENDED: usize = 8;

impl DestinationSettings {
    pub(crate) fn new(url: BaseUrl) -> Self {
        Self {
            url,
            public_url: None,
            served: None,
            intended: Vec::new(),
            unpushed: None,
            options: StoreOptions::default(),
        }
    }

    /// Returns whether a command of this user has pushed, pulled or adopted this snapshot, or was
    /// about to do so.
    pub(crate) fn has_seen(&self, snapshot: &ServedSnapshot) -> bool {
        self.served.iter().chain(&self.intended).any(|seen| seen == snapshot)
    }
}

/// Changes that this machine has not published again yet: the difference between two states of the
/// folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unpushed {
    /// The newest state that the folder and the destination had in common.
    pub(crate) base: ServedSnapshot,
    /// The state with the changes.
    pub(crate) ours: ServedSnapshot,
}

/// Identifies a snapshot, usually one that a destination serves or has served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServedSnapshot {
    pub(crate) version: Version,
    /// The SHA-256 of its file, in hexadecimal.
    pub(crate) sha256: String,
}

impl ServedSnapshot {
    pub(crate) fn of(snapshot: &Verified<Snapshot>) -> Self {
        Self { version: snapshot.version, sha256: hex::encode(Sha256::digest(&**snapshot.bytes())) }
    }

    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        hex::encode(Sha256::digest(bytes)) == self.sha256
    }

    fn item(&self) -> Value {
        let mut record = InlineTable::new();
        record.insert("snapshot", i64::try_from(self.version.get()).unwrap_or(i64::MAX).into());
        record.insert("sha256", self.sha256.as_str().into());
        record.into()
    }

    fn parse(record: &dyn TableLike) -> Option<Self> {
        let version = u64::try_from(record.get("snapshot")?.as_integer()?).ok()?;
        let sha256 = record.get("sha256")?.as_str()?.to_string();
        Some(Self { version: Version::new(version)?, sha256 })
    }
}

impl UserConfig {
    /// Returns the names of the destinations of a repository.
    pub(crate) fn destinations(&self, repository: RootDigest) -> Result<Vec<String>, Error> {
        let document = self.read()?;
        let all = entry(&document, repository).and_then(|entry| entry.get("destinations")?.as_table_like());
        Ok(all.map(|all| all.iter().map(|(name, _)| name.to_string()).collect()).unwrap_or_default())
    }

    pub(crate) fn destination(&self, repository: RootDigest, name: &str) -> Result<Option<DestinationSettings>, Error> {
        let document = self.read()?;
        let all = entry(&document, repository).and_then(|entry| entry.get("destinations")?.as_table_like());
        let Some(item) = all.and_then(|all| all.get(name)) else { return Ok(None) };
        let found = item.as_table_like().and_then(settings);
        found.map(Some).ok_or_else(|| self.invalid(ConfigError::Destination { name: name.to_string() }))
    }

    /// Stores the URLs and the given options of a destination. If the URL of the destination
    /// changes, all other stored settings of the destination are removed; otherwise, they are kept.
    pub(crate) fn set_destination(
        &self,
        repository: RootDigest,
        name: &str,
        settings: &DestinationSettings,
    ) -> Result<(), Error> {
        self.change_destination(repository, name, |table| insert_settings(table, settings))
    }

    /// Like [`Self::set_destination`], but also records two snapshots: the one that the destination serves, and the one
    /// that a push is about to upload. `None` removes the record of a snapshot.
    pub(crate) fn record_push(
        &self,
        repository: RootDigest,
        name: &str,
        settings: &DestinationSettings,
        served: Option<&ServedSnapshot>,
        intended: Option<&ServedSnapshot>,
    ) -> Result<(), Error> {
        self.change_destination(repository, name, |table| {
            insert_settings(table, settings);
            insert_served(table, served);
            insert_intended(table, intended);
        })
    }

    /// Records the snapshot that a destination serves, and clears
    /// [`DestinationSettings::intended`]. Does nothing if the destination is not configured.
    pub(crate) fn set_served(&self, repository: RootDigest, name: &str, served: &ServedSnapshot) -> Result<(), Error> {
        let known = self.destination(repository, name)?;
        if known.is_none_or(|known| known.served.as_ref() == Some(served) && known.intended.is_empty()) {
            return Ok(());
        }
        self.change_destination(repository, name, |table| {
            insert_served(table, Some(served));
            insert_intended(table, None);
        })
    }

    /// Records, for all destinations of a repository, that a folder is about to adopt this
    /// snapshot.
    pub(crate) fn record_adoption(&self, repository: RootDigest, snapshot: &Verified<Snapshot>) -> Result<(), Error> {
        let next = ServedSnapshot::of(snapshot);
        for name in self.destinations(repository)? {
            let Some(known) = self.destination(repository, &name)? else { continue };
            if known.served.as_ref() == Some(&next) {
                continue;
            }
            let mut intended = known.intended;
            intended.retain(|intended| *intended != next);
            intended.push(next.clone());
            let newest = intended.iter().skip(intended.len().saturating_sub(INTENDED));
            self.change_destination(repository, &name, |table| insert_intended(table, newest))?;
        }
        Ok(())
    }

    /// Records that a folder has adopted the snapshot of the destination with this metadata URL.
    pub(crate) fn record_adopted(
        &self,
        repository: RootDigest,
        metadata_url: &BaseUrl,
        snapshot: &Verified<Snapshot>,
    ) -> Result<(), Error> {
        for name in self.destinations(repository)? {
            let known = self.destination(repository, &name)?;
            if known.is_some_and(|known| known.url.folder("metadata") == *metadata_url) {
                self.set_served(repository, &name, &ServedSnapshot::of(snapshot))?;
            }
        }
        Ok(())
    }

    /// Records the changes that a merge is about to publish again. `None` removes the record.
    pub(crate) fn set_unpushed(
        &self,
        repository: RootDigest,
        name: &str,
        unpushed: Option<&Unpushed>,
    ) -> Result<(), Error> {
        self.change_destination(repository, name, |table| match unpushed {
            None => drop(table.remove("unpushed")),
            Some(unpushed) => {
                let mut record = InlineTable::new();
                record.insert("base", unpushed.base.item());
                record.insert("ours", unpushed.ours.item());
                table.insert("unpushed", value(record));
            }
        })
    }

    fn change_destination(
        &self,
        repository: RootDigest,
        name: &str,
        change: impl FnOnce(&mut dyn TableLike),
    ) -> Result<(), Error> {
        let mut is_changed = false;
        self.change("repositories", &repository.to_string(), |entry| {
            let mut implicit = Table::new();
            implicit.set_implicit(true);
            let all = entry.entry("destinations").or_insert(Item::Table(implicit)).as_table_like_mut();
            let table = all.map(|all| all.entry(name).or_insert_with(|| Item::Table(Table::new())));
            if let Some(table) = table.and_then(Item::as_table_like_mut) {
                change(table);
                is_changed = true;
            }
        })?;
        if is_changed || self.file().is_none() {
            return Ok(());
        }
        Err(self.invalid(ConfigError::Destination { name: name.to_string() }))
    }
}

fn insert_settings(table: &mut dyn TableLike, settings: &DestinationSettings) {
    if table.get("url").and_then(Item::as_str) != Some(settings.url.as_str()) {
        table.clear();
        table.insert("url", value(settings.url.as_str()));
    }
    if let Some(url) = &settings.public_url {
        table.insert("public-url", value(url.as_str()));
    }
    let options = &settings.options;
    for (name, setting) in [("endpoint", &options.endpoint), ("region", &options.region)] {
        if let Some(text) = setting {
            table.insert(name, value(text));
        }
    }
    if options.writers == Writers::Single {
        table.insert("single-writer", value(true));
    }
}

fn insert_served(table: &mut dyn TableLike, served: Option<&ServedSnapshot>) {
    match served {
        Some(served) => drop(table.insert("served", value(served.item()))),
        None => drop(table.remove("served")),
    }
}

fn insert_intended<'s>(table: &mut dyn TableLike, intended: impl IntoIterator<Item = &'s ServedSnapshot>) {
    let intended: Array = intended.into_iter().map(ServedSnapshot::item).collect();
    if intended.is_empty() {
        table.remove("intended");
    } else {
        table.insert("intended", value(intended));
    }
}

/// Parses the table of a destination. Returns `None` if a setting is not valid.
fn settings(table: &dyn TableLike) -> Option<DestinationSettings> {
    let url = |name: &str| match table.get(name) {
        None => Some(None),
        Some(item) => BaseUrl::new(item.as_str()?).ok().map(Some),
    };
    let served = match table.get("served") {
        None => None,
        Some(item) => Some(ServedSnapshot::parse(item.as_table_like()?)?),
    };
    let intended = match table.get("intended") {
        None => Vec::new(),
        Some(item) => {
            let all = item.as_array()?.iter().map(|item| ServedSnapshot::parse(item.as_inline_table()?));
            all.collect::<Option<_>>()?
        }
    };
    let unpushed = match table.get("unpushed") {
        None => None,
        Some(item) => {
            let part = |name| ServedSnapshot::parse(item.as_table_like()?.get(name)?.as_table_like()?);
            Some(Unpushed { base: part("base")?, ours: part("ours")? })
        }
    };
    let text = |name: &str| match table.get(name) {
        None => Some(None),
        Some(item) => item.as_str().map(|text| Some(text.to_string())),
    };
    let writers = match table.get("single-writer") {
        None => Writers::Any,
        Some(item) if item.as_bool()? => Writers::Single,
        Some(_) => Writers::Any,
    };
    let lease = match table.get("lease-seconds") {
        None => LEASE,
        Some(item) => {
            Duration::from_secs(u64::try_from(item.as_integer()?).ok().filter(|seconds| LEASES.contains(seconds))?)
        }
    };
    let options = StoreOptions { endpoint: text("endpoint")?, region: text("region")?, writers, lease };
    Some(DestinationSettings { url: url("url")??, public_url: url("public-url")?, served, intended, unpushed, options })
}
