//! Canonical JSON (TUF specification 4.1), which is the text that signatures cover. This module converts received text
//! to canonical JSON in one pass.
//!
//! A file that is already canonical is not converted. The module `reader` reads values only from canonical text, either
//! from the converted copy or from the received file.
//!
//! serde_json tokenizes the text. This module refuses duplicate members, numbers that are not integers, and deep
//! nesting. In canonical text, there is no whitespace, members are sorted by code point, all numbers are integers, and
//! only `"` and `\` are escaped. Canonical text may contain unescaped control characters, so it is not always valid
//! JSON.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::escapes::{has_escapes, string_length, unescape};
use crate::{ErrorKind, Location};

/// The maximum nesting depth of arrays and objects.
pub(crate) const DEPTH: u8 = 64;

// Descriptions of the expected text, for error messages.
pub(crate) const NESTING: &str = "at most 64 levels of nesting";
const MEMBERS: &str = "no duplicate members";
const INTEGERS: &str = "an integer of at most 64 bits";
const LENGTH: &str = "less than 4 GiB";
const ESCAPES: &str = "a valid escape";

/// Members that this crate does not know. They are preserved when the metadata is written, but not used.
pub type Unknown = BTreeMap<String, Json>;

/// A JSON value in canonical form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json(String);

impl Json {
    /// Parses JSON text and converts it to canonical form.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] if the text is not JSON, or if it has no canonical form, for example because it
    /// contains floats or duplicate members.
    pub fn parse(text: &str) -> Result<Self, ErrorKind> {
        canonicalize(text).map(Self)
    }

    /// Returns the value as valid JSON text, in which control characters are escaped.
    #[must_use]
    pub fn to_text(&self) -> String {
        printable(&self.0).into_owned()
    }

    /// Returns the canonical form, in which control characters are not escaped.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.0
    }

    pub(crate) fn from_canonical(text: &str) -> Self {
        Self(text.to_string())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the canonical form of a JSON document. Only whitespace may surround the document.
pub(crate) fn canonicalize(text: &str) -> Result<String, ErrorKind> {
    let mut out = String::with_capacity(text.len());
    let mut document = serde_json::Deserializer::from_str(text);
    let read = Canonical { out: &mut out, depth: DEPTH }.deserialize(&mut document).and_then(|()| document.end());
    read.map_err(|error| not_canonical(text, &error))?;
    Ok(out)
}

/// Maps the beginning of each error message of serde_json to a description of the expected text.
const MESSAGES: [(&str, &str); 16] = [
    (NESTING, NESTING),
    (MEMBERS, MEMBERS),
    (INTEGERS, INTEGERS),
    (LENGTH, LENGTH),
    ("EOF", "more text"),
    ("trailing characters", "the end of the text"),
    ("expected value", "a JSON value"),
    ("trailing comma", "another member or element after the comma"),
    ("key must be a string", "a member name in quotes"),
    ("expected `:`", "a colon"),
    ("expected `,`", "a comma or the closing bracket"),
    ("invalid number", INTEGERS),
    ("number out of range", INTEGERS),
    ("control character", "an escape instead of a control character"),
    ("lone", ESCAPES),
    ("invalid escape", ESCAPES),
];

#[cold]
fn not_canonical(text: &str, error: &serde_json::Error) -> ErrorKind {
    let line = error.line();
    // serde_json reports column 0 for empty text.
    let column = error.column().max(1);
    let message = error.to_string();
    let expected = MESSAGES.iter().find(|(begin, _)| message.starts_with(begin)).map(|(_, expected)| *expected);
    let kind = ErrorKind::expected(expected.unwrap_or("valid JSON")).at(Location::Text { line, column });
    if !message.starts_with("expected value") {
        return kind;
    }
    let line_start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    kind.but_found_next(text.get(line_start + column - 1..).unwrap_or_default())
}

/// Writes the canonical form of the next value to `out`.
struct Canonical<'o> {
    out: &'o mut String,
    depth: u8,
}

impl<'o> Canonical<'o> {
    fn deeper<E: serde::de::Error>(&mut self) -> Result<Canonical<'_>, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom(NESTING))?;
        Ok(Canonical { out: self.out, depth })
    }
}

impl<'de> DeserializeSeed<'de> for Canonical<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Canonical<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with integers only")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.out.push_str("null");
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.out.push_str(if value { "true" } else { "false" });
        Ok(())
    }

    // Spec 4.1: each integer has exactly one spelling. serde_json passes `1.0`, `1e3`, `-0` and integers of more than
    // 64 bits to `visit_f64`, which refuses them.
    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.out.push_str(&value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.out.push_str(&value.to_string());
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        // Spec 4.1: floats are refused.
        Err(E::custom(INTEGERS))
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        push_string(self.out, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        self.out.push('[');
        let start = self.out.len();
        loop {
            let before = self.out.len();
            if before > start {
                self.out.push(',');
            }
            if elements.next_element_seed(self.deeper()?)?.is_none() {
                self.out.truncate(before);
                break;
            }
        }
        self.out.push(']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        self.out.push('{');
        let open = self.out.len();
        let mut starts: Vec<u32> = Vec::new();
        let mut previous = 0..0;
        let mut sorted = true;
        loop {
            let before = self.out.len();
            if before > open {
                self.out.push(',');
            }
            let start = self.out.len();
            if members.next_key_seed(MemberName(self.out))?.is_none() {
                self.out.truncate(before);
                break;
            }
            let name = start + 1..self.out.len() - 1;
            if sorted && !starts.is_empty() {
                let names =
                    (self.out.get(previous).unwrap_or_default(), self.out.get(name.clone()).unwrap_or_default());
                match compare_names(names.0, names.1) {
                    Ordering::Less => {}
                    // Spec 4.1: a duplicate member is refused, even if its name is escaped differently.
                    Ordering::Equal => return Err(A::Error::custom(MEMBERS)),
                    Ordering::Greater => sorted = false,
                }
            }
            previous = name;
            starts.push(u32::try_from(start).map_err(|_| A::Error::custom(LENGTH))?);
            self.out.push(':');
            members.next_value_seed(self.deeper()?)?;
        }
        // Spec 4.1: the members are sorted by code point.
        if !sorted {
            let members = sort_members(self.out, &starts).map_err(A::Error::custom)?;
            self.out.truncate(open);
            self.out.push_str(&members);
        }
        self.out.push('}');
        Ok(())
    }
}

/// Writes the next member name, with its quotes.
struct MemberName<'o>(&'o mut String);

impl<'de> DeserializeSeed<'de> for MemberName<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for MemberName<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        push_string(self.0, value);
        Ok(())
    }
}

