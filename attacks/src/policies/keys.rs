//! Attacks on packages that must be signed with a key.

use lastmile_testkit::sigstore::{self, Sigstore};
use lastmile_testkit::{Repository, TestKey};
use serde_json::{Value, json};

use super::{accepted, add, envelope, name_evidence, refused, refused_evidence, signature, under};
use crate::{Case, EVIL, GOOD, Scenario, stranger};

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
        "7-signs-twice",
        &["7-signs-twice"],
        "two keys must sign, but one key signs twice: in one envelope, in two envelopes, or under the other key's ID",
        "GHSA-3633-5h82-39pq",
        signs_twice,
    ),
    Scenario::new(
        "7-key-time",
        &["7-key-time"],
        "a key signs a package before or after the period in which the policy trusts the key",
        "CVE-2026-54787",
        key_time,
    ),
    Scenario::new(
        "7-evidence",
        &["7-evidence"],
        "harmless: a package has the required evidence, and also evidence that does not count",
        "docs/policy.md",
        evidence_that_counts,
    ),
];

/// Returns the builder's key, which no role lists.
pub(super) fn builder() -> TestKey {
    TestKey::new("a builder")
}

/// Returns a policy that requires a signature by `signer` for the packages of `team`.
pub(super) fn policy(signer: &TestKey) -> Value {
    json!({
        "version": 1,
        "signer": {"builder": {"key": signer.object()}},
        "require": [{"name": "signed", "kind": "signature", "paths": ["team/*"], "by": ["builder"]}],
    })
}

/// Returns a repository whose top-level targets role requires a signature by the builder for the packages of `team`.
pub(super) fn honest() -> Repository {
    under(policy(&builder()), &[&envelope(&builder(), &signature(GOOD))])
}

fn no_evidence() -> Vec<Case> {
    let honest = honest();
    vec![
        refused(&honest, "no list of evidence", "found no evidence", |attacker| {
            attacker.add_target("team", "team/other", EVIL);
        }),
        refused(&honest, "evidence that no role lists", "no trusted role lists it", |attacker| {
            attacker.add_target("team", "team/other", EVIL);
            name_evidence(attacker, "team/other", "team/withheld.intoto.jsonl");
        }),
        refused_evidence(&honest, "an empty file", "the evidence has no items", &[""]),
    ]
}

fn other_package() -> Vec<Case> {
    let honest = honest();
    let because = "no subject has the sha256 of the file";
    vec![
        refused(&honest, "the evidence of team/package", because, |attacker| {
            attacker.add_target("team", "team/other", EVIL);
            name_evidence(attacker, "team/other", "team/package.intoto.jsonl");
        }),
        refused_evidence(&honest, "a copy of it", because, &[&envelope(&builder(), &signature(GOOD))]),
    ]
}

fn other_signer() -> Vec<Case> {
    let honest = honest();
    let because = "the signature is not valid for this key";
    vec![
        refused_evidence(&honest, "a key that nobody lists", because, &[&envelope(&stranger(), &signature(EVIL))]),
        refused(&honest, "the key of the role", because, |attacker| {
            let key = attacker.signers("team").remove(0);
            add(attacker, "team/other", EVIL, &[&envelope(&key, &signature(EVIL))]);
        }),
    ]
}

fn signs_twice() -> Vec<Case> {
    let second = TestKey::new("a second builder");
    let mut policy = policy(&builder());
    policy["signer"]["second"] = json!({"key": second.object()});
    policy["require"][0]["by"] = json!(["builder", "second"]);
    policy["require"][0]["threshold"] = json!(2);
    let both = [envelope(&builder(), &signature(GOOD)), envelope(&second, &signature(GOOD))];
    let honest = under(policy, &[&both[0], &both[1]]);
    let statement = signature(EVIL);
    let once = envelope(&builder(), &statement);
    let twice = sigstore::envelope(&statement.to_string(), &[&builder(), &builder()]);
    let mut lying = twice.clone();
    lying["signatures"][1]["keyid"] = second.keyid().into();
    let because = "found 1 of the 2 required signers";
    vec![
        refused_evidence(&honest, "in one envelope", because, &[&twice.to_string()]),
        refused_evidence(&honest, "in two envelopes", because, &[&once, &once]),
        refused_evidence(&honest, "under the ID of the other key", because, &[&lying.to_string()]),
    ]
}

fn key_time() -> Vec<Case> {
    let key = TestKey::p256("a key with a period");
    let mut policy = policy(&key);
    policy["trust"] = json!({"public": {"root": "trust/root.json"}});
    policy["signer"]["builder"]["trust"] = json!("public");
    policy["signer"]["builder"]["not-before"] = json!("2025-12-31T00:00:00Z");
    policy["signer"]["builder"]["not-after"] = json!("2026-01-02T00:00:00Z");
    let instance = Sigstore::new("sigstore.test");
    let evidence = instance.attest_with_key(&key, &signature(GOOD)).to_string();
    let honest = super::under_with_root(policy, &instance.trusted_root(), &[&evidence]);
    let at = |days: i64| {
        let later = Sigstore { recorded: instance.recorded + chrono::Duration::days(days), ..instance.clone() };
        later.attest_with_key(&key, &signature(EVIL)).to_string()
    };
    let unrecorded = Sigstore { logs: Vec::new(), ..instance.clone() }.attest_with_key(&key, &signature(EVIL));
    vec![
        refused_evidence(&honest, "after the period", "after the signer's `not-after`", &[&at(2)]),
        refused_evidence(&honest, "before the period", "before the signer's `not-before`", &[&at(-2)]),
        refused_evidence(&honest, "at an unknown time", "0 distinct logs recorded", &[&unrecorded.to_string()]),
    ]
}

fn evidence_that_counts() -> Vec<Case> {
    let evidence = [envelope(&stranger(), &signature(GOOD)), envelope(&builder(), &signature(GOOD))];
    let other_type = sigstore::statement("https://example.test/review/v1", &json!({}), GOOD);
    let other_type = envelope(&builder(), &other_type);
    vec![accepted(&honest(), "two signers and two statements", &[&evidence[0], &other_type, &evidence[1]])]
}
