//! Tests that `lastmile-attest` accepts signatures and attestations that cosign creates with a key.

use serde_json::{Value, json};

use super::workshop::{REVIEW, Workshop, debian, flip};

#[test]
fn a_signature_of_cosign_is_accepted_until_a_byte_changes() {
    let Some(cosign) = debian("cosign") else { return };
    let workshop = Workshop::new();
    workshop.cosign(&cosign, &["generate-key-pair"]).unwrap();
    workshop.cosign_signs_file(&cosign, "cosign.key", "bundle.json");
    assert_eq!(workshop.judge_signature("cosign.pub", "bundle.json"), Ok(()));
    let original = workshop.read("bundle.json");
    for member in ["/messageSignature/signature", "/messageSignature/messageDigest/digest"] {
        workshop.edit("bundle.json", |bundle| flip(bundle.pointer_mut(member).unwrap()));
        assert!(workshop.judge_signature("cosign.pub", "bundle.json").is_err(), "{member}");
        workshop.write("bundle.json", &original);
    }
    workshop.damage("app", 3);
    assert!(workshop.judge_signature("cosign.pub", "bundle.json").is_err());
}

#[test]
fn a_statement_of_cosign_is_accepted_as_what_it_is() {
    let Some(cosign) = debian("cosign") else { return };
    let workshop = Workshop::new();
    workshop.cosign(&cosign, &["generate-key-pair"]).unwrap();
    workshop.cosign_signs_statement(&cosign, "cosign.key", "bundle.json", REVIEW);
    assert_eq!(workshop.judge_statement("cosign.pub", "bundle.json", REVIEW), Ok(()));
    // A policy that requires another type of statement is not satisfied.
    assert!(workshop.judge_statement("cosign.pub", "bundle.json", "https://example.com/other").is_err());
    let original = workshop.read("bundle.json");
    for member in ["/dsseEnvelope/payload", "/dsseEnvelope/signatures/0/sig"] {
        workshop.edit("bundle.json", |bundle| flip(bundle.pointer_mut(member).unwrap()));
        assert!(workshop.judge_statement("cosign.pub", "bundle.json", REVIEW).is_err(), "{member}");
        workshop.write("bundle.json", &original);
    }
    workshop.damage("app", 3);
    assert!(workshop.judge_statement("cosign.pub", "bundle.json", REVIEW).is_err());
}

#[test]
fn a_signature_file_of_older_versions_is_accepted_until_a_byte_changes() {
    let Some(cosign) = debian("cosign") else { return };
    let workshop = Workshop::new();
    workshop.cosign(&cosign, &["generate-key-pair"]).unwrap();
    let old = ["--use-signing-config=false", "--new-bundle-format=false", "--tlog-upload=false"];
    let sign = ["sign-blob", "--yes", "--key", "cosign.key", "--output-signature", "app.sig", "app"];
    workshop.cosign(&cosign, &[&sign[..], &old[..]].concat()).unwrap();
    assert_eq!(workshop.judge_signature("cosign.pub", "app.sig"), Ok(()));
    let original = workshop.read("app.sig");
    workshop.damage("app.sig", 20);
    assert!(workshop.judge_signature("cosign.pub", "app.sig").is_err());
    workshop.write("app.sig", &original);
    workshop.damage("app", 3);
    assert!(workshop.judge_signature("cosign.pub", "app.sig").is_err());
}

#[test]
fn bundles_of_both_programs_are_lines_of_one_file() {
    let Some(cosign) = debian("cosign") else { return };
    let workshop = Workshop::new();
    workshop.cosign(&cosign, &["generate-key-pair"]).unwrap();
    workshop.cosign_signs_statement(&cosign, "cosign.key", "app.intoto.jsonl", REVIEW);
    workshop.openssl_key("ed25519", &["-algorithm", "ed25519"]);
    workshop.attest("ed25519.pem", &[]);
    assert_eq!(workshop.judge_statement("cosign.pub", "app.intoto.jsonl", REVIEW), Ok(()));
    assert_eq!(workshop.judge_signature("ed25519.pub", "app.intoto.jsonl"), Ok(()));
}

#[test]
fn both_refuse_members_that_contradict_each_other_or_the_file() {
    let Some(cosign) = debian("cosign") else { return };
    let workshop = Workshop::new();
    workshop.cosign(&cosign, &["generate-key-pair"]).unwrap();
    workshop.cosign_signs_file(&cosign, "cosign.key", "bundle.json");
    let original = workshop.read("bundle.json");
    let other_digest = |bundle: &mut Value| {
        bundle["messageSignature"]["messageDigest"]["digest"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into();
    };
    let both_contents = |bundle: &mut Value| {
        bundle["dsseEnvelope"] = json!({ "payload": "e30=", "payloadType": "text/plain", "signatures": [] });
    };
    for change in [other_digest, both_contents] {
        workshop.write("bundle.json", &original);
        workshop.edit("bundle.json", change);
        assert!(workshop.cosign_verifies_file(&cosign, "cosign.pub", "bundle.json").is_err());
        assert!(workshop.judge_signature("cosign.pub", "bundle.json").is_err());
    }
}
