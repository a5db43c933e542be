//! Fuzz targets for policies, evidence, statements and trust roots.

use std::path::Path;

use lastmile_attest::json::Value;
use lastmile_attest::{Artifact, Evidence, LocalPolicy, Policy, Statement, Trust, TrustDemands, TrustRoot};
use lastmile_client::metadata::{Algorithm, Hashes, TargetFile, TargetPath, parse_time};
use lastmile_keys::{PrivateKey, Scheme, Signer as _};

const POLICY: &str = r#"{"version":1,"upgrade":["lastmile-*"],"trust":{"t":{"root":"trust/x.json","log":"required","logs":2,"times":1,"sct":false}},"signer":{"a":{"trust":"t","issuer":"https://i","subject":["https://*/x@refs/*"],"claims":{"build-trigger":["push"]},"not-before":"2026-01-01T00:00:00Z"},"b":{"key":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"}}}},"builder":{"x":{"id":["https://b/*"],"by":["a"],"level":3}},"require":[{"name":"r","kind":"signature","paths":["a/*"],"except":["a/b"],"by":["a","@b"],"threshold":2},{"name":"s","kind":"attestation","paths":["*"],"by":["b"],"type":["u"],"where":{"/x":[1,true,"y"]}},{"name":"p","kind":"provenance","paths":["*"],"builder":["x"],"level":2,"source":["git+https://s"],"parameter":{"m":["n"]}},{"name":"n","kind":"new","paths":["*"]}]}"#;

pub(crate) fn policy_seeds() -> Vec<Vec<u8>> {
    let local = r#"{"version":1,"break-glass":[{"paths":["a/*"],"reason":"x","until":"2026-01-01T00:00:00Z"}]}"#;
    vec![POLICY.into(), local.into()]
}

pub(crate) fn policy(input: &[u8]) {
    let _ = LocalPolicy::parse(input);
    let Ok(policy) = Policy::parse(input) else { return };
    // If the policy is written as JSON and parsed again, its rules must apply to the same paths.
    let value = Value::parse(input).expect("a policy must be strict JSON").to_string();
    let again = Policy::parse(value.as_bytes()).expect("the JSON that was written for a policy must parse as a policy");
    assert_eq!(policy.unsupported(), again.unsupported());
    for path in ["a/b", "a/c", "x"].map(|path| TargetPath::new(path).unwrap()) {
        let rules = |policy: &Policy| policy.rules().iter().map(|rule| rule.applies_to(&path)).collect::<Vec<_>>();
        assert_eq!(rules(&policy), rules(&again));
    }
}

pub(crate) fn statement_seeds() -> Vec<Vec<u8>> {
    let statement = r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":"2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{"buildDefinition":{"buildType":"x","externalParameters":{}},"a":[1.5,-3,null,{"b":"é"}]}}"#;
    vec![statement.into(), statement.replace("v1\",\"subject", "v0.1\",\"subject").into()]
}

pub(crate) fn statement(input: &[u8]) {
    let Ok(statement) = Statement::parse(input) else { return };
    let _ = statement.check_subject(&artifact());
    let text = statement.predicate().to_string();
    assert_eq!(&Value::parse(text.as_bytes()).expect("the text of a predicate must be JSON"), statement.predicate());
}

pub(crate) fn evidence_seeds() -> Vec<Vec<u8>> {
    fixtures(|name| name.contains(".json") && !name.ends_with("-root.json"))
}

/// Reads evidence, and verifies it with a key and a trust root. The verification must fail, because the evidence is
/// signed neither with this key nor by an identity that this trust root trusts.
pub(crate) fn evidence(input: &[u8]) {
    let Ok(evidence) = Evidence::parse(input) else { return };
    let key = PrivateKey::from_seed(Scheme::Ed25519, &[9; 32]).unwrap();
    let root = br#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;
    let root = TrustRoot::parse(root).unwrap();
    let trust = Trust { root: &root, demands: TrustDemands::default() };
    let now = parse_time("2027-01-01T00:00:00Z").unwrap();
    for item in evidence.items() {
        assert!(
            item.verify_key(&artifact(), key.public_key(), None, now).is_err(),
            "no evidence is signed with this key"
        );
        assert!(item.verify_key(&artifact(), key.public_key(), Some(&trust), now).is_err());
        assert!(item.verify_identity(&artifact(), &trust, now).is_err(), "this trust root trusts no identity");
    }
}

pub(crate) fn trust_root_seeds() -> Vec<Vec<u8>> {
    fixtures(|name| name.ends_with("-root.json"))
}

pub(crate) fn trust_root(input: &[u8]) {
    let _ = TrustRoot::parse(input);
}

fn artifact() -> Artifact {
    let hashes = Hashes::of(b"foo", &[Algorithm::Sha256, Algorithm::Sha512]).unwrap();
    Artifact::of(&TargetFile::new(TargetPath::new("foo").unwrap(), 3, hashes))
}

fn fixtures(choose: fn(&str) -> bool) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../attest/tests/fixtures");
    let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = files.filter(|file| choose(&file.file_name().to_string_lossy())).collect();
    files.sort_by_key(std::fs::DirEntry::file_name);
    files.iter().map(|file| std::fs::read(file.path()).unwrap()).collect()
}
