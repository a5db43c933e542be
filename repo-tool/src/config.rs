//! The configuration of a repository, `repo.toml`: lifetimes, thresholds, hash algorithms and the locations of private
//! keys. Values such as versions and expiry dates are computed and do not appear in the file.
//!
//! The file is edited in place, so that comments, the order of entries and the formatting are preserved.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use lastmile_metadata::{Algorithm, RoleName, TargetNames};
use serde::Deserialize;
use toml_edit::{DocumentMut, Item, Table, Value, value};

use crate::files::access;
use crate::files::layout::Layout;
use crate::immutable::Immutable;
pub use crate::key_uri::KeyUri;
use crate::publish::compress::Coding;
use crate::renewal::Renewal;
use crate::{ConfigError, Error, InvalidInput, InvalidKeyUri, NotFound};

/// The time 9999-12-31T23:59:59Z, in seconds since the Unix epoch.
pub(crate) const LAST_SECOND: i64 = 253_402_300_799;
/// The maximum lifetime of metadata, in days, on the command line and in [`crate::NewRepository`]. `repo.toml` may
/// contain a longer lifetime.
pub(crate) const MAX_DAYS: u32 = 36_500;
/// The maximum threshold of a role in a new repository. It limits the number of keys that are generated for the role.
pub(crate) const MAX_KEYS: u32 = 100;

/// The configuration of one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleConfig {
    /// The number of keys that must sign for the role, at least 1. Clients use the threshold in the signed metadata, so
    /// this value must equal that threshold. The command `set-threshold` changes both.
    pub threshold: u32,
    /// The number of days from signing to expiry, at least 1.
    pub expires_days: u32,
    /// The number of days before expiry at which renewal becomes due, less than `expires_days`. If this value is 0,
    /// renewal becomes due when a third of `expires_days` is left.
    pub renew_days: u32,
    /// The locations of the private keys. A key that exists only on another machine has no entry.
    pub keys: Vec<KeyUri>,
}

impl RoleConfig {
    /// Returns the default configuration of a role.
    #[must_use]
    pub fn default_for(role: &RoleName) -> Self {
        let (threshold, expires_days, renew_days) = match role.as_str() {
            "root" => (2, 365, 60),
            "timestamp" => (1, 7, 5),
            "snapshot" => (1, 21, 14),
            _ => (1, 180, 30),
        };
        Self { threshold, expires_days, renew_days, keys: Vec::new() }
    }

    /// Sets the number of days from signing to expiry; 0 counts as 1. If `renew_days` is not less than the new number,
    /// reduces `renew_days` to a third of that number.
    pub fn set_expires_days(&mut self, days: u32) {
        self.expires_days = days.max(1);
        if self.renew_days >= self.expires_days {
            self.renew_days = self.expires_days / 3;
        }
    }

