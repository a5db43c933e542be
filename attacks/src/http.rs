//! Malformed and misleading HTTP responses (row 4.8 of `tests/attack-rows.txt`).

use std::io::{self, Write};
use std::time::Duration;

use lastmile_client::{HttpSettings, RetryPolicy};
use lastmile_testkit::{Connection, Delegation, Request};

use crate::hostile_server::{NewRelease, UNREAD, answer, chunk, gzip_bomb, zstd_bomb};
use crate::{Case, EVIL, GOOD, Scenario, release};

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario =
        |id, attack, cases| Scenario { id, rows: &["4.8"], attack, source: "bad input: HTTP responses", cases };
    vec![
        scenario("4.8-bombs", "a small compressed body decompresses to hundreds of megabytes or more", bombs),
        scenario(
            "4.8-codings",
            "Content-Encoding is gzip or zstd but the metadata is not compressed, or Transfer-Encoding is gzip; encodings that the client did not request are legal",
            codings,
        ),
        scenario(
            "4.8-lengths",
            "Content-Length is too small, too large, repeated, negative, 2^64 or not a number",
            lengths,
        ),
        scenario(
            "4.8-chunks",
            "a chunk is truncated, longer than 2^64 bytes or without a length; Content-Length with chunks is legal",
            chunks,
        ),
        scenario("4.8-bodies", "the body is empty, an HTML page, or JSON that is not metadata", bodies),
        scenario("4.8-statuses", "the server sends the file in a response with a status other than 200", statuses),
        scenario(
            "4.8-retry-after",
            "the server asks the client to retry tomorrow, in the year 9999, or after more than 2^64 seconds",
            retry_after,
        ),
        scenario(
            "4.8-not-http",
            "the response is not HTTP/1.1 or has an invalid status, or the server closes the connection at once",
            not_http,
        ),
        scenario(
            "4.8-names",
            "the names of a role and a target contain line breaks and text that looks like an HTTP header",
            names,
        ),
        scenario(
            "4.8-resume",
            "a download is interrupted, and the resumed part belongs to another file or starts at another offset",
            resume,
        ),
    ]
}

/// The files with which statuses and headers are tested. A few files are enough, because the client checks the
/// responses for all files in one function.
const SOME: [&str; 3] = ["root", "timestamp", "new-package"];

type Act = fn(&mut Connection, &[u8]) -> io::Result<()>;

/// Creates two cases, one for the timestamp and one for a target, in which the client must fail for the reason `why`.
fn both(new_release: &NewRelease, sample: &str, act: Act, why: &'static str) -> Vec<Case> {
    let served_files = ["timestamp", "new-package"].map(|role| new_release.served(role));
    served_files.iter().map(|served| served.refused_transfer(new_release.case(served, sample, act), why)).collect()
}

fn bombs() -> Vec<Case> {
    let new_release = NewRelease::new();
    let mut cases = Vec::new();
    for (coding, bomb) in [("gzip", gzip_bomb()), ("zstd", zstd_bomb())] {
        for served in new_release.served_files() {
            let header = format!("Content-Encoding: {coding}\r\n");
            let bomb = bomb.clone();
            let case =
                new_release.case(&served, coding, move |connection, _| answer(connection, "200 OK", &header, &bomb));
            let case = case.max_bytes(UNREAD);
            // The client never decodes a target, so it refuses the compressed body because of its length.
            let is_target = served.role == "new-package";
            cases.push(if is_target {
                case.refused(served.role, "Length")
            } else {
                served.refused_transfer(case, "TooLong")
            });
        }
    }
    cases
}

