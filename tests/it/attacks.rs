//! The attacks of `lastmile_tests::scenario`, each played against the library and against a process.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use lastmile_tests::scenario::{self, Scenario, library, outside};

/// How many samples of each scenario are played against a process here, where time is short; the library meets all of them.
const SAMPLES_OUTSIDE: usize = 4;

fn without_fault(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} plays are not as they must be:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_library_refuses_every_attack_and_recovers_and_the_page_tells_what_it_says() {
    let played = library::run_all(&scenario::all());
    let wrong = played.iter().filter_map(|(scenario, play, result)| {
        result.as_ref().err().map(|wrong| format!("{} [{}]: {wrong}", scenario.id, play.sample))
    });
    without_fault(&wrong.collect::<Vec<_>>());
    let written = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/attacks.md")).unwrap();
    let differing = scenario::page::page(&played)
        .lines()
        .zip(written.lines())
        .find(|(now, before)| now != before)
        .map(|(now, before)| format!("now: {now}\nthere: {before}"));
    let is_same = written == scenario::page::page(&played);
    assert!(is_same, "docs/attacks.md is not up to date; its head says how it is written\n{differing:?}");
}

#[test]
fn a_process_refuses_every_attack_that_can_be_told_from_outside() {
    let client: [OsString; 1] = [env!("CARGO_BIN_EXE_lastmile-conformance").into()];
    let taken = Mutex::new(BTreeMap::new());
    let played = scenario::side_by_side(0, &scenario::all(), |scenario, play| {
        let is_chosen = play.is_for_others() && {
            let mut taken = taken.lock().unwrap();
            let count = taken.entry(scenario.id).or_insert(0);
            *count += 1;
            *count <= SAMPLES_OUTSIDE
        };
        is_chosen.then(|| outside::run(play, &client).expect("the client can be started"))
    });
    let wrong = played.into_iter().filter_map(|(Scenario { id, .. }, play, result)| {
        let (verdict, seen) = result?;
        (!verdict.is_good()).then(|| format!("{id} [{}]: {verdict}: {seen}", play.sample))
    });
    without_fault(&wrong.collect::<Vec<_>>());
}

#[test]
fn the_attack_lab_tells_that_our_own_client_refuses() {
    let mut command = Command::new(crate::cli::program("lastmile-repo"));
    command.args(["attack-lab", "--json", "--only", "CVE-2026-23991-stored", "--only", "3.2-R3", "--"]);
    let output = command.arg(env!("CARGO_BIN_EXE_lastmile-conformance")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let totals = ["refused", "served", "accepted", "crashed", "hung", "not recovered"];
    assert_eq!(totals.map(|verdict| report["totals"][verdict].as_u64().unwrap()), [1, 1, 0, 0, 0, 0]);
}

/// The ids of `attack-rows.txt`.
fn rows() -> BTreeSet<String> {
    let text = read("attack-rows.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// What `attack-coverage.md` says: the tests of a row, or the reason why there is none.
fn elsewhere() -> BTreeMap<String, String> {
    let text = read("attack-coverage.md");
    let lines = text.lines().filter_map(|line| line.strip_prefix("- `")?.split_once("`: "));
    lines.map(|(id, text)| (id.to_owned(), text.to_owned())).collect()
}

#[test]
fn every_row_has_a_scenario_a_test_or_a_reason() {
    let (rows, elsewhere, tests) = (rows(), elsewhere(), crate::coverage::tests());
    let covered: BTreeSet<&str> = scenario::all().iter().flat_map(|scenario| scenario.rows).copied().collect();
    for row in &rows {
        assert!(covered.contains(row.as_str()) || elsewhere.contains_key(row), "{row} is covered by nothing");
    }
    for row in covered.iter().copied().chain(elsewhere.keys().map(String::as_str)) {
        assert!(rows.contains(row), "{row} is no row of attack-rows.txt");
    }
    for (row, text) in &elsewhere {
        match text.strip_prefix("tests ") {
            None => assert!(text.split(' ').count() > 4, "{row} needs a reason"),
            Some(names) => {
                for name in names.split(", ").map(|name| name.trim_matches('`')) {
                    assert!(tests.contains(name), "{row}: there is no test `{name}`");
                }
            }
        }
    }
}

#[test]
fn no_two_scenarios_share_a_name() {
    let all = scenario::all();
    let ids: BTreeSet<&str> = all.iter().map(|scenario| scenario.id).collect();
    assert_eq!(ids.len(), all.len());
}
