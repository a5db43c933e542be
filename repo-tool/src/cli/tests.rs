//! Tests that call the command as a function, with a simulated clock, terminal and environment.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_cli_support::{Captured, MonitorState};
use serde_json::Value;
use tempfile::TempDir;

use super::*;

/// A maintainer's environment, with a folder for the repository.
struct Home {
    folder: TempDir,
    now: DateTime<Utc>,
    input: &'static str,
    /// The answer to the prompt for a pass-phrase.
    phrase: Option<&'static str>,
}

struct Ran {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Home {
    fn new() -> Home {
        let now = DateTime::from_timestamp(1_900_000_000, 0).unwrap();
        Home { folder: tempfile::tempdir().unwrap(), now, input: "", phrase: None }
    }

    fn run(&self, args: &[&str]) -> Ran {
        let stdout = Captured::default();
        let stderr = Captured::default();
        let repository = self.folder.path().join("repository").into_os_string();
        let phrase = self.phrase;
        let world = World {
            env: Box::new(move |name| (name == REPOSITORY_VARIABLE).then(|| repository.clone())),
            home: Some(self.folder.path().join("home")),
            stdin: Box::new(self.input.as_bytes()),
            stdin_is_terminal: phrase.is_some(),
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            ask_secret: Box::new(move |_| Ok(phrase.unwrap_or_default().to_owned())),
            ..World::isolated(self.now)
        };
        let status = run(["lastmile-repo"].iter().chain(args).map(OsString::from), world);
        Ran { status, stdout: stdout.take_text(), stderr: stderr.take_text() }
    }
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", ran.stdout, ran.stderr))
}

#[test]
fn the_clock_the_environment_and_the_home_directory_come_from_the_world() {
    let mut home = Home::new();
    assert_eq!(home.run(&["init", "--unencrypted-keys", "--quiet"]).status, ExitStatus::Done);
    assert!(home.folder.path().join("home/.config/lastmile-repo/config.toml").exists());
    assert_eq!(json(&home.run(&["status", "--json"]))["roles"][0]["expired"], false);
    home.now += TimeDelta::days(4000);
    let ran = home.run(&["status", "--json"]);
    assert_eq!((ran.status, &json(&ran)["roles"][0]["expired"]), (ExitStatus::Findings, &Value::from(true)));
}

#[test]
fn pass_phrases_and_lists_come_from_the_world() {
    let mut home = Home::new();
    let ran = home.run(&["init"]);
    assert_eq!(ran.status, ExitStatus::Usage);
    assert!(ran.stderr.contains("there is no terminal"), "{}", ran.stderr);
    home.phrase = Some("typed");
    assert_eq!(home.run(&["init"]).status, ExitStatus::Done);
    home.input = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  4  listed.tar\n";
    let ran = home.run(&["add", "--from-list", "-"]);
    assert_eq!(ran.status, ExitStatus::Done, "{}", ran.stderr);
    assert!(ran.stdout.contains("listed.tar"), "{}", ran.stdout);
    home.phrase = Some("mistyped");
    let ran = home.run(&["renew", "--force", "--json"]);
    assert_eq!(json(&ran)["error"]["kind"], "key", "{}", ran.stderr);
}

#[test]
fn an_error_is_printed_once_as_json() {
    let home = Home::new();
    let ran = home.run(&["status", "--json"]);
    let error = &json(&ran)["error"];
    assert_eq!((&error["kind"], &error["exit_code"]), (&Value::from("no-such-name"), &Value::from(3)));
    let message = error["message"].as_str().unwrap();
    assert_eq!((ran.status, ran.stderr), (ExitStatus::NoSuchName, format!("error: {message}\n")));
    let ran = home.run(&["add", "--json"]);
    assert_eq!((ran.status, &json(&ran)["error"]["kind"]), (ExitStatus::Usage, &Value::from("usage")));
    assert_eq!(home.run(&["status"]).stdout, "");
}

#[test]
fn a_monitor_gets_one_line_and_its_exit_codes() {
    let mut home = Home::new();
    let unknown = home.run(&["status", "--monitor"]);
    assert_eq!(unknown.status, MonitorState::Unknown.into());
    assert!(unknown.stdout.starts_with("UNKNOWN: ") && unknown.stdout.lines().count() == 1, "{}", unknown.stdout);
    home.run(&["init", "--unencrypted-keys", "--quiet"]);
    // The timestamp expires after 7 days, and its renewal period is the last 5 of these days.
    for (days, state, expected) in [
        (0, MonitorState::Ok, "OK: timestamp is the first role to expire, 2030-03-24 17:46 UTC"),
        (3, MonitorState::Ok, "OK: timestamp is the first role to expire"),
        (2, MonitorState::Warning, "WARNING: timestamp was not renewed in time and expires 2030-03-24 17:46 UTC"),
        (1, MonitorState::Critical, "CRITICAL: timestamp was not renewed in time and expires"),
        (1, MonitorState::Critical, "CRITICAL: timestamp expired 2030-03-24 17:46 UTC"),
    ] {
        home.now += TimeDelta::days(days);
        let ran = home.run(&["status", "--monitor"]);
        assert_eq!(ran.status, state.into(), "{}", ran.stdout);
        assert!(ran.stdout.starts_with(expected) && ran.stdout.lines().count() == 1, "{}", ran.stdout);
    }
    let ran = home.run(&["status", "--monitor", "--json"]);
    assert_eq!(json(&ran)["state"], "CRITICAL");
}

#[test]
fn status_distinguishes_due_roles_from_overdue_roles() {
    let mut home = Home::new();
    home.run(&["init", "--unencrypted-keys", "--quiet"]);
    home.now += TimeDelta::days(3);
    let due = home.run(&["status"]);
    assert_eq!(due.status, ExitStatus::Done);
    assert!(due.stderr.contains("Due for renewal: timestamp."), "{}", due.stderr);
    home.now += TimeDelta::days(2);
    let overdue = home.run(&["status"]);
    assert_eq!(overdue.status, ExitStatus::Findings);
    assert!(overdue.stdout.contains("OVERDUE, expires in 2 days, 2030-03-24 17:46 UTC"), "{}", overdue.stdout);
}

#[test]
fn renew_reports_which_roles_it_did_not_renew_and_who_can() {
    let mut home = Home::new();
    home.run(&["init", "--unencrypted-keys", "--quiet"]);
    let ran = home.run(&["renew", "--force"]);
    assert!(
        ran.stderr.contains("Not due yet: root (expires 2031-03-17 17:46 UTC), targets (expires"),
        "{}",
        ran.stderr
    );
    home.now += TimeDelta::days(160);
    let here = home.run(&["renew", "--force"]).stderr;
    let expected = "targets was not renewed and expires 2030-09-13 17:46 UTC: run `lastmile-repo renew targets`";
    assert!(here.contains(expected), "{here}");
    std::fs::remove_file(home.folder.path().join("repository/keys/targets-1.pem")).unwrap();
    let without_key = home.run(&["renew", "--force"]).stderr;
    assert!(
        without_key.contains("UTC: 1 of these keys must sign: targets-1; run `lastmile-repo renew targets`"),
        "{without_key}"
    );
}

#[test]
fn strict_verification_fails_on_warnings() {
    let home = Home::new();
    home.run(&["init", "--unencrypted-keys", "--quiet"]);
    assert_eq!(home.run(&["verify", "--strict"]).status, ExitStatus::Done);
    home.run(&["set-threshold", "root", "1", "--quiet"]);
    let lenient = home.run(&["verify", "--json"]);
    assert_eq!(lenient.status, ExitStatus::Done);
    let found = json(&lenient)["findings"].as_array().unwrap().clone();
    let finding = found.iter().find(|finding| finding["rule"] == "root-threshold-of-one").unwrap();
    assert_eq!((&finding["severity"], &finding["role"]), (&Value::from("warning"), &Value::from("root")));
    let strict = home.run(&["verify", "--strict"]);
    assert_eq!(strict.status, ExitStatus::Findings);
    assert!(strict.stderr.contains("warning: one key is enough to sign a new root"), "{}", strict.stderr);
}

#[test]
fn urls_are_checked_before_anything_is_written_and_passwords_are_never_printed() {
    let home = Home::new();
    let repository = home.folder.path().join("repository");
    for url in ["http:///metadata/", "https://h:99999/metadata/", "ftp://h/", "metadata", "http://alice:pa55word@:1/"] {
        let ran = home.run(&["init", "--unencrypted-keys", "--metadata-url", url]);
        assert_eq!(ran.status, ExitStatus::Usage, "{url}: {}", ran.stderr);
        assert!(!repository.exists() && !ran.stderr.contains("pa55word"), "{}", ran.stderr);
    }
    let url = "HTTP://alice:pa55word@127.0.0.1:1/metadata";
    assert_eq!(home.run(&["init", "--unencrypted-keys", "--metadata-url", url]).status, ExitStatus::Done);
    let config = home.folder.path().join("home/.config/lastmile-repo/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("\"http://alice:pa55word@127.0.0.1:1/metadata/\""), "{text}");
    for args in [&["renew", "--force"][..], &["catch-up"], &["verify", url], &["renew", "--force", "--json"]] {
        let ran = home.run(args);
        let printed = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!printed.contains("alice") && !printed.contains("pa55word"), "{printed}");
        assert_eq!(ran.status, ExitStatus::Network, "{printed}");
    }
    std::fs::write(&config, text.replace("127.0.0.1:1", "")).unwrap();
    let ran = home.run(&["renew", "--force"]);
    assert_eq!(ran.status, ExitStatus::Failed);
    assert!(ran.stderr.contains("metadata-url: `http://***@/metadata/` cannot be a base URL"), "{}", ran.stderr);
}

