//! Errors about metadata. Each error names the role and the check that failed, in the terms of the TUF specification.

use alloc::string::{String, ToString as _};
use core::fmt;

use chrono::{DateTime, Utc};

use crate::escapes::string_length;
use crate::text::Printable;
use crate::{KeyId, Limit, RoleName, Threshold, Version, format_time};

/// The reason why the metadata of a role is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {kind}", Quoted(role.as_str()))]
pub struct Error {
    /// The role whose file is refused.
    pub role: RoleName,
    /// The check that failed.
    pub kind: ErrorKind,
}

/// The reason why a metadata file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A required file does not exist.
    #[error("the file is missing")]
    Absent,
    /// Two signatures have the same key ID (TUF specification 4.2.1).
    #[error("key ID {} has more than one signature", Quoted(.0.as_str()))]
    DuplicateSignature(KeyId),
    /// The metadata has expired. Either an attacker withholds newer metadata (a freeze attack), or the repository is no
    /// longer maintained (TUF specification 5.3.10, 5.4.4, 5.5.6, 5.6.5).
    #[error("expired at {}; your clock says {}", format_time(expires), format_time(start_time))]
    Expired {
        /// The expiry time of the metadata.
        expires: DateTime<Utc>,
        /// The time at which the update started.
        start_time: DateTime<Utc>,
    },
    /// A hash of the file differs from the hash that trusted metadata lists.
    #[error("{algorithm} is {found}, expected {expected}")]
    HashMismatch {
        /// The name of the algorithm.
        algorithm: &'static str,
        /// The listed hash, in hexadecimal.
        expected: String,
        /// The hash of the received file, in hexadecimal.
        found: String,
    },
    /// The length of the file differs from the length that trusted metadata lists.
    #[error("has {found} bytes, expected {expected}")]
    LengthMismatch {
        /// The listed length, in bytes.
        expected: u64,
        /// The length of the received file, in bytes.
        found: u64,
    },
    /// The metadata exceeds one of the [`Limits`](crate::Limits).
    #[error("exceeds the limit `{limit}` of {value}")]
    LimitReached {
        /// The exceeded limit, which is a field of [`Limits`](crate::Limits).
        limit: Limit,
        /// The value of the limit.
        value: u64,
    },
    /// The listed length of the file exceeds one of the [`Limits`](crate::Limits), so the file was not requested.
    #[error("the listed length of {listed} bytes exceeds the limit `{limit}` of {value}")]
    ListedTooLong {
        /// The length that trusted metadata lists, in bytes.
        listed: u64,
        /// The exceeded limit, which is a field of [`Limits`](crate::Limits).
        limit: Limit,
        /// The value of the limit.
        value: u64,
    },
    /// The file lists a version of another role, but a higher version of that role is already trusted (TUF
    /// specification 5.4.3.2, 5.5.5).
    #[error("rollback: lists version {found} of {}, but version {trusted} is already trusted", Quoted(listed.as_str()))]
    ListedRollback {
        /// The listed role.
        listed: RoleName,
        /// The version that is already trusted.
        trusted: Version,
        /// The lower version that the file lists.
        found: Version,
    },
    /// The bytes are not valid metadata.
    #[error("malformed: {}expected {expected}{}", Before(at), Instead(found.as_deref()))]
    Malformed {
        /// The location of the malformed value in the file.
        at: Location,
        /// A description of the expected value, such as `an object`.
        expected: &'static str,
        /// The value that was found, if it is known: either a description such as `an array`, or at most 100 characters
        /// of the file in backquotes.
        found: Option<String>,
    },
    /// No hash of a supported algorithm is listed, so the file cannot be verified.
    #[error("no supported hash is listed for {}", Quoted(.0))]
    NoSupportedHash(String),
    /// The delegator does not delegate to the role.
    #[error("not delegated by {}", Quoted(.0.as_str()))]
    NotDelegated(RoleName),
    /// The snapshot does not list the role (TUF specification 5.5, 5.6).
    #[error("not listed in the snapshot")]
    NotListed,
    /// The snapshot no longer lists a role that an earlier snapshot listed (TUF specification 5.5.5).
    #[error("rollback: no longer lists {}", Quoted(listed.as_str()))]
    Removed {
        /// The role that is no longer listed.
        listed: RoleName,
    },
    /// The version of the file is lower than the version that is already trusted (TUF specification 5.3.5, 5.4.3.1).
    #[error("rollback: version {found}, but version {trusted} is already trusted")]
    Rollback {
        /// The version that is already trusted.
        trusted: Version,
        /// The lower version that was received.
        found: Version,
    },
    /// A stored file and the record of trusted versions ([`Floors`](crate::Floors)) are both damaged, so the client
    /// could not detect a rollback.
    #[error("the stored copy and the record of trusted versions are both damaged")]
    StateLost,
    /// Another process changed a stored file while it was in use. The new content is not trusted.
    #[error("the stored copy was changed while it was in use")]
    StoredFileChanged,
    /// Fewer keys have signed than the threshold requires.
    #[error("signed by {valid} of the {threshold} keys required")]
    ThresholdNotMet {
        /// The number of distinct authorised keys with a valid signature.
        valid: u32,
        /// The number of required keys.
        threshold: Threshold,
    },
    /// A key is listed under an ID other than its hash (TUF specification 4.3), and
    /// [`Limits::strict_key_ids`](crate::Limits::strict_key_ids) is on.
    #[error("key ID {} is not the hash of its key, expected {expected}", Quoted(found.as_str()))]
    WrongKeyId {
        /// The ID that the key has according to the specification.
        expected: KeyId,
        /// The ID under which the key is listed.
        found: KeyId,
    },
    /// The metadata was written for another major version of the specification (TUF specification 4.3).
    #[error("specification version `{}` is not supported", Quoted(.0))]
    UnsupportedSpecVersion(String),
    /// The member `_type` does not name the expected kind of role (TUF specification 4.2.1).
    #[error("type is `{}`, expected `{expected}`", Quoted(found))]
    WrongType {
        /// The expected type.
        expected: &'static str,
        /// The type of the file.
        found: String,
    },
    /// The version differs from the version that trusted metadata requires (TUF specification 5.3.5, 5.5.4, 5.6.4).
    #[error("version is {found}, expected {expected}")]
    WrongVersion {
        /// The required version.
        expected: Version,
        /// The version of the file.
        found: Version,
    },
}

