//! Tests what an attacker can and cannot do with stolen keys, and how the repository recovers.

use lastmile_attacks::{EVIL, GOOD};
use lastmile_testkit::METADATA;
use serde_json::json;

use crate::made::{Made, in_days, later, refusal};

const NEWER: &[u8] = b"newer package";
const GREATEST: u64 = i64::MAX as u64;
const ONLINE: [&str; 2] = ["timestamp-1", "snapshot-1"];

#[test]
fn k1_the_timestamp_key_withholds_releases_until_the_snapshot_expires() {
    let made = Made::new();
    let mut seen = made.client(&["package"]);
    let attacker = made.attacker(&["timestamp-1"]);
    attacker.release("timestamp", |timestamp| timestamp["expires"] = in_days(3_650));
    made.add("package", NEWER, &[]);
    for mut client in [seen.copy(), made.new_client()] {
        client.use_network(&attacker.network);
        client.now = later(20);
        assert_eq!(client.get("package").unwrap(), GOOD);
        client.now = later(22);
        assert_eq!(refusal(&client.get("package")), "snapshot: Expired");
    }
    // An attacker without the timestamp key can withhold releases only until the timestamp expires.
    seen.now = later(8);
    assert_eq!(refusal(&seen.get("package")), "timestamp: Expired");
}

#[test]
fn k1_the_timestamp_key_gives_an_old_release_to_new_clients_only() {
    let made = Made::new();
    let older = made.attacker(&[]);
    made.add("package", NEWER, &[]);
    let seen = made.client(&["package"]);
    let attacker = made.attacker(&["timestamp-1"]);
    let listed = older.newest("timestamp")["meta"]["snapshot.json"].take();
    attacker.release("timestamp", |timestamp| timestamp["meta"]["snapshot.json"] = listed);
    let new = made.new_client();
    new.use_network(&attacker.network);
    assert_eq!(new.get("package").unwrap(), GOOD);
    seen.use_network(&attacker.network);
    assert_eq!(refusal(&seen.get("package")), "timestamp: ListedRollback");
}

#[test]
fn k1_the_timestamp_key_changes_no_package() {
    let made = Made::new();
    let seen = made.client(&["package"]);
    let attacker = made.attacker(&["timestamp-1"]);
    attacker.release("targets", |targets| attacker.list_malicious(targets, "package"));
    for client in [&made.new_client(), &seen.copy()] {
        client.use_network(&attacker.network);
        assert_eq!(refusal(&client.get("package")), "snapshot: ThresholdNotMet");
    }
    // The client must ignore a forged timestamp that has the same version as the stored timestamp.
    let attacker = made.attacker(&["timestamp-1"]);
    attacker.replace("timestamp", |timestamp| timestamp["expires"] = in_days(3_650));
    let stored = seen.stored("timestamp");
    seen.use_network(&attacker.network);
    assert_eq!(seen.get("package").unwrap(), GOOD);
    assert_eq!(seen.stored("timestamp"), stored);
}

#[test]
fn k1_revoking_the_timestamp_key_makes_clients_forget_its_versions() {
    let made = Made::new();
    let seen = made.client(&["package"]);
    let attacker = made.attacker(&["timestamp-1"]);
    attacker.release("timestamp", |timestamp| timestamp["version"] = json!(GREATEST));
    seen.use_network(&attacker.network);
    assert_eq!(seen.get("package").unwrap(), GOOD);
    made.add("package", NEWER, &[]);
    seen.use_network(&made.served());
    assert_eq!(refusal(&seen.get("package")), "timestamp: Rollback");

    made.revoke_online("timestamp-1");
    seen.use_network(&made.served());
    assert_eq!(seen.get("package").unwrap(), NEWER);
    let attacker = made.attacker(&["timestamp-1"]);
    attacker.release("timestamp", |timestamp| timestamp["version"] = json!(GREATEST));
    for client in [&seen, &made.new_client()] {
        client.use_network(&attacker.network);
        assert_eq!(refusal(&client.get("package")), "timestamp: ThresholdNotMet");
    }
}

#[test]
fn k3_timestamp_and_snapshot_withhold_releases_until_targets_expires() {
    let made = Made::new();
    let mut seen = made.client(&["package"]);
    let attacker = made.attacker(&ONLINE);
    attacker.release("snapshot", |snapshot| snapshot["expires"] = in_days(3_650));
    attacker.release("timestamp", |timestamp| timestamp["expires"] = in_days(3_650));
    made.add("package", NEWER, &[]);
    seen.use_network(&attacker.network);
    seen.now = later(179);
    assert_eq!(seen.get("package").unwrap(), GOOD);
    seen.now = later(181);
    assert_eq!(refusal(&seen.get("package")), "targets: Expired");
}

