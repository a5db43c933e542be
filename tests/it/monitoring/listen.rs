//! Tests of `lastmile-repo status --listen`. The commands run in this process with a simulated clock. While a command
//! waits for its next check, the test scrapes the metrics of the command and changes the repository.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_repo_tool::internal::cli::{self, ExitStatus, World};
use lastmile_testkit::{METADATA, NetworkFault};
use serde_json::{Value, json};

use super::outputs::{parsed, sample};
use super::site::{Ran, Site, Written};

/// A step of a test, which runs after one of the checks. The argument is the address of the server. The step returns
/// the number of days until the next check, or `None` to stop the command.
type AfterCheck<'a> = Box<dyn Fn(&str) -> Option<i64> + 'a>;

fn run(site: &Rc<Site>, args: &[&str], steps: Vec<AfterCheck<'static>>) -> Ran {
    let (stdout, stderr) = (Written::default(), Written::default());
    let now = Rc::new(Cell::new(site.now));
    let steps = RefCell::new(steps.into_iter());
    let (clock, printed, dir) = (Rc::clone(&now), stderr.clone(), site.dir());
    let world = World {
        now: Box::new(move || clock.get()),
        wait: Box::new(move |duration| {
            // Before the first check, the command calls `wait` with zero seconds to install signal handlers.
            if duration == Duration::ZERO {
                return ControlFlow::Continue(());
            }
            let text = printed.text();
            let at = text.split_once("Serving http://").and_then(|(_, rest)| rest.split_once("/metrics")).unwrap().0;
            let step = steps.borrow_mut().next().expect("the last step must stop the command");
            match step(at) {
                Some(days) => {
                    now.set(now.get() + TimeDelta::days(days));
                    ControlFlow::Continue(())
                }
                None => ControlFlow::Break(()),
            }
        }),
        env: Box::new(move |name| (name == "LASTMILE_REPOSITORY").then(|| dir.clone().into_os_string())),
        home: Some(site.home()),
        stdout: Box::new(stdout.clone()),
        stderr: Box::new(stderr.clone()),
        ..World::isolated(DateTime::<Utc>::UNIX_EPOCH)
    };
    let status = cli::run(["lastmile-repo", "status"].iter().chain(args).map(OsString::from), world);
    Ran { status, stdout: stdout.text(), stderr: stderr.text() }
}

fn scrape(address: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n").unwrap();
    let mut response = String::new();
    connection.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    body.to_owned()
}

/// Parses metrics with the parser of Prometheus.
fn metrics(site: &Site, address: &str) -> Value {
    let file = site.path("scraped.prom");
    fs::write(&file, scrape(address)).unwrap();
    parsed("prometheus", &file)
}

#[test]
fn prometheus_scrapes_the_result_of_the_last_check_and_all_outputs_are_written() {
    let site = Rc::new(Site::new());
    let program = site.path("receive");
    fs::write(&program, format!("#!/bin/sh\ncat >> {}; echo >> {0}\n", site.path("sent"))).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let config = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), format!("{config}\n[monitor]\ncommand = [\"{program}\"]\n")).unwrap();
    let (page, calendar, file) = (site.path("page.html"), site.path("dates.ics"), site.path("file.prom"));
    let url = site.url();
    let repository = json!({"repository": url});
    let start = site.now.timestamp();
    let last_check = move |metrics: &Value, repository: &Value, days: i64| {
        let found = sample(metrics, "lastmile_last_check_timestamp_seconds", repository);
        assert_eq!(found, Some((start + days * 86_400) as f64));
    };
    let at_first = {
        let (site, repository) = (Rc::clone(&site), repository.clone());
        move |address: &str| {
            let found = metrics(&site, address);
            assert_eq!(sample(&found, "lastmile_up", &repository), Some(1.0), "{found}");
            last_check(&found, &repository, 0);
            assert_eq!(
                fs::read_to_string(site.path("scraped.prom")).unwrap(),
                fs::read_to_string(site.path("file.prom")).unwrap()
            );
            // Many clients at the same time get the same metrics, and no request starts a check.
            site.network.forget_requests();
            let scrapes: Vec<_> =
                (0..50).map(|_| address.to_owned()).map(|at| thread::spawn(move || scrape(&at))).collect();
            let answers: Vec<String> = scrapes.into_iter().map(|scrape| scrape.join().unwrap()).collect();
            assert!(answers.iter().all(|answer| *answer == answers[0]));
            assert!(site.network.requests().is_empty());
            Some(8)
        }
    };
    let expired = {
        let (site, repository) = (Rc::clone(&site), repository.clone());
        move |address: &str| {
            let found = metrics(&site, address);
            let problems = json!({"repository": site.url(), "kind": "expired"});
            assert_eq!(sample(&found, "lastmile_up", &repository), Some(1.0));
            assert_eq!(sample(&found, "lastmile_state", &repository), Some(2.0));
            assert_eq!(sample(&found, "lastmile_problems", &problems), Some(1.0));
            last_check(&found, &repository, 8);
            // The next check must fail before it receives any metadata.
            site.network.fault(&format!("{METADATA}2.root.json"), NetworkFault::Reset);
            site.network.fault(&format!("{METADATA}timestamp.json"), NetworkFault::Reset);
            Some(0)
        }
    };
    let down = {
        let site = Rc::clone(&site);
        move |address: &str| {
            let found = metrics(&site, address);
            assert_eq!(sample(&found, "lastmile_up", &repository), Some(0.0), "{found}");
            last_check(&found, &repository, 8);
            None
        }
    };
    let outputs = ["--notify", "--html", &page, "--calendar", &calendar, "--prometheus", &file];
    let args = [&[url.as_str(), "--listen", "127.0.0.1:0", "--json"][..], &outputs].concat();
    let ran = run(&site, &args, vec![Box::new(at_first), Box::new(expired), Box::new(down)]);
    assert_eq!(ran.status, ExitStatus::Done, "{ran:?}");
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<(&Value, &Value)> = lines.iter().map(|line| (&line["state"], &line["up"])).collect();
    let critical = json!("CRITICAL");
    assert_eq!(
        states,
        [(&json!("OK"), &json!(true)), (&critical, &json!(true)), (&critical, &json!(false))],
        "{ran:?}"
    );
    let sent = fs::read_to_string(site.path("sent")).unwrap();
    let kinds = sent.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["problems"][0]["kind"].clone());
    assert_eq!(kinds.collect::<Vec<_>>(), [json!("expired"), json!("unreachable")], "{sent}");
    let page = fs::read_to_string(&page).unwrap();
    assert!(page.contains("cannot be reached"), "{page}");
    assert_eq!(parsed("calendar", &calendar)["events"].as_array().unwrap().len(), 2);
}

