//! Tests of packages that the client refuses because of a policy.

use lastmile_client::metadata::TargetFile;
use lastmile_client::{Error, Event, Refusal};
use lastmile_testkit::{Delegation, Repository, TestClient};
use serde_json::json;

use super::{
    CONTENT, EVIDENCE, PACKAGE, add_package, found, get_with, policy, refusal, refusal_in, set_policy, signature_by,
    with_rules, with_session,
};

#[test]
fn c_24_no_attestation_is_refused() {
    let mut repository = with_rules(&[signature_by("a")], &["a"]);
    repository.signed("targets")["targets"][PACKAGE].as_object_mut().unwrap().remove("custom");
    repository.publish(&["targets"]);
    let client = TestClient::new(&repository);
    let Refusal::Policy(refused) = refusal(&client, &repository) else { panic!("expected a refusal by a policy") };
    assert_eq!(
        refused.to_string(),
        "`app/1.tar` does not satisfy the rule `signed-by-a` of role `targets`: expected a signature by a, found no evidence"
    );
    // Every method that returns or downloads the content checks the policies first.
    with_session(
        &client,
        |builder| builder,
        async |session| {
            let target = session.target(PACKAGE).await.unwrap();
            let folder = client.output_path();
            let file = folder.join("app.tar");
            refusal_in(session.read(&target).await);
            refusal_in(session.download(&target, &file).await);
            refusal_in(session.download_with_progress(&target, &file, &()).await);
            refusal_in(session.download_below(&target, &folder).await);
            refusal_in(session.download_below_with_progress(&target, &folder, &()).await);
            refusal_in(session.download_all(std::slice::from_ref(&target), &folder, 1).await.pop().unwrap());
            refusal_in(session.download_all_with_progress(&[target], &folder, 1, &()).await.pop().unwrap());
            let found =
                session.find_all(&[lastmile_client::metadata::TargetPath::new(PACKAGE).unwrap()]).await.unwrap();
            refusal_in(session.read(found[0].as_ref().unwrap()).await);
        },
    );
    assert!(!repository.network().requests().contains(&repository.target_location(PACKAGE, CONTENT)));
    assert_eq!(client.output(), [""; 0], "the client must create nothing, not even a folder");
}

#[test]
fn c_24_an_existing_file_does_not_replace_the_evidence() {
    let repository = with_rules(&[signature_by("a")], &["b"]);
    let client = TestClient::new(&repository);
    client.put_output("app.tar", CONTENT);
    assert!(found(refusal_in(client.get_as(PACKAGE, "app.tar"))).contains(EVIDENCE));
}

#[test]
fn c_44_withheld_evidence_is_missing() {
    let mut repository = with_rules(&[signature_by("a")], &["a"]);
    let client = TestClient::new(&repository);
    // The repository lists the evidence, but the mirror does not have the file.
    let evidence = repository.target_location(EVIDENCE, super::envelope("a", CONTENT, super::SIGN).as_bytes());
    repository.network().remove(&evidence);
    assert!(matches!(client.get(PACKAGE), Err(Error::Network(_))));
    assert!(repository.network().requests().contains(&evidence));
    // No role lists the evidence.
    repository.signed("targets")["targets"].as_object_mut().unwrap().remove(EVIDENCE);
    repository.publish(&["targets"]);
    let found = found(refusal(&client, &repository));
    assert!(found.contains("the package names this evidence, but no trusted role lists it"), "{found}");
}

#[test]
fn c_44_changed_evidence_is_refused_by_its_hash() {
    let repository = with_rules(&[signature_by("a")], &["a"]);
    let evidence = repository.target_location(EVIDENCE, super::envelope("a", CONTENT, super::SIGN).as_bytes());
    repository.network().put(&evidence, super::envelope("b", CONTENT, super::SIGN).into_bytes());
    let client = TestClient::new(&repository);
    assert!(matches!(refusal(&client, &repository), Refusal::Target { path, .. } if path.as_str() == EVIDENCE));
}

