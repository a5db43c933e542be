//! Tests for each row of the tables in `docs/threat-model.md`, with repositories that `lastmile-repo` made.
//!
//! The name of a test starts with the ID of its row. Every row must have a test, and every test must belong to a row.

mod attacks;
mod bins;
mod policies;
mod stolen;
mod useless_keys;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Returns the IDs of the rows in `docs/threat-model.md`, from the first cell of each table line.
fn rows() -> BTreeSet<String> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/threat-model.md")).unwrap();
    let tables = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let rows: Vec<&str> = tables.filter(|cell| *cell != "id" && !cell.starts_with("--")).collect();
    let ids: BTreeSet<String> = rows.iter().map(|id| id.to_lowercase()).collect();
    assert_eq!(ids.len(), rows.len(), "an ID is used twice: {rows:?}");
    ids
}

#[test]
fn every_row_of_the_threat_model_has_a_test_and_every_test_has_a_row() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/threat_model");
    let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for test in crate::coverage::tests_below(&folder) {
        let id = test.split('_').next().unwrap().to_owned();
        tests.entry(id).or_default().push(test);
    }
    let tested: BTreeSet<String> = tests.keys().cloned().collect();
    let rows = rows();
    assert!(rows.len() > 20, "{rows:?}");
    let (untested, unknown): (Vec<_>, Vec<_>) =
        (rows.difference(&tested).collect(), tested.difference(&rows).collect());
    assert!(untested.is_empty(), "these rows of docs/threat-model.md have no test: {untested:?}");
    assert!(
        unknown.is_empty(),
        "docs/threat-model.md has no rows with these IDs, which start the names of tests: {unknown:?}, {tests:?}"
    );
}
