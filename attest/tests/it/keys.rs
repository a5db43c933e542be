//! Tests of signatures made with keys: over statements and over files, with and without log entries.

use lastmile_attest::{Content, Evidence, LogDemand, Rejection, Signed, SignedBy, Trust, TrustDemands};
use lastmile_keys::{PublicKey, Scheme, Signer as _};
use lastmile_metadata::Algorithm;
use serde_json::json;
use sha2::{Digest as _, Sha256, Sha384};

use crate::fixtures::*;
use crate::generated::{
    self, FILE, Log, Promise, base64, body, bundle, envelope, key, message_signature, sha256, statement,
};

const NO_LOG: TrustDemands =
    TrustDemands { log: LogDemand::None, times: 0, logs: 1, sct: lastmile_attest::SctDemand::Required };

fn verify_key(evidence: &[u8], digest: &str, key: &PublicKey, trust: Option<&Trust<'_>>) -> Result<Signed, Rejection> {
    let evidence = Evidence::parse(evidence).unwrap();
    let [item] = evidence.items() else { panic!("{} items", evidence.items().len()) };
    item.verify_key(&artifact(digest), key, trust, now())
}

fn published_key() -> PublicKey {
    PublicKey::from_tuf("ecdsa", "ecdsa-sha2-nistp256", std::str::from_utf8(KEY_PEM).unwrap()).unwrap()
}

/// Verifies a bundle that contains a signature over a file, but no log entries.
fn verify_message(signature: &serde_json::Value, digests: &[&str], key: &PublicKey) -> Result<Signed, Rejection> {
    let bundle = bundle(("messageSignature", signature.clone()), &[]).to_string();
    Evidence::parse(bundle.as_bytes()).unwrap().items()[0].verify_key(&artifact_of(digests), key, None, now())
}

#[test]
fn a_real_bundle_signed_with_a_key_is_accepted_with_its_log_entry() {
    let root = root(PUBLIC_ROOT);
    let trust = Trust { root: &root, demands: TrustDemands::default() };
    let signed = verify_key(KEY, REKOR_V2_STATEMENT_DIGEST, &published_key(), Some(&trust)).unwrap();
    assert_eq!(signed.signer, SignedBy::Key(published_key()));
    // One of the two times is from the log, and the other is from a timestamp authority.
    assert_eq!((signed.times.len(), signed.logs.len()), (2, 1));
    let other = key(Scheme::EcdsaP256, 1);
    let rejection = verify_key(KEY, REKOR_V2_STATEMENT_DIGEST, other.public_key(), Some(&trust)).unwrap_err();
    assert_eq!(rejection.to_string(), "the signature is not valid for this key");
}

#[test]
fn without_a_trusted_root_a_bundle_signed_with_a_key_has_neither_logs_nor_times() {
    let signed = verify_key(KEY, REKOR_V2_STATEMENT_DIGEST, &published_key(), None).unwrap();
    assert!(signed.logs.is_empty() && signed.times.is_empty());
    // Without a trust root, the log entry cannot be verified. It is ignored, even if it is forged.
    let forged = with_entry(KEY, |entry| flip_last(&mut entry["inclusionPromise"]["signedEntryTimestamp"]));
    assert!(verify_key(&forged, REKOR_V2_STATEMENT_DIGEST, &published_key(), None).is_ok());
    let root = root(PUBLIC_ROOT);
    let trust = Trust { root: &root, demands: TrustDemands::default() };
    let rejection = verify_key(&forged, REKOR_V2_STATEMENT_DIGEST, &published_key(), Some(&trust)).unwrap_err();
    assert!(rejection.to_string().contains("SET verification failed"), "{rejection}");
}

#[test]
fn a_key_whose_policy_demands_a_log_needs_a_log_entry() {
    let key = key(Scheme::EcdsaP256, 1);
    let root = generated::root(&[&Log::new(9)]);
    let expected = Rejection::TooFewLogs { found: 0, expected: 1 };
    for evidence in [
        bundle(message_signature(&key), &[]).to_string(),
        envelope(statement().to_string().as_bytes(), &[&key]).to_string(),
        base64(key.sign(FILE).unwrap()),
    ] {
        let trust = Trust { root: &root, demands: TrustDemands::default() };
        let rejection = verify_key(evidence.as_bytes(), &sha256(FILE), key.public_key(), Some(&trust)).unwrap_err();
        assert_eq!(rejection, expected);
        let times = TrustDemands { times: 1, ..NO_LOG };
        let trust = Trust { root: &root, demands: times };
        let rejection = verify_key(evidence.as_bytes(), &sha256(FILE), key.public_key(), Some(&trust)).unwrap_err();
        assert_eq!(rejection, Rejection::TooFewTimes { found: 0, expected: 1 });
        let trust = Trust { root: &root, demands: NO_LOG };
        assert!(verify_key(evidence.as_bytes(), &sha256(FILE), key.public_key(), Some(&trust)).is_ok());
    }
}

