//! Targets roles (TUF specification 4.5). The module `delegations` contains the delegations of targets roles.

use alloc::string::{String, ToString};
use alloc::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Header, HeaderFields, Role, has_header};
use crate::canonical;
use crate::index::{Entry, Index};
use crate::reader::Reader;
use crate::{Delegations, ErrorKind, Hashes, HashingVerifier, Json, NameError, TargetPath, Unknown, Version};

/// How target files are named in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetNames {
    /// The name is the target path.
    Plain,
    /// The name is the target path in which the last segment is prefixed with one of the listed hashes and a dot (TUF
    /// specification 6.2.1). Only repositories with consistent snapshots use such names.
    HashPrefixed,
}

/// The metadata of a target file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetFile {
    /// The path of the target.
    pub path: TargetPath,
    /// The length of the file in bytes.
    pub length: u64,
    /// The hashes of the file.
    pub hashes: Hashes,
    /// The member `custom`, an opaque object with data for the application.
    pub custom: Option<Json>,
    /// Members that this crate does not know. They are preserved when the metadata is written.
    pub unknown: Unknown,
}

impl TargetFile {
    /// Creates a target with only the required members.
    #[must_use]
    pub fn new(path: TargetPath, length: u64, hashes: Hashes) -> Self {
        Self { path, length, hashes, custom: None, unknown: Unknown::new() }
    }

    /// Returns a verifier that checks a file against the listed length and every listed hash of a known algorithm (TUF
    /// specification 5.7.3).
    #[must_use]
    pub fn verifier(&self) -> HashingVerifier {
        self.hashes.verifier(Some(self.length))
    }

    /// Returns the path of the file, relative to the targets URL (TUF specification 5.7.3).
    ///
    /// # Errors
    /// The errors of [`TargetPath::url_path`].
    pub fn url_path(&self, names: TargetNames) -> Result<String, NameError> {
        let prefix = match names {
            // Spec 3.1.1: the file name does not begin with a hash.
            TargetNames::Plain => None,
            TargetNames::HashPrefixed => self.hashes.prefixes().next(),
        };
        self.path.url_path(prefix.as_deref())
    }
}

const PATH: &str = "a target path that is not empty";

struct TargetFields<'a, H> {
    length: u64,
    hashes: H,
    custom: Option<&'a str>,
    unknown: Unknown,
}

impl<'a, H> TargetFields<'a, H> {
    fn read(
        reader: &mut Reader<'a>,
        read_hashes: impl Fn(&mut Reader<'a>) -> Result<H, ErrorKind>,
    ) -> Result<Self, ErrorKind> {
        let mut length = None;
        let mut hashes = None;
        let mut custom = None;
        let mut unknown = Unknown::new();
        reader.object(|name, value| {
            match name {
                "length" => length = Some(value.unsigned()?),
                "hashes" => hashes = Some(read_hashes(value)?),
                "custom" => {
                    let start = value.position();
                    let object = value.skip()?;
                    // Spec 4.5: `custom` is an object, which is passed to the application unchanged.
                    if !object.starts_with('{') {
                        return Err(value.expected_at(start, "an object"));
                    }
                    custom = Some(object);
                }
                _ => value.keep(name, &mut unknown)?,
            }
            Ok(())
        })?;
        // Spec 4.5: the length and the hashes are required.
        let length = length.ok_or_else(|| ErrorKind::missing("length"))?;
        let hashes = hashes.ok_or_else(|| ErrorKind::missing("hashes"))?;
        Ok(Self { length, hashes, custom, unknown })
    }
}

impl Entry for TargetFile {
    fn read(name: &str, reader: &mut Reader<'_>) -> Result<Self, ErrorKind> {
        let path = TargetPath::new(name).map_err(|_| ErrorKind::expected(PATH))?;
        let TargetFields { length, hashes, custom, unknown } = TargetFields::read(reader, Hashes::read)?;
        Ok(Self { path, length, hashes, custom: custom.map(Json::from_canonical), unknown })
    }