#[test]
fn only_changes_are_printed_and_a_folder_that_disappears_is_down() {
    let site = Rc::new(Site::new());
    let unchanged = |_: &str| Some(0);
    let remove = {
        let site = Rc::clone(&site);
        move |_: &str| {
            fs::rename(site.dir(), site.path("moved")).unwrap();
            Some(1)
        }
    };
    let down = {
        let site = Rc::clone(&site);
        move |address: &str| {
            let found = metrics(&site, address);
            let up = found["samples"].as_array().unwrap().iter().find(|sample| sample[0] == "lastmile_up").unwrap();
            assert_eq!(up[2], 0.0, "{found}");
            None
        }
    };
    let ran = run(&site, &["--listen", "127.0.0.1:0"], vec![Box::new(unchanged), Box::new(remove), Box::new(down)]);
    assert_eq!(ran.status, ExitStatus::Done, "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    assert_eq!(lines[0], "2030-01-01 12:00 UTC OK: timestamp is the first role to expire, 2030-01-08 12:00 UTC");
    assert!(lines[1].starts_with("2030-01-02 12:00 UTC CRITICAL: "), "{ran:?}");
}

#[test]
fn other_addresses_than_loopback_and_conflicting_options_are_refused() {
    let site = Site::new();
    let refused = |args: &[&str], message: &str| {
        let ran = site.run(&[&["status"][..], args].concat());
        assert!(ran.status == ExitStatus::Usage && ran.stderr.contains(message), "{message}: {ran:?}");
    };
    for address in ["0.0.0.0:9469", "192.0.2.1:9469", "[::]:9469", "[::ffff:127.0.0.1]:9469"] {
        refused(&["--listen", address], "only a loopback address such as 127.0.0.1 or [::1] is accepted");
        refused(&["--listen", address], "use a reverse proxy");
    }
    for address in ["localhost:9469", "127.0.0.1", "9469", "127.0.0.1:99999"] {
        refused(&["--listen", address], "expected an IP address and a port, such as 127.0.0.1:9469");
    }
    refused(&["--listen", "127.0.0.1:0", "--monitor"], "cannot be used with");
    refused(&["--listen", "127.0.0.1:0", "--every", "9"], "10..=86400");
    refused(&["--every", "60"], "--listen");
    refused(&["--listen", "127.0.0.1:0", "--prometheus", "-"], "--prometheus - cannot be used with --listen");
    // A dry run checks once and writes nothing.
    let file = site.path("file.prom");
    let ran = site.run(&["status", "--listen", "127.0.0.1:0", "--dry-run", "--prometheus", &file]);
    assert_eq!(ran.status, ExitStatus::Done, "{ran:?}");
    assert!(ran.stdout.contains("UTC OK: ") && ran.stderr.contains("Not serving (--dry-run)."), "{ran:?}");
    assert!(!fs::exists(&file).unwrap());
    // The first check fails if an output cannot be written.
    let steps: Vec<AfterCheck<'static>> = Vec::new();
    let ran = run(&Rc::new(site), &["--listen", "127.0.0.1:0", "--html", "/nonexistent/page.html"], steps);
    assert_eq!(ran.status, ExitStatus::Failed, "{ran:?}");
}
