//! Names and phrases that do not return: words that only this project used where the field has a term of its own.
//!
//! `CONTRIBUTING.md` says how we write. This list cannot judge a sentence; it only keeps the words that readers stumbled over.

use std::path::Path;

use crate::style::{shown, text};

/// What is declared under none of these names: a type, a trait, a module, a constant or a function.
const NAMES: &[&str] = &[
    "Ahead",
    "Arrival",
    "Asked",
    "Goal",
    "Hopeless",
    "KnownTargets",
    "MachineError",
    "Opened",
    "Patience",
    "Road",
    "RoadError",
    "Sink",
    "Stamp",
    "Tidied",
    "ahead",
    "doubt",
    "forgive",
    "judged",
    "opened",
    "opening",
    "overtake",
    "paper",
    "road",
    "sink",
    "spread",
    "stamp",
    "unforeseen",
];

/// Phrases that occur neither in code nor in documents, in lower case; as they would be written within one line.
const PHRASES: &[&str] = &[
    "a key serves",
    "at hand",
    "by a way that",
    "change that waits",
    "come to nothing",
    "for ever",
    "is no key",
    "keys apart",
    "on the road",
    "on their way",
    "on the way to that",
    "sit elsewhere",
    "somebody on the",
    "sits elsewhere",
    "that there are",
    "throw out",
    "thrown out",
    "throws out",
    "vouch",
    "what may pass",
    "what waits",
];

/// Where a declaration begins.
const KEYWORDS: &[&str] = &["const", "enum", "fn", "mod", "static", "struct", "trait", "type"];

/// The words and names in `file` that are on the lists, each with its line.
pub(crate) fn check(project: &Path, file: &Path, broken: &mut Vec<String>) {
    let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let is_code = file.extension().is_some_and(|ending| ending == "rs");
    if is_code && NAMES.contains(&name) {
        broken.push(format!("{}: `{name}` is a name that only this project used", shown(project, file)));
    }
    for (number, line) in text(file).lines().enumerate() {
        let place = || format!("{}:{}", shown(project, file), number + 1);
        if let Some(name) = declared(line).filter(|name| is_code && NAMES.contains(name)) {
            broken.push(format!("{}: `{name}` is a name that only this project used", place()));
        }
        let line = line.to_lowercase();
        for phrase in PHRASES.iter().filter(|phrase| line.contains(*phrase)) {
            broken.push(format!("{}: say it otherwise than `{phrase}`", place()));
        }
    }
}

/// The name that a line of Rust declares.
fn declared(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub") || *word == "async");
    words.next().filter(|word| KEYWORDS.contains(word))?;
    words.next()?.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

#[cfg(test)]
mod tests {
    use super::declared;

    #[test]
    fn finds_the_name_that_a_line_declares() {
        for (line, name) in [
            ("pub(crate) struct Road {", Some("Road")),
            ("    fn sink<T>(", Some("sink")),
            ("pub async fn forgive()", Some("forgive")),
            ("mod road;", Some("road")),
            ("let road = 1;", None),
            ("// fn road", None),
        ] {
            assert_eq!(declared(line), name, "{line}");
        }
    }
}
