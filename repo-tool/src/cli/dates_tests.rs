//! Tests of the dates that commands report.

use lastmile_metadata::RoleName;

use super::*;
use crate::Invocation;
use crate::cli::dates::arguments;

#[test]
fn every_change_warns_of_roles_that_were_not_renewed_in_time() {
    let mut home = Home::new();
    home.run(&["init", "--unencrypted-keys", "--quiet"]);
    let file = home.folder.path().join("file");
    std::fs::write(&file, "content").unwrap();
    let add = |home: &Home, name: &str, options: &[&str]| {
        let ran = home.run(&[&["add", file.to_str().unwrap(), "--name", name][..], options].concat());
        assert_eq!(ran.status, ExitStatus::Done, "{}", ran.stderr);
        ran.stderr
    };
    assert!(!add(&home, "a", &[]).contains("not renewed in time"));
    // The root expires after 365 days. Its renewal period is the last 60 of these days, so half of the period has
    // passed after 335 days.
    home.now += TimeDelta::days(336);
    let expected = "warning: not renewed in time: root (expires 2031-03-17 17:46 UTC); run `lastmile-repo renew root` with the \
                    keys of these roles";
    for printed in [add(&home, "b", &[]), home.run(&["remove", "a"]).stderr] {
        assert_eq!(printed.lines().filter(|line| *line == expected).count(), 1, "{printed}");
    }
    let ran = home.run(&["renew", "root"]);
    assert!(!ran.stderr.contains("not renewed in time"), "{}", ran.stderr);
    let valid = "root is valid until 2032-02-16 17:46 UTC. Renew it on or after 2031-12-18 17:46 UTC: run `lastmile-repo renew root`.";
    assert!(ran.stderr.contains(valid), "{}", ran.stderr);
    assert!(!add(&home, "c", &[]).contains("not renewed in time"));
}

fn warnings(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter(|line| line.starts_with("warning: not renewed in time: ")).collect()
}

#[test]
fn every_command_with_a_repository_warns_once_of_roles_that_were_not_renewed_in_time() {
    let mut home = Home::new();
    home.run(&["init", "--unencrypted-keys", "--quiet"]);
    let path = |name: &str| home.folder.path().join(name).to_str().unwrap().to_owned();
    let (file, key, served, other) = (path("file"), path("root-3.pem"), path("served"), path("other"));
    let signer = path("repository/keys/targets-1.pem");
    std::fs::write(&file, "content").unwrap();
    assert_eq!(home.run(&["add", &file, "--quiet"]).status, ExitStatus::Done);
    home.now += TimeDelta::days(166);
    // Half of the 30-day renewal period of targets has passed. Timestamp and snapshot are renewed, so that only targets
    // is overdue.
    assert_eq!(home.run(&["renew", "--force", "--quiet"]).status, ExitStatus::Done);
    let metadata_url = format!("file://{served}/metadata/");
    let expected = "warning: not renewed in time: targets (expires 2030-09-13 17:46 UTC); run `lastmile-repo renew targets` with \
                    the keys of these roles";
    let warns = |args: &[&str], status: ExitStatus| {
        let ran = home.run(args);
        assert_eq!((ran.status, warnings(&ran)), (status, vec![expected]), "{args:?}: {}", ran.stderr);
    };
    warns(&["key", "generate", "new", "--unencrypted"], ExitStatus::Done);
    warns(&["key", "list"], ExitStatus::Done);
    warns(&["key", "show", "root-1"], ExitStatus::Done);
    warns(&["attest", &file, "--key", &signer], ExitStatus::Done);
    warns(&["bins"], ExitStatus::Done);
    warns(&["verify"], ExitStatus::Done);
    warns(&["push", "--to", &served], ExitStatus::Done);
    warns(&["pull"], ExitStatus::Done);
    warns(&["catch-up", "--metadata-url", &metadata_url], ExitStatus::Done);
    warns(&["set-expiry", "snapshot", "20"], ExitStatus::Done);
    warns(&["set-threshold", "root", "3", "--skip-served-check"], ExitStatus::Done);
    // Without one of the root keys, a change to the root stays pending.
    std::fs::rename(home.folder.path().join("repository/keys/root-3.pem"), &key).unwrap();
    warns(&["rotate", "root", "--add", "new", "--skip-served-check"], ExitStatus::Pending);
    warns(&["sign", "--key", &key, "--yes"], ExitStatus::Done);
    warns(&["publish", "--skip-served-check"], ExitStatus::Done);
    warns(&["rotate", "root", "--remove", "new", "--skip-served-check"], ExitStatus::Pending);
    warns(&["discard", "--yes"], ExitStatus::Done);
    std::fs::rename(&key, home.folder.path().join("repository/keys/root-3.pem")).unwrap();
    let revoke = ["revoke", "file:keys/timestamp-1.pem", "--unencrypted-online-keys", "--skip-served-check"];
    warns(&revoke, ExitStatus::Done);
    // The roles of a new repository are not overdue, unless a role expires before the timestamp is next due for
    // renewal.
    let new = home.run(&["init", &other, "--unencrypted-keys", "--expiry", "targets=1"]);
    assert!(warnings(&new)[0].contains("targets (expires 2030-08-31 17:46 UTC)"), "{}", new.stderr);
    for silent in [&["key", "list", "--quiet"][..], &["status"], &["renew"], &["verify", &served], &["man", &served]] {
        assert!(warnings(&home.run(silent)).is_empty(), "{silent:?}");
    }
    assert_eq!(home.run(&["renew", "targets", "--quiet", "--skip-served-check"]).status, ExitStatus::Done);
    assert!(warnings(&home.run(&["key", "list"])).is_empty());
}

