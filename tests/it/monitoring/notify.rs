//! Tests of `lastmile-repo status --notify`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::thread;

use lastmile_repo_tool::internal::cli::ExitStatus;
use serde_json::{Value, json};

use super::site::Site;

struct Service {
    port: u16,
    /// The heads and bodies of all requests.
    received: Arc<Mutex<Vec<(String, Value)>>>,
    answer: Arc<Mutex<&'static str>>,
}

impl Service {
    fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let service = Service { port, received: Arc::default(), answer: Arc::new(Mutex::new("200 OK")) };
        let received = Arc::clone(&service.received);
        let answer = Arc::clone(&service.answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut part = [0; 4096];
                let (head, body) = loop {
                    let length = stream.read(&mut part).unwrap();
                    assert!(length > 0, "the request must be complete");
                    request.extend(&part[..length]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let lower = head.to_ascii_lowercase();
                    let listed = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                    if body.len() == listed.parse::<usize>().unwrap() {
                        break (lower, serde_json::from_str(body).unwrap());
                    }
                };
                received.lock().unwrap().push((head, body));
                let status = *answer.lock().unwrap();
                let reply = format!(
                    "HTTP/1.1 {status}\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                stream.write_all(reply.as_bytes()).unwrap();
            }
        });
        service
    }

    fn answer(&self, answer: &'static str) {
        *self.answer.lock().unwrap() = answer;
    }

    fn take(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.received.lock().unwrap())
    }
}

/// Replaces the section `[monitor]` in the user's configuration.
fn configure(site: &Site, section: &str) {
    let before = fs::read_to_string(site.config()).unwrap();
    let before = before.split("\n[monitor]").next().unwrap();
    fs::write(site.config(), format!("{before}\n[monitor]\n{section}\n")).unwrap();
}

#[test]
fn only_changes_are_sent_and_a_failed_delivery_is_tried_again() {
    let mut site = Site::new();
    let service = Service::start();
    configure(&site, &format!("url = \"http://127.0.0.1:{}/hook?token=SECRET\"", service.port));
    let url = site.url();
    let notify = ["status", &url, "--notify", "--monitor"];
    assert_eq!(site.run(&notify).status.code(), 0);
    assert!(service.take().is_empty(), "a repository without problems is not reported");
    site.days_pass(8);
    service.answer("500 Broken");
    let ran = site.run(&notify);
    assert_eq!(ran.status.code(), 2);
    let warning = "warning: the notification to http://127.0.0.1/… failed: the server answered with HTTP status 500; the next \
                   run tries again";
    assert!(ran.stderr.contains(warning) && !ran.stderr.contains("SECRET"), "{ran:?}");
    assert_eq!(service.take().len(), 1);
    // A redirect is not followed, because it would send the notification to another service.
    service.answer("307 Moved");
    site.run(&notify);
    assert_eq!(service.take().len(), 1);
    assert!(!site.run(&[&notify[..], &["--dry-run"]].concat()).stderr.contains("notification"));
    assert!(service.take().is_empty(), "a dry run sends nothing");
    service.answer("204 Thanks");
    site.run(&notify);
    let sent = service.take();
    let (head, body) = &sent[0];
    assert!(head.starts_with("post /hook?token=secret http/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(
        (&body["state"], &body["previous_state"], &body["schema"]),
        (&json!("CRITICAL"), &json!("OK"), &json!(1))
    );
    assert_eq!((&body["repository"], &body["problems"][0]["kind"]), (&json!(url), &json!("expired")));
    let text = format!("{url}: CRITICAL: timestamp expired 2030-01-08 12:00 UTC");
    assert_eq!(body["text"], text);
    assert!(!body.to_string().contains("keys/"), "locations of keys must not be sent: {body}");
    for _ in 0..2 {
        site.run(&notify);
    }
    assert!(service.take().is_empty(), "only changes are sent");
    site.days_pass(20);
    site.run(&notify);
    let sent = service.take();
    assert_eq!((sent.len(), &sent[0].1["previous_state"]), (1, &json!("CRITICAL")));
    assert_eq!(sent[0].1["problems"].as_array().unwrap().len(), 2);
    site.done(&["renew", "--quiet", "--skip-served-check"]);
    site.upload();
    assert_eq!(site.run(&notify).status.code(), 0);
    let sent = service.take();
    assert_eq!((&sent[0].1["state"], &sent[0].1["problems"]), (&json!("OK"), &json!([])));
    assert_eq!(sent[0].1["resolved"].as_array().unwrap().len(), 2);
}

#[test]
fn a_command_gets_the_notification_and_a_minimal_environment() {
    let mut site = Site::new();
    let program = site.path("receive");
    let got = site.path("got");
    fs::write(&program, format!("#!/bin/sh\ncat > {got}\nenv >> {got}.env\necho \"$1\" >> {got}.env\nexit \"$2\"\n"))
        .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let url = site.url();
    let notify = ["status", &url, "--notify", "--quiet"];
    site.days_pass(8);
    configure(&site, &format!("command = [\"{program}\", \"$(touch {got}.shell)\", \"9\"]"));
    let ran = site.run(&["status", &url, "--notify"]);
    assert!(ran.stderr.contains("ended with exit status: 9; the next run tries again"), "{ran:?}");
    configure(&site, &format!("command = [\"{program}\", \"$(touch {got}.shell)\", \"0\"]"));
    fs::remove_file(&got).unwrap();
    assert_eq!(site.run(&notify).status, ExitStatus::Findings);
    let body: Value = serde_json::from_str(&fs::read_to_string(&got).unwrap()).unwrap();
    assert_eq!(body["state"], "CRITICAL");
    let environment = fs::read_to_string(site.path("got.env")).unwrap();
    assert!(!environment.contains("HOME=") && !environment.contains("CARGO"), "{environment}");
    assert!(
        environment.contains("$(touch") && !std::path::Path::new(&site.path("got.shell")).exists(),
        "no shell must run"
    );
    fs::remove_file(&got).unwrap();
    site.run(&notify);
    assert!(!std::path::Path::new(&got).exists(), "only changes are sent");
}

#[test]
fn receivers_are_checked_before_the_repository_and_errors_show_no_secret() {
    let site = Site::new();
    let url = site.url();
    let notify = ["status", &url, "--notify"];
    let ran = site.run(&notify);
    assert!(ran.status == ExitStatus::Usage && ran.stderr.contains("needs the section [monitor]"), "{ran:?}");
    site.network.forget_requests();
    for (section, message) in [
        ("url = \"ftp://SECRET\"", "[monitor] url: the scheme is `ftp`, expected http or https"),
        ("url = \"https://SECRET:x\"", "[monitor] url: invalid port number"),
        ("command = \"mail\"", "[monitor] command must be a list of strings"),
        ("command = [\"mail\"]", "[monitor] command must be a list of strings that begins with the absolute path"),
        ("command = []", "[monitor] command must be"),
        ("timeout-seconds = 5", "[monitor] needs url or command"),
        ("url = \"https://h/\"\ntimeout-seconds = 0", "[monitor] timeout-seconds must be a number from 1 to 600"),
        ("uri = \"https://SECRET\"", "[monitor] `uri` is not a setting"),
    ] {
        configure(&site, section);
        let ran = site.run(&notify);
        assert!(ran.status == ExitStatus::Failed && ran.stderr.contains(message), "{message}: {ran:?}");
        assert!(!ran.stderr.contains("SECRET"), "{ran:?}");
    }
    assert!(site.network.requests().is_empty());
}
