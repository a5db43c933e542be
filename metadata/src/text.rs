//! Escaping of untrusted text for terminals.

use core::fmt;

/// Displays untrusted text with every [unprintable](is_unprintable) character escaped.
pub(crate) struct Printable<'t>(pub(crate) &'t str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if is_unprintable(character) {
                write!(f, "{}", character.escape_unicode())?
            } else {
                write!(f, "{character}")?
            }
        }
        Ok(())
    }
}

/// Returns whether a character must be escaped when untrusted text is shown on a terminal. Such a character controls
/// the terminal, is invisible, looks like a space, or reorders the text around it.
///
/// The unprintable characters are control characters, bidirectional controls, line separators, zero-width characters,
/// Hangul fillers, the blank Braille pattern, and all spaces except U+0020.
#[must_use]
pub fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{1680}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}'
            | '\u{2800}' | '\u{3000}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{13440}' | '\u{16fe4}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn hidden_and_deceptive_characters_are_escaped_but_letters_are_not() {
        for hidden in [
            '\n',
            '\u{1b}',
            '\u{a0}',
            '\u{200b}',
            '\u{202e}',
            '\u{2066}',
            '\u{3164}',
            '\u{feff}',
            '\u{1bca0}',
            '\u{13430}',
            '\u{e0041}',
        ] {
            let text = alloc::format!("a{hidden}b");
            assert_eq!(Printable(&text).to_string(), alloc::format!("a{}b", hidden.escape_unicode()));
        }
        assert_eq!(Printable("grüße/日本 \"x\".tgz").to_string(), "grüße/日本 \"x\".tgz");
    }
}
