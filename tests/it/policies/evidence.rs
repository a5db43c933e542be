//! Tests of the requests that the client sends for a package with evidence.

use lastmile_client::Refusal;
use lastmile_client::attest::Outcome;
use lastmile_client::metadata::TargetPath;
use lastmile_testkit::{Delegation, Repository, TestClient, hash};
use serde_json::{Value, json};

use super::{
    CONTENT, EVIDENCE, PACKAGE, REFRESH, SIGN, add_package, envelope, found, policy, refusal, refusal_and_requests,
    set_policy, signature_by, with_rules, with_session,
};

fn evidence_location(repository: &Repository, key: &str) -> String {
    repository.target_location(EVIDENCE, envelope(key, CONTENT, SIGN).as_bytes())
}

#[test]
fn a_signed_package_costs_one_request_for_its_evidence() {
    let repository = with_rules(&[signature_by("a")], &["a"]);
    let client = TestClient::new(&repository);
    let network = repository.network();
    let package = repository.target_location(PACKAGE, CONTENT);
    let evidence = evidence_location(&repository, "a");
    client.refresh().unwrap();
    network.forget_requests();
    assert_eq!(client.get(PACKAGE).unwrap(), CONTENT);
    let requested = network.requests();
    assert_eq!(requested, [&REFRESH[..], &[evidence.as_str(), package.as_str()]].concat(), "evidence comes first");
    // Now the evidence is stored, and the package has been downloaded.
    network.forget_requests();
    assert_eq!(client.get(PACKAGE).unwrap(), CONTENT);
    assert_eq!(network.requests(), REFRESH);
}

#[test]
fn a_session_judges_a_package_once() {
    let repository = with_rules(&[signature_by("a")], &["a"]);
    let client = TestClient::new(&repository);
    with_session(
        &client,
        |builder| builder,
        async |session| {
            let target = session.target(PACKAGE).await.unwrap();
            let verdict = session.judge(&target).await.unwrap();
            let Outcome::Satisfied(proofs) = &verdict.rules()[0].outcome else { panic!("{verdict:?}") };
            assert_eq!((proofs[0].evidence.as_str(), proofs[0].signer.as_str()), (EVIDENCE, "a"));
            // Even without the stored evidence, the session remembers that the package passed the check.
            let index = client.store_path().join("state").join("evidence");
            assert!(index.exists());
            for (name, _) in client.all_stored() {
                if name.starts_with("state/evidence") {
                    std::fs::remove_file(client.store_path().join(name)).unwrap();
                }
            }
            repository.network().forget_requests();
            session.judge_stored(&target).await.unwrap().check().unwrap();
            assert_eq!(session.read(&target).await.unwrap(), CONTENT);
            assert_eq!(repository.network().requests(), [repository.target_location(PACKAGE, CONTENT)]);
        },
    );
}

#[test]
fn in_bins_a_signed_package_costs_one_request_for_its_evidence_and_one_for_the_bin_of_the_evidence() {
    let mut repository = Repository::new();
    let bins = repository.delegate_to_bins("targets", 4, "bin");
    let package_bin = lastmile_testkit::bin_of("bin", 4, PACKAGE);
    let evidence_bin = lastmile_testkit::bin_of("bin", 4, EVIDENCE);
    assert_ne!(package_bin, evidence_bin);
    set_policy(&mut repository, "targets", policy(&[signature_by("a")]));
    add_package(&mut repository, &package_bin, &["a"]);
    repository.signed(&package_bin)["targets"].as_object_mut().unwrap().remove(EVIDENCE);
    repository.add_target(&evidence_bin, EVIDENCE, envelope("a", CONTENT, SIGN).as_bytes());
    let roles: Vec<_> = bins.iter().map(String::as_str).chain(["targets"]).collect();
    repository.publish(&roles);
    let client = TestClient::new(&repository);
    let network = repository.network();
    client.refresh().unwrap();
    network.forget_requests();
    assert_eq!(client.get(PACKAGE).unwrap(), CONTENT);
    let of_bin = |bin: &str| format!("metadata/{}.{bin}.json", repository.version(bin));
    let expected = [
        REFRESH[0].to_owned(),
        REFRESH[1].to_owned(),
        of_bin(&package_bin),
        of_bin(&evidence_bin),
        evidence_location(&repository, "a"),
        repository.target_location(PACKAGE, CONTENT),
    ];
    assert_eq!(network.requests(), expected);
    network.forget_requests();
    assert_eq!(client.get(PACKAGE).unwrap(), CONTENT);
    assert_eq!(network.requests(), REFRESH, "the client must use the stored evidence and bin");
}

