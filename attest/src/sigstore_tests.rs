use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use lastmile_metadata::{Hashes, TargetFile, TargetPath};

use super::*;
use crate::trust::TrustDemands;

#[test]
fn a_time_outside_the_validity_of_the_certificate_is_refused() {
    // Call `Evidence::check` directly, because `sigstore-verify` would already refuse a bundle with a time outside the
    // validity period of the certificate.
    let root = br#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;
    let root = TrustRoot::parse(root).unwrap();
    let trust = Trust { root: &root, demands: TrustDemands { log: LogDemand::None, ..TrustDemands::default() } };
    let at = |seconds| utc(seconds, 0).unwrap();
    let validity = Window { start: Some(at(10)), end: Some(at(20)) };
    for (seconds, is_accepted) in [(9, false), (10, true), (20, true), (21, false)] {
        let evidence = Evidence { logs: Vec::new(), times: vec![(at(seconds), Source::Log(Vec::new()))] };
        assert_eq!(evidence.check(&trust, at(30), Some(validity)).is_ok(), is_accepted, "{seconds}");
    }
}

/// Returns a bundle that contains a signature over a file, but no log entries. `digest` is either empty or the JSON
/// member `messageDigest`, followed by a comma.
fn bundle_of_file(digest: &str) -> Bundle {
    let text = format!(
        r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{{{digest}"signature":"{}"}},"verificationMaterial":{{"publicKey":{{"hint":"x"}}}}}}"#,
        "A".repeat(96)
    );
    Bundle::read(&Value::parse(text.as_bytes()).unwrap()).unwrap()
}

#[test]
fn the_library_gets_the_digest_that_was_signed() {
    let algorithms = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];
    let hashes = Hashes::of(b"the file", &algorithms).unwrap();
    let artifact = Artifact::of(&TargetFile::new(TargetPath::new("app").unwrap(), 8, hashes));
    let key = |scheme| {
        let key = PrivateKey::from_seed(scheme, &[1; 32]).unwrap();
        DerPublicKey::new(key.public_key().material().to_vec())
    };
    let expected = |name, algorithm| ArtifactDigest::new(name, artifact.digest(algorithm).unwrap().to_vec()).unwrap();
    // If the bundle contains no digest, the key determines the digest algorithm.
    for (scheme, name, algorithm) in [
        (Scheme::EcdsaP256, HashAlgorithm::Sha2256, Algorithm::Sha256),
        (Scheme::EcdsaP384, HashAlgorithm::Sha2384, Algorithm::Sha384),
    ] {
        let found = digest(&bundle_of_file(""), &artifact, &key(scheme)).unwrap();
        assert_eq!(found, expected(name, algorithm));
    }
    assert!(matches!(digest(&bundle_of_file(""), &artifact, &key(Scheme::Ed25519)), Err(Rejection::Unsupported(_))));
    for (text, name, algorithm) in [
        ("SHA2_256", HashAlgorithm::Sha2256, Algorithm::Sha256),
        ("SHA2_384", HashAlgorithm::Sha2384, Algorithm::Sha384),
        ("SHA2_512", HashAlgorithm::Sha2512, Algorithm::Sha512),
    ] {
        let signed =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, artifact.digest(algorithm).unwrap());
        let named = format!(r#""messageDigest":{{"algorithm":"{text}","digest":"{signed}"}},"#);
        let found = digest(&bundle_of_file(&named), &artifact, &key(Scheme::EcdsaP256)).unwrap();
        assert_eq!(found, expected(name, algorithm));
    }
}