    fn check(name: &str, reader: &mut Reader<'_>) -> Result<(), ErrorKind> {
        if name.is_empty() {
            return Err(ErrorKind::expected(PATH));
        }
        TargetFields::read(reader, Hashes::check).map(drop)
    }

    fn write(&self) -> String {
        let members = [
            self.custom.as_ref().map(|custom| ("custom", custom.canonical().to_string())),
            Some(("hashes", self.hashes.write())),
            Some(("length", self.length.to_string())),
        ];
        canonical::object(members.into_iter().flatten(), &self.unknown)
    }
}

/// The signed content of a file of the top-level targets role or of a delegated role.
#[derive(Clone, Debug)]
pub struct Targets {
    /// The members that all roles have.
    pub header: Header,
    /// The delegations to other roles.
    pub delegations: Option<Delegations>,
    targets: Index<TargetFile>,
}

impl Targets {
    /// Creates a role without targets or delegations.
    #[must_use]
    pub fn new(version: Version, expires: DateTime<Utc>) -> Self {
        Self { header: Header::new(version, expires), delegations: None, targets: Index::default() }
    }

    /// Returns the target that this role itself lists for `path`. This function does not check whether the role is
    /// trusted for `path`. [`TrustedMetadata::search`](crate::TrustedMetadata::search) does.
    #[must_use]
    pub fn target(&self, path: &TargetPath) -> Option<TargetFile> {
        self.targets.find(path.as_str())
    }

    /// Returns all targets that this role itself lists, in the order of the paths.
    pub fn targets(&self) -> impl Iterator<Item = TargetFile> + '_ {
        self.targets.iter().map(|(_, target)| target)
    }

