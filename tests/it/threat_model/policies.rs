//! Tests what an attacker can and cannot do if a targets role has a policy. The attacker has stolen keys of TUF roles,
//! or keys, identities and services that the policy names.

use chrono::Duration;
use lastmile_attacks::{EVIL, GOOD};
use lastmile_client::DirectoryStore;
use lastmile_client::attest::LocalPolicy;
use lastmile_testkit::sigstore::{self, Identity, Log, Sigstore};
use lastmile_testkit::{FakeNetwork, TARGETS, TestClient, TestKey, hash};
use serde_json::{Value, json};

use crate::made::{Attacker, Made, refusal};

const PACKAGE: &str = "team/package";
const ISSUER: &str = "https://token.issuer.test";
const WORKFLOW: &str = "https://forge.test/acme/app/.forge/workflows/release.yml@refs/tags/v1";
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// The keys that an attacker needs to publish packages in `team`.
const TEAM: [&str; 3] = ["team-1", "snapshot-1", "timestamp-1"];

/// The error of a client that refuses the package in `team` because of a rule in the policy of the top-level targets
/// role.
const REFUSED: &str = "team/package: the rule signed of targets";

fn builder() -> TestKey {
    TestKey::p256("a builder")
}

fn instance() -> Sigstore {
    Sigstore::new("sigstore.test")
}

fn workflow() -> Identity {
    Identity::uri(ISSUER, WORKFLOW)
        .claim("build-signer-uri", WORKFLOW)
        .claim("build-trigger", "push")
        .claim("source-repository-uri", "https://forge.test/acme/app")
        .claim("source-repository-ref", "refs/tags/v1")
        .claim("source-repository-digest", "1111111111111111111111111111111111111111")
}

fn signature(content: &[u8]) -> Value {
    sigstore::statement(SIGN, &json!({}), content)
}

fn signed_with(key: &TestKey, statement: &Value) -> Value {
    sigstore::envelope(&statement.to_string(), &[key])
}

/// Returns a policy with `rules` and with two signers: the key `builder` and the identity `workflow`.
fn policy(rules: &[Value]) -> Value {
    json!({
        "version": 1,
        "trust": {"public": {"root": "trust/root.json"}},
        "signer": {
            "builder": {"key": builder().object()},
            "workflow": {
                "trust": "public", "issuer": ISSUER, "subject": [WORKFLOW], "claims": {"build-trigger": ["push"]},
            },
        },
        "builder": {"forge": {"id": [WORKFLOW], "by": ["workflow"], "level": 3}},
        "require": rules,
    })
}

fn signed_by(name: &str, signers: &[&str]) -> Value {
    json!({
        "name": name, "kind": "signature", "paths": ["team/*"], "by": signers, "threshold": signers.len(),
    })
}

/// Creates a repository whose top-level targets role contains `policy` and lists the trusted root `root`. The delegated
/// role `team` lists the package with `evidence`.
fn made_under(policy: &Value, root: &Value, evidence: &[Value]) -> Made {
    let made = Made::with_team();
    made.run(&["remove", PACKAGE]);
    made.add("trust/root.json", root.to_string().as_bytes(), &[]);
    made.set_policy("targets", policy);
    made.add_with_evidence("team", PACKAGE, GOOD, evidence);
    made
}

/// Like [`made_under`], with a policy that contains `rules`, and with the trusted root of [`instance`].
fn made(rules: &[Value], evidence: &[Value]) -> Made {
    made_under(&policy(rules), &instance().trusted_root(), evidence)
}

fn release(attacker: &Attacker, role: &str, path: &str, content: &[u8], evidence: &[Value]) {
    let lines: Vec<String> = evidence.iter().map(Value::to_string).collect();
    let file = format!("{path}.intoto.jsonl");
    attacker.release(role, |signed| {
        let mut list = |path: &str, content: &[u8]| {
            signed["targets"][path] = json!({"length": content.len(), "hashes": {"sha256": hash(content)}});
            attacker.network.put(&location(path, content), content.to_vec());
        };
        list(path, content);
        if !lines.is_empty() {
            list(&file, lines.join("\n").as_bytes());
            signed["targets"][path]["custom"] = json!({"lastmile": {"evidence": [file]}});
        }
    });
}

