//! Tests of sections 1 to 3 of the TUF specification: the attacks that TUF prevents, and what an attacker can and
//! cannot do with each stolen key. Before an attack, the client is usually up to date with a repository that has
//! several releases.

use std::collections::BTreeMap;

use lastmile_client::{Error as ClientError, Refusal};
use lastmile_metadata::{ErrorKind, FileError, Limits, Threshold};
use lastmile_testkit::{Delegation, Repository, TestClient, TestKey, hash, refused, sign};
use lastmile_tests::verdict;
use serde_json::json;

const GOOD: &[u8] = b"good package";
const EVIL: &[u8] = b"evil package";

/// Returns a repository with several releases and a delegated role, and a client that is up to date.
fn warm() -> (Repository, TestClient) {
    let mut repository = Repository::new();
    repository.delegate("targets", &Delegation::paths("team", &["team/*"]));
    repository.add_target("team", "team/package", GOOD);
    repository.add_target("targets", "package", GOOD);
    for _ in 0..9 {
        repository.publish(&["team", "targets"]);
    }
    let client = TestClient::new(&repository);
    assert_eq!(client.get("package").unwrap(), GOOD);
    assert_eq!(client.get("team/package").unwrap(), GOOD);
    repository.network().forget_requests();
    (repository, client)
}

/// Returns a copy of the repository in which `role` lists the malicious target `path`. The attacker who made the copy
/// has the keys of `roles`, and signs all other roles with an unknown key.
fn stolen(honest: &Repository, roles: &[&str], role: &str, path: &str) -> Repository {
    let mut attacker = honest.fork();
    for other in ["root", "timestamp", "snapshot", "targets", "team"] {
        if !roles.contains(&other) {
            attacker.set_signers(other, &[TestKey::new("not stolen")]);
        }
    }
    attacker.add_target(role, path, EVIL);
    attacker.publish(&[role]);
    attacker
}

fn unsigned(role: &str) -> lastmile_metadata::Error {
    verdict(role, ErrorKind::ThresholdNotMet { valid: 0, threshold: Threshold::ONE })
}

#[test]
fn g_1_5_2_online_keys_alone_never_install_anything() {
    for path in ["package", "new package"] {
        let (honest, client) = warm();
        let attacker = stolen(&honest, &["timestamp", "snapshot"], "targets", path);
        client.use_network(attacker.network());
        assert_eq!(refused(client.get(path)), unsigned("targets"));
        assert_eq!(client.read_output("package"), GOOD);
    }
}

#[test]
fn g_1_5_2_the_targets_key_alone_installs_nothing() {
    for also in [&[][..], &["timestamp"], &["snapshot"]] {
        let (honest, client) = warm();
        let attacker = stolen(&honest, &[&["targets"], also].concat(), "targets", "package");
        client.use_network(attacker.network());
        let refusing = if also.contains(&"timestamp") { "snapshot" } else { "timestamp" };
        assert_eq!(refused(client.get("package")), unsigned(refusing));
    }
}

#[test]
fn g_2_1_2_a_stolen_delegated_key_reaches_its_own_paths_only() {
    let (honest, client) = warm();
    let online = ["team", "timestamp", "snapshot"];
    let attacker = stolen(&honest, &online, "team", "package");
    client.use_network(attacker.network());
    assert_eq!(client.get("package").unwrap(), GOOD);
    assert!(matches!(client.get("other"), Err(ClientError::NoSuchTarget(_))));
    let attacker = stolen(&attacker, &online, "team", "team/package");
    client.use_network(attacker.network());
    assert_eq!(
        client.get("team/package").unwrap(),
        EVIL,
        "the delegation covers this path, so the client must accept the package"
    );
}

#[test]
fn g_2_1_1_2_fewer_root_keys_than_the_threshold_change_nothing() {
    let (honest, client) = warm();
    let mut attacker = honest.fork();
    attacker.set_keys("root", &[TestKey::new("attacker")], 1);
    attacker.set_signers("root", &[TestKey::new("root-1"), TestKey::new("attacker")]);
    attacker.bump("root");
    let signed = attacker.signed("root").clone();
    attacker.put_metadata("root", sign(&signed, &[TestKey::new("root-1"), TestKey::new("attacker")]));
    let before = client.files();
    client.use_network(attacker.network());
    let unmet = ErrorKind::ThresholdNotMet { valid: 1, threshold: Threshold::new(2).unwrap() };
    assert_eq!(refused(client.refresh()), verdict("root", unmet));
    assert_eq!(client.files(), before);
}

