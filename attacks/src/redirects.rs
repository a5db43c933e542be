//! Redirects and URLs (advisories 4.10).

use std::io;

use lastmile_client::HttpSettings;
use lastmile_testkit::{Connection, METADATA};

use crate::wire::{Scene, answer};
use crate::{GOOD, Play, Scenario, release};

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario =
        |id, attack, plays| Scenario { id, rows: &["4.10"], attack, source: "bad input: URLs and redirects", plays };
    vec![
        scenario("4.10-schemes", "a redirect to a file, to FTP, to data, to gopher, to what is no URL", schemes),
        scenario("4.10-credentials", "a redirect to a URL with a user and a password", credentials),
        scenario(
            "4.10-hops",
            "one redirect more than are followed; a redirect to itself; exactly as many as are followed",
            hops,
        ),
        scenario("4.10-places", "none: a redirect to another host, with a query, relative to the file", places),
        scenario("4.10-file", "a redirect to a file of another role, or of another version", other_files),
        scenario("4.10-names", "none: targets whose names hold spaces, plus, percent, query and fragment signs", names),
    ]
}

/// Where redirects are tried: they are judged in one place for all files.
const SOME: [&str; 3] = ["root", "timestamp", "new-package"];

fn to(location: String) -> impl Fn(&mut Connection, &[u8]) -> io::Result<()> + Send + Sync + 'static {
    move |connection, _| answer(connection, "302 Found", &format!("Location: {location}\r\n"), b"elsewhere")
}

fn schemes() -> Vec<Play> {
    let scene = Scene::new();
    let mut plays = Vec::new();
    for place in SOME.map(|role| scene.place(role)) {
        for location in ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:application/json,{}", "gopher://127.0.0.1/x"]
        {
            let play = scene.play(&place, location, to(location.to_owned()));
            // Where there is no host, nothing is followed.
            let why = if location.contains("://127") { "Redirect" } else { "Status" };
            plays.push(place.unread(play, why));
        }
        // What is no URL leads nowhere: it is an answer without the file.
        plays.push(place.unread(scene.play(&place, "no URL", to("http://[".to_owned())), "Status"));
        plays.push(
            place.unread(
                scene.play(&place, "nowhere", |connection, _| answer(connection, "301 Moved", "", b"")),
                "Status",
            ),
        );
    }
    plays
}

fn credentials() -> Vec<Play> {
    let scene = Scene::new();
    let plays = SOME.map(|role| scene.place(role)).into_iter().flat_map(|place| {
        ["http://user:secret@127.0.0.1/x", "http://user@127.0.0.1/x"]
            .map(|location| place.unread(scene.play(&place, location, to(location.to_owned())), "Redirect"))
    });
    plays.collect()
}

fn hops() -> Vec<Play> {
    let scene = Scene::new();
    let mut plays = Vec::new();
    for place in ["root", "timestamp", "snapshot", "new-package"].map(|role| scene.place(role)) {
        let path = place.path.clone();
        plays.push(place.unread(scene.play(&place, "to itself", to(format!("/{path}"))), "TooManyRedirects"));
        for (hops, limit) in [(5, 5), (6, 5), (0, 0), (1, 0), (2, 2), (3, 2)] {
            let play = hopping(&scene, place.role, hops);
            let play = if limit == 5 {
                play
            } else {
                play.http(HttpSettings { redirects: limit, ..HttpSettings::default() }, 0)
            };
            plays.push(if hops > limit { place.unread(play, "TooManyRedirects") } else { play });
        }
    }
    plays
}

/// So many redirects, and then the file.
fn hopping(scene: &Scene, role: &'static str, hops: u32) -> Play {
    let place = scene.place(role);
    let (network, path) = (scene.network().fork(), place.path.clone());
    let play = scene.play(&place, format!("{hops} hops"), |_, _| Ok(()));
    play.responder(std::sync::Arc::new(move |request: &lastmile_testkit::Request, connection: &mut Connection| {
        let left = match request.path.strip_prefix("hop/") {
            Some(left) => left.parse().unwrap_or(0),
            None if request.path == path => hops,
            None => return Ok(Some(network.answer(&request.path))),
        };
        if left == 0 {
            return Ok(Some(network.answer(&path)));
        }
        answer(connection, "302 Found", &format!("Location: /hop/{}\r\n", left - 1), b"")?;
        Ok(None)
    }))
}

fn places() -> Vec<Play> {
    let scene = Scene::new();
    let mut plays = Vec::new();
    for place in SOME.map(|role| scene.place(role)) {
        let there = format!("elsewhere/{}", place.path);
        for (sample, status) in
            [("absolute", "301 Moved"), ("absolute", "303 See"), ("absolute", "307 There"), ("absolute", "308 There")]
        {
            let location = format!("Location: /{there}\r\n");
            let act = move |connection: &mut Connection, _: &[u8]| answer(connection, status, &location, b"");
            plays.push(scene.play(&place, format!("{status}, {sample}"), act));
        }
        let levels = "../".repeat(place.path.matches('/').count());
        plays.push(scene.play(&place, "relative to the file", to(format!("{levels}{there}"))));
        plays.push(scene.play(&place, "with a fragment", to(format!("/{there}#fragment"))));
        let other_host = scene.play(&place, "to the same server by another name", {
            let there = there.clone();
            move |connection, _| {
                let port = connection.stream().local_addr()?.port();
                answer(connection, "302 Found", &format!("Location: http://localhost:{port}/{there}\r\n"), b"")
            }
        });
        plays.push(other_host);
    }
    plays
}

fn other_files() -> Vec<Play> {
    let scene = Scene::new();
    let elsewhere = |file: &str| to(format!("/elsewhere/{METADATA}{file}"));
    let version = scene.newer.version("snapshot");
    let (timestamp, snapshot, target) = (scene.place("timestamp"), scene.place("snapshot"), scene.place("new-package"));
    vec![
        timestamp.misread(
            scene.play(&timestamp, "the snapshot", elsewhere(&format!("{version}.snapshot.json"))),
            "ThresholdNotMet",
        ),
        timestamp.misread(scene.play(&timestamp, "a root", elsewhere("1.root.json")), "ThresholdNotMet"),
        snapshot.unread(scene.play(&snapshot, "a longer file", elsewhere("1.root.json")), "TooLong"),
        snapshot.misread(scene.play(&snapshot, "a shorter file", elsewhere("1.snapshot.json")), "LengthMismatch"),
        target.misread(scene.play(&target, "metadata", elsewhere("1.root.json")), "Length"),
    ]
}

fn names() -> Vec<Play> {
    const NAMES: [&str; 5] = ["a b+c.tar", "100%25.tar", "dir/x#y", "dir/ü/名", "dir/a;b=c,d"];
    // They are no file names on every system.
    const ODD: [&str; 2] = ["dir/x?y=1&z", "http:/evil.test/x"];
    let mut honest = release(2);
    for name in NAMES.into_iter().chain(ODD) {
        honest.add_target("targets", name, GOOD);
    }
    honest.publish(&["team", "targets"]);
    let play = |name: &str| Play::at_first(&honest).sample(name).get(name);
    let odd = |name: &str| {
        play(name).refused("name", "Name").advances(&["root", "snapshot", "targets", "timestamp"]).ours_alone()
    };
    NAMES.map(play).into_iter().chain(ODD.map(odd)).collect()
}
