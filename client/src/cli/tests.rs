//! Tests of the program `lastmile`, called as a function: its standard output, its standard error and its exit status.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use clap::Parser as _;
use lastmile_cli_support::Captured;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::args::{AllLimits, Arguments, LIMITS};
use super::*;
use crate::test_repository::{TestRepository, now, root};

pub(super) struct Ran {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

pub(super) struct Home {
    dir: tempfile::TempDir,
    pub(super) repository: TestRepository,
    pub(super) now: DateTime<Utc>,
}

impl Home {
    pub(super) fn new() -> Home {
        let dir = tempfile::tempdir().unwrap();
        let repository = TestRepository::new();
        std::fs::write(dir.path().join("root.json"), root(1, "root", "online")).unwrap();
        let home = Home { dir, repository, now: now() };
        home.publish();
        home
    }

    /// Returns a home directory in which the repository is already trusted under the name `example`.
    pub(super) fn trusting() -> Home {
        let home = Home::new();
        assert_eq!(home.trust("example").status, ExitStatus::Done);
        home
    }

    pub(super) fn trust(&self, name: &str) -> Ran {
        let (file, url) = (self.path("root.json"), format!("file://{}", self.path("repository")));
        self.run(&["trust", "add", name, "--root", &file, "--metadata-url", &url])
    }

