//! Checks that every requirement in `spec-rows.txt` has a line in `COVERAGE.md` or a test whose name contains the ID of
//! the requirement. Each line of `spec-rows.txt` also names one or two source files, which must contain a comment about
//! the requirement.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A requirement: its ID, its slug (the ID as it is written in test names), and the files that implement or enforce it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    id: String,
    slug: String,
    files: Vec<String>,
}

impl Row {
    /// Returns the text with which comments refer to this requirement: the section (such as `5.3.1`), the decision
    /// (such as `D3`) or the TAP. If the requirement has no numbered subsection, returns the ID.
    fn reference(&self) -> String {
        let Some((kind, rest)) = self.id.split_once('-') else { return self.id.clone() };
        match rest.split(['-', '–']).next().unwrap() {
            number if kind == "TAP" => format!("TAP {number}"),
            "CJ" => "4.1".to_owned(),
            section if section.contains('.') => section.to_owned(),
            _ => self.id.clone(),
        }
    }
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn rows() -> Vec<Row> {
    let text = read(project().join("tests/spec-rows.txt"));
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(row).collect()
}

fn row(line: &str) -> Row {
    let (rule, files) =
        line.split_once(" | ").unwrap_or_else(|| panic!("this line of spec-rows.txt names no file: {line}"));
    let files = files.split(' ').map(str::to_owned).collect();
    let words: Vec<&str> = rule.split(' ').collect();
    let id = words[0].to_owned();
    let given = words[1].strip_prefix('[').and_then(|slug| slug.strip_suffix(']'));
    // A row that covers several steps has the slug of the first step.
    let first = id.split('–').next().unwrap().replace("W-5.3.7-8", "W-5.3.7");
    let slug = given.map_or_else(|| first.to_lowercase().replace(['.', '-'], "_"), str::to_owned);
    Row { id, slug, files }
}

/// Returns the slugs in the name of a test. A slug is at the start of the name or follows `_and_`.
fn carried<'a>(test: &str, slugs: &BTreeSet<&'a str>) -> Vec<&'a str> {
    let claims = test.split("_and_");
    let longest = |claim: &str| {
        let fits = |slug: &&&str| claim == **slug || claim.starts_with(&format!("{slug}_"));
        slugs.iter().filter(fits).max_by_key(|slug| slug.len()).copied()
    };
    claims.filter_map(longest).collect()
}

/// Returns the names of all functions with `#[test]` or `#[tokio::test]` in the folders that can contain tests of
/// requirements.
pub(crate) fn tests() -> BTreeSet<String> {
    let folders = ["keys", "metadata", "attest", "client", "repo-tool", "tests"];
    folders.iter().flat_map(|folder| tests_below(&project().join(folder))).collect()
}