impl ErrorKind {
    pub(crate) fn of(self, role: &RoleName) -> Error {
        Error { role: role.clone(), kind: self }
    }

    /// Returns the error for a malformed value, without its location. [`ErrorKind::within`] adds the location.
    #[cold]
    pub(crate) fn expected(expected: &'static str) -> Self {
        Self::Malformed { at: Location::Document, expected, found: None }
    }

    #[cold]
    pub(crate) fn missing(member: &str) -> Self {
        Self::expected("a value").but_found("nothing").within(member)
    }

    pub(crate) fn at(self, at: Location) -> Self {
        match self {
            Self::Malformed { expected, found, .. } => Self::Malformed { at, expected, found },
            other => other,
        }
    }

    pub(crate) fn but_found(self, description: impl Into<String>) -> Self {
        match self {
            Self::Malformed { at, expected, .. } => Self::Malformed { at, expected, found: Some(description.into()) },
            other => other,
        }
    }

    pub(crate) fn but_found_text(self, text: &str) -> Self {
        self.but_found(alloc::format!("`{}`", Beginning(text)))
    }

    /// Adds a description of the value with which `rest` begins. `rest` need not be canonical.
    pub(crate) fn but_found_next(self, rest: &str) -> Self {
        // Examine only the part of the text that the error will quote.
        let end = rest.char_indices().nth(QUOTED + 1).map_or(rest.len(), |(at, _)| at);
        let head = rest.get(..end).unwrap_or_default();
        match head.bytes().next() {
            None => self.but_found("the end of the text"),
            Some(b'{') => self.but_found("an object"),
            Some(b'[') => self.but_found("an array"),
            Some(b'"') => {
                let length = head.get(1..).map_or(0, |text| string_length(text.as_bytes()));
                self.but_found_text(head.get(..length + 2).unwrap_or(head))
            }
            Some(_) => {
                let is_end = |c: char| c.is_ascii_whitespace() || matches!(c, ',' | ':' | ']' | '}');
                let length = head.find(is_end).unwrap_or(head.len()).max(1);
                self.but_found_text(head.get(..length).unwrap_or(head))
            }
        }
    }

    /// Prepends a member name to the location of a malformed value.
    pub(crate) fn within(self, member: &str) -> Self {
        match self {
            Self::Malformed { at, expected, found } => Self::Malformed { at: at.within(member), expected, found },
            other => other,
        }
    }
}

/// A location in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// The document as a whole.
    Document,
    /// The location of a value, given by the names of the members that lead to it, such as
    /// `signed.roles.root.threshold`. Array elements do not appear in the location, because they have no names. Long
    /// names are cut after 100 characters.
    Member(String),
    /// A position in the file, for text that is not valid JSON or cannot be converted to canonical JSON. Lines and
    /// columns are counted from 1.
    Text {
        /// The line.
        line: usize,
        /// The column, in bytes.
        column: usize,
    },
}

impl Location {
    pub(crate) fn of_offset(text: &[u8], offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Self::Text { line, column: before.len() - line_start + 1 }
    }

    fn within(self, member: &str) -> Self {
        match self {
            Self::Document => Self::Member(Beginning(member).to_string()),
            Self::Member(path) => Self::Member(alloc::format!("{}.{path}", Beginning(member))),
            text @ Self::Text { .. } => text,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document => f.write_str("the document"),
            Self::Member(path) => Printable(path).fmt(f),
            Self::Text { line, column } => write!(f, "line {line} column {column}"),
        }
    }
}

/// Displays a location at the beginning of a message. Displays nothing for [`Location::Document`].
struct Before<'l>(&'l Location);

