//! The names of roles and targets, their forms in URLs and on disk, and the versions of roles (TUF specification 3.1.2,
//! 4.5, 6.2).

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::num::NonZeroU64;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::text::Printable;

/// The characters to percent-encode in a URL segment or a file name: all characters except `A–Z a–z 0–9 - . _ ~`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Like [`ENCODED`], but keeps the `/` of target paths.
const ENCODED_IN_PATH: &AsciiSet = &ENCODED.remove(b'/');

/// A metadata version, which is a number from 1 to 2⁶³−1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(NonZeroU64);

impl Version {
    /// The first version.
    pub const ONE: Self = Self(NonZeroU64::MIN);

    /// Creates a version. Returns `None` if the number is out of range (TUF specification 4.3, POUF A16).
    #[must_use]
    pub fn new(version: u64) -> Option<Self> {
        NonZeroU64::new(version).filter(|version| version.get() <= i64::MAX.unsigned_abs()).map(Self)
    }

    /// Returns the number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the next version, or `None` if this is the highest version.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.get().checked_add(1).and_then(Self::new)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The error for a role name or target path that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name `{}` {reason}", Printable(name))]
pub struct NameError {
    /// The name.
    pub name: String,
    /// The reason, as a phrase that follows the name in messages, such as `is empty`.
    pub reason: &'static str,
}

impl NameError {
    fn new(name: &str, reason: &'static str) -> Self {
        Self { name: name.to_string(), reason }
    }
}

/// The name of a top-level role or a delegated role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(Cow<'static, str>);

impl RoleName {
    /// The name of the root role.
    pub const ROOT: Self = Self(Cow::Borrowed("root"));
    /// The name of the timestamp role.
    pub const TIMESTAMP: Self = Self(Cow::Borrowed("timestamp"));
    /// The name of the snapshot role.
    pub const SNAPSHOT: Self = Self(Cow::Borrowed("snapshot"));
    /// The name of the top-level targets role.
    pub const TARGETS: Self = Self(Cow::Borrowed("targets"));
    /// The four roles that every root must list (TUF specification 4.3).
    pub const TOP_LEVEL: [Self; 4] = [Self::ROOT, Self::TIMESTAMP, Self::SNAPSHOT, Self::TARGETS];
    /// The two roles that are signed automatically whenever files are published, so their keys must be online.
    pub const ONLINE: [Self; 2] = [Self::SNAPSHOT, Self::TIMESTAMP];

    /// Creates the name of a delegated role.
    ///
    /// # Errors
    /// [`NameError`] if the name is empty, or if it is `root`, `timestamp`, `snapshot`, `targets` or `mirrors` in
    /// lower, upper or mixed case.
    pub fn delegated(name: &str) -> Result<Self, NameError> {
        let reserved = ["root", "timestamp", "snapshot", "targets", "mirrors"];
        if name.is_empty() {
            return Err(NameError::new(name, "is empty"));
        }
        // POUF A13: a delegated role must not have the name of a top-level role.
        if reserved.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            return Err(NameError::new(name, "is reserved for a top-level role"));
        }
        Ok(Self(Cow::Owned(name.to_string())))
    }

    /// Creates the name of a top-level or delegated role.
    ///
    /// # Errors
    /// [`NameError`] if the name is empty.
    pub fn listed(name: &str) -> Result<Self, NameError> {
        match Self::TOP_LEVEL.into_iter().find(|role| role.as_str() == name) {
            Some(role) => Ok(role),
            None if name.is_empty() => Err(NameError::new(name, "is empty")),
            None => Ok(Self(Cow::Owned(name.to_string()))),
        }
    }

    /// Creates the name of a hash bin (TAP 15). Such a name contains a hyphen, so it is neither empty nor the name of a
    /// top-level role.
    pub(crate) fn bin(name: String) -> Self {
        debug_assert!(name.contains('-'), "{name}");
        Self(Cow::Owned(name))
    }

    /// Returns the name as written in metadata.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this is one of the four roles that every root lists.
    #[must_use]
    pub fn is_top_level(&self) -> bool {
        Self::TOP_LEVEL.contains(self)
    }

    /// Returns whether this is one of the [`RoleName::ONLINE`] roles.
    #[must_use]
    pub fn is_online(&self) -> bool {
        Self::ONLINE.contains(self)
    }

