//! Chooses the next version of each role. No version of a role is ever issued twice (TUF specification 6.3), even if a
//! folder has been restored from a backup or copied. If a version were issued twice, clients that have already seen it
//! would silently keep their old metadata.
//!
//! The next version of a role follows the highest version in three places: the published metadata, the file names in
//! `metadata/`, and `.issued.json`. That file records the versions that do not appear in file names.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use lastmile_metadata::{RoleName, Version};
use serde_json::{Map, Value};

use crate::files::access;
use crate::files::layout::Layout;
use crate::published::Published;
use crate::{Error, RecordFault, VersionError, names};

/// The name of the record of issued versions, in the repository's folder.
pub(crate) const RECORD: &str = ".issued.json";
/// The maximum length of the record of issued versions, in bytes.
const MAX_LENGTH: u64 = 64 << 20;
/// The maximum difference between the highest issued version and the published version of a role. Ordinary publications
/// never exceed it.
pub(crate) const LARGEST_JUMP: u64 = 1000;

/// What to do about a version that is too high to be the result of ordinary publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jumps {
    /// Refuse to publish until a person has investigated the version.
    Refuse,
    /// Ignore the version. This is for revocations, because otherwise an attacker could prevent a revocation with a
    /// planted file that has a high version.
    Ignore,
}

/// For each role, the highest version that is known to have been issued.
#[derive(Clone, Debug, Default)]
pub struct Issued {
    highest: BTreeMap<RoleName, Version>,
    record: BTreeMap<RoleName, Version>,
}

impl Issued {
    pub(crate) fn find<'r>(
        layout: &Layout,
        published: &Published,
        roles: impl IntoIterator<Item = &'r RoleName>,
        jumps: Jumps,
    ) -> Result<Self, Error> {
        let counts = |role: &RoleName, version: Version| {
            let published = published.version(role).map_or(0, Version::get);
            jumps == Jumps::Refuse || version.get().saturating_sub(published) <= LARGEST_JUMP
        };
        let mut issued = Self { record: read_record(layout)?, ..Self::default() };
        let roles: Vec<&RoleName> = roles.into_iter().collect();
        for role in &roles {
            let recorded = issued.record.get(*role).copied().filter(|version| counts(role, *version));
            recorded.into_iter().chain(published.version(role)).for_each(|version| issued.raise(role, version));
        }
        if published.root.consistent_snapshot {
            let by_name: HashMap<String, &RoleName> =
                roles.into_iter().map(|role| (names::metadata_file(role, None), role)).collect();
            let folder = layout.metadata();
            let entries = std::fs::read_dir(&folder).map_err(|error| Error::file("list", &folder, error))?;
            for entry in entries {
                let name = entry.map_err(|error| Error::file("list", &folder, error))?.file_name();
                let Some((version, rest)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
                let version = version.parse().ok().and_then(Version::new);
                if let (Some(version), Some(role)) = (version, by_name.get(rest))
                    && counts(role, version)
                {
                    issued.raise(role, version);
                }
            }
        }
        Ok(issued)
    }

    pub(crate) fn raise(&mut self, role: &RoleName, version: Version) {
        let highest = self.highest.entry(role.clone()).or_insert(version);
        *highest = version.max(*highest);
    }

    /// Returns the next version of `role`, which has not been issued yet. Each version identifies exactly one content
    /// (TUF specification 4.4).
    ///
    /// # Errors
    /// [`Error::Version`] if the highest issued version is far above the published version, or if there is no higher
    /// version number.
    pub(crate) fn next(&self, role: &RoleName, published: Option<Version>) -> Result<Version, Error> {
        let Some(highest) = self.highest.get(role) else { return Ok(Version::ONE) };
        let above = highest.get() - published.map_or(0, Version::get);
        if above > LARGEST_JUMP {
            return Err(VersionError::Jump { role: role.clone(), highest: *highest, above, record: RECORD }.into());
        }
        highest.next().ok_or_else(|| VersionError::Exhausted { role: role.clone() }.into())
    }

    /// Returns the content of the record after the versions in `issued` are added.
    pub(crate) fn record(&self, issued: impl IntoIterator<Item = (RoleName, Version)>) -> Vec<u8> {
        let mut record = self.record.clone();
        record.extend(issued);
        let record: Map<String, Value> =
            record.into_iter().map(|(role, version)| (role.as_str().to_string(), version.get().into())).collect();
        format!("{:#}\n", Value::Object(record)).into_bytes()
    }
}

/// Reads the record of issued versions. An invalid entry is an error, because if it were ignored, a version might be
/// issued twice.
fn read_record(layout: &Layout) -> Result<BTreeMap<RoleName, Version>, Error> {
    let path: PathBuf = layout.dir().join(RECORD);
    let Some(bytes) = access::read_small(&path, MAX_LENGTH)? else { return Ok(BTreeMap::new()) };
    entries(&bytes).map_err(|fault| VersionError::Record { path, fault }.into())
}

fn entries(record: &[u8]) -> Result<BTreeMap<RoleName, Version>, RecordFault> {
    let record: Map<String, Value> =
        serde_json::from_slice(record).map_err(|error| RecordFault::Json(error.to_string()))?;
    let entries = record.into_iter().map(|(name, value)| {
        let role = RoleName::listed(&name).map_err(|error| RecordFault::Role { name, error })?;
        match value.as_u64().and_then(Version::new) {
            Some(version) => Ok((role, version)),
            None => Err(RecordFault::Version { role, found: value.to_string() }),
        }
    });
    entries.collect()
}
