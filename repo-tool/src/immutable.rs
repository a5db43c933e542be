//! The patterns that match the names of immutable targets (`immutable` in `repo.toml`). The content of an immutable
//! target must not change after publication.
//!
//! The patterns have the syntax of path patterns in delegations: `*` and `?` do not match `/`. As in `.gitignore`, a
//! pattern without `/` applies to file names in every folder, and a pattern with the prefix `!` excludes the names that
//! match. If several patterns match, the last one applies. If none matches, the target is not immutable.

use lastmile_metadata::{PathPattern, TargetFile, TargetPath};

use crate::edit::path_patterns::is_useless;
use crate::{Error, InvalidInput};

/// The patterns that match the names of immutable targets. The content of an immutable target must not change after
/// publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Immutable {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    effect: Effect,
    scope: Scope,
    pattern: PathPattern,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Include,
    Exclude,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Path,
    FileName,
}

impl Immutable {
    /// Returns the setting for new repositories: all targets are immutable.
    #[must_use]
    pub fn all() -> Self {
        Self { rules: vec![Rule::parse("*")] }
    }

    /// Returns the setting for repositories whose `repo.toml` has no entry `immutable`: no target is immutable.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Parses patterns such as `*` or `!nightly/*`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if one of the patterns cannot match any target path.
    pub fn parse(texts: &[String]) -> Result<Self, Error> {
        let rules: Vec<Rule> = texts.iter().map(|text| Rule::parse(text)).collect();
        match rules.iter().position(|rule| is_useless(&rule.pattern)).and_then(|at| texts.get(at)) {
            Some(pattern) => Err(InvalidInput::ImmutablePattern { pattern: pattern.clone() }.into()),
            None => Ok(Self { rules }),
        }
    }

    /// Returns the patterns as text.
    pub fn texts(&self) -> impl Iterator<Item = String> + '_ {
        self.rules.iter().map(|rule| match rule.effect {
            Effect::Include => rule.pattern.as_str().to_string(),
            Effect::Exclude => format!("!{}", rule.pattern.as_str()),
        })
    }

    /// Returns whether the target with this path is immutable.
    #[must_use]
    pub fn covers(&self, path: &TargetPath) -> bool {
        let decides = self.rules.iter().rev().find(|rule| rule.matches(path));
        decides.is_some_and(|rule| rule.effect == Effect::Include)
    }

    /// Returns whether `new` would change the content of an immutable target that is already published.
    pub(crate) fn forbids(&self, published: &TargetFile, new: &TargetFile) -> bool {
        !self.rules.is_empty() && !has_same_bytes(published, new) && self.covers(&new.path)
    }
}

impl Rule {
    fn parse(text: &str) -> Self {
        let (effect, text) = match text.strip_prefix('!') {
            Some(rest) => (Effect::Exclude, rest),
            None => (Effect::Include, text),
        };
        let scope = if text.contains('/') { Scope::Path } else { Scope::FileName };
        Self { effect, scope, pattern: PathPattern::new(text) }
    }

    fn matches(&self, path: &TargetPath) -> bool {
        match (self.scope, path.as_str().rsplit_once('/')) {
            (Scope::FileName, Some((_, name))) => TargetPath::new(name).is_ok_and(|name| self.pattern.matches(&name)),
            _ => self.pattern.matches(path),
        }
    }
}

/// Returns whether two target entries have equal lengths, and equal hashes for all algorithms that both entries use.
/// Returns `false` if the entries have no algorithm in common.
pub(crate) fn has_same_bytes(one: &TargetFile, other: &TargetFile) -> bool {
    let common = one.hashes.known().filter_map(|(algorithm, digest)| {
        let same = other.hashes.known().find(|(name, _)| *name == algorithm)?;
        Some(same.1 == digest)
    });
    let common: Vec<bool> = common.collect();
    one.length == other.length && !common.is_empty() && common.into_iter().all(|is_same| is_same)
}

#[cfg(test)]
mod tests {
    use lastmile_metadata::{Algorithm, Hashes};

    use super::*;

    fn parsed(texts: &[&str]) -> Result<Immutable, Error> {
        Immutable::parse(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let immutable = parsed(&["*", "!latest.json", "!nightly/*", "nightly/signed-*"]).unwrap();
        for (path, expected) in [
            ("app", true),
            ("a/b/app", true),
            ("latest.json", false),
            ("a/latest.json", false),
            ("nightly/app", false),
            ("nightly/a/app", true),
            ("a/nightly/app", true),
            ("nightly/signed-app", true),
        ] {
            assert_eq!(immutable.covers(&TargetPath::new(path).unwrap()), expected, "{path}");
        }
        assert_eq!(immutable.texts().collect::<Vec<_>>(), ["*", "!latest.json", "!nightly/*", "nightly/signed-*"]);
        let app = TargetPath::new("app").unwrap();
        assert!(!Immutable::none().covers(&app) && !parsed(&["!*"]).unwrap().covers(&app));
        assert!(Immutable::all().covers(&app));
    }

    #[test]
    fn a_pattern_that_no_target_path_matches_is_refused() {
        for useless in ["", "!", "/a", "!a/", "./a", "a//b"] {
            let refused = parsed(&["*", useless]);
            assert!(matches!(refused, Err(Error::InvalidInput(InvalidInput::ImmutablePattern { .. }))), "{useless}");
        }
    }

    #[test]
    fn bytes_are_compared_by_length_and_common_hashes() {
        let file = |content: &[u8], algorithms: &[Algorithm]| {
            let hashes = Hashes::of(content, algorithms).unwrap();
            TargetFile::new(TargetPath::new("app").unwrap(), content.len() as u64, hashes)
        };
        let short = Algorithm::Sha256;
        let long = Algorithm::Sha512;
        for (one, other, expected) in [
            (file(b"1", &[short]), file(b"1", &[short]), false),
            (file(b"1", &[short]), file(b"1", &[short, long]), false),
            (file(b"1", &[short]), file(b"2", &[short]), true),
            (file(b"1", &[short]), file(b"22", &[short]), true),
            // The entries have no hash algorithm in common, so their contents may differ.
            (file(b"1", &[short]), file(b"1", &[long]), true),
        ] {
            assert_eq!(Immutable::all().forbids(&one, &other), expected, "{one:?} {other:?}");
        }
    }
}
