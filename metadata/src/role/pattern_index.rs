//! An index of path patterns (TUF specification 4.5), which finds the patterns that match a path without comparing the
//! path with every pattern.
//!
//! A pattern matches only paths that begin with the text before its first wildcard and end with the text after its last
//! wildcard. The index groups the patterns by the text before the first wildcard. Within a group, it finds the patterns
//! with wildcards by the text after the last wildcard. A path is compared only with patterns for which both texts
//! match.

use alloc::vec::Vec;

use crate::limits::Budget;
use crate::{ErrorKind, PathPattern, TargetPath};

const WILDCARDS: [char; 2] = ['*', '?'];

/// Comparing this number of bytes costs one step of a [`Budget`].
const BYTES_PER_STEP: usize = 64;

#[derive(Clone, Debug, Default)]
pub(super) struct PatternIndex {
    by_start: Prefixes<Group>,
}

/// The patterns with the same text before the first wildcard.
#[derive(Clone, Debug, Default)]
struct Group {
    /// The indices of the delegations that list the shared text as a pattern without wildcards.
    exact: Vec<usize>,
    /// The patterns with wildcards, indexed by the reversed text after the last wildcard.
    by_end: Prefixes<Vec<Pattern>>,
}

/// A pattern with wildcards, and the indices of the delegations that list it.
#[derive(Clone, Debug)]
struct Pattern {
    pattern: PathPattern,
    delegations: Vec<usize>,
}

