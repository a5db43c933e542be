//! Tests of `lastmile-repo status URL`.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;

use lastmile_repo_tool::internal::cli::ExitStatus;
use lastmile_testkit::{Answer, FakeNetwork, METADATA, NetworkFault, Request, Server};
use serde_json::{Value, json};

use super::site::{Site, copy_to};

fn monitor_status(ran: &super::site::Ran) -> u8 {
    ran.status.code()
}

#[test]
fn a_status_costs_as_many_requests_as_a_refresh_and_two_that_bypass_caches() {
    let site = Site::new();
    site.network.forget_requests();
    site.headers.lock().unwrap().clear();
    let ran = site.run(&["status", &site.url()]);
    assert_eq!(ran.status, ExitStatus::Done, "{ran:?}");
    let mut requests = site.network.requests();
    let mut bypassing = requests.split_off(4);
    let expected = ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"];
    requests.sort();
    let mut sorted = expected.map(|name| format!("{METADATA}{name}"));
    sorted.sort();
    assert_eq!(requests, sorted);
    bypassing.sort();
    assert_eq!(bypassing, [format!("{METADATA}2.root.json"), format!("{METADATA}timestamp.json")]);
    let headers = site.headers.lock().unwrap().clone();
    let bypasses = |head: &&String| head.to_ascii_lowercase().contains("cache-control: no-cache");
    assert_eq!(headers.iter().filter(bypasses).count(), 2, "{headers:?}");
    assert!(headers[..4].iter().all(|head| !bypasses(&head)), "{headers:?}");
}

#[test]
fn the_pinned_root_and_the_folder_are_found_by_the_metadata_url() {
    let site = Site::new();
    let ran = site.run_elsewhere(&["status", &site.url(), "--json"]);
    assert_eq!(ran.status, ExitStatus::Done, "{ran:?}");
    let status = ran.json();
    assert_eq!((&status["state"], &status["up"], &status["schema"]), (&json!("OK"), &json!(true), &json!(1)));
    assert_eq!(status["folder"], json!(site.dir().canonicalize().unwrap()));
    let roles = status["roles"].as_array().unwrap();
    let names: Vec<&str> = roles.iter().map(|role| role["role"].as_str().unwrap()).collect();
    assert_eq!(names, ["root", "timestamp", "snapshot", "targets"]);
    assert_eq!((&roles[0]["threshold"], &roles[0]["keys"].as_array().unwrap().len()), (&json!(2), &3));
    assert!(roles[1]["keys"][0]["uri"].as_str().unwrap().starts_with("file:keys/timestamp"));
    // Without the folder of the repository, the command requests the pinned root from the URL, and shows no URIs of
    // private keys.
    fs::rename(site.dir(), site.path("moved")).unwrap();
    site.network.forget_requests();
    let ran = site.run_elsewhere(&["status", &site.url(), "--json"]);
    assert_eq!(ran.status, ExitStatus::Done, "{ran:?}");
    assert_eq!((&ran.json()["folder"], &ran.json()["roles"][1]["keys"][0]["uri"]), (&Value::Null, &Value::Null));
    assert_eq!(site.network.requests()[0], format!("{METADATA}1.root.json"));
}

#[test]
fn without_a_trusted_root_nothing_is_requested() {
    let site = Site::new();
    let root = fs::read(site.dir().join("metadata/1.root.json")).unwrap();
    fs::write(site.path("root.json"), &root).unwrap();
    let digest = lastmile_repo_tool::RootDigest::of(&root).to_string();
    fs::remove_file(site.config()).unwrap();
    site.network.forget_requests();
    let ran = site.run_elsewhere(&["status", &site.url()]);
    assert_eq!(ran.status, ExitStatus::Failed);
    assert!(ran.stderr.contains("no trusted root is known for http://127.0.0.1:"), "{ran:?}");
    assert!(site.network.requests().is_empty());
    for root in [["--root", &site.path("root.json")], ["--root-sha256", &digest]] {
        let ran = site.run_elsewhere(&[&["status", &site.url()][..], &root].concat());
        assert_eq!(ran.status, ExitStatus::Done, "{ran:?}");
    }
    let other = "0".repeat(64);
    let ran = site.run_elsewhere(&["status", &site.url(), "--root-sha256", &other]);
    assert!(ran.status == ExitStatus::Failed && ran.stderr.contains("has the given SHA-256 000"), "{ran:?}");
    assert!(!site.config().exists(), "`status` must not change the configuration");
}

