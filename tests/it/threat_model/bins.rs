//! Attacks with the stolen keys of bins. The snapshot usually lists the hashes of bins. It lists no hashes of bins if
//! both online keys must sign the bins, or if an earlier version of lastmile-repo made the snapshot.

use lastmile_attacks::{EVIL, GOOD};
use lastmile_testkit::{METADATA, file_name, hash};
use serde_json::{Value, json};

use super::useless_keys::Attempt;
use crate::made::{Made, refusal};

const NEWER: &[u8] = b"newer package";
const KINDS: [&[&str]; 2] = [&[], &["--prefixes"]];
const BOTH: [&str; 2] = ["snapshot-1", "timestamp-1"];

fn add_keys(made: &Made, kind: &[&str], keys: &[&str]) {
    // Succinct bins share their keys, so adding a key to one bin adds it to all bins.
    let bins = if kind.is_empty() { &["bin-0"][..] } else { &["bin-0", "bin-1"] };
    for key in keys {
        made.new_key(key);
    }
    for bin in bins {
        let added: Vec<&str> = keys.iter().flat_map(|key| ["--add", key]).collect();
        made.run(&[&["rotate", bin], &added[..]].concat());
    }
}

#[test]
fn k6_the_key_of_bins_gives_an_attacker_nothing_and_is_revoked() {
    for kind in KINDS {
        let made = Made::with_bins(kind, &["bins-1"]);
        let bin = made.bin_of("package");
        let attempt = Attempt {
            stolen: &["bins-1"],
            role: &bin,
            package: "package",
            options: &[],
            refusals: ["ROLE: HashMismatch", "timestamp: ThresholdNotMet"],
        };
        attempt.never_installs(&made);
        let seen = made.client(&["package"]);
        add_keys(&made, kind, &["bins-2"]);
        made.run(&["revoke", "file:keys/bins-1.pem"]);
        let attacker = made.attacker(&["bins-1", BOTH[0], BOTH[1]]);
        attacker.release(&bin, |signed| attacker.list_malicious(signed, "package"));
        seen.use_network(&attacker.network);
        assert_eq!(refusal(&seen.get("package")), format!("{bin}: ThresholdNotMet"));
    }
}

#[test]
fn k6_one_online_key_that_signs_for_bins_gives_an_attacker_nothing_either() {
    for (kind, key) in KINDS.into_iter().zip(BOTH) {
        let made = Made::with_bins(kind, &[key]);
        let bin = made.bin_of("package");
        let refused = if key == "timestamp-1" { "snapshot: ThresholdNotMet" } else { "timestamp: ThresholdNotMet" };
        let refusals = ["ROLE: HashMismatch", refused];
        Attempt { stolen: &[key], role: &bin, package: "package", options: &[], refusals }.never_installs(&made);
    }
}

#[test]
fn k7_one_of_the_two_online_keys_that_bins_need_signs_no_package() {
    for kind in KINDS {
        for (key, refused) in BOTH.into_iter().zip(["timestamp: ThresholdNotMet", "snapshot: ThresholdNotMet"]) {
            let made = Made::with_bins(kind, &BOTH);
            let bin = made.bin_of("package");
            let refusals = ["ROLE: ThresholdNotMet", refused];
            Attempt { stolen: &[key], role: &bin, package: "package", options: &[], refusals }.never_installs(&made);
        }
    }
}

#[test]
fn k7_revoking_one_online_key_replaces_both_and_the_bins_are_listed_with_hashes() {
    for kind in KINDS {
        let made = Made::with_bins(kind, &BOTH);
        let bin = made.bin_of("package");
        let entry = |made: &Made| made.attacker(&[]).newest("snapshot")["meta"][file_name(&bin, None)].take();
        assert_eq!(entry(&made)["hashes"], Value::Null);
        add_keys(&made, kind, &["bins-1"]);
        made.revoke_online("timestamp-1");
        assert!(entry(&made)["hashes"]["sha256"].is_string());
        assert_eq!(made.new_client().get("package").unwrap(), GOOD);
    }
}

