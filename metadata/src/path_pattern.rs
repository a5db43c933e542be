//! Path patterns and hash prefixes, which determine the targets that a delegation covers (TUF specification 4.5).
//!
//! The specification requires "shell-style wildcards" without defining them. In this implementation, `*` matches any
//! number of characters within one segment, and `?` matches exactly one character other than `/`. All other characters
//! match only themselves, on every platform.

use alloc::string::String;
use core::fmt;

use sha2::{Digest, Sha256};

use crate::text::Printable;
use crate::{ErrorKind, TargetPath};

/// A pattern that matches target paths. The pattern may contain wildcards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern(String);

impl PathPattern {
    /// Creates a pattern from any text.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// Returns the pattern as written in metadata.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the pattern covers the path (TUF specification 4.5, POUF D1). Matching takes time linear in the
    /// lengths of the pattern and the path, because it does not backtrack over stars.
    #[must_use]
    pub fn matches(&self, path: &TargetPath) -> bool {
        // Spec 4.5: a wildcard does not match a slash, so segments are matched one by one.
        let mut patterns = self.0.split('/');
        let mut segments = path.as_str().split('/');
        loop {
            match (patterns.next(), segments.next()) {
                (None, None) => return true,
                (Some(pattern), Some(segment)) if matches_segment(pattern, segment) => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printable(&self.0).fmt(f)
    }
}

/// Matches one segment in linear time. The stars divide a pattern into pieces, and each piece matches a fixed number of
/// characters. Therefore, choosing the leftmost match of each piece never excludes a match of the whole pattern.
fn matches_segment(pattern: &str, segment: &str) -> bool {
    // Spec 4.5: `*` matches any number of characters.
    let Some((first, rest)) = pattern.split_once('*') else {
        return piece_length(pattern, segment) == Some(segment.len());
    };
    let Some(mut remaining) = piece_length(first, segment).and_then(|length| segment.get(length..)) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
        match find_piece(piece, remaining) {
            Some(after) => remaining = after,
            None => return false,
        }
    }
    let characters = last.chars().count();
    let skipped = remaining.chars().count().checked_sub(characters);
    skipped.is_some_and(|skipped| {
        let tail = remaining.char_indices().nth(skipped).map_or("", |(at, _)| remaining.get(at..).unwrap_or_default());
        piece_length(last, tail) == Some(tail.len())
    })
}

/// Returns the number of bytes at the start of `text` that `piece` matches, or `None` if `piece` does not match there.
/// `piece` contains no star.
fn piece_length(piece: &str, text: &str) -> Option<usize> {
    let mut characters = text.chars();
    for expected in piece.chars() {
        let found = characters.next()?;
        // Spec 4.5: `?` matches one character. POUF D1: all other characters match themselves.
        if expected != '?' && expected != found {
            return None;
        }
    }
    Some(text.len() - characters.as_str().len())
}

/// The maximum length, in bytes, of a piece that contains `?` and is between two stars. To keep the matching time
/// linear, a longer piece matches nothing. This affects no real target, because common file systems do not allow longer
/// file names.
const MAX_PIECE_LENGTH: usize = 255;

/// Returns the text after the leftmost match of `piece` in `text`.
fn find_piece<'t>(piece: &str, text: &'t str) -> Option<&'t str> {
    if !piece.contains('?') {
        return text.find(piece).and_then(|at| text.get(at + piece.len()..));
    }
    if piece.len() > MAX_PIECE_LENGTH {
        return None;
    }
    text.char_indices().find_map(|(at, _)| {
        let rest = text.get(at..)?;
        piece_length(piece, rest).and_then(|length| rest.get(length..))
    })
}

/// The first 1 to 64 digits of the SHA-256 of a target path, in lower-case hexadecimal.
///
/// A prefix is stored without an allocation, because a role may list millions of prefixes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashPrefix {
    /// The digits, padded with zeros to the length of a hash, so that prefixes sort like strings.
    hash: [u8; 32],
    digits: u8,
}

