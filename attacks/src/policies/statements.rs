//! Attacks on envelopes and statements.

use lastmile_testkit::sigstore::{self, base64, signed_bytes};
use serde_json::{Value, json};

use super::keys::{builder, honest};
use super::{envelope, refused_evidence, signature, under};
use crate::{Case, EVIL, GOOD, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "7-payload-type",
        &["7-payload-type"],
        "an envelope has a payload type other than the signed one, or a payload that was re-encoded",
        "DSSE protocol",
        payload_type,
    ),
    Scenario::new(
        "7-other-type",
        &["7-other-type"],
        "a layout, a link or an unknown type of in-toto metadata, signed by the right key, is offered as a statement",
        "ITE-6; in-toto audit 2023",
        other_type,
    ),
    Scenario::new(
        "7-other-statement",
        &["7-other-statement"],
        "a scan report that the right key signed is offered as a signature, or as an attestation of another type",
        "CVE-2022-35929, CVE-2022-35930",
        other_statement,
    ),
    Scenario::new(
        "7-other-values",
        &["7-other-values"],
        "an attestation has the right type and signer, but the value that the policy checks is wrong, of another type, or missing",
        "CVE-2022-35929",
        other_values,
    ),
    Scenario::new(
        "7-unreadable",
        &["7-unreadable"],
        "a line of the evidence, or the payload of an envelope, cannot be parsed; in some cases, another line satisfies the policy",
        "CVE-2026-39395",
        unreadable,
    ),
    Scenario::new(
        "7-subjects",
        &["7-subjects"],
        "a statement does not identify the package: one of two digests differs, or the digest is weak, empty or in upper case",
        "in-toto attestation framework, DigestSet",
        subjects,
    ),
    Scenario::new(
        "7-ambiguous",
        &["7-ambiguous"],
        "parsers can read the statement differently: members occur twice, a byte order mark comes first, or 100 lists are nested",
        "in-toto specification, issue 74",
        ambiguous,
    ),
];

fn payload_type() -> Vec<Case> {
    let honest = honest();
    let statement = signature(EVIL).to_string();
    let signed_as = |kind: &str| {
        let mut envelope = sigstore::envelope(&statement, &[]);
        envelope["signatures"] = json!([{"sig": base64(builder().sign(&signed_bytes(kind, &statement)))}]);
        envelope
    };
    let mut text = signed_as("text/plain");
    let text_as_statement = text.to_string();
    text["payloadType"] = "text/plain".into();
    let mut encoded_again: Value = sigstore::envelope(&statement, &[&builder()]);
    encoded_again["payload"] = base64(format!("{statement} ")).into();
    let mut bare = sigstore::envelope(&statement, &[]);
    bare["signatures"] = json!([{"sig": base64(builder().sign(statement.as_bytes()))}]);
    let because = "the signature is not valid for this key";
    vec![
        refused_evidence(&honest, "text", "`envelope.payloadType` is \"text/plain\"", &[&text.to_string()]),
        refused_evidence(&honest, "text as a statement", because, &[&text_as_statement]),
        refused_evidence(&honest, "encoded again", because, &[&encoded_again.to_string()]),
        refused_evidence(&honest, "signed without the type", because, &[&bare.to_string()]),
    ]
}

fn other_type() -> Vec<Case> {
    let honest = honest();
    let of_type = |kind: &str| {
        let mut statement = signature(EVIL);
        statement["_type"] = kind.into();
        envelope(&builder(), &statement)
    };
    let metablock = json!({"signed": signature(EVIL), "signatures": []}).to_string();
    vec![
        refused_evidence(&honest, "a link", "`_type` is \"link\"", &[&of_type("link")]),
        refused_evidence(&honest, "a layout", "`_type` is \"layout\"", &[&of_type("layout")]),
        refused_evidence(&honest, "a newer statement", "`_type` is", &[&of_type("https://in-toto.io/Statement/v2")]),
        refused_evidence(&honest, "no envelope", "in-toto metadata without an envelope", &[&metablock]),
    ]
}

const SCAN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";

fn scan(result: &Value, content: &[u8]) -> String {
    envelope(&builder(), &sigstore::statement(SCAN, &json!({"scan": result}), content))
}

/// Returns a repository whose top-level targets role requires scan reports without findings.
fn scanned() -> lastmile_testkit::Repository {
    let mut policy = super::keys::policy(&builder());
    policy["require"] = json!([{
        "name": "scanned", "kind": "attestation", "paths": ["team/*"], "by": ["builder"],
        "type": [SCAN], "where": {"/scan/findings": [0]},
    }]);
    under(policy, &[&scan(&json!({"findings": 0}), GOOD)])
}

