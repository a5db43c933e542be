//! Escaping of untrusted text for terminals.

use lastmile_metadata::is_unprintable;

/// Returns `text` with every [unprintable](is_unprintable) character escaped.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unprintable(character) {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Returns JSON text with the same characters, except line feeds, escaped in JSON syntax. The document stays the same.
#[must_use]
pub fn printable_json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unprintable(character) && character != '\n' {
            for unit in character.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unprintable_characters_are_escaped() {
        assert_eq!(printable("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\\u{a}");
        assert_eq!(printable("exe\u{202e}txt"), "exe\\u{202e}txt");
        assert_eq!(printable_json("[\"a\u{202e}\u{e0041}\"]\n"), "[\"a\\u202e\\udb40\\udc41\"]\n");
        assert_eq!(printable("grüße/日本.tgz"), "grüße/日本.tgz");
        for hidden in ['\u{200b}', '\u{200d}', '\u{2066}', '\u{3164}', '\u{feff}', '\u{a0}', '\u{e0100}', '\u{2800}'] {
            assert_eq!(printable(&format!("a{hidden}b")), format!("a{}b", hidden.escape_unicode()));
        }
    }
}
