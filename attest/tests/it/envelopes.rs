//! Attacks on envelopes and statements.

use lastmile_attest::{Evidence, Rejection, Signed};
use lastmile_keys::{PrivateKey, PublicKey, Scheme, Signer as _};
use serde_json::{Value, json};

use crate::fixtures::*;
use crate::generated::{FILE, base64, bundle, envelope, key, sha256, signed_bytes, statement};

fn ed25519() -> PrivateKey {
    key(Scheme::Ed25519, 1)
}

fn verify_json(evidence: &Value, key: &PublicKey) -> Result<Signed, Rejection> {
    let evidence = Evidence::parse(evidence.to_string().as_bytes()).unwrap();
    evidence.items()[0].verify_key(&artifact(&sha256(FILE)), key, None, now())
}

/// Applies `change` to a statement, and verifies an envelope with the result. The key [`ed25519`] signs the envelope.
fn with_statement(change: impl FnOnce(&mut Value)) -> Result<Signed, String> {
    let mut statement = statement();
    change(&mut statement);
    let key = ed25519();
    let json = envelope(statement.to_string().as_bytes(), &[&key]).to_string();
    let evidence = Evidence::parse(json.as_bytes()).map_err(|error| error.to_string())?;
    let verified = evidence.items()[0].verify_key(&artifact(&sha256(FILE)), key.public_key(), None, now());
    verified.map_err(|error| error.to_string())
}

#[track_caller]
fn statement_refused(error: &str, change: impl FnOnce(&mut Value)) {
    let found = with_statement(change).expect_err("the statement must be refused");
    assert!(found.contains(error), "{found}");
}

#[test]
fn c_18_another_payload_type_is_refused() {
    assert!(unreadable(TEXT_PAYLOAD).contains("`envelope.payloadType` is \"text/plain\""));
    let other = changed(CUSTOM_ISSUER, |bundle| {
        bundle["dsseEnvelope"]["payloadType"] = "application/vnd.in-toto+json; charset=utf-8".into();
    });
    assert!(unreadable(&other).contains("`envelope.payloadType` is"));
}

#[test]
fn c_18_a_signature_under_another_payload_type_is_refused() {
    let key = ed25519();
    let payload = statement().to_string();
    let mut envelope = envelope(payload.as_bytes(), &[]);
    for (payload_type, is_valid) in [("application/vnd.in-toto+json", true), ("text/plain", false), ("", false)] {
        let signature = key.sign(&signed_bytes(payload_type, payload.as_bytes())).unwrap();
        envelope["signatures"] = json!([{ "sig": base64(signature) }]);
        assert_eq!(verify_json(&envelope, key.public_key()).is_ok(), is_valid, "{payload_type}");
    }
    envelope["signatures"] = json!([{ "sig": base64(key.sign(payload.as_bytes()).unwrap()) }]);
    assert_eq!(verify_json(&envelope, key.public_key()).unwrap_err(), Rejection::Signature);
}

#[test]
fn c_18_a_payload_that_was_encoded_again_is_refused() {
    let reformatted = changed(CUSTOM_ISSUER, |bundle| {
        let payload = &mut bundle["dsseEnvelope"]["payload"];
        let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, payload.as_str().unwrap());
        let statement: Value = serde_json::from_slice(&decoded.unwrap()).unwrap();
        *payload = base64(serde_json::to_vec_pretty(&statement).unwrap()).into();
    });
    let rejection = rejected(&reformatted, CUSTOM_ISSUER_DIGEST, PUBLIC_ROOT);
    assert!(rejection.contains("the signature is not valid"), "{rejection}");
}

#[test]
fn a_changed_signature_by_a_certificate_holder_is_refused() {
    let statement = changed(CUSTOM_ISSUER, |bundle| flip_last(&mut bundle["dsseEnvelope"]["signatures"][0]["sig"]));
    let rejection = rejected(&statement, CUSTOM_ISSUER_DIGEST, PUBLIC_ROOT);
    assert!(rejection.contains("the signature is not valid"), "{rejection}");
    let file = changed(FILE_V0_3, |bundle| flip_last(&mut bundle["messageSignature"]["signature"]));
    let rejection = rejected(&file, FILE_V0_3_DIGEST, STAGING_ROOT);
    assert!(rejection.contains("the signature is not valid"), "{rejection}");
}

