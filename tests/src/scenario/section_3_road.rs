//! Endless and slow answers (advisories 3.4 and 3.5).

use std::io::{self, ErrorKind, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use lastmile_client::{HttpSettings, RetryPolicy};
use lastmile_metadata::Limits;

use crate::scenario::wire::{Scene, UNREAD, answer, chunk, endless};
use crate::scenario::{Play, Scenario};
use crate::server::Wire;

/// Longer than an impatient client waits. Then the whole file comes, so that one that goes on waiting is found out.
const LONG: Duration = Duration::from_secs(4);

const SPECIFICATION: &str = "specification 1.5.2 (endless data, slow retrieval)";

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |id, attack, plays| Scenario { id, rows: rows(id), attack, source: SPECIFICATION, plays };
    vec![
        scenario("3.4-bodies", "each file in turn never ends, with a length, in chunks and without either", bodies),
        scenario(
            "3.4-limits",
            "each file in turn is one byte longer than it is listed or may be, and exactly so long",
            at_the_limit,
        ),
        scenario("3.4-error-pages", "the page that says that a file is absent never ends", error_pages),
        scenario("3.4-redirects", "the body of a redirect never ends", redirects),
        scenario(
            "3.4-headers",
            "an endless header, 100,000 short headers, endless trailers and chunk extensions",
            headers,
        ),
        scenario("3.4-informational", "one answer 103 after the other, and never a last one", informational),
        scenario(
            "3.5-silence",
            "no byte after the connection is made, after the header, within the body (S1)",
            silence,
        ),
        scenario("3.5-drip", "header or body come byte by byte, each in time (S2, S3)", drip),
        scenario("3.5-open", "the whole file comes, and the connection never ends (S4)", kept_open),
        scenario("3.5-tls", "a redirect to a server that never says a word of TLS (S5)", silent_tls),
    ]
}

