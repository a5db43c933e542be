//! What is wrong with a line of a list of targets.

use lastmile_metadata::{Algorithm, ErrorKind};

use super::change::EditError;

/// What is wrong with a line of a list of targets. It displays as a phrase that follows the number of the line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// The line is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// The line has 4 GiB or more, or more than 2³² − 1 lines are before it.
    #[error("has too high a number or too many bytes")]
    TooLong,
    /// The line has none of the two forms.
    #[error("is neither a JSON object nor `SHA256  LENGTH  PATH`")]
    Form,
    /// The JSON object does not have the members of an entry. The text is that of the JSON parser.
    #[error("is not a valid entry: {0}")]
    Json(String),
    /// The JSON object has a member twice, or no canonical form.
    #[error("is not a valid entry: {0}")]
    Entry(ErrorKind),
    /// The custom data has no canonical form.
    #[error("has a `custom` that cannot be signed: {0}")]
    Custom(ErrorKind),
    /// There is a hash and a length only.
    #[error("has no path")]
    NoPath,
    /// The length is not a number of bytes.
    #[error("has the length `{0}`, which is not a number of bytes")]
    Length(String),
    /// The entry has no hash.
    #[error("lists no hash")]
    NoHash,
    /// No algorithm has this name.
    #[error("uses the unknown hash algorithm `{0}`")]
    UnknownHash(String),
    /// A digest has another form than its algorithm needs.
    #[error("has a {} that is not {} hexadecimal digits", .0.name(), 2 * .0.length())]
    Digest(Algorithm),
    /// The path cannot be that of a target.
    #[error("is refused: {0}")]
    Path(Box<EditError>),
}
