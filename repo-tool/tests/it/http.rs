//! Tests of the tool's HTTP server, and of checking a repository at a URL.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use lastmile_client::BaseUrl;
use lastmile_metadata::{RoleName, TargetNames};
use lastmile_repo_tool::internal::server::{Answered, Server};
use lastmile_repo_tool::internal::verify::{self, Verification};
use lastmile_repo_tool::{Error, Severity};
use tokio::runtime::Runtime;

use crate::delegations::delegate;
use crate::policies::Maintainer;
use crate::world::World;

fn serve(world: &World) -> (Runtime, SocketAddr) {
    serve_with(world, |server| server)
}

fn serve_with(world: &World, set: impl FnOnce(Server) -> Server) -> (Runtime, SocketAddr) {
    let runtime = Runtime::new().unwrap();
    let server = set(runtime.block_on(Server::bind(&world.dir(), "127.0.0.1:0".parse().unwrap())).unwrap());
    let address = server.address().unwrap();
    runtime.spawn(server.run(|_| {}));
    (runtime, address)
}

/// Sends a raw request, because an HTTP client would normalize the path.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn only_metadata_and_targets_are_served() {
    let world = World::new();
    world.add("sub/a b", "content");
    let (_runtime, address) = serve(&world);
    let file = &world.files("targets")[0];
    let path = format!("/targets/{}", file.replace(' ', "%20"));
    assert!(ask(address, &format!("GET {path} HTTP/1.1")).ends_with("\r\n\r\ncontent"));
    let part = ask(address, &format!("GET {path} HTTP/1.1\r\nRange: bytes=3-4"));
    assert!(part.starts_with("HTTP/1.1 206") && part.ends_with("\r\n\r\nte"), "{part}");
    assert!(ask(address, &format!("HEAD {path} HTTP/1.1")).to_lowercase().contains("content-length: 7"));
    assert!(ask(address, &format!("POST {path} HTTP/1.1")).starts_with("HTTP/1.1 405"));
    for hidden in [
        "/keys/root-1.pem",
        "/repo.toml",
        "/targets/../keys/root-1.pem",
        "/targets/%2e%2e/keys/root-1.pem",
        "/",
        "/targets",
    ] {
        assert!(ask(address, &format!("GET {hidden} HTTP/1.1")).starts_with("HTTP/1.1 404"), "{hidden}");
    }
}

#[test]
fn metadata_is_sent_compressed_to_clients_that_accept_it() {
    let world = World::new();
    world.add("a", "content");
    let beside = world.layout().metadata().join("timestamp.json.gz");
    std::fs::write(beside, "compressed").unwrap();
    let target = format!("/targets/{}", world.files("targets")[0]);
    std::fs::write(world.dir().join(&target[1..]).with_extension("a.gz"), "never").unwrap();
    let (_runtime, address) = serve(&world);
    let get = |path: &str, accept: &str| ask(address, &format!("GET {path} HTTP/1.1\r\nAccept-Encoding: {accept}"));
    let sent = get("/metadata/timestamp.json", "zstd, gzip;q=0.5");
    assert!(sent.starts_with("HTTP/1.1 200") && sent.ends_with("\r\n\r\ncompressed"), "{sent}");
    for header in ["content-encoding: gzip", "vary: accept-encoding", "content-length: 10"] {
        assert!(sent.to_lowercase().contains(header), "{sent}");
    }
    let range = ask(address, "GET /metadata/timestamp.json HTTP/1.1\r\nAccept-Encoding: gzip\r\nRange: bytes=0-0");
    let plain = [get("/metadata/timestamp.json", "gzip;q=0, *"), get("/metadata/1.root.json", "gzip"), range];
    for sent in plain {
        let sent = sent.to_lowercase();
        assert!(sent.contains("\r\n\r\n{") && sent.contains("vary: accept-encoding"), "{sent}");
        assert!(!sent.contains("content-encoding"), "{sent}");
    }
    let target = get(&target, "gzip").to_lowercase();
    assert!(target.ends_with("\r\n\r\ncontent") && !target.contains("vary"), "{target}");
}

