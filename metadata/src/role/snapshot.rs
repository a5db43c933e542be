//! The snapshot role (TUF specification 4.4), which lists the versions of all targets roles at one point in time.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Header, HeaderFields, Role, has_header, read_version};
use crate::canonical;
use crate::index::{Entry, Index};
use crate::reader::Reader;
use crate::{ErrorKind, Hashes, HashingVerifier, Json, RoleName, Unknown, Version};

/// The version, length and hashes that are listed for a metadata file (TUF specification 4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaFile {
    /// The version of the file.
    pub version: Version,
    /// The length of the file in bytes, if it is listed.
    pub length: Option<u64>,
    /// The hashes of the file, if they are listed.
    pub hashes: Option<Hashes>,
    /// Members that this crate does not know. They are preserved when the metadata is written.
    pub unknown: Unknown,
}

impl MetaFile {
    /// Creates an entry that lists only a version.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self { version, length: None, hashes: None, unknown: Unknown::new() }
    }

    /// Checks a file against the listed length and every listed hash of a known algorithm (TUF specification 5.4.2,
    /// 5.5.2, 5.6.2). Values that are not listed are not checked.
    ///
    /// # Errors
    /// [`ErrorKind::LengthMismatch`], [`ErrorKind::HashMismatch`] or [`ErrorKind::NoSupportedHash`].
    pub fn check(&self, bytes: &[u8]) -> Result<(), ErrorKind> {
        let Some(mut verifier) = self.verifier(bytes.len() as u64)? else { return Ok(()) };
        verifier.update(bytes).and_then(|()| verifier.finish()).map_err(ErrorKind::from)
    }

    /// Compares `found`, the length of a file, with the listed length. Returns a verifier if hashes are listed.
    pub(crate) fn verifier(&self, found: u64) -> Result<Option<HashingVerifier>, ErrorKind> {
        // POUF A18: the length is checked if it is listed. The hashes are checked if they are listed.
        match self.length {
            Some(expected) if expected != found => Err(ErrorKind::LengthMismatch { expected, found }),
            _ => Ok(self.hashes.as_ref().map(|hashes| hashes.verifier(self.length))),
        }
    }

    pub(crate) fn read_value(reader: &mut Reader<'_>) -> Result<Self, ErrorKind> {
        let mut unknown = Unknown::new();
        let (version, length, hashes) = read_members(reader, Hashes::read, |name, value| {
            unknown.insert(name.to_string(), Json::from_canonical(value));
        })?;
        Ok(Self { version, length, hashes, unknown })
    }

    pub(crate) fn write_value(&self) -> String {
        let members = [
            self.length.map(|length| ("length", length.to_string())),
            self.hashes.as_ref().map(|hashes| ("hashes", hashes.write())),
            Some(("version", self.version.to_string())),
        ];
        canonical::object(members.into_iter().flatten(), &self.unknown)
    }
}

/// Reads the version, the length and the hashes of a listed file. Calls `unknown` for every other member.
fn read_members<'t, H>(
    reader: &mut Reader<'t>,
    read_hashes: impl Fn(&mut Reader<'t>) -> Result<H, ErrorKind>,
    mut unknown: impl FnMut(&str, &'t str),
) -> Result<(Version, Option<u64>, Option<H>), ErrorKind> {
    let mut version = None;
    let mut length = None;
    let mut hashes = None;
    reader.object(|name, value| {
        match name {
            "version" => version = Some(read_version(value)?),
            // Spec 4.4: the length and the hashes may be missing.
            "length" => length = Some(value.unsigned()?),
            "hashes" => hashes = Some(read_hashes(value)?),
            _ => unknown(name, value.skip()?),
        }
        Ok(())
    })?;
    Ok((version.ok_or_else(|| ErrorKind::missing("version"))?, length, hashes))
}

impl Entry for MetaFile {
    fn read(_: &str, reader: &mut Reader<'_>) -> Result<Self, ErrorKind> {
        Self::read_value(reader)
    }

    fn check(_: &str, reader: &mut Reader<'_>) -> Result<(), ErrorKind> {
        read_members(reader, Hashes::check, |_, _| {}).map(drop)
    }

    fn write(&self) -> String {
        self.write_value()
    }
}

/// The signed content of a snapshot file.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The members that all roles have.
    pub header: Header,
    meta: Index<MetaFile>,
}

