//! Checks the path patterns of new delegations (spec 4.5). The only wildcards are `*` and `?`, and neither matches `/`.
//! All other characters, such as `[`, match only themselves, even if they are special in shells or in Git.

use lastmile_metadata::{PathPattern, Paths};

use crate::names::target_path;
use crate::{EditError, Error};

/// Parses path patterns.
///
/// # Errors
/// [`Error::Edit`] if one of the patterns matches no usable target path. Examples of such patterns are `/foo/*`,
/// `./foo/*` and `foo//bar`.
pub fn patterns(texts: &[String]) -> Result<Paths, Error> {
    let paths = Paths::Patterns(texts.iter().map(PathPattern::new).collect());
    refuse_useless(&paths)?;
    Ok(paths)
}

pub(super) fn refuse_useless(paths: &Paths) -> Result<(), Error> {
    // TUF specification 4.5: a pattern does not start with a slash, because no target path starts with a slash.
    match patterns_of(paths).iter().find(|pattern| is_useless(pattern)) {
        Some(pattern) => Err(EditError::UselessPattern { pattern: (*pattern).clone() }.into()),
        None => Ok(()),
    }
}

/// Returns whether the pattern matches no usable target path.
pub(crate) fn is_useless(pattern: &PathPattern) -> bool {
    example(pattern).is_none()
}

/// Returns warnings about patterns that probably do not mean what their author intended. Each warning contains a path
/// that the pattern matches.
#[must_use]
pub fn pattern_warnings(paths: &Paths) -> Vec<String> {
    patterns_of(paths).iter().filter_map(warning).collect()
}

fn patterns_of(paths: &Paths) -> &[PathPattern] {
    match paths {
        Paths::Patterns(patterns) => patterns,
        _ => &[],
    }
}

fn warning(pattern: &PathPattern) -> Option<String> {
    let text = pattern.as_str();
    let example = example(pattern)?;
    let only = |what: &str| {
        format!(
            "the pattern `{pattern}` matches only paths that contain {what}, such as `{example}`; use a separate \
             pattern for each alternative"
        )
    };
    let mut rest = text;
    let mut has_set = false;
    while let Some((_, after)) = rest.split_once('[') {
        has_set |= after.contains(']');
        rest = after;
    }
    if text.contains("**") {
        let deeper = format!("{example}/x");
        return Some(format!(
            "the pattern `{pattern}` matches paths such as `{example}`, but not `{deeper}`: `*` does not match `/`; add one \
             pattern for each depth of folders"
        ));
    }
    if has_set {
        return Some(only("the brackets themselves"));
    }
    if text.split_once('{').is_some_and(|(_, after)| after.contains('}')) {
        return Some(only("the braces themselves"));
    }
    if text.starts_with('!') {
        return Some(format!(
            "the pattern `{pattern}` matches only paths that start with `!`, such as `{example}`: a pattern cannot \
             exclude paths"
        ));
    }
    None
}

/// Returns an example of a usable target path that the pattern matches, or `None` if there is no such path.
fn example(pattern: &PathPattern) -> Option<String> {
    let segments = pattern.as_str().split('/').map(|segment| {
        // Replace each star with `x`. If the result is not allowed, for example because it is too long, remove the
        // stars instead. Removing them in all cases could leave a reserved name.
        let texts = ["", "x"].map(|star| segment.replace("**", "*").replace('*', star).replace('?', "x"));
        texts.into_iter().rev().find(|text| target_path(text).is_ok())
    });
    let path = segments.collect::<Option<Vec<String>>>()?.join("/");
    let path = target_path(&path).ok().filter(|path| pattern.matches(path))?;
    Some(path.as_str().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Paths, Error> {
        patterns(&[text.to_string()])
    }

    #[test]
    fn f_4_5_14_a_pattern_that_no_target_path_matches_is_refused() {
        for useless in [
            "", "/x/*", "./foo/*", "foo//bar", "foo/", "*/", "../x", "a/../b", "a/./*", "a\\*", "C:/*", "con", "x.",
            "*.", "a\n*", "//*",
        ] {
            assert!(matches!(parsed(useless), Err(Error::Edit(EditError::UselessPattern { .. }))), "{useless:?}");
        }
        for useful in
            ["x/*", "*", "?", ".*", "..?", "con*", "com?", "*.tar.gz", "a/*/b-?.zip", "[a]", "{a,b}", "**", "ä b"]
        {
            assert!(parsed(useful).is_ok(), "{useful:?}");
        }
    }

    #[test]
    fn a_pattern_that_probably_means_something_else_is_explained() {
        let cases = [
            ("**", "such as `x`, but not `x/x`"),
            ("a/**/b*", "such as `a/x/bx`, but not `a/x/bx/x`"),
            ("a/{b,c}/*", "the braces themselves, such as `a/{b,c}/x`"),
            ("a/[a-z]*", "the brackets themselves, such as `a/[a-z]x`"),
            ("!a/*", "such as `!a/x`: a pattern cannot exclude"),
        ];
        for (text, expected) in cases {
            let warnings = pattern_warnings(&parsed(text).unwrap());
            assert!(matches!(warnings.as_slice(), [one] if one.contains(expected)), "{text}: {warnings:?}");
        }
        for usual in ["*", "a/*", "a/*/*-?.zip", "a}{", "a][b", "a!"] {
            assert_eq!(pattern_warnings(&parsed(usual).unwrap()), [""; 0], "{usual}");
        }
    }
}