fn other_statement() -> Vec<Case> {
    let failed = scan(&json!({"findings": 7}), EVIL);
    let signed = envelope(&builder(), &signature(EVIL));
    let like = sigstore::statement(&format!("{SCAN}/draft"), &json!({"scan": {"findings": 0}}), EVIL);
    let because = "the statement type is";
    vec![
        refused_evidence(&honest(), "a scan as a signature", because, &[&failed]),
        refused_evidence(&scanned(), "a signature as a scan", because, &[&signed]),
        refused_evidence(&scanned(), "a similar type", because, &[&envelope(&builder(), &like)]),
    ]
}

fn other_values() -> Vec<Case> {
    let honest = scanned();
    let of = |result: Value| scan(&result, EVIL);
    vec![
        refused_evidence(&honest, "findings", "the predicate has 7", &[&of(json!({"findings": 7}))]),
        refused_evidence(&honest, "a string", "the predicate has \"0\"", &[&of(json!({"findings": "0"}))]),
        refused_evidence(&honest, "a list", "the predicate has [0]", &[&of(json!({"findings": [0]}))]),
        refused_evidence(&honest, "nothing", "has nothing at /scan/findings", &[&of(json!({}))]),
    ]
}

fn unreadable() -> Vec<Case> {
    let honest = honest();
    let good = envelope(&builder(), &signature(EVIL));
    let of_payload = |payload: &str| sigstore::envelope(payload, &[&builder()]).to_string();
    vec![
        refused_evidence(&honest, "no JSON", "line 1: EOF while parsing", &["{"]),
        refused_evidence(&honest, "a line after the evidence", "line 2: ", &[&good, "{}"]),
        refused_evidence(&honest, "a line before the evidence", "line 1: ", &["{}", &good]),
        refused_evidence(&honest, "an empty line", "line 2: ", &[&good, "", &good]),
        refused_evidence(&honest, "a payload that is a list", "line 1: ", &[&of_payload("[]")]),
        refused_evidence(&honest, "a payload that is no JSON", "line 2: ", &[&good, &of_payload("{")]),
    ]
}

fn subjects() -> Vec<Case> {
    let honest = honest();
    let hash = lastmile_testkit::hash(EVIL);
    let with = |digest: Value| {
        let mut statement = signature(EVIL);
        statement["subject"][0]["digest"] = digest;
        envelope(&builder(), &statement)
    };
    let no_subject = "no subject has the sha256 of the file";
    let malformed = "is not lower-case";
    let mut many = signature(EVIL);
    let others = (0..10_001).map(|number| json!({"name": "x", "digest": {"sha256": format!("{number:064x}")}}));
    many["subject"] = others.collect();
    let mut none = signature(EVIL);
    none["subject"] = json!([]);
    // The role lists a SHA-256 and a SHA-512 digest, so the client can compare both.
    let other_digest = with(json!({"sha256": hash, "sha512": "11".repeat(64)}));
    let two_digests = super::refused(&honest, "another SHA-512", "another digest that does not", |attacker| {
        super::add(attacker, "team/other", EVIL, &[&other_digest]);
        attacker.signed("team")["targets"]["team/other"]["hashes"]["sha512"] = "22".repeat(64).into();
    });
    vec![
        two_digests,
        refused_evidence(&honest, "no digest", no_subject, &[&with(json!({}))]),
        refused_evidence(&honest, "only SHA-1", no_subject, &[&with(json!({"sha1": "11".repeat(20)}))]),
        refused_evidence(&honest, "only a commit", no_subject, &[&with(json!({"gitCommit": hash}))]),
        refused_evidence(&honest, "an empty digest", malformed, &[&with(json!({"sha256": ""}))]),
        refused_evidence(&honest, "capitals", malformed, &[&with(json!({"sha256": hash.to_uppercase()}))]),
        refused_evidence(&honest, "no subject", "0 subjects", &[&envelope(&builder(), &none)]),
        refused_evidence(&honest, "10,001 subjects", "10001 subjects", &[&envelope(&builder(), &many)]),
    ]
}

fn ambiguous() -> Vec<Case> {
    let honest = honest();
    let statement = signature(EVIL).to_string();
    let signed = |text: String| sigstore::envelope(&text, &[&builder()]).to_string();
    let twice = |name: &str| {
        signed(statement.replacen("\"subject\":", &format!("\"{name}\":[{{\"digest\":{{}}}}],\"subject\":"), 1))
    };
    let deep = statement.replacen("{}", &format!("{}{}", "[".repeat(100), "]".repeat(100)), 1);
    vec![
        refused_evidence(&honest, "a member twice", "two members are named", &[&twice("subject")]),
        refused_evidence(&honest, "a member twice, escaped", "two members are named", &[&twice("subjec\\u0074")]),
        refused_evidence(&honest, "a byte order mark", "line 1: ", &[&signed(format!("\u{feff}{statement}"))]),
        refused_evidence(&honest, "100 nested lists", "nested", &[&signed(deep)]),
    ]
}
