//! Tests of user input: repository names, URLs, proxies, files and options.

use std::path::Path;

use serde_json::Value;

use super::tests::{Home, json, run_with};
use super::*;
use crate::test_repository::{now, root};

#[test]
fn unusable_urls_and_names_are_refused_by_trust_add() {
    let home = Home::new();
    let root = home.path("root.json");
    for (name, url) in [
        ("../x", "http://h/"),
        (".x", "http://h/"),
        ("x", "/a/directory"),
        ("x", "ftp://h/"),
        ("x", "http://h/?a"),
        ("x", "http://h/a b"),
        ("x", "http://"),
        ("x", "http:///metadata/"),
        ("x", "https://:8443/"),
        ("x", "http://h:99999/"),
        ("x", "http://h:0/"),
        ("x", "http://h/a/../b/"),
        ("x", "https:h/"),
        ("x", "file://host/a/"),
        ("x", "file:relative/"),
    ] {
        let ran = home.run(&["trust", "add", name, "--root", &root, "--metadata-url", url]);
        assert_eq!(ran.status, ExitStatus::Usage, "{name} {url}");
    }
    assert!(!Path::new(&home.path("state")).exists());
}

#[test]
fn the_default_targets_url_is_next_to_the_metadata_url() {
    for (typed, targets) in [
        ("http://h/metadata", "http://h/targets/"),
        ("http://h/r/", "http://h/r/targets/"),
        ("http://h/xmetadata", "http://h/xmetadata/targets/"),
    ] {
        let home = Home::new();
        let root = home.path("root.json");
        let ran = home.run(&["trust", "add", "x", "--json", "--root", &root, "--metadata-url", typed]);
        assert_eq!(json(&ran)["mirrors"][0]["targets_url"], targets);
    }
}

#[test]
fn a_scheme_may_be_written_in_upper_case() {
    let home = Home::new();
    let root = home.path("root.json");
    let url = format!("FILE://{}", home.path("repository/metadata"));
    let ran = home.run(&["trust", "add", "x", "--json", "--root", &root, "--metadata-url", &url]);
    let mirror = &json(&ran)["mirrors"][0];
    assert_eq!(mirror["metadata_url"], format!("file://{}/", home.path("repository/metadata")));
    assert_eq!(mirror["targets_url"], format!("file://{}/", home.path("repository/targets")));
}

#[test]
fn user_names_and_passwords_are_never_printed() {
    let home = Home::new();
    let root = home.path("root.json");
    let add = |url: &str| home.run(&["trust", "add", "x", "--root", &root, "--metadata-url", url]);
    let nobody = "http://alice:pa55word@127.0.0.1:1/metadata/";
    let mut all = vec![add("http://alice:pa55word@127.0.0.1:99999/"), add("alice:pa55word@host/"), add(nobody)];
    assert_eq!(all[2].status, ExitStatus::Done, "{}", all[2].stderr);
    let direct = ["-v", "--retries", "0", "--proxy", "none"];
    for command in [&["refresh"][..], &["refresh", "--json"], &["get", "a"]] {
        all.push(home.run(&[command, &direct].concat()));
    }
    all.push(home.run(&["trust", "list"]));
    all.push(home.run(&["trust", "list", "--json"]));
    all.push(home.run(&["refresh", "--proxy", "http://alice:pa55word@127.0.0.1:99999/"]));
    all.push(home.run(&["refresh", "http://alice:pa55word@127.0.0.1/"]));
    for ran in &all {
        let printed = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!printed.contains("alice") && !printed.contains("pa55word"), "{printed}");
    }
    assert!(all[3].stderr.contains("http://***@127.0.0.1:1/metadata/2.root.json"), "{}", all[3].stderr);
    let settings = std::fs::read_to_string(home.path("state/x/settings.json")).unwrap();
    assert!(settings.contains(nobody), "{settings}");
}

