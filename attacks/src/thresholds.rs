//! Attacks on thresholds: invalid values, values above the number of keys, and too few signatures.

use lastmile_testkit::TestKey;
use serde_json::json;

use crate::forgery::{before, republish, signed_so};
use crate::{Case, EVIL, Scenario, release, stranger};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "CVE-2026-23992",
        &["CVE-2026-23992"],
        "a root sets the threshold of a role to 0, -1, null or another invalid value, and the role is unsigned",
        "CVE-2026-23992, GHSA-fphv-w9fq-2525",
        thresholds_of_nothing,
    ),
    Scenario::new(
        "CVE-2026-23992-delegated",
        &["CVE-2026-23992"],
        "a delegation has a threshold of 0, -1, null or another invalid value, and its role is unsigned",
        "CVE-2026-23992, GHSA-fphv-w9fq-2525",
        delegated_thresholds_of_nothing,
    ),
    Scenario::new(
        "2.2-threshold-above-keys",
        &["CVE-2026-23992", "4.4-threshold-above-keys"],
        "a root requires more signatures for a role than the role has keys",
        "CVE-2026-23992, GHSA-fphv-w9fq-2525",
        threshold_above_keys,
    ),
    Scenario::new(
        "CVE-2026-6966",
        &["CVE-2026-6966"],
        "a delegated role with a threshold of two has valid signatures by fewer than two of its keys",
        "CVE-2026-6966, GHSA-8m7c-8m39-rv4x",
        delegated_threshold,
    ),
];

const THRESHOLDS: [&str; 7] = ["0", "-1", "null", "\"1\"", "9223372036854775808", "1.0", "true"];

fn thresholds_of_nothing() -> Vec<Case> {
    let honest = release(3);
    let mut cases = Vec::new();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        // Test all invalid thresholds for the timestamp only. One of them is enough for each other role, because the
        // same parser reads the thresholds of all roles.
        let thresholds = if role == "timestamp" { &THRESHOLDS[..] } else { &THRESHOLDS[..1] };
        for threshold in thresholds {
            let mut attacker = honest.fork();
            // The root is validly signed, as if its keys had been stolen or its signers had been deceived. The role
            // with the changed threshold is unsigned.
            attacker.signed("root")["roles"][role]["threshold"] = json!("here");
            attacker.publish(&["root"]);
            let bytes = signed_so(&attacker, "root", "\"here\"", threshold);
            attacker.put_metadata("root", bytes);
            if role != "root" {
                attacker.set_signers(role, &[]);
                attacker.publish(&[role]);
            }
            let case = Case::against(&honest).attacker(attacker.network()).sample(format!("{role}: {threshold}"));
            cases.push(case.refused("root", "Malformed"));
        }
    }
    cases
}

fn delegated_thresholds_of_nothing() -> Vec<Case> {
    let honest = release(3);
    let cases = THRESHOLDS.map(|threshold| {
        let mut attacker = honest.fork();
        attacker.set_signers("team", &[]);
        attacker.publish(&["team"]);
        attacker.signed("targets")["delegations"]["roles"][0]["threshold"] = json!("here");
        attacker.publish(&["targets"]);
        let bytes = signed_so(&attacker, "targets", "\"here\"", threshold);
        republish(&mut attacker, "targets", bytes);
        let case = Case::against(&honest).attacker(attacker.network()).get("team/package").sample(threshold);
        case.refused("targets", "Malformed").advances(before("targets"))
    });
    cases.into()
}

fn threshold_above_keys() -> Vec<Case> {
    let honest = release(3);
    let cases = ["timestamp", "snapshot", "targets"].map(|role| {
        let mut attacker = honest.fork();
        attacker.signed("root")["roles"][role]["threshold"] = json!(2);
        attacker.publish(&["root"]);
        attacker.publish(&[role]);
        let mut fixed = attacker.fork();
        fixed.signed("root")["roles"][role]["threshold"] = json!(1);
        fixed.publish(&["root", "team", "targets"]);
        // lastmile treats a changed threshold as a key rotation, and therefore deletes the stored timestamp and
        // snapshot.
        let advances = ["root", "snapshot", "timestamp"];
        let case = Case::against(&honest).attacker(attacker.network()).honest(fixed.network()).sample(role);
        case.honest_may_be_refused().refused(role, "ThresholdNotMet").advances(&advances)
    });
    cases.into()
}

fn delegated_threshold() -> Vec<Case> {
    let keys = ["team-1", "team-2"].map(TestKey::new);
    let mut honest = release(2);
    crate::forgery::with_keys(&mut honest, "team", &keys, 2);
    let samples = [
        ("one key", vec![keys[0].clone()]),
        ("one key and an unknown key", vec![keys[0].clone(), stranger()]),
        ("no key", vec![]),
    ];
    let cases = samples.map(|(sample, signers)| {
        let mut attacker = honest.fork();
        attacker.set_signers("team", &signers);
        attacker.add_target("team", "team/other", EVIL);
        attacker.publish(&["team"]);
        let case = Case::against(&honest).attacker(attacker.network()).get("team/other").sample(sample);
        case.refused("team", "ThresholdNotMet").advances(before("team"))
    });
    cases.into()
}
