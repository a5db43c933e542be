//! Patterns for identities, builders, sources and refs.

use std::fmt;

/// A case-sensitive pattern that must match the whole text. `*` matches any number of characters other than `/` and
/// `@`, so it never matches more than one part of a URL, a ref or an email address. Every other character matches only
/// itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// Creates a pattern. Returns `None` if the text is empty or contains two stars in a row.
    #[must_use]
    pub fn new(pattern: &str) -> Option<Self> {
        (!pattern.is_empty() && !pattern.contains("**")).then(|| Self(pattern.to_owned()))
    }

    /// Returns the pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the pattern matches the whole text.
    ///
    /// For each part between two stars, the function tries only the first occurrence in the text. This is enough: if a
    /// later occurrence leads to a match, so does the first one, because the star after the part matches the characters
    /// in between.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            let (skipped, found) = rest.split_at(at);
            if !is_within_part(skipped) {
                return false;
            }
            rest = found.strip_prefix(part).unwrap_or_default();
        }
        rest.strip_suffix(last).is_some_and(is_within_part)
    }
}

/// Formats a list of patterns for a message, such as "a or b".
pub(crate) fn one_of(patterns: &[Pattern]) -> String {
    patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(" or ")
}

fn is_within_part(text: &str) -> bool {
    !text.contains(['/', '@'])
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_13_a_pattern_matches_the_whole_text_and_a_star_one_part() {
        let workflow = "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v*";
        for (pattern, text, matches) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("abc", "xabc", false),
            ("abc", "ABC", false),
            ("*", "", true),
            ("*", "abc", true),
            ("*", "a/b", false),
            ("*", "a@b", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "ace", true),
            ("a*c*e", "acccde", true),
            ("a*c*e", "ab/cde", false),
            ("a*c*e", "abc/de", false),
            ("*/x", "a/x", true),
            ("*/x", "a/b/x", false),
            ("a*bc", "abbc", true),
            ("ab*ba", "aba", false),
            (workflow, "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1.0", true),
            (workflow, "https://github.com/acme/app-evil/.github/workflows/release.yml@refs/tags/v1.0", false),
            (workflow, "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/v1.0", false),
            (workflow, "https://github.com/acme/app/.github/workflows/release.yml@evil.yml@refs/tags/v1", false),
            (workflow, "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1/../../x", false),
            (workflow, "https://evil/?u=https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(text), matches, "{pattern} {text}");
        }
        assert_eq!((Pattern::new(""), Pattern::new("a**b")), (None, None));
    }

    #[test]
    fn a_pattern_agrees_with_a_search_over_every_choice() {
        /// A reference implementation that tries every length for every star.
        fn reference(pattern: &[u8], text: &[u8]) -> bool {
            match (pattern, text) {
                ([], []) => true,
                ([b'*', rest @ ..], text) => {
                    let most = text.iter().take_while(|byte| !b"/@".contains(byte)).count();
                    (0..=most).any(|taken| reference(rest, &text[taken..]))
                }
                ([own, rest @ ..], [byte, tail @ ..]) => own == byte && reference(rest, tail),
                _ => false,
            }
        }
        let words = |alphabet: &[u8], most: usize| {
            let mut words = vec![Vec::new()];
            let mut from = 0;
            for _ in 0..most {
                let to = words.len();
                for at in from..to {
                    for byte in alphabet {
                        let mut longer: Vec<u8> = words[at].clone();
                        longer.push(*byte);
                        words.push(longer);
                    }
                }
                from = to;
            }
            words
        };
        let texts = words(b"ab/", 6);
        let mut matched = 0;
        for pattern in words(b"ab/*", 5) {
            let Some(checked) = Pattern::new(std::str::from_utf8(&pattern).unwrap()) else { continue };
            for text in &texts {
                let expected = reference(&pattern, text);
                assert_eq!(checked.matches(std::str::from_utf8(text).unwrap()), expected, "{checked} {text:?}");
                matched += u32::from(expected);
            }
        }
        assert!(matched > 1000, "{matched}");
    }
}
