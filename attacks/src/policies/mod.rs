//! Attacks on policies: an attacker who has stolen the keys of a delegated role, the snapshot and the timestamp publishes
//! a package without the evidence that the role above demands. Only clients that know lastmile's policies refuse it.

use lastmile_metadata::{Algorithm, Hashes};
use lastmile_testkit::{Repository, TestKey};
use serde_json::{Value, json};

use crate::{Case, EVIL, GOOD, Scenario, release, stranger};

/// The type of statements that count as a signature.
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "7-no-evidence",
        &["7-no-evidence"],
        "a package has no evidence, or the evidence that it names is withheld or unreadable",
        "CVE-2025-25204, CVE-2026-39395",
        no_evidence,
    ),
    Scenario::new(
        "7-other-package",
        &["7-other-package"],
        "the evidence of a package is about another package",
        "in-toto attestation framework, statement v1",
        other_package,
    ),
    Scenario::new(
        "7-other-signer",
        &["7-other-signer"],
        "the evidence of a package is signed with a key that the policy does not name",
        "GHSA-3633-5h82-39pq",
        other_signer,
    ),
    Scenario::new(
        "7-other-statement",
        &["7-other-statement"],
        "a scan report that the right key signed is offered as a signature",
        "CVE-2022-35929, CVE-2022-35930",
        other_statement,
    ),
    Scenario::new(
        "7-own-policy",
        &["7-own-policy"],
        "a delegated role signs a policy that defines the signer of the role above with another key, or allows everything",
        "a weakness that the format of policies rules out",
        own_policy,
    ),
    Scenario::new(
        "7-newer-policy",
        &["7-newer-policy"],
        "a policy has a rule or a version that the client does not know",
        "a weakness that the format of policies rules out",
        newer_policy,
    ),
    Scenario::new(
        "7-evidence",
        &["7-evidence"],
        "not an attack: a package has the demanded evidence, beside evidence that does not count",
        "docs/policy.md",
        evidence_that_counts,
    ),
];

/// Returns the key of the builder, which no role lists.
fn builder() -> TestKey {
    TestKey::new("a builder")
}

/// Returns a policy that demands a signature of this key for the packages of `team`.
fn policy(signer: &TestKey) -> Value {
    json!({
        "version": 1,
        "signer": {"builder": {"key": signer.object()}},
        "require": [{"name": "signed", "kind": "signature", "paths": ["team/*"], "by": ["builder"]}],
    })
}

/// Returns a repository whose top-level role demands that the builder signed the packages of `team`.
fn honest() -> Repository {
    let mut repository = release(2);
    repository.signed("targets")["x-lastmile-policy"] = policy(&builder());
    add(&mut repository, "team/package", GOOD, &[&statement(&builder(), SIGN, GOOD)]);
    repository.publish(&["team", "targets"]);
    repository
}

/// Lists a package in `team`, together with an evidence file that has these lines.
fn add(repository: &mut Repository, path: &str, content: &[u8], evidence: &[&str]) {
    let file = format!("{path}.intoto.jsonl");
    repository.add_target("team", path, content);
    repository.add_target("team", &file, evidence.join("\n").as_bytes());
    name_evidence(repository, path, &file);
}

/// Lets a package name its evidence.
fn name_evidence(repository: &mut Repository, path: &str, evidence: &str) {
    repository.signed("team")["targets"][path]["custom"] = json!({"lastmile": {"evidence": [evidence]}});
}

/// Returns a DSSE envelope with a statement about `content` that `signer` signed.
fn statement(signer: &TestKey, predicate_type: &str, content: &[u8]) -> String {
    let payload_type = "application/vnd.in-toto+json";
    let hashes = Hashes::of(content, &[Algorithm::Sha256]).expect("an algorithm");
    let digest = hex::encode(hashes.known().next().expect("a digest").1);
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "package", "digest": {"sha256": digest}}],
        "predicateType": predicate_type,
        "predicate": {},
    })
    .to_string();
    let signed = format!("DSSEv1 {} {payload_type} {} {statement}", payload_type.len(), statement.len());
    json!({
        "payloadType": payload_type,
        "payload": base64(statement.as_bytes()),
        "signatures": [{"sig": base64(&signer.sign(signed.as_bytes()))}],
    })
    .to_string()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Publishes what `change` does to the role `team`, and expects that the client refuses `team/other`.
