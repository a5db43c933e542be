//! Tests of the tool's HTTP server, and of checking a repository at a URL.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use lastmile_client::BaseUrl;
use lastmile_metadata::{RoleName, TargetNames};
use lastmile_repo_tool::internal::server::{Answered, Server};
use lastmile_repo_tool::internal::verify;
use tokio::runtime::Runtime;

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
    // Change one byte of the target.
    let file = world.layout().targets().join(&world.files("targets")[0]);
    std::fs::write(file, "Content").unwrap();
    let found = verify::url(&base, root, world.now, &|_, _| {}).unwrap();
    assert_eq!(found.problems().count(), 1, "{found:?}");
    assert!(!verify::directory(&world.dir(), world.now, TargetNames::HashPrefixed, &|_, _| {}).unwrap().is_good());
}