#[test]
fn old_settings_with_an_unusable_url_are_read_with_a_warning() {
    let home = Home::trusting();
    home.run(&["list"]);
    let path = home.path("state/example/settings.json");
    let old = std::fs::read_to_string(&path).unwrap().replacen("file:///", "http:///", 1);
    std::fs::write(&path, old).unwrap();
    let ran = home.run(&["list", "--offline", "x"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (ExitStatus::Done, "x\n"), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("warning: the settings of `example`: `http:///"), "{}", ran.stderr);
    assert!(home.run(&["trust", "list"]).stdout.contains("http:///"));
    assert_eq!(home.run(&["refresh"]).status, ExitStatus::Failed);
    assert_eq!(home.run(&["trust", "remove", "example"]).status, ExitStatus::Done);
}

#[test]
fn an_unusable_proxy_is_refused_and_the_proxy_of_the_environment_is_named() {
    let home = Home::new();
    let root = home.path("root.json");
    let url = "http://repository.invalid/metadata/";
    assert_eq!(home.run(&["trust", "add", "x", "--root", &root, "--metadata-url", url]).status, ExitStatus::Done);
    let refresh = |value: &'static str, more: &[&str]| {
        let state = home.path("state");
        let args = [&["refresh", "--retries", "0", "--json"], more].concat();
        run_with(&args, home.now, move |name| match name {
            "LASTMILE_STATE_DIR" => Some(state.clone().into()),
            "http_proxy" => Some(value.into()),
            _ => None,
        })
    };
    let ran = refresh("ftp://alice:pa55word@proxy", &[]);
    assert_eq!((ran.status, &json(&ran)["error"]["kind"]), (ExitStatus::Failed, &Value::from("config")));
    assert!(ran.stderr.contains("`http_proxy`") && !ran.stderr.contains("pa55word"), "{}", ran.stderr);
    let ran = refresh("http://alice:pa55word@127.0.0.1:1", &[]);
    assert_eq!(ran.status, ExitStatus::Network);
    let printed = format!("{}{}", ran.stdout, ran.stderr);
    assert!(
        printed.contains("through the proxy `http://***@127.0.0.1:1`") && !printed.contains("pa55word"),
        "{printed}"
    );
    let ran = refresh("ftp://proxy", &["--proxy", "socks://alice:pa55word@h"]);
    assert_eq!((ran.status, &json(&ran)["error"]["kind"]), (ExitStatus::Failed, &Value::from("config")));
    assert!(ran.stderr.contains("socks5h") && !ran.stderr.contains("pa55word"), "{}", ran.stderr);
}

#[test]
fn trusting_the_same_root_again_changes_nothing_and_another_root_is_refused() {
    let home = Home::trusting();
    home.run(&["refresh"]);
    let floors = || std::fs::read(home.path("state/example/metadata/state/floors")).unwrap();
    let before = floors();
    let again = home.trust("example");
    assert_eq!(again.status, ExitStatus::Done, "{}", again.stderr);
    assert!(again.stderr.contains("is already trusted"), "{}", again.stderr);
    assert!(again.stdout.starts_with("repository example\n"), "{}", again.stdout);
    assert_eq!(floors(), before);
    let root_file = home.path("root.json");
    let other_url = ["trust", "add", "example", "--root", &root_file, "--metadata-url", "http://h/"];
    let ran = home.run(&other_url);
    assert_eq!(ran.status, ExitStatus::Failed);
    assert!(ran.stderr.contains("with other settings") && ran.stderr.contains("trust set example"), "{}", ran.stderr);
    std::fs::write(&root_file, root(1, "another root", "online")).unwrap();
    let ran = home.trust("example");
    assert_eq!(ran.status, ExitStatus::Failed);
    assert!(ran.stderr.contains("with another root"), "{}", ran.stderr);
    assert_eq!(home.run(&["list", "--offline"]).status, ExitStatus::Failed, "the roles were never fetched");
    assert_eq!(home.run(&["refresh"]).status, ExitStatus::Done);
}

