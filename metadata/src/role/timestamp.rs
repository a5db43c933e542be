//! The timestamp role (spec 4.6): which snapshot is the newest.

use alloc::string::String;
use alloc::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Header, Role, common_members};
use crate::canonical;
use crate::reader::Reader;
use crate::{ErrorKind, MetaFile, Unknown, Version};

/// What a timestamp says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// The specification's version it was written for.
    pub spec_version: String,
    /// Its version.
    pub version: Version,
    /// From when on it is not trusted.
    pub expires: DateTime<Utc>,
    /// The newest snapshot.
    pub snapshot: MetaFile,
    /// Other members, preserved.
    pub unknown: Unknown,
}

impl Role for Timestamp {
    const TYPE: &'static str = "timestamp";

    fn version(&self) -> Version {
        self.version
    }

    fn expires(&self) -> DateTime<Utc> {
        self.expires
    }

    fn read(reader: &mut Reader<'_>, _: &Arc<String>) -> Result<Self, ErrorKind> {
        let mut header = Header::default();
        let mut snapshot = None;
        reader.object(|name, value| match name {
            "meta" => value.object(|name, value| {
                // 4.6: snapshot.json and nothing else.
                if name != "snapshot.json" {
                    return Err(ErrorKind::expected("no file but snapshot.json"));
                }
                snapshot = Some(MetaFile::read_value(value)?);
                Ok(())
            }),
            _ => header.member::<Self>(name, value),
        })?;
        let common = header.finish()?;
        Ok(Self {
            spec_version: common.spec_version,
            version: common.version,
            expires: common.expires,
            snapshot: snapshot.ok_or_else(|| ErrorKind::missing("snapshot.json").within("meta"))?,
            unknown: common.unknown,
        })
    }

    fn write(&self) -> String {
        let meta = canonical::object([("snapshot.json", self.snapshot.write_value())], &Unknown::new());
        let members = common_members(self, &self.spec_version).into_iter().chain([("meta", meta)]);
        canonical::object(members, &self.unknown)
    }
}