    /// Returns the expiry date of metadata that is signed at the time `now`. The date is in whole seconds (spec 4.2.3),
    /// and never after the year 9999, because dates in TUF metadata have only four digits for the year.
    #[must_use]
    pub fn expiry(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let now = now.with_nanosecond(0).unwrap_or(now);
        let expires = now.checked_add_signed(TimeDelta::days(self.expires_days.into()));
        let last = DateTime::from_timestamp(LAST_SECOND, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        expires.map_or(last, |expires| expires.min(last))
    }

    /// Returns whether metadata that expires at `expires` is due for renewal at the time `now`. Expired metadata is due
    /// as well.
    #[must_use]
    pub fn is_due(&self, expires: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.renewal(expires, now) >= Renewal::Due
    }

    /// Returns the time from which metadata that expires at `expires` should be renewed.
    #[must_use]
    pub fn renew_from(&self, expires: DateTime<Utc>) -> DateTime<Utc> {
        expires - self.renewal_period()
    }

    /// Returns the length of the renewal period, which ends when the metadata expires.
    #[must_use]
    pub fn renewal_period(&self) -> TimeDelta {
        match self.renew_days {
            0 => TimeDelta::days(self.expires_days.into()) / 3,
            days => TimeDelta::days(days.into()),
        }
    }

    /// Returns how urgently, at the time `now`, metadata that expires at `expires` needs to be renewed.
    #[must_use]
    pub fn renewal(&self, expires: DateTime<Utc>, now: DateTime<Utc>) -> Renewal {
        let period = self.renewal_period();
        let left = expires - now;
        if left <= TimeDelta::zero() {
            Renewal::Expired
        } else if left <= period / 4 {
            Renewal::Urgent
        } else if left <= period / 2 {
            Renewal::Overdue
        } else if left <= period {
            Renewal::Due
        } else {
            Renewal::Later
        }
    }
}

/// The configuration of a repository, together with the text of `repo.toml`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether the repository has consistent snapshots (spec 6.2), which means that the names of snapshot and targets
    /// metadata files contain the version.
    pub consistent_snapshot: bool,
    /// Whether the name of each target file contains the hash of the file (spec 6.2.1). Without hashes in the file
    /// names, a repository with consistent snapshots cannot change the content of a published target.
    pub hash_prefixed_targets: bool,
    /// The hash algorithms for targets. There is at least one algorithm. If the names of target files contain hashes,
    /// each file is published once per algorithm, under a name with that hash.
    pub hashes: Vec<Algorithm>,
    /// The content codings in which compressed copies of metadata files are published.
    pub compress: Vec<Coding>,
    /// The patterns that match the names of immutable targets. The content of an immutable target must not change after
    /// publication.
    pub immutable: Immutable,
    roles: BTreeMap<String, RoleConfig>,
    document: DocumentMut,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    consistent_snapshot: bool,
    hash_prefixed_targets: bool,
    hashes: Vec<String>,
    #[serde(default)]
    compress: Vec<String>,
    #[serde(default)]
    immutable: Vec<String>,
    roles: BTreeMap<String, ConfigFileRole>,
    #[serde(default)]
    delegations: BTreeMap<String, ConfigFileRole>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFileRole {
    threshold: u32,
    expires_days: u32,
    renew_days: u32,
    keys: Vec<String>,
}

const HEAD: &str = "\
# The configuration of this repository. You can edit this file: lastmile-repo preserves comments and
# the order of the entries.
# Versions, dates, hashes and file names are computed and are not listed here.
# A new value of `expires_days` takes effect when the role is next signed. Change thresholds with
# `lastmile-repo set-threshold`, which also changes them in the signed metadata.

";

impl Config {
    /// Creates the configuration of a new repository with consistent snapshots and hash prefixes. The configuration has
    /// no roles yet.
    #[expect(clippy::new_without_default, reason = "a configuration without roles is not complete")]
    pub fn new() -> Self {
        let mut document = DocumentMut::new();
        document.decor_mut().set_prefix(HEAD);
        document.insert("consistent_snapshot", value(true));
        document.insert("hash_prefixed_targets", value(true));
        document.insert("hashes", value(Value::from_iter(["sha256"])));
        let mut roles = Table::new();
        roles.set_implicit(true);
        document.insert("roles", Item::Table(roles));
        Self {
            consistent_snapshot: true,
            hash_prefixed_targets: true,
            hashes: vec![Algorithm::Sha256],
            compress: Vec::new(),
            immutable: Immutable::none(),
            roles: BTreeMap::new(),
            document,
        }
    }

    /// Reads the configuration of a repository from `repo.toml`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the file does not exist, and [`Error::Config`] if it is not a valid configuration.
    pub fn read(layout: &Layout) -> Result<Self, Error> {
        let path = layout.config();
        let text =
            access::read_if_there(&path)?.ok_or_else(|| NotFound::Config { folder: layout.dir().to_path_buf() })?;
        let text =
            String::from_utf8(text).map_err(|_| Error::Config { path: path.clone(), reason: ConfigError::NotUtf8 })?;
        Self::parse(&text, &path)
    }

