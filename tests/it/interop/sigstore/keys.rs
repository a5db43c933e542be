//! Tests that cosign can use keys from `lastmile-repo`, and that `lastmile-repo` can use keys from cosign.

use chrono::Utc;
use lastmile_attest::{Demands, EvidenceContent, EvidenceFile, LocalPolicy, TrustRoots};
use lastmile_metadata::{Algorithm, Hashes, TargetFile, TargetPath};
use lastmile_repo_tool::internal::cli::ExitStatus;

use super::workshop::{SIGN, Workshop, debian};

#[test]
fn an_encrypted_key_of_cosign_signs_and_is_imported() {
    let Some(cosign) = debian("cosign") else { return };
    let workshop = Workshop::new();
    workshop.cosign(&cosign, &["generate-key-pair"]).unwrap();
    assert!(String::from_utf8(workshop.read("cosign.key")).unwrap().contains("ENCRYPTED SIGSTORE PRIVATE KEY"));
    workshop.attest("cosign.key", &[]);
    assert_eq!(workshop.cosign_verifies_statement(&cosign, "cosign.pub", "app.intoto.jsonl", SIGN), Ok(()));
    assert_eq!(workshop.judge_signature("cosign.pub", "app.intoto.jsonl"), Ok(()));

    let folder = workshop.path("").to_str().unwrap().to_owned();
    let import = ["-C", &folder, "key", "import", "cosign.key", "--name", "release"];
    assert_eq!(workshop.lastmile(&import), ExitStatus::Done);
    assert_eq!(workshop.key("keys/release.pub"), workshop.key("cosign.pub"));
    workshop.write("wrong", b"another pass-phrase");
    let wrong = ["attest", "app", "--key", "cosign.key", "--replace", "--pass-phrase-file", "wrong"];
    assert_ne!(workshop.lastmile(&wrong), ExitStatus::Done);
}

#[test]
fn cosign_imports_our_keys() {
    let Some(cosign) = debian("cosign") else { return };
    let workshop = Workshop::new();
    let folder = workshop.path("").to_str().unwrap().to_owned();
    let generate = ["-C", &folder, "key", "generate", "ours", "--scheme", "ecdsa-p256", "--unencrypted"];
    assert_eq!(workshop.lastmile(&generate), ExitStatus::Done);
    workshop.cosign(&cosign, &["import-key-pair", "--key", "keys/ours.pem", "--output-key-prefix", "theirs"]).unwrap();
    assert_eq!(workshop.key("theirs.pub"), workshop.key("keys/ours.pub"));
    workshop.cosign_signs_file(&cosign, "theirs.key", "bundle.json");
    assert_eq!(workshop.judge_signature("keys/ours.pub", "bundle.json"), Ok(()));
    // `lastmile-repo` can also sign with the encrypted form of the key.
    workshop.attest("theirs.key", &["--kind", "signature"]);
    assert_eq!(workshop.cosign_verifies_file(&cosign, "theirs.pub", "app.sigstore.json"), Ok(()));
}

#[test]
fn a_public_key_of_cosign_becomes_a_signer_of_a_policy() {
    let Some(cosign) = debian("cosign") else { return };
    let workshop = Workshop::new();
    workshop.cosign(&cosign, &["generate-key-pair"]).unwrap();
    let show = ["key", "show", "cosign.pub", "--signer", "release", "--json"];
    let (status, shown) = workshop.lastmile_output(&show);
    assert_eq!(status, ExitStatus::Done);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let rule = serde_json::json!({ "name": "rule", "kind": "signature", "paths": ["*"], "by": ["release"] });
    let policy = serde_json::json!({ "version": 1, "signer": shown["signer"], "require": [rule] });
    let local = LocalPolicy::parse(policy.to_string().as_bytes()).unwrap();
    workshop.cosign_signs_file(&cosign, "cosign.key", "bundle.json");
    let hashes = Hashes::of(&workshop.read("app"), &[Algorithm::Sha256]).unwrap();
    let target = TargetFile::new(TargetPath::new("app").unwrap(), 0, hashes);
    let path = TargetPath::new("app.sigstore.json").unwrap();
    let evidence = EvidenceFile { path, content: EvidenceContent::Read(workshop.read("bundle.json")) };
    let verdict =
        Demands::of_chain(&[], target, &local).unwrap().judge(&[evidence], &TrustRoots::default(), Utc::now());
    assert_eq!(verdict.check(), Ok(()));

    let wrong = ["key", "show", "cosign.pub", "--signer", "Not a name"];
    assert_eq!(workshop.lastmile(&wrong), ExitStatus::Usage);
}
