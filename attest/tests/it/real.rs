//! Tests that real bundles of every kind are accepted, and that verification returns the facts that the bundles prove.

use lastmile_attest::{Claim, Content, Evidence, LogDemand, SctDemand, SignedBy, Subject, Trust, TrustDemands};

use crate::fixtures::*;

const REKOR_PUBLIC: &str = "c0d23d6ad406973f9559f3ba2d1ca01f84147d8ffc5b8445c224f98b9591801d";

#[test]
fn bundles_of_every_version_with_a_file_are_accepted() {
    let staging = root(STAGING_ROOT);
    let public = root(PUBLIC_ROOT);
    for (bundle, digest, root) in [
        (FILE_V0_1, FILE_V0_1_DIGEST, &staging),
        (FILE_V0_2, FILE_V0_2_DIGEST, &public),
        (FILE_V0_3, FILE_V0_3_DIGEST, &staging),
        (REKOR_V2_FILE, REKOR_V2_FILE_DIGEST, &staging),
    ] {
        let signed = verify(bundle, digest, root).unwrap();
        assert!(matches!(signed.content, Content::File));
        assert_eq!((signed.times.len(), signed.logs.len()), (1, 1));
    }
}

#[test]
fn bundles_with_a_statement_are_accepted() {
    let staging = root(STAGING_ROOT);
    let public = root(PUBLIC_ROOT);
    for (bundle, digest, root, predicate_type) in [
        (NPM_V0_1, NPM_DIGEST, &public, "https://slsa.dev/provenance/v1"),
        (CUSTOM_ISSUER, CUSTOM_ISSUER_DIGEST, &public, "https://slsa.dev/provenance/v1"),
        (REKOR_V2_STATEMENT, REKOR_V2_STATEMENT_DIGEST, &staging, "https://slsa.dev/provenance/v1"),
    ] {
        let signed = verify(bundle, digest, root).unwrap();
        let Content::Statement(statement) = signed.content else { panic!("no statement") };
        assert_eq!(statement.predicate_type(), predicate_type);
    }
}

#[test]
fn the_claims_of_the_certificate_are_returned() {
    let signed = verify(CUSTOM_ISSUER, CUSTOM_ISSUER_DIGEST, &root(PUBLIC_ROOT)).unwrap();
    let SignedBy::Identity(certificate) = signed.signer else { panic!("no identity") };
    assert_eq!(certificate.issuer, "https://token.actions.githubusercontent.com/hammer-time");
    let subject = "https://github.com/too-legit/attest/.github/workflows/integration.yml@refs/heads/main";
    assert_eq!(certificate.subject, Subject::Uri(subject.to_owned()));
    assert_eq!(certificate.claims[&Claim::SourceRepositoryUri], "https://github.com/too-legit/attest");
    assert_eq!(certificate.claims[&Claim::RunnerEnvironment], "github-hosted");
    assert_eq!(certificate.claims.len(), 14);
    assert_eq!(signed.times, [time("2024-09-11T19:19:03Z")]);
    assert_eq!(signed.logs.into_iter().collect::<Vec<_>>(), [REKOR_PUBLIC]);
}

#[test]
fn an_email_address_is_returned_as_such() {
    let signed = verify(FILE_V0_3, FILE_V0_3_DIGEST, &root(STAGING_ROOT)).unwrap();
    let SignedBy::Identity(certificate) = signed.signer else { panic!("no identity") };
    assert_eq!(certificate.subject, Subject::Email("william@yossarian.net".to_owned()));
}

#[test]
fn attestations_of_the_python_package_index_are_accepted() {
    let public = root(PUBLIC_ROOT);
    for (evidence, digest, issuer) in [
        (PYPI_ATTESTATION, PYPI_ATTESTATION_DIGEST, "https://gitlab.com"),
        (PYPI_PROVENANCE, PYPI_PROVENANCE_DIGEST, "https://token.actions.githubusercontent.com"),
    ] {
        let signed = verify(evidence, digest, &public).unwrap();
        let SignedBy::Identity(certificate) = signed.signer else { panic!("no identity") };
        assert_eq!(certificate.issuer, issuer);
    }
}

#[test]
fn the_attestations_of_an_npm_registry_are_accepted() {
    let bundle: serde_json::Value = serde_json::from_slice(NPM_V0_1).unwrap();
    let listed = |predicate_type: &str| {
        let attestation = serde_json::json!({ "predicateType": predicate_type, "bundle": bundle });
        serde_json::to_vec(&serde_json::json!({ "attestations": [attestation] })).unwrap()
    };
    assert!(verify(&listed("https://slsa.dev/provenance/v1"), NPM_DIGEST, &root(PUBLIC_ROOT)).is_ok());
    assert!(unreadable(&listed("https://slsa.dev/verification_summary/v1")).contains("but the statement has"));
}

#[test]
fn several_lines_are_several_items() {
    let line = |json: &[u8]| changed(json, |_| ());
    let lines = [line(CUSTOM_ISSUER), line(PYPI_ATTESTATION), line(FILE_V0_3)].join(&b'\n');
    assert_eq!(Evidence::parse(&lines).unwrap().items().len(), 3);
    assert_eq!(Evidence::parse(&[&lines[..], b"\n"].concat()).unwrap().items().len(), 3);
}

#[test]
fn the_instance_of_github_for_private_repositories_needs_neither_log_nor_sct() {
    let github = root(GITHUB_ROOT);
    let demands = TrustDemands { log: LogDemand::None, sct: SctDemand::None, ..TrustDemands::default() };
    let signed = verify_with(GITHUB_PRIVATE, GITHUB_PRIVATE_DIGEST, &github, demands).unwrap();
    assert_eq!(signed.times, [time("2024-04-22T17:33:26Z")]);
    assert!(signed.logs.is_empty());

    for (demands, error) in [
        (TrustDemands { sct: SctDemand::None, ..TrustDemands::default() }, "0 distinct logs"),
        (TrustDemands { log: LogDemand::None, ..TrustDemands::default() }, "signed certificate timestamp"),
    ] {
        let rejection = verify_with(GITHUB_PRIVATE, GITHUB_PRIVATE_DIGEST, &github, demands).unwrap_err();
        assert!(rejection.to_string().contains(error), "{rejection}");
    }
}

#[test]
fn a_listed_sha512_is_used_if_the_statement_names_no_other() {
    let other = "00".repeat(32);
    let public = root(PUBLIC_ROOT);
    let trust = Trust { root: &public, demands: TrustDemands::default() };
    let evidence = Evidence::parse(NPM_V0_1).unwrap();
    // The metadata lists a wrong SHA-256 digest and the right SHA-512 digest. The statement contains only the SHA-512
    // digest.
    assert!(evidence.items()[0].verify_identity(&artifact_of(&[&other, NPM_DIGEST]), &trust, now()).is_ok());
    let rejection = evidence.items()[0].verify_identity(&artifact(&other), &trust, now()).unwrap_err();
    assert_eq!(rejection.to_string(), "no subject has the sha256 of the file");
}