    /// Parses the text of the configuration file at `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let wrong = |reason: ConfigError| Error::Config { path: path.to_path_buf(), reason };
        let toml = |text: String| wrong(ConfigError::Toml { text });
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| toml(error.to_string()))?;
        let file: ConfigFile =
            toml_edit::de::from_document(document.clone()).map_err(|error| toml(error.to_string().trim().into()))?;
        let mut roles = BTreeMap::new();
        for (name, role) in file.roles.into_iter().chain(file.delegations) {
            let role = read_role(&name, &role).map_err(wrong)?;
            if roles.insert(name.clone(), role).is_some() {
                return Err(wrong(ConfigError::RoleTwice { role: name }));
            }
        }
        for name in ["root", "targets", "snapshot", "timestamp"] {
            if !roles.contains_key(name) {
                return Err(wrong(ConfigError::RoleMissing { role: name }));
            }
        }
        let hashes = file.hashes.iter().map(|name| algorithm(name).map_err(wrong)).collect::<Result<Vec<_>, _>>()?;
        if hashes.is_empty() {
            return Err(wrong(ConfigError::NoHash));
        }
        let coding =
            |name: &String| Coding::named(name).ok_or_else(|| wrong(ConfigError::Coding { name: name.clone() }));
        let mut compress = Vec::new();
        for name in &file.compress {
            let coding = coding(name)?;
            if compress.contains(&coding) {
                return Err(wrong(ConfigError::CodingTwice { name: name.clone() }));
            }
            compress.push(coding);
        }
        let immutable = Immutable::parse(&file.immutable).map_err(|error| match error {
            Error::InvalidInput(InvalidInput::ImmutablePattern { pattern }) => {
                wrong(ConfigError::Immutable { pattern })
            }
            other => other,
        })?;
        Ok(Self {
            consistent_snapshot: file.consistent_snapshot,
            hash_prefixed_targets: file.hash_prefixed_targets,
            hashes,
            compress,
            immutable,
            roles,
            document,
        })
    }

    pub(crate) fn disable_consistent_snapshot(&mut self) {
        self.document.insert("consistent_snapshot", value(false));
        self.consistent_snapshot = false;
    }

    pub(crate) fn disable_hash_prefixes(&mut self) {
        self.document.insert("hash_prefixed_targets", value(false));
        self.hash_prefixed_targets = false;
    }

    /// Sets the patterns that match the names of immutable targets.
    pub fn set_immutable(&mut self, immutable: Immutable) {
        put(self.document.as_table_mut(), "immutable", Value::from_iter(immutable.texts()));
        self.immutable = immutable;
    }

    /// Returns how target files are named in a repository with consistent snapshots.
    #[must_use]
    pub fn target_names(&self) -> TargetNames {
        if self.hash_prefixed_targets { TargetNames::HashPrefixed } else { TargetNames::Plain }
    }

    /// Returns the text of the configuration file.
    #[must_use]
    pub fn text(&self) -> String {
        self.document.to_string()
    }

    /// Returns the configuration of `role`: the entry with the name of the role. If there is none, returns the entry
    /// `PREFIX*` with the longest matching prefix, or the default configuration if no prefix matches.
    #[must_use]
    pub fn role(&self, role: &RoleName) -> RoleConfig {
        let name = role.as_str();
        let by_pattern = || {
            let fits = |pattern: &str| pattern.strip_suffix('*').is_some_and(|start| name.starts_with(start));
            self.roles.iter().filter(|(pattern, _)| fits(pattern)).max_by_key(|(pattern, _)| pattern.len())
        };
        self.roles
            .get(name)
            .or_else(|| by_pattern().map(|(_, role)| role))
            .cloned()
            .unwrap_or_else(|| RoleConfig::default_for(role))
    }

    /// Returns the URIs of the keys in all entries, without duplicates.
    #[must_use]
    pub fn key_uris(&self) -> Vec<KeyUri> {
        let all: std::collections::BTreeSet<_> = self.roles.values().flat_map(|role| &role.keys).cloned().collect();
        all.into_iter().collect()
    }

    /// Sets the entry for the role `name`. If `name` ends in `*`, the entry is for all roles with that prefix.
    pub fn set_role(&mut self, name: &str, role: RoleConfig) {
        let section = if is_top_level(name) { "roles" } else { "delegations" };
        let table = self.document.entry(section).or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        if let Some(table) = table.as_table_like_mut() {
            let entry = table.entry(name).or_insert_with(|| Item::Table(Table::new()));
            if let Some(entry) = entry.as_table_like_mut() {
                put(entry, "threshold", i64::from(role.threshold).into());
                put(entry, "expires_days", i64::from(role.expires_days).into());
                put(entry, "renew_days", i64::from(role.renew_days).into());
                put(entry, "keys", Value::from_iter(role.keys.iter().map(ToString::to_string)));
            }
        }
        self.roles.insert(name.to_string(), role);
    }

    /// Removes the entry of a delegated role.
    pub fn remove_role(&mut self, name: &str) {
        if let Some(table) = self.document.get_mut("delegations").and_then(Item::as_table_like_mut) {
            table.remove(name);
        }
        self.roles.remove(name);
    }

    /// Applies `change` to every role entry.
    pub fn edit_roles(&mut self, change: impl Fn(&str, &mut RoleConfig)) {
        for (name, before) in self.roles.clone() {
            let mut after = before.clone();
            change(&name, &mut after);
            if after != before {
                self.set_role(&name, after);
            }
        }
    }

    /// Returns this configuration, merged with `other`. Role entries that only `other` has are added. If both
    /// configurations have an entry for a role, only the key URIs of `other` are added to the entry.
    #[must_use]
    pub fn with_keys_of(mut self, other: &Self) -> Self {
        for (name, role) in &other.roles {
            if !self.roles.contains_key(name) {
                self.set_role(name, role.clone());
            }
        }
        self.edit_roles(|name, role| {
            let others = other.roles.get(name).map(|role| role.keys.clone()).unwrap_or_default();
            let missing: Vec<KeyUri> = others.into_iter().filter(|uri| !role.keys.contains(uri)).collect();
            role.keys.extend(missing);
        });
        self
    }

    /// Returns the names of all entries. A name is the name of a role, or a prefix of role names followed by `*`.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }

    /// Returns the name of the entry that applies to `role`: the name of the role, or the longest matching prefix
    /// followed by `*`. Returns `None` if no entry applies.
    #[must_use]
    pub fn entry_name(&self, role: &RoleName) -> Option<&str> {
        let name = role.as_str();
        self.roles
            .keys()
            .filter(|entry| *entry == name || entry.strip_suffix('*').is_some_and(|start| name.starts_with(start)))
            .max_by_key(|entry| (*entry == name, entry.len()))
            .map(String::as_str)
    }
}