    /// Returns the name of the role's file, relative to the metadata URL (TUF specification 3.1.2, 6.2.1): `NAME.json`
    /// or `VERSION.NAME.json`. Every byte of the name outside `A–Z a–z 0–9 - . _ ~` is percent-encoded (POUF A11), so
    /// the files of all roles are in one folder (TUF specification 3.1.2.1).
    #[must_use]
    pub fn file_name(&self, version: Option<Version>) -> String {
        let name = utf8_percent_encode(&self.0, ENCODED);
        match version {
            Some(version) => format!("{version}.{name}.json"),
            None => format!("{name}.json"),
        }
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printable(&self.0).fmt(f)
    }
}

/// The path of a target as written in metadata. Paths are compared byte by byte and never normalised.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetPath(String);

impl TargetPath {
    /// Creates a path from any text that is not empty.
    ///
    /// # Errors
    /// [`NameError`] if the path is empty.
    pub fn new(path: impl Into<String>) -> Result<Self, NameError> {
        let path = path.into();
        if path.is_empty() { Err(NameError::new(&path, "is empty")) } else { Ok(Self(path)) }
    }

    /// Returns the path as written in metadata.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the percent-encoded path of the target, relative to the targets URL (TUF specification 5.7.3). If
    /// `prefix` is not `None`, inserts the prefix and a dot before the last segment.
    ///
    /// # Errors
    /// [`NameError`] if one of the segments is empty, `.` or `..`, because URL parsers remove such segments.
    pub fn url_path(&self, prefix: Option<&str>) -> Result<String, NameError> {
        // Spec 4.5, POUF A12: a path is relative, and never leads outside the targets URL.
        if self.0.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(NameError::new(&self.0, "has an empty segment, `.` or `..`, which URL parsers remove"));
        }
        let (folder, name) = self.0.rsplit_once('/').map_or(("", self.0.as_str()), |(folder, name)| (folder, name));
        let mut path = String::new();
        if !folder.is_empty() {
            path.extend(utf8_percent_encode(folder, ENCODED_IN_PATH));
            path.push('/');
        }
        if let Some(prefix) = prefix {
            path.push_str(prefix);
            path.push('.');
        }
        path.extend(utf8_percent_encode(name, ENCODED));
        Ok(path)
    }

    /// Returns the path as a relative file path with `/` as the separator. The path names the same file on every
    /// platform, and the file is always inside the folder to which the path is joined.
    ///
    /// # Errors
    /// [`NameError`] if the path is absolute, or contains a control character, a bidirectional character or one of the
    /// characters `\ : < > " | ? *`. The same error is returned if a segment is empty, is `.` or `..`, has more than
    /// 255 bytes, names a reserved device, or ends in a dot or a space.
    pub fn file_path(&self) -> Result<&str, NameError> {
        // POUF D8: each segment is a safe file name.
        for segment in self.0.split('/') {
            if let Some(reason) = refusal(segment) {
                return Err(NameError::new(&self.0, reason));
            }
        }
        Ok(&self.0)
    }
}

impl fmt::Display for TargetPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printable(&self.0).fmt(f)
    }
}

/// Returns why a path segment is not a safe file name, as a phrase for [`NameError::reason`]. Returns `None` if the
/// segment is safe.
fn refusal(segment: &str) -> Option<&'static str> {
    let stem = segment.split('.').next().unwrap_or_default().trim_end();
    match segment {
        "" => Some("is absolute or has an empty segment"),
        "." | ".." => Some("leads out of the folder"),
        _ if segment.len() > 255 => Some("has a segment of more than 255 bytes"),
        _ if segment.contains(is_refused_in_files) => Some("contains control or bidirectional characters"),
        _ if segment.contains(['\\', ':', '<', '>', '"', '|', '?', '*']) => {
            Some("contains a character that is special on some platform: one of \\ : < > \" | ? *")
        }
        _ if segment.ends_with(['.', ' ']) => Some("has a segment that ends in a dot or a space"),
        _ if is_device(stem) => Some("is reserved for a device on some platform"),
        _ => None,
    }
}

