//! Tests lastmile-client with honest and malicious repositories that python-tuf made.

use lastmile_client::metadata::{ErrorKind, RoleName, Threshold, Version};
use lastmile_testkit::{FakeNetwork, Server};

use super::ours::{Fetched, TestClient, refusal};
use super::programs::Foreign;

/// Makes the repository of `scenario` (see `tests/interop/make_with_python_tuf.py`), and fetches every target of its
/// first state.
async fn fetches_all(scenario: &str) {
    let foreign = Foreign::make(scenario);
    let network = FakeNetwork::new();
    foreign.publish(1, &network);
    let server = Server::start(&network);
    let contents = foreign.contents(1);
    let client = TestClient::new(&foreign.root(), &server.url());
    let names: Vec<&str> = contents.keys().map(String::as_str).collect();
    let wanted = contents.values().map(|content| Some(content.clone().into_bytes())).collect();
    let fetched = client.fetch(&names).await.unwrap();
    assert_eq!(fetched, Fetched { versions: [1, 1, 1, 1], targets: wanted });
    let mut listed = client.list().await;
    listed.sort();
    assert_eq!(listed, names);
    // A client that already has the metadata requests only the next root and the timestamp.
    drop(network.requests());
    client.fetch(&[]).await.unwrap();
    let mut asked = network.requests();
    // The requests are concurrent, so their order is not fixed.
    asked.sort();
    assert_eq!(asked, ["metadata/2.root.json", "metadata/timestamp.json"]);
}

#[tokio::test]
async fn without_consistent_snapshots() {
    fetches_all("plain").await;
}

#[tokio::test]
async fn with_consistent_snapshots_lengths_and_two_hashes() {
    fetches_all("consistent").await;
}

#[tokio::test]
async fn indented_and_with_unknown_members_everywhere() {
    fetches_all("pretty").await;
}

#[tokio::test]
async fn five_kinds_of_keys_that_must_all_sign() {
    fetches_all("algorithms").await;
}

#[tokio::test]
async fn bins_by_hash_prefix() {
    fetches_all("hash_prefixes").await;
}

#[tokio::test]
async fn tap_15_succinct_bins() {
    fetches_all("succinct").await;
}

#[tokio::test]
async fn two_levels_of_delegations() {
    fetches_all("delegations").await;
}

#[tokio::test]
async fn delegations_find_only_delegated_paths() {
    let foreign = Foreign::make("delegations");
    let network = FakeNetwork::new();
    foreign.publish(1, &network);
    let server = Server::start(&network);
    let client = TestClient::new(&foreign.root(), &server.url());
    // `other/stolen` is outside the delegated paths, `closed/window` is behind a terminating delegation, and no role
    // lists `other/none`.
    let fetched = client.fetch(&["other/stolen", "closed/window", "other/none"]).await.unwrap();
    assert_eq!(fetched.targets, [None, None, None]);
}

#[tokio::test]
async fn rotated_roots_and_online_keys_with_lower_versions() {
    let foreign = Foreign::make("rotated");
    let network = FakeNetwork::new();
    foreign.publish(1, &network);
    let server = Server::start(&network);
    let client = TestClient::new(&foreign.root(), &server.url());
    let before = client.fetch(&["new.txt"]).await.unwrap();
    assert_eq!(before, Fetched { versions: [1, 900, 800, 1], targets: vec![None] });
    foreign.publish(2, &network);
    let after = client.fetch(&["new.txt"]).await.unwrap();
    assert_eq!(after, Fetched { versions: [5, 1, 1, 2], targets: vec![Some(b"after the rotation".to_vec())] });
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

/// Updates a client to state 1 of the scenario `attacker`, which is honest. Then serves the malicious state with the
/// number `lie`. Returns the role that the client refuses, and the reason.
async fn shown(lie: u32) -> (RoleName, ErrorKind) {
    let foreign = Foreign::make("attacker");
    let network = FakeNetwork::new();
    foreign.publish(1, &network);
    let server = Server::start(&network);
    let client = TestClient::new(&foreign.root(), &server.url());
    let honest = client.fetch(&["plain.txt"]).await.unwrap();
    assert_eq!(honest.versions, [1, 5, 5, 5]);
    foreign.publish(lie, &network);
    let verdict = refusal(client.fetch(&["plain.txt"]).await);
    assert_eq!(
        refusal(client.fetch(&["plain.txt"]).await),
        verdict,
        "a second attempt must be refused for the same reason"
    );
    // The client may have stored some files of the malicious state. State 9 is honest, and its files have higher
    // versions, so the client must accept them.
    foreign.publish(9, &network);
    assert_eq!(client.fetch(&["plain.txt"]).await.unwrap().versions, [1, 7, 7, 7]);
    verdict
}

#[tokio::test]
async fn a_rolled_back_timestamp_is_refused() {
    let kind = ErrorKind::Rollback { trusted: version(5), found: version(4) };
    assert_eq!(shown(2).await, (RoleName::TIMESTAMP, kind));
}

#[tokio::test]
async fn a_rolled_back_snapshot_is_refused() {
    let listed = RoleName::SNAPSHOT;
    let trusted = version(5);
    let found = version(4);
    assert_eq!(shown(3).await, (RoleName::TIMESTAMP, ErrorKind::ListedRollback { listed, trusted, found }));
}

#[tokio::test]
async fn a_rolled_back_targets_file_is_refused() {
    let listed = RoleName::TARGETS;
    let trusted = version(5);
    let found = version(4);
    assert_eq!(shown(4).await, (RoleName::SNAPSHOT, ErrorKind::ListedRollback { listed, trusted, found }));
}

#[tokio::test]
async fn a_frozen_timestamp_is_refused() {
    let (role, kind) = shown(5).await;
    assert_eq!(role, RoleName::TIMESTAMP);
    assert!(matches!(kind, ErrorKind::Expired { .. }), "{kind}");
}

#[tokio::test]
async fn frozen_targets_are_refused() {
    let (role, kind) = shown(6).await;
    assert_eq!(role, RoleName::TARGETS);
    assert!(matches!(kind, ErrorKind::Expired { .. }), "{kind}");
}

#[tokio::test]
async fn a_targets_file_that_the_snapshot_does_not_list_is_refused() {
    let (role, kind) = shown(7).await;
    assert_eq!(role, RoleName::TARGETS);
    assert!(matches!(kind, ErrorKind::HashMismatch { .. }), "{kind}");
}

#[tokio::test]
async fn a_timestamp_by_a_foreign_key_is_refused() {
    let kind = ErrorKind::ThresholdNotMet { valid: 0, threshold: Threshold::ONE };
    assert_eq!(shown(8).await, (RoleName::TIMESTAMP, kind));
}
