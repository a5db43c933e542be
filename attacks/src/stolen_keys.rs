//! Attacks with stolen keys, fast-forward attacks, the recovery from fast-forward attacks, and attacks with metadata
//! from another repository.

use lastmile_testkit::{METADATA, Repository, TestKey, sign};
use serde_json::json;

use crate::forgery::newer;
use crate::{Case, EVIL, Scenario, release, stranger};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "3.10-online-keys",
        &["3.10-online-keys"],
        "an attacker with the timestamp key, the snapshot key or both publishes a malicious package",
        "specification 1.5.3, key compromise",
        online_keys,
    ),
    Scenario::new(
        "3.10-targets-key",
        &["3.10-targets-key"],
        "an attacker with the targets key and at most one of the two online keys publishes a malicious package",
        "specification 1.5.3, key compromise",
        targets_key,
    ),
    Scenario::new(
        "3.10-delegated-key",
        &["3.10-delegated-key"],
        "an attacker with a delegated role's key and both online keys publishes a package outside the role's paths",
        "specification 1.5.3, key compromise",
        delegated_key,
    ),
    Scenario::new(
        "3.10-root-key",
        &["3.10-root-key"],
        "an attacker with one of the two required root keys publishes a new root",
        "specification 1.5.3, key compromise",
        one_root_key,
    ),
    Scenario::new(
        "3.10-revoked-keys",
        &["3.10-revoked-keys"],
        "an attacker signs metadata with higher versions, using keys that have been replaced",
        "specification 6.1, key compromise",
        revoked_keys,
    ),
    Scenario::new(
        "3.10-revoked-and-stored",
        &["3.10-revoked-and-stored"],
        "a client has stored metadata signed with a stolen key, and the server sends it again after the key was replaced",
        "specification 5.3.11, key compromise",
        revoked_and_stored,
    ),
    Scenario::new(
        "3.11-FF1",
        &["3.11-FF1", "3.11-FF3"],
        "harmless: versions were inflated to the maximum, and new online keys make lower versions valid again",
        "specification 5.3.11, fast-forward",
        fast_forward_recovered,
    ),
    Scenario::new(
        "3.11-FF2",
        &["3.11-FF2"],
        "versions were inflated, and replacing only the targets keys does not make lower versions valid again",
        "specification 5.3.11, fast-forward",
        fast_forward_not_recovered,
    ),
    Scenario::new(
        "3.11-FF5",
        &["3.11-FF5"],
        "harmless: after versions were inflated, the keys are replaced over several roots, or replaced and restored",
        "specification 5.3.11, fast-forward",
        rotation_over_several_roots,
    ),
    Scenario::new(
        "3.11-FF7",
        &["3.11-FF7"],
        "a root has the greatest possible version, or a version that is out of range",
        "specification 5.3.5, fast-forward",
        greatest_root,
    ),
    Scenario::new(
        "3.11-FF8",
        &["3.11-FF8"],
        "an unsigned root lists new online keys, to make the client delete its stored files",
        "specification 5.3.11, fast-forward",
        unsigned_rotation,
    ),
    Scenario::new(
        "3.12-cut-and-paste",
        &["3.12-cut-and-paste", "GOTUF-CR-23-01"],
        "the server sends metadata from another repository, which uses one of the same keys and has higher versions",
        "audit finding GOTUF-CR-23-01",
        another_repository,
    ),
];

/// Returns a copy of `honest` in which an attacker has added the malicious target `path` to `role`. The attacker has
/// the keys of the roles in `stolen`, and signs all other roles with a key that no role lists.
fn attacker(honest: &Repository, stolen: &[&str], role: &str, path: &str) -> Repository {
    let mut attacker = honest.fork();
    for other in ["root", "timestamp", "snapshot", "targets", "team"] {
        if !stolen.contains(&other) {
            attacker.set_signers(other, &[stranger()]);
        }
    }
    attacker.add_target(role, path, EVIL);
    attacker.publish(&[role]);
    attacker
}

fn online_keys() -> Vec<Case> {
    let honest = release(3);
    let samples: [(&[&str], &str, &[&str]); 3] = [
        (&["timestamp"], "snapshot", &["timestamp"]),
        (&["snapshot"], "timestamp", &[]),
        (&["timestamp", "snapshot"], "targets", &["snapshot", "timestamp"]),
    ];
    let cases = samples.map(|(stolen, refusing, advances)| {
        let attacker = attacker(&honest, stolen, "targets", "package");
        let case = Case::against(&honest).attacker(attacker.network()).get("package").sample(stolen.join(" and "));
        case.refused(refusing, "ThresholdNotMet").advances(advances)
    });
    cases.into()
}