fn location(path: &str, content: &[u8]) -> String {
    let (folder, name) = path.rsplit_once('/').map_or((String::new(), path), |(f, name)| (format!("{f}/"), name));
    format!("{TARGETS}{folder}{}.{name}", hash(content))
}

/// Publishes a malicious package with `evidence`, using the keys of `team`, snapshot and timestamp. Returns the content
/// that clients then get, or their error (see [`fetched`]).
fn published(made: &Made, evidence: &[Value]) -> String {
    let attacker = made.attacker(&TEAM);
    release(&attacker, "team", PACKAGE, EVIL, evidence);
    fetched(made, &attacker.network)
}

/// Fetches the package as a new client and as a returning client, which must get the same result. Returns the content
/// of the package, or the error if the clients refuse the package.
fn fetched(made: &Made, network: &FakeNetwork) -> String {
    let [new, seen] = [made.new_client(), made.client(&[PACKAGE])].map(|client| {
        client.use_network(network);
        match client.get(PACKAGE) {
            Ok(content) => String::from_utf8(content).unwrap(),
            refused => refusal(&refused),
        }
    });
    assert_eq!(new, seen);
    new
}

/// Returns the text that [`fetched`] returns if clients accept the malicious package.
fn evil() -> String {
    String::from_utf8(EVIL.to_vec()).unwrap()
}

#[test]
fn p1_the_keys_of_a_delegated_role_publish_no_package_without_the_demanded_evidence() {
    let own = TestKey::p256("an attacker");
    let good = signed_with(&builder(), &signature(GOOD));
    let made = made(&[signed_by("signed", &["builder"])], std::slice::from_ref(&good));
    for evidence in [vec![], vec![signed_with(&own, &signature(EVIL))], vec![good.clone()]] {
        assert_eq!(published(&made, &evidence), REFUSED);
    }
    // The attacker adds a policy to the delegated role. In this policy, the signer `builder` has the attacker's key.
    // The clients still refuse the package, because the policy of the top-level targets role applies too.
    let attacker = made.attacker(&TEAM);
    release(&attacker, "team", PACKAGE, EVIL, &[signed_with(&own, &signature(EVIL))]);
    let mut policy = policy(&[signed_by("signed", &["builder"])]);
    policy["trust"]["public"]["sha256"] = hash(instance().trusted_root().to_string().as_bytes()).into();
    policy["signer"]["builder"]["key"] = own.object().clone();
    attacker.release("team", |signed| signed["x-lastmile-policy"] = policy);
    assert_eq!(fetched(&made, &attacker.network), REFUSED);
    // The attacker can take a package that has the required evidence, and publish it under a new name.
    release(&attacker, "team", "team/new", GOOD, &[good]);
    attacker.release("team", |signed| drop(signed.as_object_mut().unwrap().remove("x-lastmile-policy")));
    let client = made.new_client();
    client.use_network(&attacker.network);
    assert_eq!(client.get("team/new").unwrap(), GOOD);
}

#[test]
fn p2_the_keys_of_the_role_that_signs_the_policy_remove_it_but_not_the_policy_of_a_client_or_of_a_role_above() {
    let rule = || signed_by("signed", &["builder"]);
    let good = signed_with(&builder(), &signature(GOOD));
    let made = made(&[rule()], &[good]);
    let mut own = policy(&[rule()]);
    own["trust"]["public"]["sha256"] = hash(instance().trusted_root().to_string().as_bytes()).into();
    made.set_policy("team", &own);
    // With the keys of `team`, the attacker removes the policy in `team`, but the policy in the `targets` role still
    // applies.
    let attacker = made.attacker(&TEAM);
    let remove = |signed: &mut Value| drop(signed.as_object_mut().unwrap().remove("x-lastmile-policy"));
    release(&attacker, "team", PACKAGE, EVIL, &[]);
    assert_eq!(fetched(&made, &attacker.network), REFUSED);
    attacker.release("team", remove);
    assert_eq!(fetched(&made, &attacker.network), REFUSED);
    // With the targets key as well, the attacker also removes the policy in the `targets` role.
    let attacker = made.attacker(&["team-1", "targets-1", "snapshot-1", "timestamp-1"]);
    release(&attacker, "team", PACKAGE, EVIL, &[]);
    attacker.release("team", remove);
    attacker.release("targets", remove);
    assert_eq!(fetched(&made, &attacker.network), evil());
    // A client that has a local policy still refuses the package.
    let client = made.new_client();
    client.use_network(&attacker.network);
    assert_eq!(refusal(&get_under(&client, &own)), "team/package: the rule signed of the local policy");
}