fn codings() -> Vec<Case> {
    let new_release = NewRelease::new();
    let mut cases = Vec::new();
    for coding in ["br", "deflate", "gzip, gzip", "x"] {
        // Skip the root: the client receives no new root here, so there is no response that could be encoded.
        for served in SOME.iter().filter(|role| **role != "root").map(|role| new_release.served(role)) {
            let header = format!("Content-Encoding: {coding}\r\n");
            // The client did not request this encoding, so it does not decode the body.
            let case =
                new_release.case(&served, coding, move |connection, file| answer(connection, "200 OK", &header, file));
            cases.push(case);
        }
    }
    let target = new_release.served("new-package");
    let gzip = new_release
        .case(&target, "gzip", |connection, file| answer(connection, "200 OK", "Content-Encoding: gzip\r\n", file));
    cases.push(gzip);
    let timestamp = new_release.served("timestamp");
    for coding in ["gzip", "zstd"] {
        let header = format!("Content-Encoding: {coding}\r\n");
        let case = new_release.case(&timestamp, format!("{coding}, but not encoded"), move |connection, file| {
            answer(connection, "200 OK", &header, file)
        });
        cases.push(timestamp.refused_transfer(case, "Undecodable"));
    }
    let transfer: Act = |connection, file| {
        connection.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")?;
        connection.write_all(&[chunk(file), b"0\r\n\r\n".to_vec()].concat())
    };
    cases.extend(both(&new_release, "Transfer-Encoding: gzip", transfer, "Encoded"));
    let identity = new_release.case(&timestamp, "identity", |connection, file| {
        answer(connection, "200 OK", "Content-Encoding: identity\r\n", file)
    });
    cases.push(identity);
    cases
}

/// `length` contains all `Content-Length` header lines of the response.
fn of_length(connection: &mut Connection, length: &str, body: &[u8]) -> io::Result<()> {
    write!(connection, "HTTP/1.1 200 OK\r\n{length}\r\nConnection: close\r\n\r\n")?;
    connection.write_all(body)
}

fn lengths() -> Vec<Case> {
    let new_release = NewRelease::new();
    let timestamp = new_release.served("timestamp");
    let target = new_release.served("new-package");
    let smaller: Act = |connection, file| of_length(connection, &format!("Content-Length: {}", file.len() - 5), file);
    let larger: Act = |connection, file| of_length(connection, &format!("Content-Length: {}", file.len() + 5), file);
    let mut cases = vec![
        timestamp.refused_content(new_release.case(&timestamp, "smaller", smaller), "Malformed"),
        target.refused_transfer(new_release.case(&target, "larger", larger), "Cut"),
        target.refused_transfer(new_release.case(&target, "smaller", smaller), "Cut"),
        timestamp.refused_transfer(new_release.case(&timestamp, "larger", larger), "Cut"),
    ];
    let twice: Act = |connection, file| of_length(connection, "Content-Length: 5\r\nContent-Length: 6", file);
    let samples: [(&str, Act); 6] = [
        ("twice", twice),
        ("a list", |connection, file| of_length(connection, "Content-Length: 5, 6", file)),
        ("negative", |connection, file| of_length(connection, "Content-Length: -1", file)),
        ("2^64", |connection, file| of_length(connection, "Content-Length: 18446744073709551616", file)),
        ("hexadecimal", |connection, file| of_length(connection, "Content-Length: 0x10", file)),
        ("not a number", |connection, file| of_length(connection, "Content-Length: many", file)),
    ];
    for (sample, act) in samples {
        cases.extend(both(&new_release, sample, act, "Cut"));
    }
    cases
}

fn chunks() -> Vec<Case> {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let new_release = NewRelease::new();
    let cases: [(&str, Act); 5] = [
        ("longer than 2^64", |connection, file| {
            connection.write_all(HEAD.as_bytes())?;
            connection.write_all(b"FFFFFFFFFFFFFFFFF\r\n")?;
            connection.write_all(file)
        }),
        ("without a number", |connection, file| {
            connection.write_all(HEAD.as_bytes())?;
            connection.write_all(b"\r\n")?;
            connection.write_all(file)
        }),
        ("negative", |connection, file| {
            connection.write_all(HEAD.as_bytes())?;
            connection.write_all(b"-5\r\n")?;
            connection.write_all(file)
        }),
        ("cut off", |connection, file| {
            write!(connection, "{HEAD}{:x}\r\n", file.len())?;
            connection.write_all(&file[..file.len() - 1])
        }),
        ("without the last chunk", |connection, file| {
            connection.write_all(HEAD.as_bytes())?;
            connection.write_all(&chunk(&file[..file.len() - 1]))
        }),
    ];
    let mut cases: Vec<Case> =
        cases.into_iter().flat_map(|(sample, act)| both(&new_release, sample, act, "Cut")).collect();
    // Chunks take precedence over Content-Length (RFC 9112, section 6.3), so the client reads the whole file.
    let timestamp = new_release.served("timestamp");
    cases.push(new_release.case(&timestamp, "with a length", |connection, file| {
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        connection.write_all(&[chunk(file), b"0\r\n\r\n".to_vec()].concat())
    }));
    cases
}