    pub(super) fn publish(&self) {
        let dir = self.dir.path().join("repository");
        self.repository.write_to(&dir);
        for (folder, name, content) in [("", "x", "1"), ("docs/", "y", "1")] {
            let hash = hex::encode(Sha256::digest(content));
            std::fs::write(dir.join(format!("targets/{folder}{hash}.{name}")), content).unwrap();
        }
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    pub(super) fn run(&self, args: &[&str]) -> Ran {
        let state = self.path("state");
        run_with(args, self.now, move |name| (name == "LASTMILE_STATE_DIR").then(|| state.clone().into()))
    }
}

pub(super) fn run_with(args: &[&str], now: DateTime<Utc>, env: impl Fn(&str) -> Option<OsString> + 'static) -> Ran {
    let stdout = Captured::default();
    let stderr = Captured::default();
    let world = World {
        stdout: Box::new(stdout.clone()),
        stderr: Box::new(stderr.clone()),
        env: Box::new(env),
        ..World::isolated(now)
    };
    let status = run(["lastmile"].iter().chain(args).map(OsString::from), world);
    Ran { status, stdout: stdout.take_text(), stderr: stderr.take_text() }
}

pub(super) fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn trusting_shows_version_expiry_thresholds_and_keys() {
    let home = Home::new();
    let ran = home.trust("example");
    assert_eq!((ran.status, ran.stderr.as_str()), (ExitStatus::Done, ""));
    assert!(ran.stdout.starts_with("repository example\nroot version 1, expires 2030-01-02T00:00:00Z\n"));
    assert!(ran.stdout.contains("timestamp: 1 of 1 keys must sign\n  "), "{}", ran.stdout);
    let listed = json(&home.run(&["trust", "list", "--json"]));
    assert_eq!(listed["repositories"][0]["root"]["roles"]["root"]["threshold"], 1);
}

#[test]
fn every_limit_can_be_set_and_is_explained() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/clients.md")).unwrap();
    let help = run_with(&["--help"], now(), |_| None).stdout;
    for (name, set) in LIMITS {
        let default = set.value(&mut AllLimits::default());
        assert!(guide.contains(&format!("| `{name}` | {default} |")), "{name} is {default}");
        assert!(help.contains(name), "{name}");
        let typed = ["lastmile", "refresh", "--limit", &format!("{name}=7")].map(OsString::from);
        let arguments = Arguments::try_parse_from(typed).unwrap();
        assert_eq!(set.value(&mut arguments.common.network.all_limits()), 7, "{name}");
    }
    // Every limit in the library must have a name on the command line.
    let fields = format!("{:?}", lastmile_metadata::Limits::default()).matches(": ").count();
    assert_eq!(
        fields,
        LIMITS.len(),
        "`strict_key_ids` of `Limits` is not a limit, and `redirects` is not a field of `Limits`"
    );
}

#[test]
fn an_exceeded_limit_is_reported_with_its_value_and_the_option_that_raises_it() {
    let home = Home::trusting();
    for (limit, value) in [("timestamp_length", 10), ("snapshot_length", 10), ("signatures", 0), ("keys", 1)] {
        let ran = home.run(&["refresh", "--json", "--limit", &format!("{limit}={value}")]);
        // The kind is `limit`, not `untrusted`, because the repository may simply be larger than expected.
        assert_eq!((ran.status, &json(&ran)["error"]["kind"]), (ExitStatus::Failed, &Value::from("limit")));
        assert!(ran.stderr.contains(&format!("limit `{limit}`")), "{}", ran.stderr);
        assert!(ran.stderr.contains(&value.to_string()), "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("`--limit {limit}=NUMBER`")), "{}", ran.stderr);
    }
    assert_eq!(home.run(&["refresh"]).status, ExitStatus::Done);
}

#[test]
fn a_clock_that_moves_during_a_command_is_read_once() {
    let home = Home::trusting();
    let reads = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&reads);
    let state = home.path("state");
    let world = World {
        // If the command read the clock a second time, it would find that all metadata has expired.
        now: Box::new(move || {
            *counted.lock().unwrap() += 1;
            now() + TimeDelta::days(400 * (*counted.lock().unwrap() - 1))
        }),
        env: Box::new(move |name| (name == "LASTMILE_STATE_DIR").then(|| state.clone().into())),
        ..World::isolated(now())
    };
    let args = ["lastmile", "get", "docs/y", "--output", &home.path("out")].map(OsString::from);
    assert_eq!(run(args, world), ExitStatus::Done);
    assert_eq!(*reads.lock().unwrap(), 1);
}

#[test]
fn get_prints_paths_and_nothing_else() {
    let home = Home::trusting();
    let out = home.path("out");
    let ran = home.run(&["get", "x", "docs/y", "--output", &out]);
    assert_eq!((ran.status, ran.stderr.as_str()), (ExitStatus::Done, ""));
    assert_eq!(ran.stdout, format!("{out}/x\n{out}/docs/y\n"));
    assert_eq!(std::fs::read(Path::new(&out).join("docs/y")).unwrap(), b"1");
    let document = json(&home.run(&["get", "x", "--output", &out, "--json"]));
    assert_eq!(document["targets"][0]["target"], "x");
    assert_eq!(document["targets"][0]["file"], format!("{out}/x"));
}

#[test]
fn every_class_of_failure_has_its_exit_code() {
    let home = Home::trusting();
    assert_eq!(home.run(&["get", "none"]).status, ExitStatus::NoSuchName);
    assert_eq!(home.run(&["get"]).status, ExitStatus::Usage);
    assert_eq!(home.run(&["-r", "other", "refresh"]).status, ExitStatus::Usage);
    assert_eq!(home.run(&["refresh", "--ca-file", &home.path("none")]).status, ExitStatus::Failed);
    let repository = home.path("repository");
    let away = home.path("away");
    std::fs::rename(&repository, &away).unwrap();
    assert_eq!(home.run(&["refresh"]).status, ExitStatus::Network);
    std::fs::rename(&away, &repository).unwrap();
    std::fs::write(home.dir.path().join("repository/timestamp.json"), "{}").unwrap();
    let ran = home.run(&["refresh"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (ExitStatus::Refused, ""));
    assert!(ran.stderr.starts_with("error: refused as untrusted\ncaused by: file://"), "{}", ran.stderr);
}

#[test]
fn a_wrong_target_is_refused_and_the_other_targets_are_downloaded() {
    let home = Home::trusting();
    let hash = hex::encode(Sha256::digest("1"));
    std::fs::write(home.path(&format!("repository/targets/{hash}.x")), "2").unwrap();
    let out = home.path("out");
    let ran = home.run(&["get", "x", "docs/y", "--output", &out]);
    assert_eq!(ran.status, ExitStatus::Refused);
    assert_eq!(ran.stdout, format!("{out}/docs/y\n"));
    assert!(!Path::new(&out).join("x").exists());
}

#[test]
fn with_json_a_failure_is_printed_as_one_document() {
    let home = Home::trusting();
    let ran = home.run(&["get", "none", "--json"]);
    assert_eq!(json(&ran)["error"]["exit_code"], 3);
    assert!(ran.stderr.contains("hint: "));
}

#[test]
fn b5_trust_files_that_others_can_change_are_refused_with_the_remedy() {
    let home = Home::new();
    let exposed = |path: &str, mode: u32| {
        std::fs::set_permissions(home.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let refused = |ran: &Ran, path: &str| {
        assert_eq!(ran.status, ExitStatus::Failed);
        assert!(ran.stderr.contains("other users can change it (mode 6"), "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("run `chmod go-w {}`", home.path(path))), "{}", ran.stderr);
    };
    exposed("root.json", 0o666);
    refused(&home.trust("example"), "root.json");
    exposed("root.json", 0o644);
    assert_eq!(home.trust("example").status, ExitStatus::Done);
    for (path, mode) in [("state/example/shipped-root.json", 0o600), ("state/example/settings.json", 0o600)] {
        exposed(path, mode | 0o022);
        refused(&home.run(&["refresh"]), path);
        exposed(path, mode);
    }
    for path in ["state", "state/example", "state/example/metadata", "state/example/metadata/state"] {
        exposed(path, 0o777);
        let ran = home.run(&["refresh"]);
        assert_eq!(ran.status, ExitStatus::Failed, "{path}");
        assert!(ran.stderr.contains(&format!("run `chmod go-w {}`", home.path(path))), "{}", ran.stderr);
        exposed(path, 0o700);
    }
    assert_eq!(home.run(&["refresh"]).status, ExitStatus::Done);
}

#[test]
fn verify_and_status_work_without_the_repository() {
    let home = Home::trusting();
    assert_eq!(home.run(&["status"]).status, ExitStatus::Failed);
    assert_eq!(home.run(&["refresh"]).status, ExitStatus::Done);
    std::fs::remove_dir_all(home.path("repository")).unwrap();
    let right = home.path("right");
    let wrong = home.path("wrong");
    std::fs::write(&right, "1").unwrap();
    std::fs::write(&wrong, "2").unwrap();
    assert_eq!(home.run(&["verify", &right, "--as", "x"]).status, ExitStatus::Done);
    assert_eq!(home.run(&["verify", &wrong, "--as", "x"]).status, ExitStatus::Refused);
    assert_eq!(home.run(&["verify", &right, "--as", "none"]).status, ExitStatus::NoSuchName);
    assert_eq!(home.run(&["list", "--offline", "none"]).status, ExitStatus::Failed);
    assert_eq!(home.run(&["status"]).status, ExitStatus::Done);
}

#[cfg(not(feature = "attest"))]
#[test]
fn without_attest_policies_are_never_ignored_silently() {
    let home = Home::new();
    home.repository.set_member("docs", crate::policies::MEMBER, &serde_json::json!({}));
    home.publish();
    assert_eq!(home.trust("example").status, ExitStatus::Done);
    let out = home.path("out");
    let get = |name| home.run(&["get", name, "--output", &out, "--json"]);
    let error = json(&get("docs/y"))["error"].clone();
    assert_eq!((&error["kind"], &error["exit_code"]), (&Value::from("config"), &Value::from(1)));
    assert_eq!(error["hint"], "install a build of lastmile with the feature `attest`");
    assert_eq!(get("x").status, ExitStatus::Done);
    // The settings may have been written by a build with the feature `attest`.
    let path = home.path("state/example/settings.json");
    let mut settings: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    settings["policy"] = Value::from("/local.toml");
    std::fs::write(&path, settings.to_string()).unwrap();
    for ran in [get("x"), home.run(&["verify", &home.path("out/x"), "--as", "x"])] {
        assert_eq!(ran.status, ExitStatus::Failed);
        assert!(ran.stderr.contains("specify a local policy, but this program was built without"), "{}", ran.stderr);
    }
}

#[test]
fn status_reports_expiring_roles_by_its_exit_code() {
    let mut home = Home::trusting();
    home.run(&["refresh"]);
    assert_eq!(home.run(&["status", "--within", "2"]).status, ExitStatus::Findings);
    home.now += TimeDelta::days(1);
    let ran = home.run(&["status", "--json"]);
    assert_eq!(ran.status, ExitStatus::Refused);
    assert_eq!(json(&ran)["roles"][1]["state"], "expired");
}

#[test]
fn status_says_how_long_the_stored_metadata_can_be_used_without_the_network() {
    let mut home = Home::trusting();
    home.run(&["refresh", "--jitter", "0.001"]);
    let until = lastmile_metadata::format_time(&(home.now + TimeDelta::days(1)));
    assert_eq!(json(&home.run(&["status", "--json"]))["offline_until"], until);
    let last = |ran: &Ran| ran.stdout.lines().last().unwrap().to_owned();
    assert_eq!(last(&home.run(&["status"])), format!("usable without the network until {until} (in 24 h)"));
    home.now += TimeDelta::days(3);
    assert_eq!(last(&home.run(&["status"])), format!("was usable without the network until {until} (2 days ago)"));
}

#[test]
fn with_several_repositories_a_name_is_required() {
    let home = Home::trusting();
    assert_eq!(home.trust("other").status, ExitStatus::Done);
    let ran = home.run(&["refresh"]);
    assert_eq!(ran.status, ExitStatus::Usage);
    assert!(ran.stderr.contains("example, other"), "{}", ran.stderr);
    assert_eq!(home.run(&["refresh", "--repository", "other"]).status, ExitStatus::Done);
    assert_eq!(home.run(&["trust", "remove", "other"]).status, ExitStatus::Done);
    assert_eq!(home.run(&["refresh"]).status, ExitStatus::Done);
}

#[test]
fn trust_reset_restores_a_damaged_repository() {
    let home = Home::trusting();
    home.run(&["refresh"]);
    for file in ["state/floors", "timestamp.json"] {
        std::fs::write(home.path(&format!("state/example/metadata/{file}")), "x").unwrap();
    }
    let ran = home.run(&["refresh"]);
    assert_eq!(ran.status, ExitStatus::Failed);
    assert!(ran.stderr.contains("lastmile trust reset"), "{}", ran.stderr);
    assert_eq!(home.run(&["trust", "reset", "example"]).status, ExitStatus::Done);
    assert_eq!(home.run(&["refresh"]).status, ExitStatus::Done);
}

#[test]
fn trust_list_shows_the_repositories_beside_a_damaged_one() {
    let home = Home::trusting();
    assert_eq!(home.trust("other").status, ExitStatus::Done);
    std::fs::write(home.path("state/example/settings.json"), "x").unwrap();
    let ran = home.run(&["trust", "list"]);
    assert_eq!(ran.status, ExitStatus::Failed);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "example: cannot be used");
    assert!(lines[1].starts_with("other: shipped root version 1, file://"), "{lines:?}");
    assert!(ran.stderr.contains("settings.json"), "{}", ran.stderr);
    let listed = json(&home.run(&["trust", "list", "--json"]))["repositories"].clone();
    assert_eq!((&listed[0]["repository"], &listed[0]["error"]["kind"]), (&"example".into(), &"local".into()));
    assert_eq!((&listed[1]["repository"], &listed[1]["root"]["version"]), (&"other".into(), &1.into()));
}

#[test]
fn without_a_home_directory_the_state_directory_must_be_given() {
    // The XDG Base Directory Specification requires programs to ignore relative paths.
    for state_home in [None, Some("relative")] {
        let stderr = Captured::default();
        let world = World {
            stderr: Box::new(stderr.clone()),
            env: Box::new(move |name| state_home.filter(|_| name == "XDG_STATE_HOME").map(OsString::from)),
            home: Some("/home/of-the-user-database".into()),
            ..World::isolated(now())
        };
        assert_eq!(run(["lastmile", "refresh"].map(OsString::from), world), ExitStatus::Failed);
        let stderr = stderr.take_text();
        assert!(stderr.contains("hint: set one with `--state-dir DIR`"), "{stderr}");
    }
}

#[test]
fn help_completions_and_manuals_go_to_standard_output() {
    for args in [&["--help"][..], &["--version"], &["completions", "bash"], &["man"], &["man", "trust", "add"]] {
        let ran = run_with(args, now(), |_| None);
        assert_eq!((ran.status, ran.stderr.as_str()), (ExitStatus::Done, ""), "{args:?}");
        assert!(!ran.stdout.is_empty());
    }
    assert!(run_with(&["--help"], now(), |_| None).stdout.contains("5  refused as untrusted"));
    assert_eq!(run_with(&["man", "none"], now(), |_| None).status, ExitStatus::Usage);
}

/// A name that would clear the terminal, forge a line of output and hide characters if it were printed unescaped.
const HOSTILE: &str = "k\u{1b}[2J\u{9b}31m\nerror: forged\u{200b}\u{202e}";

#[test]
fn b13_names_cannot_control_the_terminal() {
    let home = Home::trusting();
    let file = home.path(HOSTILE);
    std::fs::write(&file, "1").unwrap();
    let url = format!("file:///{HOSTILE}/");
    let commands: &[&[&str]] = &[
        &["verify", &file, "--as", "x"],
        &["verify", &file, "--as", HOSTILE],
        &["verify", HOSTILE],
        &["get", HOSTILE],
        &["get", "x", "--output", &file],
        &["get", "x", "--output", &home.path(&format!("folder {HOSTILE}"))],
        &["--repository", HOSTILE, "status"],
        &["trust", "add", HOSTILE, "--root", &file, "--metadata-url", &url],
        &["trust", "add", "other", "--root", &file, "--metadata-url", "file:///x/"],
        &["trust", "add", "other", "--root", &home.path("root.json"), "--metadata-url", &url],
        &["trust", "remove", HOSTILE],
        &["--state-dir", &file, "status"],
        &["--state-dir", &home.path(&format!("state {HOSTILE}")), "status"],
        &["list", "--verbose"],
        &["refresh", "--proxy", HOSTILE],
        &["status", "--within", HOSTILE],
        &[HOSTILE],
    ];
    for args in commands {
        for json in [&[][..], &["--json"]] {
            let ran = home.run(&[args, json].concat());
            let all = format!("{}{}", ran.stdout, ran.stderr);
            let raw = |character: char| character != '\n' && lastmile_metadata::is_unprintable(character);
            assert!(!all.contains(raw), "{args:?}: {all:?}");
            assert!(!all.lines().any(|line| line.starts_with("error: forged")), "{args:?}: {all}");
        }
    }
}
