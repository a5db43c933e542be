//! Tests of the limits and formats of evidence files.

use lastmile_attest::Evidence;
use lastmile_keys::Scheme;
use serde_json::json;

use crate::fixtures::*;
use crate::generated::{base64, envelope, key, statement};

fn line() -> String {
    envelope(statement().to_string().as_bytes(), &[&key(Scheme::Ed25519, 1)]).to_string()
}

#[test]
fn c_8_a_long_file_and_many_lines_are_refused() {
    let long = vec![b' '; (4 << 20) + 1];
    assert_eq!(unreadable(&long), "the evidence has 4194305 bytes, expected at most 4194304");
    let mut longest = line().into_bytes();
    longest.resize(4 << 20, b' ');
    assert_eq!(Evidence::parse(&longest).unwrap().items().len(), 1);
    let lines = |number: usize| vec![line(); number].join("\n");
    assert_eq!(Evidence::parse(lines(256).as_bytes()).unwrap().items().len(), 256);
    assert_eq!(unreadable(lines(257).as_bytes()), "the evidence has more than 256 items");
}

#[test]
fn c_8_many_items_in_few_lines_are_refused() {
    let provenance = changed(PYPI_PROVENANCE, |provenance| {
        let attestations = &mut provenance["attestation_bundles"][0]["attestations"];
        *attestations = vec![attestations[0].clone(); 64].into();
    });
    assert_eq!(Evidence::parse(&provenance).unwrap().items().len(), 64);
    let lines = vec![provenance; 5].join(&b'\n');
    assert_eq!(unreadable(&lines), "the evidence has more than 256 items");
}

#[test]
fn c_8_a_bundle_has_at_most_1_mib_without_spaces() {
    let bundle = |length: usize| {
        let with_hint = |hint: &str| {
            format!(
                r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{{"signature":"{}"}},"verificationMaterial":{{"publicKey":{{"hint":"{hint}"}}}}}}"#,
                base64([0; 64])
            )
        };
        let hint = "x".repeat(length - with_hint("").len());
        with_hint(&hint).replacen('{', "{ ", 1)
    };
    assert_eq!(Evidence::parse(bundle(1 << 20).as_bytes()).unwrap().items().len(), 1);
    let refused = unreadable(bundle((1 << 20) + 1).as_bytes());
    assert!(refused.contains("the bundle has 1048577 bytes, expected at most 1048576"), "{refused}");
}

#[test]
fn the_subject_of_evidence_is_compared_without_verifying_a_signature() {
    let artifact = |content: &[u8]| artifact(&hex::encode(<sha2::Sha256 as sha2::Digest>::digest(content)));
    let read = |text: &str| Evidence::parse(text.as_bytes()).unwrap().items()[0].clone();
    let of = |digest: &[u8]| {
        format!(
            r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{{"messageDigest":{{"algorithm":"SHA2_256","digest":"{}"}},"signature":"{}"}},"verificationMaterial":{{"publicKey":{{"hint":"x"}}}}}}"#,
            base64(digest),
            base64([0; 64])
        )
    };
    let bundle = read(&of(&<sha2::Sha256 as sha2::Digest>::digest(b"app")));
    assert_eq!(bundle.check_subject(&artifact(b"app")), Ok(()));
    assert!(bundle.check_subject(&artifact(b"other")).is_err());
    assert!(read(&line()).check_subject(&artifact(b"other")).is_err());
    // The output of `cosign sign-blob` does not say which file it signs, so `check_subject` accepts it for any file.
    assert_eq!(read(&base64([0; 64])).check_subject(&artifact(b"other")), Ok(()));
}

#[test]
fn c_24_empty_evidence_is_refused() {
    for empty in ["", "\n", r#"{"attestations":[]}"#, r#"{"version":1,"attestation_bundles":[]}"#] {
        assert_eq!(unreadable(empty.as_bytes()), "the evidence has no items", "{empty:?}");
    }
}

#[test]
fn a_document_of_several_lines_is_read() {
    let value: serde_json::Value = serde_json::from_slice(CUSTOM_ISSUER).unwrap();
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    assert_eq!(Evidence::parse(pretty.as_bytes()).unwrap().items().len(), 1);
    let windows = pretty.replace('\n', "\r\n");
    assert_eq!(Evidence::parse(windows.as_bytes()).unwrap().items().len(), 1);
}

#[test]
fn other_formats_are_refused_by_name() {
    let cosign = json!({ "base64Signature": "", "cert": "", "rekorBundle": {} }).to_string();
    assert!(unreadable(cosign.as_bytes()).contains("bundles of cosign 1 and 2 are not supported"));
    let other = json!({ "spdxVersion": "SPDX-2.3" }).to_string();
    assert!(unreadable(other.as_bytes()).contains("is not a Sigstore bundle, DSSE envelope or attestation object"));
    for text in
        ["-----BEGIN PGP SIGNATURE-----", "[]", "AAAA", &base64([0; 1025]), "AAAAAAAAAAAAAAAA\nAAAAAAAAAAAAAAAA"]
    {
        assert_eq!(unreadable(text.as_bytes()), "the evidence is neither JSON nor a signature in base64", "{text}");
    }
}

#[test]
fn c_12_members_of_two_formats_are_refused() {
    let mixed = changed(CUSTOM_ISSUER, |bundle| bundle["payloadType"] = "application/vnd.in-toto+json".into());
    assert!(unreadable(&mixed).contains("unknown member \"payloadType\""));
    let mixed = changed(PYPI_ATTESTATION, |attestation| attestation["attestations"] = json!([]));
    assert!(unreadable(&mixed).contains("unknown member \"attestations\""));
}

#[test]
fn attestation_objects_of_another_version_are_refused() {
    for version in [json!(2), json!("1"), json!(1.0), json!(null)] {
        let other = changed(PYPI_ATTESTATION, |attestation| attestation["version"] = version);
        assert!(unreadable(&other).contains("`attestation.version` is"));
    }
    let two = changed(PYPI_PROVENANCE, |provenance| provenance["version"] = json!(2));
    assert!(unreadable(&two).contains("`provenance.version` is 2, expected 1"));
}

#[test]
fn one_unreadable_attestation_makes_a_provenance_object_unreadable() {
    let broken = changed(PYPI_PROVENANCE, |provenance| {
        let attestations = provenance["attestation_bundles"][0]["attestations"].as_array_mut().unwrap();
        let mut second = attestations[0].clone();
        second["envelope"]["statement"] = base64("{}").into();
        attestations.push(second);
    });
    assert!(unreadable(&broken).contains("`_type` is not a string"));
}
