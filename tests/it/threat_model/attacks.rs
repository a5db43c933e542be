//! Attacks by a network attacker or a malicious server on repositories that `lastmile-repo` made.

use lastmile_attacks::{EVIL, GOOD};
use lastmile_testkit::{FakeNetwork, METADATA, NetworkFault, TARGETS, TestClient, hash};
use serde_json::json;

use crate::made::{Made, later, refusal};

const NEWER: &[u8] = b"newer package";
/// A malicious package with the same length as the good one.
const OTHER: &[u8] = b"fine package";

/// Returns a repository with two roots and a delegated role, and a network with its files. Also returns the paths of
/// the files that a new client fetches to get `team/package`.
fn asked_for() -> (Made, FakeNetwork, Vec<String>) {
    let made = Made::with_team();
    made.run(&["renew", "root", "--force"]);
    let network = made.served();
    let client = made.new_client();
    client.use_network(&network);
    assert_eq!(client.get("team/package").unwrap(), GOOD);
    let asked: Vec<String> = network.requests().into_iter().filter(|path| network.file(path).is_some()).collect();
    assert!(asked.len() >= 6, "{asked:?}");
    (made, network, asked)
}

/// Applies `change` to each file in turn. A new client must refuse the changed file, and must then get the package from
/// the honest server. Returns the reasons for the refusals.
fn each_file(change: impl Fn(&FakeNetwork, &str)) -> Vec<String> {
    let (made, honest, asked) = asked_for();
    let mut refusals = Vec::new();
    for path in asked {
        let network = honest.fork();
        change(&network, &path);
        let client = made.new_client();
        client.use_network(&network);
        refusals.push(refusal(&client.get("team/package")));
        assert_eq!(client.output(), [""; 0], "{path}");
        client.use_network(&honest);
        assert_eq!(client.get("team/package").unwrap(), GOOD, "{path}");
    }
    refusals
}