#[test]
fn a_delegated_role_that_was_not_renewed_in_time_is_named() {
    let mut home = Home::new();
    home.run(&["init", "--unencrypted-keys", "--quiet"]);
    home.run(&["key", "generate", "team-1", "--unencrypted", "--quiet"]);
    home.run(&["delegate", "team", "--paths", "team/*", "--key", "team-1", "--quiet"]);
    home.now += TimeDelta::days(170);
    home.run(&["renew", "--force", "targets", "--quiet"]);
    let ran = home.run(&["key", "list"]);
    assert!(
        warnings(&ran)[0].contains(" team (expires 2030-09-13 17:46 UTC); run `lastmile-repo renew team`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_command_that_renews_overdue_roles_can_be_pasted_into_a_shell() {
    let mut home = Home::new();
    home.run(&["init", "--unencrypted-keys", "--quiet"]);
    home.run(&["key", "generate", "team-1", "--unencrypted", "--quiet"]);
    for name in ["x;touch pwned;echo", "--skip-served-check"] {
        let name = format!("--paths=p/{name}/*\n{name}");
        let (paths, name) = name.split_once('\n').unwrap();
        let ran = home.run(&["delegate", paths, "--key", "team-1", "--quiet", "--", name]);
        assert_eq!(ran.status, ExitStatus::Done, "{}", ran.stderr);
    }
    home.now += TimeDelta::days(170);
    home.run(&["renew", "--force", "targets", "--quiet"]);
    let command = "`lastmile-repo renew -- '--skip-served-check' 'x;touch pwned;echo'` with";
    assert!(warnings(&home.run(&["key", "list"]))[0].contains(command));
    let ran = home.run(&["renew"]);
    for name in ["-- '--skip-served-check'", "'x;touch pwned;echo'"] {
        assert!(ran.stderr.contains(&format!("run `lastmile-repo renew {name}`")), "{}", ran.stderr);
    }
    let ran = home.run(&["renew", "--", "--skip-served-check", "x;touch pwned;echo"]);
    assert_eq!(ran.status, ExitStatus::Done, "{}", ran.stderr);
    assert!(warnings(&home.run(&["key", "list"])).is_empty());
}

#[test]
fn many_overdue_roles_are_renewed_with_a_valid_command() {
    let mut home = Home::new();
    home.run(&["init", "--unencrypted-keys", "--quiet"]);
    home.run(&["bins", "--bit-length", "4", "--quiet"]);
    home.now += TimeDelta::days(170);
    home.run(&["renew", "--force", "targets", "--quiet"]);
    let ran = home.run(&["key", "list"]);
    assert!(warnings(&ran)[0].contains("; run `lastmile-repo renew 'bin-*'` with"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("lastmile-repo status"), "{}", ran.stderr);
}

/// Runs the command that the warning proposes, and checks that no role is overdue afterwards.
fn run_proposed(home: &Home, ran: &Ran) {
    let line = *warnings(ran).first().unwrap_or_else(|| panic!("{}", ran.stderr));
    let command = line.split('`').nth(1).unwrap().strip_prefix("lastmile-repo ").unwrap();
    let renewed = home.run(&command.split(' ').collect::<Vec<_>>());
    assert_eq!(renewed.status, ExitStatus::Done, "{command}: {}", renewed.stderr);
    assert!(warnings(&home.run(&["key", "list"])).is_empty(), "{command}");
}

#[test]
fn the_proposed_command_renews_all_overdue_roles_however_many() {
    let mut home = Home::new();
    home.run(&["init", "--unencrypted-keys", "--quiet"]);
    home.run(&["key", "generate", "team", "--unencrypted", "--quiet"]);
    for number in 0..10 {
        let (name, paths) = (format!("team-{number}"), format!("{number}/*"));
        home.run(&["delegate", &name, "--paths", &paths, "--key", "team", "--quiet"]);
    }
    home.now += TimeDelta::days(170);
    home.run(&["renew", "--force", "targets", "--quiet"]);
    run_proposed(&home, &home.run(&["key", "list"]));
    let user = crate::UserConfig::none();
    let repository = crate::Repository::open(&home.folder.path().join("repository"), &Invocation::new(home.now, user));
    let published = repository.unwrap().published;
    let many: Vec<RoleName> = (0..100).map(|number| RoleName::delegated(&format!("x{number}")).unwrap()).collect();
    let roles: Vec<&RoleName> = many.iter().chain([&RoleName::TARGETS]).collect();
    assert_eq!(arguments(&published, &roles), "'*' targets");
}

#[test]
fn the_proposed_command_renews_a_role_that_is_not_due_yet_but_expires_before_the_timestamp_is_renewed() {
    let home = Home::new();
    let ran = home.run(&["init", "--unencrypted-keys", "--expiry", "targets=1"]);
    assert!(ran.stderr.contains("; run `lastmile-repo renew --force targets` with"), "{}", ran.stderr);
    assert_eq!(home.run(&["renew", "--force", "targets"]).status, ExitStatus::Done);
}

#[test]
fn roles_that_were_read_are_checked_although_there_are_too_many_delegated_roles() {
    let mut home = Home::new();
    home.run(&["init", "--unencrypted-keys", "--quiet"]);
    home.run(&["bins", "--bit-length", "7", "--quiet"]);
    home.now += TimeDelta::days(170);
    home.run(&["renew", "--force", "--quiet"]);
    let ran = home.run(&["key", "list"]);
    assert!(
        warnings(&ran)[0].ends_with("; run `lastmile-repo renew targets` with the keys of these roles"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("Run `lastmile-repo status`, which checks all roles."), "{}", ran.stderr);
}

#[test]
fn commands_report_until_when_roles_are_valid_that_people_sign() {
    let home = Home::new();
    let keys = home.folder.path().join("repository/keys");
    let file = home.folder.path().join("file");
    std::fs::write(&file, "content").unwrap();
    let file = file.to_str().unwrap();
    let says = |args: &[&str], expected: &[&str]| {
        let ran = home.run(args);
        let printed = ran.stderr.lines().filter(|line| line.contains("valid until") || line.contains("--calendar"));
        assert_eq!(printed.collect::<Vec<_>>(), expected, "{args:?}: {}", ran.stderr);
    };
    let root = "root is valid until 2031-03-17 17:46 UTC. Renew it on or after 2031-01-16 17:46 UTC: run `lastmile-repo renew root`.";
    let dates = "valid until 2030-09-13 17:46 UTC. Renew it on or after 2030-08-14 17:46 UTC: run `lastmile-repo renew";
    let targets = format!("targets is {dates} targets`.");
    let calendar = "`lastmile-repo status --calendar FILE` writes the renewal dates to a calendar.";
    says(&["init", "--unencrypted-keys"], &[root, &targets, calendar]);
    says(&["add", file], &[&targets, calendar]);
    says(&["add", file, "--name", "b", "--dry-run"], &[&format!("Once published, {targets}")]);
    says(&["key", "generate", "team-1", "--unencrypted"], &[]);
    let both = format!("team, targets are {dates} targets team`.").replace("Renew it", "Renew them");
    says(&["delegate", "team", "--paths", "team/*", "--key", "team-1"], &[&both, calendar]);
    says(&["renew", "--force"], &[]);
    says(&["renew", "--force", "team"], &[&format!("team is {dates} team`."), calendar]);
    says(&["set-expiry", "timestamp", "6"], &[]);
    let shorter = targets.replace("2030-08-14", "2030-09-03");
    says(
        &["set-expiry", "targets", "30"],
        &[&shorter, "If targets is signed now, it is valid until 2030-04-16 17:46 UTC."],
    );
    says(&["revoke", "file:keys/timestamp-1.pem", "--unencrypted-online-keys"], &[root, calendar]);
    for name in ["root-2.pem", "root-3.pem"] {
        std::fs::remove_file(keys.join(name)).unwrap();
    }
    let signers = "3 of these keys must sign: ";
    let ran = home.run(&["set-threshold", "root", "3"]);
    let pending = format!("Once published, {}{signers}", root.split_once("run `").unwrap().0);
    assert!(
        ran.stderr
            .lines()
            .any(|line| line.starts_with(&pending) && line.ends_with("; run `lastmile-repo renew root`.")),
        "{}",
        ran.stderr
    );
}

#[test]
fn bins_share_one_argument_of_renew() {
    let home = Home::new();
    home.run(&["init", "--unencrypted-keys", "--quiet"]);
    let ran = home.run(&["bins", "--bit-length", "4"]);
    let line = ran.stderr.lines().find(|line| line.contains("valid until")).unwrap();
    assert!(line.starts_with("bin-0, bin-1, ") && line.contains(" and 9 more are valid until "), "{line}");
    assert!(line.ends_with("run `lastmile-repo renew 'bin-*' targets`."), "{line}");
}