#[test]
fn c_19_other_kinds_of_in_toto_metadata_are_refused() {
    for kind in ["link", "layout", "https://in-toto.io/Statement/v2", "https://in-toto.io/Statement/v1 ", ""] {
        statement_refused("`_type` is", |statement| statement["_type"] = kind.into());
    }
    statement_refused("`_type` is not a string", |statement| drop(statement.as_object_mut().unwrap().remove("_type")));
    assert!(with_statement(|statement| statement["_type"] = "https://in-toto.io/Statement/v0.1".into()).is_ok());
    let metablock = json!({ "signed": statement(), "signatures": [] });
    assert!(unreadable(metablock.to_string().as_bytes()).contains("in-toto metadata without an envelope"));
}

#[test]
fn c_21_a_payload_that_is_not_a_statement_is_refused() {
    for payload in ["{", "[]", "null", "{}", "{\"_type\":1,\"_type\":2}", "\u{feff}{}"] {
        let evidence = envelope(payload.as_bytes(), &[&ed25519()]).to_string();
        assert!(unreadable(evidence.as_bytes()).starts_with("line 1: "), "{payload}");
    }
}

#[test]
fn c_21_one_unreadable_line_makes_the_file_unreadable() {
    let good = envelope(statement().to_string().as_bytes(), &[&ed25519()]).to_string();
    assert_eq!(Evidence::parse(format!("{good}\n{good}\n").as_bytes()).unwrap().items().len(), 2);
    for (lines, error) in [
        (format!("{good}\n{{\n{good}\n"), "line 2: "),
        (format!("{good}\n{good}\n\n"), "line 3: "),
        (format!("{good}\nAAAA\n"), "line 2: "),
        (format!("{good}\n{good} {good}\n"), "line 2: "),
        (format!("{good}\n{{\"some\":\"object\"}}\n"), "line 2: the object is not a Sigstore bundle"),
        (format!("{{}}\n{good}\n"), "line 1: "),
    ] {
        let found = unreadable(lines.as_bytes());
        assert!(found.starts_with(error), "{found}");
    }
}

#[test]
fn c_22_every_digest_of_the_subject_must_match_the_file() {
    let sha512 = "11".repeat(64);
    let other = "22".repeat(64);
    let key = ed25519();
    let mut statement = statement();
    statement["subject"][0]["digest"]["sha512"] = sha512.clone().into();
    let json = envelope(statement.to_string().as_bytes(), &[&key]).to_string();
    let evidence = Evidence::parse(json.as_bytes()).unwrap();
    let verify = |artifact| evidence.items()[0].verify_key(&artifact, key.public_key(), None, now());
    assert!(verify(artifact_of(&[&sha256(FILE), &sha512])).is_ok());
    assert!(verify(artifact_of(&[&sha256(FILE)])).is_ok());
    let rejection = verify(artifact_of(&[&sha256(FILE), &other])).unwrap_err();
    assert_eq!(rejection.to_string(), "a subject has a digest that matches the file, and another digest that does not");
}

#[test]
fn c_22_the_signature_of_a_certificate_does_not_count_for_a_file_with_another_digest() {
    let root = root(PUBLIC_ROOT);
    let trust = lastmile_attest::Trust { root: &root, demands: lastmile_attest::TrustDemands::default() };
    let evidence = Evidence::parse(NPM_V0_1).unwrap();
    let verify = |digest: &str| evidence.items()[0].verify_identity(&artifact(digest), &trust, now());
    assert!(verify(NPM_DIGEST).is_ok());
    assert!(matches!(verify(&"33".repeat(64)).unwrap_err(), Rejection::Statement(_)));
    let file = Evidence::parse(FILE_V0_3).unwrap();
    let rejection = file.items()[0].verify_identity(&artifact(&"33".repeat(32)), &trust, now()).unwrap_err();
    assert_eq!(rejection, Rejection::OtherFile);
    let rejection = file.items()[0].verify_identity(&artifact(&"33".repeat(64)), &trust, now()).unwrap_err();
    assert_eq!(rejection, Rejection::UnlistedDigest("sha256".to_owned()));
}

