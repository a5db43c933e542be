//! Advisories and notable defects of other implementations, part three.

use lastmile_testkit::{Delegation, METADATA, Repository, TestKey, file_name, sign};
use serde_json::json;

use crate::forgery::{before, newer, republish};
use crate::{Case, EVIL, GOOD, Scenario, release, stranger};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "CVE-2025-2885",
        &["CVE-2025-2885", "3.2-R1"],
        "an older, the same or a later root under the name of the next one",
        "CVE-2025-2885, GHSA-5vmp-m5v2-hx47",
        root_of_another_version,
    ),
    Scenario::new(
        "CVE-2025-2886",
        &["CVE-2025-2886", "4.6-terminating-at-depth"],
        "a role after a terminating one offers a package",
        "CVE-2025-2886, GHSA-v4wr-j3w6-mxqc",
        behind_a_terminating_role,
    ),
    Scenario::new(
        "CVE-2025-2887",
        &["CVE-2025-2887", "3.2-R5"],
        "a delegated role falls back, disappears, or comes back lower in a new snapshot",
        "CVE-2025-2887, GHSA-q6r9-r9pw-4cf7",
        delegated_role_falls,
    ),
    Scenario::new(
        "CVE-2025-2888",
        &["CVE-2025-2888", "3.2-R4", "2.4-listed-rollback"],
        "a timestamp lists a lower snapshot; the honest one of the same version follows",
        "CVE-2025-2888, GHSA-76g3-38jv-wxh4",
        timestamp_lists_less,
    ),
    Scenario::new(
        "GHSA-j8x2-777p-23fc",
        &["GHSA-j8x2-777p-23fc", "4.6-cycles"],
        "roles delegate to themselves, to each other in a circle, and by two ways on thirty levels",
        "GHSA-j8x2-777p-23fc",
        cycles,
    ),
    Scenario::new(
        "CVE-2026-6966",
        &["CVE-2026-6966"],
        "a delegated role with a threshold of two is signed once, by one key twice, and by a stranger",
        "CVE-2026-6966, GHSA-8m7c-8m39-rv4x",
        delegated_threshold,
    ),
    Scenario::new(
        "CVE-2026-6967",
        &["CVE-2026-6967", "3.7-M3"],
        "a delegated role is expired, is of another release, or is longer than the snapshot says",
        "CVE-2026-6967, GHSA-4v58-8p28-2rq3",
        delegated_role_unchecked,
    ),
    Scenario::new(
        "S-2.3-1",
        &["S-2.3-1", "3.2-R2"],
        "roots are hidden from a client that has followed them, and a revoked key signs again",
        "our own reading of sources",
        hidden_chain,
    ),
    Scenario::new(
        "S-2.3-6",
        &["S-2.3-6"],
        "none: one role is delegated by two parents and found through the second",
        "our own reading of sources",
        second_parent,
    ),
    Scenario::new(
        "S-2.3-8",
        &["S-2.3-8"],
        "a package whose name differs in its Unicode form alone",
        "our own reading of sources",
        unicode_forms,
    ),
    Scenario::new(
        "S-2.3-11",
        &["S-2.3-11", "3.11-FF6"],
        "none: versions were driven up, and a root with a new threshold for the same keys brings them down",
        "our own reading of sources; specification 5.3.11",
        threshold_as_rotation,
    ),
];

fn root_of_another_version() -> Vec<Case> {
    let mut honest = release(2);
    for _ in 0..3 {
        honest.publish(&["root"]);
    }
    let mut later = honest.fork();
    later.publish(&["root"]);
    later.publish(&["root"]);
    let file = |version| honest.network().file(&format!("{METADATA}{version}.root.json"));
    let samples = [
        ("the first", file(1), "Rollback"),
        ("the one before", file(3), "Rollback"),
        ("the same", file(4), "Rollback"),
        ("a later one", Some(later.written("root")), "WrongVersion"),
    ];
    let cases = samples.map(|(sample, bytes, why)| {
        let network = honest.network().fork();
        network.put(&format!("{METADATA}5.root.json"), bytes.unwrap());
        Case::against(&honest).attacker(&network).sample(sample).refused("root", why)
    });
    cases.into()
}

fn behind_a_terminating_role() -> Vec<Case> {
    let mut flat = release(1);
    flat.delegate("targets", &Delegation::paths("owner", &["claimed"]).terminating());
    flat.delegate("targets", &Delegation::paths("thief", &["claimed"]));
    flat.add_target("thief", "claimed", EVIL);
    flat.publish(&["owner", "thief", "targets"]);
    let mut deep = release(1);
    deep.delegate("targets", &Delegation::paths("middle", &["claimed"]));
    deep.delegate("targets", &Delegation::paths("thief", &["claimed"]));
    deep.delegate("middle", &Delegation::paths("owner", &["claimed"]).terminating());
    deep.add_target("thief", "claimed", EVIL);
    deep.publish(&["owner", "middle", "thief", "targets"]);
    let case = |honest, sample, advances: &[&str]| {
        Case::against(honest).get("claimed").sample(sample).refused("claimed", "NoSuchTarget").advances(advances)
    };
    vec![case(&flat, "on the first level", &["owner"]), case(&deep, "on the second level", &["middle", "owner"])]
}

