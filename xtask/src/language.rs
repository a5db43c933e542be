//! Lists of names and phrases that are forbidden because readers did not understand them.
//!
//! `CONTRIBUTING.md` describes the style. The lists find only a few words; they cannot tell whether a sentence is
//! clear.

use std::path::Path;

use crate::style::{shown, text};

/// Names that no module, type, trait, constant or function may have.
const NAMES: &[&str] = &[
    "Ahead",
    "Arrival",
    "Asked",
    "Attempts",
    "Computed",
    "Dice",
    "DrivenUp",
    "Goal",
    "Hopeless",
    "KnownTargets",
    "LONGEST",
    "Look",
    "Loss",
    "MachineError",
    "NAMED",
    "Notify",
    "Odd",
    "Opened",
    "PATIENCE",
    "Paper",
    "Patience",
    "Play",
    "ReadParts",
    "Road",
    "RoadError",
    "Scene",
    "Sink",
    "Stamp",
    "StartAnew",
    "Taken",
    "Tidied",
    "Traced",
    "Visit",
    "ahead",
    "doubt",
    "filled",
    "forgive",
    "ingest",
    "judged",
    "knowing",
    "lacks",
    "looked_at",
    "meet",
    "must_look",
    "opened",
    "opening",
    "overtake",
    "paper",
    "road",
    "settle",
    "sink",
    "spread",
    "stamp",
    "unforeseen",
];

/// Phrases that no line of code or documentation may contain as whole words, in lower or upper case.
const PHRASES: &[&str] = &[
    "a key serves",
    "at hand",
    "before the attacks that",
    "by a way that",
    "carried apart",
    "carry keys apart",
    "change that waits",
    "come to nothing",
    "for ever",
    "is no key",
    "keys apart",
    "of which is known",
    "on the road",
    "on the way to that",
    "on their way",
    "sit elsewhere",
    "sits elsewhere",
    "somebody on the",
    "take in a key",
    "that there are",
    "those that targets had",
    "throw out",
    "thrown out",
    "throws out",
    "told from outside",
    "vouch",
    "vouched",
    "vouches",
    "vouching",
    "what may pass",
    "what waits",
];

/// The keywords that precede the name in a declaration.
const KEYWORDS: &[&str] = &["const", "enum", "fn", "mod", "static", "struct", "trait", "type"];

/// Adds a message to `broken` for every listed name or phrase in `file`.
pub(crate) fn check(project: &Path, file: &Path, broken: &mut Vec<String>) {
    let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let is_code = file.extension().is_some_and(|ending| ending == "rs");
    if is_code && NAMES.contains(&name) {
        broken.push(format!("{}: rename the file; `{name}` is not allowed", shown(project, file)));
    }
    for (number, line) in text(file).lines().enumerate() {
        let location = || format!("{}:{}", shown(project, file), number + 1);
        if let Some(name) = declared(line).filter(|name| is_code && NAMES.contains(name)) {
            broken.push(format!("{}: rename it; `{name}` is not allowed", location()));
        }
        for phrase in phrases(line) {
            broken.push(format!("{}: reword it; `{phrase}` is not allowed", location()));
        }
    }
}

/// Returns the listed phrases in a line. A phrase matches whole words: "for ever" does not match "for every".
fn phrases(line: &str) -> Vec<&'static str> {
    let line = line.to_lowercase();
    let is_letter = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
    let contains = |phrase: &str| {
        let mut starts = line.match_indices(phrase).map(|(start, _)| line.split_at(start));
        starts.any(|(before, rest)| {
            let after = rest.get(phrase.len()..).unwrap_or_default();
            !is_letter(before.chars().next_back()) && !is_letter(after.chars().next())
        })
    };
    PHRASES.iter().copied().filter(|phrase| contains(phrase)).collect()
}

/// Returns the name that a line of Rust declares.
fn declared(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub") || *word == "async");
    words.next().filter(|word| KEYWORDS.contains(word))?;
    words.next()?.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

#[cfg(test)]
mod tests {
    use super::{declared, phrases};

    #[test]
    fn a_phrase_matches_whole_words_only() {
        assert_eq!(phrases("It stays for ever."), ["for ever"]);
        assert_eq!(phrases("For Ever"), ["for ever"]);
        assert!(phrases("one for every role, a voucher, a scaffold for everything").is_empty());
        assert_eq!(phrases("one for every role, and for ever"), ["for ever"]);
    }

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