#[test]
fn a_client_that_sends_its_headers_slowly_is_disconnected() {
    let world = World::new();
    let limit = Duration::from_millis(300);
    let (_runtime, address) = serve_with(&world, |server| server.header_timeout(limit));
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    connection.write_all(b"GET /metadata/timestamp.json HTTP/1.1\r\nHost: ").unwrap();
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < Duration::from_secs(20), "the server must disconnect a slow client");
        // Send one byte at a time, so that the connection is never silent for long.
        if connection.write_all(b"x").is_err() {
            break;
        }
        match connection.read(&mut [0; 256]) {
            Ok(0) => break,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
            Ok(_) => panic!("the server must not answer an incomplete request"),
        }
    }
    assert!(start.elapsed() >= limit, "{:?}", start.elapsed());
    // Other clients stay connected.
    assert!(ask(address, "GET /metadata/timestamp.json HTTP/1.1").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_response_is_finished_when_the_server_stops() {
    let world = World::new();
    let length = 32 << 20;
    std::fs::write(world.layout().targets().join("large"), vec![b'x'; length]).unwrap();
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::bind(&world.dir(), "127.0.0.1:0".parse().unwrap())).unwrap();
    let address = server.address().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let running = runtime.spawn(server.run_until(async { drop(stopped.await) }, |_| {}));
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(b"GET /targets/large HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = [0; 1];
    connection.read_exact(&mut first).unwrap();
    stop.send(()).unwrap();
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(&vec![b'x'; length]), "{} bytes", rest.len());
    runtime.block_on(running).unwrap();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_requested_path_cannot_control_the_terminal() {
    let line = Answered { path: "/targets/\u{1b}[2J\u{9b}31m\u{202e}\r\nx".into(), status: 404 }.to_string();
    assert_eq!(line, "404 /targets/\\u{1b}[2J\\u{9b}31m\\u{202e}\\u{d}\\u{a}x");
}

#[test]
fn g_1_5_3_a_repository_is_checked_over_plain_http() {
    let world = World::new();
    world.add("sub/größe", "content");
    world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    let (_runtime, address) = serve(&world);
    let root = std::fs::read(world.layout().metadata().join("1.root.json")).unwrap();
    let base = BaseUrl::new(&format!("http://{address}/")).unwrap();
    let found = verify::url(&base, root.clone(), world.now, &|_, _| {}).unwrap();
    assert!(found.is_good(), "{found:?}");
    assert_eq!((found.targets, found.bytes, found.roots.len()), (1, 7, 2));
    let file = world.layout().targets().join(&world.files("targets")[0]);
    std::fs::write(file, "Content").unwrap();
    let found = verify::url(&base, root, world.now, &|_, _| {}).unwrap();
    assert_eq!(found.problems().count(), 1, "{found:?}");
    assert!(!verify::directory(&world.dir(), world.now, TargetNames::HashPrefixed, &|_, _| {}).unwrap().is_good());
}

/// Serves a repository until the test ends. Answers with HTTP status 401 if `refuses` returns true for the requested
/// path.
fn serve_except(world: &World, mut refuses: impl FnMut(&str) -> bool + Send + 'static) -> BaseUrl {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = BaseUrl::new(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let dir = world.dir();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(connection.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or("/");
            let (status, body) = match std::fs::read(dir.join(&path[1..])) {
                _ if refuses(path) => (401, Vec::new()),
                Ok(body) => (200, body),
                Err(_) => (404, Vec::new()),
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = connection.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    base
}

fn check(world: &World, base: &BaseUrl) -> Result<Verification, Error> {
    let root = std::fs::read(world.layout().metadata().join("1.root.json")).unwrap();
    verify::url(base, root, world.now, &|_, _| {})
}

/// Returns the name of the rule for each finding whose severity is [`Severity::Problem`].
fn problems(found: &Verification) -> Vec<&'static str> {
    let problems = found.findings.iter().filter(|finding| finding.severity() == Severity::Problem);
    problems.map(|finding| finding.rule.name()).collect()
}

#[test]
fn a_network_error_is_not_reported_as_a_fault_of_the_repository() {
    let world = World::new();
    world.add("a", "content");
    world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    let key = world.public("targets-1");
    world.change(|edit| delegate(edit, "team", "team/*", &key)).unwrap();
    let targets = serve_except(&world, |path| path.starts_with("/targets/"));
    let listing = serve_except(&world, |path| path.ends_with(".team.json"));
    // Refuse the timestamp after the first request. The check as a client with root version 1 then succeeds, but the
    // check as a client with root version 2 cannot read the timestamp.
    let mut timestamps = 0;
    let later_root = serve_except(&world, move |path| {
        timestamps += u32::from(path.ends_with("/timestamp.json"));
        path.ends_with("/timestamp.json") && timestamps > 1
    });
    for base in [targets, listing, later_root] {
        let found = check(&world, &base).unwrap();
        assert_eq!(problems(&found), ["unreachable-file"], "{found:?}");
        assert!(found.findings.iter().any(|finding| finding.text.contains("401")), "{found:?}");
    }
    let complete = serve_except(&world, |_| false);
    assert!(check(&world, &complete).unwrap().is_good());
    // The server responds, but does not have the file.
    std::fs::remove_file(world.layout().targets().join(&world.files("targets")[0])).unwrap();
    assert_eq!(problems(&check(&world, &complete).unwrap()), ["missing-target-file"]);
}

#[test]
fn a_network_error_during_verify_has_the_exit_status_for_network_errors() {
    let world = World::new();
    world.add("a", "content");
    let base = serve_except(&world, |path| path.starts_with("/targets/"));
    let root = world.layout().metadata().join("1.root.json");
    let maintainer = Maintainer::new();
    maintainer
        .run(&["verify", base.as_str(), "--root", root.to_str().unwrap()])
        .text(lastmile_cli_support::ExitStatus::Network);
}

#[test]
fn an_exceeded_limit_is_not_reported_as_a_failed_verification() {
    let maintainer = Maintainer::new();
    let metadata = maintainer.path("repository/metadata");
    let timestamp = metadata.join("timestamp.json");
    let long = format!("{}{}", std::fs::read_to_string(&timestamp).unwrap(), " ".repeat(20_000));
    std::fs::write(timestamp, long).unwrap();
    let url = format!("file://{}/", metadata.display());
    let root = metadata.join("1.root.json");
    let ran = maintainer.run(&["status", &url, "--root", root.to_str().unwrap(), "--json"]);
    let problem = &ran.json()["problems"][0];
    let text = problem["text"].as_str().unwrap();
    assert!(text.contains("exceeds a limit of this check") && !text.contains("does not verify"), "{ran:?}");
}