fn targets_key() -> Vec<Case> {
    let honest = release(3);
    let samples: [(&[&str], &str, &[&str]); 3] = [
        (&["targets"], "timestamp", &[]),
        (&["targets", "snapshot"], "timestamp", &[]),
        (&["targets", "timestamp"], "snapshot", &["timestamp"]),
    ];
    let cases = samples.map(|(stolen, refusing, advances)| {
        let attacker = attacker(&honest, stolen, "targets", "package");
        let case = Case::against(&honest).attacker(attacker.network()).get("package").sample(stolen.join(" and "));
        case.refused(refusing, "ThresholdNotMet").advances(advances)
    });
    cases.into()
}

fn delegated_key() -> Vec<Case> {
    let honest = release(3);
    let attacker = attacker(&honest, &["team", "timestamp", "snapshot"], "team", "other");
    let case = Case::against(&honest).attacker(attacker.network()).get("other").refused("other", "NoSuchTarget");
    vec![case.advances(&["snapshot", "timestamp"])]
}

fn one_root_key() -> Vec<Case> {
    let honest = release(3);
    let mut attacker = honest.fork();
    attacker.set_keys("root", &[stranger()], 1);
    attacker.set_keys("timestamp", &[stranger()], 1);
    attacker.bump("root");
    let signed = attacker.signed("root").clone();
    attacker.put_metadata("root", sign(&signed, &[TestKey::new("root-1"), stranger()]));
    vec![Case::against(&honest).attacker(attacker.network()).refused("root", "ThresholdNotMet")]
}

fn revoked_keys() -> Vec<Case> {
    let mut cases = Vec::new();
    for role in ["timestamp", "snapshot", "targets"] {
        let mut honest = release(2);
        honest.set_keys(role, &[TestKey::new("fresh")], 1);
        honest.publish(&["root", "team", "targets"]);
        let mut attacker = honest.fork();
        attacker.set_signers(role, &[TestKey::new(role)]);
        attacker.publish(&[role]);
        attacker.publish(&[role]);
        let case = Case::against(&honest).attacker(attacker.network()).sample(role);
        cases.push(case.refused(role, "ThresholdNotMet").advances(crate::forgery::before(role)));
    }
    let mut honest = release(2);
    crate::forgery::with_keys(&mut honest, "team", &[TestKey::new("fresh")], 1);
    let mut attacker = honest.fork();
    attacker.set_signers("team", &[TestKey::new("team")]);
    attacker.publish(&["team"]);
    let case = Case::against(&honest).attacker(attacker.network()).sample("team").get("team/package");
    cases.push(case.refused("team", "ThresholdNotMet").advances(&["snapshot", "timestamp"]));
    cases
}

fn revoked_and_stored() -> Vec<Case> {
    let honest = release(2);
    // At first, the client trusts a timestamp that was signed with the stolen key. Later, the client receives the same
    // timestamp again, together with a root that no longer lists the key.
    let mut stolen = honest.fork();
    stolen.signed("timestamp")["version"] = json!(500);
    stolen.publish(&["timestamp"]);
    let mut rotated = honest.fork();
    rotated.set_keys("timestamp", &[TestKey::new("fresh timestamp")], 1);
    rotated.publish(&["root", "team", "targets"]);
    let network = rotated.network().fork();
    network.put(&format!("{METADATA}timestamp.json"), stolen.written("timestamp"));
    let case = Case::against(&honest).followed(stolen.network()).attacker(&network).honest(rotated.network());
    vec![case.refused("timestamp", "ThresholdNotMet").advances(&["root", "snapshot", "timestamp"])]
}

/// Returns a copy of `honest` in which an attacker has increased the versions of the roles in `driven` to `version`.
fn inflated(honest: &Repository, driven: &[&str], version: u64) -> Repository {
    let mut attacker = honest.fork();
    for role in ["team", "targets", "snapshot", "timestamp"] {
        if driven.contains(&role) {
            attacker.signed(role)["version"] = json!(version);
        } else {
            attacker.bump(role);
        }
    }
    attacker.reissue(&["team", "targets"]);
    attacker
}

const GREATEST: u64 = i64::MAX as u64;