#[test]
fn an_entry_without_a_signed_time_authenticates_no_time() {
    let log = Log::new(9);
    let key = key(Scheme::EcdsaP256, 1);
    let entries = log.record(&[&body(&key, "")], Promise::Absent);
    let bundle = bundle(message_signature(&key), &entries).to_string();
    let root = generated::root(&[&log]);
    let verify = |times| {
        let trust = Trust { root: &root, demands: TrustDemands { times, ..TrustDemands::default() } };
        verify_key(bundle.as_bytes(), &sha256(FILE), key.public_key(), Some(&trust))
    };
    assert!(verify(0).unwrap().times.is_empty());
    assert_eq!(verify(1).unwrap_err(), Rejection::TooFewTimes { found: 0, expected: 1 });
}

#[test]
fn a_certificate_does_not_count_as_a_key_and_a_key_does_not_count_as_an_identity() {
    let key = key(Scheme::EcdsaP256, 1);
    let root = root(PUBLIC_ROOT);
    let trust = Trust { root: &root, demands: TrustDemands::default() };
    assert_eq!(
        verify_key(CUSTOM_ISSUER, CUSTOM_ISSUER_DIGEST, key.public_key(), None).unwrap_err(),
        Rejection::Certificate
    );
    assert_eq!(
        verify_key(CUSTOM_ISSUER, CUSTOM_ISSUER_DIGEST, key.public_key(), Some(&trust)).unwrap_err(),
        Rejection::Certificate
    );
    for evidence in [
        KEY.to_vec(),
        bundle(message_signature(&key), &[]).to_string().into_bytes(),
        envelope(statement().to_string().as_bytes(), &[&key]).to_string().into_bytes(),
        base64(key.sign(FILE).unwrap()).into_bytes(),
    ] {
        assert_eq!(verify(&evidence, &sha256(FILE), &root).unwrap_err(), Rejection::NoCertificate);
    }
}

#[test]
fn a_cosign_signature_over_a_file_is_accepted() {
    let key = key(Scheme::EcdsaP256, 1);
    let signature = base64(key.sign(FILE).unwrap());
    for evidence in [signature.clone(), format!("{signature}\n")] {
        let signed = verify_key(evidence.as_bytes(), &sha256(FILE), key.public_key(), None).unwrap();
        assert!(matches!(signed.content, Content::File));
    }
    let rejection = verify_key(signature.as_bytes(), &sha256(b"other"), key.public_key(), None).unwrap_err();
    assert_eq!(rejection, Rejection::Signature);
}

#[test]
fn p_384_signs_the_sha384_of_a_file_and_the_metadata_must_list_it() {
    let key = key(Scheme::EcdsaP384, 1);
    let sha384 = hex::encode(Sha384::digest(FILE));
    let digest = json!({ "algorithm": "SHA2_384", "digest": base64(Sha384::digest(FILE)) });
    let signature = base64(key.sign(FILE).unwrap());
    let with_digest = json!({ "messageDigest": digest, "signature": signature });
    let without = json!({ "signature": signature });
    for message in [&with_digest, &without] {
        assert!(verify_message(message, &[&sha384], key.public_key()).is_ok());
        assert!(verify_message(message, &[&sha256(FILE), &sha384], key.public_key()).is_ok());
    }
    let rejection = verify_message(&without, &["00".repeat(64).as_str()], key.public_key()).unwrap_err();
    assert_eq!(rejection, Rejection::UnlistedDigest("sha384 or sha256".to_owned()));
    let rejection = verify_message(&with_digest, &[&sha256(FILE)], key.public_key()).unwrap_err();
    assert_eq!(rejection, Rejection::UnlistedDigest(Algorithm::Sha384.name().to_owned()));
    assert!(rejection.to_string().contains("a digest that the metadata does not list: sha384"));
}

#[test]
fn a_p_384_signature_over_a_file_is_refused_in_a_log_with_the_reason() {
    let log = Log::new(9);
    let key = key(Scheme::EcdsaP384, 1);
    let entries = log.record(&[&body(&key, "")], Promise::Signed);
    let digest = json!({ "algorithm": "SHA2_384", "digest": base64(Sha384::digest(FILE)) });
    let signature = json!({ "messageDigest": digest, "signature": base64(key.sign(FILE).unwrap()) });
    let bundle = bundle(("messageSignature", signature), &entries).to_string();
    let root = generated::root(&[&log]);
    let trust = Trust { root: &root, demands: TrustDemands::default() };
    let artifact = artifact_of(&[&sha256(FILE), &hex::encode(Sha384::digest(FILE))]);
    let evidence = Evidence::parse(bundle.as_bytes()).unwrap();
    let rejection = evidence.items()[0].verify_key(&artifact, key.public_key(), Some(&trust), now()).unwrap_err();
    assert!(rejection.to_string().contains("the sha256 of a file, not over its sha384"), "{rejection}");
}

