//! Attacks on identities. The attacker gets certificates for other identities from the same Sigstore instance.

use lastmile_testkit::sigstore::Identity;
use serde_json::{Value, json};

use super::{ISSUER, WORKFLOW, accepted, instance, refused, refused_evidence, signature, signed_by_workflow, workflow};
use super::{add, workflow_policy};
use crate::{Case, EVIL, GOOD, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "7-similar-subject",
        &["7-similar-subject"],
        "the subject of a certificate begins or ends like the one that the policy names",
        "a weakness of patterns without anchors",
        similar_subject,
    ),
    Scenario::new(
        "7-other-issuer",
        &["7-other-issuer"],
        "a certificate has the right subject from another issuer",
        "sigstore-conformance",
        other_issuer,
    ),
    Scenario::new(
        "7-other-subject-type",
        &["7-other-subject-type"],
        "a certificate names the right subject as an email address or as another type of name",
        "sigstore-go",
        other_subject_type,
    ),
    Scenario::new(
        "7-other-claims",
        &["7-other-claims"],
        "the claims of a certificate are missing, or contain the ID of another repository, a wrong trigger, or a self-hosted runner",
        "Fulcio, certificate extensions",
        other_claims,
    ),
    Scenario::new(
        "7-no-constraint",
        &["7-no-constraint"],
        "a policy names an identity without a subject, with a claim that the client does not know, or with an empty pattern",
        "CVE-2025-29778",
        no_constraint,
    ),
    Scenario::new(
        "7-identity",
        &["7-identity"],
        "harmless: the workflow that the policy names signed the package, in a run for another tag",
        "docs/policy.md",
        identity,
    ),
];

/// Returns evidence for the malicious package, signed by `identity`.
fn signed(identity: &Identity) -> String {
    instance().attest(identity, &signature(EVIL)).to_string()
}

fn with_subject(subject: &str) -> Identity {
    workflow().with_uri(subject)
}

fn similar_subject() -> Vec<Case> {
    let honest = signed_by_workflow();
    let subjects = [
        ("another repository", WORKFLOW.replace("acme/app", "acme/app-evil") + "@refs/tags/v1"),
        ("another owner", WORKFLOW.replace("acme", "evil-acme") + "@refs/tags/v1"),
        ("another workflow", WORKFLOW.replace("release", "prerelease") + "@refs/tags/v1"),
        ("a branch", format!("{WORKFLOW}@refs/heads/v1")),
        ("a tag with `..` segments", format!("{WORKFLOW}@refs/tags/v1/../../heads/main")),
        ("the wanted subject as a user name", format!("{WORKFLOW}@evil.test/@refs/tags/v1")),
        ("the wanted subject as a query parameter", format!("https://evil.test/?x={WORKFLOW}@refs/tags/v1")),
        ("capitals", WORKFLOW.replace("acme", "Acme") + "@refs/tags/v1"),
        ("a space at the end", format!("{WORKFLOW}@refs/tags/ v1")),
    ];
    let case = |(sample, subject): &(&str, String)| {
        refused_evidence(&honest, sample, "the evidence is signed by", &[&signed(&with_subject(subject))])
    };
    subjects.iter().map(case).collect()
}

fn other_issuer() -> Vec<Case> {
    let honest = signed_by_workflow();
    let issuers =
        ["https://token.attacker.test", "https://token.issuer.test/", "https://token.issuer.test.evil.test", ""];
    let case = |issuer: &&str| {
        let evidence = signed(&workflow().from_issuer(issuer));
        refused_evidence(&honest, &format!("'{issuer}'"), "the issuer is", &[&evidence])
    };
    issuers.iter().map(case).collect()
}

fn other_subject_type() -> Vec<Case> {
    let honest = signed_by_workflow();
    let subject = format!("{WORKFLOW}@refs/tags/v1");
    let email = signed(&Identity::email(ISSUER, &subject));
    let other = signed(&Identity::other_name(ISSUER, &subject));
    vec![
        refused_evidence(&honest, "an email address", "the evidence is signed by", &[&email]),
        refused_evidence(&honest, "another name", "neither a URI nor an email address", &[&other]),
    ]
}

fn other_claims() -> Vec<Case> {
    let honest = signed_by_workflow();
    let case = |sample: &str, because: &'static str, identity: Identity| {
        refused_evidence(&honest, sample, because, &[&signed(&identity)])
    };
    let bare = Identity::uri(ISSUER, &format!("{WORKFLOW}@refs/tags/v1"));
    vec![
        case("a new repository", "claim source-repository-id is 43", workflow().claim("source-repository-id", "43")),
        case("a longer number", "claim source-repository-id is 421", workflow().claim("source-repository-id", "421")),
        case("another trigger", "claim build-trigger is", workflow().claim("build-trigger", "pull_request_target")),
        case("another machine", "claim runner-environment", workflow().claim("runner-environment", "self-hosted")),
        case("no claims", "the certificate has no claim", bare),
    ]
}

fn no_constraint() -> Vec<Case> {
    let honest = signed_by_workflow();
    let with = |sample: &str, because: &'static str, change: &dyn Fn(&mut Value)| {
        let mut policy = workflow_policy(json!({}));
        policy["trust"]["public"]["sha256"] =
            lastmile_testkit::hash(instance().trusted_root().to_string().as_bytes()).into();
        change(&mut policy["signer"]["workflow"]);
        let evidence = instance().attest(&workflow(), &signature(EVIL)).to_string();
        refused(&honest, sample, because, |attacker| {
            add(attacker, "team/other", EVIL, &[&evidence]);
            attacker.signed("team")["x-lastmile-policy"] = policy;
        })
    };
    vec![
        with("an unknown claim", "unknown claim \"sub\"", &|signer| signer["claims"]["sub"] = json!(["x"])),
        with("an unknown member", "unknown member \"subject-regexp\"", &|signer| {
            signer["subject-regexp"] = json!("^https://forge.test/acme/");
        }),
        with("no subject", "subject is missing", &|signer| {
            signer.as_object_mut().expect("an object").remove("subject");
        }),
        with("an empty list of subjects", "subject must have 1 to 64 elements", &|signer| {
            signer["subject"] = json!([]);
        }),
        with("an empty subject", "subject contains an empty element or an element longer than 4096 bytes", &|signer| {
            signer["subject"] = json!([""]);
        }),
        with("an issuer with a star", "issuer must be the exact URL, without `*`", &|signer| {
            signer["issuer"] = json!("https://*");
        }),
    ]
}

fn identity() -> Vec<Case> {
    let tag = with_subject(&format!("{WORKFLOW}@refs/tags/v2.10"));
    let evidence = instance().attest(&tag, &signature(GOOD)).to_string();
    vec![accepted(&signed_by_workflow(), "another tag", &[&evidence])]
}