#[test]
fn c_44_a_rule_of_an_unknown_kind_needs_a_newer_lastmile() {
    let rule = json!({ "name": "scanned", "kind": "horoscope", "paths": ["app/*"] });
    let mut repository = with_rules(&[rule.clone(), signature_by("a")], &["a"]);
    let client = TestClient::new(&repository);
    let found = found(refusal(&client, &repository));
    assert!(found.contains("horoscope") && found.contains("needs a newer lastmile"), "{found}");
    // Even if a policy contains a rule of an unknown kind, the client may install the packages that the policy lists
    // under `upgrade`.
    repository.signed("targets")["x-lastmile-policy"]["upgrade"] = json!([PACKAGE]);
    repository.publish(&["targets"]);
    assert_eq!(client.get(PACKAGE).unwrap(), CONTENT);
}

#[test]
fn c_44_a_policy_of_an_unknown_version_is_refused() {
    let mut repository = with_rules(&[signature_by("a")], &["a"]);
    repository.signed("targets")["x-lastmile-policy"]["version"] = json!(2);
    repository.publish(&["targets"]);
    let client = TestClient::new(&repository);
    let refusal = refusal(&client, &repository).to_string();
    assert!(refusal.contains("version") && refusal.contains("newer lastmile"), "{refusal}");
}

#[test]
fn c_43_a_policy_in_a_bin_is_refused() {
    let mut repository = Repository::new();
    let bins = repository.delegate_to_bins("targets", 1, "bin");
    let bin = lastmile_testkit::bin_of("bin", 1, PACKAGE);
    add_package(&mut repository, &bin, &["a"]);
    set_policy(&mut repository, &bin, policy(&[]));
    let roles: Vec<_> = bins.iter().map(String::as_str).chain(["targets"]).collect();
    repository.publish(&roles);
    let client = TestClient::new(&repository);
    let Refusal::Policy(refused) = refusal(&client, &repository) else { panic!("expected a refusal by a policy") };
    assert_eq!(refused.origin.to_string(), bin);
    assert_eq!(refused.found, "a policy in a bin; only a role that is trusted for path patterns can have a policy");
}

#[test]
fn c_43_a_child_adds_demands_and_cannot_remove_those_of_its_parent() {
    let mut repository = Repository::new();
    repository.delegate("targets", &Delegation::paths("team", &["app/*"]));
    set_policy(&mut repository, "targets", policy(&[signature_by("a")]));
    // Both policies contain a signer `a` and a rule `signed-by-a`. In the policy of the delegated role, the signer has
    // another key, and the rule excludes the package.
    let mut rule = signature_by("a");
    rule["except"] = json!([PACKAGE]);
    let mut child = policy(&[rule, signature_by("b")]);
    child["signer"]["a"] = child["signer"]["b"].clone();
    set_policy(&mut repository, "team", child);
    for (keys, refusing) in [(&["b"][..], Some("targets")), (&["a"], Some("team")), (&["a", "b"], None)] {
        add_package(&mut repository, "team", keys);
        repository.publish(&["team", "targets"]);
        let client = TestClient::new(&repository);
        let Some(role) = refusing else {
            assert_eq!(client.get(PACKAGE).unwrap(), CONTENT);
            continue;
        };
        let Refusal::Policy(refused) = refusal(&client, &repository) else { panic!("expected a refusal by a policy") };
        assert_eq!(refused.origin.to_string(), role, "{keys:?}");
    }
}

#[test]
fn c_43_the_chain_that_the_search_follows_decides() {
    // Two roles list the package, and the evidence satisfies only the policy of `lax`. The search visits `strict` first
    // and finds the package there, so the policy of `lax` does not apply.
    let mut repository = Repository::new();
    for role in ["strict", "lax"] {
        repository.delegate("targets", &Delegation::paths(role, &["app/*"]));
        add_package(&mut repository, role, &["b"]);
    }
    set_policy(&mut repository, "strict", policy(&[signature_by("a")]));
    set_policy(&mut repository, "lax", policy(&[signature_by("b")]));
    repository.publish(&["strict", "lax", "targets"]);
    let Refusal::Policy(refused) = refusal(&TestClient::new(&repository), &repository) else {
        panic!("expected a refusal by a policy")
    };
    assert_eq!(refused.origin.to_string(), "strict");
}

