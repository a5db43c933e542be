//! Runs the attack scenarios in the crate `lastmile_attacks` against the library and against a client process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use lastmile_attacks::external::{self, Program, Verdict};
use lastmile_attacks::{self as scenario, Scenario, in_process};

/// The maximum number of cases of a scenario that run against a client process. Starting a process for every case would
/// be slow. All cases run against the library.
const SAMPLES_OUTSIDE: usize = 4;

/// The minimum number of cases that run against a client process. If a case is removed on purpose, lower this number.
const CASES_OUTSIDE: usize = 374;

fn without_fault(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} cases fail:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_library_refuses_every_attack_and_recovers_and_the_page_shows_its_errors() {
    let results = in_process::run_all(&scenario::all());
    let wrong = results.iter().filter_map(|(scenario, case, result)| {
        result.as_ref().err().map(|wrong| format!("{} [{}]: {wrong}", scenario.id, case.sample))
    });
    without_fault(&wrong.collect::<Vec<_>>());
    let written = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/attacks.md")).unwrap();
    let differing = scenario::page::page(&results)
        .lines()
        .zip(written.lines())
        .find(|(now, before)| now != before)
        .map(|(now, before)| format!("expected: {now}\nfound: {before}"));
    let is_same = written == scenario::page::page(&results);
    assert!(is_same, "docs/attacks.md is not up to date; its introduction says how to generate it\n{differing:?}");
}

#[test]
fn a_client_process_refuses_every_attack_that_runs_externally() {
    let client = Program::new(&[env!("CARGO_BIN_EXE_lastmile-conformance").into()], |name| std::env::var_os(name));
    let taken = Mutex::new(BTreeMap::new());
    let results = scenario::run_cases(0, &scenario::all(), |scenario, case| {
        let is_chosen = case.runs_externally() && {
            let mut taken = taken.lock().unwrap();
            let count = taken.entry(scenario.id).or_insert(0);
            *count += 1;
            *count <= SAMPLES_OUTSIDE
        };
        is_chosen.then(|| external::run(case, &client).expect("the client can be started"))
    });
    let ran = results.iter().filter(|(_, _, result)| result.is_some()).count();
    assert!(ran >= CASES_OUTSIDE, "only {ran} cases ran against the client process");
    let wrong = results.into_iter().filter_map(|(Scenario { id, .. }, case, result)| {
        let (verdict, seen) = result?;
        (!verdict.is_expected()).then(|| format!("{id} [{}]: {verdict}: {seen}", case.sample))
    });
    without_fault(&wrong.collect::<Vec<_>>());
}

/// Runs the attack lab on `client`. The first array counts the attacks by their result: withstood, accepted, crashed,
/// hung, not recovered. The second array counts the cases in which the client was not strict enough, and the cases in
/// which it was too strict.
fn report(attacks: &[&str], client: &[&str]) -> ([u64; 5], [u64; 2]) {
    let mut command = Command::new(crate::cli::program("lastmile-repo"));
    command.args(["attack-lab", "--json", "--seconds", "5"]);
    command.args(attacks.iter().flat_map(|id| ["--only", id])).arg("--").args(client);
    let output = command.output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let count = |part: &str, word: &str| report[part]["totals"][word].as_u64().unwrap();
    let unsafe_ones = Verdict::UNSAFE.map(|verdict| count("security", &verdict.to_string()));
    let is_secure = unsafe_ones == [0; 4];
    assert_eq!(report["security"]["passed"], serde_json::json!(is_secure));
    assert_eq!(
        output.status.code(),
        Some(if is_secure { 0 } else { 7 }),
        "only unsafe results may change the exit code"
    );
    let [accepted, crashed, hung, not_recovered] = unsafe_ones;
    let strictness = Verdict::STRICTNESS.map(|verdict| count("strictness", &verdict.to_string()));
    ([count("security", "withstood"), accepted, crashed, hung, not_recovered], strictness)
}

#[test]
fn the_attack_lab_reports_that_lastmile_refuses_the_attacks() {
    let client = env!("CARGO_BIN_EXE_lastmile-conformance");
    assert_eq!(report(&["CVE-2026-23991-stored", "3.2-R3"], &[client]), ([2, 0, 0, 0, 0], [0, 0]));
}