#[test]
fn an_expired_repository_is_reported_with_all_its_roles() {
    let mut site = Site::new();
    site.days_pass(30);
    let ran = site.run(&["status", &site.url(), "--json"]);
    assert_eq!((ran.status, ran.problems()), (ExitStatus::Findings, vec!["expired".to_owned(), "expired".to_owned()]));
    let status = ran.json();
    assert_eq!((&status["state"], &status["up"]), (&json!("CRITICAL"), &json!(true)));
    assert_eq!(status["roles"][1]["expires"], "2030-01-08T12:00:00Z");
    let ran = site.run(&["status", &site.url(), "--monitor"]);
    assert_eq!(monitor_status(&ran), 2);
    assert!(ran.stdout.starts_with("CRITICAL: timestamp expired 2030-01-08 12:00 UTC; snapshot expired"), "{ran:?}");
}

#[test]
fn without_the_folder_roles_that_expire_soon_are_reported_on_request() {
    let site = Site::new();
    fs::rename(site.dir(), site.path("moved")).unwrap();
    for (days, status) in [("6", ExitStatus::Done), ("7", ExitStatus::Findings)] {
        let ran = site.run_elsewhere(&["status", &site.url(), "--within", days]);
        assert_eq!(ran.status, status, "{ran:?}");
    }
}

#[test]
fn a_repository_that_does_not_verify_or_cannot_be_reached_is_a_finding() {
    let site = Site::new();
    site.network.put(&format!("{METADATA}timestamp.json"), b"{}".to_vec());
    let ran = site.run(&["status", &site.url(), "--json"]);
    assert_eq!((ran.status, ran.problems()), (ExitStatus::Findings, vec!["unverified".to_owned()]));
    let status = ran.json();
    assert_eq!((&status["up"], &status["mirrors"][0]["up"]), (&json!(false), &json!(false)));
    assert_eq!(status["roles"][0]["role"], "root");
    assert!(status["problems"][0]["text"].as_str().unwrap().contains("clients refuse it: timestamp: "), "{ran:?}");
    assert_eq!(monitor_status(&site.run(&["status", &site.url(), "--monitor"])), 2);
    site.network.fault(&format!("{METADATA}timestamp.json"), NetworkFault::Status(404));
    let ran = site.run(&["status", &site.url(), "--json"]);
    assert_eq!((ran.status, ran.problems()), (ExitStatus::Findings, vec!["unreachable".to_owned()]));
    assert_eq!(monitor_status(&site.run(&["status", &site.url(), "--monitor"])), 2);
}

#[test]
fn monitoring_learns_that_no_root_can_be_fetched() {
    let site = Site::new();
    let root = fs::read(site.dir().join("metadata/1.root.json")).unwrap();
    let digest = lastmile_repo_tool::RootDigest::of(&root).to_string();
    fs::rename(site.dir(), site.path("moved")).unwrap();
    let metrics = site.path("x.prom");
    fs::write(&metrics, "lastmile_up 1\n").unwrap();
    let closed = "http://127.0.0.1:1/metadata/";
    let check = ["status", closed, "--root-sha256", &digest, "--prometheus", &metrics];
    let ran = site.run_elsewhere(&check);
    assert_eq!(ran.status, ExitStatus::Network, "{ran:?}");
    let written = fs::read_to_string(&metrics).unwrap();
    assert!(written.contains("lastmile_up{repository=\"http://127.0.0.1:1/metadata/\"} 0"), "{written}");
    let ran = site.run_elsewhere(&[&check[..], &["--monitor"]].concat());
    assert_eq!(monitor_status(&ran), 2, "{ran:?}");
    // A second mirror serves the root, so the repository counts as up. Only the first mirror is reported as
    // unreachable.
    let ran = site.run_elsewhere(&["status", closed, &site.url(), "--root-sha256", &digest, "--json"]);
    assert_eq!((ran.json()["up"].clone(), ran.problems()), (json!(true), vec!["unreachable".to_owned()]), "{ran:?}");
}

