//! Explains why the metadata files in a folder do not verify: which files are missing, and which were changed after
//! they were written.
//!
//! The explanation is used only in error messages. Nothing that is read here is trusted.

use std::collections::BTreeSet;

use lastmile_metadata::{Envelope, ErrorKind, MetaFile, RoleName, Root, Snapshot, Timestamp, Version};

use crate::check::damage::{Damage, DamagedFile};
use crate::files::access::{self, MAX_METADATA_LENGTH};
use crate::files::layout::Layout;
use crate::files::roots;
use crate::{Error, PublicationError, names};

/// Adds the names of missing and changed files to an error that these files may have caused.
pub(crate) fn explain(layout: &Layout, error: Error) -> Error {
    let may_be_damaged = match &error {
        Error::Untrusted(error) => !matches!(error.kind, ErrorKind::NotDelegated(_) | ErrorKind::LimitReached { .. }),
        Error::Network(_) => true,
        _ => false,
    };
    if !may_be_damaged {
        return error;
    }
    let files = damaged_files(layout);
    if files.is_empty() {
        return error;
    }
    PublicationError::Damaged { folder: layout.metadata(), files, error: error.into() }.into()
}

/// Returns the metadata files that are missing or damaged. A file is damaged if it cannot be read, or if its length or
/// hashes differ from those that the timestamp or the snapshot in the folder lists. A root or a timestamp is also
/// damaged if it cannot be parsed.
pub(crate) fn damaged_files(layout: &Layout) -> Vec<DamagedFile> {
    let mut state = FolderState { layout, damaged: Vec::new() };
    state.compare();
    state.damaged
}

struct FolderState<'a> {
    layout: &'a Layout,
    damaged: Vec<DamagedFile>,
}

fn name_of(root: &Root, role: &RoleName, version: Version) -> String {
    names::metadata_file(role, root.version_in_name(role, version))
}

impl FolderState<'_> {
    /// Reads the metadata in order, from the root to the targets roles. Stops if root, timestamp or snapshot cannot be
    /// read, because the names of the next files are then unknown.
    fn compare(&mut self) {
        let Some(root) = self.compare_roots() else { return };
        let name = RoleName::TIMESTAMP.file_name(None);
        let Some(timestamp) = self.read(&name, None) else { return };
        let Some(timestamp) = content::<Timestamp>(&RoleName::TIMESTAMP, timestamp) else {
            return self.add(name, Damage::Changed);
        };
        let name = name_of(&root, &RoleName::SNAPSHOT, timestamp.snapshot.version);
        let Some(snapshot) = self.read(&name, Some(&timestamp.snapshot)) else { return };
        let Some(snapshot) = content::<Snapshot>(&RoleName::SNAPSHOT, snapshot) else {
            return self.add(name, Damage::Changed);
        };
        for (role, listed) in snapshot.roles() {
            self.read(&name_of(&root, &role, listed.version), Some(&listed));
        }
    }

    /// Looks for gaps between the versions of the oldest and the newest root file, and records each missing root file
    /// as damaged. Returns the newest root, or `None` if it cannot be read.
    fn compare_roots(&mut self) -> Option<Root> {
        let versions: BTreeSet<Version> = roots::root_versions(self.layout).ok()?.into_iter().collect();
        let oldest = versions.first()?;
        let newest = versions.last()?;
        let mut next = oldest.next();
        while let Some(version) = next.filter(|version| version < newest) {
            if !versions.contains(&version) {
                self.add(RoleName::ROOT.file_name(Some(version)), Damage::Missing);
            }
            next = version.next();
        }
        let name = RoleName::ROOT.file_name(Some(*newest));
        let root = content::<Root>(&RoleName::ROOT, self.read(&name, None)?);
        if root.is_none() {
            self.add(name, Damage::Changed);
        }
        root
    }

    /// Reads a metadata file and compares it with its listed length and hashes. If the file is damaged or missing,
    /// records it as damaged and returns `None`.
    fn read(&mut self, name: &str, listed: Option<&MetaFile>) -> Option<Vec<u8>> {
        let path = self.layout.metadata().join(name);
        let Ok(bytes) = access::read_small(&path, MAX_METADATA_LENGTH) else {
            self.add(name.to_string(), Damage::Changed);
            return None;
        };
        let Some(bytes) = bytes else {
            self.add(name.to_string(), Damage::Missing);
            return None;
        };
        let Some(listed) = listed.filter(|listed| listed.check(&bytes).is_err()) else { return Some(bytes) };
        let has_line_ends = listed.check(&without_carriage_returns(&bytes)).is_ok();
        self.add(name.to_string(), if has_line_ends { Damage::LineEnds } else { Damage::Changed });
        None
    }

    fn add(&mut self, name: String, damage: Damage) {
        self.damaged.push(DamagedFile { name, damage });
    }
}

/// Parses a metadata file without verifying it.
fn content<R: lastmile_metadata::Role>(role: &RoleName, bytes: Vec<u8>) -> Option<R> {
    Envelope::<R>::parse(role, bytes).ok()?.unverified(role).ok()
}

/// Replaces CRLF line endings with LF.
fn without_carriage_returns(bytes: &[u8]) -> Vec<u8> {
    let next = bytes.iter().skip(1).map(Some).chain([None]);
    bytes.iter().zip(next).filter(|pair| *pair != (&b'\r', Some(&b'\n'))).map(|(byte, _)| *byte).collect()
}

#[cfg(test)]
mod tests {
    use lastmile_metadata::{Algorithm, Hashes};

    use super::*;

    #[test]
    fn changed_line_ends_are_distinguished_from_other_changes() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        std::fs::create_dir(layout.metadata()).unwrap();
        let mut listed = MetaFile::new(Version::ONE);
        listed.hashes = Hashes::of(b"{\n\r\n}\n", &[Algorithm::Sha256]);
        for (content, damage) in
            [("{\n\r\n}\n", None), ("{\n}\n", Some(Damage::Changed)), ("{}", Some(Damage::Changed))]
        {
            assert_eq!(damage_of(&layout, content, &listed), damage, "{content:?}");
        }
        listed.hashes = Hashes::of(b"{\n}\n", &[Algorithm::Sha256]);
        assert_eq!(damage_of(&layout, "{\r\n}\r\n", &listed), Some(Damage::LineEnds));
        assert_eq!(damage_of(&layout, "{\r\n}\r", &listed), Some(Damage::Changed));
    }

    fn damage_of(layout: &Layout, content: &str, listed: &MetaFile) -> Option<Damage> {
        std::fs::write(layout.metadata().join("1.a.json"), content).unwrap();
        let mut state = FolderState { layout, damaged: Vec::new() };
        state.read("1.a.json", Some(listed));
        state.damaged.first().map(|file| file.damage)
    }
}