#[test]
fn g_2_1_1_3_one_stolen_root_key_below_the_threshold_can_be_replaced() {
    let (mut honest, client) = warm();
    let kept = ["root-2", "root-3"].map(TestKey::new);
    honest.set_keys("root", &[&kept[..], &[TestKey::new("root-4")]].concat(), 2);
    honest.publish(&["root"]);
    assert_eq!(client.refresh().unwrap()[0], 2);
    // The attacker signs the next root with the revoked key and with one current key, so only one of the two required
    // signatures is valid.
    let mut attacker = honest.fork();
    attacker.bump("root");
    let signed = attacker.signed("root").clone();
    attacker.put_metadata("root", sign(&signed, &["root-1", "root-2"].map(TestKey::new)));
    client.use_network(attacker.network());
    let unmet = ErrorKind::ThresholdNotMet { valid: 1, threshold: Threshold::new(2).unwrap() };
    assert_eq!(refused(client.refresh()), verdict("root", unmet));
}

#[test]
fn g_2_1_1_3_after_a_threshold_of_root_keys_is_stolen_a_newly_shipped_root_recovers() {
    let (mut honest, client) = warm();
    honest.set_keys("root", &["fresh-1", "fresh-2", "fresh-3"].map(TestKey::new), 2);
    honest.set_keys("timestamp", &[TestKey::new("fresh timestamp")], 1);
    honest.publish(&["root", "timestamp"]);
    let renewed = TestClient::with_root(honest.written("root"), honest.network());
    renewed.refresh().unwrap();
    // A client that was shipped with the new root refuses metadata that is signed with the old keys.
    let mut attacker = honest.fork();
    attacker.set_signers("root", &["root-1", "root-2", "root-3"].map(TestKey::new));
    attacker.publish(&["root"]);
    renewed.use_network(attacker.network());
    assert!(matches!(refused(renewed.refresh()).kind, ErrorKind::ThresholdNotMet { valid: 0, .. }));
    assert!(client.refresh().is_ok());
}