#[test]
fn an_old_shipped_root_causes_no_alarm_while_the_server_cannot_be_reached() {
    let mut site = Site::new();
    let root = site.path("root.json");
    fs::copy(site.dir().join("metadata/1.root.json"), &root).unwrap();
    fs::rename(site.dir(), site.path("moved")).unwrap();
    site.days_pass(4000);
    let ran = site.run_elsewhere(&["status", "http://127.0.0.1:1/metadata/", "--root", &root, "--json"]);
    assert_eq!(ran.problems(), ["unreachable"], "{ran:?}");
}

#[test]
fn a_role_that_nobody_can_sign_any_more_is_reported() {
    let site = Site::new();
    let path = site.dir().join("metadata/1.root.json");
    let mut root: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    root["signed"]["roles"]["timestamp"]["threshold"] = json!(2);
    let signed = lastmile_testkit::canonical::write(&root["signed"]);
    let mut signatures = Vec::new();
    for number in 1..=3 {
        use lastmile_keys::Signer as _;
        let pem = fs::read_to_string(site.dir().join(format!("keys/root-{number}.pem"))).unwrap();
        let key = lastmile_keys::PrivateKey::from_pem(&pem, None).unwrap();
        let id = lastmile_metadata::Key::from_public(key.public_key()).keyid().to_string();
        signatures.push(json!({"keyid": id, "sig": hex::encode(key.sign(&signed).unwrap())}));
    }
    root["signatures"] = json!(signatures);
    fs::write(site.path("root.json"), lastmile_testkit::canonical::write(&root)).unwrap();
    let ran = site.run_elsewhere(&["status", &site.url(), "--root", &site.path("root.json"), "--json"]);
    assert_eq!(ran.status, ExitStatus::Findings, "{ran:?}");
    let mut problems = ran.problems();
    problems.sort();
    assert_eq!(problems, ["no-signers", "unverified"]);
    assert!(
        ran.stdout
            .contains("nobody can sign for timestamp any more: 2 keys must sign, but only 1 listed key is usable")
    );
}

#[test]
fn a_repository_that_went_back_since_the_last_look_is_reported_until_it_is_ahead_again() {
    let site = Site::new();
    let old = site.network.fork();
    site.add("a");
    site.upload();
    site.done(&["status", &site.url(), "--quiet"]);
    let timestamp = format!("{METADATA}timestamp.json");
    site.network.put(&timestamp, old.file(&timestamp).unwrap());
    for _ in 0..2 {
        let ran = site.run(&["status", &site.url(), "--json"]);
        assert_eq!(ran.status, ExitStatus::Findings);
        assert!(ran.problems().contains(&"went-back".to_owned()), "{ran:?}");
        let text = "serves an older state than at an earlier check: timestamp version 1 instead of 2, snapshot version 1 \
                    instead of 2, targets version 1 instead of 2";
        assert!(ran.stdout.contains(text), "{ran:?}");
        assert_eq!(ran.json()["mirrors"][0]["versions_before"]["timestamp"], 2);
    }
    site.upload();
    assert_eq!(site.run(&["status", &site.url()]).status, ExitStatus::Done);
    // If the keys of timestamp and snapshot have been replaced, `status` accepts lower versions than it has stored. A
    // dry run does not change the stored versions.
    let seen = fs::read_dir(site.home().join(".local/state/lastmile-repo/seen")).unwrap().next().unwrap().unwrap();
    let before = fs::read_to_string(seen.path()).unwrap();
    fs::write(seen.path(), before.replace("\"timestamp\":2", "\"timestamp\":9")).unwrap();
    assert_eq!(site.run(&["status", &site.url()]).status, ExitStatus::Findings);
    site.done(&["key", "generate", "timestamp-2", "--unencrypted", "--quiet"]);
    let rotate = ["--add", "timestamp-2", "--remove", "file:keys/timestamp-1.pem"];
    site.done(&[&["rotate", "timestamp", "--quiet", "--skip-served-check"][..], &rotate].concat());
    site.upload();
    site.done(&["status", &site.url(), "--quiet", "--dry-run"]);
    assert!(fs::read_to_string(seen.path()).unwrap().contains("\"timestamp\":9"));
    site.done(&["status", &site.url(), "--quiet"]);
    let after = fs::read_to_string(seen.path()).unwrap();
    assert!(!after.contains("\"timestamp\":9"));
    // For clients, a new threshold counts as a replacement of the keys.
    let inflated = after.replace("\"timestamp\":3", "\"timestamp\":9");
    assert_ne!(inflated, after);
    fs::write(seen.path(), inflated).unwrap();
    site.done(&["rotate", "timestamp", "--add", "file:keys/timestamp-1.pem", "--quiet", "--skip-served-check"]);
    site.upload();
    fs::write(seen.path(), fs::read_to_string(seen.path()).unwrap().replace("\"timestamp\":4", "\"timestamp\":9"))
        .unwrap();
    site.done(&["set-threshold", "timestamp", "2", "--quiet", "--skip-served-check"]);
    site.upload();
    site.done(&["status", &site.url(), "--quiet"]);
}

