//! Real bundles and trusted roots (see `tests/fixtures/README.md`), and functions that change them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use lastmile_attest::{Artifact, Evidence, Rejection, Signed, Trust, TrustDemands, TrustRoot};
use lastmile_metadata::{Algorithm, Hashes, TargetFile, TargetPath};
use serde_json::Value;

macro_rules! fixtures {
    ($($name:ident = $file:literal;)+) => {
        $(pub(crate) const $name: &[u8] = include_bytes!(concat!("../fixtures/", $file));)+
    };
}

fixtures! {
    PUBLIC_ROOT = "public-root.json";
    STAGING_ROOT = "staging-root.json";
    GITHUB_ROOT = "github-root.json";
    OTHERNAME_ROOT = "othername-root.json";
    FILE_V0_1 = "file-v0.1.json";
    FILE_V0_2 = "file-v0.2.json";
    FILE_V0_3 = "file-v0.3.json";
    NPM_V0_1 = "npm-v0.1.json";
    CUSTOM_ISSUER = "custom-issuer.json";
    REKOR_V2_FILE = "rekor-v2-file.json";
    REKOR_V2_STATEMENT = "rekor-v2-statement.json";
    TWO_TIMES = "two-times.json";
    GITHUB_PRIVATE = "github-private.jsonl";
    KEY = "key.json";
    KEY_PEM = "key.pub";
    PYPI_ATTESTATION = "pypi-attestation.json";
    PYPI_PROVENANCE = "pypi-provenance.json";
    OTHERNAME = "othername.json";
    CVE_2022_36056 = "cve-2022-36056.json";
    TEXT_PAYLOAD = "text-payload.json";
    MISSING_CERTIFICATE = "missing-certificate.jsonl";
    NO_CHECKPOINT = "no-checkpoint.json";
    NO_LOG_ENTRY = "no-log-entry.json";
}

/// The SHA-256 digests of the files that the bundles sign.
pub(crate) const FILE_V0_1_DIGEST: &str = "802dd60ff88333802f2585e73043bd21c341285e1992fe5b31755e1cadeae30e";
pub(crate) const FILE_V0_2_DIGEST: &str = "c4e92e9ecc828bef2aa7dba1de8ac983511f7532a0df11c770d39099a25cf201";
pub(crate) const FILE_V0_3_DIGEST: &str = "5e6ae9de58c1177bea615b4fcbfb2fd688e8c4b51c2e56b6a38e817833ec24a2";
pub(crate) const CUSTOM_ISSUER_DIGEST: &str = "afa27b44d43b02a9fea41d13cedc2e4016cfcf87c5dbf990e593669aa8ce286d";
pub(crate) const REKOR_V2_FILE_DIGEST: &str = "15f67246115921bb7c1de0e7e9e9275c8016dc254a0c009888944b7ed3644aaa";
/// The bundles [`REKOR_V2_STATEMENT`] and [`KEY`] sign the same file.
pub(crate) const REKOR_V2_STATEMENT_DIGEST: &str = "a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";
pub(crate) const TWO_TIMES_DIGEST: &str = "e194b99df6639501325c5f44da79fe3a8efae6f239bd79443a19787e06fb1764";
pub(crate) const GITHUB_PRIVATE_DIGEST: &str = "ae57936def59bc4c75edd3a837d89bcefc6d3a5e31d55a6fa7a71624f92c3c3b";
pub(crate) const PYPI_ATTESTATION_DIGEST: &str = "c1ca9b0d85df1606451098233018534497bf584362e10e4a8c21dfaea92c02a8";
pub(crate) const PYPI_PROVENANCE_DIGEST: &str = "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3";
pub(crate) const OTHERNAME_DIGEST: &str = "bc103b4a84971ef6459b294a2b98568a2bfb72cded09d4acd1e16366a401f95b";
pub(crate) const CVE_DIGEST: &str = "c87b5b213ab08b32970c106d0c7e4423e67f5449c2fd2d1e9b4ea6cc43b6ee7c";
pub(crate) const NO_LOG_ENTRY_DIGEST: &str = "9b469fc9761e8b933073b62725fbc98b549c3314199ded71cc8b286ef2c6fb9b";
/// The SHA-512 digest of the file that [`NPM_V0_1`] signs.
pub(crate) const NPM_DIGEST: &str = "90f223f992e4c88dd068cd2a5fc57f9d2b30798343dd6e38f29c240e04ba090ef831f84490847c4e82b9232c78e8a258463b1e55c0f7469f730265008fa6633f";

