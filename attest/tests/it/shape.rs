//! Tests that malformed and ambiguous bundles are refused before `sigstore-verify` reads them.

use lastmile_attest::{Evidence, Trust, TrustDemands};
use serde_json::{Value, json};

use crate::fixtures::*;

/// The distance between two bytes that the test changes. Changing every byte would take more than a few seconds.
const STEP: usize = 61;

const V0_3: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

#[track_caller]
fn refused(bundle: &[u8], error: &str, change: impl FnOnce(&mut Value)) {
    let found = unreadable(&changed(bundle, change));
    assert!(found.contains(error), "{found}");
}

#[track_caller]
fn entry_refused(error: &str, change: impl FnOnce(&mut Value)) {
    let found = unreadable(&with_entry(CUSTOM_ISSUER, change));
    assert!(found.contains(error), "{found}");
}

#[test]
fn c_8_too_many_parts_are_refused() {
    let many = |part: &Value, number: usize| Value::Array(vec![part.clone(); number]);
    refused(CUSTOM_ISSUER, "has 9 elements, expected at most 8", |bundle| {
        let entries = &mut bundle["verificationMaterial"]["tlogEntries"];
        *entries = many(&entries[0], 9);
    });
    refused(REKOR_V2_FILE, "has 5 elements, expected at most 4", |bundle| {
        let data = &mut bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"];
        *data = many(&data[0], 5);
    });
    refused(FILE_V0_1, "has 9 elements, expected at most 8", |bundle| {
        let chain = &mut bundle["verificationMaterial"]["x509CertificateChain"]["certificates"];
        *chain = many(&chain[0], 9);
    });
    refused(CUSTOM_ISSUER, "has 17 elements, expected at most 16", |bundle| {
        let signatures = &mut bundle["dsseEnvelope"]["signatures"];
        *signatures = many(&signatures[0], 17);
    });
    entry_refused("has 65 elements, expected at most 64", |entry| {
        let hashes = &mut entry["inclusionProof"]["hashes"];
        *hashes = many(&hashes[0], 65);
    });
}

#[test]
fn c_8_too_long_parts_are_refused() {
    let long = |length: usize| Value::String(crate::generated::base64(vec![0; length]));
    refused(FILE_V0_3, "has 16385 bytes, expected at most 16384", |bundle| {
        bundle["verificationMaterial"]["certificate"]["rawBytes"] = long((16 << 10) + 1);
    });
    refused(FILE_V0_3, "has 1025 bytes, expected at most 1024", |bundle| {
        bundle["messageSignature"]["signature"] = long(1025);
    });
    refused(REKOR_V2_FILE, "has 32769 bytes, expected at most 32768", |bundle| {
        let data = &mut bundle["verificationMaterial"]["timestampVerificationData"];
        data["rfc3161Timestamps"][0]["signedTimestamp"] = long((32 << 10) + 1);
    });
    entry_refused("bytes, expected at most 16384", |entry| {
        entry["inclusionProof"]["checkpoint"]["envelope"] = "x".repeat((16 << 10) + 1).into();
    });
    let key = changed(KEY, |bundle| bundle["verificationMaterial"]["publicKey"]["hint"] = "x".repeat(1 << 20).into());
    assert!(unreadable(&key).contains("expected at most 1048576"));
}

#[test]
fn c_12_only_known_media_types_are_accepted() {
    for other in [
        "application/vnd.dev.sigstore.bundle.v0.4+json",
        "application/vnd.dev.sigstore.bundle+json;version=0.4",
        "application/vnd.dev.sigstore.bundle.v0.3+json ",
        "APPLICATION/VND.DEV.SIGSTORE.BUNDLE.V0.3+JSON",
        "",
    ] {
        refused(FILE_V0_3, "are not supported", |bundle| bundle["mediaType"] = other.into());
    }
    refused(FILE_V0_3, "`bundle` has no `mediaType`", |bundle| {
        bundle.as_object_mut().unwrap().remove("mediaType");
    });
    let alternative = changed(FILE_V0_3, |bundle| {
        bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.3".into();
    });
    assert!(verify(&alternative, FILE_V0_3_DIGEST, &root(STAGING_ROOT)).is_ok());
}

#[test]
fn c_12_two_contents_are_refused() {
    let error = "`messageSignature` or `dsseEnvelope`, but not both";
    let other: Value = serde_json::from_slice(CUSTOM_ISSUER).unwrap();
    refused(FILE_V0_3, error, |bundle| bundle["dsseEnvelope"] = other["dsseEnvelope"].clone());
    refused(FILE_V0_3, error, |bundle| drop(bundle.as_object_mut().unwrap().remove("messageSignature")));
    assert!(unreadable(MISSING_CERTIFICATE).contains(error));
}

#[test]
fn c_12_two_signers_are_refused() {
    let error = "`certificate` or `publicKey`, but not both";
    refused(FILE_V0_3, error, |bundle| bundle["verificationMaterial"]["publicKey"] = json!({ "hint": "x" }));
    refused(FILE_V0_3, error, |bundle| {
        bundle["verificationMaterial"].as_object_mut().unwrap().remove("certificate");
    });
}

