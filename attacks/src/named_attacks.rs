//! The attacks that the specification names: arbitrary software, rollback, freeze, mix-and-match, wrong software.

use lastmile_testkit::{Delegation, FakeNetwork, METADATA, NetworkFault, Repository, TARGETS, TestKey, hash};
use serde_json::json;

use crate::forgery::{newer, with_signatures};
use crate::{Case, EVIL, GOOD, Scenario, release};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "3.1-bytes",
        &["3.1-bytes", "4.9-length", "3.8-other-package"],
        "a package with a changed byte, of the same length, one byte shorter or longer, or another valid package",
        "specification 1.5.2, arbitrary installation and wrong software",
        other_bytes,
    ),
    Scenario::new(
        "3.1-metadata",
        &["3.1-metadata"],
        "targets unsigned, signed by the key of another role, or with the signatures of the last release",
        "specification 1.5.2, arbitrary installation",
        other_metadata,
    ),
    Scenario::new(
        "3.1-another-role",
        &["3.1-another-role"],
        "the valid file of one role is served as another",
        "specification 4.2.1",
        another_role,
    ),
    Scenario::new(
        "3.2-R3",
        &["3.2-R3"],
        "the timestamp before the last one",
        "specification 5.4.3.1, rollback",
        last_timestamp,
    ),
    Scenario::new(
        "3.2-R8",
        &["3.2-R8"],
        "an older release after a failed update, and after a rotation of the targets keys",
        "specification 5.3.11, rollback",
        floors_survive,
    ),
    Scenario::new(
        "3.2-R9",
        &["3.2-R9", "3.2-R10"],
        "an older release, when stored files are damaged or gone",
        "specification 5.4.3, 5.5.5, rollback",
        damaged_floors,
    ),
    Scenario::new(
        "3.3-F1",
        &["3.3-F1", "3.3-F2", "S-2.3-3"],
        "the same timestamp until it expires: at that second, and later with the same version",
        "specification 5.4.4, freeze",
        frozen,
    ),
    Scenario::new(
        "3.3-F5",
        &["3.3-F5"],
        "none: a root in the middle of the chain has expired",
        "specification 5.3.6",
        expired_in_between,
    ),
    Scenario::new(
        "3.3-F8",
        &["3.3-F8", "3.3-F3"],
        "the timestamp is never there, or nobody answers",
        "specification 5.4.1, freeze",
        no_timestamp,
    ),
    Scenario::new(
        "3.3-F9",
        &["3.3-F9"],
        "an expiry in the year 9999 is fine, one in the year 10000 is none",
        "specification 4.2.3",
        far_expiry,
    ),
    Scenario::new(
        "3.6-dependencies",
        &["3.6-dependencies"],
        "a delegated role lists packages outside of its paths, beside the one that is asked for",
        "specification 1.5.2, extraneous dependencies",
        extraneous_dependencies,
    ),
    Scenario::new(
        "3.7-M1",
        &["3.7-M1", "3.7-M2"],
        "targets or a snapshot of the last release under the name of the new one",
        "specification 1.5.2, mix-and-match",
        mixed_releases,
    ),
    Scenario::new(
        "3.7-M4",
        &["3.7-M4"],
        "a repository without consistent snapshots changes between two requests",
        "specification 5.5, 5.6, mix-and-match",
        changed_on_the_way,
    ),
    Scenario::new("3.7-M5", &["3.7-M5"], "a snapshot that lists no targets", "specification 5.6", no_targets_listed),
    Scenario::new(
        "3.7-M7",
        &["3.7-M7", "3.7-M6"],
        "targets of another version, where neither lengths nor hashes are listed",
        "specification 5.6.4, mix-and-match",
        versions_alone,
    ),
    Scenario::new(
        "3.8-names",
        &["3.8-names"],
        "a package is asked for under another spelling of its name",
        "specification 4.5, wrong software",
        other_spellings,
    ),
];

