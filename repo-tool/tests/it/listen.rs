//! Tests that run `status --listen` as a separate process: the limits of its server, and its reaction to signals.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use lastmile_repo_tool::{Invocation, NewRepository, Protection, Unobserved, UserConfig};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::world::folder;

fn repository() -> TempDir {
    let folder = folder();
    let invocation = Invocation::new(Utc::now(), UserConfig::at(&folder.path().join("config.toml")));
    let new = NewRepository::new(Protection::None);
    new.create(&folder.path().join("repository"), &invocation, &mut Unobserved).unwrap();
    folder
}

fn start(folder: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastmile-repo"));
    command.env_clear().env("LASTMILE_REPO_CONFIG", folder.join("config.toml"));
    command.args(["status", "--listen", "127.0.0.1:0", "-C"]).arg(folder.join("repository")).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until the server of the process is ready.
fn address(child: &mut Child) -> SocketAddr {
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.strip_prefix("Serving http://").and_then(|rest| rest.split_once("/metrics")).map(|(at, _)| at);
    address.unwrap_or_else(|| panic!("{line}")).parse().unwrap()
}

/// Sends a signal, and returns the exit status and how long the process took to end.
fn stop(mut child: Child, signal: Signal) -> (ExitStatus, Duration) {
    let start = Instant::now();
    kill_process(Pid::from_child(&child), signal).unwrap();
    (child.wait().unwrap(), start.elapsed())
}

fn ask(address: SocketAddr, request: &str) -> String {
    ask_host(address, request, &address.to_string())
}

fn ask_host(address: SocketAddr, request: &str, host: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // The server may close the connection before it has read the whole request.
    let _ = connection.write_all(format!("{request}\r\nHost: {host}\r\n\r\n").as_bytes());
    let mut response = Vec::new();
    let _ = connection.read_to_end(&mut response);
    String::from_utf8_lossy(&response).into_owned()
}

#[test]
fn only_short_requests_for_metrics_are_answered_and_a_signal_stops_the_server() {
    let folder = repository();
    for signal in [Signal::TERM, Signal::INT] {
        let mut child = start(folder.path(), &["--json"]);
        let address = address(&mut child);
        let metrics = ask(address, "GET /metrics HTTP/1.1");
        let (head, body) = metrics.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head}");
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        assert!(body.contains("\nlastmile_up{repository=\"") && body.ends_with('\n'), "{body}");
        let length = format!("content-length: {}", body.len());
        let empty = ask(address, "HEAD /metrics HTTP/1.1").to_ascii_lowercase();
        assert!(empty.starts_with("http/1.1 200") && empty.contains(&length) && empty.ends_with("\r\n\r\n"), "{empty}");
        assert!(ask(address, "POST /metrics HTTP/1.1").starts_with("HTTP/1.1 405"));
        for path in ["/", "/metrics/", "/repo.toml", "/metadata/timestamp.json"] {
            assert!(ask(address, &format!("GET {path} HTTP/1.1")).starts_with("HTTP/1.1 404"), "{path}");
        }
        for (host, status) in [("localhost", 200), ("[::1]:9", 200), ("metrics.example.org", 421), ("10.0.0.1", 421)] {
            let answer = ask_host(address, "GET /metrics HTTP/1.1", host);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
        }
        let long = ask(address, &format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(64 * 1024)));
        assert!(!long.starts_with("HTTP/1.1 200"), "{long}");
        let (status, took) = stop(child, signal);
        assert!(status.success() && took < Duration::from_secs(4), "{status}: {took:?}");
        assert!(TcpStream::connect(address).is_err());
    }
}

#[test]
fn connections_that_send_nothing_delay_a_scrape_but_do_not_prevent_it() {
    let folder = repository();
    let mut child = start(folder.path(), &["--every", "86400"]);
    let address = address(&mut child);
    let idle: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    let scrapes: Vec<_> = (0..50).map(|_| thread::spawn(move || ask(address, "GET /metrics HTTP/1.1"))).collect();
    let first = ask(address, "GET /metrics HTTP/1.1");
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    for scrape in scrapes {
        let answer = scrape.join().unwrap();
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, first.split_once("\r\n\r\n").unwrap().1);
    }
    drop(idle);
    assert!(stop(child, Signal::TERM).0.success());
}

#[test]
fn a_signal_ends_a_check_of_a_server_that_does_not_answer() {
    let folder = repository();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metadata/", silent.local_addr().unwrap());
    let root = folder.path().join("repository/metadata/1.root.json");
    let child = start(folder.path(), &[&url, "--root", root.to_str().unwrap()]);
    // Send the signal during the check, which begins when the process connects to the silent server.
    let _connection = silent.accept().unwrap();
    let (status, took) = stop(child, Signal::TERM);
    assert!(status.success() && took < Duration::from_secs(20), "{status}: {took:?}");
}

#[test]
fn with_json_each_check_prints_one_line() {
    let folder = repository();
    let mut child = start(folder.path(), &["--json", "--every", "10"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut checked = Vec::new();
    for _ in 0..2 {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!((&line["state"], &line["up"], &line["schema"]), (&"OK".into(), &true.into(), &1.into()), "{line}");
        checked.push(line["checked"].as_str().unwrap().to_owned());
    }
    assert_ne!(checked[0], checked[1]);
    assert!(stop(child, Signal::TERM).0.success());
}