/// Downloads the package as `client`, with `policy` as its local policy.
fn get_under(client: &TestClient, policy: &Value) -> Result<Vec<u8>, lastmile_client::Error> {
    let local = LocalPolicy::parse(policy.to_string().as_bytes()).unwrap();
    let store = DirectoryStore::open(client.store_path()).unwrap();
    let updater = client.builder(store).local_policy(local).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut session = updater.refresh_at(client.now).await?;
        let target = session.target(PACKAGE).await?;
        session.read(&target).await
    })
}

#[test]
fn p3_a_key_that_a_policy_names_signs_anything_but_publishes_nothing() {
    let evidence = |content| signed_with(&builder(), &signature(content));
    let made_by_one = made(&[signed_by("signed", &["builder"])], &[evidence(GOOD)]);
    // Without keys of TUF roles, the attacker can only replace files.
    let attacker = made_by_one.attacker(&[]);
    let files = attacker.network.files();
    let stored = files.keys().find(|name| name.ends_with(".package.intoto.jsonl")).unwrap();
    attacker.network.put(&location(PACKAGE, GOOD), EVIL.to_vec());
    let client = made_by_one.new_client();
    client.use_network(&attacker.network);
    assert_eq!(refusal(&client.get(PACKAGE)), "team/package: Hash");
    // The forged evidence has the same length as the original, so only the hash can reveal the forgery.
    let mut forged = evidence(EVIL).to_string().into_bytes();
    forged.resize(files[stored].len(), b' ');
    attacker.network.put(stored, forged);
    let client = made_by_one.new_client();
    client.use_network(&attacker.network);
    let refused = refusal(&client.get(PACKAGE));
    assert!(refused.starts_with("team/package.intoto.jsonl: "), "{refused}");
    // With the keys of the role that lists the package, the attacker can publish a malicious package, unless two
    // signers must sign.
    assert_eq!(published(&made_by_one, &[evidence(EVIL)]), evil());
    let both = [evidence(GOOD), instance().attest(&workflow(), &signature(GOOD))];
    let made_by_two = made(&[signed_by("signed", &["builder", "workflow"])], &both);
    assert_eq!(published(&made_by_two, &[evidence(EVIL)]), REFUSED);
}

#[test]
fn p4_a_workflow_signs_as_itself_but_neither_publishes_nor_signs_as_another() {
    let evidence = |identity: &Identity, content| instance().attest(identity, &signature(content));
    let by_workflow = made(&[signed_by("signed", &["workflow"])], &[evidence(&workflow(), GOOD)]);
    assert_eq!(published(&by_workflow, &[evidence(&workflow(), EVIL)]), evil());
    // The policy refuses signatures by another workflow. It also refuses signatures by the same workflow if a pull
    // request triggered the run, because strangers can open pull requests.
    let other = workflow().with_uri(&WORKFLOW.replace("release", "test"));
    let triggered = workflow().claim("build-trigger", "pull_request_target");
    for identity in [other, triggered] {
        assert_eq!(published(&by_workflow, &[evidence(&identity, EVIL)]), REFUSED);
    }
    // Without keys of TUF roles, the attacker cannot publish the package.
    let mut attacker = by_workflow.attacker(&[]);
    attacker.own_key();
    release(&attacker, "team", PACKAGE, EVIL, &[evidence(&workflow(), EVIL)]);
    assert_eq!(fetched(&by_workflow, &attacker.network), "timestamp: ThresholdNotMet");
    // A second rule with an independent signer still protects clients.
    let both = [evidence(&workflow(), GOOD), signed_with(&builder(), &signature(GOOD))];
    let rules = [signed_by("by-workflow", &["workflow"]), signed_by("signed", &["builder"])];
    assert_eq!(published(&made(&rules, &both), &[evidence(&workflow(), EVIL)]), REFUSED);
}

fn provenance(content: &[u8], source: &str) -> Value {
    let predicate = json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {"workflow": {"repository": source, "ref": "refs/tags/v1"}, "inputs": {}},
            "resolvedDependencies": [{"digest": {"gitCommit": "1111111111111111111111111111111111111111"}}],
        },
        "runDetails": {"builder": {"id": WORKFLOW}},
    });
    sigstore::statement(PROVENANCE, &predicate, content)
}