fn fast_forward_recovered() -> Vec<Case> {
    let honest = release(2);
    let samples: [(&str, &[&str], &[&str]); 3] = [
        ("timestamp", &["timestamp"], &["timestamp"]),
        ("timestamp and snapshot", &["timestamp", "snapshot"], &["timestamp"]),
        ("everything", &["timestamp", "snapshot", "targets", "team"], &["snapshot"]),
    ];
    let cases = samples.map(|(sample, driven, replaced)| {
        let attacker = inflated(&honest, driven, GREATEST);
        let mut fixed = honest.fork();
        for role in replaced {
            fixed.set_keys(role, &[TestKey::new("fresh")], 1);
        }
        fixed.publish(&["root", "team", "targets"]);
        let case = Case::against(&honest)
            .followed(attacker.network())
            .attacker(fixed.network())
            .honest(newer(&fixed).network());
        case.get("team/package").sample(sample)
    });
    cases.into()
}

fn fast_forward_not_recovered() -> Vec<Case> {
    let honest = release(2);
    let attacker = inflated(&honest, &["targets"], 1_000);
    let mut rotated = honest.fork();
    rotated.set_keys("targets", &[TestKey::new("fresh targets")], 1);
    for _ in 0..3 {
        rotated.publish(&["root", "team", "targets"]);
    }
    let mut fixed = rotated.fork();
    fixed.set_keys("snapshot", &[TestKey::new("fresh snapshot")], 1);
    fixed.publish(&["root", "team", "targets"]);
    let case = Case::against(&honest).followed(attacker.network()).attacker(rotated.network()).honest(fixed.network());
    vec![case.refused("snapshot", "ListedRollback").advances(&["root", "timestamp"])]
}

fn rotation_over_several_roots() -> Vec<Case> {
    let honest = release(2);
    let attacker = inflated(&honest, &["timestamp", "snapshot"], 1_000);
    let mut slow = honest.fork();
    for name in ["between", "fresh"] {
        slow.set_keys("timestamp", &[TestKey::new(name)], 1);
        slow.publish(&["root"]);
        slow.publish(&["root"]);
    }
    slow.publish(&["team", "targets"]);
    let mut back = honest.fork();
    back.set_keys("timestamp", &[TestKey::new("between")], 1);
    back.publish(&["root"]);
    back.set_keys("timestamp", &[TestKey::new("timestamp")], 1);
    back.publish(&["root"]);
    back.publish(&["team", "targets"]);
    let case = |fixed: &Repository, sample| {
        let case = Case::against(&honest)
            .followed(attacker.network())
            .attacker(fixed.network())
            .honest(newer(fixed).network());
        case.get("package").sample(sample)
    };
    // The specification does not say whether keys that were removed and restored count as replaced. lastmile counts
    // them as replaced.
    vec![case(&slow, "over four roots"), case(&back, "replaced and restored").in_process_only()]
}

fn greatest_root() -> Vec<Case> {
    let honest = release(2);
    let root = |version: u64| {
        let mut attacker = honest.fork();
        attacker.signed("root")["version"] = json!(version);
        let signed = attacker.signed("root").clone();
        let bytes = sign(&signed, &["root-1", "root-2"].map(TestKey::new));
        let network = attacker.network().fork();
        network.put(&format!("{METADATA}2.root.json"), bytes.clone());
        (network, bytes)
    };
    let (jumping, last) = root(GREATEST);
    let (beyond, _) = root(GREATEST + 1);
    let network = honest.network().fork();
    network.put(&format!("{METADATA}{GREATEST}.root.json"), last.clone());
    vec![
        Case::against(&honest)
            .attacker(&jumping)
            .sample("the greatest version, under the file name of version 2")
            .refused("root", "WrongVersion"),
        Case::against(&honest).attacker(&beyond).sample("out of range").refused("root", "Malformed"),
        Case::new_client(&honest)
            .shipped_root(last)
            .attacker(&network)
            .get("package")
            .sample("the greatest version in the shipped root"),
    ]
}

fn unsigned_rotation() -> Vec<Case> {
    let honest = release(3);
    let mut liar = honest.fork();
    liar.set_keys("timestamp", &[stranger()], 1);
    liar.set_keys("snapshot", &[stranger()], 1);
    liar.set_signers("root", &[]);
    liar.publish(&["root", "targets"]);
    vec![Case::against(&honest).attacker(liar.network()).refused("root", "ThresholdNotMet")]
}

fn another_repository() -> Vec<Case> {
    let honest = release(3);
    let mut other = Repository::new();
    for role in ["snapshot", "targets"] {
        other.set_keys(role, &[TestKey::new(&format!("their {role}"))], 1);
    }
    other.add_target("targets", "package", EVIL);
    for _ in 0..30 {
        other.publish(&["targets"]);
    }
    let mut after = honest.fork();
    for _ in 0..40 {
        after.publish(&["team", "targets"]);
    }
    let case = Case::against(&honest).attacker(other.network()).honest(after.network()).get("package");
    vec![case.refused("snapshot", "ThresholdNotMet").advances(&["timestamp"])]
}
