//! Tests the program `lastmile-conformance` with the command lines of the Sigstore conformance suite and with real
//! bundles.

use std::path::Path;
use std::process::Command;

use crate::cli::program;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../attest/tests/fixtures");

const CUSTOM_ISSUER: &[&str] = &["--bundle", "custom-issuer.json"];
const SUBJECT: &str = "https://github.com/too-legit/attest/.github/workflows/integration.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com/hammer-time";
const DIGEST: &str = "sha256:afa27b44d43b02a9fea41d13cedc2e4016cfcf87c5dbf990e593669aa8ce286d";

/// Runs `verify-bundle` in the folder of the fixtures, and returns its exit code.
fn verify_bundle(arguments: &[&str]) -> Option<i32> {
    let mut command = Command::new(program("lastmile-conformance"));
    command.current_dir(Path::new(FIXTURES)).arg("verify-bundle").args(arguments);
    command.output().unwrap().status.code()
}

fn identity<'a>(subject: &'a str, issuer: &'a str) -> [&'a str; 4] {
    ["--certificate-identity", subject, "--certificate-oidc-issuer", issuer]
}

#[test]
fn a_bundle_with_the_exact_identity_is_accepted_with_options_in_any_order() {
    let identity = identity(SUBJECT, ISSUER);
    let root = ["--trusted-root", "public-root.json"];
    for arguments in [
        [CUSTOM_ISSUER, &identity, &[DIGEST]].concat(),
        [CUSTOM_ISSUER, &identity, &root, &[DIGEST]].concat(),
        [&[DIGEST], &identity[..], &root, CUSTOM_ISSUER].concat(),
    ] {
        assert_eq!(verify_bundle(&arguments), Some(0), "{arguments:?}");
    }
    let staging = ["--staging", "--bundle", "rekor-v2-file.json"];
    let digest = "sha256:15f67246115921bb7c1de0e7e9e9275c8016dc254a0c009888944b7ed3644aaa";
    let login =
        ["--certificate-identity", "jku@goto.fi", "--certificate-oidc-issuer", "https://github.com/login/oauth"];
    assert_eq!(verify_bundle(&[&staging[..], &login, &[digest]].concat()), Some(0));
}

#[test]
fn everything_else_is_exit_code_1() {
    let exact = identity(SUBJECT, ISSUER);
    let with_star = SUBJECT.replace("main", "*");
    let other_digest = DIGEST.replace("sha256:a", "sha256:b");
    for arguments in [
        [CUSTOM_ISSUER, &identity("https://github.com/too-legit/attest", ISSUER), &[DIGEST]].concat(),
        [CUSTOM_ISSUER, &identity(SUBJECT, "https://token.actions.githubusercontent.com"), &[DIGEST]].concat(),
        [CUSTOM_ISSUER, &identity(&with_star, ISSUER), &[DIGEST]].concat(),
        [CUSTOM_ISSUER, &exact, &["--staging", DIGEST]].concat(),
        [CUSTOM_ISSUER, &exact, &[&other_digest]].concat(),
        // A digest of the wrong length is treated as a file name.
        [CUSTOM_ISSUER, &exact, &["sha256:afa27b44"]].concat(),
        [CUSTOM_ISSUER, &["--certificate-identity", SUBJECT, DIGEST]].concat(),
        [CUSTOM_ISSUER, &["--key", "key.pub", DIGEST]].concat(),
        [CUSTOM_ISSUER, &["--key", "key.pub"], &exact, &[DIGEST]].concat(),
        [CUSTOM_ISSUER, &[DIGEST]].concat(),
        vec![],
    ] {
        assert_eq!(verify_bundle(&arguments), Some(1), "{arguments:?}");
    }
}

#[test]
fn a_bundle_of_a_key_is_accepted_with_its_log_entry() {
    let digest = "sha256:a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf";
    let arguments = ["--bundle", "key.json", "--key", "key.pub", digest];
    assert_eq!(verify_bundle(&arguments), Some(0));
    assert_eq!(verify_bundle(&[&arguments[..], &["--staging"]].concat()), Some(1));
}