#[test]
fn urls_and_options_can_change_and_trusted_metadata_stays() {
    let home = Home::trusting();
    home.run(&["list"]);
    let set = |args: &[&str]| home.run(&[&["trust", "set", "example", "--json"], args].concat());
    let moved = home.path("moved");
    std::fs::rename(home.path("repository"), &moved).unwrap();
    assert_eq!(home.run(&["refresh", "--retries", "0"]).status, ExitStatus::Network);
    let url = format!("file://{moved}");
    let ran = set(&["--metadata-url", &url]);
    assert_eq!(ran.status, ExitStatus::Done, "{}", ran.stderr);
    assert_eq!(json(&ran)["mirrors"][0]["targets_url"], format!("{url}/targets/"));
    assert_eq!(home.run(&["get", "x", "--output", &home.path("out")]).status, ExitStatus::Done);
    let ran = set(&["--forbidden-means-absent", "true", "--plain-target-names", "true"]);
    assert_eq!(
        (&json(&ran)["forbidden_means_absent"], &json(&ran)["hash_prefixed_targets"]),
        (&true.into(), &false.into())
    );
    let ran = set(&["--targets-url", "http://h/t", "--forbidden-means-absent", "false"]);
    assert_eq!(json(&ran)["mirrors"][0]["metadata_url"], format!("{url}/"));
    assert_eq!(json(&ran)["mirrors"][0]["targets_url"], "http://h/t/");
    assert_eq!(json(&ran)["forbidden_means_absent"], false);
    // A rollback to the older metadata is still detected after the URL has changed.
    std::fs::write(home.path("state/example/metadata/timestamp.json"), "x").unwrap();
    assert!(std::fs::read_to_string(home.path("state/example/metadata/state/floors")).unwrap().contains("timestamp"));
    for args in
        [&[][..], &["--metadata-url", "http:///x"], &["--targets-url", "http://a/", "--targets-url", "http://b/"]]
    {
        assert_eq!(set(args).status, ExitStatus::Usage, "{args:?}");
    }
    assert_eq!(home.run(&["trust", "set", "none", "--metadata-url", "http://h/"]).status, ExitStatus::Usage);
}

#[test]
fn every_command_has_help_and_only_options_that_it_uses() {
    use lastmile_cli_support::scope::undescribed;
    assert_eq!(undescribed(&scope::command()), [""; 0]);
    let run = |args: &[&str]| run_with(args, now(), |_| None);
    let help = run(&["help", "trust", "set"]);
    assert_eq!(help.status, ExitStatus::Done);
    assert!(help.stdout.contains("Usage: lastmile trust set"), "{}", help.stdout);
    assert_eq!(run(&["help"]).stdout, run(&["--help"]).stdout);
    let shown = |command: &str, option: &str| {
        let help = run(&[command, "--help"]).stdout;
        let manual = run(&["man", command]).stdout.replace("\\-", "-");
        let is_in = help.contains(option);
        assert_eq!(manual.contains(option), is_in, "{command} {option}");
        is_in
    };
    for (option, commands) in [
        ("--proxy", &["refresh", "get", "list"][..]),
        ("--repository", &["refresh", "get", "list", "verify", "status"]),
        ("--limit", &["refresh", "get", "list", "verify", "status", "trust"]),
        ("--json", &["refresh", "get", "list", "verify", "status", "trust"]),
    ] {
        for command in ["refresh", "get", "list", "verify", "status", "trust", "completions", "man"] {
            assert_eq!(shown(command, option), commands.contains(&command), "{command} {option}");
        }
    }
    for args in [&["status", "--proxy", "none"][..], &["--retries", "1", "trust", "list"], &["man", "--json"]] {
        let ran = run(args);
        assert_eq!(ran.status, ExitStatus::Usage, "{args:?}");
        assert!(ran.stderr.contains("cannot be used with the command"), "{}", ran.stderr);
    }
}

#[test]
fn files_named_by_the_user_may_be_links_or_pipes() {
    use std::os::unix::fs::symlink;
    let home = Home::new();
    std::fs::create_dir(home.path("..2026")).unwrap();
    std::fs::rename(home.path("root.json"), home.path("..2026/root.json")).unwrap();
    symlink("..2026", home.path("..data")).unwrap();
    symlink("..data/root.json", home.path("root.json")).unwrap();
    assert_eq!(home.trust("linked").status, ExitStatus::Done);
    let fifo = home.path("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::write(fifo, root(1, "root", "online")).unwrap()
    });
    let url = format!("file://{}", home.path("repository"));
    let ran = home.run(&["trust", "add", "piped", "--root", &fifo, "--metadata-url", &url]);
    assert_eq!(ran.status, ExitStatus::Done, "{}", ran.stderr);
    writer.join().unwrap();
    std::fs::write(home.path("empty"), "").unwrap();
    for args in [
        &["trust", "add", "x", "--metadata-url", &url, "--root", &home.path("empty")][..],
        &["refresh", "-r", "linked", "--ca-file", &home.path("empty")],
    ] {
        let ran = home.run(args);
        assert_eq!(ran.status, ExitStatus::Failed);
        assert!(ran.stderr.contains("it is empty"), "{}", ran.stderr);
    }
}