/// The position of a member in a document, and the length of its name, in bytes. The fields have the type `u32` to save
/// memory, because an object may have millions of members.
struct Member {
    start: u32,
    name: u32,
    end: u32,
}

impl Member {
    fn text<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Returns the name without quotes. Escapes in the name are not decoded.
    fn name<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.start as usize + 1..).and_then(|rest| rest.get(..self.name as usize)).unwrap_or_default()
    }
}

/// Returns the members of an object, sorted by name and joined by commas. `starts` contains the position of each member
/// in `text`.
fn sort_members(text: &str, starts: &[u32]) -> Result<String, &'static str> {
    let end = u32::try_from(text.len()).map_err(|_| LENGTH)?;
    let ends = starts.iter().skip(1).map(|start| start.saturating_sub(1)).chain([end]);
    let mut members: Vec<Member> = Vec::with_capacity(starts.len());
    for (start, end) in starts.iter().zip(ends) {
        let name = u32::try_from(name_at(text, *start as usize).len()).map_err(|_| LENGTH)?;
        members.push(Member { start: *start, name, end });
    }
    members.sort_unstable_by(|one, other| compare_names(one.name(text), other.name(text)));
    let is_twice = |pair: &[Member]| match pair {
        [one, other] => compare_names(one.name(text), other.name(text)) == Ordering::Equal,
        _ => false,
    };
    if members.windows(2).any(is_twice) {
        return Err(MEMBERS);
    }
    let mut sorted = String::with_capacity(text.len());
    for member in &members {
        if !sorted.is_empty() {
            sorted.push(',');
        }
        sorted.push_str(member.text(text));
    }
    Ok(sorted)
}

/// Returns the member name whose opening quote is at `start`, without quotes. Escapes in the name are not decoded.
fn name_at(text: &str, start: usize) -> &str {
    let rest = text.get(start + 1..).unwrap_or_default();
    rest.get(..string_length(rest.as_bytes())).unwrap_or_default()
}

/// Compares two escaped names by their unescaped code points. In UTF-8, sorting by bytes gives the same order as
/// sorting by code points.
fn compare_names(one: &str, other: &str) -> Ordering {
    if has_escapes(one) || has_escapes(other) { unescape(one).cmp(&unescape(other)) } else { one.cmp(other) }
}

/// Returns `value` as a canonical JSON string. Only `"` and `\` are escaped (TUF specification 4.1).
pub(crate) fn string(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    push_string(&mut out, value);
    out
}

pub(crate) fn push_string(out: &mut String, value: &str) {
    out.push('"');
    let mut rest = value;
    let next_special = |rest: &str| memchr::memchr2(b'"', b'\\', rest.as_bytes());
    while let Some((plain, special)) = next_special(rest).and_then(|at| rest.split_at_checked(at)) {
        out.push_str(plain);
        out.push('\\');
        let (first, after) = special.split_at_checked(1).unwrap_or((special, ""));
        out.push_str(first);
        rest = after;
    }
    out.push_str(rest);
    out.push('"');
}

/// Returns the canonical form of an array whose elements are canonical.
pub(crate) fn array(elements: impl IntoIterator<Item = String>) -> String {
    let elements: Vec<String> = elements.into_iter().collect();
    format!("[{}]", elements.join(","))
}

/// Returns the canonical form of an object whose values are canonical. If `members` and `unknown` contain the same
/// name, the value from `members` is used.
pub(crate) fn object<'m>(members: impl IntoIterator<Item = (&'m str, String)>, unknown: &'m Unknown) -> String {
    let mut sorted: BTreeMap<&str, Cow<'_, str>> =
        unknown.iter().map(|(name, value)| (name.as_str(), Cow::Borrowed(value.canonical()))).collect();
    sorted.extend(members.into_iter().map(|(name, value)| (name, Cow::Owned(value))));
    let mut out = String::with_capacity(2 + sorted.values().map(|value| value.len() + 24).sum::<usize>());
    out.push('{');
    for (at, (name, value)) in sorted.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_string(&mut out, name);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    out
}

/// Returns canonical text as valid JSON, with control characters escaped. Control characters occur only in strings.
pub(crate) fn printable(canonical: &str) -> Cow<'_, str> {
    if !canonical.bytes().any(|byte| byte < 0x20) {
        return Cow::Borrowed(canonical);
    }
    let mut text = String::with_capacity(canonical.len() + 64);
    for character in canonical.chars() {
        match character {
            '\0'..='\x1f' => text.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => text.push(character),
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
#[path = "canonical_tests.rs"]
mod tests;