/// A header with characters that chat services read as mark-up.
const CACHE_STATUS: &str = "cdn; <!channel> <http://a|b> &amp; `@all` é";

/// Starts a cache that holds the files in `kept`. For requests that bypass caches, it sends the files in `origin`.
fn cache(kept: &FakeNetwork, origin: &FakeNetwork) -> Server {
    let kept = kept.clone();
    let origin = origin.clone();
    Server::responding(Arc::new(move |request: &Request, connection: &mut _| {
        let bypasses = request.header.iter().any(|line| line.eq_ignore_ascii_case("cache-control: no-cache"));
        let network = if bypasses { &origin } else { &kept };
        match network.answer(&request.path) {
            Answer::File(bytes) => {
                let length = bytes.len();
                let hit = if bypasses { "MISS" } else { "HIT" };
                let head = format!(
                    "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\nAge: 4711\r\nVia: 1.1 cdn\r\nX-Cache: {hit}\r\n\
                     Cache-Status: {CACHE_STATUS}\r\n\r\n"
                );
                connection.write_all(head.as_bytes())?;
                connection.write_all(&bytes)?;
                Ok(None)
            }
            answer => Ok(Some(answer)),
        }
    }))
}

#[test]
fn a_cache_that_serves_an_older_state_is_named_with_its_headers() {
    let site = Site::new();
    let kept = site.network.fork();
    site.add("a");
    site.upload();
    let cache = cache(&kept, &site.network);
    let url = format!("{}{METADATA}", cache.url());
    let ran = site.run(&["status", &url, "--json"]);
    assert_eq!(ran.status, ExitStatus::Findings, "{ran:?}");
    assert_eq!(ran.problems(), ["stale-cache", "not-served"]);
    assert!(
        ran.stdout.contains(
            "(Age: 4711; Via: 1.1 cdn; X-Cache: HIT; Cache-Status: cdn; ?!channel? ?http://a?b? ?amp; ??all? ?)"
        ),
        "{ran:?}"
    );
    let mirror = &ran.json()["mirrors"][0];
    assert_eq!(mirror["versions"]["timestamp"], 1);
    assert_eq!(mirror["versions_behind_caches"]["timestamp"], 2);
    assert_eq!(
        mirror["cache_headers"],
        json!({"age": "4711", "cache-status": CACHE_STATUS, "via": "1.1 cdn", "x-cache": "HIT"})
    );
    assert_eq!(monitor_status(&site.run(&["status", &url, "--monitor"])), 1);
}

#[test]
fn a_mirror_that_serves_an_older_state_or_nothing_is_named() {
    let site = Site::new();
    let old = site.network.fork();
    site.add("a");
    site.upload();
    let mirror = Server::start(&old);
    let url = format!("{}{METADATA}", mirror.url());
    let ran = site.run(&["status", &site.url(), &url, "--json"]);
    assert_eq!((ran.status, ran.problems()), (ExitStatus::Findings, vec!["stale-mirror".to_owned()]), "{ran:?}");
    let problem = &ran.json()["problems"][0];
    assert_eq!((&problem["url"], &problem["state"]), (&json!(url), &json!("WARNING")));
    drop(mirror);
    let ran = site.run(&["status", &site.url(), &url, "--json"]);
    assert_eq!(ran.problems(), ["unreachable"], "{ran:?}");
    assert_eq!((&ran.json()["state"], &ran.json()["up"]), (&json!("WARNING"), &json!(true)));
}

