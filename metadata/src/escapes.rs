//! Escapes in canonical strings (TUF specification 4.1), in which only quotes and backslashes are escaped.

use alloc::borrow::Cow;
use alloc::string::String;

/// Returns the number of bytes before the closing quote of a string. `bytes` starts after the opening quote.
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
