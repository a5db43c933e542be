//! Bodies of HTTP that are not what their header says (advisories 4.8).

use std::io::{self, Write};
use std::time::Duration;

use lastmile_client::{HttpSettings, RetryPolicy};

use crate::delegations::Delegation;
use crate::scenario::wire::{Scene, UNREAD, answer, chunk, gzip_bomb, zstd_bomb};
use crate::scenario::{EVIL, GOOD, Play, Scenario, release};
use crate::server::{Request, Wire};

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario =
        |id, attack, plays| Scenario { id, rows: &["4.8"], attack, source: "bad input: bodies of HTTP", plays };
    vec![
        scenario("4.8-bombs", "a compressed body of some kilobytes becomes gigabytes", bombs),
        scenario(
            "4.8-codings",
            "a body is encoded in a way that was not asked for, or is not what its coding says",
            codings,
        ),
        scenario("4.8-lengths", "Content-Length is too small, too large, twice, negative, 2^64, no number", lengths),
        scenario("4.8-chunks", "a chunk is cut off, longer than 2^64, has no number; a length beside chunks", chunks),
        scenario("4.8-bodies", "the body is empty, a page of HTML, or another one than JSON", bodies),
        scenario("4.8-statuses", "another status than 200, with the file as its body", statuses),
        scenario(
            "4.8-retry-after",
            "the server asks to come back tomorrow, or after more seconds than there are",
            retry_after,
        ),
        scenario("4.8-not-http", "HTTP/0.9, another protocol, a connection that ends or is reset at once", not_http),
        scenario("4.8-names", "a role's and a target's name hold line ends and what looks like a header", names),
        scenario("4.8-resume", "a transfer breaks off, and the rest is of another file or from another place", resume),
    ]
}

/// Where what the status or the header says is tried: it is judged in one place for all files.
const SOME: [&str; 3] = ["root", "timestamp", "new-package"];

type Act = fn(&mut Wire, &[u8]) -> io::Result<()>;

/// At the timestamp and at a target, `act` leads to this fault.
fn both(scene: &Scene, sample: &str, act: Act, why: &'static str) -> Vec<Play> {
    let places = ["timestamp", "new-package"].map(|role| scene.place(role));
    places.iter().map(|place| place.unread(scene.play(place, sample, act), why)).collect()
}

fn bombs() -> Vec<Play> {
    let scene = Scene::new();
    let mut plays = Vec::new();
    for (coding, bomb) in [("gzip", gzip_bomb()), ("zstd", zstd_bomb())] {
        for place in scene.places() {
            let (header, bomb) = (format!("Content-Encoding: {coding}\r\n"), bomb.clone());
            let play = scene.play(&place, coding, move |wire, _| answer(wire, "200 OK", &header, &bomb));
            let why = if place.role == "new-package" { "Encoded" } else { "TooLong" };
            plays.push(place.unread(play.most_bytes(UNREAD), why));
        }
    }
    plays
}

fn codings() -> Vec<Play> {
    let scene = Scene::new();
    let mut plays = Vec::new();
    for coding in ["br", "deflate", "gzip, gzip", "x"] {
        for place in SOME.map(|role| scene.place(role)) {
            let header = format!("Content-Encoding: {coding}\r\n");
            let play = scene.play(&place, coding, move |wire, file| answer(wire, "200 OK", &header, file));
            plays.push(place.unread(play, "Encoded"));
        }
    }
    let target = scene.place("new-package");
    let gzip = scene.play(&target, "gzip", |wire, file| answer(wire, "200 OK", "Content-Encoding: gzip\r\n", file));
    plays.push(target.unread(gzip, "Encoded"));
    let timestamp = scene.place("timestamp");
    for coding in ["gzip", "zstd"] {
        let header = format!("Content-Encoding: {coding}\r\n");
        let play = scene.play(&timestamp, format!("{coding}, and it is not"), move |wire, file| {
            answer(wire, "200 OK", &header, file)
        });
        plays.push(timestamp.unread(play, "Undecodable"));
    }
    let transfer: Act = |wire, file| {
        wire.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")?;
        wire.write_all(&[chunk(file), b"0\r\n\r\n".to_vec()].concat())
    };
    plays.extend(both(&scene, "Transfer-Encoding: gzip", transfer, "Encoded"));
    let identity =
        scene.play(&timestamp, "identity", |wire, file| answer(wire, "200 OK", "Content-Encoding: identity\r\n", file));
    plays.push(identity);
    plays
}

/// The file after a header with this `Content-Length`.
fn of_length(wire: &mut Wire, length: &str, body: &[u8]) -> io::Result<()> {
    write!(wire, "HTTP/1.1 200 OK\r\n{length}\r\nConnection: close\r\n\r\n")?;
    wire.write_all(body)
}