#[test]
fn c_12_a_chain_in_v0_3_and_a_single_certificate_before_are_refused() {
    refused(FILE_V0_1, "unknown member \"x509CertificateChain\"", |bundle| bundle["mediaType"] = V0_3.into());
    refused(FILE_V0_3, "unknown member \"certificate\"", |bundle| {
        bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.2".into();
    });
    refused(FILE_V0_1, "`x509CertificateChain.certificates` is empty", |bundle| {
        bundle["verificationMaterial"]["x509CertificateChain"]["certificates"] = json!([]);
    });
}

#[test]
fn c_12_unknown_members_are_refused_at_every_level() {
    for pointer in [
        "",
        "/verificationMaterial",
        "/verificationMaterial/certificate",
        "/verificationMaterial/tlogEntries/0",
        "/verificationMaterial/tlogEntries/0/logId",
        "/verificationMaterial/tlogEntries/0/kindVersion",
        "/verificationMaterial/tlogEntries/0/inclusionPromise",
        "/verificationMaterial/tlogEntries/0/inclusionProof",
        "/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint",
        "/verificationMaterial/timestampVerificationData",
        "/dsseEnvelope",
        "/dsseEnvelope/signatures/0",
    ] {
        let error = "has the unknown member \"extra\"";
        refused(CUSTOM_ISSUER, error, |bundle| bundle.pointer_mut(pointer).unwrap()["extra"] = Value::Null);
    }
    for pointer in ["/messageSignature", "/messageSignature/messageDigest"] {
        refused(FILE_V0_3, "unknown member", |bundle| bundle.pointer_mut(pointer).unwrap()["extra"] = Value::Null);
    }
}

#[test]
fn c_12_a_kind_that_differs_from_the_body_is_refused() {
    let error = "differs from the kind and version in the body";
    entry_refused(error, |entry| entry["kindVersion"] = json!({ "kind": "hashedrekord", "version": "0.0.1" }));
    let version = with_entry(FILE_V0_3, |entry| entry["kindVersion"]["version"] = "0.0.2".into());
    assert!(unreadable(&version).contains(error));
    entry_refused("log entries of the kind dsse 0.0.2 are not supported", |entry| {
        entry["kindVersion"]["version"] = "0.0.2".into();
    });
    entry_refused("log entries of the kind rekord 0.0.1 are not supported", |entry| {
        entry["kindVersion"]["kind"] = "rekord".into();
    });
}

#[test]
fn c_12_integers_out_of_range_are_refused() {
    let expected = "expected a string with an integer from 0 to 2^63 - 1";
    for number in
        [json!("-1"), json!(1), json!("01"), json!("+1"), json!(""), json!("9223372036854775808"), json!(null)]
    {
        entry_refused(expected, |entry| entry["logIndex"] = number.clone());
        entry_refused(expected, |entry| entry["integratedTime"] = number.clone());
        entry_refused(expected, |entry| entry["inclusionProof"]["treeSize"] = number.clone());
    }
    entry_refused("but the tree has 0 entries", |entry| entry["inclusionProof"]["treeSize"] = "0".into());
    entry_refused("but the tree has 7696951 entries", |entry| entry["inclusionProof"]["treeSize"] = "7696951".into());
    entry_refused("differs from the size in the checkpoint", |entry| {
        entry["inclusionProof"]["treeSize"] = "7696954".into();
    });
}

#[test]
fn c_12_a_proof_without_a_checkpoint_and_an_entry_without_a_proof_are_refused() {
    assert!(unreadable(NO_CHECKPOINT).contains("`inclusionProof` has no `checkpoint`"));
    entry_refused("`tlogEntries` has no `inclusionProof`", |entry| {
        entry.as_object_mut().unwrap().remove("inclusionProof");
    });
}

#[test]
fn c_8_a_checkpoint_has_at_most_16_kib() {
    let with_checkpoint = |length: usize| {
        with_entry(FILE_V0_3, |entry| {
            let envelope = &mut entry["inclusionProof"]["checkpoint"]["envelope"];
            let text = envelope.as_str().unwrap();
            *envelope = format!("{text}{}", "x".repeat(length - text.len())).into();
        })
    };
    assert!(Evidence::parse(&with_checkpoint(16 << 10)).is_ok());
    let refused = unreadable(&with_checkpoint((16 << 10) + 1));
    assert!(refused.contains("a checkpoint has 16385 bytes, expected at most 16384"), "{refused}");
}

#[test]
fn c_12_rekor_v2_with_an_inclusion_promise_or_another_index_is_refused() {
    let promise =
        with_entry(REKOR_V2_FILE, |entry| entry["inclusionPromise"] = json!({ "signedEntryTimestamp": "AAAA" }));
    assert!(unreadable(&promise).contains("entries of Rekor v2 have none"));
    let index = with_entry(REKOR_V2_FILE, |entry| entry["logIndex"] = "1".into());
    assert!(unreadable(&index).contains("differs from the index of its inclusion proof"));
}

