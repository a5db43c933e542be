//! Verifies real bundles that the packages of other projects contain as test data: crates of sigstore-rust, the source
//! distribution of pypi-attestations, and Debian's packages of sigstore-go and cosign. Each bundle must be accepted or
//! refused as in the tests of those projects, except for a few bundles that only lastmile refuses. The lists in this
//! file state the reason for each refusal.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use lastmile_attest::{Artifact, Evidence, LogDemand, SctDemand, Trust, TrustDemands, TrustRoot};
use lastmile_client::metadata::{Algorithm, Hashes, TargetPath};
use lastmile_keys::PublicKey;
use serde_json::Value;

/// How a bundle is verified.
#[derive(Clone, Copy)]
enum How {
    /// With the named trusted root. A log entry and a signed certificate timestamp are required.
    Root(&'static str),
    /// With the named trusted root. Neither a log entry nor a signed certificate timestamp is required.
    Private(&'static str),
    /// With the named key and the trusted root of the public instance.
    Key(&'static str),
    /// With the named key alone.
    OnlyKey(&'static str),
}

use How::{Key, OnlyKey, Private, Root};

/// The trusted roots in `attest/tests/fixtures`. Any other name in [`How`] is a path in the folder of the bundles.
const PUBLIC: &str = "public-root.json";
const STAGING: &str = "staging-root.json";
const GITHUB: &str = "github-root.json";

/// The bundles in a folder: for each bundle, its path, how it is verified, and why it is refused. The reason is "" if
/// the bundle is accepted.
type Cases = &'static [(&'static str, How, &'static str)];

const NO_ISSUER: &str = "the certificate names no issuer";

const VERIFY: Cases = &[
    ("bundles/bundle_cve_2022_36056.txt.sigstore", Root(STAGING), "does not match certificate in Rekor entry"),
    ("bundles/bundle_invalid_version.txt.sigstore", Root(STAGING), "\"this is completely wrong\" are not supported"),
    ("bundles/bundle_no_cert_v1.txt.sigstore", Root(STAGING), "`x509CertificateChain.certificates` is empty"),
    // The proof cannot be verified without a checkpoint.
    ("bundles/bundle_no_checkpoint.txt.sigstore", Root(STAGING), "`inclusionProof` has no `checkpoint`"),
    ("bundles/bundle_no_log_entry.txt.sigstore", Root(STAGING), "0 distinct logs"),
    ("bundles/bundle_v3_github.whl.sigstore", Root(PUBLIC), ""),
    ("bundles/bundle_v3_no_signed_time.txt.sigstore.json", Root(STAGING), "no verified timestamp"),
    ("bundles/conda-attestation-rekor2.sigstore.json", Root(STAGING), ""),
    ("bundles/conda-attestation.sigstore.json", Root(PUBLIC), ""),
    ("bundles/cosign-v3-blob.sigstore.json", Root(PUBLIC), ""),
    ("bundles/dsse-2sigs.sigstore.json", Root(PUBLIC), "the envelope has 2 signatures"),
    // lastmile requires a proof of inclusion. The oldest bundles have only the log's promise of inclusion.
    ("bundles/dsse.sigstore.json", Root(PUBLIC), "`tlogEntries` has no `inclusionProof`"),
    // A policy checks the OIDC issuer, but the certificates of GitHub's release attestations do not contain one.
    ("bundles/github-private-attestation.sigstore.json", Private(GITHUB), NO_ISSUER),
    // A policy can match only URIs and email addresses. Other projects also accept other types of names.
    ("bundles/othername.sigstore.json", Root("trusted_roots/scaffolding.json"), "neither a URI nor an email address"),
    ("bundles/sigstore.js@2.0.0-provenance.sigstore.json", Root(PUBLIC), ""),
    ("invalid-ct-key_fail/bundle.sigstore.json", Root("invalid-ct-key_fail/trusted_root.json"), "SCT"),
    ("managed-key/bundle.sigstore.json", Key("managed-key/key.pub"), ""),
    (
        "sct-multi-intermediate/staging_bundle.sigstore.json",
        Root("sct-multi-intermediate/staging_trusted_root.json"),
        "",
    ),
    ("timestamps/github_sha384_bundle.json", Private(GITHUB), NO_ISSUER),
    ("timestamps/valid_bundle.json", Root("timestamps/valid_trusted_root.json"), ""),
    ("upstream/sigstore-python/a.dsse.staging-rekor-v2.txt.sigstore.json", Root(STAGING), ""),
    ("upstream/sigstore-python/staging-rekor-v2.txt.sigstore.json", Root(STAGING), ""),
];

const BUNDLE: Cases = &[
    ("bundle_v3.json", Root(STAGING), ""),
    ("bundle_v3_jdx_communique.json", Private(GITHUB), NO_ISSUER),
    ("happy-path.json", Root(PUBLIC), ""),
];

const TSA: Cases = &[
    ("timestamps/github_sha384_bundle.json", Private(GITHUB), NO_ISSUER),
    ("timestamps/payload_mismatch_bundle.json", Root("timestamps/valid_trusted_root.json"), "message hash mismatch"),
    ("timestamps/valid_bundle.json", Root("timestamps/valid_trusted_root.json"), ""),
];

const TYPES: Cases =
    &[("cosign_v3_missing_fields.json", Root(PUBLIC), "`tlogEntries.logId.keyId` is not 32 bytes long")];

const PYPI: Cases = &[
    ("circleci_sign_publish_example-0.0.1.dev137-py3-none-any.whl.provenance", Root(PUBLIC), ""),
    ("circleci_sign_publish_example-0.0.1.dev137-py3-none-any.whl.publish.attestation", Root(PUBLIC), ""),
    ("gcb_attestation_test-0.0.0.tar.gz.provenance", Root(PUBLIC), ""),
    ("gitlab_oidc_project-0.0.3.tar.gz.publish.attestation", Root(PUBLIC), ""),
    ("pypi_attestation_models-0.0.4a2.tar.gz.attestation", Root(PUBLIC), ""),
    ("pypi_attestation_models-0.0.4a2.tar.gz.sigstore", Root(PUBLIC), ""),
    ("pypi_attestations-0.0.19.tar.gz.provenance", Root(PUBLIC), ""),
    ("pypi_attestations-0.0.19.tar.gz.publish.attestation", Root(PUBLIC), ""),
    ("pypi_attestations-0.0.19.tar.gz.slsa.attestation", Root(PUBLIC), ""),
    ("rfc8785-0.1.2-py3-none-any.whl.attestation", Root(STAGING), ""),
    ("rfc8785-0.1.2-py3-none-any.whl.publish.attestation", Root(STAGING), ""),
    ("rfc8785-0.1.2-py3-none-any.whl.sigstore", Root(STAGING), ""),
    ("spt3g-1.0-cp310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64.whl.publish.attestation", Root(STAGING), ""),
];

const SIGSTORE_GO: Cases = &[
    ("bundles/dsse-2sigs.sigstore.json", Root(PUBLIC), "the envelope has 2 signatures"),
    // The comments in `VERIFY` explain why the next two bundles are refused.
    ("bundles/dsse.sigstore.json", Root(PUBLIC), "`tlogEntries` has no `inclusionProof`"),
    ("bundles/othername.sigstore.json", Root("trusted-roots/scaffolding.json"), "neither a URI nor an email address"),
    ("bundles/public-key-validity.sigstore.json", OnlyKey("public-keys/public-key-validity.pem"), ""),
    ("bundles/sigstore.js@2.0.0-provenance.sigstore.json", Root(PUBLIC), ""),
];

const COSIGN: Cases = &[("oci-attestation.sigstore.json", Root("trusted_root_pgi.json"), "")];

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn crate_folder(name: &str) -> PathBuf {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.current_dir(project(".")).args(["metadata", "--format-version=1", "--locked", "--offline"]);
    let output = command.output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("the output of `cargo metadata`");
    let packages = metadata["packages"].as_array().unwrap();
    let found = packages.iter().find(|package| package["name"] == name).unwrap();
    Path::new(found["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

/// Returns the paths of all bundles and attestation objects below `folder`, relative to `folder`.
fn bundles_in(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let is_bundle = |value: &Value| {
                value.as_object().is_some_and(|members| {
                    let known = ["verificationMaterial", "verification_material", "attestation_bundles"];
                    members.keys().any(|name| known.contains(&name.as_str()))
                })
            };
            if serde_json::from_slice(&fs::read(&path).unwrap()).is_ok_and(|value| is_bundle(&value)) {
                found.insert(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

/// Returns the digest of the file for which a bundle was made. If this file is in the same folder as the bundle, hashes
/// the file. Otherwise, reads the digest from the bundle.
fn hashes(path: &Path, bundle: &[u8]) -> Hashes {
    for ending in [".publish.attestation", ".slsa.attestation", ".attestation", ".provenance", ".sigstore"] {
        let file = path.to_str().unwrap().strip_suffix(ending).filter(|file| Path::new(file).exists());
        if let Some(file) = file {
            return Hashes::of(&fs::read(file).unwrap(), &[Algorithm::Sha256]).unwrap();
        }
    }
    let value: Value = serde_json::from_slice(bundle).unwrap();
    if let Some(digest) = value.pointer("/messageSignature/messageDigest/digest").and_then(Value::as_str) {
        return Hashes::new([(Algorithm::Sha256, STANDARD.decode(digest).unwrap())]).unwrap();
    }
    let places =
        ["/dsseEnvelope/payload", "/envelope/statement", "/attestation_bundles/0/attestations/0/envelope/statement"];
    let payload = places.into_iter().find_map(|place| value.pointer(place)?.as_str()).unwrap();
    let statement: Value = serde_json::from_slice(&STANDARD.decode(payload).unwrap()).unwrap();
    let subjects = statement["subject"].as_array().unwrap();
    let digest = subjects.iter().find_map(|subject| {
        [Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .find_map(|algorithm| Some((algorithm, subject["digest"].get(algorithm.name())?.as_str()?)))
    });
    let (algorithm, digest) = digest.unwrap();
    Hashes::new([(algorithm, hex::decode(digest).unwrap())]).unwrap()
}

/// Verifies all evidence in a file. Returns the first reason for a refusal, or "" if all evidence is accepted.
fn verdict(folder: &Path, path: &str, how: How) -> String {
    let bundle = fs::read(folder.join(path)).unwrap();
    let evidence = match Evidence::parse(&bundle) {
        Ok(evidence) => evidence,
        Err(error) => return error.to_string(),
    };
    let fixture = |name: &str| project("attest/tests/fixtures").join(name);
    let root = match how {
        Root(name) | Private(name) if fixture(name).exists() => fixture(name),
        Root(name) | Private(name) => folder.join(name),
        Key(_) | OnlyKey(_) => fixture(PUBLIC),
    };
    let root = TrustRoot::parse(&fs::read(root).unwrap()).unwrap();
    let private = TrustDemands { log: LogDemand::None, sct: SctDemand::None, ..TrustDemands::default() };
    let demands = if matches!(how, Private(_)) { private } else { TrustDemands::default() };
    let trust = Trust { root: &root, demands };
    let artifact = Artifact::new(TargetPath::new("file").unwrap(), hashes(&folder.join(path), &bundle));
    let now = Utc::now();
    let verified = evidence.items().iter().map(|item| match how {
        Root(_) | Private(_) => item.verify_identity(&artifact, &trust, now),
        Key(name) | OnlyKey(name) => {
            let key = PublicKey::from_text(&fs::read_to_string(folder.join(name)).unwrap()).unwrap();
            item.verify_key(&artifact, &key, matches!(how, Key(_)).then_some(&trust), now)
        }
    });
    verified.filter_map(Result::err).map(|refused| refused.to_string()).next().unwrap_or_default()
}

/// Checks that the folder contains exactly the bundles in `cases`, and that each bundle is accepted or refused as
/// `cases` says.
fn check(folder: &Path, cases: Cases) {
    let listed: BTreeSet<String> = cases.iter().map(|(path, ..)| (*path).to_owned()).collect();
    assert_eq!(bundles_in(folder), listed, "{}", folder.display());
    check_verdicts(folder, cases);
}

fn check_verdicts(folder: &Path, cases: Cases) {
    for (path, how, expected) in cases {
        let found = verdict(folder, path, *how);
        let is_expected = if expected.is_empty() { found.is_empty() } else { found.contains(expected) };
        assert!(is_expected, "{path}: expected {expected:?}, found {found:?}");
    }
}

/// Checks the bundles in a folder of a package that `cargo xtask setup` installs. Other versions of the package may
/// contain other bundles. Prints `NOT CHECKED` if the folder is missing, and for each bundle that `cases` does not
/// list.
fn check_installed(folder: &str, cases: Cases) {
    let folder = project("target/interop").join(folder);
    if !folder.exists() {
        lastmile_tests::say(&format!(
            "{}: NOT CHECKED: `cargo xtask setup` did not install it on this machine",
            folder.display()
        ));
        return;
    }
    for path in bundles_in(&folder).iter().filter(|path| !cases.iter().any(|(listed, ..)| listed == path)) {
        lastmile_tests::say(&format!("{path}: NOT CHECKED: the bundle is not listed in published_bundles.rs"));
    }
    check_verdicts(&folder, cases);
}

#[test]
fn bundles_in_the_crates_of_sigstore_rust() {
    check(&crate_folder("sigstore-verify").join("test_data"), VERIFY);
    check(&crate_folder("sigstore-bundle").join("tests/fixtures"), BUNDLE);
    check(&crate_folder("sigstore-tsa").join("test_data"), TSA);
    check(&crate_folder("sigstore-types").join("test_data"), TYPES);
}

#[test]
fn attestations_in_the_source_distribution_of_pypi_attestations() {
    check_installed("pypi-attestations/test/assets", PYPI);
}

#[test]
fn bundles_in_the_debian_packages_of_sigstore_go_and_cosign() {
    let go = "debian/root/usr/share/gocode/src/github.com/sigstore";
    check_installed(&format!("{go}/sigstore-go/pkg/testing/data"), SIGSTORE_GO);
    check_installed(&format!("{go}/cosign/v3/pkg/cosign/testdata"), COSIGN);
}