#[test]
fn k3_timestamp_and_snapshot_combine_releases_without_lowering_a_version() {
    let made = Made::with_team();
    let first = made.attacker(&[]);
    let seen_first = made.client(&["package", "team/package"]);
    made.add("team/package", NEWER, &["--role", "team"]);
    let seen_second = made.client(&["package", "team/package"]);
    made.add("package", NEWER, &[]);
    let attacker = made.attacker(&ONLINE);
    let old = first.newest("snapshot")["meta"]["team.json"].take();
    attacker.release("snapshot", |snapshot| snapshot["meta"]["team.json"] = old);
    for client in [&seen_first, &made.new_client()] {
        client.use_network(&attacker.network);
        assert_eq!((client.get("package").unwrap(), client.get("team/package").unwrap()), (NEWER.into(), GOOD.into()));
    }
    seen_second.use_network(&attacker.network);
    assert_eq!(refusal(&seen_second.get("package")), "snapshot: ListedRollback");
}

#[test]
fn k3_timestamp_and_snapshot_sign_no_package_and_their_versions_are_forgotten_once_one_is_revoked() {
    let made = Made::with_team();
    let seen = made.client(&["package", "team/package"]);
    for (role, package) in [("targets", "package"), ("team", "team/package")] {
        let attacker = made.attacker(&ONLINE);
        attacker.release(role, |signed| attacker.list_malicious(signed, package));
        for client in [&made.new_client(), &seen.copy()] {
            client.use_network(&attacker.network);
            assert_eq!(refusal(&client.get(package)), format!("{role}: ThresholdNotMet"));
        }
        // Replacing the file of the published version fails too.
        let attacker = made.attacker(&ONLINE);
        attacker.replace(role, |signed| attacker.list_malicious(signed, package));
        let new = made.new_client();
        new.use_network(&attacker.network);
        assert_eq!(refusal(&new.get(package)), format!("{role}: HashMismatch"));
    }
    let attacker = made.attacker(&ONLINE);
    attacker.release("snapshot", |snapshot| snapshot["version"] = json!(GREATEST));
    attacker.release("timestamp", |timestamp| timestamp["version"] = json!(GREATEST));
    seen.use_network(&attacker.network);
    assert_eq!(seen.get("package").unwrap(), GOOD);
    made.add("package", NEWER, &[]);
    seen.use_network(&made.served());
    assert_eq!(refusal(&seen.get("package")), "timestamp: Rollback");
    made.revoke_online("snapshot-1");
    seen.use_network(&made.served());
    assert_eq!(seen.get("package").unwrap(), NEWER);
    let attacker = made.attacker(&ONLINE);
    attacker.release("snapshot", |_| {});
    seen.use_network(&attacker.network);
    assert_eq!(refusal(&seen.get("package")), "timestamp: ThresholdNotMet");
}

#[test]
fn k5_a_delegated_role_with_both_online_keys_signs_only_packages_within_its_paths() {
    let made = Made::with_team();
    made.add("team/of-targets", GOOD, &["--hide-delegated"]);
    let seen = made.client(&["package", "team/package"]);
    let attacker = made.attacker(&["team-1", ONLINE[0], ONLINE[1]]);
    attacker.release("team", |team| {
        // The attacker gives `team` a far higher version than the honest releases have.
        team["version"] = json!(1_000);
        for path in ["team/package", "team/of-targets", "package", "elsewhere"] {
            attacker.list_malicious(team, path);
        }
    });
    for client in [&made.new_client(), &seen] {
        client.use_network(&attacker.network);
        assert_eq!(client.get("team/package").unwrap(), EVIL);
        assert_eq!(
            client.get("team/of-targets").unwrap(),
            GOOD,
            "the client must get the package of the top-level targets role, which takes precedence over `team`"
        );
        assert_eq!(client.get("package").unwrap(), GOOD);
        assert_eq!(refusal(&client.get("elsewhere")), "elsewhere: NoSuchTarget");
    }
    made.revoke("team", "team-1", "team-2");
    made.revoke_online("timestamp-1");
    seen.use_network(&made.served());
    assert_eq!(seen.get("team/package").unwrap(), GOOD);
    let attacker = made.attacker(&["team-1", "timestamp-2", "snapshot-2"]);
    attacker.release("team", |team| attacker.list_malicious(team, "team/package"));
    seen.use_network(&attacker.network);
    assert_eq!(refusal(&seen.get("team/package")), "team: ThresholdNotMet");
}