fn delegated_role_falls() -> Vec<Case> {
    let honest = release(5);
    let mut fallen = honest.fork();
    fallen.signed("team")["version"] = json!(4);
    fallen.write("team");
    fallen.list_in_snapshot("team");
    fallen.publish(&["snapshot"]);
    let mut removed = honest.fork();
    removed.signed("snapshot")["meta"].as_object_mut().unwrap().remove("team.json");
    removed.publish(&["snapshot"]);
    let case = |thief: &Repository, sample, why| {
        Case::against(&honest)
            .attacker(thief.network())
            .sample(sample)
            .refused("snapshot", why)
            .advances(&["timestamp"])
    };
    vec![
        case(&fallen, "from 5 to 4", "ListedRollback"),
        case(&removed, "gone", "Removed"),
        // Seen as gone by no client, for that is refused; a client that comes later sees it lower.
        case(&newer(&fallen), "gone and back lower", "ListedRollback"),
    ]
}

fn timestamp_lists_less() -> Vec<Case> {
    let honest = release(5);
    let mut thief = honest.fork();
    thief.signed("timestamp")["meta"]["snapshot.json"]["version"] = json!(3);
    thief.publish(&["timestamp"]);
    let case = Case::against(&honest).attacker(thief.network()).honest(newer(&honest).network());
    vec![case.refused("timestamp", "ListedRollback")]
}

fn cycles() -> Vec<Case> {
    let mut selfish = release(1);
    selfish.delegate("targets", &Delegation::paths("a", &["*"]));
    selfish.delegate("a", &Delegation::paths("a", &["*"]));
    selfish.publish(&["a", "targets"]);
    let mut circle = release(1);
    circle.delegate("targets", &Delegation::paths("a", &["*"]));
    circle.delegate("a", &Delegation::paths("b", &["*"]));
    circle.delegate("b", &Delegation::paths("a", &["*"]));
    circle.publish(&["a", "b", "targets"]);
    let mut wide = release(1);
    let mut above = vec!["targets".to_owned()];
    let mut roles = Vec::new();
    for level in 0..30 {
        let here = ["left", "right"].map(|side| format!("{side}-{level:02}"));
        for delegator in &above {
            for role in &here {
                wide.delegate(delegator, &Delegation::paths(role, &["*"]));
            }
        }
        roles.extend(here.clone());
        above = here.into();
    }
    let roles: Vec<&str> = roles.iter().map(String::as_str).chain(["targets"]).collect();
    wide.publish(&roles);
    let nothing = |honest, sample, advances: &[&str]| {
        Case::against(honest).get("x").sample(sample).refused("x", "NoSuchTarget").advances(advances)
    };
    // The search stops at its limit, and what it has read until then was in order.
    let read: Vec<String> =
        (0..30).map(|level| format!("left-{level:02}")).chain(["right-28".into(), "right-29".into()]).collect();
    let read: Vec<&str> = read.iter().map(String::as_str).collect();
    vec![
        nothing(&selfish, "itself", &["a"]),
        nothing(&circle, "two in a circle", &["a", "b"]),
        Case::against(&wide)
            .get("x")
            .sample("thirty levels, two wide")
            .refused("right-27", "LimitReached")
            .advances(&read),
    ]
}

fn delegated_threshold() -> Vec<Case> {
    let keys = ["team-1", "team-2"].map(TestKey::new);
    let mut honest = release(2);
    crate::forgery::with_keys(&mut honest, "team", &keys, 2);
    let samples = [
        ("one key", vec![keys[0].clone()]),
        ("a stranger beside it", vec![keys[0].clone(), stranger()]),
        ("nobody", vec![]),
    ];
    let cases = samples.map(|(sample, signers)| {
        let mut thief = honest.fork();
        thief.set_signers("team", &signers);
        thief.add_target("team", "team/other", EVIL);
        thief.publish(&["team"]);
        let case = Case::against(&honest).attacker(thief.network()).get("team/other").sample(sample);
        case.refused("team", "ThresholdNotMet").advances(before("team"))
    });
    cases.into()
}