#[test]
fn n1_a_file_with_other_content_is_refused() {
    let refusals = each_file(|network, path| {
        let bytes = network.file(path).unwrap();
        let other = match String::from_utf8(bytes).unwrap() {
            text if path.starts_with(METADATA) => text.replace(r#""expires":"2"#, r#""expires":"3"#),
            text => text.to_uppercase(),
        };
        network.put(path, other.into_bytes());
    });
    assert!(refusals.iter().all(|why| !why.starts_with("network")), "{refusals:?}");
}

#[test]
fn n2_older_metadata_is_refused_whatever_has_expired() {
    let made = Made::new();
    let old = made.served();
    made.add("package", NEWER, &[]);
    let mut seen = made.client(&["package"]);
    seen.use_network(&old);
    assert_eq!(refusal(&seen.get("package")), "timestamp: Rollback");
    seen.now = later(8);
    assert_eq!(refusal(&seen.get("package")), "timestamp: Rollback");
    assert_eq!(seen.read_output("package"), NEWER);
}

#[test]
fn n3_a_freeze_ends_when_the_timestamp_expires_after_a_week() {
    let made = Made::new();
    let old = made.served();
    let returning = made.client(&["package"]);
    made.add("package", NEWER, &[]);
    for mut client in [made.new_client(), returning] {
        client.use_network(&old);
        client.now = later(6);
        assert_eq!(client.get("package").unwrap(), GOOD);
        client.now = later(8);
        assert_eq!(refusal(&client.get("package")), "timestamp: Expired");
    }
}

#[test]
fn n4_inflated_versions_are_forgotten_when_the_online_keys_are_replaced() {
    let made = Made::new();
    let seen = made.client(&["package"]);
    let attacker = made.attacker(&["timestamp-1", "snapshot-1"]);
    attacker.release("snapshot", |snapshot| snapshot["version"] = json!(i64::MAX));
    seen.use_network(&attacker.network);
    assert_eq!(seen.get("package").unwrap(), GOOD);
    // The next honest timestamp has the same version as the attacker's timestamp, so the client does not notice the
    // release.
    made.add("package", NEWER, &[]);
    seen.use_network(&made.served());
    assert_eq!(seen.get("package").unwrap(), GOOD);
    made.run(&["renew", "--force"]);
    seen.use_network(&made.served());
    assert_eq!(refusal(&seen.get("package")), "timestamp: ListedRollback");
    made.revoke_online("timestamp-1");
    seen.use_network(&made.served());
    assert_eq!(seen.get("package").unwrap(), NEWER);
}

#[test]
fn n5_files_of_different_releases_are_refused() {
    let made = Made::with_team();
    let old = made.attacker(&[]);
    let seen = made.client(&["team/package"]);
    made.add("team/package", NEWER, &["--role", "team"]);
    made.add("package", NEWER, &[]);
    for role in ["snapshot", "targets", "team"] {
        let mixed = made.attacker(&[]);
        mixed.network.put(&mixed.path(role, None), old.network.file(&old.path(role, None)).unwrap());
        for client in [made.new_client(), seen.copy()] {
            client.use_network(&mixed.network);
            let why = refusal(&client.get("team/package"));
            assert!(why == format!("{role}: HashMismatch") || why == format!("{role}: LengthMismatch"), "{why}");
        }
    }
}

#[test]
fn n6_endless_files_are_read_only_up_to_a_limit() {
    let refusals = each_file(|network, path| network.fault(path, NetworkFault::Endless));
    let is_cut = |why: &String| why.ends_with("TooLong") || why.ends_with("Length");
    assert!(refusals.iter().all(is_cut), "{refusals:?}");
}

#[test]
fn n7_slow_downloads_are_aborted() {
    let refusals = each_file(|network, path| network.fault(path, NetworkFault::Timeout));
    assert!(refusals.iter().all(|why| why == "network: Timeout"), "{refusals:?}");
}

#[test]
fn n8_another_genuine_package_is_refused_under_this_name() {
    let made = Made::new();
    made.add("other", OTHER, &[]);
    let network = made.served();
    network.put(&format!("{TARGETS}{}.package", hash(GOOD)), OTHER.to_vec());
    let client = made.new_client();
    client.use_network(&network);
    assert_eq!(refusal(&client.get("package")), "package: Hash");
    assert_eq!(client.output(), [""; 0]);
    assert_eq!(client.get("other").unwrap(), OTHER);
}

#[test]
fn n9_only_requested_targets_are_fetched() {
    let made = Made::new();
    made.add("dependency", EVIL, &[]);
    made.add("package", NEWER, &["--custom", "depends=dependency"]);
    let network = made.served();
    let client = made.new_client();
    client.use_network(&network);
    assert_eq!(client.get("package").unwrap(), NEWER);
    assert_eq!(client.output(), ["package"]);
    assert!(!network.requests().iter().any(|path| path.ends_with("dependency")));
}

#[test]
fn n10_after_a_lying_mirror_the_client_uses_the_next_one() {
    let (_, honest, asked) = asked_for();
    let first = honest.file(&format!("{METADATA}1.root.json")).unwrap();
    for path in asked {
        let lying = honest.fork();
        lying.put(&path, b"{}".to_vec());
        let mut client = TestClient::with_root(first.clone(), &honest);
        client.now = later(0);
        client.use_mirrors(&[&lying, &honest]);
        assert_eq!(client.get("team/package").unwrap(), GOOD, "{path}");
    }
}

#[test]
fn n11_a_hidden_root_has_no_effect_on_clients_that_have_it_or_use_another_mirror() {
    let made = Made::new();
    let old = made.served();
    let unaware = made.client(&["package"]);
    made.revoke("targets", "targets-1", "targets-2");
    made.add("package", NEWER, &[]);
    let seen = made.client(&["package"]);
    let stored = seen.stored("root");
    seen.use_network(&old);
    assert_eq!(refusal(&seen.get("package")), "timestamp: Rollback");
    assert_eq!(seen.stored("root"), stored);
    let mut frozen = unaware.copy();
    frozen.use_network(&old);
    assert_eq!(frozen.get("package").unwrap(), GOOD);
    frozen.now = later(8);
    assert_eq!(refusal(&frozen.get("package")), "timestamp: Expired");
    unaware.use_mirrors(&[&old, &made.served()]);
    assert_eq!(unaware.get("package").unwrap(), NEWER);
}

#[test]
fn n12_a_length_above_the_limit_is_refused_without_a_request() {
    let made = Made::new();
    for (stolen, role, below) in
        [(&["timestamp-1"][..], "timestamp", "snapshot"), (&["timestamp-1", "snapshot-1"], "snapshot", "targets")]
    {
        let attacker = made.attacker(stolen);
        attacker.release(role, |signed| signed["meta"][format!("{below}.json")]["length"] = json!(1_u64 << 40));
        let path = attacker.path(below, None);
        for client in [made.new_client(), made.client(&["package"])] {
            client.use_network(&attacker.network);
            attacker.network.forget_requests();
            assert_eq!(refusal(&client.get("package")), format!("{below}: ListedTooLong"));
            assert!(!attacker.network.requests().contains(&path));
        }
    }
}