/// Returns whether a character is refused in file names because it is a control character, a bidirectional character, or
/// a line or paragraph separator.
///
/// Unlike [`is_unprintable`](crate::is_unprintable), this function returns `false` for unusual spaces and invisible
/// characters. They occur in real file names and are harmless there.
fn is_refused_in_files(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_device(stem: &str) -> bool {
    let numbered = |prefix: &str| {
        stem.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
            && matches!(
                stem.get(3..),
                Some("1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "0" | "¹" | "²" | "³")
            )
    };
    ["con", "prn", "aux", "nul", "conin$", "conout$"].iter().any(|device| stem.eq_ignore_ascii_case(device))
        || numbered("com")
        || numbered("lpt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a16_versions_range_from_one_to_the_largest_signed_integer() {
        assert_eq!(Version::new(0), None);
        assert_eq!(Version::new(1), Some(Version::ONE));
        assert_eq!(Version::new(1 << 63), None);
        let last = Version::new((1 << 63) - 1).unwrap();
        assert_eq!(last.next(), None);
    }

    #[test]
    fn a11_role_names_are_percent_encoded_in_file_names() {
        for (name, file) in [
            ("a", "3.a.json"),
            ("a/b", "3.a%2Fb.json"),
            ("../a", "3...%2Fa.json"),
            ("?", "3.%3F.json"),
            ("#", "3.%23.json"),
            ("a b+c", "3.a%20b%2Bc.json"),
            ("é", "3.%C3%A9.json"),
            ("%2e", "3.%252e.json"),
            ("a-b._~", "3.a-b._~.json"),
        ] {
            assert_eq!(RoleName::delegated(name).unwrap().file_name(Version::new(3)), file);
        }
        assert_eq!(RoleName::TIMESTAMP.file_name(None), "timestamp.json");
    }

    #[test]
    fn a13_delegated_roles_do_not_take_top_level_names() {
        for name in ["", "root", "Root", "TARGETS", "snapshot", "timestamp", "mirrors"] {
            assert!(RoleName::delegated(name).is_err(), "{name}");
        }
        assert!(RoleName::delegated("1.root").is_ok());
        assert_eq!(RoleName::listed("root"), Ok(RoleName::ROOT));
        assert_eq!(RoleName::TOP_LEVEL.map(|role| role.is_online()), [false, true, true, false]);
        let delegated = RoleName::delegated("a").unwrap();
        assert!(!delegated.is_online() && !delegated.is_top_level());
        assert!(RoleName::listed("").is_err());
    }

    #[test]
    fn w_5_7_3_2_the_hash_is_inserted_before_the_last_segment() {
        let path = |path: &str, prefix| TargetPath::new(path).unwrap().url_path(prefix);
        assert_eq!(path("a/b/c.txt", Some("00ff")).unwrap(), "a/b/00ff.c.txt");
        assert_eq!(path("c.txt", Some("00ff")).unwrap(), "00ff.c.txt");
        assert_eq!(path("a/b/c.txt", None).unwrap(), "a/b/c.txt");
    }

    #[test]
    fn a12_target_paths_never_leave_the_targets_url() {
        let path = |path: &str| TargetPath::new(path).unwrap().url_path(None);
        assert_eq!(path("http:x?y#z").unwrap(), "http%3Ax%3Fy%23z");
        assert_eq!(path("a\\b%2e é").unwrap(), "a%5Cb%252e%20%C3%A9");
        for refused in ["/a", "//host/x", "http://evil/x", "a//b", "a/", "..", "../a", "a/../b", "./a", "a/."] {
            assert!(path(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn d8_output_paths_stay_below_the_folder_on_every_platform() {
        for refused in [
            "..",
            "../x",
            "a/../../x",
            ".",
            "./x",
            "/abs",
            "//host/x",
            "\\\\host\\share",
            "C:x",
            "c:/x",
            "a\\..\\b",
            "a\0b",
            "a//b",
            "a/",
            "x.",
            "x ",
            "CON",
            "con.txt",
            "NUL",
            "AUX.json",
            "COM1",
            "COM¹",
            "lpt9.x",
            "CONIN$",
            "a::$DATA",
            "a\u{202e}b",
            "a\nb",
        ] {
            assert!(TargetPath::new(refused).unwrap().file_path().is_err(), "{refused:?}");
        }
        for kept in ["a", "a/b/c.txt", "-rf", "~root", "$(x)", "%2e%2e/x", "é/ü", "console", "com10", ".hidden"] {
            assert_eq!(TargetPath::new(kept).unwrap().file_path(), Ok(kept));
        }
        assert!(TargetPath::new("x".repeat(255)).unwrap().file_path().is_ok());
        assert!(TargetPath::new("x".repeat(256)).unwrap().file_path().is_err());
        let error = |path: &str| TargetPath::new(path).unwrap().file_path().unwrap_err().to_string();
        assert!(error("a/..").contains("leads out of the folder"));
    }

    #[test]
    fn printed_names_cannot_control_the_terminal() {
        let name = "a\u{1b}[31m\u{202e}\u{200b}é";
        let printed = "a\\u{1b}[31m\\u{202e}\\u{200b}é";
        assert_eq!(TargetPath::new(name).unwrap().to_string(), printed);
        assert_eq!(RoleName::delegated(name).unwrap().to_string(), printed);
    }
}
