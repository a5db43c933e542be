//! Tests that the client refuses packages that lack the evidence required by a policy, and that it does not request
//! these packages. A test whose name begins with `c_N` covers attack N in `attest/tests/attacks.md`.

mod evidence;
mod offline;
mod real;
mod refusals;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lastmile_client::attest::{LocalPolicy, PAYLOAD_TYPE};
use lastmile_client::{DirectoryStore, Error, Refusal, Session, UpdaterBuilder};
use lastmile_testkit::{Repository, TestClient, TestKey, hash};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

pub(crate) const PACKAGE: &str = "app/1.tar";
const EVIDENCE: &str = "app/1.tar.intoto.jsonl";
pub(crate) const CONTENT: &[u8] = b"the package";
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// The requests that a refresh sends if nothing has changed.
const REFRESH: [&str; 2] = ["metadata/2.root.json", "metadata/timestamp.json"];

/// Returns a policy with the keys `a` and `b` as signers.
fn policy(rules: &[Value]) -> Value {
    let signer = |name: &str| json!({ "key": TestKey::new(name).object() });
    json!({ "version": 1, "signer": { "a": signer("a"), "b": signer("b") }, "require": rules })
}

pub(crate) fn signature_by(signer: &str) -> Value {
    json!({ "name": format!("signed-by-{signer}"), "kind": "signature", "paths": ["app/*"], "by": [signer] })
}

fn envelope(key: &str, content: &[u8], predicate_type: &str) -> String {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": predicate_type, "predicate": {},
        "subject": [{ "name": PACKAGE, "digest": { "sha256": hash(content) } }],
    });
    let statement = statement.to_string();
    let message = format!("DSSEv1 {} {PAYLOAD_TYPE} {} {statement}", PAYLOAD_TYPE.len(), statement.len());
    let signature = STANDARD.encode(TestKey::new(key).sign(message.as_bytes()));
    json!({ "payloadType": PAYLOAD_TYPE, "payload": STANDARD.encode(&statement), "signatures": [{ "sig": signature }] })
        .to_string()
}

/// Lists the package and its evidence in `role`. The evidence contains one signed statement for each of `keys`.
fn add_package(repository: &mut Repository, role: &str, keys: &[&str]) {
    let lines: Vec<_> = keys.iter().map(|key| envelope(key, CONTENT, SIGN)).collect();
    repository.add_target(role, PACKAGE, CONTENT);
    repository.add_target(role, EVIDENCE, lines.join("\n").as_bytes());
    repository.signed(role)["targets"][PACKAGE]["custom"] = json!({ "lastmile": { "evidence": [EVIDENCE] } });
}

fn set_policy(repository: &mut Repository, role: &str, policy: Value) {
    repository.signed(role)["x-lastmile-policy"] = policy;
}

/// Returns a published repository whose top-level targets role has a policy with `rules` and lists the package. The
/// evidence for the package is signed with `keys`.
pub(crate) fn with_rules(rules: &[Value], keys: &[&str]) -> Repository {
    let mut repository = Repository::new();
    set_policy(&mut repository, "targets", policy(rules));
    add_package(&mut repository, "targets", keys);
    repository.publish(&["targets"]);
    repository
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Refreshes a client after `change` has adjusted its settings, and passes the session to `work`.
fn with_session<T>(
    client: &TestClient,
    change: impl FnOnce(UpdaterBuilder) -> UpdaterBuilder,
    work: impl AsyncFnOnce(&mut Session) -> T,
) -> T {
    let updater = change(client.builder(DirectoryStore::open(client.store_path()).unwrap())).build().unwrap();
    runtime().block_on(async { work(&mut updater.refresh_at(client.now).await.unwrap()).await })
}

fn get_with(client: &TestClient, local: &Value) -> Result<Vec<u8>, Error> {
    let local = LocalPolicy::parse(local.to_string().as_bytes()).unwrap();
    with_session(
        client,
        |builder| builder.local_policy(local),
        async |session| {
            let target = session.target(PACKAGE).await?;
            session.read(&target).await
        },
    )
}

/// Returns the reason why a client refuses the package, and checks that the client did not request the package.
pub(crate) fn refusal(client: &TestClient, repository: &Repository) -> Refusal {
    refusal_and_requests(client, repository).0
}

fn refusal_and_requests(client: &TestClient, repository: &Repository) -> (Refusal, Vec<String>) {
    let network = repository.network();
    network.forget_requests();
    let refusal = refusal_in(client.get(PACKAGE));
    let requests = network.requests();
    assert!(requests.contains(&"metadata/timestamp.json".to_owned()), "{requests:?}");
    assert!(!requests.contains(&repository.target_location(PACKAGE, CONTENT)), "{requests:?}");
    assert_eq!(client.output(), [""; 0]);
    (refusal, requests)
}

fn refusal_in<T: std::fmt::Debug>(result: Result<T, Error>) -> Refusal {
    match result {
        Err(Error::Refused(error)) => error.refusal,
        other => panic!("{other:?}"),
    }
}

/// Returns the part of a refusal that says what was found instead of the required evidence.
fn found(refusal: Refusal) -> String {
    match refusal {
        Refusal::Policy(refused) => refused.found,
        other => panic!("{other:?}"),
    }
}