/// Returns a time that is later than every time in the fixtures. Tests use it as the start time of the update.
pub(crate) fn now() -> DateTime<Utc> {
    time("2026-11-29T00:00:00Z")
}

pub(crate) fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub(crate) fn root(json: &[u8]) -> TrustRoot {
    TrustRoot::parse(json).unwrap()
}

pub(crate) fn artifact(digest: &str) -> Artifact {
    artifact_of(&[digest])
}

/// Returns an artifact with the given SHA-256, SHA-384 or SHA-512 digests. The length of each digest determines its
/// algorithm.
pub(crate) fn artifact_of(digests: &[&str]) -> Artifact {
    let digests = digests.iter().map(|digest| {
        let digest = hex::decode(digest).unwrap();
        let algorithm = match digest.len() {
            32 => Algorithm::Sha256,
            48 => Algorithm::Sha384,
            _ => Algorithm::Sha512,
        };
        (algorithm, digest)
    });
    let hashes = Hashes::new(digests).unwrap();
    Artifact::of(&TargetFile::new(TargetPath::new("app/1.0/app.tar.gz").unwrap(), 1, hashes))
}

/// Reads evidence that must be invalid, and returns the error message.
#[track_caller]
pub(crate) fn unreadable(evidence: &[u8]) -> String {
    Evidence::parse(evidence).expect_err("the evidence must be unreadable").to_string()
}

/// Reads evidence that consists of one item, and verifies that a certificate holder signed this item. Log entries and
/// times must satisfy the default requirements.
pub(crate) fn verify(evidence: &[u8], digest: &str, root: &TrustRoot) -> Result<Signed, Rejection> {
    verify_with(evidence, digest, root, TrustDemands::default())
}

pub(crate) fn verify_with(
    evidence: &[u8],
    digest: &str,
    root: &TrustRoot,
    demands: TrustDemands,
) -> Result<Signed, Rejection> {
    let evidence = Evidence::parse(evidence).unwrap();
    let [item] = evidence.items() else { panic!("{} items", evidence.items().len()) };
    item.verify_identity(&artifact(digest), &Trust { root, demands }, now())
}

/// Like [`verify`], but the evidence must be rejected. Returns the text of the rejection.
#[track_caller]
pub(crate) fn rejected(evidence: &[u8], digest: &str, root: &[u8]) -> String {
    verify(evidence, digest, &TrustRoot::parse(root).unwrap()).expect_err("the evidence must be rejected").to_string()
}

pub(crate) fn changed(json: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value = serde_json::from_slice(json).unwrap();
    change(&mut value);
    serde_json::to_vec(&value).unwrap()
}

/// Applies `change` to the first log entry of a bundle.
pub(crate) fn with_entry(json: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    changed(json, |bundle| change(&mut bundle["verificationMaterial"]["tlogEntries"][0]))
}

/// Flips the last bit of the first byte that a base64 string encodes.
pub(crate) fn flip(value: &mut Value) {
    flip_at(value, 0);
}

/// Flips a bit of the last byte that a base64 string encodes.
pub(crate) fn flip_last(value: &mut Value) {
    let length = STANDARD.decode(value.as_str().unwrap()).unwrap().len();
    flip_at(value, length - 1);
}

fn flip_at(value: &mut Value, index: usize) {
    let mut bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
    bytes[index] ^= 1;
    *value = Value::String(STANDARD.encode(bytes));
}