fn lengths() -> Vec<Play> {
    let scene = Scene::new();
    let (timestamp, target) = (scene.place("timestamp"), scene.place("new-package"));
    let smaller: Act = |wire, file| of_length(wire, &format!("Content-Length: {}", file.len() - 5), file);
    let larger: Act = |wire, file| of_length(wire, &format!("Content-Length: {}", file.len() + 5), file);
    let mut plays = vec![
        timestamp.misread(scene.play(&timestamp, "smaller", smaller), "Malformed"),
        target.unread(scene.play(&target, "larger", larger), "Cut"),
        target.unread(scene.play(&target, "smaller", smaller), "Cut"),
        timestamp.unread(scene.play(&timestamp, "larger", larger), "Cut"),
    ];
    let twice: Act = |wire, file| of_length(wire, "Content-Length: 5\r\nContent-Length: 6", file);
    let cases: [(&str, Act); 6] = [
        ("twice", twice),
        ("a list", |wire, file| of_length(wire, "Content-Length: 5, 6", file)),
        ("negative", |wire, file| of_length(wire, "Content-Length: -1", file)),
        ("2^64", |wire, file| of_length(wire, "Content-Length: 18446744073709551616", file)),
        ("hexadecimal", |wire, file| of_length(wire, "Content-Length: 0x10", file)),
        ("no number", |wire, file| of_length(wire, "Content-Length: many", file)),
    ];
    for (sample, act) in cases {
        plays.extend(both(&scene, sample, act, "Cut"));
    }
    plays
}

fn chunks() -> Vec<Play> {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let scene = Scene::new();
    let cases: [(&str, Act); 5] = [
        ("longer than 2^64", |wire, file| {
            wire.write_all(HEAD.as_bytes())?;
            wire.write_all(b"FFFFFFFFFFFFFFFFF\r\n")?;
            wire.write_all(file)
        }),
        ("without a number", |wire, file| {
            wire.write_all(HEAD.as_bytes())?;
            wire.write_all(b"\r\n")?;
            wire.write_all(file)
        }),
        ("negative", |wire, file| {
            wire.write_all(HEAD.as_bytes())?;
            wire.write_all(b"-5\r\n")?;
            wire.write_all(file)
        }),
        ("cut off", |wire, file| {
            write!(wire, "{HEAD}{:x}\r\n", file.len())?;
            wire.write_all(&file[..file.len() - 1])
        }),
        ("without the last one", |wire, file| {
            wire.write_all(HEAD.as_bytes())?;
            wire.write_all(&chunk(&file[..file.len() - 1]))
        }),
    ];
    let mut plays: Vec<Play> = cases.into_iter().flat_map(|(sample, act)| both(&scene, sample, act, "Cut")).collect();
    // Chunks win over a length beside them (RFC 9112, 6.3): what is read is the whole file.
    let timestamp = scene.place("timestamp");
    plays.push(scene.play(&timestamp, "with a length", |wire, file| {
        wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        wire.write_all(&[chunk(file), b"0\r\n\r\n".to_vec()].concat())
    }));
    plays
}

fn bodies() -> Vec<Play> {
    let scene = Scene::new();
    let mut plays = Vec::new();
    for place in scene.places() {
        for (sample, body) in [
            ("nothing", ""),
            ("a page of HTML", "<!DOCTYPE html><html><body>Please log in to this network</body></html>"),
            ("another document", r#"{"error": "busy"}"#),
        ] {
            let play = scene.play(&place, sample, move |wire, _| answer(wire, "200 OK", "", body.as_bytes()));
            let listed = scene.road().file(&place.path).map_or(0, |file| file.len());
            plays.push(match place.role {
                "root" | "timestamp" => place.misread(play, "Malformed"),
                "new-package" => place.misread(play, "Length"),
                _ if body.len() > listed => place.unread(play, "TooLong"),
                _ => place.misread(play, "LengthMismatch"),
            });
        }
    }
    plays
}

fn statuses() -> Vec<Play> {
    let scene = Scene::new();
    let mut plays = Vec::new();
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
        for place in SOME.map(|role| scene.place(role)) {
            let play = scene.play(&place, status, move |wire, file| answer(wire, status, "", file));
            plays.push(place.unread(play, "Status"));
        }
    }
    for status in ["404 Not Found", "410 Gone"] {
        for place in SOME.map(|role| scene.place(role)) {
            let play = scene.play(&place, status, move |wire, file| answer(wire, status, "", file));
            // That there is no newer root is what an honest server says, too.
            plays.push(if place.role == "root" { play } else { place.unread(play, "NotFound") });
        }
    }
    plays
}