#[test]
fn k8_both_online_keys_that_bins_need_sign_only_the_packages_of_the_bins() {
    for kind in KINDS {
        let made = Made::with_bins(kind, &BOTH);
        let bin = made.bin_of("package");
        let seen = made.client(&["package"]);
        // The attacker replaces the published version of the bin. This affects clients that do not have this version
        // yet.
        let attacker = made.attacker(&BOTH);
        attacker.replace(&bin, |signed| attacker.list_malicious(signed, "package"));
        let new = made.new_client();
        new.use_network(&attacker.network);
        assert_eq!(new.get("package").unwrap(), EVIL);
        seen.use_network(&attacker.network);
        assert_eq!(seen.get("package").unwrap(), GOOD);
        // The attacker publishes a new version of the bin. This affects all clients.
        let attacker = made.attacker(&BOTH);
        attacker.release(&bin, |signed| {
            signed["version"] = json!(1_000);
            attacker.list_malicious(signed, "package");
        });
        for client in [&made.new_client(), &seen] {
            client.use_network(&attacker.network);
            assert_eq!(client.get("package").unwrap(), EVIL);
        }
        // The attacker cannot replace packages of other roles.
        let attacker = made.attacker(&BOTH);
        attacker.release("targets", |targets| attacker.list_malicious(targets, "package"));
        let other = made.new_client();
        other.use_network(&attacker.network);
        assert_eq!(refusal(&other.get("package")), "targets: ThresholdNotMet");

        add_keys(&made, kind, &["bins-1", "bins-2"]);
        made.revoke_online("timestamp-1");
        made.revoke_online("snapshot-1");
        for client in [&new, &seen] {
            client.use_network(&made.served());
            assert_eq!(client.get("package").unwrap(), GOOD);
        }
        let attacker = made.attacker(&[BOTH[0], BOTH[1], "snapshot-2", "timestamp-2"]);
        attacker.release(&bin, |signed| attacker.list_malicious(signed, "package"));
        seen.use_network(&attacker.network);
        assert_eq!(refusal(&seen.get("package")), format!("{bin}: ThresholdNotMet"));
    }
}

/// Writes snapshot and timestamp in the form of an earlier version of lastmile-repo, without hashes of targets roles.
fn list_by_version_alone(made: &Made) {
    let attacker = made.attacker(&BOTH);
    attacker.replace("snapshot", |snapshot| {
        for entry in snapshot["meta"].as_object_mut().unwrap().values_mut() {
            *entry = json!({"version": entry["version"]});
        }
    });
    let path = attacker.path("snapshot", None);
    let bytes = attacker.network.file(&path).unwrap();
    attacker.replace("timestamp", |timestamp| {
        let entry = &mut timestamp["meta"]["snapshot.json"];
        entry["length"] = json!(bytes.len());
        entry["hashes"]["sha256"] = json!(hash(&bytes));
    });
    for path in [path, attacker.path("timestamp", None)] {
        let name = path.trim_start_matches(METADATA);
        std::fs::write(made.dir().join("metadata").join(name), attacker.network.file(&path).unwrap()).unwrap();
    }
}

#[test]
fn k9_the_key_of_many_bins_of_an_earlier_version_replaces_packages_until_the_bins_are_recreated() {
    let made = Made::new();
    made.new_key("bins-1");
    made.run(&["bins", "--bit-length", "14", "--key", "bins-1"]);
    list_by_version_alone(&made);
    made.add("other", GOOD, &[]);
    let seen = made.client(&["package"]);
    let bin = lastmile_testkit::bin_of("bin", 14, "package");
    let forge = || {
        let attacker = made.attacker(&["bins-1"]);
        attacker.replace(&bin, |signed| attacker.list_malicious(signed, "package"));
        attacker
    };
    let attacker = forge();
    let new = made.new_client();
    new.use_network(&attacker.network);
    assert_eq!(new.get("package").unwrap(), EVIL);
    seen.use_network(&attacker.network);
    assert_eq!(
        seen.get("package").unwrap(),
        GOOD,
        "a client that has stored this version of the bin must not request it again"
    );
    // With only the key of the bins, the attacker cannot publish a release.
    let attacker = made.attacker(&["bins-1"]);
    attacker.release(&bin, |signed| attacker.list_malicious(signed, "package"));
    seen.use_network(&attacker.network);
    assert_eq!(refusal(&seen.get("package")), "timestamp: ThresholdNotMet");

    made.run(&["bins", "--bit-length", "1", "--key", "bins-1"]);
    for client in [&new, &seen] {
        client.use_network(&made.served());
        assert_eq!(client.get("package").unwrap(), GOOD);
    }
    let bin = made.bin_of("package");
    let refusals = ["ROLE: HashMismatch", "timestamp: ThresholdNotMet"];
    Attempt { stolen: &["bins-1"], role: &bin, package: "package", options: &[], refusals }.never_installs(&made);
    assert_eq!(made.new_client().get("package").unwrap(), NEWER);
}
