use std::collections::BTreeMap;

use chrono::DateTime;
use lastmile_keys::{PrivateKey, PublicKey, Scheme};
use lastmile_metadata::{Hashes, TargetPath};

use super::*;
use crate::Evidence;
use crate::signed::Content;

const FILE: &[u8] = b"a package";
const WORKFLOW: &str = "https://actions.github.io/buildtypes/workflow/v1";

fn artifact_of(content: &[u8]) -> Artifact {
    let hashes = Hashes::of(content, &[Algorithm::Sha256, Algorithm::Sha512]).unwrap();
    Artifact::new(TargetPath::new("linux/app-1.0.tar.gz").unwrap(), hashes)
}

fn key(scheme: Scheme) -> PrivateKey {
    PrivateKey::from_seed(scheme, &[7; 32]).unwrap()
}

fn verify(bundle: &str, content: &[u8], key: &PublicKey) -> Result<Content, String> {
    let evidence = Evidence::parse(bundle.as_bytes()).map_err(|error| error.to_string())?;
    let item = &evidence.items()[0];
    let signed = item.verify_key(&artifact_of(content), key, None, DateTime::UNIX_EPOCH);
    signed.map(|signed| signed.content).map_err(|error| error.to_string())
}

fn statement_of(content: Content) -> Statement {
    match content {
        Content::Statement(statement) => statement,
        Content::File => panic!("expected a statement"),
    }
}

fn build() -> Build {
    Build {
        builder: "https://builds.example.com/release".into(),
        build_type: BUILD_TYPE.into(),
        source: "git+https://github.com/acme/app".into(),
        reference: Some("refs/tags/v1.0".into()),
        commit: Some("0123456789abcdef0123456789abcdef01234567".into()),
        parameters: BTreeMap::from([("profile".into(), "release".into())]),
        invocation: Some("https://builds.example.com/runs/1".into()),
    }
}

#[test]
fn a_statement_is_verified_with_the_key_that_signed_it() {
    for scheme in [Scheme::Ed25519, Scheme::EcdsaP256] {
        let key = key(scheme);
        let bundle = NewStatement::publish(&artifact_of(FILE)).unwrap().sign(&key).unwrap();
        let statement = statement_of(verify(&bundle, FILE, key.public_key()).unwrap());
        assert_eq!(statement.predicate_type(), PUBLISH);
        assert!(verify(&bundle, b"another package", key.public_key()).unwrap_err().contains("no subject"));
        let other = PrivateKey::from_seed(scheme, &[8; 32]).unwrap();
        assert!(verify(&bundle, FILE, other.public_key()).unwrap_err().contains("not valid for this key"));
    }
}

#[test]
fn a_signature_over_a_file_is_verified_from_its_digest() {
    let key = key(Scheme::EcdsaP256);
    let bundle = sign_file(&artifact_of(FILE), FILE, &key).unwrap();
    assert!(matches!(verify(&bundle, FILE, key.public_key()), Ok(Content::File)));
    assert!(verify(&bundle, b"another package", key.public_key()).unwrap_err().contains("another digest"));
    assert_eq!(sign_file(&artifact_of(FILE), b"another package", &key), Err(MakeError::OtherContent));
}

#[test]
fn a_key_whose_signatures_nobody_verifies_is_refused() {
    let artifact = artifact_of(FILE);
    let refused = [
        NewStatement::publish(&artifact).unwrap().sign(&key(Scheme::EcdsaP384)),
        sign_file(&artifact, FILE, &key(Scheme::EcdsaP384)),
        sign_file(&artifact, FILE, &key(Scheme::Ed25519)),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(MakeError::Scheme(_))), "{refused:?}");
    }
}

#[test]
fn a_file_that_could_be_metadata_or_an_envelope_is_not_signed_without_a_statement() {
    let contents: [&[u8]; 3] = [
        b"DSSEv1 28 application/vnd.in-toto+json 2 {}",
        br#"{"_type":"root","version":2}"#,
        br#"  {"version": 2, "_type": "link"}"#,
    ];
    for content in contents {
        let refused = sign_file(&artifact_of(content), content, &key(Scheme::EcdsaP256));
        assert!(matches!(refused, Err(MakeError::Content(_))), "{refused:?}");
    }
    assert!(sign_file(&artifact_of(b"{}"), b"{}", &key(Scheme::EcdsaP256)).is_ok());
}

#[test]
fn provenance_is_read_as_it_was_given() {
    let least = Build { commit: None, reference: None, invocation: None, parameters: BTreeMap::new(), ..build() };
    for build in [build(), least, Build { build_type: WORKFLOW.into(), ..build() }] {
        let statement = Statement::parse(build.statement(&artifact_of(FILE)).unwrap().text().as_bytes()).unwrap();
        let read = crate::slsa::Provenance::read(&statement).unwrap();
        assert_eq!((&read.builder, &read.build_type), (&build.builder, &build.build_type));
        assert_eq!((&read.source, &read.reference, &read.commit), (&build.source, &build.reference, &build.commit));
        assert_eq!(read.parameters.unwrap().into_iter().collect::<BTreeMap<_, _>>(), build.parameters);
    }
}

#[test]
fn provenance_that_would_be_read_differently_is_refused() {
    let refused = [
        (Build { build_type: "https://example.com/other".into(), ..build() }, "is not supported"),
        (Build { builder: "me".into(), ..build() }, "the builder must be a URI"),
        (Build { source: "here".into(), ..build() }, "the source must be a URI"),
        (
            Build { build_type: WORKFLOW.into(), source: "https://github.com/acme/app".into(), ..build() },
            "cannot express",
        ),
        (Build { build_type: WORKFLOW.into(), reference: None, ..build() }, "workflow/ref"),
    ];
    for (build, expected) in refused {
        let error = build.statement(&artifact_of(FILE)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_predicate_that_parsers_read_differently_is_refused() {
    for predicate in ["", "{", r#"{"a":1,"a":2}"#, "12345678901234567890"] {
        let refused = NewStatement::new(&artifact_of(FILE), "https://example.com/test", predicate);
        assert!(matches!(refused, Err(MakeError::Predicate(_))), "{predicate}: {refused:?}");
    }
}
