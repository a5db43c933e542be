//! Faults in a list of targets.

use lastmile_metadata::{Algorithm, ErrorKind};

use super::change::EditError;

/// A fault in a line of a list of targets. Messages begin with the line number and end with the text of this error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// The line is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// The line is longer than 16 MiB.
    #[error("is longer than 16 MiB")]
    TooLong,
    /// The line has neither of the two supported forms.
    #[error("is neither a JSON object nor `SHA256  LENGTH  PATH`")]
    Form,
    /// The JSON object does not have the members of a target entry. Contains the parser's message.
    #[error("is not a valid entry: {0}")]
    Json(String),
    /// The JSON object contains a member twice, or cannot be written as canonical JSON.
    #[error("is not a valid entry: {0}")]
    Entry(ErrorKind),
    /// The custom data cannot be written as canonical JSON.
    #[error("has a `custom` that cannot be signed: {0}")]
    Custom(ErrorKind),
    /// The line has a hash and a length, but no path.
    #[error("has no path")]
    NoPath,
    /// The length is not a number of bytes.
    #[error("has the length `{0}`, which is not a number of bytes")]
    Length(String),
    /// The entry has no hash.
    #[error("lists no hash")]
    NoHash,
    /// The entry has a hash with an unknown algorithm.
    #[error("uses the unknown hash algorithm `{0}`")]
    UnknownHash(String),
    /// A digest does not have the number of digits that its algorithm requires.
    #[error("has a {} that is not {} hexadecimal digits", .0.name(), 2 * .0.length())]
    Digest(Algorithm),
    /// The path is not allowed as a target path.
    #[error("is refused: {0}")]
    Path(Box<EditError>),
}
