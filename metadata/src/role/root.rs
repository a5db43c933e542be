//! The root role (spec 4.3): the keys of all top-level roles.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use chrono::{DateTime, Utc};

use super::{Header, Role, common_members};
use crate::canonical;
use crate::key::{read_keyids, read_keys, write_keyids, write_keys};
use crate::reader::Reader;
use crate::{Error, ErrorKind, Json, Key, KeyId, KeyRing, RoleName, Threshold, Unknown, Version};

/// What a root says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The specification's version it was written for.
    pub spec_version: String,
    /// Its version: one more than its predecessor's.
    pub version: Version,
    /// From when on it is not trusted as the last of the chain.
    pub expires: DateTime<Utc>,
    /// Whether file names carry versions and hashes (6.2).
    pub consistent_snapshot: bool,
    /// All keys, by the ids that are used in this file.
    pub keys: BTreeMap<KeyId, Key>,
    /// Who may sign for which role: `root`, `timestamp`, `snapshot`, `targets`, and whatever else is written there.
    pub roles: BTreeMap<RoleName, RoleKeys>,
    /// Other members, preserved.
    pub unknown: Unknown,
}

/// Who may sign for a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleKeys {
    /// The ids of its keys.
    pub keyids: Vec<KeyId>,
    /// How many distinct ones must sign.
    pub threshold: Threshold,
    /// Other members, preserved.
    pub unknown: Unknown,
}

impl RoleKeys {
    /// These keys, this threshold.
    #[must_use]
    pub fn new(keyids: Vec<KeyId>, threshold: Threshold) -> Self {
        Self { keyids, threshold, unknown: Unknown::new() }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ErrorKind> {
        let (mut keyids, mut threshold, mut unknown) = (None, None, Unknown::new());
        reader.object(|name, value| {
            match name {
                "keyids" => keyids = Some(read_keyids(value, &[])?),
                "threshold" => threshold = Some(Threshold::read(value)?),
                _ => {
                    unknown.insert(name.to_string(), Json::from_canonical(value.skip()?));
                }
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
    /// The ring that vouches for `role`.
    ///
    /// # Errors
    /// [`ErrorKind::NotDelegated`] where this root names no such role.
    pub fn key_ring(&self, role: &RoleName) -> Result<KeyRing, Error> {
        let keys = self.roles.get(role).ok_or_else(|| ErrorKind::NotDelegated(RoleName::ROOT).of(role))?;
        Ok(KeyRing::new(&self.keys, &keys.keyids, keys.threshold))
    }

    /// A digest of the rings that vouch for timestamp and snapshot: when it changes, those were rotated (5.3.11).
    #[expect(clippy::expect_used, reason = "`Root::read` refuses a root that does not name the four roles")]
    pub(crate) fn online_keys(&self) -> String {
        let ring = |role| self.key_ring(&role).expect("a role that every root names");
        [RoleName::TIMESTAMP, RoleName::SNAPSHOT].map(|role| hex::encode(ring(role).fingerprint())).concat()
    }
}

impl Role for Root {
    const TYPE: &'static str = "root";

    fn version(&self) -> Version {
        self.version
    }

    fn expires(&self) -> DateTime<Utc> {
        self.expires
    }

    fn read(reader: &mut Reader<'_>, _: &Arc<String>) -> Result<Self, ErrorKind> {
        let mut header = Header::default();
        let (mut consistent_snapshot, mut keys, mut roles) = (false, None, None);
        reader.object(|name, value| {
            match name {
                "consistent_snapshot" => consistent_snapshot = value.boolean()?,
                "keys" => keys = Some(read_keys(value)?),
                "roles" => roles = Some(read_roles(value)?),
                _ => header.member::<Self>(name, value)?,
            }
            Ok(())
        })?;
        let common = header.finish()?;
        let keys = keys.ok_or_else(|| ErrorKind::missing("keys"))?;
        let roles = roles.ok_or_else(|| ErrorKind::missing("roles"))?;
        if let Some(missing) = RoleName::TOP_LEVEL.iter().find(|role| !roles.contains_key(*role)) {
            return Err(ErrorKind::missing(missing.as_str()).within("roles"));
        }
        Ok(Self {
            spec_version: common.spec_version,
            version: common.version,
            expires: common.expires,
            consistent_snapshot,
            keys,
            roles,
            unknown: common.unknown,
        })
    }

    fn write(&self) -> String {
        let roles = self.roles.iter().map(|(name, keys)| (name.as_str(), keys.write()));
        let own = [
            ("consistent_snapshot", self.consistent_snapshot.to_string()),
            ("keys", write_keys(&self.keys)),
            ("roles", canonical::object(roles, &Unknown::new())),
        ];
        canonical::object(common_members(self, &self.spec_version).into_iter().chain(own), &self.unknown)
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