fn refused(sample: &str, change: impl FnOnce(&mut Repository)) -> Case {
    let honest = honest();
    let mut attacker = honest.fork();
    change(&mut attacker);
    attacker.publish(&["team"]);
    Case::against(&honest)
        .sample(sample)
        .attacker(attacker.network())
        .get("team/other")
        .refused("team/other", "Policy")
        .advances(&["snapshot", "team", "timestamp"])
        .in_process_only()
}

fn no_evidence() -> Vec<Case> {
    vec![
        refused("no list of evidence", |attacker| attacker.add_target("team", "team/other", EVIL)),
        refused("evidence that no role lists", |attacker| {
            attacker.add_target("team", "team/other", EVIL);
            name_evidence(attacker, "team/other", "team/withheld.intoto.jsonl");
        }),
        refused("evidence that is no JSON", |attacker| add(attacker, "team/other", EVIL, &["{"])),
        refused("an unreadable line after the evidence", |attacker| {
            add(attacker, "team/other", EVIL, &[&statement(&builder(), SIGN, EVIL), "{}"]);
        }),
    ]
}

fn other_package() -> Vec<Case> {
    vec![
        refused("the evidence of team/package", |attacker| {
            attacker.add_target("team", "team/other", EVIL);
            name_evidence(attacker, "team/other", "team/package.intoto.jsonl");
        }),
        refused("a copy of it", |attacker| {
            add(attacker, "team/other", EVIL, &[&statement(&builder(), SIGN, GOOD)]);
        }),
    ]
}

fn other_signer() -> Vec<Case> {
    vec![
        refused("a key that nobody lists", |attacker| {
            add(attacker, "team/other", EVIL, &[&statement(&stranger(), SIGN, EVIL)]);
        }),
        refused("the key of the role", |attacker| {
            let key = attacker.signers("team").remove(0);
            add(attacker, "team/other", EVIL, &[&statement(&key, SIGN, EVIL)]);
        }),
    ]
}

fn other_statement() -> Vec<Case> {
    let scan = "https://cosign.sigstore.dev/attestation/vuln/v1";
    vec![refused("a scan", |attacker| add(attacker, "team/other", EVIL, &[&statement(&builder(), scan, EVIL)]))]
}

fn own_policy() -> Vec<Case> {
    let with = |policy: Value| {
        move |attacker: &mut Repository| {
            add(attacker, "team/other", EVIL, &[&statement(&stranger(), SIGN, EVIL)]);
            attacker.signed("team")["x-lastmile-policy"] = policy;
        }
    };
    let mut excepted = policy(&stranger());
    excepted["require"][0]["except"] = json!(["team/*"]);
    vec![refused("the same names", with(policy(&stranger()))), refused("an exception", with(excepted))]
}

fn newer_policy() -> Vec<Case> {
    let with = |policy: Value| {
        move |attacker: &mut Repository| {
            add(attacker, "team/other", GOOD, &[&statement(&builder(), SIGN, GOOD)]);
            attacker.signed("team")["x-lastmile-policy"] = policy;
        }
    };
    let rule = json!({"version": 1, "require": [{"name": "new", "kind": "new-kind", "paths": ["team/*"]}]});
    vec![refused("a kind of rule", with(rule)), refused("a version", with(json!({"version": 2})))]
}

fn evidence_that_counts() -> Vec<Case> {
    let mut honest = honest();
    let evidence = [statement(&stranger(), SIGN, GOOD), statement(&builder(), SIGN, GOOD)];
    add(&mut honest, "team/other", GOOD, &[&evidence[0], &evidence[1]]);
    honest.publish(&["team"]);
    vec![Case::against(&honest).sample("two signers").attacker(honest.network()).get("team/other").in_process_only()]
}
