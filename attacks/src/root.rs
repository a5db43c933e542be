//! Attacks on root metadata: chains that do not verify, hidden roots, replaced roots, and rotation.

use std::fs;

use lastmile_testkit::{METADATA, NetworkFault, Repository, TestKey, file_name, sign};
use serde_json::json;

use crate::forgery::newer;
use crate::slow_and_endless::impatient;
use crate::{Case, EVIL, Scenario, release, stranger};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "CVE-2020-15163",
        &["CVE-2020-15163"],
        "a new root is signed with an unknown key, only with the old keys, or only with the new keys",
        "CVE-2020-15163, GHSA-f8mr-jv2c-v8mg",
        roots_that_do_not_verify,
    ),
    Scenario::new(
        "2.2-hidden-root",
        &["2.2-hidden-root", "3.3-F7", "S-2.3-2"],
        "the server answers the request for the next root with 401, 403, 429, 500 or a reset, or not at all",
        "a bug in another implementation, 2025; specification 5.3.3",
        hidden_root,
    ),
    Scenario::new(
        "CVE-2025-2885",
        &["CVE-2025-2885", "3.2-R1"],
        "under the file name of the next root, the server sends an older root, the current root or a later root",
        "CVE-2025-2885, GHSA-5vmp-m5v2-hx47",
        root_of_another_version,
    ),
    Scenario::new(
        "S-2.3-1",
        &["S-2.3-1", "3.2-R2"],
        "the server withholds roots that the client already has, and signs with a timestamp key that these roots revoked",
        "review of the source code of other implementations",
        hidden_chain,
    ),
    Scenario::new(
        "S-2.3-11",
        &["S-2.3-11", "3.11-FF6"],
        "harmless: a changed threshold counts as a key rotation, so inflated versions are reset",
        "review of the source code of other implementations; specification 5.3.11",
        threshold_as_rotation,
    ),
    Scenario::new(
        "2.4-stored-root",
        &["2.4-stored-root"],
        "an attacker replaces the client's stored root and deletes all other stored files",
        "an audit of another implementation",
        stored_root_replaced,
    ),
];

fn roots_that_do_not_verify() -> Vec<Case> {
    let honest = release(3);
    let chain = {
        let mut attacker = honest.fork();
        attacker.publish(&["root"]);
        attacker.publish(&["root"]);
        attacker.set_signers("root", &[stranger()]);
        attacker.publish(&["root"]);
        attacker
    };
    // The honest repository later publishes the same root versions. All of its roots, including the last, are validly
    // signed.
    let mut after = honest.fork();
    for _ in 0..3 {
        after.publish(&["root"]);
    }
    after.publish(&["team", "targets"]);
    let chained = Case::against(&honest).attacker(chain.network()).honest(after.network());
    let mut cases = vec![
        chained
            .sample("an unknown key for the last of three new roots")
            .refused("root", "ThresholdNotMet")
            .advances(&["root"]),
    ];
    let new_keys = ["new-1", "new-2", "new-3"].map(TestKey::new);
    let old_keys = ["root-1", "root-2", "root-3"].map(TestKey::new);
    for (sample, keys) in [("only the old keys", &old_keys), ("only the new keys", &new_keys)] {
        let mut attacker = honest.fork();
        attacker.set_keys("root", &new_keys, 2);
        attacker.bump("root");
        let signed = attacker.signed("root").clone();
        attacker.put_metadata("root", sign(&signed, keys));
        cases.push(
            Case::against(&honest).attacker(attacker.network()).sample(sample).refused("root", "ThresholdNotMet"),
        );
    }
    cases
}

fn hidden_root() -> Vec<Case> {
    let honest = release(3);
    let mut next = honest.fork();
    next.publish(&["root", "targets"]);
    let faults = [403, 401, 429, 500].map(|status| {
        let why = if status == 401 { "Unauthorized" } else { "Status" };
        (status.to_string(), NetworkFault::Status(status), why)
    });
    let other =
        [("reset".to_owned(), NetworkFault::Reset, "Cut"), ("silence".to_owned(), NetworkFault::Timeout, "Timeout")];
    let cases = faults.into_iter().chain(other).map(|(sample, fault, why)| {
        let network = next.network().fork();
        let is_silent = fault == NetworkFault::Timeout;
        network.fault(&format!("{METADATA}2.root.json"), fault);
        let case = Case::against(&honest).attacker(&network).honest(next.network()).sample(sample);
        let case = if is_silent { impatient(case) } else { case };
        // A client may treat each of these failures like a 404, as the end of the root chain. Such a client keeps its
        // root, which is harmless.
        case.may_trust(next.network()).refused("2.root.json", why)
    });
    cases.collect()
}

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

fn hidden_chain() -> Vec<Case> {
    let first = release(2);
    let mut honest = first.fork();
    honest.set_keys("timestamp", &[TestKey::new("fresh timestamp")], 1);
    for _ in 0..4 {
        honest.publish(&["root"]);
    }
    honest.publish(&["targets", "timestamp"]);
    // The attacker has the timestamp key that the honest repository has replaced. The attacker signs a new timestamp
    // for the state of the repository before the replacement.
    let mut attacker = first.fork();
    attacker.signed("timestamp")["version"] = json!(1_000);
    attacker.publish(&["timestamp"]);
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
            .attacker(attacker.network())
            .sample("the old state")
            .refused("timestamp", "ThresholdNotMet"),
        Case::against(&honest).attacker(&network).sample("the new state").refused("timestamp", "ThresholdNotMet"),
    ]
}

fn threshold_as_rotation() -> Vec<Case> {
    let keys = ["online-1", "online-2"].map(TestKey::new);
    let mut honest = release(2);
    honest.set_keys("timestamp", &keys, 1);
    honest.publish(&["root", "timestamp"]);
    let mut attacker = honest.fork();
    attacker.signed("timestamp")["version"] = json!(1_000);
    attacker.publish(&["timestamp"]);
    let mut fixed = honest.fork();
    fixed.signed("root")["roles"]["timestamp"]["threshold"] = json!(2);
    fixed.publish(&["root", "team", "targets"]);
    // lastmile treats a changed threshold as a key rotation. The specification does not require this, so the case runs
    // in process only.
    vec![
        Case::against(&honest)
            .followed(attacker.network())
            .attacker(fixed.network())
            .honest(newer(&fixed).network())
            .get("package")
            .in_process_only(),
    ]
}

fn stored_root_replaced() -> Vec<Case> {
    let honest = release(3);
    let mut attacker = Repository::new();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let keys = ["thief-1", "thief-2"].map(TestKey::new);
        attacker.set_keys(role, &keys, 2);
    }
    attacker.bump("root");
    let signed = attacker.signed("root").clone();
    attacker.put_metadata("root", sign(&signed, &["thief-1", "thief-2"].map(TestKey::new)));
    attacker.add_target("targets", "package", EVIL);
    for _ in 0..9 {
        attacker.publish(&["targets"]);
    }
    let root = attacker.written("root");
    let replace = move |folder: &std::path::Path| {
        for name in ["timestamp", "snapshot", "targets", "team"] {
            drop(fs::remove_file(folder.join(format!("{name}.json"))));
        }
        fs::write(folder.join("root.json"), &root).unwrap();
    };
    // The client starts from the shipped root. This root does not list the attacker's keys, so the client refuses the
    // root that the attacker stored. The update after the attack overwrites it.
    let case = Case::against(&honest).tamper(replace).attacker(attacker.network()).get("package");
    vec![case.refused("root", "ThresholdNotMet")]
}
