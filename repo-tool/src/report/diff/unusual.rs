//! Unknown members and unusable keys, which a signer must accept by name with `--accept`.

use lastmile_client::text::printable;
use lastmile_metadata::RoleName;
use lastmile_metadata::changes::Pointer;

/// An unknown member or unusable key, which a signer must accept by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusual {
    /// The role whose metadata contains the member or key.
    pub role: RoleName,
    /// The path of the member or key in the signed text.
    pub pointer: Pointer,
    /// The line that describes the member or key.
    pub line: String,
}

impl Unusual {
    /// Returns the full name of this member or key, which the user passes to `--accept`. The name is unique. It is safe
    /// to print, and to paste into a shell between single quotes.
    #[must_use]
    pub fn typed(&self) -> String {
        typed(&format!("{}:{}", self.role.as_str(), self.pointer))
    }

    /// Returns whether `name` is a name of this member or key. There are three names: the full name, the full name
    /// without the role, and the last segment of the full name.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let last = self.pointer.segments().last().map(|last| typed(last));
        [self.typed(), typed(&self.pointer.to_string())].iter().chain(&last).any(|called| called == name)
    }
}

/// Escapes unprintable characters, backslashes (so that escape sequences are unambiguous), and single quotes (which
/// would end a quoted shell argument).
fn typed(text: &str) -> String {
    printable(&text.replace('\\', "\\u{5c}").replace('\'', "\\u{27}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unusual(pointer: &[&str]) -> Unusual {
        Unusual { role: RoleName::ROOT, pointer: pointer.iter().copied().collect(), line: String::new() }
    }

    #[test]
    fn a_name_for_accept_is_unique_and_escapes_special_characters() {
        let cases = [
            (&["a"][..], "root:/a"),
            (&["a", "b"], "root:/a/b"),
            (&["a/b"], "root:/a~1b"),
            (&["it's"], "root:/it\\u{27}s"),
            (&["a\u{200b}"], "root:/a\\u{200b}"),
            (&["a\\u{200b}"], "root:/a\\u{5c}u{200b}"),
            (&["a\n"], "root:/a\\u{a}"),
        ];
        for (pointer, expected) in cases {
            assert_eq!(unusual(pointer).typed(), expected);
        }
    }

    #[test]
    fn a_member_is_accepted_by_its_full_name_or_its_last_segment() {
        let place = unusual(&["keys", "abcd"]);
        for (name, expected) in [
            ("root:/keys/abcd", true),
            ("/keys/abcd", true),
            ("abcd", true),
            ("targets:/keys/abcd", false),
            ("/keys", false),
            ("keys", false),
            ("abc", false),
            ("", false),
        ] {
            assert_eq!(place.is_called(name), expected, "{name}");
        }
    }
}