#[test]
fn g_2_1_arbitrary_software_is_never_delivered() {
    for body in [EVIL.to_vec(), GOOD[..GOOD.len() - 1].to_vec(), [GOOD, b"!"].concat(), b"Good package".to_vec()] {
        let (honest, client) = warm();
        let fresh = TestClient::new(&honest);
        honest.network().put(&format!("targets/{}.package", hash(GOOD)), body.clone());
        match fresh.get("package") {
            Err(ClientError::Refused(error)) => assert!(matches!(error.refusal, Refusal::Target { .. }), "{error:?}"),
            // A file that ends too early counts as an interrupted transfer.
            Err(ClientError::Network(error)) => assert!(body.len() < GOOD.len(), "{error:?}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(fresh.output(), [""; 0]);
        assert_eq!(client.read_output("package"), GOOD);
    }
}

#[test]
fn g_2_1_a_valid_package_under_the_name_of_another_is_refused() {
    let mut repository = Repository::new();
    repository.add_target("targets", "a", b"package a");
    repository.add_target("targets", "b", b"package b");
    repository.publish(&["targets"]);
    let served = format!("targets/{}.a", hash(b"package a"));
    repository.network().put(&served, b"package b".to_vec());
    let Err(ClientError::Refused(error)) = TestClient::new(&repository).get("a") else { panic!("refused") };
    assert!(matches!(error.refusal, Refusal::Target { error: FileError::Hash { .. }, .. }));
}

#[test]
fn g_1_5_1_each_role_works_with_three_keys_of_which_two_sign() {
    let keys = |role: &str| [1, 2, 3].map(|number| TestKey::new(&format!("{role} {number}")));
    let mut repository = Repository::new();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        repository.set_keys(role, &keys(role), 2);
    }
    repository.delegate("targets", &Delegation::paths("a", &["a/*"]).keys(&keys("a"), 2));
    repository.add_target("a", "a/x", b"content");
    repository.publish(&["root", "a", "targets"]);
    let client = TestClient::new(&repository);
    assert_eq!(client.get("a/x").unwrap(), b"content");
    for role in ["root", "timestamp", "snapshot", "targets", "a"] {
        let mut bent = repository.fork();
        bent.set_signers(role, &keys(role)[..1]);
        bent.publish(&[role]);
        let client = client.copy();
        client.use_network(bent.network());
        let unmet = ErrorKind::ThresholdNotMet { valid: 1, threshold: Threshold::new(2).unwrap() };
        assert_eq!(refused(client.find("a/x")), verdict(role, unmet));
    }
}

#[test]
fn g_1_5_4_report_a_freeze_ends_with_the_timestamp() {
    let mut repository = Repository::new();
    repository.signed("timestamp")["expires"] = json!("2030-01-08T00:00:00Z");
    repository.publish(&["timestamp"]);
    let mut client = TestClient::new(&repository);
    let frozen = repository.fork();
    repository.add_target("targets", "security fix", GOOD);
    repository.publish(&["targets"]);
    client.use_network(frozen.network());
    for (day, is_fine) in [("2030-01-02", true), ("2030-01-07", true), ("2030-01-08", false), ("2030-03-01", false)] {
        client.now = lastmile_testkit::time(&format!("{day}T00:00:00Z"));
        assert_eq!(client.refresh().is_ok(), is_fine, "{day}");
    }
}

#[test]
fn g_1_5_4_taps_compressed_metadata_is_not_metadata() {
    // The response has no `Content-Encoding`, so the client does not decompress it (TAP 10), and a gzip file is not
    // valid JSON.
    let repository = Repository::new();
    repository.network().put("metadata/timestamp.json", b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec());
    // A file that is not JSON may come from a proxy, so the client reports a network error.
    let error = TestClient::new(&repository).refresh().map(drop).unwrap_err();
    let ClientError::Network(error) = error else { panic!("{error:?}") };
    assert!(error.to_string().contains("timestamp.json"), "{error}");
    assert!(!repository.network().requests().iter().any(|path| path.contains(".gz")));
}

#[test]
fn g_1_5_4_taps_and_f_4_1_1_the_formats_are_documented() {
    // TAP 11.
    let pouf = std::fs::read_to_string(format!("{}/../docs/pouf.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let sections: BTreeMap<&str, &str> =
        pouf.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    for name in ["Protocol", "Operations", "Usage", "Formats"] {
        assert!(sections[name].len() > 500, "{name}");
    }
    // Section 4 of the specification describes the formats.
    let formats: Vec<(&str, &str)> =
        sections["Formats"].split("\n### ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    for section in ["4.1", "4.2.1", "4.2.2", "4.2.3", "4.3", "4.4", "4.5", "4.6"] {
        let number = format!("({section})");
        let described = formats.iter().filter(|(heading, text)| heading.contains(&number) && text.len() > 200);
        assert_eq!(described.count(), 1, "section {section} must be described once");
    }
    let limits = Limits::default();
    let usage = sections["Usage"].replace(',', "");
    for length in [limits.root_length, limits.timestamp_length, limits.snapshot_length, limits.targets_length] {
        assert!(usage.contains(&format!("| {length} bytes |")), "{length}");
    }
    for number in [limits.root_updates, limits.roles_visited] {
        assert!(usage.contains(&format!("| {number} |")), "{number}");
    }
}

#[test]
fn w_5_6_2_a_mix_of_two_releases_is_refused() {
    for mixed in ["targets", "team"] {
        let (honest, client) = warm();
        let before = honest.written(mixed);
        let mut new = honest.fork();
        new.add_target(mixed, "team/other", b"other");
        new.publish(&[mixed]);
        let path = format!("metadata/{}.{mixed}.json", new.version(mixed));
        new.network().put(&path, before);
        client.use_network(new.network());
        let kind = refused(client.find("team/other")).kind;
        let named = matches!(kind, ErrorKind::LengthMismatch { .. } | ErrorKind::HashMismatch { .. });
        assert!(named, "{mixed}: {kind:?}");
    }
}

#[test]
fn g_3_1_metadata_of_another_repository_is_refused() {
    // The other repository has the same timestamp key, but its own snapshot and targets keys.
    let (_, client) = warm();
    let mut other = Repository::new();
    for role in ["snapshot", "targets"] {
        other.set_keys(role, &[TestKey::new(&format!("their {role}"))], 1);
    }
    for _ in 0..30 {
        other.publish(&["targets"]);
    }
    client.use_network(other.network());
    assert_eq!(refused(client.refresh()), unsigned("snapshot"));
}