#[test]
fn c_44_an_older_policy_is_a_rollback() {
    let mut repository = with_rules(&[], &["b"]);
    let older = repository.fork();
    set_policy(&mut repository, "targets", policy(&[signature_by("a")]));
    repository.publish(&["targets"]);
    let client = TestClient::new(&repository);
    refusal(&client, &repository);
    client.use_network(older.network());
    let refused = refusal_in(client.get(PACKAGE));
    assert!(matches!(refused, Refusal::Metadata(_)), "{refused:?}");
}

#[test]
fn an_exception_of_the_local_policy_is_reported_and_relaxes_no_check_of_tuf() {
    let repository = with_rules(&[signature_by("a")], &["b"]);
    let client = TestClient::new(&repository);
    let exception = |paths: &str, until: &str| json!({ "version": 1, "break-glass": [{ "paths": [paths], "reason": "the key is lost", "until": until }] });
    let broken = exception("app/*", "2030-01-02T00:00:00Z");
    assert_eq!(get_with(&client, &broken).unwrap(), CONTENT);
    let event = |event: &Event| match event {
        Event::PolicyException { target, reason } => Some((target.to_string(), reason.clone())),
        _ => None,
    };
    let reported: Vec<_> = client.events().iter().filter_map(event).collect();
    assert_eq!(reported, [(PACKAGE.to_owned(), "the key is lost".to_owned())]);
    for other in [exception("other/*", "2030-01-02T00:00:00Z"), exception("app/*", "2029-12-31T00:00:00Z")] {
        found(refusal_in(get_with(&client, &other)));
    }
    repository.network().put(&repository.target_location(PACKAGE, CONTENT), b"a changed p".to_vec());
    assert!(matches!(refusal_in(get_with(&client, &broken)), Refusal::Target { .. }));
}

/// Checks that the client refuses the package unless the local policy contains an exception for it. With the exception,
/// the client must install the package, report the exception, and still make all checks that TUF requires.
fn only_an_exception_allows(repository: &Repository, expected: &str) {
    let client = TestClient::new(repository);
    let exception = |paths: &str| json!({ "version": 1, "break-glass": [{ "paths": [paths], "reason": "incident 17", "until": "2030-01-02T00:00:00Z" }] });
    for refused in [refusal(&client, repository), refusal_in(get_with(&client, &exception("other/*")))] {
        let reason = refused.to_string();
        assert!(reason.contains(expected), "{reason}");
    }
    assert_eq!(get_with(&client, &exception("app/*")).unwrap(), CONTENT);
    let is_report = |event: &Event| matches!(event, Event::PolicyException { reason, .. } if reason == "incident 17");
    assert_eq!(client.events().iter().filter(|event| is_report(event)).count(), 1);
    repository.network().put(&repository.target_location(PACKAGE, CONTENT), b"a changed p".to_vec());
    assert!(matches!(refusal_in(get_with(&client, &exception("app/*"))), Refusal::Target { .. }));
}

#[test]
fn an_exception_overrides_a_malformed_policy() {
    let mut wrong_rule = policy(&[signature_by("a")]);
    wrong_rule["require"][0]["by"] = json!(["nobody"]);
    for malformed in [json!("none"), json!({ "version": 1 }), wrong_rule] {
        let mut repository = with_rules(&[signature_by("a")], &[]);
        set_policy(&mut repository, "targets", malformed);
        repository.publish(&["targets"]);
        only_an_exception_allows(
            &repository,
            "does not satisfy the policy of role `targets`: expected a usable policy",
        );
    }
}

#[test]
fn an_exception_overrides_a_policy_that_needs_a_newer_lastmile() {
    let rule = json!({ "name": "scanned", "kind": "horoscope", "paths": ["app/*"] });
    for (version, rules) in [(2, vec![signature_by("a")]), (1, vec![rule])] {
        let mut repository = with_rules(&rules, &[]);
        repository.signed("targets")["x-lastmile-policy"]["version"] = json!(version);
        repository.publish(&["targets"]);
        only_an_exception_allows(&repository, "needs a newer lastmile");
    }
}

