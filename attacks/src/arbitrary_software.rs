//! Attacks that install arbitrary software, extraneous dependencies or the wrong software (TUF specification 1.5.2).

use lastmile_testkit::{Delegation, METADATA, TARGETS, TestKey, hash};
use serde_json::json;

use crate::forgery::{newer, with_signatures};
use crate::{Case, EVIL, GOOD, Scenario, release};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "3.1-bytes",
        &["3.1-bytes", "4.9-length", "3.8-other-package"],
        "the server sends a package with a changed byte, with a wrong length, or with the content of another package",
        "specification 1.5.2, arbitrary installation and wrong software",
        other_bytes,
    ),
    Scenario::new(
        "3.1-metadata",
        &["3.1-metadata"],
        "the targets file is unsigned, signed with another role's key, or has the signatures of the previous release",
        "specification 1.5.2, arbitrary installation",
        other_metadata,
    ),
    Scenario::new(
        "3.1-another-role",
        &["3.1-another-role"],
        "the server sends the valid file of one role as the file of another role",
        "specification 4.2.1",
        another_role,
    ),
    Scenario::new(
        "3.6-dependencies",
        &["3.6-dependencies"],
        "a delegated role lists the requested package, and also a package outside the role's paths",
        "specification 1.5.2, extraneous dependencies",
        extraneous_dependencies,
    ),
    Scenario::new(
        "3.8-names",
        &["3.8-names"],
        "the client requests a package under a different spelling of its name",
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
        ("another package of the same length", EVIL, "Hash"),
        ("another valid package", GOOD, "Hash"),
        ("one byte shorter", b"new package", "Cut"),
        ("one byte longer", b"new package!!", "Length"),
        ("empty", b"", "Length"),
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
        let mut attacker = honest.fork();
        attacker.set_signers(role, signers);
        attacker.add_target(role, "team/package", EVIL);
        attacker.publish(&[role]);
        attacker
    };
    let kept = {
        let mut attacker = forged(&[TestKey::new("targets")], "targets");
        let old: serde_json::Value = serde_json::from_slice(&honest.written("targets")).unwrap();
        let bytes = with_signatures(&attacker.written("targets"), |signatures| {
            *signatures = old["signatures"].as_array().unwrap().clone();
        });
        crate::forgery::republish(&mut attacker, "targets", bytes);
        attacker
    };
    let cases = [
        ("unsigned", forged(&[], "targets")),
        ("signed with the snapshot key", forged(&[TestKey::new("snapshot")], "targets")),
        ("signed with the key of a delegated role", forged(&[TestKey::new("team")], "targets")),
        ("signed with one root key", forged(&[TestKey::new("root-1")], "targets")),
        ("with the signatures of the previous release", kept),
    ];
    let cases = cases.map(|(sample, attacker)| {
        let case = Case::against(&honest).attacker(attacker.network()).get("team/package").sample(sample);
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
        [("different keys", honest, "ThresholdNotMet"), ("the same key", same_key, "WrongType")]
    {
        let network = honest.network().fork();
        network.put(&format!("{METADATA}timestamp.json"), honest.written("snapshot"));
        let case = Case::against(&honest)
            .attacker(&network)
            .sample(format!("a snapshot instead of the timestamp; the two roles have {sample}"));
        cases.push(case.refused("timestamp", reason));
    }
    cases
}

fn extraneous_dependencies() -> Vec<Case> {
    let honest = release(3);
    let mut attacker = honest.fork();
    attacker.add_target("team", "dependency", EVIL);
    attacker.signed("team")["targets"]["team/package"]["custom"] = json!({"depends": ["dependency"]});
    attacker.publish(&["team"]);
    let case = Case::against(&honest).attacker(attacker.network()).honest(newer(&attacker).network());
    vec![
        case.clone()
            .get("dependency")
            .sample("requested")
            .refused("dependency", "NoSuchTarget")
            .advances(&["snapshot", "timestamp"]),
        case.get("team/package").sample("listed but not requested"),
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