/// If `key` already has a value, keeps the comment that follows the old value on the same line.
fn put(table: &mut dyn toml_edit::TableLike, key: &str, mut new: Value) {
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        if old.to_string().trim() == new.to_string().trim() {
            return;
        }
        *new.decor_mut() = old.decor().clone();
    }
    table.insert(key, Item::Value(new));
}

fn is_top_level(name: &str) -> bool {
    ["root", "targets", "snapshot", "timestamp"].contains(&name)
}

fn read_role(name: &str, role: &ConfigFileRole) -> Result<RoleConfig, ConfigError> {
    if role.threshold == 0 || role.expires_days == 0 {
        return Err(ConfigError::Zero { role: name.to_string() });
    }
    if role.renew_days >= role.expires_days {
        return Err(ConfigError::RenewDays { role: name.to_string() });
    }
    let keys = role.keys.iter().map(|uri| uri.parse()).collect::<Result<_, InvalidKeyUri>>();
    Ok(RoleConfig {
        threshold: role.threshold,
        expires_days: role.expires_days,
        renew_days: role.renew_days,
        keys: keys.map_err(|error| ConfigError::Key { role: name.to_string(), error })?,
    })
}

fn algorithm(name: &str) -> Result<Algorithm, ConfigError> {
    match name {
        "sha256" => Ok(Algorithm::Sha256),
        "sha384" => Ok(Algorithm::Sha384),
        "sha512" => Ok(Algorithm::Sha512),
        _ => Err(ConfigError::Hash { name: name.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Config {
        let mut config = Config::new();
        for name in ["root", "targets", "snapshot", "timestamp"] {
            let role = RoleName::listed(name).unwrap();
            config.set_role(name, RoleConfig::default_for(&role));
        }
        config
    }

    #[test]
    fn a_written_configuration_is_read_back_unchanged() {
        let written = sample();
        let read = Config::parse(&written.text(), Path::new("repo.toml")).unwrap();
        assert_eq!(read.roles, written.roles);
        assert_eq!(read.text(), written.text());
    }

    #[test]
    fn comments_and_order_are_preserved() {
        let text = sample().text().replace("expires_days = 365", "expires_days = 365 # the board meets yearly");
        let mut config = Config::parse(&text, Path::new("repo.toml")).unwrap();
        let mut root = config.role(&RoleName::ROOT);
        root.expires_days = 400;
        config.set_role("root", root);
        assert_eq!(config.text(), text.replace("365 #", "400 #"));
    }

    #[test]
    fn a_misspelt_setting_is_refused_by_name() {
        let text = sample().text().replace("consistent_snapshot", "consistent_snapshots");
        let error = Config::parse(&text, Path::new("repo.toml")).unwrap_err();
        assert!(error.to_string().contains("consistent_snapshots"), "{error}");
    }

    #[test]
    fn renewal_is_due_before_expiry_for_any_lifetime() {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        for days in 1..=9 {
            let mut role = RoleConfig::default_for(&RoleName::TIMESTAMP);
            role.set_expires_days(days);
            let expires = role.expiry(now);
            assert!(!role.is_due(expires, now), "{days}");
            assert!(role.is_due(expires, expires - TimeDelta::hours(8)), "{days}");
            assert_eq!(role.renewal(expires, expires), Renewal::Expired);
        }
    }

    #[test]
    fn no_lifetime_ends_after_the_year_9999() {
        let mut role = RoleConfig::default_for(&RoleName::TIMESTAMP);
        for days in [3_000_000, u32::MAX] {
            role.set_expires_days(days);
            let expires = role.expiry(DateTime::<Utc>::UNIX_EPOCH);
            assert_eq!(lastmile_metadata::format_time(&expires), "9999-12-31T23:59:59Z");
        }
    }

    #[test]
    fn an_entry_with_a_star_applies_to_all_its_bins() {
        let mut config = sample();
        let bins = RoleConfig { threshold: 1, expires_days: 9, renew_days: 3, keys: Vec::new() };
        config.set_role("bin-*", bins.clone());
        assert_eq!(config.role(&RoleName::delegated("bin-0f").unwrap()), bins);
        assert_eq!(config.role(&RoleName::delegated("team").unwrap()).expires_days, 180);
    }
}