#[test]
fn discard_asks_for_confirmation() {
    let mut home = Home::new();
    assert_eq!(home.run(&["init", "--unencrypted-keys"]).status, ExitStatus::Done);
    let keys = home.folder.path().join("repository/keys");
    std::fs::rename(keys.join("targets-1.pem"), home.folder.path().join("targets-1.pem")).unwrap();
    home.input = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  4  listed.tar\n";
    assert_eq!(home.run(&["add", "--from-list", "-"]).status, ExitStatus::Pending);
    home.phrase = Some("");
    for (answer, status) in [("no\n", ExitStatus::Failed), ("", ExitStatus::Failed), ("yes\n", ExitStatus::Done)] {
        home.input = answer;
        let ran = home.run(&["discard", "--quiet"]);
        assert_eq!(ran.status, status, "{}", ran.stderr);
        assert!(ran.stdout.contains("listed.tar") && ran.stderr.contains("Type yes:"), "{}{}", ran.stdout, ran.stderr);
    }
    assert_eq!(home.run(&["discard"]).status, ExitStatus::NoSuchName);
}

fn run_all(home: &Home, commands: &[(&[&str], ExitStatus)]) {
    for (args, status) in commands {
        let ran = home.run(args);
        assert_eq!(ran.status, *status, "{args:?}: {}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn a_revert_restores_the_configuration_of_a_role_and_removes_it_again() {
    let home = Home::new();
    let config = || std::fs::read_to_string(home.folder.path().join("repository/repo.toml")).unwrap();
    run_all(
        &home,
        &[
            (&["init", "--unencrypted-keys"], ExitStatus::Done),
            (&["key", "generate", "team", "--unencrypted"], ExitStatus::Done),
            (&["delegate", "team", "--paths", "*", "--key", "team"], ExitStatus::Done),
            (&["undelegate", "team"], ExitStatus::Done),
            (&["revert"], ExitStatus::Failed),
        ],
    );
    assert!(!config().contains("team"));
    run_all(&home, &[(&["revert", "--trust-removed-keys"], ExitStatus::Done)]);
    assert!(config().contains("keys = [\"file:keys/team.pem\"]"), "{}", config());
    run_all(&home, &[(&["revert"], ExitStatus::Done)]);
    assert!(!config().contains("team"), "{}", config());
}

#[test]
fn a_revert_lists_no_target_whose_file_is_missing_or_changed() {
    let home = Home::new();
    let file = home.folder.path().join("app");
    std::fs::write(&file, "1").unwrap();
    run_all(
        &home,
        &[
            (&["init", "--unencrypted-keys"], ExitStatus::Done),
            (&["add", file.to_str().unwrap()], ExitStatus::Done),
            (&["remove", "app"], ExitStatus::Done),
        ],
    );
    let targets = std::fs::read_dir(home.folder.path().join("repository/targets")).unwrap();
    let published = targets.map(|entry| entry.unwrap().path()).next().unwrap();
    std::fs::write(&published, "2").unwrap();
    // `--elsewhere` is the former name of the option.
    for option in ["--allow-missing-targets", "--elsewhere"] {
        run_all(&home, &[(&["revert", option], ExitStatus::Refused)]);
    }
    std::fs::remove_file(&published).unwrap();
    run_all(&home, &[(&["revert"], ExitStatus::Refused), (&["revert", "--allow-missing-targets"], ExitStatus::Done)]);
}

#[test]
fn a_revert_is_refused_while_a_change_is_pending() {
    let home = Home::new();
    let file = home.folder.path().join("app");
    std::fs::write(&file, "1").unwrap();
    run_all(
        &home,
        &[(&["init", "--unencrypted-keys"], ExitStatus::Done), (&["add", file.to_str().unwrap()], ExitStatus::Done)],
    );
    let key = home.folder.path().join("repository/keys/targets-1.pem");
    let elsewhere = home.folder.path().join("targets-1.pem");
    std::fs::rename(&key, &elsewhere).unwrap();
    run_all(&home, &[(&["revert"], ExitStatus::Pending)]);
    let refused = home.run(&["revert"]);
    assert!(refused.status == ExitStatus::Failed && refused.stderr.contains("pending"), "{}", refused.stderr);
}

#[test]
fn a_role_whose_name_consists_of_digits_is_published_again_without_consistent_snapshots() {
    let home = Home::new();
    let done = ExitStatus::Done;
    run_all(
        &home,
        &[
            (&["init", "--unencrypted-keys", "--no-consistent-snapshot"], done),
            (&["key", "generate", "seven", "--unencrypted"], done),
            (&["delegate", "7", "--paths", "7/*", "--key", "seven"], done),
            (&["renew", "--force", "7"], done),
            (&["verify"], done),
        ],
    );
}

#[test]
fn bins_with_a_few_targets_are_summarized() {
    let mut home = Home::new();
    let line = |number: usize| format!("{}  4  {number}.tar\n", "0".repeat(64));
    home.input = Box::leak((0..40).map(line).collect::<String>().into_boxed_str());
    assert_eq!(home.run(&["init", "--unencrypted-keys"]).status, ExitStatus::Done);
    assert_eq!(home.run(&["add", "--from-list", "-"]).status, ExitStatus::Done);
    let ran = home.run(&["bins", "--bit-length", "8"]);
    assert_eq!(ran.status, ExitStatus::Done, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("bin-*: 256 roles, each version 1, new"), "{}", ran.stdout);
    assert!(ran.stdout.contains("  … and 20 more\n") && ran.stdout.lines().count() < 60, "{}", ran.stdout);
    std::fs::remove_file(home.folder.path().join("repository/keys/targets-1.pem")).unwrap();
    let ran = home.run(&["renew", "--force", "targets", "bin-*"]);
    assert_eq!(ran.status, ExitStatus::Pending);
    let status = home.run(&["status"]);
    for text in [&ran.stderr, &status.stdout] {
        assert!(text.contains("and 249 more need 1 more signature"), "{text}");
        assert!(text.lines().count() < 40, "{text}");
    }
}

#[test]
fn renew_warns_of_delegated_roles_that_it_did_not_renew() {
    let mut home = Home::new();
    assert_eq!(home.run(&["init", "--unencrypted-keys"]).status, ExitStatus::Done);
    assert_eq!(home.run(&["key", "generate", "team", "--unencrypted"]).status, ExitStatus::Done);
    assert_eq!(home.run(&["delegate", "team", "--paths", "team/*", "--key", "team"]).status, ExitStatus::Done);
    assert_eq!(home.run(&["set-expiry", "team", "30"]).status, ExitStatus::Done);
    assert_eq!(home.run(&["renew", "--force", "team"]).status, ExitStatus::Done);
    home.now += TimeDelta::days(29);
    for args in [&["renew", "--dry-run"][..], &["renew"]] {
        let ran = home.run(args);
        assert_eq!(ran.status, ExitStatus::Done, "{}", ran.stderr);
        assert!(ran.stderr.contains("warning: team was not renewed and expires"), "{}", ran.stderr);
    }
}

#[test]
fn help_is_complete_usage_lines_work_and_options_without_effect_are_refused() {
    use lastmile_cli_support::scope::undescribed;
    assert_eq!(undescribed(&scope::command()), [""; 0]);
    let home = Home::new();
    let usage = |args: &[&str]| {
        let help = home.run(&[args, &["--help"]].concat()).stdout;
        help.lines().find(|line| line.starts_with("Usage: ")).unwrap().to_owned()
    };
    // A name after `--key` or `--paths` would be parsed as another value of that option.
    assert!(usage(&["delegate"]).contains("delegate [OPTIONS] <NAME> --key <KEY>... --paths <PATTERN>..."));
    assert!(usage(&["set-delegation"]).contains("set-delegation <NAME> [OPTIONS]"));
    for (args, option) in [
        (&["completions", "bash", "--dry-run"][..], "--dry-run"),
        (&["--json", "completions", "bash"], "--json"),
        (&["serve", "--accept", "x"], "--accept"),
        (&["demo", "--root", "x"], "--root"),
    ] {
        let ran = home.run(args);
        assert_eq!(ran.status, ExitStatus::Usage, "{args:?}");
        assert!(ran.stderr.contains(&format!("'{option}' cannot be used with the command")), "{}", ran.stderr);
    }
    assert_eq!(home.run(&["help", "key", "import"]).status, ExitStatus::Done);
}

/// Writes a file in the way that Kubernetes mounts a secret, with the links `name -> ..data/name` and `..data ->
/// ..2026`.
fn mount(folder: &Path, name: &str, content: &[u8]) -> String {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
    let data = folder.join("..2026");
    if !data.exists() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&data).unwrap();
        symlink("..2026", folder.join("..data")).unwrap();
    }
    std::fs::write(data.join(name), content).unwrap();
    std::fs::set_permissions(data.join(name), std::fs::Permissions::from_mode(0o400)).unwrap();
    symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn files_named_by_the_user_may_be_links_or_pipes() {
    let mut home = Home::new();
    let secrets = home.folder.path().join("secrets");
    let phrase = mount(&secrets, "pass", b"a phrase\n");
    assert_eq!(home.run(&["init", "--pass-phrase-file", &phrase]).status, ExitStatus::Done);
    let repository = home.folder.path().join("repository");
    // Move the online key to a mounted secret outside the repository.
    let key = repository.join("keys/timestamp-1.pem");
    let mounted = mount(&secrets, "timestamp-1.pem", &std::fs::read(&key).unwrap());
    let config = repository.join("repo.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("file:keys/timestamp-1.pem", &format!("file:{mounted}"))).unwrap();
    std::fs::remove_file(&key).unwrap();
    let renew = ["renew", "--force", "--allow-key", &mounted, "--pass-phrase-file"];
    let ran = home.run(&[&renew[..], &[&phrase]].concat());
    assert_eq!(ran.status, ExitStatus::Done, "{}", ran.stderr);
    home.input = "a phrase\nmore";
    let ran = home.run(&[&renew[..], &["-"]].concat());
    assert_eq!(ran.status, ExitStatus::Done, "{}", ran.stderr);
    let fifo = home.folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::write(fifo, "a phrase\n").unwrap()
    });
    let ran = home.run(&[&renew[..], &[fifo.to_str().unwrap()]].concat());
    assert_eq!(ran.status, ExitStatus::Done, "{}", ran.stderr);
    writer.join().unwrap();
    let root = mount(&secrets, "root.json", &std::fs::read(repository.join("metadata/1.root.json")).unwrap());
    assert_eq!(home.run(&["verify", "--root", &root]).status, ExitStatus::Done);
    let public = mount(&secrets, "partner.pub", &std::fs::read(repository.join("keys/targets-1.pub")).unwrap());
    assert_eq!(home.run(&["key", "show", &public]).status, ExitStatus::Done);
    let line = b"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  4  listed.tar\n";
    let list = mount(&secrets, "list", line);
    let add = ["add", "--allow-key", &mounted, "--pass-phrase-file", &phrase, "--from-list"];
    let ran = home.run(&[&add[..], &[&list]].concat());
    assert_eq!(ran.status, ExitStatus::Done, "{}", ran.stderr);
    let both = home.run(&["add", "--pass-phrase-file", "-", "--from-list", "-"]);
    assert_eq!(both.status, ExitStatus::Usage);
    // Links inside the repository's folder are refused, because somebody else may have created them.
    std::os::unix::fs::symlink(&mounted, &key).unwrap();
    std::fs::write(&config, text).unwrap();
    let ran = home.run(&["renew", "--force", "--pass-phrase-file", &phrase]);
    assert_eq!(ran.status, ExitStatus::Failed, "{}", ran.stderr);
}

#[test]
fn an_error_about_an_empty_file_says_that_it_is_empty() {
    let home = Home::new();
    assert_eq!(home.run(&["init", "--unencrypted-keys"]).status, ExitStatus::Done);
    let empty = home.folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    for args in [
        &["key", "import", empty][..],
        &["init", "other", "--pass-phrase-file", empty],
        &["init", "other", "--pass-phrase-file", "-"],
        &["status", "--root", empty],
        &["add", "--from-list", empty],
        &["rotate", "targets", "--add", empty],
    ] {
        let ran = home.run(args);
        assert_eq!(ran.status, ExitStatus::Failed, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("empty"), "{args:?}: {}", ran.stderr);
    }
}

#[path = "dates_tests.rs"]
mod dates_tests;
#[path = "quiet_tests.rs"]
mod quiet_tests;
#[path = "terminal_tests.rs"]
mod terminal;