fn delegated_role_unchecked() -> Vec<Case> {
    let honest = release(3);
    let mut expired = honest.fork();
    expired.signed("team")["expires"] = json!("2020-01-01T00:00:00Z");
    expired.publish(&["team"]);
    // Signed in earnest, and listed by nobody.
    let mut other = honest.fork();
    other.publish(&["team"]);
    let mut unlisted = other.fork();
    unlisted.add_target("team", "team/other", EVIL);
    let signed = unlisted.signed("team").clone();
    let bytes = sign(&signed, &[TestKey::new("team")]);
    let listed = other.written("team").len();
    let path = format!("{METADATA}{}.team.json", other.version("team"));
    unlisted.network().put(&path, bytes);
    let mut same_length = other.fork();
    same_length.signed("team")["expires"] = json!("2041-01-01T00:00:00Z");
    let signed = same_length.signed("team").clone();
    let bent = sign(&signed, &[TestKey::new("team")]);
    assert_eq!(bent.len(), listed);
    same_length.network().put(&path, bent);
    let case = |thief: &Repository, sample| {
        let case = Case::against(&honest).attacker(thief.network()).get("team/package").sample(sample);
        case.advances(before("team"))
    };
    let file = path.trim_start_matches(METADATA).to_owned();
    vec![
        case(&expired, "expired").refused("team", "Expired"),
        case(&unlisted, "longer than listed").refused(file, "TooLong"),
        case(&same_length, "of another hash").refused("team", "HashMismatch"),
    ]
}

fn hidden_chain() -> Vec<Case> {
    let first = release(2);
    let mut honest = first.fork();
    honest.set_keys("timestamp", &[TestKey::new("fresh timestamp")], 1);
    for _ in 0..4 {
        honest.publish(&["root"]);
    }
    honest.publish(&["targets", "timestamp"]);
    // The thief of the first timestamp key serves what was honest then, and a timestamp of any version.
    let mut thief = first.fork();
    thief.signed("timestamp")["version"] = json!(1_000);
    thief.publish(&["timestamp"]);
    let mut mixed = honest.fork();
    mixed.set_signers("timestamp", &[TestKey::new("timestamp")]);
    mixed.signed("timestamp")["version"] = json!(1_000);
    mixed.publish(&["timestamp"]);
    let network = mixed.network().fork();
    for version in 2..=6 {
        network.remove(&format!("{METADATA}{}", file_name("root", Some(version))));
    }
    vec![
        Case::against(&honest)
            .attacker(thief.network())
            .sample("the old state")
            .refused("timestamp", "ThresholdNotMet"),
        Case::against(&honest).attacker(&network).sample("the new state").refused("timestamp", "ThresholdNotMet"),
    ]
}

fn second_parent() -> Vec<Case> {
    let mut honest = release(1);
    for side in ["left", "right"] {
        honest.delegate("targets", &Delegation::paths(side, &[&format!("{side}/*")]));
        honest.delegate(side, &Delegation::paths("shared", &[&format!("{side}/*")]));
        honest.add_target("shared", &format!("{side}/package"), GOOD);
    }
    honest.publish(&["left", "right", "shared", "targets"]);
    let asked = |packages: &[&str]| Case::against(&honest).packages(packages).get("right/package");
    vec![asked(&["package"]).sample("at once"), asked(&["left/package", "package"]).sample("after the first")]
}

fn unicode_forms() -> Vec<Case> {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    let mut honest = release(1);
    honest.add_target("targets", composed, GOOD);
    honest.publish(&["targets"]);
    // The signature of the one form, over a file with the other.
    let mut thief = newer(&honest);
    let text = String::from_utf8(thief.written("targets")).unwrap().replace(composed, decomposed);
    republish(&mut thief, "targets", text.into_bytes());
    vec![
        Case::against(&honest).get(composed).sample("asked for as listed"),
        Case::against(&honest)
            .get(decomposed)
            .sample("asked for in the other form")
            .refused(decomposed, "NoSuchTarget"),
        Case::against(&honest)
            .attacker(thief.network())
            .sample("signed in the other form")
            .refused("targets", "ThresholdNotMet")
            .advances(before("targets")),
    ]
}

fn threshold_as_rotation() -> Vec<Case> {
    let keys = ["online-1", "online-2"].map(TestKey::new);
    let mut honest = release(2);
    honest.set_keys("timestamp", &keys, 1);
    honest.publish(&["root", "timestamp"]);
    let mut thief = honest.fork();
    thief.signed("timestamp")["version"] = json!(1_000);
    thief.publish(&["timestamp"]);
    let mut mended = honest.fork();
    mended.signed("root")["roles"]["timestamp"]["threshold"] = json!(2);
    mended.publish(&["root", "team", "targets"]);
    // That another threshold for the same keys is a rotation is our reading.
    vec![
        Case::against(&honest)
            .followed(thief.network())
            .attacker(mended.network())
            .honest(newer(&mended).network())
            .get("package")
            .in_process_only(),
    ]
}
