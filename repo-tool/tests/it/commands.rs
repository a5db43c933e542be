//! The command line from the inside: what it leaves in the policy.

use std::path::Path;

use lastmile_repo_tool::cli::{self, Exit};
use lastmile_repo_tool::policy::Policy;
use tempfile::TempDir;

/// Runs one command line in the repository `folder`.
fn run(folder: &TempDir, args: &[&str]) -> Exit {
    let start = ["lastmile-repo", "--quiet", "-C", folder.path().to_str().unwrap()];
    cli::run(start.iter().chain(args).map(Into::into))
}

fn repository() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(&folder, &["init", "--unencrypted-keys"]), Exit::Done);
    folder
}

fn keys_of(folder: &TempDir, entry: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder.path().join("repo.toml")).unwrap();
    let policy = Policy::parse(&text, Path::new("repo.toml")).unwrap();
    let role = lastmile_metadata::RoleName::listed(entry).unwrap();
    policy.role(&role).keys.iter().map(ToString::to_string).collect()
}

#[test]
fn the_policy_never_forgets_a_key_that_other_bins_trust() {
    let folder = repository();
    for name in ["old", "new"] {
        assert_eq!(run(&folder, &["key", "generate", name, "--unencrypted"]), Exit::Done);
    }
    assert_eq!(run(&folder, &["bins", "--bit-length", "1", "--prefixes", "--key", "old"]), Exit::Done);
    assert_eq!(run(&folder, &["rotate", "bin-0", "--add", "new", "--remove", "old"]), Exit::Done);
    assert_eq!(keys_of(&folder, "bin-*"), ["file:keys/old.pem", "file:keys/new.pem"]);
    assert_eq!(run(&folder, &["rotate", "bin-1", "--add", "new", "--remove", "old"]), Exit::Done);
    assert_eq!(keys_of(&folder, "bin-*"), ["file:keys/new.pem"]);
}

#[test]
fn the_expiry_of_a_role_that_is_not_there_cannot_be_set() {
    let folder = repository();
    let before = std::fs::read(folder.path().join("repo.toml")).unwrap();
    assert_eq!(run(&folder, &["set-expiry", "timestmp", "3"]), Exit::NoSuchName);
    assert_eq!(run(&folder, &["set-expiry", "timestamp", "0"]), Exit::Usage);
    assert_eq!(run(&folder, &["set-expiry", "timestamp", "4294967295"]), Exit::Usage);
    assert_eq!(std::fs::read(folder.path().join("repo.toml")).unwrap(), before);
    assert_eq!(run(&folder, &["set-expiry", "timestamp", "3"]), Exit::Done);
}

#[test]
fn the_policy_never_forgets_a_role_that_goes_on_being_trusted() {
    let folder = repository();
    for name in ["team", "bins"] {
        assert_eq!(run(&folder, &["key", "generate", name, "--unencrypted"]), Exit::Done);
        assert_eq!(run(&folder, &["delegate", name, "--paths", "*", "--key", name]), Exit::Done);
    }
    let bins = ["bins", "--bit-length", "1", "--role", "bins", "--name-prefix", "team"];
    assert_eq!(run(&folder, &bins), Exit::Done);
    assert_eq!(keys_of(&folder, "team-*"), ["file:keys/bins.pem"]);

    // Taken back in a change that waits, and then not.
    let targets = folder.path().join("keys/targets-1.pem");
    let elsewhere = folder.path().join("elsewhere.pem");
    std::fs::rename(&targets, &elsewhere).unwrap();
    assert_eq!(run(&folder, &["undelegate", "team"]), Exit::Done);
    assert_eq!(run(&folder, &["discard"]), Exit::Done);
    assert_eq!(keys_of(&folder, "team"), ["file:keys/team.pem"]);

    // The bins of another role have a name that begins alike.
    std::fs::rename(&elsewhere, &targets).unwrap();
    assert_eq!(run(&folder, &["undelegate", "team"]), Exit::Done);
    assert_eq!(keys_of(&folder, "team-*"), ["file:keys/bins.pem"]);
}

#[test]
fn who_revokes_a_key_that_cron_used_is_told_that_cron_cannot_use_the_new_one() {
    let folder = repository();
    let revoke = |key: &str, further: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lastmile-repo"));
        command.env("LASTMILE_PASS_PHRASE", "pass").arg("-C").arg(folder.path()).args(["revoke", key]).args(further);
        let output = command.output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(!revoke("timestamp-1", &["--unencrypted-online-keys"]).contains("needs the pass-phrase"));
    assert!(revoke("timestamp-2", &[]).contains("needs the pass-phrase"));
}
