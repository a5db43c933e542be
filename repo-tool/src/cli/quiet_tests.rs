//! Tests of `--quiet`.

use lastmile_metadata::Version;

use super::*;
use crate::cli::revoke::warn_of_refutation;
use crate::revoke::proof::{ProofRow, Verdict};

#[test]
fn quiet_commands_print_only_errors_and_data() {
    let mut home = Home::new();
    home.input = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  4  listed.tar\n";
    let repository = home.folder.path().join("repository");
    let elsewhere = home.folder.path().join("targets-1.pem");
    let quiet = |home: &Home, args: &[&str], status: ExitStatus| {
        let ran = home.run(&[args, &["--quiet"]].concat());
        assert_eq!(ran.status, status, "{args:?}: {}", ran.stderr);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""), "{args:?}");
    };
    for args in [
        &["init", "--unencrypted-keys"][..],
        &["add", "--from-list", "-"],
        &["remove", "listed.tar", "--dry-run"],
        &["remove", "listed.tar"],
        &["revert", "--allow-missing-targets"],
        &["bins", "--bit-length", "5"],
        &["key", "generate", "new", "--unencrypted"],
        &["renew", "--force", "targets", "bin-*"],
        &["rotate", "timestamp", "--add", "new"],
        &["set-threshold", "root", "1"],
        &["set-expiry", "timestamp", "3"],
        &["revoke", "timestamp-1", "--unencrypted-online-keys"],
    ] {
        quiet(&home, args, ExitStatus::Done);
    }
    std::fs::rename(repository.join("keys/targets-1.pem"), &elsewhere).unwrap();
    assert_eq!(home.run(&["undelegate", "bin", "--quiet"]).status, ExitStatus::Pending);
    quiet(&home, &["sign", "--yes", "--key", elsewhere.to_str().unwrap()], ExitStatus::Done);
    quiet(&home, &["discard", "--yes"], ExitStatus::Done);
    for args in [&["status"][..], &["verify"], &["key", "list"], &["key", "show", "new"], &["bins"]] {
        let ran = home.run(&[args, &["--quiet"]].concat());
        assert!(!ran.stdout.is_empty() && ran.stderr.is_empty(), "{args:?}: {}{}", ran.stdout, ran.stderr);
    }
    let ran = home.run(&["renew", "--force", "--quiet", "--json"]);
    assert_eq!(json(&ran)["outcome"], "published");
}

/// Runs a command with `--quiet`, and checks its exit status and everything that it prints on standard error.
fn assert_reason(home: &Home, args: &[&str], status: ExitStatus, expected: &[&str]) {
    let ran = home.run(&[args, &["--quiet"]].concat());
    assert_eq!(ran.status, status, "{args:?}: {}", ran.stderr);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let fits = lines.len() == expected.len() && lines.iter().zip(expected).all(|(line, start)| line.starts_with(start));
    assert!(fits, "{args:?}: {}", ran.stderr);
}

const UNSIGNED: [&str; 2] = ["Nothing has been published. These signatures are missing:", "  targets version "];

#[test]
fn quiet_commands_print_why_a_change_is_pending() {
    let home = Home::new();
    let path = |name: &str| home.folder.path().join(name).to_str().unwrap().to_owned();
    home.run(&["init", "--unencrypted-keys", "--quiet"]);
    let file = path("file");
    std::fs::write(&file, "content").unwrap();
    std::fs::rename(path("repository/keys/targets-1.pem"), path("targets-1.pem")).unwrap();
    assert_reason(&home, &["add", &file], ExitStatus::Pending, &UNSIGNED);
    let dry = ["The change would be pending, not published. These signatures would be missing:", UNSIGNED[1]];
    assert_reason(&home, &["publish", "--dry-run"], ExitStatus::Pending, &dry);
    assert_reason(&home, &["publish"], ExitStatus::Pending, &UNSIGNED);
    home.run(&["discard", "--yes"]);
    std::fs::rename(path("targets-1.pem"), path("repository/keys/targets-1.pem")).unwrap();
    std::fs::rename(path("repository/keys/timestamp-1.pem"), path("timestamp-1.pem")).unwrap();
    let online = ["Nothing has been published, because this machine lacks private keys of snapshot or timestamp."];
    assert_reason(&home, &["add", &file], ExitStatus::Pending, &online);
    home.run(&["discard", "--yes"]);
    std::fs::create_dir_all(path("repository/staged/targets")).unwrap();
    let files = ["Nothing was published: the pending change has target files, but no metadata."];
    assert_reason(&home, &["publish"], ExitStatus::Pending, &files);
}

#[test]
fn quiet_commands_print_why_a_repository_needs_attention() {
    let home = Home::new();
    home.run(&["init", "--unencrypted-keys", "--quiet"]);
    home.run(&["set-threshold", "root", "1", "--quiet"]);
    let warning = "warning: one key is enough to sign a new root";
    assert_reason(&home, &["verify", "--strict"], ExitStatus::Findings, &[warning]);
    assert_reason(&home, &["verify"], ExitStatus::Done, &[]);
    let path = |name: &str| home.folder.path().join(name).to_str().unwrap().to_owned();
    let (site, public) = (path("site"), format!("file://{}", path("elsewhere")));
    let push = ["push", "--to", &site, "--public-url", &public, "--public-wait", "0"];
    let unreadable = format!("warning: published, but the repository cannot be read from {public}/metadata/: ");
    assert_reason(&home, &push, ExitStatus::Pending, &[&unreadable]);
    std::fs::create_dir(path("elsewhere")).unwrap();
    std::process::Command::new("cp").args(["-r", &format!("{site}/metadata"), &path("elsewhere")]).status().unwrap();
    home.run(&["renew", "--force", "--quiet"]);
    let stale = format!("warning: published, but {public}/metadata/ still serves timestamp version ");
    assert_reason(&home, &["push", "--public-wait", "0"], ExitStatus::Pending, &[&stale]);
}

#[test]
fn a_failed_proof_of_a_revocation_is_explained_despite_quiet() {
    let stderr = Captured::default();
    let mut world = World { stderr: Box::new(stderr.clone()), ..World::isolated(DateTime::UNIX_EPOCH) };
    let output = Output::new(&mut world, OutputOptions { quiet: true, ..OutputOptions::default() });
    let cases = vec![
        ("new state".to_string(), Verdict::Good("reached".to_string())),
        ("forged targets".to_string(), Verdict::Bad("accepted".to_string())),
    ];
    warn_of_refutation(&[ProofRow { root: Version::ONE, until: Version::ONE, cases }], &output);
    assert_eq!(stderr.take_text(), "warning: the proof failed:\n  client with root 1, forged targets: accepted\n");
}