pub(crate) fn tests_below(folder: &Path) -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for file in sources(folder) {
        let text = read(file);
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            let attribute = line.starts_with("#[");
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(name) = line.trim_start_matches("async ").strip_prefix("fn ").filter(|_| is_test) {
                tests.insert(name.split('(').next().unwrap().to_owned());
            }
            is_test &= attribute;
        }
    }
    tests
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && !["target", "node_modules"].iter().any(|name| path.ends_with(name)) {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Reads from `COVERAGE.md` why requirements have no test. The lines have the form ``- `ID`: reason``.
fn excused() -> BTreeMap<String, String> {
    let text = read(project().join("tests/COVERAGE.md"));
    let lines = text.lines().filter_map(|line| line.strip_prefix("- ")?.split_once(": "));
    lines.map(|(id, why)| (id.trim_matches('`').to_owned(), why.to_owned())).collect()
}

fn tested() -> BTreeMap<String, Vec<String>> {
    let rows = rows();
    let slugs: BTreeSet<&str> = rows.iter().map(|row| row.slug.as_str()).collect();
    let mut tested: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for test in tests() {
        for slug in carried(&test, &slugs) {
            tested.entry(slug.to_owned()).or_default().push(test.clone());
        }
    }
    tested
}

#[test]
fn every_requirement_has_a_test_or_a_reason() {
    let tested = tested();
    let excused = excused();
    let lost: Vec<_> =
        rows().into_iter().filter(|row| !tested.contains_key(&row.slug) && !excused.contains_key(&row.id)).collect();
    assert!(lost.is_empty(), "these requirements have neither a test nor a line in COVERAGE.md: {lost:#?}");
}

#[test]
fn every_reason_is_for_a_requirement_that_has_no_test() {
    let tested = tested();
    let rows: BTreeMap<_, _> = rows().into_iter().map(|row| (row.id, row.slug)).collect();
    for (id, why) in excused() {
        let slug = rows.get(&id).unwrap_or_else(|| panic!("COVERAGE.md: {id} is not in spec-rows.txt"));
        assert_eq!(tested.get(slug), None, "COVERAGE.md: {id} has a test, so remove its line");
        assert!(why.split(' ').count() > 4, "COVERAGE.md: explain why {id} has no test");
    }
}

/// Returns `true` if `text` contains `reference` as a whole: `5.3.1` is in `(5.3.1)`, but not in `5.3.11` or `5.3.1.2`.
fn mentions(text: &str, reference: &str) -> bool {
    text.match_indices(reference).any(|(start, found)| {
        let mut after = text[start + found.len()..].chars();
        let ends = match after.next() {
            Some('.') => !after.next().is_some_and(|next| next.is_ascii_digit()),
            next => !next.is_some_and(char::is_alphanumeric),
        };
        let before = text[..start].chars().next_back();
        ends && !before.is_some_and(|before| before.is_alphanumeric() || before == '.')
    })
}

/// Returns the text of a document, or the comments of a source file. The `//!` comment at its start and everything in
/// its module `tests` are left out.
fn explanations(file: &str) -> String {
    let text = read(project().join(file));
    if !file.ends_with(".rs") {
        return text;
    }
    let code = text.lines().take_while(|line| *line != "mod tests {").map(str::trim_start);
    code.filter(|line| line.starts_with("//") && !line.starts_with("//!")).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_requirement_is_explained_in_its_file() {
    let mut missing = Vec::new();
    for row in rows() {
        assert!((1..=2).contains(&row.files.len()), "{}: expected one or two files", row.id);
        for file in &row.files {
            let is_test = file.split('/').any(|part| part == "tests") || file.ends_with("tests.rs");
            assert!(!is_test, "{}: expected a source file, found the test {file}", row.id);
            if !mentions(&explanations(file), &row.reference()) {
                missing.push(format!("{}: no comment in {file} mentions {}", row.id, row.reference()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn references_are_found_as_a_whole() {
    for (text, is_found) in [
        ("// 5.3.1: each root.", true),
        ("/// Requests a root (5.3.1, 5.3.3).", true),
        ("// See 5.3.1.", true),
        ("// 5.3.11: the keys.", false),
        ("// 5.3.1.2: no such section.", false),
        ("// 15.3.1 and 4.5.3.1", false),
    ] {
        assert_eq!(mentions(text, "5.3.1"), is_found, "{text}");
    }
    assert!(mentions("(decision D3)", "D3") && !mentions("D31", "D3") && !mentions("RD3", "D3"));
}

#[test]
fn no_two_requirements_have_the_same_slug() {
    let rows = rows();
    let of = |start: &str| rows.iter().filter(|row| row.id.starts_with(start)).count();
    let counts = ["G-", "F-", "W-", "R-", "A", "D", "TAP-"].map(of);
    assert_eq!((counts, rows.len()), ([15, 61, 47, 20, 23, 8, 2], 176));
    let slugs: BTreeSet<_> = rows.iter().map(|row| &row.slug).collect();
    assert_eq!(slugs.len(), rows.len());
}
