//! Reads canonical JSON (spec 4.1) value by value, without a tree: what is read is what was signed.
//!
//! The text was made by `canonical`, so it is well formed: what is judged here is whether a value is of the kind that
//! is expected.

use alloc::borrow::Cow;
use alloc::string::String;

use crate::ErrorKind;

/// Reads canonical text value by value, without a tree.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Starts in the middle, where a value is known to stand.
    pub(crate) fn starting_at(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    /// Where the next value or member begins, in bytes.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The canonical text from `start` to where the reader is.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// The reader, from a member's name to its value.
    pub(crate) fn past_colon(mut self) -> Self {
        self.at += 1;
        self
    }

    /// Reads an object; `member` must read or skip each value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&str, &mut Self) -> Result<(), ErrorKind>,
    ) -> Result<(), ErrorKind> {
        self.members(|_, name, value| member(&name, value).map_err(|error| error.within(&name)))
    }

    /// As [`Reader::object`], with where each member starts and without naming the member in errors.
    pub(crate) fn members(
        &mut self,
        mut member: impl FnMut(usize, Cow<'a, str>, &mut Self) -> Result<(), ErrorKind>,
    ) -> Result<(), ErrorKind> {
        self.open(b'{', "an object")?;
        while !self.closes(b'}') {
            let start = self.at;
            let name = self.string()?;
            self.at += 1;
            member(start, name, self)?;
        }
        Ok(())
    }

    /// Reads an array; `element` must read or skip each value.
    pub(crate) fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), ErrorKind>,
    ) -> Result<(), ErrorKind> {
        self.open(b'[', "an array")?;
        while !self.closes(b']') {
            element(self)?;
        }
        Ok(())
    }

    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, ErrorKind> {
        self.open(b'"', "a string")?;
        let rest = self.rest();
        let length = string_length(rest.as_bytes());
        self.at += length + 1;
        Ok(unescape(rest.get(..length).unwrap_or_default()))
    }

    /// An integer from 0 to 2⁶⁴−1.
    pub(crate) fn unsigned(&mut self) -> Result<u64, ErrorKind> {
        self.skip().parse().map_err(|_| ErrorKind::expected("an integer that is not negative"))
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, ErrorKind> {
        match self.skip() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(ErrorKind::expected("true or false")),
        }
    }

    /// Passes over the next value and gives its canonical text.
    pub(crate) fn skip(&mut self) -> &'a str {
        let rest = self.rest();
        let length = value_length(rest.as_bytes());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn open(&mut self, bracket: u8, what: &str) -> Result<(), ErrorKind> {
        if self.text.as_bytes().get(self.at) != Some(&bracket) {
            return Err(ErrorKind::expected(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Passes over a comma, or over the closing bracket.
    fn closes(&mut self, bracket: u8) -> bool {
        let next = self.text.as_bytes().get(self.at).copied();
        if next == Some(b',') || next == Some(bracket) {
            self.at += 1;
        }
        next.is_none() || next == Some(bracket)
    }
}

/// Length of the value that canonical text begins with, in bytes.
fn value_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut open = 0_u32;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at += string_length(bytes.get(at + 1..).unwrap_or_default()) + 1,
            b'{' | b'[' => open += 1,
            b'}' | b']' if open == 0 => return at,
            b'}' | b']' => open -= 1,
            b',' if open == 0 => return at,
            _ => {}
        }
        at += 1;
        if open == 0 && matches!(byte, b'"' | b'}' | b']') {
            return at;
        }
    }
    at
}

/// Bytes up to the closing quote.
pub(crate) fn string_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(next) = memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += next;
        if bytes.get(at) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
    bytes.len()
}

pub(crate) fn has_escapes(text: &str) -> bool {
    memchr::memchr(b'\\', text.as_bytes()).is_some()
}

pub(crate) fn unescape(escaped: &str) -> Cow<'_, str> {
    if !has_escapes(escaped) {
        return Cow::Borrowed(escaped);
    }
    let mut text = String::with_capacity(escaped.len());
    let mut characters = escaped.chars();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::canonicalize;

    #[test]
    fn the_reader_walks_and_skips() {
        let text = canonicalize(br#"{"a":[1,[2,"]"],{}],"b":{"c":"x\\\"y"},"d":false,"e":"z"}"#).unwrap();
        let mut seen = String::new();
        let mut reader = Reader::new(&text);
        reader
            .object(|name, value| {
                match name {
                    "a" => value.array(|element| {
                        seen.push_str(element.skip());
                        seen.push(';');
                        Ok(())
                    })?,
                    "b" => value.object(|_, value| {
                        seen.push_str(&value.string()?);
                        Ok(())
                    })?,
                    "d" => assert!(!value.boolean()?),
                    _ => assert_eq!(value.skip(), "\"z\""),
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, "1;[2,\"]\"];{};x\\\"y");
    }
}
