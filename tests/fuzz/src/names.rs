//! Fuzz targets for the names of roles and targets, and for path patterns.

use lastmile_client::metadata::{PathPattern, RoleName, TargetPath, Version};

pub(crate) fn pattern_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "*\0a",
        "a/*\0a/b",
        "a?c/*.tgz\0abc/x.tgz",
        "**\0a/b",
        "*/*/*\0a/b/c",
        "[a]*\0[a]b",
        "*a*b*\0xaybz",
        "?\0\u{e9}",
    ];
    seeds.map(|seed| seed.as_bytes().to_vec()).to_vec()
}

/// Compares the matching of path patterns with a naive matcher that tries every possibility. Each input is a pattern, a
/// zero byte and a path.
pub(crate) fn patterns(input: &[u8]) {
    let Some((pattern, path)) = two(input) else { return };
    let Ok(target) = TargetPath::new(path) else { return };
    let ours = PathPattern::new(pattern).matches(&target);
    if pattern.len() + path.len() > 48 || pattern.matches('*').count() > 5 {
        return;
    }
    let parts = |text: &str| text.split('/').map(|part| part.chars().collect::<Vec<_>>()).collect::<Vec<_>>();
    let wanted = parts(pattern);
    let found = parts(path);
    let naive = wanted.len() == found.len() && wanted.iter().zip(&found).all(|(wanted, found)| fits(wanted, found));
    assert_eq!(ours, naive, "{pattern:?} and {path:?}");
}

fn fits(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=text.len()).any(|skipped| fits(rest, &text[skipped..])),
        (['?', rest @ ..], [_, others @ ..]) => fits(rest, others),
        ([one, rest @ ..], [other, others @ ..]) => one == other && fits(rest, others),
        _ => false,
    }
}

pub(crate) fn name_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "../../a\0a",
        "a/b\0a%2Fb",
        "A\0a",
        "1.a\0a",
        ".\0..",
        "a b\0a+b",
        "\u{e9}\0e\u{301}",
        "a\\b\0a/b",
        "a//b\0a/b",
    ];
    seeds.map(|seed| seed.as_bytes().to_vec()).to_vec()
}

/// Checks that different role names have different file names, and that different target paths have different URLs.
/// Also checks that no file name and no URL leads outside the folder of the repository. Each input is one name, a zero
/// byte and another name.
pub(crate) fn names(input: &[u8]) {
    let Some((one, other)) = two(input) else { return };
    if let (Ok(role), Ok(second)) = (RoleName::delegated(one), RoleName::delegated(other)) {
        for version in [None, Version::new(12)] {
            let file = role.file_name(version);
            assert!(is_plain(&file), "{file}");
            assert_eq!(file == second.file_name(version), one == other, "{one:?} and {other:?}");
        }
        // A file name with a version must differ from every file name without a version. Names with digits are left
        // out, because the role `12.a` has the same file name as version 12 of the role `a`.
        if second.as_str().bytes().all(|byte| !byte.is_ascii_digit()) {
            assert_ne!(role.file_name(Version::new(12)), second.file_name(None));
        }
    }
    if let (Ok(path), Ok(second)) = (TargetPath::new(one), TargetPath::new(other)) {
        for prefix in [None, Some("00ff")] {
            let (Ok(url), Ok(second)) = (path.url_path(prefix), second.url_path(prefix)) else { continue };
            let parts: Vec<&str> = url.split('/').collect();
            assert!(parts.iter().all(|part| *part != ".." && *part != "."), "{url}");
            assert!(parts.iter().all(|part| part.is_empty() || is_plain(part)), "{url}");
            assert!(!url.starts_with('/'), "{url}");
            assert_eq!(url == second, one == other, "{one:?} and {other:?}");
        }
        if let Ok(file) = path.file_path() {
            let parts: Vec<&str> = file.split('/').collect();
            assert!(parts.iter().all(|part| !part.is_empty() && *part != "." && *part != ".."), "{file}");
            assert!(!file.contains(['\\', '\0']), "{file:?}");
        }
    }
}

/// Returns `true` if `name` is a single segment of a URL and has no character with a special meaning for servers or
/// file systems.
fn is_plain(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
    !name.is_empty() && name != "." && name != ".." && name.bytes().all(is_plain)
}

fn two(input: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(input).ok()?.split_once('\0')
}