#[test]
fn k11_targets_with_both_online_keys_signs_any_package_until_all_are_revoked() {
    let made = Made::new();
    let seen = made.client(&["package"]);
    let attacker = made.attacker(&["targets-1", ONLINE[0], ONLINE[1]]);
    attacker.release("targets", |targets| {
        targets["version"] = json!(1_000);
        attacker.list_malicious(targets, "package");
        attacker.list_malicious(targets, "anything");
    });
    for client in [&made.new_client(), &seen] {
        client.use_network(&attacker.network);
        assert_eq!(client.get("package").unwrap(), EVIL);
        assert_eq!(client.get("anything").unwrap(), EVIL);
    }
    made.revoke("targets", "targets-1", "targets-2");
    made.revoke_online("timestamp-1");
    seen.use_network(&made.served());
    assert_eq!(seen.get("package").unwrap(), GOOD);
    assert_eq!(refusal(&seen.get("anything")), "anything: NoSuchTarget");
    let attacker = made.attacker(&["targets-1", ONLINE[0], ONLINE[1]]);
    attacker.release("targets", |targets| attacker.list_malicious(targets, "package"));
    for client in [&made.new_client(), &seen] {
        client.use_network(&attacker.network);
        assert_eq!(refusal(&client.get("package")), "timestamp: ThresholdNotMet");
    }
}

#[test]
fn k13_a_threshold_of_root_keys_controls_the_repository_and_a_new_root_must_be_shipped() {
    let made = Made::new();
    let seen = made.client(&["package"]);
    let mut attacker = made.attacker(&["root-1", "root-2"]);
    let (keyid, key) = attacker.own_key();
    let take_over = |attacker: &crate::made::Attacker| {
        attacker.release("root", |root| {
            root["keys"][&keyid] = key.clone();
            for role in ["root", "timestamp", "snapshot", "targets"] {
                root["roles"][role] = json!({"keyids": [keyid], "threshold": 1});
            }
        });
    };
    take_over(&attacker);
    attacker.release("targets", |targets| attacker.list_malicious(targets, "package"));
    for client in [&made.new_client(), &seen] {
        client.use_network(&attacker.network);
        assert_eq!(client.get("package").unwrap(), EVIL);
    }
    // A client that follows the attacker's root refuses the next release of the maintainers.
    made.new_key("root-4");
    made.new_key("root-5");
    made.run(&["rotate", "root", "--add", "root-4", "--add", "root-5", "--remove", "root-1", "--remove", "root-2"]);
    made.add("package", NEWER, &[]);
    seen.use_network(&made.served());
    assert_eq!(refusal(&seen.get("package")), "timestamp: ThresholdNotMet");
    // A client that trusts the maintainers' new root before the attack refuses the attacker's root.
    let second = made.served().file(&format!("{METADATA}2.root.json")).unwrap();
    let mut shipped = lastmile_testkit::TestClient::with_root(second, &made.served());
    shipped.now = later(0);
    assert_eq!(shipped.get("package").unwrap(), NEWER);
    let early = made.client(&["package"]);
    for client in [&shipped, &early] {
        let mut attacker = made.attacker(&["root-1", "root-2"]);
        attacker.own_key();
        take_over(&attacker);
        client.use_network(&attacker.network);
        assert_eq!(refusal(&client.get("package")), "root: ThresholdNotMet");
    }
}

#[test]
fn k13_a_root_of_the_same_version_with_other_content_is_refused_whoever_signs_it() {
    let made = Made::new();
    made.run(&["renew", "root", "--force"]);
    let seen = made.client(&["package"]);
    let attacker = made.attacker(&["root-1", "root-2", "root-3"]);
    let mut signed = attacker.newest("root");
    signed["expires"] = in_days(3_650);
    assert_eq!(signed["version"], json!(2));
    let other = attacker.sign("root", &signed);
    attacker.network.put(&format!("{METADATA}3.root.json"), other.clone());
    seen.use_network(&attacker.network);
    assert_eq!(refusal(&seen.get("package")), "root: Rollback");
    // If the attacker replaces the file of the root version that the client already has, nothing happens, because the
    // client does not request this file again.
    let attacker = made.attacker(&[]);
    attacker.network.put(&format!("{METADATA}2.root.json"), other);
    let stored = seen.stored("root");
    seen.use_network(&attacker.network);
    assert_eq!(seen.get("package").unwrap(), GOOD);
    assert_eq!(seen.stored("root"), stored);
}
