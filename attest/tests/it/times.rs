//! Attacks on signing times. Some tests check that verification uses the start time of the update, not the system
//! clock.

use lastmile_attest::{Evidence, LogDemand, Rejection, Signed, Trust, TrustDemands};
use lastmile_keys::{Scheme, Signer as _};
use serde_json::{Value, json};

use crate::fixtures::*;
use crate::generated::{self, FILE, Log, Promise, RECORDED, body, bundle, key, message_signature};

fn at(evidence: &[u8], digest: &str, now: &str) -> Result<Signed, Rejection> {
    let root = root(PUBLIC_ROOT);
    let trust = Trust { root: &root, demands: TrustDemands::default() };
    Evidence::parse(evidence).unwrap().items()[0].verify_identity(&artifact(digest), &trust, time(now))
}

#[test]
fn c_3_a_missing_or_forged_inclusion_promise_is_refused() {
    let missing = with_entry(CUSTOM_ISSUER, |entry| drop(entry.as_object_mut().unwrap().remove("inclusionPromise")));
    let rejection = rejected(&missing, CUSTOM_ISSUER_DIGEST, PUBLIC_ROOT);
    assert!(rejection.contains("the time of the signature is not trusted"), "{rejection}");
    let forged = with_entry(CUSTOM_ISSUER, |entry| flip_last(&mut entry["inclusionPromise"]["signedEntryTimestamp"]));
    let rejection = rejected(&forged, CUSTOM_ISSUER_DIGEST, PUBLIC_ROOT);
    assert!(rejection.contains("SET verification failed"), "{rejection}");
}

#[test]
fn c_3_a_changed_integrated_time_is_refused() {
    for time in ["1726082344", "1726082342", "4102444800"] {
        let changed = with_entry(CUSTOM_ISSUER, |entry| entry["integratedTime"] = time.into());
        let rejection = rejected(&changed, CUSTOM_ISSUER_DIGEST, PUBLIC_ROOT);
        assert!(rejection.contains("SET verification failed"), "{rejection}");
    }
    let absent = with_entry(CUSTOM_ISSUER, |entry| drop(entry.as_object_mut().unwrap().remove("integratedTime")));
    assert!(unreadable(&absent).contains("is absent, but `inclusionPromise` signs it"));
}

#[test]
fn c_3_a_time_after_the_update_is_refused() {
    // The signature was made at 19:19:03. The time on the system clock is later, so only the start time of the update
    // can cause the refusal.
    let rejection = at(CUSTOM_ISSUER, CUSTOM_ISSUER_DIGEST, "2024-09-11T19:19:02Z").unwrap_err();
    let signed = time("2024-09-11T19:19:03Z");
    assert_eq!(rejection, Rejection::Future { time: signed, now: time("2024-09-11T19:19:02Z") });
    assert!(at(CUSTOM_ISSUER, CUSTOM_ISSUER_DIGEST, "2024-09-11T19:19:03Z").is_ok());
}

#[test]
fn c_3_every_time_must_be_before_the_update() {
    // The bundle contains the authenticated times 18:36:42 and 18:36:43.
    assert!(at(TWO_TIMES, TWO_TIMES_DIGEST, "2025-12-03T18:36:43Z").is_ok());
    let rejection = at(TWO_TIMES, TWO_TIMES_DIGEST, "2025-12-03T18:36:42Z").unwrap_err();
    assert!(matches!(rejection, Rejection::Future { .. }), "{rejection}");
}