fn retry_after() -> Vec<Play> {
    let scene = Scene::new();
    let patience = RetryPolicy { retries: 1, longest_pause: Duration::from_millis(50), ..RetryPolicy::default() };
    let mut plays = Vec::new();
    for place in SOME.map(|role| scene.place(role)) {
        for (sample, header, why) in [
            ("429, a day", "Retry-After: 86400\r\n", "RetryLater"),
            ("503, more seconds than there are", "Retry-After: 99999999999999999999999\r\n", "Status"),
            ("503, a date", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n", "Status"),
        ] {
            let status = if sample.starts_with("429") { "429 Busy" } else { "503 Busy" };
            let play = scene.play(&place, sample, move |wire, _| answer(wire, status, header, b""));
            plays.push(place.unread(play.patience(patience), why));
        }
    }
    plays
}

fn not_http() -> Vec<Play> {
    let scene = Scene::new();
    let cases: [(&str, Act); 5] = [
        ("HTTP/0.9", |wire, file| wire.write_all(file)),
        ("another protocol", |wire, _| wire.write_all(b"SSH-2.0-x\r\n")),
        ("a version that there is not", |wire, file| {
            wire.write_all(b"HTTP/9.9 200 OK\r\n\r\n")?;
            wire.write_all(file)
        }),
        ("a status that there is not", |wire, file| {
            wire.write_all(b"HTTP/1.1 20 OK\r\n\r\n")?;
            wire.write_all(file)
        }),
        ("the end at once", |_, _| Ok(())),
    ];
    cases.into_iter().flat_map(|(sample, act)| both(&scene, sample, act, "Cut")).collect()
}

fn names() -> Vec<Play> {
    const NAME: &str = "x HTTP/1.1\r\nX-Evil: 1\r\nY:";
    let mut honest = release(2);
    honest.delegate("targets", &Delegation::paths(NAME, &["crlf/*"]));
    honest.add_target(NAME, "crlf/package", GOOD);
    honest.add_target("targets", NAME, GOOD);
    let mut newer = honest.fork();
    honest.publish(&[NAME, "team", "targets"]);
    newer.publish(&[NAME, "team", "targets"]);
    let road = newer.road().fork();
    let watching = std::sync::Arc::new(move |request: &Request, _: &mut Wire| {
        let smuggled = request.header.iter().any(|line| line.to_ascii_lowercase().starts_with("x-evil"));
        assert!(!smuggled, "a name became a header: {request:?}");
        Ok(Some(road.answer(&request.path)))
    });
    let role = Play::against(&honest).sample("a role").responder(watching.clone()).get("crlf/package");
    let target =
        Play::against(&honest).sample("a target").responder(watching).get(NAME).refused("name", "Name").ours_alone();
    vec![role, target]
}

fn resume() -> Vec<Play> {
    let scene = Scene::new();
    let target = scene.place("new-package");
    let patience = RetryPolicy { retries: 1, first_pause: Duration::from_millis(1), ..RetryPolicy::default() };
    let play = |sample: &str, rest: Act| {
        let play = scene.play_asked(&target, sample, move |request, wire, file| {
            if request.header.iter().any(|line| line.to_ascii_lowercase().starts_with("range:")) {
                return rest(wire, file);
            }
            // The beginning of the file, and then the connection is gone.
            write!(wire, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", file.len())?;
            wire.write_all(&file[..2])
        });
        play.http(HttpSettings::default(), 1).patience(patience)
    };
    vec![
        play("honest", |wire, file| {
            answer(wire, "206 Partial Content", "Content-Range: bytes 2-11/12\r\n", &file[2..])
        }),
        play("the whole file instead", |wire, file| answer(wire, "200 OK", "", file)),
        play("of another file", |wire, _| {
            answer(wire, "206 Partial Content", "Content-Range: bytes 2-11/12\r\n", &EVIL[2..])
        })
        .refused("new-package", "Hash"),
        play("the whole of another file", |wire, _| answer(wire, "200 OK", "", EVIL)).refused("new-package", "Hash"),
        play("more than there is", |wire, file| {
            answer(wire, "206 Partial Content", "Content-Range: bytes 2-17/18\r\n", &[&file[2..], b"more!!"].concat())
        })
        .refused("new-package", "Length"),
        target.unread(
            play("from another place", |wire, file| {
                answer(wire, "206 Partial Content", "Content-Range: bytes 0-11/12\r\n", file)
            }),
            "WrongRange",
        ),
        target.unread(
            play("without saying from where", |wire, file| answer(wire, "206 Partial Content", "", &file[2..])),
            "WrongRange",
        ),
        play("there is no more", |wire, _| answer(wire, "416 Range Not Satisfiable", "", b""))
            .refused("new-package", "Length"),
        target.unread(play("never again", |wire, _| answer(wire, "404 Not Found", "", b"")), "NotFound"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_package_is_the_one_whose_parts_are_served() {
        let scene = Scene::new();
        assert_eq!(scene.road().file(&scene.place("new-package").path).unwrap(), GOOD);
        assert_eq!((GOOD.len(), EVIL.len()), (12, 12));
        assert_ne!(GOOD, EVIL);
    }
}