impl fmt::Display for Before<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Location::Document => Ok(()),
            location => write!(f, "{location}: "),
        }
    }
}

/// Displays the found value at the end of a message, if it is known.
struct Instead<'f>(Option<&'f str>);

impl fmt::Display for Instead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |found| write!(f, ", found {}", Printable(found)))
    }
}

/// The maximum number of characters that an error quotes from a file.
pub(crate) const QUOTED: usize = 100;

/// Displays the first [`QUOTED`] characters of a string, followed by `…` if the string is longer.
struct Beginning<'t>(&'t str);

impl fmt::Display for Beginning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(QUOTED) {
            None => f.write_str(self.0),
            Some((end, _)) => write!(f, "{}…", self.0.get(..end).unwrap_or_default()),
        }
    }
}

/// Like [`Beginning`], but escapes unprintable characters.
struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(QUOTED) {
            None => Printable(self.0).fmt(f),
            Some((end, _)) => write!(f, "{}…", Printable(self.0.get(..end).unwrap_or_default())),
        }
    }
}

/// Returns at most the first `QUOTED + 1` characters of a string. The additional character tells [`Quoted`] that the text
/// was cut.
pub(crate) fn quote(text: &str) -> String {
    text.chars().take(QUOTED + 1).collect()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_malformed_value_is_located_by_its_members() {
        let within = |kind: ErrorKind| kind.within("inner").within("outer");
        let at = Location::Member("outer.inner".to_string());
        let expected = ErrorKind::Malformed { at, expected: "an object", found: None };
        assert_eq!(within(ErrorKind::expected("an object")), expected);
        assert_eq!(expected.to_string(), "malformed: outer.inner: expected an object");
        let missing = ErrorKind::missing("outer");
        assert_eq!(missing.to_string(), "malformed: outer: expected a value, found nothing");
        assert_eq!(within(ErrorKind::Absent), ErrorKind::Absent);
    }

    #[test]
    fn an_error_keeps_the_first_100_characters_of_a_file() {
        let long = "é".repeat(1_000_000);
        let kept = "é".repeat(100) + "…";
        let kind = ErrorKind::expected("an object").but_found_text(&long).within(&long).within(&long);
        let at = Location::Member(alloc::format!("{kept}.{kept}"));
        let found = Some(alloc::format!("`{kept}`"));
        assert_eq!(kind, ErrorKind::Malformed { at, expected: "an object", found });
        let exact = "é".repeat(100);
        let kind = ErrorKind::expected("an object").but_found_text(&exact);
        let found = Some(alloc::format!("`{exact}`"));
        assert_eq!(kind, ErrorKind::Malformed { at: Location::Document, expected: "an object", found });
    }

    #[test]
    fn a_quotation_shows_that_it_was_cut() {
        for (length, expected) in [(100, "é".repeat(100)), (101, "é".repeat(100) + "…"), (999, "é".repeat(100) + "…")]
        {
            let kind = ErrorKind::UnsupportedSpecVersion(quote(&"é".repeat(length)));
            assert!(kind.to_string().contains(&expected), "{kind}");
            assert_eq!(kind.to_string().contains('…'), length > 100, "{kind}");
        }
    }

    #[test]
    fn an_error_describes_the_beginning_of_the_found_value() {
        let long = alloc::format!("\"{}\"", "x".repeat(200));
        let kept = alloc::format!("`\"{}…`", "x".repeat(99));
        for (rest, expected) in [
            ("", "the end of the text"),
            ("{\"a\":1}", "an object"),
            ("[1]", "an array"),
            ("\"a\\\"b\":1", "`\"a\\\"b\"`"),
            ("\"\",1", "`\"\"`"),
            ("\"open", "`\"open`"),
            ("-17,", "`-17`"),
            ("null}", "`null`"),
            ("nul", "`nul`"),
            ("<a b>", "`<a`"),
            (":1", "`:`"),
            (&long, &kept),
        ] {
            let found = Some(expected.to_string());
            let kind = ErrorKind::Malformed { at: Location::Document, expected: "a value", found };
            assert_eq!(ErrorKind::expected("a value").but_found_next(rest), kind, "{rest}");
        }
    }

    #[test]
    fn a_position_has_a_line_and_a_column() {
        for (offset, line, column) in [(0, 1, 1), (1, 1, 2), (2, 2, 1), (3, 3, 1), (4, 3, 2), (9, 3, 2)] {
            assert_eq!(Location::of_offset(b"a\n\nb", offset), Location::Text { line, column }, "{offset}");
        }
    }

    #[test]
    fn quoted_text_cannot_control_the_terminal() {
        let text = "a\u{1b}[31m\u{202e}é".to_string();
        for kind in [
            ErrorKind::expected("an object").within(&text),
            ErrorKind::expected("an object").but_found_text(&text),
            ErrorKind::UnsupportedSpecVersion(text.clone()),
            ErrorKind::WrongType { expected: "root", found: text },
        ] {
            let printed = kind.to_string();
            assert!(printed.contains("a\\u{1b}[31m\\u{202e}é"), "{printed:?}");
        }
    }
}
