//! Malicious redirects and unusual URLs (row 4.10 of `tests/attack-rows.txt`).

use std::io;

use lastmile_client::HttpSettings;
use lastmile_testkit::{Connection, METADATA};

use crate::hostile_server::{NewRelease, answer};
use crate::{Case, GOOD, Scenario, release};

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario =
        |id, attack, cases| Scenario { id, rows: &["4.10"], attack, source: "bad input: URLs and redirects", cases };
    vec![
        scenario("4.10-schemes", "a redirect leads to a file, FTP, data or gopher URL, or to an invalid URL", schemes),
        scenario("4.10-credentials", "a redirect leads to a URL with a user name and a password", credentials),
        scenario(
            "4.10-hops",
            "there are more redirects than the limit allows, or a file redirects to itself; reaching the limit is legal",
            hops,
        ),
        scenario(
            "4.10-places",
            "harmless: a redirect leads to another host, has a fragment, or is relative to the file",
            locations,
        ),
        scenario("4.10-file", "a redirect leads to the file of another role or of another version", other_files),
        scenario(
            "4.10-names",
            "harmless: target names contain spaces and other characters that have a meaning in URLs",
            names,
        ),
    ]
}

/// The files with which redirects are tested. A few files are enough, because the client checks all redirects in one
/// function.
const SOME: [&str; 3] = ["root", "timestamp", "new-package"];

fn to(location: String) -> impl Fn(&mut Connection, &[u8]) -> io::Result<()> + Send + Sync + 'static {
    move |connection, _| answer(connection, "302 Found", &format!("Location: {location}\r\n"), b"elsewhere")
}

fn schemes() -> Vec<Case> {
    let new_release = NewRelease::new();
    let mut cases = Vec::new();
    for served in SOME.map(|role| new_release.served(role)) {
        for location in ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:application/json,{}", "gopher://127.0.0.1/x"]
        {
            let case = new_release.case(&served, location, to(location.to_owned()));
            // The HTTP library does not follow a redirect to a URL without a host, so the client sees only the status.
            let why = if location.contains("://127") { "Redirect" } else { "Status" };
            cases.push(served.refused_transfer(case, why));
        }
        // The HTTP library does not follow a redirect to an invalid URL, so the client sees only the status.
        cases.push(
            served.refused_transfer(new_release.case(&served, "an invalid URL", to("http://[".to_owned())), "Status"),
        );
        cases.push(
            served.refused_transfer(
                new_release.case(&served, "without a Location header", |connection, _| {
                    answer(connection, "301 Moved", "", b"")
                }),
                "Status",
            ),
        );
    }
    cases
}

fn credentials() -> Vec<Case> {
    let new_release = NewRelease::new();
    let cases = SOME.map(|role| new_release.served(role)).into_iter().flat_map(|served| {
        ["http://user:secret@127.0.0.1/x", "http://user@127.0.0.1/x"].map(|location| {
            served.refused_transfer(new_release.case(&served, location, to(location.to_owned())), "Redirect")
        })
    });
    cases.collect()
}

fn hops() -> Vec<Case> {
    let new_release = NewRelease::new();
    let mut cases = Vec::new();
    for served in ["root", "timestamp", "snapshot", "new-package"].map(|role| new_release.served(role)) {
        let path = served.path.clone();
        cases.push(
            served.refused_transfer(new_release.case(&served, "to itself", to(format!("/{path}"))), "TooManyRedirects"),
        );
        for (hops, limit) in [(5, 5), (6, 5), (0, 0), (1, 0), (2, 2), (3, 2)] {
            let case = hopping(&new_release, served.role, hops);
            let case = if limit == 5 {
                case
            } else {
                case.http(HttpSettings { redirects: limit, ..HttpSettings::default() }, 0)
            };
            cases.push(if hops > limit { served.refused_transfer(case, "TooManyRedirects") } else { case });
        }
    }
    cases
}

/// Creates a case in which `hops` redirects lead to the file of `role`.
fn hopping(new_release: &NewRelease, role: &'static str, hops: u32) -> Case {
    let served = new_release.served(role);
    let network = new_release.network().fork();
    let path = served.path.clone();
    let case = new_release.case(&served, format!("{hops} hops"), |_, _| Ok(()));
    case.responder(std::sync::Arc::new(move |request: &lastmile_testkit::Request, connection: &mut Connection| {
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

fn locations() -> Vec<Case> {
    let new_release = NewRelease::new();
    let mut cases = Vec::new();
    for served in SOME.map(|role| new_release.served(role)) {
        let there = format!("elsewhere/{}", served.path);
        for (sample, status) in
            [("absolute", "301 Moved"), ("absolute", "303 See"), ("absolute", "307 There"), ("absolute", "308 There")]
        {
            let location = format!("Location: /{there}\r\n");
            let act = move |connection: &mut Connection, _: &[u8]| answer(connection, status, &location, b"");
            cases.push(new_release.case(&served, format!("{status}, {sample}"), act));
        }
        let levels = "../".repeat(served.path.matches('/').count());
        cases.push(new_release.case(&served, "relative to the file", to(format!("{levels}{there}"))));
        cases.push(new_release.case(&served, "with a fragment", to(format!("/{there}#fragment"))));
        let other_host = new_release.case(&served, "to the same server by another name", {
            let there = there.clone();
            move |connection, _| {
                let port = connection.stream().local_addr()?.port();
                answer(connection, "302 Found", &format!("Location: http://localhost:{port}/{there}\r\n"), b"")
            }
        });
        cases.push(other_host);
    }
    cases
}

fn other_files() -> Vec<Case> {
    let new_release = NewRelease::new();
    let elsewhere = |file: &str| to(format!("/elsewhere/{METADATA}{file}"));
    let version = new_release.newer.version("snapshot");
    let timestamp = new_release.served("timestamp");
    let snapshot = new_release.served("snapshot");
    let target = new_release.served("new-package");
    vec![
        timestamp.refused_content(
            new_release.case(&timestamp, "the snapshot", elsewhere(&format!("{version}.snapshot.json"))),
            "ThresholdNotMet",
        ),
        timestamp.refused_content(new_release.case(&timestamp, "a root", elsewhere("1.root.json")), "ThresholdNotMet"),
        snapshot.refused_transfer(new_release.case(&snapshot, "a longer file", elsewhere("1.root.json")), "TooLong"),
        snapshot.refused_content(
            new_release.case(&snapshot, "a shorter file", elsewhere("1.snapshot.json")),
            "LengthMismatch",
        ),
        target.refused_content(new_release.case(&target, "metadata", elsewhere("1.root.json")), "Length"),
    ]
}

fn names() -> Vec<Case> {
    const NAMES: [&str; 5] = ["a b+c.tar", "100%25.tar", "dir/x#y", "dir/ü/名", "dir/a;b=c,d"];
    // Windows does not allow `?` and `:` in file names. The client refuses these names on every system.
    const ODD: [&str; 2] = ["dir/x?y=1&z", "http:/evil.test/x"];
    let mut honest = release(2);
    for name in NAMES.into_iter().chain(ODD) {
        honest.add_target("targets", name, GOOD);
    }
    honest.publish(&["team", "targets"]);
    let case = |name: &str| Case::new_client(&honest).sample(name).get(name);
    let odd = |name: &str| {
        case(name).refused("name", "Name").advances(&["root", "snapshot", "targets", "timestamp"]).in_process_only()
    };
    NAMES.map(case).into_iter().chain(ODD.map(odd)).collect()
}