#[test]
fn a_mirror_whose_metadata_has_expired_is_named_while_another_mirror_works() {
    let mut site = Site::new();
    let old = site.network.fork();
    site.days_pass(8);
    site.done(&["renew", "--quiet"]);
    site.upload();
    let mirror = Server::start(&old);
    let url = format!("{}{METADATA}", mirror.url());
    let ran = site.run(&["status", &site.url(), &url, "--json"]);
    assert_eq!(ran.problems(), ["stale-mirror", "expired"], "{ran:?}");
    let problem = &ran.json()["problems"][1];
    let expected = (&json!(url), &json!("timestamp"), &json!("WARNING"));
    assert_eq!((&problem["url"], &problem["role"], &problem["state"]), expected);
    let text = format!("timestamp at {url} expired 2030-01-08 12:00 UTC, so clients refuse this mirror");
    assert_eq!(problem["text"], text);
}

#[test]
fn what_is_served_is_compared_with_the_folder() {
    let site = Site::new();
    site.add("a");
    let ran = site.run(&["status", &site.url(), "--json"]);
    assert_eq!((ran.status, ran.problems()), (ExitStatus::Findings, vec!["not-served".to_owned()]));
    // A copy of the repository publishes a release that the folder does not contain.
    let copy = site.folder.path().join("copy");
    let copied = std::process::Command::new("cp").arg("-a").arg(site.dir()).arg(&copy).status().unwrap();
    assert!(copied.success());
    site.upload();
    let file = site.path("other");
    fs::write(&file, "other").unwrap();
    let publish = ["add", &file, "--name", "b", "--quiet", "--skip-served-check"];
    assert_eq!(site.run_in(copy.clone(), &publish).status, ExitStatus::Done);
    copy_to(&copy, &site.network);
    let ran = site.run(&["status", &site.url(), "--json"]);
    assert_eq!(ran.problems(), ["not-from-folder"], "{ran:?}");
    assert_eq!(ran.json()["state"], "CRITICAL");
    site.add("c");
    let ran = site.run(&["status", &site.url(), "--json"]);
    assert_eq!(ran.problems(), ["not-from-folder", "not-from-folder"], "{ran:?}");
    assert!(ran.stdout.contains("different files of timestamp with the same version"), "{ran:?}");
}

#[test]
fn mirrors_that_serve_different_files_with_the_same_version_are_reported() {
    let site = Site::new();
    let copy = site.folder.path().join("copy");
    let copied = std::process::Command::new("cp").arg("-a").arg(site.dir()).arg(&copy).status().unwrap();
    assert!(copied.success());
    site.add("a");
    site.upload();
    let file = site.path("other");
    fs::write(&file, "other").unwrap();
    let publish = ["add", &file, "--name", "b", "--quiet", "--skip-served-check"];
    assert_eq!(site.run_in(copy.clone(), &publish).status, ExitStatus::Done);
    let network = site.network.fork();
    copy_to(&copy, &network);
    let mirror = Server::start(&network);
    let url = format!("{}{METADATA}", mirror.url());
    let forks = ["forked-mirror", "forked-mirror"];
    let ran = site.run(&["status", &site.url(), &url, "--json"]);
    assert_eq!(ran.problems(), [&forks[..], &["not-from-folder", "not-from-folder"]].concat(), "{ran:?}");
    assert_eq!(ran.json()["state"], "CRITICAL");
    // Without the folder of the repository, the command still compares the mirrors with each other.
    fs::rename(site.dir(), site.path("moved")).unwrap();
    let ran = site.run_elsewhere(&["status", &site.url(), &url, "--json"]);
    assert_eq!(ran.problems(), forks, "{ran:?}");
}