#[test]
fn p5_a_builder_makes_provenance_of_any_source_but_no_signature_of_somebody_else() {
    let source = "https://forge.test/acme/app";
    let built = json!({
        "name": "built", "kind": "provenance", "paths": ["team/*"],
        "builder": ["forge"], "level": 3, "source": [format!("git+{source}")],
    });
    let evidence = |content| instance().attest(&workflow(), &provenance(content, source));
    assert_eq!(published(&made(std::slice::from_ref(&built), &[evidence(GOOD)]), &[evidence(EVIL)]), evil());
    let rules = [built, signed_by("signed", &["builder"])];
    let both = [evidence(GOOD), signed_with(&builder(), &signature(GOOD))];
    assert_eq!(published(&made(&rules, &both), &[evidence(EVIL)]), REFUSED);
}

#[test]
fn p6_the_key_of_a_log_backdates_signatures_but_makes_no_certificate() {
    // The key of the builder was stolen after it had been replaced. A log records when a signature was made, so clients
    // refuse signatures that were made after the replacement.
    let until = |logs: u32| {
        let mut policy = policy(&[signed_by("signed", &["builder"])]);
        policy["trust"]["public"]["logs"] = logs.into();
        policy["signer"]["builder"]["trust"] = "public".into();
        policy["signer"]["builder"]["not-after"] = "2026-01-02T00:00:00Z".into();
        policy
    };
    let made_with = |logs: Vec<Log>| {
        let honest = Sigstore { logs, ..instance() };
        let evidence = honest.attest_with_key(&builder(), &signature(GOOD));
        made_under(&until(u32::try_from(honest.logs.len()).unwrap()), &honest.trusted_root(), &[evidence])
    };
    let stolen = instance().logs.remove(0);
    let at = |log: &Log, days| {
        let recorded = instance().recorded + Duration::days(days);
        let logs = vec![log.clone()];
        Sigstore { recorded, logs, ..instance() }.attest_with_key(&builder(), &signature(EVIL))
    };
    let one_log = made_with(vec![stolen.clone()]);
    assert_eq!(published(&one_log, &[at(&stolen, 30)]), REFUSED);
    assert_eq!(published(&one_log, &[at(&stolen, 0)]), evil());
    // The log whose key was not stolen still records the true time.
    let other = Log::new("rekor2.sigstore.test");
    let two_logs = made_with(vec![stolen.clone(), other.clone()]);
    let mut truth = at(&stolen, 0);
    let late = at(&other, 30)["verificationMaterial"]["tlogEntries"][0].take();
    assert_eq!(published(&two_logs, &[truth.clone()]), REFUSED);
    truth["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap().push(late);
    assert_eq!(published(&two_logs, &[truth]), REFUSED);
    // With the log's key, the attacker cannot issue certificates.
    let by_workflow = made(&[signed_by("signed", &["workflow"])], &[instance().attest(&workflow(), &signature(GOOD))]);
    let own_authority = Sigstore { authority: TestKey::p256("an attacker"), ..instance() };
    assert_eq!(published(&by_workflow, &[own_authority.attest(&workflow(), &signature(EVIL))]), REFUSED);
}

#[test]
fn p7_the_key_of_the_certificate_authority_makes_any_identity_but_signs_for_no_key() {
    // The attacker has the key of the certificate authority, and issues a certificate for the attacker's own key. The
    // logs record this certificate and signature like any other.
    let evidence = |content| instance().attest(&workflow(), &signature(content));
    assert_eq!(published(&made(&[signed_by("signed", &["workflow"])], &[evidence(GOOD)]), &[evidence(EVIL)]), evil());
    let rules = [signed_by("signed", &["builder"])];
    let by_key = made(&rules, &[signed_with(&builder(), &signature(GOOD))]);
    assert_eq!(published(&by_key, &[evidence(EVIL)]), REFUSED);
    // A certificate that no certificate transparency log has recorded does not count.
    let unrecorded = Sigstore { ct_log: None, ..instance() }.attest(&workflow(), &signature(EVIL));
    let by_workflow = made(&[signed_by("signed", &["workflow"])], &[evidence(GOOD)]);
    assert_eq!(published(&by_workflow, &[unrecorded]), REFUSED);
}