#[test]
fn c_4_rekor_v2_without_a_timestamp_is_refused() {
    let missing = changed(REKOR_V2_FILE, |bundle| {
        bundle["verificationMaterial"].as_object_mut().unwrap().remove("timestampVerificationData");
    });
    let rejection = rejected(&missing, REKOR_V2_FILE_DIGEST, STAGING_ROOT);
    assert!(rejection.contains("the time of the signature is not trusted"), "{rejection}");
    // The time in an entry of Rekor v2 is not signed, so it must not be used.
    let unsigned = changed(&missing, |bundle| {
        bundle["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = "1749470258".into();
    });
    let rejection = rejected(&unsigned, REKOR_V2_FILE_DIGEST, STAGING_ROOT);
    assert!(rejection.contains("the time of the signature is not trusted"), "{rejection}");
}

#[test]
fn c_4_a_timestamp_over_other_bytes_is_refused() {
    let other: Value = serde_json::from_slice(REKOR_V2_STATEMENT).unwrap();
    let swapped = changed(REKOR_V2_FILE, |bundle| {
        bundle["verificationMaterial"]["timestampVerificationData"] =
            other["verificationMaterial"]["timestampVerificationData"].clone();
    });
    let rejection = rejected(&swapped, REKOR_V2_FILE_DIGEST, STAGING_ROOT);
    assert!(rejection.contains("the time of the signature is not trusted"), "{rejection}");
}

#[test]
fn c_4_a_timestamp_of_an_unknown_authority_is_refused() {
    // The policy requires only one time, and the time that the log signed is valid. However, every timestamp in the
    // bundle must be valid.
    let no_authority = changed(PUBLIC_ROOT, |root| root["timestampAuthorities"] = json!([]));
    let rejection = rejected(TWO_TIMES, TWO_TIMES_DIGEST, &no_authority);
    assert!(rejection.contains("the time of the signature is not trusted"), "{rejection}");
}

#[test]
fn c_4_a_timestamp_outside_the_validity_of_its_authority_is_refused() {
    let expired = changed(PUBLIC_ROOT, |root| {
        root["timestampAuthorities"][0]["validFor"]["end"] = "2025-12-03T18:36:41Z".into();
    });
    let rejection = rejected(TWO_TIMES, TWO_TIMES_DIGEST, &expired);
    assert!(rejection.contains("outside the validity period of the authority"), "{rejection}");
}

#[test]
fn c_5_an_authority_that_was_not_valid_is_refused() {
    let expired = changed(PUBLIC_ROOT, |root| {
        for authority in root["certificateAuthorities"].as_array_mut().unwrap() {
            authority["validFor"]["end"] = "2024-09-11T19:19:02Z".into();
        }
    });
    let rejection = rejected(CUSTOM_ISSUER, CUSTOM_ISSUER_DIGEST, &expired);
    assert!(rejection.contains("no trusted certificate authority is valid"), "{rejection}");
}

#[test]
fn c_5_a_certificate_that_was_not_valid_is_refused() {
    // The log recorded this entry months after the certificate had expired.
    let other: Value = serde_json::from_slice(PYPI_ATTESTATION).unwrap();
    let entry = other["verification_material"]["transparency_entries"][0].clone();
    let rejection = rejected(&with_entry(CUSTOM_ISSUER, |own| *own = entry), CUSTOM_ISSUER_DIGEST, PUBLIC_ROOT);
    assert!(rejection.contains("certificate"), "{rejection}");
}

#[test]
fn c_7_one_source_of_time_counts_once() {
    let public = root(PUBLIC_ROOT);
    let demands = TrustDemands { times: 2, ..TrustDemands::default() };
    let rejection = verify_with(CUSTOM_ISSUER, CUSTOM_ISSUER_DIGEST, &public, demands).unwrap_err();
    assert_eq!(rejection, Rejection::TooFewTimes { found: 1, expected: 2 });
    let signed = verify_with(TWO_TIMES, TWO_TIMES_DIGEST, &public, demands).unwrap();
    assert_eq!(signed.times, [time("2025-12-03T18:36:42Z"), time("2025-12-03T18:36:43Z")]);
    let twice = changed(TWO_TIMES, |bundle| {
        let data = &mut bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"];
        let timestamps = data.as_array_mut().unwrap();
        timestamps.push(timestamps[0].clone());
    });
    assert!(unreadable(&twice).contains("the bundle contains a timestamp twice"));
}

#[test]
fn c_7_two_entries_of_one_log_count_as_one_source_of_time() {
    let log = Log::new(9);
    let key = key(Scheme::EcdsaP256, 1);
    let entries = log.record(&[&body(&key, ""), &body(&key, " ")], Promise::Signed);
    let bundle = bundle(message_signature(&key), &entries).to_string();
    let root = generated::root(&[&log]);
    let trust = Trust { root: &root, demands: TrustDemands { times: 2, ..TrustDemands::default() } };
    let evidence = Evidence::parse(bundle.as_bytes()).unwrap();
    let artifact = artifact(&generated::sha256(FILE));
    let rejection = evidence.items()[0].verify_key(&artifact, key.public_key(), Some(&trust), now()).unwrap_err();
    assert_eq!(rejection, Rejection::TooFewTimes { found: 1, expected: 2 });
}

#[test]
fn c_11_a_log_key_that_was_not_valid_is_refused() {
    let key = key(Scheme::EcdsaP256, 1);
    let first = Log::new(9);
    let mut second = Log::new(10);
    let body = body(&key, "");
    // The second log does not sign a time, so `sigstore-verify` does not check whether the key of this log was valid
    // when the signature was made.
    let entries = [first.record(&[&body], Promise::Signed), second.record(&[&body], Promise::Absent)].concat();
    let bundle = bundle(message_signature(&key), &entries).to_string();
    let evidence = Evidence::parse(bundle.as_bytes()).unwrap();
    let artifact = artifact(&generated::sha256(FILE));
    for (end, is_accepted) in [("2026-01-01T00:00:00Z", true), ("2025-12-31T23:59:59Z", false)] {
        second.valid_for = json!({ "start": "2020-01-01T00:00:00Z", "end": end });
        let root = generated::root(&[&first, &second]);
        let trust = Trust { root: &root, demands: TrustDemands::default() };
        let verified = evidence.items()[0].verify_key(&artifact, key.public_key(), Some(&trust), now());
        assert_eq!(verified.is_ok(), is_accepted, "{end}: {verified:?}");
    }
}

#[test]
fn c_6_the_time_of_a_signature_by_a_key_is_returned() {
    // `Demands::judge` needs the returned time: it compares this time with the validity period of the signer.
    let log = Log::new(9);
    let key = key(Scheme::EcdsaP256, 1);
    let bundle = bundle(message_signature(&key), &log.record(&[&body(&key, "")], Promise::Signed)).to_string();
    let evidence = Evidence::parse(bundle.as_bytes()).unwrap();
    let artifact = artifact(&generated::sha256(FILE));
    let root = generated::root(&[&log]);
    let trust = Trust { root: &root, demands: TrustDemands::default() };
    let verify = |now: &str| evidence.items()[0].verify_key(&artifact, key.public_key(), Some(&trust), time(now));
    assert_eq!(verify("2026-01-01T00:00:00Z").unwrap().times[0].timestamp(), RECORDED);
    assert!(matches!(verify("2025-12-31T23:59:59Z").unwrap_err(), Rejection::Future { .. }));
}

#[test]
fn c_4_a_private_instance_still_needs_a_timestamp() {
    let demands = TrustDemands { log: LogDemand::None, sct: lastmile_attest::SctDemand::None, logs: 1, times: 0 };
    let missing =
        changed(GITHUB_PRIVATE, |bundle| bundle["verificationMaterial"]["timestampVerificationData"] = json!({}));
    let rejection = verify_with(&missing, GITHUB_PRIVATE_DIGEST, &root(GITHUB_ROOT), demands).unwrap_err();
    assert!(matches!(rejection, Rejection::Invalid(_)), "{rejection}");
}
