//! Verdicts in the specification's terms: which role, and what is wrong with it.

use alloc::string::String;
use core::fmt;

use chrono::{DateTime, Utc};

use crate::name::Printable;
use crate::time::format_time;
use crate::{KeyId, Limit, RoleName, Threshold, Version};

/// A verdict against one role's metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {kind}", Quoted(role.as_str()))]
pub struct Error {
    /// The role whose file was judged.
    pub role: RoleName,
    /// What is wrong with it.
    pub kind: ErrorKind,
}

/// What is wrong with a file, in the specification's terms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file is needed and is not there.
    #[error("the file is not there")]
    Absent,
    /// The same key id signs twice (4.2.1).
    #[error("key id {} occurs more than once among the signatures", Quoted(.0.as_str()))]
    DuplicateSignature(KeyId),
    /// The metadata has expired: a freeze attack, or a repository that is not maintained (5.3.10, 5.4.4, 5.5.6, 5.6.5).
    #[error("expired at {}; your clock says {}", format_time(expires), format_time(start_time))]
    Expired {
        /// When it expired.
        expires: DateTime<Utc>,
        /// The time at which the update started.
        start_time: DateTime<Utc>,
    },
    /// A hash differs from the one that trusted metadata lists.
    #[error("{algorithm} is {found}, listed is {expected}")]
    HashMismatch {
        /// Name of the algorithm.
        algorithm: &'static str,
        /// What trusted metadata lists, in hexadecimal.
        expected: String,
        /// What was received, in hexadecimal.
        found: String,
    },
    /// The length differs from the one that trusted metadata lists.
    #[error("has {found} bytes, listed are {expected}")]
    LengthMismatch {
        /// What trusted metadata lists, in bytes.
        expected: u64,
        /// What was received, in bytes.
        found: u64,
    },
    /// A limit of ours was reached.
    #[error("more than the limit `{limit}` of {value} allows")]
    LimitReached {
        /// The limit: a field of [`Limits`](crate::Limits).
        limit: Limit,
        /// Its value.
        value: u64,
    },
    /// The file is listed with more bytes than a limit of ours allows; nothing of it was asked for.
    #[error("listed with {listed} bytes, more than the limit `{limit}` of {value} allows")]
    ListedTooLong {
        /// The length that trusted metadata lists, in bytes.
        listed: u64,
        /// The limit: a field of [`Limits`](crate::Limits).
        limit: Limit,
        /// Its value.
        value: u64,
    },
    /// A version that this file lists for another role went down (5.4.3.2, 5.5.5).
    #[error("rollback: lists version {found} of {}, but version {trusted} is already trusted", Quoted(listed.as_str()))]
    ListedRollback {
        /// The role that is listed.
        listed: RoleName,
        /// The version already trusted.
        trusted: Version,
        /// The lower version that is now listed.
        found: Version,
    },
    /// The bytes are not the metadata they should be: where, and what was expected.
    #[error("malformed: {}", Printable(.0.trim_start_matches([':', ' '])))]
    Malformed(String),
    /// No supported hash algorithm is listed, so that nothing can be verified.
    #[error("no supported hash is listed for {}", Quoted(.0))]
    NoSupportedHash(String),
    /// The role is not in the delegator's delegations.
    #[error("not delegated by {}", Quoted(.0.as_str()))]
    NotDelegated(RoleName),
    /// The snapshot does not list this role (5.5, 5.6).
    #[error("not listed in the snapshot")]
    NotListed,
    /// A role that was listed is no longer (5.5.5).
    #[error("rollback: no longer lists {}", Quoted(listed.as_str()))]
    Removed {
        /// The role that has gone.
        listed: RoleName,
    },
    /// The version is lower than the trusted one (5.3.5, 5.4.3.1).
    #[error("rollback: version {found}, but version {trusted} is already trusted")]
    Rollback {
        /// The version already trusted.
        trusted: Version,
        /// The lower version that was received.
        found: Version,
    },
    /// What was kept from earlier updates is damaged beyond use, so that a rollback could not be noticed.
    #[error("the stored copy and the record of trusted versions are both damaged")]
    StateLost,
    /// A stored file was changed by somebody else while it was in use. What it said before was verified; nothing that it
    /// says now is believed.
    #[error("the stored copy was changed while it was in use")]
    StoredFileChanged,
    /// Fewer keys than required have signed.
    #[error("signed by {valid} of the {threshold} keys required")]
    ThresholdNotMet {
        /// Distinct authorised keys with a valid signature.
        valid: u32,
        /// How many are required.
        threshold: Threshold,
    },
    /// A key does not stand under its own id, and strictness about that was asked for (4.3).
    #[error("the key {expected} stands under the id {}", Quoted(found.as_str()))]
    WrongKeyId {
        /// The id that the specification gives to the key.
        expected: KeyId,
        /// The id it stands under.
        found: KeyId,
    },
    /// Another major version of the specification (4.3).
    #[error("specification version `{}` is not supported", Quoted(.0))]
    UnsupportedSpecVersion(String),
    /// The member `_type` names another kind of role (4.2.1).
    #[error("type is `{}`, expected `{expected}`", Quoted(found))]
    WrongType {
        /// The type it should have.
        expected: &'static str,
        /// The type it has.
        found: String,
    },
    /// The version is not the one that trusted metadata asks for (5.3.5, 5.5.4, 5.6.4).
    #[error("version is {found}, expected {expected}")]
    WrongVersion {
        /// The version it should have.
        expected: Version,
        /// The version it has.
        found: Version,
    },
}

