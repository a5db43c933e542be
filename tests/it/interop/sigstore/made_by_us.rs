//! Tests that cosign and @sigstore/verify accept evidence that `lastmile-repo attest` makes.

use super::others::js_verifies;
use super::workshop::{REVIEW, SIGN, Workshop, debian, flip};

/// Creates a [`Workshop`] that contains a P-256 key `p256` and an Ed25519 key `ed25519`.
fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.openssl_key("p256", &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    workshop.openssl_key("ed25519", &["-algorithm", "ed25519"]);
    workshop
}

#[test]
fn cosign_verifies_a_signature_until_a_byte_changes() {
    let Some(cosign) = debian("cosign") else { return };
    let workshop = workshop();
    workshop.attest("p256.pem", &["--kind", "signature"]);
    let bundle = "app.sigstore.json";
    assert_eq!(workshop.cosign_verifies_file(&cosign, "p256.pub", bundle), Ok(()));
    assert_eq!(workshop.judge_signature("p256.pub", bundle), Ok(()));
    workshop.openssl_key("other", &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    assert!(workshop.cosign_verifies_file(&cosign, "other.pub", bundle).is_err());
    let original = workshop.read(bundle);
    for member in ["/messageSignature/signature", "/messageSignature/messageDigest/digest"] {
        workshop.edit(bundle, |bundle| flip(bundle.pointer_mut(member).unwrap()));
        assert!(workshop.judge_signature("p256.pub", bundle).is_err(), "{member}");
        assert!(workshop.cosign_verifies_file(&cosign, "p256.pub", bundle).is_err(), "{member}");
        workshop.write(bundle, &original);
    }
    workshop.damage("app", 0);
    assert!(workshop.cosign_verifies_file(&cosign, "p256.pub", bundle).is_err());
    assert!(workshop.judge_signature("p256.pub", bundle).is_err());
}

#[test]
fn cosign_verifies_statements_until_a_byte_changes() {
    let Some(cosign) = debian("cosign") else { return };
    let provenance = "https://slsa.dev/provenance/v1";
    let kinds: [(&str, &[&str]); 3] = [
        (SIGN, &[]),
        (REVIEW, &["--kind", "custom", "--type", REVIEW, "--predicate", "review.json"]),
        (
            provenance,
            &[
                "--kind",
                "provenance",
                "--builder",
                "https://ci.example.com/release",
                "--source",
                "git+https://github.com/acme/app",
                "--ref",
                "refs/tags/v1.0",
                "--commit",
                "0123456789abcdef0123456789abcdef01234567",
            ],
        ),
    ];
    for key in ["p256", "ed25519"] {
        for (kind, options) in kinds {
            let workshop = workshop();
            let public = format!("{key}.pub");
            let bundle = "app.intoto.jsonl";
            workshop.attest(&format!("{key}.pem"), options);
            assert_eq!(workshop.cosign_verifies_statement(&cosign, &public, bundle, kind), Ok(()), "{key} {kind}");
            assert_eq!(workshop.judge_statement(&public, bundle, kind), Ok(()), "{key} {kind}");
            let original = workshop.read(bundle);
            for member in ["/dsseEnvelope/payload", "/dsseEnvelope/signatures/0/sig"] {
                workshop.edit(bundle, |bundle| flip(bundle.pointer_mut(member).unwrap()));
                assert!(workshop.cosign_verifies_statement(&cosign, &public, bundle, kind).is_err(), "{member}");
                assert!(workshop.judge_statement(&public, bundle, kind).is_err(), "{member}");
                workshop.write(bundle, &original);
            }
            workshop.damage("app", 0);
            assert!(workshop.cosign_verifies_statement(&cosign, &public, bundle, kind).is_err());
            assert!(workshop.judge_statement(&public, bundle, kind).is_err());
        }
    }
}

#[test]
fn sigstore_js_verifies_signatures_and_statements() {
    let workshop = workshop();
    let cases: [(&str, &[&str]); 3] =
        [("p256", &["--kind", "signature"]), ("p256", &["--kind", "publish"]), ("ed25519", &["--kind", "publish"])];
    for (key, options) in cases {
        let bundle = "made.sigstore.json";
        workshop.attest(&format!("{key}.pem"), &[options, &["--out", bundle, "--replace"]].concat());
        let verify =
            || js_verifies(&workshop.path(bundle), &workshop.path("app"), &workshop.path(&format!("{key}.pub")));
        assert_eq!(verify(), Ok(()), "{key} {options:?}");
        let signature = ["/messageSignature/signature", "/dsseEnvelope/signatures/0/sig"];
        workshop.edit(bundle, |bundle| {
            let member = signature.iter().find(|member| bundle.pointer(member).is_some()).unwrap();
            flip(bundle.pointer_mut(member).unwrap());
        });
        assert!(verify().is_err(), "{key} {options:?}");
    }
}

#[test]
fn keys_that_others_cannot_verify_are_refused() {
    let workshop = workshop();
    workshop.openssl_key("p384", &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    for (key, kind) in [("p384.pem", "publish"), ("p384.pem", "signature"), ("ed25519.pem", "signature")] {
        let status = workshop.lastmile(&["attest", "app", "--key", key, "--kind", kind]);
        assert_eq!(status, lastmile_repo_tool::internal::cli::ExitStatus::Failed, "{key} {kind}");
    }
    assert!(!workshop.path("app.intoto.jsonl").exists() && !workshop.path("app.sigstore.json").exists());
}
