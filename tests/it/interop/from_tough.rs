//! Tests lastmile-client with a repository that tough's editor made.

use std::fs;

use lastmile_testkit::{FakeNetwork, Server};

use super::ours::{Fetched, TestClient};
use super::programs::files_below;
use super::tough::Made;

fn publish(made: &Made, network: &FakeNetwork) {
    for top in ["metadata", "targets"] {
        for file in files_below(&made.folder().join(top)) {
            network.put(&format!("{top}/{file}"), fs::read(made.folder().join(top).join(&file)).unwrap());
        }
    }
}

fn holds(content: &str) -> Option<Vec<u8>> {
    Some(content.as_bytes().to_vec())
}

#[tokio::test]
async fn targets_delegations_and_a_new_root() {
    let mut made = Made::new().await;
    made.publish(1, &[("top.txt", "one")], &[("sub/below.txt", "two")]).await;
    let network = FakeNetwork::new();
    publish(&made, &network);
    let server = Server::start(&network);
    let client = TestClient::new(&made.root(), &server.url());
    let fetched = client.fetch(&["top.txt", "sub/below.txt", "none"]).await.unwrap();
    assert_eq!(fetched, Fetched { versions: [1, 1, 1, 1], targets: vec![holds("one"), holds("two"), None] });

    made.sign_root(2, 3).await;
    made.publish(2, &[("top.txt", "three")], &[("sub/below.txt", "four")]).await;
    publish(&made, &network);
    let fetched = client.fetch(&["top.txt", "sub/below.txt"]).await.unwrap();
    assert_eq!(fetched, Fetched { versions: [2, 2, 2, 2], targets: vec![holds("three"), holds("four")] });
}
