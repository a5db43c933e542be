//! The record of trusted versions. It is stored separately from the metadata files for two reasons. A damaged metadata
//! file must not make a rollback possible, and a key rotation must be handled exactly once, even after a crash (TUF
//! specification 5.4.3, 5.5.5, 5.3.11).

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::{ErrorKind, RoleName, Root, Snapshot, Timestamp, Verified, Version};

const HEADING: &str = "lastmile trusted versions 1";
const CHECKSUM: &str = "checksum ";
/// A line that marks a record as damaged. For such a record, [`Floors::from_text`] returns [`StoredFloors::Lost`].
const LOST: &str = "what was trusted before is lost";

/// The characters that are percent-encoded in names: the percent sign and all control characters. An unencoded line
/// break in a name would end the line of the record.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The record of trusted versions. It contains the lowest versions that the client still accepts, so that versions
/// never decrease (TUF specification 4.3), even if a stored file is damaged (POUF D3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floors {
    /// Whether the stored record was damaged. This stays `true` until the record has been rebuilt from the stored
    /// metadata files. Until then, every record that is written is marked as damaged.
    pub(crate) lost: bool,
    /// The version of the root that was trusted when the other versions were accepted.
    pub(crate) root: Version,
    /// The text that [`Root::online_keys`] returned for that root. It identifies the timestamp and snapshot keys.
    pub(crate) online_keys: String,
    /// The version of the timestamp, and the version of the snapshot that this timestamp lists.
    pub(crate) timestamp: Option<(Version, Version)>,
    pub(crate) snapshot: Option<RoleFloors>,
}

/// The version of a snapshot, and the versions that this snapshot lists for targets roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleFloors {
    pub(crate) version: Version,
    /// The SHA-256 of the signed text of the snapshot, in hexadecimal. If an update finds the same snapshot again, it
    /// need not compare versions.
    digest: String,
    /// The lines `role VERSION NAME` of the record, in the order in which the snapshot lists the roles. The lines are
    /// kept as text, because there may be millions of roles.
    lines: String,
}

/// The state of the record of trusted versions in the client's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredFloors {
    /// No record has ever been stored.
    FirstRun,
    /// The record is intact.
    Known(Floors),
    /// The record is damaged.
    Lost,
}

impl Floors {
    pub(crate) fn under(root: &Root) -> Self {
        Self { lost: false, root: root.version, online_keys: root.online_keys(), timestamp: None, snapshot: None }
    }

    pub(crate) fn raise_timestamp(&mut self, timestamp: &Timestamp) {
        self.timestamp = Some((timestamp.version, timestamp.snapshot.version));
    }

    /// Checks that `snapshot` still lists every recorded role, and that no version decreases (TUF specification 5.5.5).
    /// Returns the versions to record, or `None` if they were already recorded from the same snapshot.
    pub(crate) fn check_snapshot(&self, snapshot: &Verified<Snapshot>) -> Result<Option<RoleFloors>, ErrorKind> {
        let digest = digest(snapshot.signed().as_bytes());
        if self.snapshot.as_ref().is_some_and(|floors| floors.digest == digest) {
            return Ok(None);
        }
        let new = RoleFloors::of(snapshot, digest);
        self.snapshot.as_ref().map_or(Ok(()), |floors| floors.check(&new))?;
        Ok(Some(new))
    }

    pub(crate) fn raise_snapshot(&mut self, to: Option<RoleFloors>) {
        if to.is_some() {
            self.snapshot = to;
        }
    }

    /// Returns the record as text, with a checksum.
    #[must_use]
    pub fn to_text(&self) -> String {
        let text = self.head() + self.lines();
        let checksum = checksum(&text);
        text + &checksum
    }

    /// Returns whether `record` contains exactly the same versions as `self`. `record` must come from
    /// [`Floors::to_text`] or have been accepted by [`Floors::from_text`].
    #[must_use]
    pub fn is_recorded(&self, record: &str) -> bool {
        let rest = record.strip_prefix(&self.head()).and_then(|rest| rest.strip_prefix(self.lines()));
        rest.is_some_and(|rest| rest.starts_with(CHECKSUM))
    }

    fn head(&self) -> String {
        let mut text = format!("{HEADING}\nroot {} {}\n", self.root, self.online_keys);
        if self.lost {
            text += &format!("{LOST}\n");
        }
        if let Some((version, snapshot)) = self.timestamp {
            text += &format!("timestamp {version} {snapshot}\n");
        }
        if let Some(RoleFloors { version, digest, .. }) = &self.snapshot {
            text += &format!("snapshot {version} {digest}\n");
        }
        text
    }

    fn lines(&self) -> &str {
        self.snapshot.as_ref().map_or("", |snapshot| &snapshot.lines)
    }

    /// Parses a record. Returns [`StoredFloors::Lost`] if the record was changed or is marked as damaged.
    #[must_use]
    pub fn from_text(text: &str) -> StoredFloors {
        Self::read(text).map_or(StoredFloors::Lost, StoredFloors::Known)
    }

