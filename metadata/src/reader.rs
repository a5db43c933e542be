//! Reads canonical text value by value (TUF specification 4.1), directly from the signed bytes and without building a
//! tree.
//!
//! The reader accepts only canonical text, which has sorted members, no whitespace, only two escapes, and integers
//! without leading zeros. Therefore, if the reader accepts a file as it was received, the file needs no canonical copy.
//! Control characters are accepted, because canonical text does not escape them. Callers must refuse unescaped control
//! characters in a received file.

use alloc::borrow::Cow;
use alloc::string::ToString as _;

use crate::canonical::{DEPTH, NESTING};
use crate::escapes::unescape;
use crate::{ErrorKind, Json, Unknown};

/// Reads canonical text value by value.
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u8,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self::starting_at(text, 0)
    }

    pub(crate) fn starting_at(text: &'a str, at: usize) -> Self {
        Self { text, at, depth: DEPTH }
    }

    /// Creates a reader for a value that is nested in `levels` other values.
    pub(crate) fn nested(text: &'a str, levels: u8) -> Self {
        Self::nested_at(text, 0, levels)
    }

    pub(crate) fn nested_at(text: &'a str, at: usize, levels: u8) -> Self {
        Self { text, at, depth: DEPTH.saturating_sub(levels) }
    }

    /// Returns the position of the next value or member, in bytes.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Checks that the text ends at the current position.
    pub(crate) fn end(&self) -> Result<(), ErrorKind> {
        if self.at == self.text.len() { Ok(()) } else { Err(self.expected("the end of the text")) }
    }

    /// Returns the error for unexpected text at the current position.
    #[cold]
    pub(crate) fn expected(&self, expected: &'static str) -> ErrorKind {
        self.expected_at(self.at, expected)
    }

    #[cold]
    pub(crate) fn expected_at(&self, start: usize, expected: &'static str) -> ErrorKind {
        ErrorKind::expected(expected).but_found_next(self.text.get(start..).unwrap_or_default())
    }

    /// Reads an object. For each member, calls the closure `member` with the name. The closure must read or skip the
    /// value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&str, &mut Self) -> Result<(), ErrorKind>,
    ) -> Result<(), ErrorKind> {
        self.members(|_, name, value| member(&name, value).map_err(|error| error.within(&name)))
    }

    /// Like [`Reader::object`], but also passes the position of each member to the closure, and does not add the name
    /// of the member to errors.
    pub(crate) fn members(
        &mut self,
        mut member: impl FnMut(usize, Cow<'a, str>, &mut Self) -> Result<(), ErrorKind>,
    ) -> Result<(), ErrorKind> {
        self.enter(b'{', "an object")?;
        let mut previous: Option<Cow<'a, str>> = None;
        while self.has_next(b'}', if previous.is_none() { Item::First } else { Item::Later })? {
            let start = self.at;
            let name = self.name()?;
            // Spec 4.1: members are sorted by code point, and none occurs twice. In UTF-8, sorting by bytes gives the
            // same order as sorting by code points.
            if previous.is_some_and(|previous| previous >= name) {
                return Err(ErrorKind::expected("members in order"));
            }
            previous = Some(name.clone());
            member(start, name, self)?;
        }
        Ok(())
    }

    /// Reads an array. Calls the closure `element` for each element. The closure must read or skip the value.
    pub(crate) fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), ErrorKind>,
    ) -> Result<(), ErrorKind> {
        self.enter(b'[', "an array")?;
        let mut item = Item::First;
        while self.has_next(b']', item)? {
            element(self)?;
            item = Item::Later;
        }
        Ok(())
    }

    /// Reads the name of a member and the colon after it.
    pub(crate) fn name(&mut self) -> Result<Cow<'a, str>, ErrorKind> {
        let name = self.string()?;
        self.read_byte(b':', "a colon")?;
        Ok(name)
    }

    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, ErrorKind> {
        self.read_byte(b'"', "a string")?;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let special =
                memchr::memchr2(b'"', b'\\', rest).ok_or_else(|| ErrorKind::expected("the end of a string"))?;
            self.at += special;
            if self.next() == Some(b'"') {
                let text = self.since(start);
                self.at += 1;
                return Ok(if has_escapes { unescape(text) } else { Cow::Borrowed(text) });
            }
            if !matches!(rest.get(special + 1), Some(b'"' | b'\\')) {
                return Err(ErrorKind::expected("no escapes except those of quotes and backslashes"));
            }
            has_escapes = true;
            self.at += 2;
        }
    }

    /// Reads an integer from 0 to 2⁶⁴−1.
    pub(crate) fn unsigned(&mut self) -> Result<u64, ErrorKind> {
        let start = self.at;
        let digits = self.integer()?;
        digits.parse().map_err(|_| self.expected_at(start, "an integer that is not negative"))
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, ErrorKind> {
        let start = self.at;
        match self.skip()? {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.expected_at(start, "true or false")),
        }
    }

    /// Skips the next value and returns its canonical text.
    pub(crate) fn skip(&mut self) -> Result<&'a str, ErrorKind> {
        let start = self.at;
        match self.next() {
            Some(b'{') => self.members(|_, _, value| value.skip().map(drop))?,
            Some(b'[') => self.array(|value| value.skip().map(drop))?,
            Some(b'"') => self.string().map(drop)?,
            Some(b'-' | b'0'..=b'9') => self.integer().map(drop)?,
            _ => self.literal()?,
        }
        Ok(self.since(start))
    }

    /// Reads the value of the unknown member `name`, and adds the member to `unknown` (row F-4-1 in
    /// `tests/spec-rows.txt`).
    pub(crate) fn keep(&mut self, name: &str, unknown: &mut Unknown) -> Result<(), ErrorKind> {
        unknown.insert(name.to_string(), Json::from_canonical(self.skip()?));
        Ok(())
    }

    /// Skips the next value if its text is `value`, which must be a complete canonical value. Returns whether the next
    /// value was skipped.
    pub(crate) fn skip_same(&mut self, value: &str) -> bool {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let after = rest.strip_prefix(value.as_bytes()).map(<[u8]>::first);
        let is_same = matches!(after, Some(Some(b',' | b'}' | b']')));
        if is_same {
            self.at += value.len();
        }
        is_same
    }

    /// Reads an integer that fits in 64 bits, and returns its text.
    fn integer(&mut self) -> Result<&'a str, ErrorKind> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let digits = rest.strip_prefix('-').unwrap_or(rest);
        let sign = rest.len() - digits.len();
        let length = sign + digits.bytes().take_while(u8::is_ascii_digit).count();
        let number = rest.get(..length).unwrap_or_default();
        let is_in_range = match length - sign {
            // All numbers with at most 18 digits are less than 10¹⁸, which is less than 2⁶³.
            1..=18 => true,
            _ if sign == 0 => number.parse::<u64>().is_ok(),
            _ => number.parse::<i64>().is_ok(),
        };
        // Spec 4.1: each integer has exactly one spelling, so leading zeros and `-0` are refused.
        let padded = digits.starts_with('0') && length > 1;
        if !is_in_range || padded {
            return Err(self.expected("an integer"));
        }
        self.at += length;
        Ok(number)
    }

    fn literal(&mut self) -> Result<(), ErrorKind> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let literal = ["true", "false", "null"].into_iter().find(|literal| rest.starts_with(literal));
        self.at += literal.ok_or_else(|| self.expected("a value"))?.len();
        Ok(())
    }

    /// Returns the next byte without consuming it.
    pub(crate) fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn read_byte(&mut self, byte: u8, what: &'static str) -> Result<(), ErrorKind> {
        if self.next() != Some(byte) {
            return Err(self.expected(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Reads the bracket that opens an array or object.
    pub(crate) fn enter(&mut self, bracket: u8, what: &'static str) -> Result<(), ErrorKind> {
        self.read_byte(bracket, what)?;
        self.depth = self.depth.checked_sub(1).ok_or_else(|| ErrorKind::expected(NESTING))?;
        Ok(())
    }

    /// Reads the comma before the next member or element, or the closing bracket. Returns `false` after the closing
    /// bracket.
    pub(crate) fn has_next(&mut self, bracket: u8, item: Item) -> Result<bool, ErrorKind> {
        match self.next() {
            Some(byte) if byte == bracket => {
                self.at += 1;
                self.depth += 1;
                Ok(false)
            }
            Some(b',') if item == Item::Later => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if item == Item::First => Ok(true),
            _ => Err(self.expected("a comma or the closing bracket")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    First,
    /// A comma precedes the member or element.
    Later,
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::canonical::canonicalize;

    #[test]
    fn the_reader_reads_and_skips_values() {
        let text = canonicalize(r#"{"a":[1,[2,"]"],{}],"b":{"c":"x\\\"y"},"d":false,"e":"z"}"#).unwrap();
        let mut seen = String::new();
        let mut reader = Reader::new(&text);
        reader
            .object(|name, value| {
                match name {
                    "a" => value.array(|element| {
                        seen.push_str(element.skip()?);
                        seen.push(';');
                        Ok(())
                    })?,
                    "b" => value.object(|_, value| {
                        seen.push_str(&value.string()?);
                        Ok(())
                    })?,
                    "d" => assert!(!value.boolean()?),
                    _ => assert_eq!(value.skip()?, "\"z\""),
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, "1;[2,\"]\"];{};x\\\"y");
    }

    #[test]
    fn misplaced_commas_and_trailing_text_are_refused() {
        let is_value = |text: &str| {
            let mut reader = Reader::new(text);
            reader.skip().is_ok() && reader.end().is_ok()
        };
        for valid in ["[]", "[1]", "[1,2]", "{}", r#"{"a":1}"#, r#"{"a":1,"b":2}"#] {
            assert!(is_value(valid), "{valid}");
        }
        for wrong in [
            "[,]",
            "[,1]",
            "[1,]",
            "[1,,2]",
            r#"[1"2"]"#,
            "[1",
            "[1]]",
            "[1] ",
            "{,}",
            r#"{,"a":1}"#,
            r#"{"a":1,}"#,
            r#"{"a":1"b":2}"#,
            r#"{"a":1}}"#,
        ] {
            assert!(!is_value(wrong), "{wrong}");
        }
    }

    #[test]
    fn integers_must_fit_64_bits_and_be_written_canonically() {
        let all = |text: &str| Reader::new(text).integer().is_ok_and(|found| found == text);
        for valid in ["0", "7", "-7", "999999999999999999", "18446744073709551615", "-9223372036854775808"] {
            assert!(all(valid), "{valid}");
        }
        for wrong in ["", "-", "-0", "00", "07", "-07", "+7", "18446744073709551616", "-9223372036854775809"] {
            assert!(!all(wrong), "{wrong}");
        }
        assert_eq!(Reader::new("18446744073709551615").unsigned(), Ok(u64::MAX));
        assert!(Reader::new("-1").unsigned().is_err());
    }
}
