//! The destinations of a repository in the user's own configuration. They are never read from the repository's folder,
//! because whoever can write to the folder must not choose where the user's credentials are sent.

use std::time::Duration;

use lastmile_client::BaseUrl;
use lastmile_metadata::{Snapshot, Verified, Version};
use sha2::{Digest as _, Sha256};
use toml_edit::{InlineTable, Item, Table, TableLike, Value, value};

use crate::root_digest::RootDigest;
use crate::user::{UserConfig, entry};
use crate::{ConfigError, Error};

/// A destination of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DestinationSettings {
    /// The URL of the repository at the destination.
    pub(crate) url: BaseUrl,
    /// The URL of the metadata that clients use.
    pub(crate) public_url: Option<BaseUrl>,
    /// The snapshot that the last push of this user saw at the destination.
    pub(crate) served: Option<ServedSnapshot>,
    /// The changes that an interrupted merge has not published yet.
    pub(crate) unpushed: Option<Unpushed>,
    pub(crate) options: StoreOptions,
}

/// The options of an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreOptions {
    /// The URL of the store's API; `None` for the cloud that the scheme stands for.
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) writers: Writers,
    /// The duration of the lock, which its holder renews.
    pub(crate) lease: Duration,
}

/// The machines that push to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// Several machines may push, so the destination must have a lock.
    Any,
    /// Only one machine pushes.
    Single,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { endpoint: None, region: None, writers: Writers::Any, lease: LEASE }
    }
}

/// The default duration of the lock on an object store.
const LEASE: Duration = Duration::from_secs(30);

/// The durations that a lock may have, in seconds. Other machines wait at most this long before they take over a lock.
const LEASES: std::ops::RangeInclusive<u64> = 1..=600;

impl DestinationSettings {
    /// Returns the settings of a new destination.
    pub(crate) fn new(url: BaseUrl) -> Self {
        Self { url, public_url: None, served: None, unpushed: None, options: StoreOptions::default() }
    }
}

/// Changes of this machine: the difference between two states of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unpushed {
    /// The state that the destination had when this machine last pushed or pulled.
    pub(crate) base: ServedSnapshot,
    /// The state with the changes.
    pub(crate) ours: ServedSnapshot,
}

/// A snapshot that a destination served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServedSnapshot {
    /// Its version.
    pub(crate) version: Version,
    /// The SHA-256 of its file, in hexadecimal.
    pub(crate) sha256: String,
}

impl ServedSnapshot {
    /// Returns the version and the digest of a snapshot.
    pub(crate) fn of(snapshot: &Verified<Snapshot>) -> Self {
        Self { version: snapshot.version, sha256: hex::encode(Sha256::digest(&**snapshot.bytes())) }
    }

    fn item(&self) -> Value {
        let mut record = InlineTable::new();
        record.insert("snapshot", i64::try_from(self.version.get()).unwrap_or(i64::MAX).into());
        record.insert("sha256", self.sha256.as_str().into());
        record.into()
    }

    fn parse(item: &Item) -> Option<Self> {
        let record = item.as_table_like()?;
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

    /// Returns the destination `name` of a repository, if it is configured.
    pub(crate) fn destination(&self, repository: RootDigest, name: &str) -> Result<Option<DestinationSettings>, Error> {
        let document = self.read()?;
        let all = entry(&document, repository).and_then(|entry| entry.get("destinations")?.as_table_like());
        let Some(item) = all.and_then(|all| all.get(name)) else { return Ok(None) };
        let found = item.as_table_like().and_then(settings);
        found.map(Some).ok_or_else(|| self.invalid(ConfigError::Destination { name: name.to_string() }))
    }

    /// Stores the URLs of a destination. Other settings of the destination are kept if the URL is the same.
    pub(crate) fn set_destination(
        &self,
        repository: RootDigest,
        name: &str,
        settings: &DestinationSettings,
    ) -> Result<(), Error> {
        self.change_destination(repository, name, |table| {
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
        })
    }

    /// Records the snapshot that a destination serves.
    pub(crate) fn set_served(&self, repository: RootDigest, name: &str, served: &ServedSnapshot) -> Result<(), Error> {
        let known = self.destination(repository, name)?;
        if known.is_none_or(|known| known.served.as_ref() == Some(served)) {
            return Ok(());
        }
        self.change_destination(repository, name, |table| {
            table.insert("served", value(served.item()));
        })
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

/// Returns the settings in a table, or `None` if they are not valid.
fn settings(table: &dyn TableLike) -> Option<DestinationSettings> {
    let url = |name: &str| match table.get(name) {
        None => Some(None),
        Some(item) => BaseUrl::new(item.as_str()?).ok().map(Some),
    };
    let served = match table.get("served") {
        None => None,
        Some(item) => Some(ServedSnapshot::parse(item)?),
    };
    let unpushed = match table.get("unpushed") {
        None => None,
        Some(item) => {
            let part = |name| ServedSnapshot::parse(item.as_table_like()?.get(name)?);
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
    Some(DestinationSettings { url: url("url")??, public_url: url("public-url")?, served, unpushed, options })
}