    fn read(text: &str) -> Option<Self> {
        let at = text.rfind(CHECKSUM)?;
        let (record, found) = text.split_at_checked(at)?;
        if found != checksum(record) {
            return None;
        }
        let (head, roles) = match record.find("\nrole ") {
            Some(end) => record.split_at_checked(end + 1)?,
            None => (record, ""),
        };
        let mut lines = head.lines();
        if lines.next() != Some(HEADING) {
            return None;
        }
        let (root, online_keys) = lines.next()?.strip_prefix("root ")?.split_once(' ')?;
        let mut floors = Self {
            lost: false,
            root: version(root)?,
            online_keys: online_keys.to_string(),
            timestamp: None,
            snapshot: None,
        };
        for line in lines {
            match line.split_once(' ')? {
                ("timestamp", rest) => {
                    let (timestamp, snapshot) = rest.split_once(' ')?;
                    floors.timestamp = Some((version(timestamp)?, version(snapshot)?));
                }
                ("snapshot", rest) => {
                    let (number, digest) = rest.split_once(' ')?;
                    floors.snapshot = Some(RoleFloors {
                        version: version(number)?,
                        digest: digest.to_owned(),
                        lines: roles.to_owned(),
                    });
                }
                _ => return None,
            }
        }
        (roles.is_empty() || floors.snapshot.is_some()).then_some(floors)
    }
}

impl RoleFloors {
    pub(crate) fn of(snapshot: &Snapshot, digest: String) -> Self {
        let mut lines = String::new();
        // POUF A17: old snapshots also list the root. Only the versions of targets roles are recorded here.
        let others = [RoleName::ROOT, RoleName::TIMESTAMP, RoleName::SNAPSHOT];
        let is_targets = |role: &str| others.iter().all(|other| other.as_str() != role);
        for (role, version) in snapshot.versions().filter(|(role, _)| is_targets(role)) {
            // Writing to a `String` does not fail.
            let _ = write!(lines, "role {version} ");
            lines.extend(utf8_percent_encode(&role, ESCAPED));
            lines.push('\n');
        }
        Self { version: snapshot.version, digest, lines }
    }

    /// Checks that `new` still lists every role, and that neither the version of the snapshot nor the version of a role
    /// decreases (TUF specification 5.5.5).
    pub(crate) fn check(&self, new: &Self) -> Result<(), ErrorKind> {
        if new.version < self.version {
            return Err(ErrorKind::Rollback { trusted: self.version, found: new.version });
        }
        let mut found = new.lines.lines();
        for line in self.lines.lines() {
            let (trusted, name) = split_role(line).ok_or(ErrorKind::StateLost)?;
            // Both records list the roles in the order of their file names. So the search continues after the previous
            // role, and the lines that it skips belong to new roles.
            match found.find_map(|line| split_role(line).filter(|(_, other)| *other == name)) {
                // First compare the versions as text, because most versions have not changed and need not be parsed.
                Some((found, _)) if found == trusted => {}
                found => check_version(name, trusted, found.map(|(found, _)| found))?,
            }
        }
        Ok(())
    }
}

/// Returns the version and the escaped name in a line of the record.
fn split_role(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("role ")?.split_once(' ')
}

/// Checks the version that a new snapshot lists for a role. `name` is the escaped name of the role. Fails if `found` is
/// `None` or less than `trusted`.
fn check_version(name: &str, trusted: &str, found: Option<&str>) -> Result<(), ErrorKind> {
    let decoded = percent_decode_str(name).decode_utf8().ok();
    let role = decoded.and_then(|name| RoleName::listed(&name).ok());
    let (Some(listed), Some(trusted)) = (role, version(trusted)) else { return Err(ErrorKind::StateLost) };
    match found.map(version) {
        // Spec 5.5.5: no listed file disappears, and no listed version decreases.
        None => Err(ErrorKind::Removed { listed }),
        Some(Some(found)) if found < trusted => Err(ErrorKind::ListedRollback { listed, trusted, found }),
        Some(Some(_)) => Ok(()),
        Some(None) => Err(ErrorKind::StateLost),
    }
}

fn version(text: &str) -> Option<Version> {
    text.parse().ok().and_then(Version::new)
}

fn checksum(record: &str) -> String {
    format!("{CHECKSUM}{}\n", digest(record.as_bytes()))
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floors() -> Floors {
        let version = |number| Version::new(number).unwrap();
        let mut snapshot = Snapshot::new(version(8), crate::parse_time("2030-01-01T00:00:00Z").unwrap());
        for role in [RoleName::TARGETS, RoleName::delegated("a b\nc%/é").unwrap()] {
            snapshot.insert(&role, crate::MetaFile::new(version(7)));
        }
        Floors {
            lost: false,
            root: version(3),
            online_keys: "00ff".to_string(),
            timestamp: Some((version(9), version(8))),
            snapshot: Some(RoleFloors::of(&snapshot, digest(b"signed"))),
        }
    }

    #[test]
    fn d3_the_record_survives_writing_and_reading() {
        let record = floors().to_text();
        assert_eq!(Floors::from_text(&record), StoredFloors::Known(floors()));
        assert!(floors().is_recorded(&record));
        let others = [
            Floors { lost: true, ..floors() },
            Floors { root: Version::ONE, ..floors() },
            Floors { timestamp: None, ..floors() },
            Floors { snapshot: None, ..floors() },
        ];
        assert!(others.iter().all(|other| !other.is_recorded(&record) && other.is_recorded(&other.to_text())));
    }

    #[test]
    fn d3_any_change_of_the_record_is_detected() {
        let text = floors().to_text();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            assert_eq!(Floors::from_text(&String::from_utf8(bytes).unwrap()), StoredFloors::Lost, "{at}");
            assert_eq!(Floors::from_text(&text[..at]), StoredFloors::Lost, "{at}");
        }
    }
}
