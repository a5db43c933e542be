//! Tests of evidence that cosign 3.1 signs or verifies incorrectly. `lastmile-attest` must verify this evidence
//! correctly. If a later version of cosign behaves differently, the test prints a message.

use lastmile_tests::say;
use serde_json::json;

use super::workshop::{REVIEW, SIGN, Verdict, Workshop, debian};

fn note(what: &str, cosign: &Verdict) {
    if cosign.is_err() {
        say(&format!("cosign now refuses {what}"));
    }
}

#[test]
fn a_statement_of_an_unknown_version_is_refused() {
    let Some(cosign) = debian("cosign") else { return };
    let workshop = Workshop::new();
    workshop.cosign(&cosign, &["generate-key-pair"]).unwrap();
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(workshop.read("app")));
    let statement = json!({
        "_type": "https://example.com/Statement/v9",
        "subject": [{ "name": "app", "digest": { "sha256": digest } }],
        "predicateType": SIGN,
        "predicate": {},
    });
    workshop.write("statement.json", statement.to_string().as_bytes());
    let sign = ["--key", "cosign.key", "--signing-config", "signing-config.json", "--bundle", "bundle.json"];
    workshop
        .cosign(&cosign, &[&["attest-blob", "--yes", "--statement", "statement.json"], &sign[..]].concat())
        .unwrap();
    note("a wrong `_type`", &workshop.cosign_verifies_statement(&cosign, "cosign.pub", "bundle.json", SIGN));
    let refusal = workshop.judge_signature("cosign.pub", "bundle.json").unwrap_err();
    assert!(refusal.contains("`_type` is"), "{refusal}");
}

#[test]
fn a_statement_of_another_kind_does_not_count_as_a_signature() {
    let Some(cosign) = debian("cosign") else { return };
    let workshop = Workshop::new();
    workshop.cosign(&cosign, &["generate-key-pair"]).unwrap();
    workshop.cosign_signs_statement(&cosign, "cosign.key", "bundle.json", REVIEW);
    note("a statement as a signature", &workshop.cosign_verifies_file(&cosign, "cosign.pub", "bundle.json"));
    let refusal = workshop.judge_signature("cosign.pub", "bundle.json").unwrap_err();
    assert!(refusal.contains(&format!("the statement type is {REVIEW}")), "{refusal}");
}

/// cosign 3.1 signs statements with P-384 and SHA-384, as Sigstore's registry of algorithms requires, but verifies them
/// with SHA-256.
#[test]
fn a_statement_by_a_p384_key_is_accepted() {
    let Some(cosign) = debian("cosign") else { return };
    let workshop = Workshop::new();
    workshop.openssl_key("p384", &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    workshop.cosign(&cosign, &["import-key-pair", "--key", "p384.pem", "--output-key-prefix", "cosign"]).unwrap();
    workshop.cosign_signs_statement(&cosign, "cosign.key", "bundle.json", REVIEW);
    if workshop.cosign_verifies_statement(&cosign, "cosign.pub", "bundle.json", REVIEW).is_ok() {
        say("cosign now accepts its own statements that are signed with P-384 keys");
    }
    assert_eq!(workshop.judge_statement("p384.pub", "bundle.json", REVIEW), Ok(()));
}

/// Although the scheme of the key is Ed25519, cosign 3.1 signs with Ed25519ph (RFC 8032, 5.1). It then refuses its own
/// signatures.
#[test]
fn a_statement_signed_with_ed25519ph_is_refused_by_both() {
    let Some(cosign) = debian("cosign") else { return };
    let workshop = Workshop::new();
    workshop.openssl_key("ed25519", &["-algorithm", "ed25519"]);
    workshop.cosign(&cosign, &["import-key-pair", "--key", "ed25519.pem", "--output-key-prefix", "cosign"]).unwrap();
    workshop.cosign_signs_statement(&cosign, "cosign.key", "bundle.json", REVIEW);
    if workshop.cosign_verifies_statement(&cosign, "cosign.pub", "bundle.json", REVIEW).is_ok() {
        say("cosign now accepts its own statements that are signed with Ed25519 keys");
        return;
    }
    let refusal = workshop.judge_statement("ed25519.pub", "bundle.json", REVIEW).unwrap_err();
    assert!(refusal.contains("the signature is not valid for this key"), "{refusal}");
}