#[test]
fn an_ed25519_signature_over_a_file_is_refused_with_advice_but_over_a_statement_it_is_accepted() {
    let key = key(Scheme::Ed25519, 1);
    let signature = base64(key.sign(FILE).unwrap());
    let rejection = verify_key(signature.as_bytes(), &sha256(FILE), key.public_key(), None).unwrap_err();
    assert!(rejection.to_string().contains("sign a statement instead"), "{rejection}");
    let statement = envelope(statement().to_string().as_bytes(), &[&key]).to_string();
    assert!(verify_key(statement.as_bytes(), &sha256(FILE), key.public_key(), None).is_ok());
}

#[test]
fn the_digest_in_a_bundle_must_match_the_file_and_the_signature() {
    let key = key(Scheme::EcdsaP256, 1);
    let signature = base64(key.sign(FILE).unwrap());
    let message = |algorithm: &str, digest: Vec<u8>| json!({ "messageDigest": { "algorithm": algorithm, "digest": base64(digest) }, "signature": signature });
    let other = message("SHA2_256", Sha256::digest(b"other").to_vec());
    assert_eq!(verify_message(&other, &[&sha256(FILE)], key.public_key()).unwrap_err(), Rejection::OtherFile);
    // A P-256 key signs only SHA-256 digests, so a SHA-384 digest is refused even if the metadata lists it.
    let sha384 = message("SHA2_384", Sha384::digest(FILE).to_vec());
    let listed = [&sha256(FILE)[..], &hex::encode(Sha384::digest(FILE))];
    assert!(matches!(verify_message(&sha384, &listed, key.public_key()).unwrap_err(), Rejection::Unsupported(_)));
}

#[test]
fn a_statement_signed_with_a_key_and_recorded_in_a_log_is_accepted() {
    let log = Log::new(9);
    let key = key(Scheme::EcdsaP256, 1);
    let payload = statement().to_string();
    let envelope = envelope(payload.as_bytes(), &[&key]);
    let signature = &envelope["signatures"][0]["sig"];
    let spec = json!({
        "envelopeHash": { "algorithm": "sha256", "value": sha256(b"not compared") },
        "payloadHash": { "algorithm": "sha256", "value": sha256(payload.as_bytes()) },
        "signatures": [{ "signature": signature, "verifier": base64(key.public_key().public()) }],
    });
    let body = json!({ "apiVersion": "0.0.1", "kind": "dsse", "spec": spec }).to_string();
    let mut entries = log.record(&[&body], Promise::Signed);
    entries[0]["kindVersion"]["kind"] = "dsse".into();
    let bundle = bundle(("dsseEnvelope", envelope), &entries).to_string();
    let root = generated::root(&[&log]);
    let trust = Trust { root: &root, demands: TrustDemands::default() };
    let signed = verify_key(bundle.as_bytes(), &sha256(FILE), key.public_key(), Some(&trust)).unwrap();
    assert!(matches!(signed.content, Content::Statement(_)));
    assert_eq!((signed.times.len(), signed.logs.len()), (1, 1));
    let other = generated::key(Scheme::EcdsaP256, 2);
    let rejection = verify_key(bundle.as_bytes(), &sha256(FILE), other.public_key(), Some(&trust)).unwrap_err();
    assert_eq!(rejection, Rejection::Signature);
}

#[test]
fn c_10_entries_for_a_key_are_verified_even_if_no_log_is_demanded() {
    let root = root(PUBLIC_ROOT);
    let trust = Trust { root: &root, demands: NO_LOG };
    assert!(verify_key(KEY, REKOR_V2_STATEMENT_DIGEST, &published_key(), Some(&trust)).is_ok());
    // If the entries were not verified, an attacker could change the time in an entry.
    let forged = with_entry(KEY, |entry| flip_last(&mut entry["inclusionPromise"]["signedEntryTimestamp"]));
    let rejection = verify_key(&forged, REKOR_V2_STATEMENT_DIGEST, &published_key(), Some(&trust)).unwrap_err();
    assert!(rejection.to_string().contains("SET verification failed"), "{rejection}");
    let forged = with_entry(KEY, |entry| flip(&mut entry["inclusionProof"]["hashes"][3]));
    let rejection = verify_key(&forged, REKOR_V2_STATEMENT_DIGEST, &published_key(), Some(&trust)).unwrap_err();
    assert!(rejection.to_string().contains("inclusion proof"), "{rejection}");
}

#[test]
fn a_timestamp_without_a_log_entry_authenticates_a_time() {
    let no_entries = changed(KEY, |bundle| bundle["verificationMaterial"]["tlogEntries"] = json!([]));
    let root = root(PUBLIC_ROOT);
    let trust = Trust { root: &root, demands: TrustDemands { times: 1, ..NO_LOG } };
    let signed = verify_key(&no_entries, REKOR_V2_STATEMENT_DIGEST, &published_key(), Some(&trust)).unwrap();
    assert_eq!((signed.times.len(), signed.logs.len()), (1, 0));
    let log = Trust { root: &root, demands: TrustDemands::default() };
    let rejection = verify_key(&no_entries, REKOR_V2_STATEMENT_DIGEST, &published_key(), Some(&log)).unwrap_err();
    assert_eq!(rejection, Rejection::TooFewLogs { found: 0, expected: 1 });
}