#[test]
fn evidence_is_not_requested_if_no_rule_applies() {
    let mut rule = signature_by("a");
    rule["paths"] = json!(["other/*"]);
    let repository = with_rules(&[rule], &["b"]);
    let client = TestClient::new(&repository);
    assert_eq!(client.get(PACKAGE).unwrap(), CONTENT);
    assert!(!repository.network().requests().contains(&evidence_location(&repository, "b")));
    assert!(!client.all_stored().keys().any(|name| name.contains("evidence")));
}

#[test]
fn evidence_needs_no_evidence() {
    // The path pattern of the rule matches the path of the package and also the path of its evidence.
    let mut rule = signature_by("a");
    rule["paths"] = json!(["*/*"]);
    let repository = with_rules(&[rule], &["a"]);
    assert_eq!(TestClient::new(&repository).get(PACKAGE).unwrap(), CONTENT);
}

#[test]
fn evidence_may_be_listed_by_another_role_which_is_fetched_once() {
    let mut repository = Repository::new();
    set_policy(&mut repository, "targets", policy(&[signature_by("a")]));
    repository.delegate("targets", &Delegation::paths("proofs", &["*/*.intoto.jsonl"]));
    add_package(&mut repository, "targets", &["b"]);
    repository.signed("targets")["targets"].as_object_mut().unwrap().remove(EVIDENCE);
    repository.add_target("proofs", EVIDENCE, envelope("a", CONTENT, SIGN).as_bytes());
    repository.publish(&["targets", "proofs"]);
    let client = TestClient::new(&repository);
    with_session(
        &client,
        |builder| builder,
        async |session| {
            let paths = [TargetPath::new(PACKAGE).unwrap(), TargetPath::new("app/none").unwrap()];
            let found = session.find_all(&paths).await.unwrap();
            assert!(found[1].is_none());
            assert_eq!(session.read(found[0].as_ref().unwrap()).await.unwrap(), CONTENT);
        },
    );
    let requested = repository.network().requests();
    assert_eq!(requested.iter().filter(|path| path.contains("proofs")).count(), 1, "{requested:?}");
}

#[test]
fn c_20_c_22_other_statements_do_not_count() {
    let mut repository = with_rules(&[signature_by("a")], &["a"]);
    let client = TestClient::new(&repository);
    let evidence = [
        envelope("a", b"another package", SIGN),
        envelope("a", CONTENT, "https://cosign.sigstore.dev/attestation/vuln/v1"),
        envelope("b", CONTENT, SIGN),
        "not JSON".to_owned(),
    ];
    for evidence in evidence {
        repository.add_target("targets", EVIDENCE, evidence.as_bytes());
        repository.publish(&["targets"]);
        assert!(!found(refusal(&client, &repository)).is_empty(), "{evidence}");
    }
}