impl PatternIndex {
    /// Creates an index of `patterns`. Each pattern is paired with the index of the delegation that lists it.
    pub(super) fn of<'p>(patterns: impl Iterator<Item = (&'p PathPattern, usize)>) -> Self {
        let mut all: Vec<(&str, &PathPattern, usize)> =
            patterns.map(|(pattern, delegation)| (literal_start(pattern.as_str()), pattern, delegation)).collect();
        all.sort_unstable();
        let groups = all.chunk_by(|one, other| one.0 == other.0).map(|same| {
            let start = same.first().map(|(start, ..)| start.as_bytes().to_vec()).unwrap_or_default();
            (start, Group::of(same))
        });
        Self { by_start: Prefixes::of(groups.collect()) }
    }

    /// For each pattern that matches `path`, calls `found` with the indices of the delegations that list the pattern.
    pub(super) fn matching<'i>(
        &'i self,
        path: &TargetPath,
        steps: &mut Budget,
        mut found: impl FnMut(&'i [usize]),
    ) -> Result<(), ErrorKind> {
        let text = path.as_str().as_bytes();
        let mut backwards = Vec::new();
        for (start, group) in self.by_start.of_text(text) {
            steps.spend()?;
            if start.len() == text.len() {
                found(&group.exact);
            }
            if group.by_end.is_empty() {
                continue;
            }
            if backwards.is_empty() {
                backwards.extend(text.iter().rev().copied());
            }
            for (_, patterns) in group.by_end.of_text(&backwards) {
                steps.spend()?;
                for Pattern { pattern, delegations } in patterns {
                    steps.spend_many(1 + (pattern.as_str().len().min(text.len()) + text.len()) / BYTES_PER_STEP)?;
                    if pattern.matches(path) {
                        found(delegations);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Group {
    /// Creates a group from sorted patterns with the same text before the first wildcard.
    fn of(sorted: &[(&str, &PathPattern, usize)]) -> Self {
        let mut group = Self::default();
        let mut by_end: Vec<(Vec<u8>, Pattern)> = Vec::new();
        for same in sorted.chunk_by(|one, other| one.1 == other.1) {
            let Some((start, pattern, _)) = same.first() else { continue };
            let mut delegations: Vec<usize> = same.iter().map(|(_, _, delegation)| *delegation).collect();
            delegations.dedup();
            if start.len() == pattern.as_str().len() {
                group.exact = delegations;
            } else {
                let end = literal_end(pattern.as_str()).bytes().rev().collect();
                by_end.push((end, Pattern { pattern: (*pattern).clone(), delegations }));
            }
        }
        by_end.sort_by(|one, other| one.0.cmp(&other.0));
        let mut ends: Vec<(Vec<u8>, Vec<Pattern>)> = Vec::new();
        for (end, pattern) in by_end {
            match ends.last_mut() {
                Some((last, patterns)) if *last == end => patterns.push(pattern),
                _ => ends.push((end, alloc::vec![pattern])),
            }
        }
        group.by_end = Prefixes::of(ends);
        group
    }
}

/// Returns the text before the first wildcard.
fn literal_start(pattern: &str) -> &str {
    pattern.split(WILDCARDS).next().unwrap_or_default()
}

/// Returns the text after the last wildcard.
fn literal_end(pattern: &str) -> &str {
    pattern.rsplit(WILDCARDS).next().unwrap_or_default()
}

/// A map from strings to values. A lookup finds all keys of the map that are prefixes of a given string.
#[derive(Clone, Debug)]
struct Prefixes<T> {
    /// The sorted strings, each with its value and a number. The number refers to the longest other string that is a
    /// prefix of this string: it is 1 plus the index of that prefix, or 0 if there is no prefix.
    sorted: Vec<(Vec<u8>, T, usize)>,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self { sorted: Vec::new() }
    }
}

impl<T> Prefixes<T> {
    /// Creates a map from sorted, distinct strings.
    fn of(sorted: Vec<(Vec<u8>, T)>) -> Self {
        let mut all: Vec<(Vec<u8>, T, usize)> = Vec::with_capacity(sorted.len());
        // Refers to the string that was added last and to its prefixes, shortest first. Each element is 1 plus the
        // index of a string in `all`.
        let mut open: Vec<usize> = Vec::new();
        for (text, value) in sorted {
            let begins = |after: &usize| {
                after.checked_sub(1).and_then(|at| all.get(at)).is_some_and(|(start, ..)| text.starts_with(start))
            };
            while open.last().is_some_and(|last| !begins(last)) {
                open.pop();
            }
            let longest = open.last().copied().unwrap_or(0);
            all.push((text, value, longest));
            open.push(all.len());
        }
        Self { sorted: all }
    }

    fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Returns all strings that are prefixes of `text`, longest first, with their values.
    fn of_text<'s, 't>(&'s self, text: &'t [u8]) -> impl Iterator<Item = (&'s [u8], &'s T)> + use<'s, 't, T> {
        // The longest prefix is either the last string that is not greater than `text`, or a prefix of that string.
        let mut after = self.sorted.partition_point(|(start, ..)| start.as_slice() <= text);
        core::iter::from_fn(move || {
            loop {
                let (start, value, longest) = self.sorted.get(after.checked_sub(1)?)?;
                after = *longest;
                if text.starts_with(start) {
                    return Some((start.as_slice(), value));
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::Limit;
    use crate::path_pattern::tests::texts;

    fn unlimited() -> Budget {
        Budget::new(Limit::ListSteps, u64::MAX)
    }

    #[test]
    fn f_4_5_12_an_index_finds_the_patterns_that_match_and_no_others() {
        let patterns: Vec<_> = texts(&['a', 'é', '*', '?', '/'], 4).into_iter().map(PathPattern::new).collect();
        let numbered = patterns.iter().enumerate().map(|(number, pattern)| (pattern, number));
        let index = PatternIndex::of(numbered.clone().chain(numbered.filter(|(_, number)| number % 3 == 0)));
        for path in texts(&['a', 'é', '/', 'b'], 5).into_iter().filter(|path| !path.is_empty()) {
            let path = TargetPath::new(path).unwrap();
            let mut found: Vec<usize> = Vec::new();
            index.matching(&path, &mut unlimited(), |delegations| found.extend(delegations)).unwrap();
            found.sort_unstable();
            let expected: Vec<_> = (0..patterns.len()).filter(|at| patterns[*at].matches(&path)).collect();
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn b1_a_path_is_compared_with_only_a_few_of_many_patterns() {
        let made = |make: fn(usize) -> String| (0..10_000).map(make).map(PathPattern::new).collect::<Vec<_>>();
        for (patterns, path) in [
            (made(|number| alloc::format!("literal/{number}")), "literal/77"),
            (made(|number| alloc::format!("product-{number}/*")), "product-77/x"),
            (made(|number| alloc::format!("*-{number}.tgz")), "x-77.tgz"),
            (made(|number| alloc::format!("{number}?")), "77x"),
        ] {
            let index = PatternIndex::of(patterns.iter().enumerate().map(|(number, pattern)| (pattern, number)));
            let mut steps = Budget::new(Limit::ListSteps, 40);
            let mut found: Vec<usize> = Vec::new();
            index.matching(&TargetPath::new(path).unwrap(), &mut steps, |all| found.extend(all)).unwrap();
            assert!(found.contains(&77), "{path}: {found:?}");
        }
    }

    #[test]
    fn b1_comparing_with_very_many_patterns_stops_at_the_budget() {
        let patterns: Vec<_> = (0..1_000).map(|number| PathPattern::new(alloc::format!("*{number}*"))).collect();
        let index = PatternIndex::of(patterns.iter().enumerate().map(|(number, pattern)| (pattern, number)));
        // Comparing a long path takes more steps than comparing a short path.
        let short = TargetPath::new("x7x").unwrap();
        let long = TargetPath::new("x7".repeat(64)).unwrap();
        for (path, most, is_enough) in
            [(&short, 1_002, true), (&short, 1_001, false), (&long, 3_002, true), (&long, 3_001, false)]
        {
            let ended = index.matching(path, &mut Budget::new(Limit::ListSteps, most), |_| {});
            assert_eq!(ended.is_ok(), is_enough, "{path} {most}");
        }
    }
}
