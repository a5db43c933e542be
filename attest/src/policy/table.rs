//! Reads the members of an object in a policy. Errors name the invalid member, such as `signer.release.subject`.

use lastmile_metadata::PathPattern;

use super::{Name, Pattern, PolicyError};
use crate::json::{Object, Value};

const MAX_ELEMENTS: usize = 64;

/// The maximum length of a string, in bytes.
const MAX_LENGTH: usize = 4096;

/// An object in a policy, and its path in the policy, such as `signer.release`, for error messages.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    object: &'a Object,
    place: &'a str,
}

impl<'a> Table<'a> {
    pub(super) fn of(value: &'a Value, place: &'a str) -> Result<Self, PolicyError> {
        let object = value.as_object().ok_or_else(|| PolicyError(format!("{place} is not an object")))?;
        Ok(Self { object, place })
    }

    pub(super) fn unknown(&self, known: &[&str]) -> Vec<&'a str> {
        self.object.members().map(|(name, _)| name).filter(|name| !known.contains(name)).collect()
    }

    pub(super) fn error(&self, name: &str, problem: &str) -> PolicyError {
        PolicyError(format!("{}.{name} {problem}", self.place))
    }

    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name)
    }

    pub(super) fn required(&self, name: &str) -> Result<&'a Value, PolicyError> {
        self.value(name).ok_or_else(|| self.error(name, "is missing"))
    }

    pub(super) fn string(&self, name: &str) -> Result<Option<&'a str>, PolicyError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.error(name, "is not a string"))?;
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(self.error(name, "must have 1 to 4096 bytes"));
        }
        Ok(Some(text))
    }

    pub(super) fn required_string(&self, name: &str) -> Result<&'a str, PolicyError> {
        self.string(name)?.ok_or_else(|| self.error(name, "is missing"))
    }

    /// Reads the member `name`, an integer from 1 to `most`. Returns `None` if there is no such member.
    pub(super) fn integer(&self, name: &str, most: u32) -> Result<Option<u32>, PolicyError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let integer = match value {
            Value::Integer(integer) => u32::try_from(*integer).ok().filter(|integer| (1..=most).contains(integer)),
            _ => None,
        };
        integer.map(Some).ok_or_else(|| self.error(name, &format!("is not an integer from 1 to {most}")))
    }

    /// Reads the member `name`, a list of 1 to 64 different strings. Returns `None` if there is no such member.
    pub(super) fn strings(&self, name: &str) -> Result<Option<Vec<&'a str>>, PolicyError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let elements = value.as_array().ok_or_else(|| self.error(name, "is not a list"))?;
        if elements.is_empty() || elements.len() > MAX_ELEMENTS {
            return Err(self.error(name, "must have 1 to 64 elements"));
        }
        let mut strings = Vec::new();
        for element in elements {
            let text = element.as_str().ok_or_else(|| self.error(name, "contains an element that is not a string"))?;
            if text.is_empty() || text.len() > MAX_LENGTH {
                return Err(self.error(name, "contains an empty element or an element longer than 4096 bytes"));
            }
            if strings.contains(&text) {
                return Err(self.error(name, &format!("contains {text:?} twice")));
            }
            strings.push(text);
        }
        Ok(Some(strings))
    }

    /// Reads the member `name`, a list of patterns. Returns an empty list if there is no such member.
    pub(super) fn patterns(&self, name: &str) -> Result<Vec<Pattern>, PolicyError> {
        let texts = self.strings(name)?.unwrap_or_default();
        let pattern = |text| {
            Pattern::new(text)
                .ok_or_else(|| self.error(name, &format!("contains the pattern {text:?} with two stars in a row")))
        };
        texts.into_iter().map(pattern).collect()
    }

    pub(super) fn required_patterns(&self, name: &str) -> Result<Vec<Pattern>, PolicyError> {
        self.required(name)?;
        self.patterns(name)
    }

    /// Reads the member `name`, a list of path patterns. Returns an empty list if there is no such member.
    pub(super) fn paths(&self, name: &str) -> Result<Vec<PathPattern>, PolicyError> {
        let texts = self.strings(name)?.unwrap_or_default();
        // Refuse `**`: whoever writes it probably expects it to match slashes, but it would match the same paths as
        // `*`.
        if let Some(text) = texts.iter().find(|text| text.contains("**")) {
            return Err(self
                .error(name, &format!("contains {text:?}, but `**` is not supported, and `*` never matches a slash")));
        }
        Ok(texts.into_iter().map(PathPattern::new).collect())
    }

    pub(super) fn name(&self, name: &str) -> Result<Name, PolicyError> {
        let text = self.required_string(name)?;
        Name::new(text).ok_or_else(|| self.error(name, &format!("is {text:?}, which is not a valid name")))
    }

    /// Reads the member `name`, an object whose members are lists of patterns. Returns the name of each of these
    /// members with its patterns.
    pub(super) fn patterns_by_name(&self, name: &str) -> Result<Vec<(String, Vec<Pattern>)>, PolicyError> {
        let Some(value) = self.value(name) else { return Ok(Vec::new()) };
        let place = format!("{}.{name}", self.place);
        let table = Table::of(value, &place)?;
        let names = table.object.members().map(|(name, _)| name);
        names.map(|name| Ok((name.to_owned(), table.required_patterns(name)?))).collect()
    }
}