impl Snapshot {
    /// Creates a snapshot that lists no files.
    #[must_use]
    pub fn new(version: Version, expires: DateTime<Utc>) -> Self {
        Self { header: Header::new(version, expires), meta: Index::default() }
    }

    /// Returns the entry for `role`, if the snapshot lists it.
    #[must_use]
    pub fn meta(&self, role: &RoleName) -> Option<MetaFile> {
        self.meta.find(&role.as_listed())
    }

    /// Returns all listed roles, in the order of their file names.
    ///
    /// Old snapshots may also list other files. Only file names that end in `.json` belong to roles.
    pub fn roles(&self) -> impl Iterator<Item = (RoleName, MetaFile)> + '_ {
        self.meta.iter().filter_map(|(name, file)| Some((RoleName::from_listed(&name)?, file)))
    }

    /// Returns the versions of all listed roles, in the order of their file names.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (Cow<'_, str>, Version)> + '_ {
        let versions = self.meta.each(read_version_alone, |file| file.version);
        versions.filter_map(|(name, version)| Some((role_of(name)?, version)))
    }

    /// Returns the number of listed files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.meta.len()
    }

    /// Returns whether no file is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds or replaces the entry for `role`.
    pub fn insert(&mut self, role: &RoleName, file: MetaFile) {
        self.meta.insert(&role.as_listed(), file);
    }

    /// Removes the entry for `role`, and returns whether it was listed. Clients that trust an earlier snapshot with
    /// `role` refuse the changed snapshot (TUF specification 5.5.5) until the keys of the timestamp or snapshot role
    /// are rotated.
    pub fn remove(&mut self, role: &RoleName) -> bool {
        self.meta.remove(&role.as_listed())
    }
}

/// Reads only the version, and skips the other members, which were already checked when the snapshot was read.
fn read_version_alone(reader: &mut Reader<'_>) -> Result<Version, ErrorKind> {
    let mut version = None;
    reader.members(|_, name, value| {
        if name == "version" {
            version = Some(read_version(value)?);
            return Ok(());
        }
        value.skip().map(drop)
    })?;
    version.ok_or_else(|| ErrorKind::missing("version"))
}

impl RoleName {
    /// Returns the name under which a snapshot lists the role (TUF specification 4.4, 6.2.1). The name consists of the
    /// role name, without percent-encoding, and `.json`. It contains no version.
    fn as_listed(&self) -> String {
        self.as_str().to_string() + ".json"
    }

    fn from_listed(file: &str) -> Option<Self> {
        Self::listed(&role_of(Cow::Borrowed(file))?).ok()
    }
}

/// Returns the name of the role that is listed as `file`, or `None` if `file` does not belong to a role.
fn role_of(file: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let role = match file {
        Cow::Borrowed(file) => Cow::Borrowed(file.strip_suffix(".json")?),
        Cow::Owned(file) => Cow::Owned(file.strip_suffix(".json")?.to_string()),
    };
    if role.is_empty() { None } else { Some(role) }
}

has_header!(Snapshot);

impl Role for Snapshot {
    const TYPE: &'static str = "snapshot";

    fn read(reader: &mut Reader<'_>, text: &Arc<String>) -> Result<Self, ErrorKind> {
        let mut header = HeaderFields::default();
        let mut meta = None;
        reader.object(|name, value| {
            match name {
                "meta" => meta = Some(Index::read(text, value)?),
                _ => header.member::<Self>(name, value)?,
            }
            Ok(())
        })?;
        let header = header.finish()?;
        Ok(Self { header, meta: meta.ok_or_else(|| ErrorKind::missing("meta"))? })
    }

    fn write(&self) -> String {
        self.header.write::<Self>([("meta", self.meta.write())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_roles_are_counted_and_can_be_removed() {
        let mut snapshot = Snapshot::new(Version::ONE, DateTime::UNIX_EPOCH);
        assert!(snapshot.is_empty());
        let roles = ["a", "b", "c"].map(|name| RoleName::delegated(name).unwrap());
        roles.iter().for_each(|role| snapshot.insert(role, MetaFile::new(Version::ONE)));
        assert_eq!((snapshot.len(), snapshot.is_empty()), (3, false));
        assert!(snapshot.remove(&roles[1]) && !snapshot.remove(&roles[1]));
        assert_eq!(
            snapshot.roles().map(|(role, _)| role).collect::<alloc::vec::Vec<_>>(),
            [roles[0].clone(), roles[2].clone()]
        );
    }
}