fn bodies() -> Vec<Case> {
    let new_release = NewRelease::new();
    let mut cases = Vec::new();
    for served in new_release.served_files() {
        for (sample, body) in [
            ("empty", ""),
            ("an HTML page", "<!DOCTYPE html><html><body>Please log in to this network</body></html>"),
            ("other JSON", r#"{"error": "busy"}"#),
        ] {
            let case = new_release
                .case(&served, sample, move |connection, _| answer(connection, "200 OK", "", body.as_bytes()));
            let listed = new_release.network().file(&served.path).map_or(0, |file| file.len());
            cases.push(match served.role {
                "new-package" => served.refused_content(case, "Length"),
                // A body that is not JSON usually comes from a login page or a broken server, so the client reports a
                // network error.
                _ if !body.starts_with('{') => served.refused_transfer(case, "NotMetadata"),
                "root" | "timestamp" => served.refused_content(case, "Malformed"),
                _ if body.len() > listed => served.refused_transfer(case, "TooLong"),
                _ => served.refused_content(case, "LengthMismatch"),
            });
        }
    }
    cases
}

fn statuses() -> Vec<Case> {
    let new_release = NewRelease::new();
    let mut cases = Vec::new();
    for status in [
        "204 Nothing",
        "206 A Part",
        "300 Choose",
        "304 As Before",
        "400 No",
        "401 Who",
        "403 No",
        "407 Who",
        "451 No",
        "500 Oh",
        "599 Oh",
    ] {
        for served in SOME.map(|role| new_release.served(role)) {
            let case = new_release.case(&served, status, move |connection, file| answer(connection, status, "", file));
            let why = match status {
                "401 Who" => "Unauthorized",
                "407 Who" => "ProxyUnauthorized",
                _ => "Status",
            };
            cases.push(served.refused_transfer(case, why));
        }
    }
    for status in ["404 Not Found", "410 Gone"] {
        for served in SOME.map(|role| new_release.served(role)) {
            let case = new_release.case(&served, status, move |connection, file| answer(connection, status, "", file));
            // These statuses are the correct answer to the request for the next root, because there is no newer root.
            cases.push(if served.role == "root" { case } else { served.refused_transfer(case, "NotFound") });
        }
    }
    cases
}

fn retry_after() -> Vec<Case> {
    let new_release = NewRelease::new();
    let retry_policy = RetryPolicy { retries: 1, longest_pause: Duration::from_millis(50), ..RetryPolicy::default() };
    let mut cases = Vec::new();
    for served in SOME.map(|role| new_release.served(role)) {
        for (sample, header, why) in [
            ("429, a day", "Retry-After: 86400\r\n", "RetryLater"),
            ("503, more than 2^64 seconds", "Retry-After: 99999999999999999999999\r\n", "Status"),
            ("503, a date", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n", "Status"),
        ] {
            let status = if sample.starts_with("429") { "429 Busy" } else { "503 Busy" };
            let case = new_release.case(&served, sample, move |connection, _| answer(connection, status, header, b""));
            cases.push(served.refused_transfer(case.retry_policy(retry_policy), why));
        }
    }
    cases
}

fn not_http() -> Vec<Case> {
    let new_release = NewRelease::new();
    let cases: [(&str, Act); 5] = [
        ("HTTP/0.9", |connection, file| connection.write_all(file)),
        ("another protocol", |connection, _| connection.write_all(b"SSH-2.0-x\r\n")),
        ("an unknown HTTP version", |connection, file| {
            connection.write_all(b"HTTP/9.9 200 OK\r\n\r\n")?;
            connection.write_all(file)
        }),
        ("an invalid status", |connection, file| {
            connection.write_all(b"HTTP/1.1 20 OK\r\n\r\n")?;
            connection.write_all(file)
        }),
        ("closed at once", |_, _| Ok(())),
    ];
    cases.into_iter().flat_map(|(sample, act)| both(&new_release, sample, act, "Cut")).collect()
}

fn names() -> Vec<Case> {
    const NAME: &str = "x HTTP/1.1\r\nX-Evil: 1\r\nY:";
    let mut honest = release(2);
    honest.delegate("targets", &Delegation::paths(NAME, &["crlf/*"]));
    honest.add_target(NAME, "crlf/package", GOOD);
    honest.add_target("targets", NAME, GOOD);
    let mut newer = honest.fork();
    honest.publish(&[NAME, "team", "targets"]);
    newer.publish(&[NAME, "team", "targets"]);
    let network = newer.network().fork();
    let watching = std::sync::Arc::new(move |request: &Request, _: &mut Connection| {
        let smuggled = request.header.iter().any(|line| line.to_ascii_lowercase().starts_with("x-evil"));
        assert!(!smuggled, "part of a name was sent as a header: {request:?}");
        Ok(Some(network.answer(&request.path)))
    });
    let role = Case::against(&honest).sample("a role").responder(watching.clone()).get("crlf/package");
    let target = Case::against(&honest)
        .sample("a target")
        .responder(watching)
        .get(NAME)
        .refused("name", "Name")
        .in_process_only();
    vec![role, target]
}

fn resume() -> Vec<Case> {
    let new_release = NewRelease::new();
    let target = new_release.served("new-package");
    let retry_policy = RetryPolicy { retries: 1, first_pause: Duration::from_millis(1), ..RetryPolicy::default() };
    let case = |sample: &str, rest: Act| {
        let case = new_release.case_with_request(&target, sample, move |request, connection, file| {
            if request.header.iter().any(|line| line.to_ascii_lowercase().starts_with("range:")) {
                return rest(connection, file);
            }
            // The first response ends after two bytes, so the client must resume.
            write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", file.len())?;
            connection.write_all(&file[..2])
        });
        case.http(HttpSettings::default(), 1).retry_policy(retry_policy)
    };
    vec![
        case("honest", |connection, file| {
            answer(connection, "206 Partial Content", "Content-Range: bytes 2-11/12\r\n", &file[2..])
        }),
        case("the whole file instead", |connection, file| answer(connection, "200 OK", "", file)),
        case("of another file", |connection, _| {
            answer(connection, "206 Partial Content", "Content-Range: bytes 2-11/12\r\n", &EVIL[2..])
        })
        .refused("new-package", "Hash"),
        case("the whole of another file", |connection, _| answer(connection, "200 OK", "", EVIL))
            .refused("new-package", "Hash"),
        case("more bytes than listed", |connection, file| {
            answer(
                connection,
                "206 Partial Content",
                "Content-Range: bytes 2-17/18\r\n",
                &[&file[2..], b"more!!"].concat(),
            )
        })
        .refused("new-package", "Length"),
        target.refused_transfer(
            case("from another offset", |connection, file| {
                answer(connection, "206 Partial Content", "Content-Range: bytes 0-11/12\r\n", file)
            }),
            "WrongRange",
        ),
        target.refused_transfer(
            case("without Content-Range", |connection, file| answer(connection, "206 Partial Content", "", &file[2..])),
            "WrongRange",
        ),
        case("range not satisfiable", |connection, _| answer(connection, "416 Range Not Satisfiable", "", b""))
            .refused("new-package", "Length"),
        target.refused_transfer(
            case("not found any more", |connection, _| answer(connection, "404 Not Found", "", b"")),
            "NotFound",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_in_resume_are_those_of_the_new_package() {
        let new_release = NewRelease::new();
        assert_eq!(new_release.network().file(&new_release.served("new-package").path).unwrap(), GOOD);
        assert_eq!((GOOD.len(), EVIL.len()), (12, 12));
        assert_ne!(GOOD, EVIL);
    }
}
