//! Escaping of untrusted text for terminals, and hiding of user names and passwords in URLs.

use std::path::Path;

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

/// Returns a path with every [unprintable](is_unprintable) character escaped. Bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn printable_path(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// Escapes each line of a string like [`printable`], but keeps the line feeds.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Escapes every unprintable character of a JSON text, except line feeds, in JSON syntax. The value of the document
/// does not change.
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

/// Returns a URL with `***` instead of its user name and password (RFC 3986, 3.2.1).
#[must_use]
pub fn hide_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    match authority.rfind('@').and_then(|at| rest.get(at..)) {
        Some(rest) => format!("{scheme}://***{rest}"),
        None => url.to_owned(),
    }
}

/// Like [`hide_credentials`], but for text that may not be a valid URL. Hides everything before the last `@` except the
/// scheme, because any part of it may belong to a user name or a password.
#[must_use]
pub fn hide_possible_credentials(text: &str) -> String {
    let Some((before, after)) = text.rsplit_once('@') else { return text.to_owned() };
    let scheme = before.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphabetic()));
    scheme.map_or_else(|| format!("***@{after}"), |(scheme, _)| format!("{scheme}://***@{after}"))
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
        assert_eq!(printable_path(Path::new("a\n\u{1b}b")), "a\\u{a}\\u{1b}b");
        assert_eq!(printable_lines("a\u{7}\r\nb\n"), "a\\u{7}\\u{d}\nb\n");
        for hidden in ['\u{200b}', '\u{200d}', '\u{2066}', '\u{3164}', '\u{feff}', '\u{a0}', '\u{e0100}', '\u{2800}'] {
            assert_eq!(printable(&format!("a{hidden}b")), format!("a{}b", hidden.escape_unicode()));
        }
    }

    #[test]
    fn user_names_and_passwords_of_urls_are_hidden() {
        assert_eq!(hide_credentials("https://u:p@w@h:1/a@b"), "https://***@h:1/a@b");
        assert_eq!(hide_credentials("http://u@h"), "http://***@h");
        for without in ["http://h/@scope/x", "http://h?a@b", "u@h", "file:///a@b"] {
            assert_eq!(hide_credentials(without), without);
        }
        assert_eq!(hide_possible_credentials("https://u:p/w@h/x"), "https://***@h/x");
        assert_eq!(hide_possible_credentials("u:p@h"), "***@h");
        assert_eq!(hide_possible_credentials("u p://x@h"), "***@h");
        assert_eq!(hide_possible_credentials("/a/folder"), "/a/folder");
    }
}