#[test]
fn c_16_a_certificate_for_another_kind_of_name_is_refused() {
    let demands = TrustDemands { sct: lastmile_attest::SctDemand::None, ..TrustDemands::default() };
    let rejection = verify_with(OTHERNAME, OTHERNAME_DIGEST, &root(OTHERNAME_ROOT), demands).unwrap_err();
    assert!(rejection.to_string().contains("is neither a URI nor an email address"), "{rejection}");
}

#[test]
fn c_23_json_that_two_parsers_could_read_differently_is_refused() {
    let text = String::from_utf8(changed(FILE_V0_3, |_| ())).unwrap();
    let twice = text.replacen("\"messageSignature\":", "\"messageSignature\":{},\"messageSignature\":", 1);
    assert!(unreadable(twice.as_bytes()).contains("two members are named"));
    let escaped = text.replacen("\"messageSignature\":", "\"messageSignatur\\u0065\":{},\"messageSignature\":", 1);
    assert!(unreadable(escaped.as_bytes()).contains("two members are named"));
    let mark = format!("\u{feff}{text}");
    assert_eq!(unreadable(mark.as_bytes()), "the evidence is neither JSON nor a signature in base64");
    let deep = text.replacen(":{", &format!(":{}", "[".repeat(100)), 1);
    assert!(unreadable(deep.as_bytes()).contains("nested"));
}

#[test]
fn c_23_base64_that_is_not_canonical_is_refused() {
    for text in ["AAAB\n", "AAB", "AAC=", "AA==AA==", "-_-_", "AAA=A"] {
        refused(FILE_V0_3, "is not base64", |bundle| bundle["messageSignature"]["signature"] = text.into());
    }
}

#[test]
fn a_trusted_root_that_cannot_be_used_is_refused() {
    let parse = |json: &[u8]| lastmile_attest::TrustRoot::parse(json).map(|_| ()).unwrap_err().to_string();
    assert!(parse(b"{").contains("is not strict JSON"));
    assert!(parse(b"{}").contains("are not supported"));
    let broken = changed(PUBLIC_ROOT, |root| root["tlogs"][0]["publicKey"]["rawBytes"] = "AAAA".into());
    assert!(parse(&broken).contains("the trusted root is invalid"));
    let config = changed(PUBLIC_ROOT, |root| {
        root["mediaType"] = "application/vnd.dev.sigstore.signingconfig.v0.2+json".into();
    });
    assert!(parse(&config).contains("are not supported"));
    let mut padded = PUBLIC_ROOT.to_vec();
    padded.resize(1 << 20, b' ');
    assert!(lastmile_attest::TrustRoot::parse(&padded).is_ok());
    padded.push(b' ');
    assert!(parse(&padded).contains("has 1048577 bytes, expected at most 1048576"));
}

#[test]
fn every_fixture_is_readable_or_refused_without_a_panic_when_it_is_truncated() {
    for fixture in [FILE_V0_3, CUSTOM_ISSUER, PYPI_ATTESTATION, PYPI_PROVENANCE, KEY] {
        for length in (0..fixture.len()).step_by(97) {
            assert!(Evidence::parse(&fixture[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn c_18_a_change_of_any_byte_is_refused() {
    // The test uses bundles without witness signatures and RFC 3161 timestamps, because some changes to these parts are
    // harmless and are not refused.
    for (evidence, digest, root) in [
        (CUSTOM_ISSUER, CUSTOM_ISSUER_DIGEST, PUBLIC_ROOT),
        (FILE_V0_1, FILE_V0_1_DIGEST, STAGING_ROOT),
        (PYPI_ATTESTATION, PYPI_ATTESTATION_DIGEST, PUBLIC_ROOT),
    ] {
        let root = crate::fixtures::root(root);
        let trust = Trust { root: &root, demands: TrustDemands::default() };
        let text = changed(evidence, |_| ());
        for index in (0..text.len()).step_by(STEP) {
            let mut changed = text.clone();
            changed[index] ^= 1;
            let Ok(evidence) = Evidence::parse(&changed) else { continue };
            let [item] = evidence.items() else { panic!("{index}") };
            let around = String::from_utf8_lossy(&text[index.saturating_sub(20)..index + 1]);
            assert!(item.verify_identity(&artifact(digest), &trust, now()).is_err(), "{index}: {around}");
        }
    }
}

#[test]
fn c_12_hashes_of_another_length_are_refused() {
    let short = || Value::String(crate::generated::base64([0; 31]));
    entry_refused("a hash of an inclusion proof is not 32 bytes", |entry| {
        entry["inclusionProof"]["hashes"][0] = short()
    });
    entry_refused("`inclusionProof.rootHash` is not 32 bytes long", |entry| {
        entry["inclusionProof"]["rootHash"] = short()
    });
    entry_refused("`tlogEntries.logId.keyId` is not 32 bytes long", |entry| entry["logId"]["keyId"] = short());
    refused(FILE_V0_3, "`messageSignature.signature` is empty", |bundle| {
        bundle["messageSignature"]["signature"] = "".into()
    });
    refused(FILE_V0_3, "does not have the length of a sha256 digest", |bundle| {
        bundle["messageSignature"]["messageDigest"]["digest"] = short()
    });
}
