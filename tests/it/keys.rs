//! Tests of keys in metadata (TUF specification 4.2.2), and of the real keys in Sigstore's roots.

use lastmile_metadata::{ErrorKind, KeyRing, Role, RoleName, Root, Targets, Threshold};
use lastmile_testkit::{Repository, TestKey, sign};
use lastmile_tests::{judge, judge_root, malformed, parse, verdict};
use serde_json::{Value, json};

/// Signs a targets file with `signer`, and verifies that one of `keys` has signed the file.
fn signed_by(keys: &[TestKey], signer: &TestKey) -> Result<(), lastmile_metadata::Error> {
    let mut repository = Repository::new();
    repository.set_keys("targets", keys, 1);
    repository.publish(&["root"]);
    let signed = repository.signed("targets").clone();
    repository.set_signers("targets", std::slice::from_ref(signer));
    judge::<Targets>(&repository, "targets", &signed).map(drop)
}

fn unsigned() -> lastmile_metadata::Error {
    verdict("targets", ErrorKind::ThresholdNotMet { valid: 0, threshold: Threshold::ONE })
}

fn sigstore(version: u32) -> Vec<u8> {
    let path = format!("{}/fixtures/sigstore/{version}.root.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

fn root_ring(root: &[u8]) -> KeyRing {
    parse::<Root>(root.to_vec()).unwrap().unverified(&RoleName::ROOT).unwrap().key_ring(&RoleName::ROOT).unwrap()
}

#[test]
fn f_4_2_2_1_unknown_members_of_a_key_are_kept_and_signed() {
    let key = TestKey::new("k").with_object(|object| {
        object["keyid_hash_algorithms"] = json!(["sha256", "sha512"]);
        object["x-tuf-on-ci-keyowner"] = json!("@somebody");
        object["keyval"]["x-more"] = json!({"a": 1});
    });
    assert_eq!(signed_by(std::slice::from_ref(&key), &key), Ok(()));
    let root = judge_root(|root| root["keys"][key.keyid()] = key.object().clone()).unwrap();
    let written: Value = serde_json::from_str(&root.write()).unwrap();
    assert_eq!(&written["keys"][key.keyid()], key.object());
}

#[test]
fn f_4_2_2_1_a_key_without_type_or_scheme_makes_the_document_invalid_and_one_without_value_is_ignored() {
    let without = |member: &str| {
        judge_root(|root| {
            root["keys"]["x"] = TestKey::new("x").object().clone();
            root["keys"]["x"].as_object_mut().unwrap().remove(member);
        })
    };
    malformed(without("keytype"));
    malformed(without("scheme"));
    assert!(without("keyval").unwrap().keys[&lastmile_metadata::KeyId::new("x")].public_key().is_err());
}

#[test]
fn f_4_2_2_2_each_standard_scheme_verifies() {
    for key in [TestKey::new("k"), TestKey::p256("k"), TestKey::p384("k")] {
        assert_eq!(signed_by(std::slice::from_ref(&key), &key), Ok(()), "{:?}", key.object());
    }
}

#[test]
fn f_4_2_2_2_the_older_key_type_of_ecdsa_verifies() {
    let p256 = TestKey::p256("k").with_object(|object| object["keytype"] = json!("ecdsa-sha2-nistp256"));
    let p384 = TestKey::p384("k").with_object(|object| object["keytype"] = json!("ecdsa-sha2-nistp384"));
    assert_eq!(
        (signed_by(std::slice::from_ref(&p256), &p256), signed_by(std::slice::from_ref(&p384), &p384)),
        (Ok(()), Ok(()))
    );
}

#[test]
fn f_4_2_2_2_sigstores_real_roots_verify() {
    for version in [5, 7, 8, 10, 13, 14] {
        let bytes = sigstore(version);
        let root = parse::<Root>(bytes.clone()).unwrap().verify(&RoleName::ROOT, &root_ring(&bytes)).unwrap();
        assert_eq!(root.version.get(), u64::from(version));
    }
}

#[test]
fn f_4_2_2_2_sigstores_real_roots_form_a_chain() {
    for (old, new) in [(7, 8), (13, 14)] {
        let found = parse::<Root>(sigstore(new)).unwrap().verify(&RoleName::ROOT, &root_ring(&sigstore(old)));
        assert_eq!(found.map(|root| root.version.get()), Ok(u64::from(new)));
    }
}

#[test]
fn f_4_2_2_2_hex_points_as_in_sigstores_first_roots_verify() {
    let pem = TestKey::p256("k");
    let hex_point = pem.with_object(|object| {
        object["keytype"] = json!("ecdsa-sha2-nistp256");
        let text = object["keyval"]["public"].as_str().unwrap();
        let key = lastmile_keys::PublicKey::from_tuf("ecdsa", "ecdsa-sha2-nistp256", text).unwrap();
        // An uncompressed point is the last 65 bytes of its SubjectPublicKeyInfo.
        let material = key.material();
        object["keyval"]["public"] = json!(hex::encode(&material[material.len() - 65..]));
    });
    assert_eq!(signed_by(std::slice::from_ref(&hex_point), &hex_point), Ok(()));
    let twins = [pem.clone(), hex_point];
    let mut repository = Repository::new();
    repository.set_keys("targets", &twins, 2);
    repository.publish(&["root"]);
    let signed = repository.signed("targets").clone();
    let counted_once =
        verdict("targets", ErrorKind::ThresholdNotMet { valid: 1, threshold: Threshold::new(2).unwrap() });
    assert_eq!(judge::<Targets>(&repository, "targets", &signed).map(drop), Err(counted_once));
}

#[test]
fn f_4_2_2_4_an_ed25519_key_of_wrong_length_is_ignored() {
    let good = TestKey::new("good");
    for public in ["", "00", &"0".repeat(63), &"0".repeat(65), &"0".repeat(66), &"z".repeat(64)] {
        let bad = TestKey::new("bad").with_object(|object| object["keyval"]["public"] = json!(public));
        assert_eq!(signed_by(&[bad.clone(), good.clone()], &good), Ok(()), "{public}");
        assert_eq!(signed_by(&[bad.clone(), good.clone()], &bad), Err(unsigned()), "{public}");
    }
}

#[test]
fn f_4_2_2_5_an_ecdsa_key_that_is_not_one_public_key_in_pem_is_ignored() {
    let key = TestKey::p256("k");
    let pem = key.object()["keyval"]["public"].as_str().unwrap().to_owned();
    let private = pem.replace("PUBLIC KEY", "PRIVATE KEY");
    for public in [format!("{pem}{pem}"), private, pem.replace("-----", ""), format!("{pem}trailing"), String::new()] {
        let bad = key.with_object(|object| object["keyval"]["public"] = json!(public));
        assert_eq!(signed_by(std::slice::from_ref(&bad), &bad), Err(unsigned()), "{public}");
    }
}

#[test]
fn f_4_2_2_6_type_scheme_and_value_of_a_key_must_agree() {
    let p256 = TestKey::p256("k");
    for (member, value) in
        [("scheme", "ecdsa-sha2-nistp384"), ("scheme", "ed25519"), ("keytype", "ed25519"), ("keytype", "rsa")]
    {
        let bent = p256.with_object(|object| object[member] = json!(value));
        assert_eq!(signed_by(std::slice::from_ref(&bent), &bent), Err(unsigned()), "{member} {value}");
    }
}

#[test]
fn f_4_2_2_7_a_key_of_an_unknown_type_is_ignored() {
    let good = TestKey::new("good");
    let strange = [
        TestKey::new("bad").with_object(|object| object["scheme"] = json!("ml-dsa-65/1")),
        TestKey::new("bad").with_object(|object| object["keytype"] = json!("sigstore-oidc")),
        TestKey::new("bad").with_object(|object| object["keyval"] = json!({"identity": "me", "issuer": "you"})),
    ];
    for bad in strange {
        assert_eq!(signed_by(&[bad.clone(), good.clone()], &good), Ok(()), "{:?}", bad.object());
        assert_eq!(signed_by(&[bad.clone(), good.clone()], &bad), Err(unsigned()), "{:?}", bad.object());
    }
}

#[test]
fn f_4_3_7_and_a2_a_key_id_that_is_not_the_digest_of_its_key_is_accepted() {
    // Version 11 of Sigstore's root has a key with such an ID.
    let wrong = TestKey::new("k").with_keyid(&"ab".repeat(32));
    assert_eq!(signed_by(std::slice::from_ref(&wrong), &wrong), Ok(()));
}

#[test]
fn a2_computed_key_ids_cover_the_whole_key_object() {
    let key = TestKey::new("k").with_object(|object| object["x-tuf-on-ci-keyowner"] = json!("@somebody"));
    let root = judge_root(|root| root["keys"][key.keyid()] = key.object().clone()).unwrap();
    assert_eq!(root.keys[&lastmile_metadata::KeyId::new(key.keyid())].keyid().as_str(), key.keyid());
}

#[test]
fn f_4_2_1_2_the_key_id_of_a_key_is_the_digest_of_its_canonical_object() {
    for key in [TestKey::new("k"), TestKey::p256("k"), TestKey::p384("k")] {
        let object = key.object();
        let text = |member: &str| object[member].as_str().unwrap().to_owned();
        let public = object["keyval"]["public"].as_str().unwrap();
        let read = lastmile_keys::PublicKey::from_tuf(&text("keytype"), &text("scheme"), public).unwrap();
        assert_eq!(lastmile_metadata::Key::from_public(&read).keyid().as_str(), key.keyid());
    }
}

#[test]
fn f_4_3_8_one_key_id_names_one_key_in_one_file() {
    let text = String::from_utf8(Repository::new().written("root")).unwrap();
    let keyid = TestKey::new("targets").keyid().to_owned();
    let other = serde_json::to_string(TestKey::new("other").object()).unwrap();
    let twice = text.replacen(&format!("\"{keyid}\": {{"), &format!("\"{keyid}\": {other}, \"{keyid}\": {{"), 1);
    assert_ne!(twice, text);
    malformed(parse::<Root>(twice.into_bytes()));
}

#[test]
fn f_4_2_1_5_empty_signatures_as_in_sigstores_roots_are_ignored() {
    let bytes = sigstore(13);
    let envelope = parse::<Root>(bytes.clone()).unwrap();
    let empty = envelope.signatures().iter().filter(|signature| signature.sig.is_empty()).count();
    let valid = root_ring(&bytes).signers(envelope.signed().as_bytes(), envelope.signatures()).len();
    assert_eq!((envelope.signatures().len(), empty, valid), (6, 1, 5));
}

#[test]
fn f_4_3_2_a_root_as_sigstore_writes_it_is_read() {
    let online = TestKey::p256("online").with_object(|object| {
        object["keytype"] = json!("ecdsa-sha2-nistp256");
        object["keyid_hash_algorithms"] = json!(["sha256", "sha512"]);
        object["x-tuf-on-ci-online-uri"] = json!("gcpkms:projects/p");
    });
    let mut repository = Repository::new();
    repository.set_keys("timestamp", std::slice::from_ref(&online), 1);
    repository.set_keys("snapshot", &[online], 1);
    let signed = repository.signed("root");
    signed["spec_version"] = json!("1.0");
    signed["expires"] = json!("2031-12-18T13:28:12.99008-06:00");
    signed["version"] = json!(1);
    signed["roles"]["timestamp"]["x-tuf-on-ci-expiry-period"] = json!(7);
    let bytes = sign(signed, &["root-1", "root-2", "root-3"].map(TestKey::new));
    let root = parse::<Root>(bytes.clone()).unwrap().verify(&RoleName::ROOT, &root_ring(&bytes)).unwrap();
    assert_eq!(root.spec_version, "1.0");
}