fn other_bytes() -> Vec<Case> {
    let mut honest = release(3);
    honest.add_target("targets", "new", b"new package!");
    honest.publish(&["targets"]);
    let samples: [(&str, &[u8], &'static str); 6] = [
        ("one byte changed", b"New package!", "Hash"),
        ("of the same length", EVIL, "Hash"),
        ("another valid package", GOOD, "Hash"),
        ("one byte shorter", b"new package", "Cut"),
        ("one byte longer", b"new package!!", "Length"),
        ("nothing", b"", "Length"),
    ];
    let cases = samples.map(|(sample, body, why)| {
        let network = honest.network().fork();
        network.put(&format!("{TARGETS}{}.new", hash(b"new package!")), body.to_vec());
        let who = if why == "Cut" { "the target `new" } else { "new" };
        Case::against(&honest).attacker(&network).get("new").sample(sample).refused(who, why)
    });
    cases.into()
}

fn other_metadata() -> Vec<Case> {
    let honest = release(3);
    let forged = |signers: &[TestKey], role: &str| {
        let mut thief = honest.fork();
        thief.set_signers(role, signers);
        thief.add_target(role, "team/package", EVIL);
        thief.publish(&[role]);
        thief
    };
    let kept = {
        let mut thief = forged(&[TestKey::new("targets")], "targets");
        let old: serde_json::Value = serde_json::from_slice(&honest.written("targets")).unwrap();
        let bytes = with_signatures(&thief.written("targets"), |signatures| {
            *signatures = old["signatures"].as_array().unwrap().clone();
        });
        crate::forgery::republish(&mut thief, "targets", bytes);
        thief
    };
    let cases = [
        ("unsigned", forged(&[], "targets")),
        ("by the snapshot's key", forged(&[TestKey::new("snapshot")], "targets")),
        ("by the delegated role's key", forged(&[TestKey::new("team")], "targets")),
        ("by one root key", forged(&[TestKey::new("root-1")], "targets")),
        ("with the signatures of the last release", kept),
    ];
    let cases = cases.map(|(sample, thief)| {
        let case = Case::against(&honest).attacker(thief.network()).get("team/package").sample(sample);
        case.refused("targets", "ThresholdNotMet").advances(&["snapshot", "timestamp"])
    });
    cases.into()
}

fn another_role() -> Vec<Case> {
    let honest = release(3);
    let mut same_key = release(3);
    same_key.set_keys("snapshot", &[TestKey::new("timestamp")], 1);
    same_key.publish(&["root", "team", "targets"]);
    let mut cases = Vec::new();
    for (sample, honest, reason) in
        [("keys of their own", honest, "ThresholdNotMet"), ("one key for both", same_key, "WrongType")]
    {
        let network = honest.network().fork();
        network.put(&format!("{METADATA}timestamp.json"), honest.written("snapshot"));
        let case = Case::against(&honest).attacker(&network).sample(format!("a snapshot as timestamp, {sample}"));
        cases.push(case.refused("timestamp", reason));
    }
    cases
}

fn last_timestamp() -> Vec<Case> {
    let old = release(3);
    let mut honest = old.fork();
    honest.publish(&["timestamp"]);
    vec![Case::against(&honest).attacker(old.network()).refused("timestamp", "Rollback")]
}

fn floors_survive() -> Vec<Case> {
    let old = release(3);
    let mut honest = old.fork();
    honest.publish(&["team", "targets"]);
    let mut rotated = honest.fork();
    rotated.set_keys("targets", &[TestKey::new("fresh targets")], 1);
    rotated.publish(&["root"]);
    let network = rotated.network().fork();
    network.put(&format!("{METADATA}timestamp.json"), old.written("timestamp"));
    let mut after = rotated.fork();
    after.publish(&["team", "targets"]);
    // The timestamp of the next release, whose snapshot never came: it counts as well.
    let next = newer(&honest);
    let failed = next.network().fork();
    failed.put(&format!("{METADATA}timestamp.json"), honest.written("timestamp"));
    vec![
        Case::against(&honest)
            .attacker(&network)
            .honest(after.network())
            .sample("new targets keys")
            .refused("timestamp", "Rollback")
            .advances(&["root"]),
        Case::against(&next).attacker(&failed).sample("the newest timestamp").refused("timestamp", "Rollback"),
    ]
}

fn damaged_floors() -> Vec<Case> {
    let old = release(3);
    let mut honest = old.fork();
    honest.publish(&["team", "targets"]);
    let mut lower = honest.fork();
    lower.signed("snapshot")["meta"]["team.json"] = old.fork().signed("snapshot")["meta"]["team.json"].clone();
    lower.publish(&["snapshot"]);
    let mut cases = Vec::new();
    for (sample, damage) in
        [("gone", None), ("empty", Some("")), ("cut off", Some("{\"signed\":{")), ("garbage", Some("\0\0"))]
    {
        let change = move |folder: &std::path::Path| {
            let file = folder.join("timestamp.json");
            match damage {
                None => std::fs::remove_file(file).unwrap(),
                Some(text) => std::fs::write(file, text).unwrap(),
            }
        };
        // The record of versions is our own way to remember them without the file.
        let case = Case::against(&honest).tamper(change).attacker(old.network()).sample(format!("timestamp {sample}"));
        cases.push(case.in_process_only().refused("timestamp", "Rollback"));
    }
    let gone = |folder: &std::path::Path| std::fs::remove_file(folder.join("snapshot.json")).unwrap();
    let case = Case::against(&honest).tamper(gone).attacker(lower.network()).sample("snapshot gone").in_process_only();
    cases.push(case.refused("snapshot", "ListedRollback").advances(&["timestamp"]));
    // The timestamp no longer fits the stored snapshot's hash: its versions count all the same.
    let case = Case::against(&honest).attacker(lower.network()).sample("another hash");
    cases.push(case.refused("snapshot", "ListedRollback").advances(&["timestamp"]));
    cases
}

fn frozen() -> Vec<Case> {
    let mut honest = release(3);
    honest.signed("timestamp")["expires"] = json!("2030-01-08T00:00:00Z");
    honest.publish(&["timestamp"]);
    let mut after = honest.fork();
    after.signed("timestamp")["expires"] = json!("2040-01-01T00:00:00Z");
    after.publish(&["targets"]);
    let start = "2030-01-01T00:00:00Z";
    let cases = [("2030-01-08T00:00:00Z", false), ("2030-01-07T23:59:59Z", true), ("2030-02-01T00:00:00Z", false)];
    let cases = cases.map(|(now, is_fine)| {
        let case = Case::against(&honest).honest(after.network()).clock([start, now, now]).sample(now);
        if is_fine { case } else { case.refused("timestamp", "Expired") }
    });
    cases.into()
}

fn expired_in_between() -> Vec<Case> {
    let honest = release(3);
    let mut next = honest.fork();
    next.signed("root")["expires"] = json!("2020-01-01T00:00:00Z");
    next.publish(&["root"]);
    next.signed("root")["expires"] = json!("2040-01-01T00:00:00Z");
    next.publish(&["root", "team", "targets"]);
    vec![Case::against(&honest).attacker(next.network()).honest(newer(&next).network()).get("package")]
}

fn no_timestamp() -> Vec<Case> {
    let honest = release(3);
    let path = format!("{METADATA}timestamp.json");
    let gone = honest.network().fork();
    gone.remove(&path);
    let reset = honest.network().fork();
    reset.fault(&path, NetworkFault::Reset);
    vec![
        Case::against(&honest).attacker(&gone).sample("404").refused("timestamp.json", "NotFound"),
        Case::against(&honest)
            .attacker(&FakeNetwork::new())
            .sample("404 for everything")
            .refused("timestamp.json", "NotFound"),
        Case::against(&honest).attacker(&reset).sample("reset").refused("timestamp.json", "Cut"),
    ]
}

fn far_expiry() -> Vec<Case> {
    let honest = release(3);
    let cases = [("9999-12-31T23:59:59Z", true), ("10000-01-01T00:00:00Z", false), ("+10000-01-01T00:00:00Z", false)];
    let cases = cases.map(|(expires, is_fine)| {
        let mut thief = honest.fork();
        thief.signed("timestamp")["expires"] = json!(expires);
        thief.publish(&["timestamp"]);
        let case = Case::against(&honest).attacker(thief.network()).sample(expires);
        if is_fine { case } else { case.form_only().refused("timestamp", "Malformed") }
    });
    cases.into()
}

fn extraneous_dependencies() -> Vec<Case> {
    let honest = release(3);
    let mut thief = honest.fork();
    thief.add_target("team", "dependency", EVIL);
    thief.signed("team")["targets"]["team/package"]["custom"] = json!({"depends": ["dependency"]});
    thief.publish(&["team"]);
    let case = Case::against(&honest).attacker(thief.network()).honest(newer(&thief).network());
    vec![
        case.clone()
            .get("dependency")
            .sample("asked for")
            .refused("dependency", "NoSuchTarget")
            .advances(&["snapshot", "timestamp"]),
        case.get("team/package").sample("beside the package"),
    ]
}

fn mixed_releases() -> Vec<Case> {
    let honest = release(3);
    let mut new = honest.fork();
    // As long as the last release, so that the hash decides.
    new.signed("targets")["targets"]["package"]["hashes"]["sha256"] = json!(hash(EVIL));
    new.publish(&["targets"]);
    let mixed = |role: &str, advances: &[&str]| {
        let network = new.network().fork();
        network.put(&format!("{METADATA}{}.{role}.json", new.version(role)), honest.written(role));
        let case = Case::against(&honest).attacker(&network).honest(newer_release(&honest).network()).sample(role);
        case.refused(role, "HashMismatch").advances(advances)
    };
    vec![mixed("targets", &["snapshot", "timestamp"]), mixed("snapshot", &["timestamp"])]
}

fn newer_release(honest: &Repository) -> Repository {
    let mut newer = honest.fork();
    for _ in 0..3 {
        newer.publish(&["team", "targets"]);
    }
    newer
}

fn changed_on_the_way() -> Vec<Case> {
    let mut honest = Repository::without_consistent_snapshots();
    honest.add_target("targets", "package", GOOD);
    honest.publish(&["targets"]);
    let mut new = honest.fork();
    new.publish(&["targets"]);
    let between = new.network().fork();
    let mut later = new.fork();
    later.publish(&["targets"]);
    between.put(&format!("{METADATA}targets.json"), later.written("targets"));
    let case = Case::against(&honest).packages(&["package"]).attacker(&between).honest(later.network());
    vec![case.refused("targets", "HashMismatch").advances(&["snapshot", "timestamp"])]
}

fn no_targets_listed() -> Vec<Case> {
    let honest = release(3);
    let mut thief = honest.fork();
    thief.signed("snapshot")["meta"].as_object_mut().unwrap().remove("targets.json");
    thief.publish(&["snapshot"]);
    vec![
        Case::against(&honest)
            .attacker(thief.network())
            .sample("no longer")
            .refused("snapshot", "Removed")
            .advances(&["timestamp"]),
        Case::new_client(&honest)
            .attacker(thief.network())
            .sample("never")
            .refused("targets", "NotListed")
            .advances(&["root", "snapshot", "timestamp"]),
    ]
}

fn versions_alone() -> Vec<Case> {
    let mut honest = release(1);
    honest.lists_hashes = false;
    honest.publish(&["team", "targets"]);
    let mut new = honest.fork();
    new.publish(&["team", "targets"]);
    let network = new.network().fork();
    network.put(&format!("{METADATA}{}.targets.json", new.version("targets")), honest.written("targets"));
    let case = Case::against(&honest).honest(new.network());
    vec![
        case.clone()
            .attacker(&network)
            .sample("of the last release")
            .refused("targets", "WrongVersion")
            .advances(&["snapshot", "timestamp"]),
        case.attacker(new.network()).honest(newer(&new).network()).sample("of the new release").get("package"),
    ]
}

fn other_spellings() -> Vec<Case> {
    let mut honest = release(1);
    honest.delegate("targets", &Delegation::paths("all", &["*", "*/*"]));
    honest.add_target("targets", "dir/package", GOOD);
    honest.publish(&["all", "targets"]);
    let cases = ["Package", "dir//package", "package ", "dir/Package", "dir\\package", "dir%2Fpackage"];
    let cases = cases.map(|name| {
        let case = Case::against(&honest).get(name).sample(format!("`{name}`"));
        let advances: &[&str] = if name == "dir//package" { &[] } else { &["all"] };
        case.refused(name, "NoSuchTarget").advances(advances)
    });
    cases.into()
}
