//! Tests that a client with stored evidence can check packages again without a network.

use lastmile_client::{DirectoryStore, Error, Session};
use lastmile_testkit::{Repository, TestClient};

use super::{CONTENT, EVIDENCE, PACKAGE, found, refusal, runtime, signature_by, with_rules};

/// Verifies the stored metadata of a client, and passes the session to `work`.
fn offline<T>(client: &TestClient, work: impl AsyncFnOnce(&mut Session) -> T) -> T {
    let store = DirectoryStore::open_read_only(client.store_path()).unwrap();
    let updater = client.updater_with(store);
    runtime().block_on(async { work(&mut updater.offline_at(client.now).await.unwrap()).await })
}

fn evidence_files(client: &TestClient) -> Vec<String> {
    client.all_stored().into_keys().filter(|name| name.starts_with("state/evidence-")).collect()
}

fn no_requests(repository: &Repository) {
    assert_eq!(repository.network().requests(), [""; 0]);
    repository.network().forget_requests();
}

#[test]
fn a_downloaded_package_is_judged_without_requests() {
    let repository = with_rules(&[signature_by("a")], &["a"]);
    let client = TestClient::new(&repository);
    client.get(PACKAGE).unwrap();
    assert_eq!(evidence_files(&client).len(), 1);
    repository.network().forget_requests();
    offline(&client, async |session| {
        let target = session.target(PACKAGE).await.unwrap();
        session.judge_stored(&target).await.unwrap().check().unwrap();
        // The correct file already exists, so a download makes no request either.
        session.download_below(&target, client.output_path()).await.unwrap();
    });
    no_requests(&repository);
}

#[test]
fn the_evidence_of_a_refused_package_is_stored_so_that_the_refusal_can_be_explained() {
    let repository = with_rules(&[signature_by("a")], &["b"]);
    let client = TestClient::new(&repository);
    let expected = found(refusal(&client, &repository));
    repository.network().forget_requests();
    offline(&client, async |session| {
        let target = session.target(PACKAGE).await.unwrap();
        let verdict = session.judge_stored(&target).await.unwrap();
        assert_eq!(verdict.check().unwrap_err().found, expected);
    });
    no_requests(&repository);
}

#[test]
fn without_stored_evidence_nothing_is_judged_offline() {
    let repository = with_rules(&[signature_by("a")], &["a"]);
    let client = TestClient::new(&repository);
    client.refresh().unwrap();
    repository.network().forget_requests();
    offline(&client, async |session| {
        let target = session.target(PACKAGE).await.unwrap();
        let judged = session.judge_stored(&target).await;
        assert!(matches!(&judged, Err(Error::EvidenceNotStored(path)) if path.as_str() == EVIDENCE), "{judged:?}");
    });
    no_requests(&repository);
    // A download may use the network, but it does not write to a store that was opened read-only.
    offline(&client, async |session| {
        let target = session.target(PACKAGE).await.unwrap();
        assert_eq!(session.read(&target).await.unwrap(), CONTENT);
    });
    assert_eq!(repository.network().requests().len(), 2, "the client must request the evidence and the package");
    assert_eq!(evidence_files(&client), [""; 0]);
}

#[test]
fn damaged_stored_evidence_is_fetched_again() {
    let repository = with_rules(&[signature_by("a")], &["a"]);
    let client = TestClient::new(&repository);
    client.get(PACKAGE).unwrap();
    let name = evidence_files(&client).remove(0);
    let whole = client.all_stored().remove(&name).unwrap();
    for damaged in [b"".as_slice(), b"[]", &[whole.as_slice(), b"x"].concat()] {
        client.put_stored(&name, damaged);
        offline(&client, async |session| {
            let target = session.target(PACKAGE).await.unwrap();
            assert!(matches!(session.judge_stored(&target).await, Err(Error::EvidenceNotStored(_))));
        });
        assert_eq!(client.get(PACKAGE).unwrap(), CONTENT);
        assert_eq!(client.all_stored()[&name], whole);
    }
}