#[test]
fn c_8_evidence_that_is_too_long_is_not_requested_and_does_not_count() {
    let mut repository = with_rules(&[signature_by("a")], &["a"]);
    let client = TestClient::new(&repository);
    let long = vec![b' '; (4 << 20) + 1];
    repository.add_target("targets", EVIDENCE, &long);
    repository.publish(&["targets"]);
    let (refusal, requests) = refusal_and_requests(&client, &repository);
    assert_eq!(found(refusal), format!("{EVIDENCE}: the evidence has 4194305 bytes, expected at most 4194304"));
    assert!(!requests.contains(&repository.target_location(EVIDENCE, &long)), "{requests:?}");
    // The package's other evidence still counts.
    repository.add_target("targets", "app/1.tar.2.intoto.jsonl", envelope("a", CONTENT, SIGN).as_bytes());
    let evidence = json!({ "lastmile": { "evidence": [EVIDENCE, "app/1.tar.2.intoto.jsonl"] } });
    repository.signed("targets")["targets"][PACKAGE]["custom"] = evidence;
    repository.publish(&["targets"]);
    assert_eq!(client.get(PACKAGE).unwrap(), CONTENT);
}

#[test]
fn c_45_a_trust_root_that_is_too_long_is_not_requested() {
    let mut repository = with_rules(&[], &["a"]);
    set_policy(&mut repository, "targets", with_trust(&json!({ "root": "trust/root.json" })));
    let long = vec![b' '; (1 << 20) + 1];
    repository.add_target("targets", "trust/root.json", &long);
    repository.publish(&["targets"]);
    let (refusal, requests) = refusal_and_requests(&TestClient::new(&repository), &repository);
    let refused = found(refusal);
    assert!(refused.contains("the trusted root has 1048577 bytes, expected at most 1048576"), "{refused}");
    assert!(!requests.contains(&repository.target_location("trust/root.json", &long)), "{requests:?}");
}

/// Returns a policy that requires a signature by the identity `release`. The policy contains `trust` as the trust root
/// for this identity.
fn with_trust(trust: &Value) -> Value {
    let mut policy = policy(&[signature_by("release")]);
    policy["trust"] = json!({ "public": trust });
    policy["signer"]["release"] =
        json!({ "trust": "public", "issuer": "https://issuer.example", "subject": ["https://example.org/*"] });
    policy
}

#[test]
fn a_trust_root_that_cannot_be_used_is_named_in_the_refusal() {
    let mut repository = with_rules(&[], &["a"]);
    let client = TestClient::new(&repository);
    let cases = [
        (json!({ "root": "trust/root.json" }), false, "does not list the file"),
        (json!({ "root": "trust/root.json" }), true, "not strict JSON"),
        (json!({ "root": "trust/root.json", "sha256": hash(b"other") }), true, "`sha256`"),
        (json!({ "root": "trust/root.json", "sha256": hash(b"root") }), false, "no trusted role lists it"),
    ];
    for (trust, is_listed, reason) in cases {
        set_policy(&mut repository, "targets", with_trust(&trust));
        if is_listed {
            repository.add_target("targets", "trust/root.json", b"root");
        } else {
            repository.signed("targets")["targets"].as_object_mut().unwrap().remove("trust/root.json");
        }
        repository.publish(&["targets"]);
        let found = found(refusal(&client, &repository));
        assert!(found.contains("trust/root.json") && found.contains(reason), "{found}");
    }
}

#[test]
fn parallel_downloads_request_a_shared_trust_root_once() {
    let mut repository = Repository::new();
    set_policy(&mut repository, "targets", with_trust(&json!({ "root": "trust/root.json" })));
    repository.add_target("targets", "trust/root.json", b"root");
    let paths: Vec<_> = (0..5).map(|number| format!("app/{number}")).collect();
    for path in &paths {
        repository.add_target("targets", path, path.as_bytes());
    }
    repository.publish(&["targets"]);
    let client = TestClient::new(&repository);
    with_session(
        &client,
        |builder| builder,
        async |session| {
            let paths: Vec<_> = paths.iter().map(|path| TargetPath::new(path).unwrap()).collect();
            let targets: Vec<_> = session.find_all(&paths).await.unwrap().into_iter().flatten().collect();
            assert_eq!(targets.len(), 5);
            repository.network().forget_requests();
            for result in session.download_all(&targets, client.output_path(), 5).await {
                assert!(matches!(super::refusal_in(result), Refusal::Policy(_)));
            }
        },
    );
    assert_eq!(repository.network().requests(), [repository.target_location("trust/root.json", b"root")]);
}