fn rows(id: &'static str) -> &'static [&'static str] {
    match id {
        "3.5-silence" => &["3.5-S1"],
        "3.5-drip" => &["3.5-S2", "3.5-S3"],
        "3.5-open" => &["3.5-S4"],
        "3.5-tls" => &["3.5-S5"],
        _ => &["3.4"],
    }
}

fn bodies() -> Vec<Play> {
    let scene = Scene::new();
    let mut plays = Vec::new();
    for place in scene.places() {
        let heads: [(&str, &str, &[u8]); 3] = [
            ("in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\nxxxx\r\n"),
            ("until the connection ends", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x"),
            ("of a vast length", "HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000000\r\n\r\n", b"x"),
        ];
        for (sample, head, part) in heads {
            let play = scene.play(&place, sample, move |wire, _| endless(wire, head, part)).most_bytes(UNREAD);
            plays.push(too_long(place.role, &place.file, play));
        }
    }
    plays
}

/// The error that a file is too long: a target is blamed by its name.
fn too_long(role: &'static str, file: &str, play: Play) -> Play {
    if role == "new-package" { play.refused(role, "Length") } else { play.refused(file, "TooLong") }
}

fn at_the_limit() -> Vec<Play> {
    let scene = Scene::new();
    let mut plays = Vec::new();
    for place in scene.places() {
        let length = scene.road().file(&place.path).map_or(0, |file| file.len());
        if place.role == "root" {
            // Nothing but a limit says how long the next root may be.
            let limits = || with(|limits| limits.root_length = 10);
            let exactly = scene.play(&place, "exactly", |wire, _| answer(wire, "200 OK", "", &[b'x'; 10]));
            plays.push(place.misread(exactly, "Malformed").limits(limits()));
            let more = scene.play(&place, "one more", |wire, _| answer(wire, "200 OK", "", &[b'x'; 11]));
            plays.push(place.unread(more, "TooLong").limits(limits()));
            continue;
        }
        let exactly = scene.play(&place, "exactly", |wire, file| answer(wire, "200 OK", "", file));
        let exactly = if place.role == "timestamp" {
            exactly.limits(with(|limits| limits.timestamp_length = length as u64))
        } else {
            exactly
        };
        plays.push(exactly);
        let more = scene.play(&place, "one more", |wire, file| answer(wire, "200 OK", "", &[file, b" "].concat()));
        let more = too_long(place.role, &place.file, more);
        plays.push(if place.role == "timestamp" {
            more.limits(with(|limits| limits.timestamp_length = length as u64))
        } else {
            more
        });
    }
    plays
}

fn with(edit: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    edit(&mut limits);
    limits
}

fn error_pages() -> Vec<Play> {
    let scene = Scene::new();
    let mut plays = Vec::new();
    for place in scene.places() {
        for status in ["404 Not Found", "500 Oh"] {
            let head = format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n");
            let page = chunk(&[b'x'; 4096]);
            let play = scene.play(&place, status, move |wire, _| endless(wire, &head, &page)).most_bytes(UNREAD);
            plays.push(match (place.role, status) {
                // That there is no newer root is what an honest server says, too.
                ("root", "404 Not Found") => play,
                (_, "404 Not Found") => place.unread(play, "NotFound"),
                _ => place.unread(play, "Status"),
            });
        }
    }
    plays
}

fn redirects() -> Vec<Play> {
    let scene = Scene::new();
    let plays = scene.places().into_iter().map(|place| {
        let head =
            format!("HTTP/1.1 302 Found\r\nLocation: /elsewhere/{}\r\nTransfer-Encoding: chunked\r\n\r\n", place.path);
        let redirected = scene.play(&place, "then the file", move |wire, _| endless(wire, &head, b"4\r\nxxxx\r\n"));
        redirected.most_bytes(UNREAD)
    });
    plays.collect()
}

fn headers() -> Vec<Play> {
    let scene = Scene::new();
    let mut plays = Vec::new();
    for place in ["timestamp", "new-package"].map(|role| scene.place(role)) {
        let mut add = |sample: &str, act: fn(&mut Wire, &[u8]) -> io::Result<()>| {
            let play = scene.play(&place, sample, act).most_bytes(UNREAD);
            plays.push(place.unread(play, "Cut"));
        };
        add("one without an end", |wire, _| endless(wire, "HTTP/1.1 200 OK\r\nX: ", b"x"));
        add("headers without an end", |wire, _| endless(wire, "HTTP/1.1 200 OK\r\n", b"X: y\r\n"));
        add("a status line without an end", |wire, _| endless(wire, "HTTP/1.1 200 ", b"x"));
        add("100,000 headers", |wire, file| answer(wire, "200 OK", &"X: y\r\n".repeat(100_000), file));
        add("trailers without an end", |wire, file| {
            wire.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            wire.write_all(&chunk(file))?;
            endless(wire, "0\r\n", b"X: y\r\n")
        });
        add("a chunk extension without an end", |wire, _| {
            endless(wire, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;", b"x=y;")
        });
    }
    plays
}

/// Memory and time are bounded here, bytes are not: the library that speaks HTTP passes over such answers and tells nobody.
fn informational() -> Vec<Play> {
    let scene = Scene::new();
    let plays = ["timestamp", "new-package"].map(|role| scene.place(role)).into_iter().map(|place| {
        let hint = b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n";
        let play = scene.play(&place, "for ever", |wire, file| {
            let started = Instant::now();
            while started.elapsed() < LONG {
                wire.write_all(&hint.repeat(1_000))?;
            }
            answer(wire, "200 OK", "", file)
        });
        place.unread(impatient(play.most_bytes(u64::MAX)), "Timeout")
    });
    plays.collect()
}

/// With so little patience that a test can wait for its end.
fn impatient(play: Play) -> Play {
    let patience =
        RetryPolicy { retries: 0, deadline: Duration::from_millis(900), slowest: 1_000, ..RetryPolicy::default() };
    let short = Duration::from_millis(300);
    play.http(HttpSettings { gap_timeout: short, connect_timeout: short, ..HttpSettings::default() }, 0)
        .patience(patience)
}

fn silence() -> Vec<Play> {
    let scene = Scene::new();
    let mut plays = Vec::new();
    for place in scene.places() {
        let mut add = |sample: &str, act: fn(&mut Wire, &[u8]) -> io::Result<()>| {
            plays.push(place.unread(impatient(scene.play(&place, sample, act)), "Timeout"));
        };
        add("no byte", |wire, file| {
            wait_long(wire)?;
            answer(wire, "200 OK", "", file)
        });
        add("after the header", |wire, file| {
            write!(wire, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.len().max(1))?;
            wait_long(wire)?;
            wire.write_all(file)
        });
        add("within the body", |wire, file| {
            let (first, rest) = file.split_at(file.len().min(1));
            write!(wire, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.len().max(10))?;
            wire.write_all(first)?;
            wait_long(wire)?;
            wire.write_all(rest)
        });
    }
    plays
}

/// Says nothing, unless the client ends the connection.
fn wait_long(wire: &mut Wire) -> io::Result<()> {
    wire.stream().set_read_timeout(Some(LONG))?;
    match wire.wait_for_the_end() {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
        ended => ended,
    }
}

fn drip() -> Vec<Play> {
    let scene = Scene::new();
    let mut plays = Vec::new();
    for place in ["root", "timestamp", "snapshot", "new-package"].map(|role| scene.place(role)) {
        let header = scene.play(&place, "the header", |wire, file| {
            dripping(wire, b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n")?;
            write!(wire, "Content-Length: {}\r\n\r\n", file.len())?;
            wire.write_all(file)
        });
        plays.push(place.unread(impatient(header), "Timeout"));
        let body = scene.play(&place, "the body", |wire, _| {
            dripping(wire, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n")?;
            wire.write_all(b"0\r\n\r\n")
        });
        plays.push(place.unread(impatient(body), "Timeout"));
    }
    plays
}

/// Writes one byte after the other, each well within the time for a gap.
fn dripping(wire: &mut Wire, first: &[u8], part: &[u8]) -> io::Result<()> {
    wire.write_all(first)?;
    let started = Instant::now();
    while started.elapsed() < LONG {
        for byte in part {
            wire.write_all(&[*byte])?;
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn kept_open() -> Vec<Play> {
    let scene = Scene::new();
    let plays = scene.places().into_iter().map(|place| {
        let is_root = place.role == "root";
        scene.play(&place, "with a length", move |wire, file| {
            let status = if is_root { "404 Not Found" } else { "200 OK" };
            let length = file.len();
            // Another request over this connection would be met with silence.
            write!(wire, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
            wire.write_all(file)?;
            wire.wait_for_the_end()
        })
    });
    plays.collect()
}

fn silent_tls() -> Vec<Play> {
    let scene = Scene::new();
    let place = scene.place("timestamp");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback");
    let play = scene.play(&place, "a connection and no more", move |wire, _| {
        let silent = listener.try_clone()?;
        thread::spawn(move || silent.accept().map(|_connection| thread::sleep(LONG)));
        let location = format!("Location: https://{}/x\r\n", listener.local_addr()?);
        answer(wire, "302 Found", &location, b"")
    });
    vec![place.unread(impatient(play), "Timeout")]
}
