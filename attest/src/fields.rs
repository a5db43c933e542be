//! Reads JSON objects, refuses unknown members, and decodes binary data.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::json::{Object, Value};

/// The reason why a document does not have the expected format. The message describes the problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormatError(String);

impl FormatError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// An object that has only known members.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    object: &'a Object,
    place: &'a str,
}

impl<'a> Fields<'a> {
    /// Reads an object. Returns an error if the object has a member that is not in `known`. `place` is the name of the
    /// object in error messages.
    pub(crate) fn read(value: &'a Value, place: &'a str, known: &[&str]) -> Result<Self, FormatError> {
        let object = value.as_object().ok_or_else(|| FormatError(format!("`{place}` is not an object")))?;
        if let Some((name, _)) = object.members().find(|(name, _)| !known.contains(name)) {
            return Err(FormatError(format!("`{place}` has the unknown member {name:?}")));
        }
        Ok(Self { object, place })
    }

    pub(crate) fn optional(self, name: &str) -> Option<&'a Value> {
        self.object.get(name)
    }

    pub(crate) fn required(self, name: &str) -> Result<&'a Value, FormatError> {
        self.optional(name).ok_or_else(|| FormatError(format!("`{}` has no `{name}`", self.place)))
    }

    pub(crate) fn string(self, name: &str) -> Result<&'a str, FormatError> {
        self.required(name)?.as_str().ok_or_else(|| self.error(name, "is not a string"))
    }

    /// Reads an array with at most `limit` elements. An absent array is empty.
    pub(crate) fn array(self, name: &str, limit: usize) -> Result<&'a [Value], FormatError> {
        let Some(value) = self.optional(name) else { return Ok(&[]) };
        let elements = value.as_array().ok_or_else(|| self.error(name, "is not an array"))?;
        if elements.len() > limit {
            return Err(self.error(name, &format!("has {} elements, expected at most {limit}", elements.len())));
        }
        Ok(elements)
    }

    /// Reads bytes in standard base64 with padding.
    pub(crate) fn base64(self, name: &str, limit: usize) -> Result<Vec<u8>, FormatError> {
        let text = self.string(name)?;
        let bytes = STANDARD.decode(text).map_err(|error| self.error(name, &format!("is not base64: {error}")))?;
        self.check_length(name, bytes, limit)
    }

    /// Reads bytes in base64 with padding, in the standard or the URL-safe alphabet.
    pub(crate) fn base64_of_any_alphabet(self, name: &str, limit: usize) -> Result<Vec<u8>, FormatError> {
        let text = self.string(name)?;
        let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
        let bytes = decoded.map_err(|error| self.error(name, &format!("is not base64: {error}")))?;
        self.check_length(name, bytes, limit)
    }

    /// Reads an integer from 0 to 2^63 - 1. The JSON mapping of Protocol Buffers represents 64-bit integers as strings,
    /// and omits 0.
    pub(crate) fn integer(self, name: &str) -> Result<u64, FormatError> {
        let Some(value) = self.optional(name) else { return Ok(0) };
        let digits = value.as_str().unwrap_or_default();
        let is_canonical = digits == "0" || !digits.starts_with('0');
        let is_decimal = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse::<i64>().ok().filter(|_| is_canonical && is_decimal);
        let error = || self.error(name, &format!("is {value}, expected a string with an integer from 0 to 2^63 - 1"));
        number.and_then(|number| u64::try_from(number).ok()).ok_or_else(error)
    }

    pub(crate) fn error(self, name: &str, text: &str) -> FormatError {
        FormatError(format!("`{}.{name}` {text}", self.place))
    }

    fn check_length(self, name: &str, bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, FormatError> {
        if bytes.is_empty() {
            return Err(self.error(name, "is empty"));
        }
        if bytes.len() > limit {
            return Err(self.error(name, &format!("has {} bytes, expected at most {limit}", bytes.len())));
        }
        Ok(bytes)
    }
}