    /// Returns the paths of all targets that this role itself lists, in order.
    pub fn paths(&self) -> impl Iterator<Item = TargetPath> + '_ {
        self.targets.names().filter_map(|name| TargetPath::new(name).ok())
    }

    /// Returns the number of targets that this role itself lists.
    #[must_use]
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Returns whether this role itself lists no targets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` if the two roles are clones whose targets have not been changed since they were cloned. One of
    /// the roles may be a clone of the other, or both may be clones of a third role. The targets themselves are not
    /// compared, so they may be equal even if the result is `false`. The header and the delegations are ignored.
    #[must_use]
    pub fn is_clone_of(&self, other: &Self) -> bool {
        self.targets.is_clone_of(&other.targets)
    }

    /// Adds or replaces the entry for a target.
    pub fn insert(&mut self, target: TargetFile) {
        let path = target.path.clone();
        self.targets.insert(path.as_str(), target);
    }

    /// Adds or replaces the entries of many targets, which must be sorted by path, without duplicates. Each target
    /// needs little more memory than its serialized text, because the texts of all targets are stored in one string.
    ///
    /// # Errors
    /// Returns [`ErrorKind::Malformed`] if the serialized targets would exceed 4 GiB.
    pub fn extend_sorted(&mut self, targets: impl Iterator<Item = TargetFile>) -> Result<(), ErrorKind> {
        self.targets.extend_sorted(targets.map(|target| (String::from(target.path.as_str()), target)))
    }

    /// Removes all targets.
    pub fn clear(&mut self) {
        self.targets = Index::default();
    }

    /// Removes a target, and returns whether it was listed.
    pub fn remove(&mut self, path: &TargetPath) -> bool {
        self.targets.remove(path.as_str())
    }
}

has_header!(Targets);

impl Role for Targets {
    // Spec 4.5: this is the type of the top-level role and of delegated roles.
    const TYPE: &'static str = "targets";

    fn read(reader: &mut Reader<'_>, text: &Arc<String>) -> Result<Self, ErrorKind> {
        let mut header = HeaderFields::default();
        let mut targets = None;
        let mut delegations = None;
        reader.object(|name, value| {
            match name {
                "targets" => targets = Some(Index::read(text, value)?),
                "delegations" => delegations = Some(Delegations::read(value)?),
                _ => header.member::<Self>(name, value)?,
            }
            Ok(())
        })?;
        let header = header.finish()?;
        // Spec 4.5: `targets` may be empty, but not missing.
        Ok(Self { header, delegations, targets: targets.ok_or_else(|| ErrorKind::missing("targets"))? })
    }

    fn write(&self) -> String {
        let own = [
            self.delegations.as_ref().map(|delegations| ("delegations", delegations.write())),
            Some(("targets", self.targets.write())),
        ];
        self.header.write::<Self>(own.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::Algorithm;

    fn target(path: &str, content: &str) -> TargetFile {
        let hashes = Hashes::of(content.as_bytes(), &[Algorithm::Sha256]).unwrap();
        TargetFile::new(TargetPath::new(path).unwrap(), content.len() as u64, hashes)
    }

    #[test]
    fn setting_many_targets_at_once_equals_setting_each() {
        let names = ["a", "a\"b", "a/b", "ä", "b\\", "z"];
        let mut one_by_one = Targets::new(Version::ONE, DateTime::UNIX_EPOCH);
        let mut at_once = one_by_one.clone();
        for (number, content) in ["x", "other"].iter().enumerate() {
            let mut new: Vec<TargetFile> = names.iter().skip(number * 2).map(|name| target(name, content)).collect();
            new.iter().for_each(|target| one_by_one.insert(target.clone()));
            new.sort_by(|one, other| one.path.cmp(&other.path));
            at_once.extend_sorted(new.into_iter()).unwrap();
        }
        at_once.insert(target("new", "y"));
        one_by_one.insert(target("new", "y"));
        assert_eq!(at_once.write(), one_by_one.write());
        assert_eq!((at_once.len(), at_once.target(&TargetPath::new("ä").unwrap())), (7, Some(target("ä", "other"))));
        let text = Arc::new(at_once.write());
        assert!(Targets::read(&mut Reader::new(&text), &text).is_ok());
        assert!(!at_once.is_empty());
        at_once.clear();
        assert!(at_once.is_empty());
    }

    #[test]
    fn changes_are_written_between_unchanged_members() {
        let names = ["b", "c", "d", "e"];
        let mut base = Targets::new(Version::ONE, DateTime::UNIX_EPOCH);
        base.extend_sorted(names.iter().map(|name| target(name, "x"))).unwrap();
        // `alike` has different targets from `base`, but each target starts at the same position in the text.
        let mut alike = Targets::new(Version::ONE, DateTime::UNIX_EPOCH);
        alike.extend_sorted(names.iter().map(|name| target(name, "y"))).unwrap();
        assert!(!alike.is_clone_of(&base) && base.is_clone_of(&base));
        // Keep, replace or remove each target, in every combination. Try each combination with and without new targets.
        for combination in 0..3_u32.pow(4) {
            for new in [&[][..], &["a"], &["f"], &["a", "bb", "cc", "f"]] {
                let mut changed = base.clone();
                let mut expected = Targets::new(Version::ONE, DateTime::UNIX_EPOCH);
                for (position, name) in (0_u32..).zip(names) {
                    match combination / 3_u32.pow(position) % 3 {
                        0 => expected.insert(target(name, "x")),
                        1 => {
                            changed.insert(target(name, "y"));
                            expected.insert(target(name, "y"));
                        }
                        _ => assert!(changed.remove(&TargetPath::new(name).unwrap())),
                    }
                }
                for name in new {
                    changed.insert(target(name, "z"));
                    expected.insert(target(name, "z"));
                }
                assert_eq!(changed.write(), expected.write(), "combination {combination}, new members {new:?}");
                assert_eq!(changed.len(), expected.len(), "combination {combination}, new members {new:?}");
                assert_eq!((changed.paths().count(), changed.targets().count()), (changed.len(), changed.len()));
                assert!(changed.paths().eq(expected.paths()) && changed.targets().eq(expected.targets()));
                for is_clone in [changed.is_clone_of(&base), base.is_clone_of(&changed)] {
                    assert_eq!(
                        is_clone,
                        combination == 0 && new.is_empty(),
                        "combination {combination}, new members {new:?}"
                    );
                }
            }
        }
    }
}
