//! Endless and slow responses (rows 3.4 and 3.5 of `tests/attack-rows.txt`).

use std::io::{self, ErrorKind, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use lastmile_client::{HttpSettings, RetryPolicy};
use lastmile_metadata::Limits;
use lastmile_testkit::Connection;

use crate::hostile_server::{NewRelease, UNREAD, answer, chunk, endless};
use crate::{Case, Scenario};

/// How long the server stalls. This is longer than the client's timeouts. Afterwards, the server sends the rest of the
/// file: a client without a timeout would complete the download, and the test would fail.
const LONG: Duration = Duration::from_secs(4);

const SPECIFICATION: &str = "specification 1.5.2 (endless data, slow retrieval)";

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |id, attack, cases| Scenario { id, rows: rows(id), attack, source: SPECIFICATION, cases };
    vec![
        scenario(
            "3.4-bodies",
            "the body of a response never ends: it is chunked, has a huge Content-Length, or is delimited by the end of the connection",
            bodies,
        ),
        scenario(
            "3.4-limits",
            "a file is one byte longer than allowed; a file of exactly the allowed length is legal",
            at_the_limit,
        ),
        scenario("3.4-error-pages", "the body of an error response (404 or 500) is endless", error_pages),
        scenario("3.4-redirects", "the body of a redirect is endless", redirects),
        scenario(
            "3.4-headers",
            "a header, a trailer or a chunk extension is endless, or a response has 100,000 headers",
            headers,
        ),
        scenario(
            "3.4-informational",
            "the server sends endless responses with status 103 (Early Hints)",
            informational,
        ),
        scenario(
            "3.5-silence",
            "the server stops sending before the header, after the header, or within the body",
            silence,
        ),
        scenario(
            "3.5-drip",
            "the server sends the header or the body one byte at a time, with pauses shorter than the timeout",
            drip,
        ),
        scenario("3.5-open", "the server sends the whole file but does not close the connection", kept_open),
        scenario("3.5-tls", "a redirect leads to a server that never answers the TLS handshake", silent_tls),
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

fn bodies() -> Vec<Case> {
    let new_release = NewRelease::new();
    let mut cases = Vec::new();
    for served in new_release.served_files() {
        let heads: [(&str, &str, &[u8]); 3] = [
            ("in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\nxxxx\r\n"),
            ("until the connection closes", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x"),
            ("with a huge length", "HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000000\r\n\r\n", b"x"),
        ];
        for (sample, head, part) in heads {
            let case = new_release
                .case(&served, sample, move |connection, _| endless(connection, head, part))
                .max_bytes(UNREAD);
            cases.push(too_long(served.role, &served.file, case));
        }
    }
    cases
}

fn too_long(role: &'static str, file: &str, case: Case) -> Case {
    if role == "new-package" { case.refused(role, "Length") } else { case.refused(file, "TooLong") }
}

fn at_the_limit() -> Vec<Case> {
    let new_release = NewRelease::new();
    let mut cases = Vec::new();
    for served in new_release.served_files() {
        let length = new_release.network().file(&served.path).map_or(0, |file| file.len());
        if served.role == "root" {
            // No metadata lists the length of the next root, so only the client's own limit applies.
            let limits = || with(|limits| limits.root_length = 10);
            let exactly =
                new_release.case(&served, "exactly", |connection, _| answer(connection, "200 OK", "", &[b'x'; 10]));
            cases.push(served.refused_transfer(exactly, "NotMetadata").limits(limits()));
            let more =
                new_release.case(&served, "one more", |connection, _| answer(connection, "200 OK", "", &[b'x'; 11]));
            cases.push(served.refused_transfer(more, "TooLong").limits(limits()));
            continue;
        }
        let exactly = new_release.case(&served, "exactly", |connection, file| answer(connection, "200 OK", "", file));
        let exactly = if served.role == "timestamp" {
            exactly.limits(with(|limits| limits.timestamp_length = length as u64))
        } else {
            exactly
        };
        cases.push(exactly);
        let more = new_release
            .case(&served, "one more", |connection, file| answer(connection, "200 OK", "", &[file, b" "].concat()));
        let more = too_long(served.role, &served.file, more);
        cases.push(if served.role == "timestamp" {
            more.limits(with(|limits| limits.timestamp_length = length as u64))
        } else {
            more
        });
    }
    cases
}

fn with(edit: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    edit(&mut limits);
    limits
}

fn error_pages() -> Vec<Case> {
    let new_release = NewRelease::new();
    let mut cases = Vec::new();
    for served in new_release.served_files() {
        for status in ["404 Not Found", "500 Oh"] {
            let head = format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n");
            let page = chunk(&[b'x'; 4096]);
            let case = new_release
                .case(&served, status, move |connection, _| endless(connection, &head, &page))
                .max_bytes(UNREAD);
            cases.push(match (served.role, status) {
                // This status is the correct answer to the request for the next root, because there is no newer root.
                ("root", "404 Not Found") => case,
                (_, "404 Not Found") => served.refused_transfer(case, "NotFound"),
                _ => served.refused_transfer(case, "Status"),
            });
        }
    }
    cases
}

fn redirects() -> Vec<Case> {
    let new_release = NewRelease::new();
    let cases = new_release.served_files().into_iter().map(|served| {
        let head =
            format!("HTTP/1.1 302 Found\r\nLocation: /elsewhere/{}\r\nTransfer-Encoding: chunked\r\n\r\n", served.path);
        let redirected = new_release
            .case(&served, "then the file", move |connection, _| endless(connection, &head, b"4\r\nxxxx\r\n"));
        redirected.max_bytes(UNREAD)
    });
    cases.collect()
}

fn headers() -> Vec<Case> {
    let new_release = NewRelease::new();
    let mut cases = Vec::new();
    for served in ["timestamp", "new-package"].map(|role| new_release.served(role)) {
        let mut add = |sample: &str, act: fn(&mut Connection, &[u8]) -> io::Result<()>| {
            let case = new_release.case(&served, sample, act).max_bytes(UNREAD);
            cases.push(served.refused_transfer(case, "Cut"));
        };
        add("an endless header", |connection, _| endless(connection, "HTTP/1.1 200 OK\r\nX: ", b"x"));
        add("endlessly many headers", |connection, _| endless(connection, "HTTP/1.1 200 OK\r\n", b"X: y\r\n"));
        add("an endless status line", |connection, _| endless(connection, "HTTP/1.1 200 ", b"x"));
        add("100,000 headers", |connection, file| answer(connection, "200 OK", &"X: y\r\n".repeat(100_000), file));
        add("endlessly many trailers", |connection, file| {
            connection.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            connection.write_all(&chunk(file))?;
            endless(connection, "0\r\n", b"X: y\r\n")
        });
        add("an endless chunk extension", |connection, _| {
            endless(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;", b"x=y;")
        });
    }
    cases
}

/// Returns cases with endless informational responses. The cases check the time limit, but not the number of bytes,
/// because the HTTP library skips informational responses without reporting them to the client.
fn informational() -> Vec<Case> {
    let new_release = NewRelease::new();
    let cases = ["timestamp", "new-package"].map(|role| new_release.served(role)).into_iter().map(|served| {
        let hint = b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n";
        let case = new_release.case(&served, "endless", |connection, file| {
            let started = Instant::now();
            while started.elapsed() < LONG {
                connection.write_all(&hint.repeat(1_000))?;
            }
            answer(connection, "200 OK", "", file)
        });
        served.refused_transfer(impatient(case.max_bytes(u64::MAX)), "Timeout")
    });
    cases.collect()
}

/// Gives the client timeouts that are short enough for a test.
pub(super) fn impatient(case: Case) -> Case {
    let retry_policy =
        RetryPolicy { retries: 0, deadline: Duration::from_millis(900), slowest: 1_000, ..RetryPolicy::default() };
    let short = Duration::from_millis(300);
    case.http(HttpSettings { gap_timeout: short, connect_timeout: short, ..HttpSettings::default() }, 0)
        .retry_policy(retry_policy)
}

fn silence() -> Vec<Case> {
    let new_release = NewRelease::new();
    let mut cases = Vec::new();
    for served in new_release.served_files() {
        let mut add = |sample: &str, act: fn(&mut Connection, &[u8]) -> io::Result<()>| {
            cases.push(served.refused_transfer(impatient(new_release.case(&served, sample, act)), "Timeout"));
        };
        add("before the header", |connection, file| {
            wait_long(connection)?;
            answer(connection, "200 OK", "", file)
        });
        add("after the header", |connection, file| {
            write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.len().max(1))?;
            wait_long(connection)?;
            connection.write_all(file)
        });
        add("within the body", |connection, file| {
            let (first, rest) = file.split_at(file.len().min(1));
            write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.len().max(10))?;
            connection.write_all(first)?;
            wait_long(connection)?;
            connection.write_all(rest)
        });
    }
    cases
}

/// Waits for [`LONG`], or until the client closes the connection.
fn wait_long(connection: &mut Connection) -> io::Result<()> {
    connection.stream().set_read_timeout(Some(LONG))?;
    match connection.wait_for_close() {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
        ended => ended,
    }
}

fn drip() -> Vec<Case> {
    let new_release = NewRelease::new();
    let mut cases = Vec::new();
    for served in ["root", "timestamp", "snapshot", "new-package"].map(|role| new_release.served(role)) {
        let header = new_release.case(&served, "the header", |connection, file| {
            dripping(connection, b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n")?;
            write!(connection, "Content-Length: {}\r\n\r\n", file.len())?;
            connection.write_all(file)
        });
        cases.push(served.refused_transfer(impatient(header), "Timeout"));
        let body = new_release.case(&served, "the body", |connection, _| {
            dripping(connection, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n")?;
            connection.write_all(b"0\r\n\r\n")
        });
        cases.push(served.refused_transfer(impatient(body), "Timeout"));
    }
    cases
}

/// Writes `part` repeatedly, one byte at a time. The pauses are shorter than [`HttpSettings::gap_timeout`].
fn dripping(connection: &mut Connection, first: &[u8], part: &[u8]) -> io::Result<()> {
    connection.write_all(first)?;
    let started = Instant::now();
    while started.elapsed() < LONG {
        for byte in part {
            connection.write_all(&[*byte])?;
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn kept_open() -> Vec<Case> {
    let new_release = NewRelease::new();
    let cases = new_release.served_files().into_iter().map(|served| {
        let is_root = served.role == "root";
        new_release.case(&served, "with a length", move |connection, file| {
            let status = if is_root { "404 Not Found" } else { "200 OK" };
            let length = file.len();
            // Send `Connection: close`, because a client that reused the connection would get no response to its next
            // request.
            write!(connection, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
            connection.write_all(file)?;
            connection.wait_for_close()
        })
    });
    cases.collect()
}

fn silent_tls() -> Vec<Case> {
    let new_release = NewRelease::new();
    let served = new_release.served("timestamp");
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback");
    let case = new_release.case(&served, "a silent server", move |connection, _| {
        let silent = listener.try_clone()?;
        thread::spawn(move || silent.accept().map(|_connection| thread::sleep(LONG)));
        let location = format!("Location: https://{}/x\r\n", listener.local_addr()?);
        answer(connection, "302 Found", &location, b"")
    });
    vec![served.refused_transfer(impatient(case), "Timeout")]
}