impl HashPrefix {
    /// Parses a prefix.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] if the prefix is empty, has more than 64 digits, or contains characters other than
    /// `0–9 a–f`.
    pub fn new(prefix: &str) -> Result<Self, ErrorKind> {
        // Spec 4.5: a prefix is hexadecimal.
        let refused = || ErrorKind::expected("1 to 64 lower-case hexadecimal digits").but_found_text(prefix);
        let digits = u8::try_from(prefix.len()).ok().filter(|digits| *digits > 0).ok_or_else(refused)?;
        let mut hash = [0; 32];
        for (at, digit) in prefix.bytes().enumerate() {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(refused()),
            };
            *hash.get_mut(at / 2).ok_or_else(refused)? |= if at % 2 == 0 { value << 4 } else { value };
        }
        Ok(Self { hash, digits })
    }

    /// Returns the first `digits` digits of `hash`. `digits` must be at most 64.
    pub(crate) fn of(hash: &[u8; 32], digits: u8) -> Self {
        let mut cut = *hash;
        for (byte, at) in cut.iter_mut().zip((0_u8..).step_by(2)) {
            *byte &= match digits.saturating_sub(at) {
                0 => 0,
                1 => 0xf0,
                _ => 0xff,
            };
        }
        Self { hash: cut, digits }
    }

    /// Returns the number of digits.
    #[must_use]
    pub fn digits(&self) -> u8 {
        self.digits
    }

    /// Returns whether the hash of the path begins with the digits of the prefix.
    #[must_use]
    pub fn matches(&self, path: &TargetPath) -> bool {
        self.begins(&hash_of(path))
    }

    pub(crate) fn begins(&self, hash: &[u8; 32]) -> bool {
        let bytes = usize::from(self.digits / 2);
        let is_odd = self.digits % 2 == 1;
        self.hash.get(..bytes) == hash.get(..bytes)
            && (!is_odd || self.hash.get(bytes) == hash.get(bytes).map(|byte| byte & 0xf0).as_ref())
    }
}

impl fmt::Display for HashPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(hex::encode(self.hash).get(..usize::from(self.digits)).unwrap_or_default())
    }
}

impl fmt::Debug for HashPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashPrefix({self})")
    }
}

/// Returns the SHA-256 of a path. `path_hash_prefixes` lists prefixes of such hashes (TUF specification 4.5).
pub(crate) fn hash_of(path: &TargetPath) -> [u8; 32] {
    Sha256::digest(path.as_str().as_bytes()).into()
}

/// Returns the first 64 bits of the SHA-256 of a path. [`Router::bin`](crate::Router::bin) finds the hash bin of the
/// path from these bits (TUF specification 4.5, TAP 15).
#[must_use]
pub fn hash_start(path: &str) -> u64 {
    let digest = Sha256::digest(path.as_bytes());
    digest.iter().take(8).fold(0, |start, byte| start << 8 | u64::from(*byte))
}