#[test]
fn delegated_roles_are_fetched_only_on_request() {
    let site = Site::new();
    site.done(&["key", "generate", "team-1", "--unencrypted", "--quiet"]);
    site.done(&["delegate", "team", "--paths", "team/*", "--key", "team-1", "--quiet", "--skip-served-check"]);
    site.upload();
    let roles = |ran: &super::site::Ran| ran.json()["roles"].as_array().unwrap().len();
    site.network.forget_requests();
    let ran = site.run(&["status", &site.url(), "--json"]);
    assert_eq!((ran.status, roles(&ran)), (ExitStatus::Done, 4), "{ran:?}");
    assert!(!site.network.requests().iter().any(|path| path.ends_with("team.json")));
    let ran = site.run(&["status", &site.url(), "--json", "--delegated"]);
    assert_eq!((ran.status, roles(&ran)), (ExitStatus::Done, 5), "{ran:?}");
    assert_eq!(ran.json()["roles"][4]["role"], "team");
    assert_eq!(site.network.requests().iter().filter(|path| path.ends_with("team.json")).count(), 1);
}

/// Returns the lines that a command printed for people. Replaces key IDs with `ID`, because they are random. Replaces
/// the names of root keys with `root-N`, because their order varies.
fn shown(ran: &super::site::Ran) -> Vec<String> {
    let line = |line: &str| match line.strip_prefix("             ") {
        Some(key) => {
            let (id, rest) = key.split_once(' ').unwrap();
            assert!(id.len() == 8 && id.chars().all(|digit| digit.is_ascii_hexdigit()), "{line}");
            let rest =
                ["root-1", "root-2", "root-3"].iter().fold(rest.to_owned(), |rest, name| rest.replace(name, "root-N"));
            format!("             ID {rest}")
        }
        None => line.to_owned(),
    };
    ran.stdout.lines().map(line).collect()
}

#[test]
fn people_see_roles_keys_dates_and_problems() {
    let mut site = Site::new();
    let url = site.url();
    let ran = site.run(&["status", &url]);
    let healthy = [
        "root         version 1     expires in 365 days, 2031-01-01 12:00 UTC (2 of 3 keys)",
        "             ID ed25519 file:keys/root-N.pem",
        "             ID ed25519 file:keys/root-N.pem",
        "             ID ed25519 file:keys/root-N.pem",
        "timestamp    version 1     expires in 7 days, 2030-01-08 12:00 UTC (1 of 1 keys)",
        "             ID ed25519 file:keys/timestamp-1.pem",
        "snapshot     version 1     expires in 21 days, 2030-01-22 12:00 UTC (1 of 1 keys)",
        "             ID ed25519 file:keys/snapshot-1.pem",
        "targets      version 1     expires in 180 days, 2030-06-30 12:00 UTC (1 of 1 keys)",
        "             ID ed25519 file:keys/targets-1.pem",
    ];
    assert_eq!((ran.status, shown(&ran)), (ExitStatus::Done, healthy.map(str::to_owned).to_vec()), "{ran:?}");
    assert_eq!(ran.stderr, format!("{url} serves a valid repository.\n"));
    // Without the folder of the repository, the command knows neither the private keys nor the renewal periods.
    fs::rename(site.dir(), site.path("moved")).unwrap();
    site.days_pass(8);
    let ran = site.run_elsewhere(&["status", &url, "--within", "30"]);
    let expired = [
        "root         version 1     expires in 357 days, 2031-01-01 12:00 UTC (2 of 3 keys)",
        "             ID ed25519",
        "             ID ed25519",
        "             ID ed25519",
        "timestamp    version 1     EXPIRED, 2030-01-08 12:00 UTC (1 of 1 keys)",
        "             ID ed25519",
        "snapshot     version 1     OVERDUE, expires in 13 days, 2030-01-22 12:00 UTC (1 of 1 keys)",
        "             ID ed25519",
        "targets      version 1     expires in 172 days, 2030-06-30 12:00 UTC (1 of 1 keys)",
        "             ID ed25519",
        "critical: timestamp expired 2030-01-08 12:00 UTC",
        "warning: snapshot was not renewed in time and expires 2030-01-22 12:00 UTC",
    ];
    assert_eq!((ran.status, shown(&ran)), (ExitStatus::Findings, expired.map(str::to_owned).to_vec()), "{ran:?}");
    assert!(ran.stderr.starts_with("warning: not comparing with the folder "), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
}