#[test]
fn c_22_the_file_is_found_among_many_subjects() {
    let other = |number: usize| json!({ "name": "x", "digest": { "sha256": format!("{number:064x}") } });
    let own = statement()["subject"][0].clone();
    let subjects = |number: usize| (0..number).map(other).chain([own.clone()]).collect::<Vec<_>>();
    assert!(with_statement(|statement| statement["subject"] = subjects(2_000).into()).is_ok());
    assert!(with_statement(|statement| statement["subject"] = subjects(9_999).into()).is_ok());
    statement_refused("10001 subjects", |statement| statement["subject"] = subjects(10_000).into());
    statement_refused("0 subjects", |statement| statement["subject"] = json!([]));
}

#[test]
fn c_22_weak_absent_and_malformed_digests_do_not_name_the_file() {
    let digest = |digest: Value| move |statement: &mut Value| statement["subject"][0]["digest"] = digest;
    statement_refused("no subject has", digest(json!({})));
    statement_refused("no subject has", digest(json!({ "sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709" })));
    statement_refused("no subject has", digest(json!({ "gitCommit": sha256(FILE) })));
    statement_refused("no subject has", digest(json!({ "SHA256": sha256(FILE) })));
    statement_refused("is not lower-case", digest(json!({ "sha256": sha256(FILE).to_uppercase() })));
    statement_refused("is not lower-case", digest(json!({ "sha256": &sha256(FILE)[..62] })));
    statement_refused("is not lower-case", digest(json!({ "sha256": "" })));
    statement_refused("a subject has no digests", digest(json!(null)));
}

#[test]
fn c_25_a_key_id_is_not_trusted() {
    let own = ed25519();
    let other = key(Scheme::Ed25519, 2);
    let mut envelope = envelope(statement().to_string().as_bytes(), &[&own]);
    for keyid in ["", "another", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"] {
        envelope["signatures"][0]["keyid"] = keyid.into();
        assert!(verify_json(&envelope, own.public_key()).is_ok());
        assert_eq!(verify_json(&envelope, other.public_key()).unwrap_err(), Rejection::Signature);
    }
    envelope["signatures"][0]["keyid"] = 1.into();
    assert!(unreadable(envelope.to_string().as_bytes()).contains("`envelope.signatures.keyid` is not a string"));
}

#[test]
fn c_25_each_key_is_found_among_the_signatures_of_an_envelope() {
    let keys = [ed25519(), key(Scheme::EcdsaP256, 2), key(Scheme::EcdsaP384, 3)];
    let signers: Vec<&PrivateKey> = keys.iter().collect();
    let envelope = envelope(statement().to_string().as_bytes(), &signers);
    for key in &keys {
        let signed = verify_json(&envelope, key.public_key()).unwrap();
        assert!(signed.times.is_empty() && signed.logs.is_empty());
    }
    let absent = verify_json(&envelope, key(Scheme::EcdsaP256, 4).public_key());
    assert_eq!(absent.unwrap_err(), Rejection::Signature);
}

#[test]
fn c_25_an_envelope_without_signatures_and_a_bundle_with_two_are_refused() {
    let payload = statement().to_string();
    let none = envelope(payload.as_bytes(), &[]);
    assert!(unreadable(none.to_string().as_bytes()).contains("`envelope.signatures` is empty"));
    let two = envelope(payload.as_bytes(), &[&ed25519(), &ed25519()]);
    let bundle = bundle(("dsseEnvelope", two), &[]);
    assert!(unreadable(bundle.to_string().as_bytes()).contains("has 2 signatures, expected 1"));
}

#[test]
fn an_envelope_may_use_the_url_safe_alphabet_but_a_bundle_may_not() {
    let key = ed25519();
    let mut statement = statement();
    // Choose a payload that standard base64 and URL-safe base64 encode differently.
    statement["predicate"] = json!("\u{3f}\u{3f}\u{3f}>>>");
    let mut envelope = envelope(statement.to_string().as_bytes(), &[&key]);
    for member in ["payload", "sig"] {
        let value = if member == "sig" { &mut envelope["signatures"][0]["sig"] } else { &mut envelope["payload"] };
        *value = value.as_str().unwrap().replace('+', "-").replace('/', "_").into();
    }
    assert!(verify_json(&envelope, key.public_key()).is_ok());
    assert!(envelope["payload"].as_str().unwrap().contains(['-', '_']));
    let bundle = bundle(("dsseEnvelope", envelope), &[]);
    assert!(unreadable(bundle.to_string().as_bytes()).contains("is not base64"));
}