impl ErrorKind {
    /// The verdict about `role`.
    pub(crate) fn of(self, role: &RoleName) -> Error {
        Error { role: role.clone(), kind: self }
    }

    /// Malformed at the value that is being read; [`ErrorKind::within`] adds where that is.
    pub(crate) fn expected(what: impl fmt::Display) -> Self {
        Self::malformed(format_args!("expected {what}"))
    }

    /// The same, for another reason.
    pub(crate) fn malformed(reason: impl fmt::Display) -> Self {
        Self::Malformed(cut(format_args!(": {reason}")))
    }

    /// Adds the name of the member in which a malformed value stands.
    pub(crate) fn within(self, member: &str) -> Self {
        match self {
            Self::Malformed(at) if at.starts_with(':') => Self::Malformed(cut(format_args!("{}{at}", Quoted(member)))),
            Self::Malformed(at) => Self::Malformed(cut(format_args!("{}.{at}", Quoted(member)))),
            other => other,
        }
    }
}

/// Most characters that an error quotes of a file.
const QUOTED: usize = 100;
/// Most bytes of the text of an error.
const LONGEST: usize = 1000;

/// The beginning of what a file says: it may be long, and nothing in it may control a terminal.
struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(QUOTED) {
            None => Printable(self.0).fmt(f),
            Some((end, _)) => write!(f, "{}…", Printable(self.0.get(..end).unwrap_or_default())),
        }
    }
}

/// The beginning of what a file says, to be kept.
pub(crate) fn quote(text: &str) -> String {
    text.chars().take(QUOTED + 1).collect()
}

/// The beginning of a text that is written, of which no more is ever held.
fn cut(text: fmt::Arguments<'_>) -> String {
    struct Cut(String);
    impl fmt::Write for Cut {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            let left = LONGEST.saturating_sub(self.0.len());
            let end = (0..=left.min(part.len())).rev().find(|end| part.is_char_boundary(*end)).unwrap_or_default();
            self.0.push_str(part.get(..end).unwrap_or_default());
            // What does not fit ends the writing.
            if end < part.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut out = Cut(String::new());
    if fmt::Write::write_fmt(&mut out, text).is_err() {
        out.0.push('…');
    }
    out.0
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn where_a_malformed_value_stands_is_told_member_by_member() {
        let within = |kind: ErrorKind| kind.within("inner").within("outer");
        let told = ErrorKind::Malformed("outer.inner: expected an object".to_string());
        assert_eq!(within(ErrorKind::expected("an object")), told);
        assert_eq!(within(ErrorKind::Absent), ErrorKind::Absent);
    }

    #[test]
    fn what_a_file_says_prints_without_control_of_the_terminal() {
        let text = "a\u{1b}[31m\u{202e}é".to_string();
        for kind in [
            ErrorKind::expected("an object").within(&text),
            ErrorKind::UnsupportedSpecVersion(text.clone()),
            ErrorKind::WrongType { expected: "root", found: text },
        ] {
            let printed = kind.to_string();
            assert!(printed.contains("a\\u{1b}[31m\\u{202e}é"), "{printed:?}");
        }
    }
}
