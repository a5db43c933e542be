//! The root role (TUF specification 4.3), which lists the keys of all top-level roles.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Header, HeaderFields, Role, has_header};
use crate::canonical;
use crate::key::{read_keyids, read_keys, read_threshold, write_keyids, write_keys};
use crate::reader::Reader;
use crate::{Error, ErrorKind, Key, KeyId, KeyRing, RoleName, TargetNames, Threshold, Unknown, Version};

/// The signed content of a root file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The members that all roles have.
    pub header: Header,
    /// Whether file names contain versions and hashes (TUF specification 6.2.1).
    pub consistent_snapshot: bool,
    /// All keys, by the IDs under which the root lists them.
    pub keys: BTreeMap<KeyId, Key>,
    /// The keys and the threshold of each role. The four top-level roles are always listed. Entries with other names
    /// are preserved.
    pub roles: BTreeMap<RoleName, RoleKeys>,
}

/// The keys and the threshold of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleKeys {
    /// The IDs of the keys.
    pub keyids: Vec<KeyId>,
    /// The number of distinct keys that must sign.
    pub threshold: Threshold,
    /// Members that this crate does not know. They are preserved when the metadata is written.
    pub unknown: Unknown,
}

impl RoleKeys {
    /// Creates the entry for a role from the IDs of its keys and its threshold.
    #[must_use]
    pub fn new(keyids: Vec<KeyId>, threshold: Threshold) -> Self {
        Self { keyids, threshold, unknown: Unknown::new() }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ErrorKind> {
        let mut keyids = None;
        let mut threshold = None;
        let mut unknown = Unknown::new();
        reader.object(|name, value| {
            match name {
                "keyids" => keyids = Some(read_keyids(value, &[])?),
                "threshold" => threshold = Some(read_threshold(value)?),
                _ => value.keep(name, &mut unknown)?,
            }
            Ok(())
        })?;
        let keyids = keyids.ok_or_else(|| ErrorKind::missing("keyids"))?;
        let threshold = threshold.ok_or_else(|| ErrorKind::missing("threshold"))?;
        Ok(Self { keyids, threshold, unknown })
    }

    fn write(&self) -> String {
        let members = [("keyids", write_keyids(&self.keyids)), ("threshold", self.threshold.to_string())];
        canonical::object(members, &self.unknown)
    }
}

impl Root {
    /// Returns the keys and the threshold of `role`.
    ///
    /// # Errors
    /// [`ErrorKind::NotDelegated`] if this root does not list `role`.
    pub fn key_ring(&self, role: &RoleName) -> Result<KeyRing, Error> {
        let keys = self.roles.get(role).ok_or_else(|| ErrorKind::NotDelegated(RoleName::ROOT).of(role))?;
        Ok(KeyRing::new(&self.keys, &keys.keyids, keys.threshold))
    }

    /// Returns `version` if the file name of `role` contains the version, and `None` otherwise (TUF specification
    /// 6.2.1). The file name of a root always contains a version, and the file name of a timestamp never does. The file
    /// names of other roles contain a version if the repository uses consistent snapshots.
    #[must_use]
    pub fn version_in_name(&self, role: &RoleName, version: Version) -> Option<Version> {
        let has_version = match role.as_str() {
            "root" => true,
            "timestamp" => false,
            _ => self.consistent_snapshot,
        };
        has_version.then_some(version)
    }

    /// Returns how target files are named. Returns `configured` if the repository uses consistent snapshots. Otherwise,
    /// the names of target files have no hash prefixes.
    #[must_use]
    pub fn target_names(&self, configured: TargetNames) -> TargetNames {
        if self.consistent_snapshot { configured } else { TargetNames::Plain }
    }

    /// Returns a string that identifies the keys and thresholds of the timestamp and snapshot roles. If the string of a
    /// new root differs from the string of the previous root, this counts as a key rotation (TUF specification 5.3.11).
    #[expect(clippy::expect_used, reason = "`Root::read` refuses a root that does not list the four roles")]
    #[must_use]
    pub fn online_keys(&self) -> String {
        let ring = |role| self.key_ring(&role).expect("a role that every root lists");
        // Clients store this string in their records of trusted versions, so the order of the roles must not change.
        [RoleName::TIMESTAMP, RoleName::SNAPSHOT].map(|role| hex::encode(ring(role).fingerprint())).concat()
    }
}

has_header!(Root);

impl Role for Root {
    const TYPE: &'static str = "root";

    fn read(reader: &mut Reader<'_>, _: &Arc<String>) -> Result<Self, ErrorKind> {
        let mut header = HeaderFields::default();
        let mut keys = None;
        let mut roles = None;
        let mut consistent_snapshot = false;
        reader.object(|name, value| {
            match name {
                // Spec 4.3: `consistent_snapshot` is a boolean that may be missing.
                "consistent_snapshot" => consistent_snapshot = value.boolean()?,
                "keys" => keys = Some(read_keys(value)?),
                "roles" => roles = Some(read_roles(value)?),
                _ => header.member::<Self>(name, value)?,
            }
            Ok(())
        })?;
        let header = header.finish()?;
        // Spec 4.3: all members except `consistent_snapshot` are required.
        let keys = keys.ok_or_else(|| ErrorKind::missing("keys"))?;
        let roles = roles.ok_or_else(|| ErrorKind::missing("roles"))?;
        // Spec 4.3: the four top-level roles are required.
        if let Some(missing) = RoleName::TOP_LEVEL.iter().find(|role| !roles.contains_key(*role)) {
            return Err(ErrorKind::missing(missing.as_str()).within("roles"));
        }
        Ok(Self { header, consistent_snapshot, keys, roles })
    }

    fn write(&self) -> String {
        let roles = self.roles.iter().map(|(name, keys)| (name.as_str(), keys.write()));
        let own = [
            ("consistent_snapshot", self.consistent_snapshot.to_string()),
            ("keys", write_keys(&self.keys)),
            ("roles", canonical::object(roles, &Unknown::new())),
        ];
        self.header.write::<Self>(own)
    }

    fn own_key_ring(&self) -> Result<Option<KeyRing>, ErrorKind> {
        self.key_ring(&RoleName::ROOT).map(Some).map_err(|error| error.kind)
    }
}

fn read_roles(reader: &mut Reader<'_>) -> Result<BTreeMap<RoleName, RoleKeys>, ErrorKind> {
    let mut roles = BTreeMap::new();
    reader.object(|name, value| {
        let name = RoleName::listed(name).map_err(|_| ErrorKind::expected("a role name that is not empty"))?;
        roles.insert(name, RoleKeys::read(value)?);
        Ok(())
    })?;
    Ok(roles)
}
