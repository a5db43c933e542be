//! Attacks on policies and evidence. The attacker has stolen the keys of a delegated role, the snapshot and the
//! timestamp, and publishes a package without the evidence that the policy of the delegator requires. Only clients that
//! support lastmile's policies refuse this package. `attest/tests/attacks.md` lists the same attacks, and names the
//! scenarios for each attack.

mod certificates;
mod delegated;
mod identities;
mod keys;
mod logs;
mod provenance;
mod shape;
mod statements;

use lastmile_testkit::sigstore::{self, Identity, Sigstore};
use lastmile_testkit::{Repository, TestKey};
use serde_json::{Value, json};

use crate::{Case, EVIL, GOOD, Scenario, release};

/// The predicate type of a statement that counts as a signature.
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

const ISSUER: &str = "https://token.issuer.test";

/// The workflow that may sign packages, as a URL without the ref.
const WORKFLOW: &str = "https://forge.test/acme/app/.forge/workflows/release.yml";

pub(super) fn scenarios() -> Vec<Scenario> {
    [
        keys::SCENARIOS,
        statements::SCENARIOS,
        shape::SCENARIOS,
        logs::SCENARIOS,
        certificates::SCENARIOS,
        identities::SCENARIOS,
        provenance::SCENARIOS,
        delegated::SCENARIOS,
    ]
    .concat()
}

/// Returns a repository whose top-level targets role signs `policy`. The repository contains an honest package with one
/// evidence file, which contains the lines in `evidence`.
fn under(policy: Value, evidence: &[&str]) -> Repository {
    let mut repository = release(2);
    repository.signed("targets")["x-lastmile-policy"] = policy;
    add(&mut repository, "team/package", GOOD, evidence);
    repository.publish(&["team", "targets"]);
    repository
}

/// Like [`under`], but also lists `trust/root.json`, the trusted root of a Sigstore instance.
fn under_with_root(policy: Value, root: &Value, evidence: &[&str]) -> Repository {
    let mut repository = under(policy, evidence);
    repository.add_target("targets", "trust/root.json", root.to_string().as_bytes());
    repository.publish(&["targets"]);
    repository
}

/// Lists the package at `path` and its evidence file in the role `team`. The evidence file contains the lines in
/// `evidence`.
fn add(repository: &mut Repository, path: &str, content: &[u8], evidence: &[&str]) {
    let file = format!("{path}.intoto.jsonl");
    repository.add_target("team", path, content);
    repository.add_target("team", &file, evidence.join("\n").as_bytes());
    name_evidence(repository, path, &file);
}

/// Sets `evidence` as the only evidence file of the package at `path`.
fn name_evidence(repository: &mut Repository, path: &str, evidence: &str) {
    repository.signed("team")["targets"][path]["custom"] = json!({"lastmile": {"evidence": [evidence]}});
}

/// Publishes the changes that `change` makes to the role `team`, and expects that the client refuses `team/other` with
/// an error that contains `because`.
fn refused(honest: &Repository, sample: &str, because: &'static str, change: impl FnOnce(&mut Repository)) -> Case {
    let mut attacker = honest.fork();
    change(&mut attacker);
    attacker.publish(&["team"]);
    Case::against(honest)
        .sample(sample)
        .attacker(attacker.network())
        .get("team/other")
        .refused("team/other", "Policy")
        .because(because)
        .advances(&["snapshot", "team", "timestamp"])
}

/// Publishes a malicious package with one evidence file, and expects that the client refuses the package with an error
/// that contains `because`.
fn refused_evidence(honest: &Repository, sample: &str, because: &'static str, evidence: &[&str]) -> Case {
    refused(honest, sample, because, |attacker| add(attacker, "team/other", EVIL, evidence))
}

/// Returns a case in which the client must accept a package with one evidence file.
fn accepted(honest: &Repository, sample: &str, evidence: &[&str]) -> Case {
    let mut other = honest.fork();
    add(&mut other, "team/other", GOOD, evidence);
    other.publish(&["team"]);
    Case::against(honest).sample(sample).attacker(other.network()).get("team/other").in_process_only()
}

/// Returns a statement that counts as a signature over a package with the content `content`.
fn signature(content: &[u8]) -> Value {
    sigstore::statement(SIGN, &json!({}), content)
}

fn envelope(signer: &TestKey, statement: &Value) -> String {
    sigstore::envelope(&statement.to_string(), &[signer]).to_string()
}

/// Returns the Sigstore instance that the policies trust.
fn instance() -> Sigstore {
    Sigstore::new("sigstore.test")
}

/// Returns the identity of the workflow that may sign packages, in a run that was started by the push of a tag.
fn workflow() -> Identity {
    Identity::uri(ISSUER, &format!("{WORKFLOW}@refs/tags/v1"))
        .claim("build-signer-uri", &format!("{WORKFLOW}@refs/tags/v1"))
        .claim("source-repository-uri", "https://forge.test/acme/app")
        .claim("source-repository-id", "42")
        .claim("source-repository-digest", "1111111111111111111111111111111111111111")
        .claim("source-repository-ref", "refs/tags/v1")
        .claim("build-trigger", "push")
        .claim("runner-environment", "forge-hosted")
}

/// Returns a policy that requires a signature by [`workflow`]. `trust` contains the members of `trust.public` in the
/// policy, except `root`, which this function adds.
fn workflow_policy(trust: Value) -> Value {
    let mut trust = trust;
    trust["root"] = json!("trust/root.json");
    json!({
        "version": 1,
        "trust": {"public": trust},
        "signer": {"workflow": {
            "trust": "public",
            "issuer": ISSUER,
            "subject": [format!("{WORKFLOW}@refs/tags/v*")],
            "claims": {
                "source-repository-id": ["42"],
                "build-trigger": ["push"],
                "runner-environment": ["forge-hosted"],
            },
        }},
        "require": [{"name": "signed", "kind": "signature", "paths": ["team/*"], "by": ["workflow"]}],
    })
}

/// Returns a repository whose top-level targets role requires a signature by [`workflow`].
fn signed_by_workflow() -> Repository {
    let root = instance().trusted_root();
    under_with_root(workflow_policy(json!({})), &root, &[&instance().attest(&workflow(), &signature(GOOD)).to_string()])
}