/// The client under test must not inherit variables with pass-phrases, tokens or proxies from the attack lab.
#[cfg(unix)]
#[test]
fn the_attack_lab_hides_the_environment_from_the_client() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let script = format!(r#"env >>'{}'; "$0" "$@""#, seen.display());
    let mut command = Command::new(crate::cli::program("lastmile-repo"));
    command.args(["attack-lab", "--only", "3.2-R3", "--", "sh", "-c", &script]);
    command.arg(env!("CARGO_BIN_EXE_lastmile-conformance"));
    for name in ["LASTMILE_PASS_PHRASE", "LASTMILE_REPO_ALLOWED_KEYS", "GITHUB_TOKEN", "http_proxy"] {
        command.env(name, "secret");
    }
    command.env("TZ", "UTC");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let seen = fs::read_to_string(seen).unwrap();
    assert!(!seen.contains("secret"), "{seen}");
    let names: BTreeSet<&str> = seen.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert!(names.contains("PATH") && names.contains("TZ"), "{names:?}");
    // The shell sets these variables itself.
    let of_the_shell = ["PWD", "OLDPWD", "SHLVL", "_"];
    let is_expected = |name: &&str| external::VISIBLE_VARIABLES.contains(name) || of_the_shell.contains(name);
    assert!(names.iter().all(is_expected), "{names:?}");
    let help = Command::new(crate::cli::program("lastmile-repo")).args(["attack-lab", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains(&external::VISIBLE_VARIABLES.join(" ")), "{help}");
}

/// Runs the attack lab on shell scripts that act as faulty clients. Most scripts run the lastmile client, and misbehave
/// when that client exits with an error.
#[cfg(unix)]
#[test]
fn the_attack_lab_reports_each_kind_of_failure() {
    let clients = [
        ("writes outside its folders", r#""$0" "$@" || { touch "$2/../left"; exit 1; }"#, [0, 1, 0, 0, 0]),
        ("stores a refused file", r#""$0" "$@" || { echo evil >"$2/timestamp.json"; exit 1; }"#, [0, 1, 0, 0, 0]),
        (
            "accepts and stores a refused file",
            r#""$0" "$@" || { echo evil >"$2/timestamp.json"; exit 0; }"#,
            [0, 1, 0, 0, 0],
        ),
        (
            "stores a link to a refused file",
            r#""$0" "$@" || { echo evil >"$2/x"; ln -sf x "$2/timestamp.json"; exit 1; }"#,
            [0, 1, 0, 0, 0],
        ),
        ("dies", r#""$0" "$@" || kill -SEGV $$"#, [0, 0, 1, 0, 0]),
        ("panics", r#""$0" "$@" || exit 101"#, [0, 0, 1, 0, 0]),
        ("waits", r#""$0" "$@" || exec sleep 60"#, [0, 0, 0, 1, 0]),
        (
            "never works again after a refusal",
            r#"test ! -e "$2/no" || exit 1; "$0" "$@" || { touch "$2/no"; exit 1; }"#,
            [0, 0, 0, 0, 1],
        ),
        ("refuses everything", "exit 1", [0, 0, 0, 0, 1]),
        ("does nothing", "exit 0", [0, 0, 0, 0, 1]),
    ];
    for (what, script, expected) in clients {
        let client = ["sh", "-c", script, env!("CARGO_BIN_EXE_lastmile-conformance")];
        assert_eq!(report(&["3.2-R3"], &client), (expected, [0, 0]), "a client that {what}");
    }
}

/// Runs the attack lab on shell scripts that wrap the lastmile client and make it stricter or less strict.
#[cfg(unix)]
#[test]
fn the_attack_lab_distinguishes_strictness_from_security() {
    // Each entry has a description of the client, the ID of an attack scenario, the script, and two expected numbers of
    // cases: those in which the client is not strict enough, and those in which it is too strict.
    let clients = [
        ("reports a refusal as a success", "3.2-R3", r#""$0" "$@"; exit 0"#, [1, 0]),
        ("accepts malformed metadata", "4.1-trailing", r#""$0" "$@"; exit 0"#, [1, 0]),
        (
            "does not support bins",
            "4.6-bins",
            r#""$0" "$@" || exit 1; ! grep -qs succinct_roles "$2/targets.json""#,
            [0, 1],
        ),
        ("refuses unusual names", "2.2-odd-role-names", r#"case "$*" in *odd/*) exit 1;; esac; "$0" "$@""#, [0, 1]),
    ];
    for (what, attack, script, strictness) in clients {
        let client = ["sh", "-c", script, env!("CARGO_BIN_EXE_lastmile-conformance")];
        assert_eq!(report(&[attack], &client), ([1, 0, 0, 0, 0], strictness), "a client that {what}");
    }
    // If a client reports success for a package that it should refuse, the attack has succeeded, even if the client
    // stored no package.
    let evil = r#""$0" "$@" && exit; for word; do test "$last" = --target-dir && printf 'evil package' >"$word/package"
        last=$word; done; exit 0"#;
    let none =
        r#""$0" "$@" && exit; for word; do test "$last" = --target-dir && rm -f "$word"/*; last=$word; done; exit 0"#;
    for script in [evil, none] {
        let client = ["sh", "-c", script, env!("CARGO_BIN_EXE_lastmile-conformance")];
        assert_eq!(report(&["3.10-online-keys"], &client), ([0, 1, 0, 0, 0], [0, 0]), "{script}");
    }
}

fn rows() -> BTreeSet<String> {
    let text = read("attack-rows.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Parses `attack-coverage.md`. For each attack without a scenario, `attack-coverage.md` names the tests of the attack,
/// or gives the reason why there are none.
fn reasons() -> BTreeMap<String, String> {
    let text = read("attack-coverage.md");
    let lines = text.lines().filter_map(|line| line.strip_prefix("- `")?.split_once("`: "));
    lines.map(|(id, text)| (id.to_owned(), text.to_owned())).collect()
}

#[test]
fn every_row_has_a_scenario_a_test_or_a_reason() {
    let rows = rows();
    let reasons = reasons();
    let tests = crate::coverage::tests();
    let covered: BTreeSet<&str> = scenario::all().iter().flat_map(|scenario| scenario.rows).copied().collect();
    for row in &rows {
        assert!(
            covered.contains(row.as_str()) || reasons.contains_key(row),
            "{row} has no scenario, no test and no reason"
        );
    }
    for row in covered.iter().copied().chain(reasons.keys().map(String::as_str)) {
        assert!(rows.contains(row), "{row} is not in attack-rows.txt");
    }
    for (row, text) in &reasons {
        names_tests_or_a_reason(row, text, &tests);
    }
}

fn names_tests_or_a_reason(row: &str, text: &str, tests: &BTreeSet<String>) {
    match text.strip_prefix("tests ") {
        None => assert!(text.split(' ').count() > 4, "{row} needs a reason"),
        Some(names) => {
            for name in names.split(", ").map(|name| name.trim_matches('`')) {
                assert!(tests.contains(name), "{row}: there is no test `{name}`");
            }
        }
    }
}

/// Scenarios whose result depends on the tool that made the repository must also be tested on repositories that
/// `lastmile-repo` made.
#[test]
fn scenarios_about_stolen_keys_are_tested_on_our_own_repositories_too() {
    let text = read("attack-coverage.md");
    let tests = crate::coverage::tests();
    let lines = text.lines().filter_map(|line| line.strip_prefix("- scenario `")?.split_once("`: "));
    let listed: BTreeMap<&str, &str> = lines.collect();
    let all: BTreeSet<&str> = scenario::all().iter().map(|scenario| scenario.id).collect();
    for (id, text) in &listed {
        assert!(all.contains(id), "there is no scenario {id}");
        names_tests_or_a_reason(id, text, &tests);
    }
    // These are the scenarios about stolen keys, fast-forward attacks, keys that several repositories share, and
    // different files with the same version.
    let is_about_ours =
        |id: &&&str| ["3.10-", "3.11-", "3.12-", "2.4-same-version"].iter().any(|start| id.starts_with(start));
    let missing: Vec<_> = all.iter().filter(is_about_ours).filter(|id| !listed.contains_key(**id)).collect();
    assert!(missing.is_empty(), "attack-coverage.md must have a line `- scenario` for each of these: {missing:?}");
}

/// Every attack on evidence must have a scenario that runs the whole client. Attack 45, which only makes the client
/// slow, is exempt.
#[test]
fn every_attack_on_evidence_has_a_scenario() {
    let table = read("../attest/tests/attacks.md");
    let mut named = BTreeSet::new();
    let mut numbers = 0;
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| number")) {
        let [number, _, _, scenarios] = row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        numbers += 1;
        let own: BTreeSet<&str> = scenarios.split(", ").filter(|id| !id.is_empty()).collect();
        assert!(number == "45" || !own.is_empty(), "attack {number} has no scenario");
        named.extend(own);
    }
    assert_eq!(numbers, 34);
    let all = scenario::all();
    let is_attack = |scenario: &&Scenario| scenario.id.starts_with("7-") && !scenario.attack.starts_with("harmless");
    let attacks: BTreeSet<&str> = all.iter().filter(is_attack).map(|scenario| scenario.id).collect();
    assert_eq!(named, attacks);
}

#[test]
fn no_two_scenarios_share_a_name() {
    let all = scenario::all();
    let ids: BTreeSet<&str> = all.iter().map(|scenario| scenario.id).collect();
    assert_eq!(ids.len(), all.len());
}

#[test]
fn every_patch_applies_and_every_attack_is_named_by_one() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut named = BTreeSet::new();
    for patch in fs::read_dir(project.join("tests/planted-bugs")).unwrap().map(|entry| entry.unwrap().path()) {
        if patch.extension().is_none_or(|ending| ending != "patch") {
            continue;
        }
        let mut git = Command::new("git");
        let status = git.args(["apply", "--check"]).arg(&patch).current_dir(project).status().unwrap();
        assert!(status.success(), "the patch {} no longer applies", patch.display());
        let text = fs::read_to_string(&patch).unwrap();
        let breaks: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Breaks: ")).collect();
        assert!(!breaks.is_empty(), "the patch {} names no scenario that it breaks", patch.display());
        named.extend(breaks.into_iter().map(str::to_owned));
    }
    let attacks: BTreeSet<String> = scenario::all().iter().map(|scenario| scenario.id.to_owned()).collect();
    let differing: Vec<_> = attacks.symmetric_difference(&named).collect();
    assert!(differing.is_empty(), "these scenarios do not exist, or no planted bug breaks them: {differing:?}");
}