#[cfg(test)]
pub(crate) mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        PathPattern::new(pattern).matches(&TargetPath::new(path).unwrap())
    }

    #[test]
    fn f_4_5_15_patterns_match_as_in_the_examples_of_the_specification() {
        assert!(matches("targets/*.tgz", "targets/foo.tgz"));
        assert!(matches("targets/*.tgz", "targets/bar.tgz"));
        assert!(!matches("targets/*.tgz", "targets/foo.txt"));
        assert!(matches("foo-version-?.tgz", "foo-version-2.tgz"));
        assert!(matches("foo-version-?.tgz", "foo-version-a.tgz"));
        assert!(!matches("foo-version-?.tgz", "foo-version-alpha.tgz"));
        assert!(matches("*.tgz", "foo.tgz"));
        assert!(!matches("*.tgz", "targets/foo.tgz"));
        assert!(matches("foo.tgz", "foo.tgz"));
        assert!(!matches("foo.tgz", "targets/foo.tgz"));
    }

    #[test]
    fn f_4_5_12_a_star_matches_any_number_of_characters() {
        for (pattern, path) in [
            ("*", "a"),
            ("*", ".hidden"),
            ("a*", "a"),
            ("*a", "a"),
            ("a*b*c", "abc"),
            ("a*b*c", "axxbyyc"),
            ("**", "ab"),
            ("*b*", "abc"),
            ("?*", "é"),
            ("*?", "é"),
            ("a*?c", "abc"),
            ("*ab*ab", "abab"),
            ("*é?x*", "aéüxz"),
            ("a/*/c", "a/b/c"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("a*b*c", "acb"),
            ("*ab*ab", "ab"),
            ("?", "ab"),
            ("??", "é"),
            ("a*?c", "ac"),
            ("", "a"),
            ("a", "ab"),
            ("ab*b", "ab"),
            ("*aa*aa", "aaa"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn f_4_5_13_wildcards_stay_within_a_segment_and_case_matters() {
        for (pattern, path) in [
            ("a/*", "a/b/c"),
            ("*", "a/b"),
            ("a?b", "a/b"),
            ("**", "a/b"),
            ("a/**/c", "a/b/b/c"),
            ("Foo/*", "foo/x"),
            ("a/*", "a"),
            ("/a", "a"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn d1_brackets_braces_and_backslashes_match_themselves() {
        for literal in ["[abc]", "{a,b}", "a\\b", "!x", "#x", "[", "\\", "+(a)"] {
            assert!(matches(literal, literal), "{literal}");
        }
        assert!(!matches("[abc]", "a"));
        assert!(!matches("{a,b}", "a"));
        assert!(matches("\\*", "\\x"));
        assert!(!matches("\\*", "*"));
        assert!(!matches("foo\\*", "foo/x"));
        assert!(!matches("e\u{301}", "\u{e9}"));
    }

    /// A direct implementation of the specification. It may take exponential time. The tests compare the fast
    /// implementation with it.
    fn by_the_word(pattern: &[char], path: &[char]) -> bool {
        match (pattern, path) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                by_the_word(rest, path)
                    || path.split_first().is_some_and(|(first, after)| *first != '/' && by_the_word(pattern, after))
            }
            (['?', rest @ ..], [first, after @ ..]) => *first != '/' && by_the_word(rest, after),
            ([expected, rest @ ..], [first, after @ ..]) => expected == first && by_the_word(rest, after),
            _ => false,
        }
    }

    pub(crate) fn texts(alphabet: &[char], longest: usize) -> Vec<String> {
        let mut all = alloc::vec![String::new()];
        let mut start = 0;
        for _ in 0..longest {
            let end = all.len();
            for at in start..end {
                all.extend(
                    alphabet.iter().map(|character| alloc::format!("{}{character}", all[at])).collect::<Vec<_>>(),
                );
            }
            start = end;
        }
        all
    }

    #[test]
    fn f_4_5_12_every_short_pattern_matches_as_the_specification_says() {
        let paths = texts(&['a', 'é', '/'], 5);
        for pattern in texts(&['a', 'é', '*', '?', '/'], 4).into_iter().chain(texts(&['a', '*', '?'], 6)) {
            for path in paths.iter().filter(|path| !path.is_empty()) {
                let [one, other] = [&pattern, path].map(|text| text.chars().collect::<Vec<_>>());
                assert_eq!(matches(&pattern, path), by_the_word(&one, &other), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn a_pattern_with_many_stars_is_matched_quickly() {
        let pattern = "*a".repeat(5_000) + "b";
        let path = "a".repeat(100_000);
        assert!(!matches(&pattern, &path));
        assert!(matches(&"*a?".repeat(1_000), &"xab".repeat(1_000)));
    }

    #[test]
    fn a_piece_between_stars_is_no_longer_than_a_file_name() {
        for (length, covers) in [(255, true), (256, false), (257, false)] {
            let pattern = alloc::format!("*{}?*", "a".repeat(length - 1));
            assert_eq!(matches(&pattern, &"a".repeat(300)), covers, "{length}");
        }
    }

    #[test]
    fn f_4_5_10_prefixes_are_lower_case_hexadecimal_of_the_sha256_of_the_path() {
        // The SHA-256 of `foo.txt` begins with ddab29ff.
        let path = TargetPath::new("foo.txt").unwrap();
        for (prefix, covered) in [("d", true), ("dda", true), ("ddab29ff", true), ("ddab29f0", false), ("0", false)] {
            assert_eq!(HashPrefix::new(prefix).unwrap().matches(&path), covered, "{prefix}");
        }
        for refused in ["", "DD", "xy", "d d"] {
            assert!(HashPrefix::new(refused).is_err(), "{refused}");
        }
        assert!(HashPrefix::new(&"0".repeat(65)).is_err() && HashPrefix::new(&"0".repeat(300)).is_err());
        let hash = hex::encode(hash_of(&path));
        let all: Vec<HashPrefix> = (1..=64).map(|digits| HashPrefix::new(&hash[..digits]).unwrap()).collect();
        for (prefix, digits) in all.iter().zip(1..) {
            assert_eq!((alloc::format!("{prefix}"), prefix.digits()), (hash[..digits].into(), digits as u8));
            assert_eq!(*prefix, HashPrefix::of(&hash_of(&path), digits as u8));
            assert!(prefix.matches(&path));
            // Create a prefix that differs from `prefix` only in the last digit.
            let last = if hash.as_bytes()[digits - 1] == b'0' { "1" } else { "0" };
            let other = HashPrefix::new(&(hash[..digits - 1].to_string() + last)).unwrap();
            assert!(!other.matches(&path) && other != *prefix);
        }
        assert!(all.is_sorted());
    }
}