#[test]
fn an_exception_overrides_a_policy_in_a_bin_and_a_malformed_list_of_evidence() {
    let mut repository = Repository::new();
    let bins = repository.delegate_to_bins("targets", 1, "bin");
    let bin = lastmile_testkit::bin_of("bin", 1, PACKAGE);
    add_package(&mut repository, &bin, &[]);
    set_policy(&mut repository, &bin, policy(&[signature_by("a")]));
    let roles: Vec<_> = bins.iter().map(String::as_str).chain(["targets"]).collect();
    repository.publish(&roles);
    only_an_exception_allows(&repository, "a policy in a bin");
    let mut repository = with_rules(&[signature_by("a")], &[]);
    repository.signed("targets")["targets"][PACKAGE]["custom"] = json!({ "lastmile": { "evidence": 1 } });
    repository.publish(&["targets"]);
    only_an_exception_allows(&repository, "is not a list of target paths");
}

#[test]
fn a_local_policy_adds_demands() {
    let repository = with_rules(&[signature_by("a")], &["a"]);
    let client = TestClient::new(&repository);
    assert_eq!(get_with(&client, &policy(&[signature_by("a")])).unwrap(), CONTENT);
    let Refusal::Policy(refused) = refusal_in(get_with(&client, &policy(&[signature_by("b")]))) else { panic!() };
    assert_eq!(refused.origin.to_string(), "the local policy");
    assert_eq!(client.events(), []);
}

#[test]
fn the_application_can_refuse_what_the_policies_allow() {
    let repository = with_rules(&[signature_by("a")], &["a"]);
    let client = TestClient::new(&repository);
    let approve = |target: &TargetFile, verdict: &lastmile_client::attest::Verdict| {
        assert_eq!((target.length, verdict.rules().len()), (11, 1));
        Err("not on a Friday".to_owned())
    };
    with_session(
        &client,
        |builder| builder.approve(approve),
        async |session| {
            let target = session.target(PACKAGE).await.unwrap();
            let refusal = refusal_in(session.read(&target).await);
            assert_eq!(refusal.to_string(), "the application does not approve `app/1.tar`: not on a Friday");
        },
    );
    assert!(!repository.network().requests().contains(&repository.target_location(PACKAGE, CONTENT)));
    // The application also decides about packages to which no rule applies.
    let mut free = Repository::new();
    free.add_target("targets", PACKAGE, CONTENT);
    free.publish(&["targets"]);
    let without_rules = |_: &TargetFile, verdict: &lastmile_client::attest::Verdict| {
        if verdict.rules().is_empty() { Err("no rule applies".to_owned()) } else { Ok(()) }
    };
    with_session(
        &TestClient::new(&free),
        |builder| builder.approve(without_rules),
        async |session| {
            let target = session.target(PACKAGE).await.unwrap();
            assert!(matches!(refusal_in(session.read(&target).await), Refusal::NotApproved { .. }));
        },
    );
}

#[test]
fn an_application_can_ignore_the_policies_of_the_repository_but_not_its_own() {
    let repository = with_rules(&[signature_by("a")], &[]);
    let client = TestClient::new(&repository);
    with_session(
        &client,
        |builder| builder.ignore_policies(),
        async |session| {
            let target = session.target(PACKAGE).await.unwrap();
            assert!(session.judge(&target).await.unwrap().rules().is_empty());
            assert_eq!(session.read(&target).await.unwrap(), CONTENT);
        },
    );
    let local =
        lastmile_client::attest::LocalPolicy::parse(policy(&[signature_by("b")]).to_string().as_bytes()).unwrap();
    with_session(
        &client,
        |builder| builder.ignore_policies().local_policy(local),
        async |session| {
            let target = session.target(PACKAGE).await.unwrap();
            found(refusal_in(session.read(&target).await));
        },
    );
}
