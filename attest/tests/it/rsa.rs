//! Tests of signatures made with RSA keys, with and without log entries.

use lastmile_attest::{Evidence, Rejection, Signed, Trust, TrustDemands};
use lastmile_keys::PublicKey;
use serde_json::{Value, json};

use crate::fixtures::*;
use crate::generated::{self, FILE, Log, Promise, base64, bundle, sha256};

/// An RSA key, from `keys/tests/vectors.py`.
const RSA: &str = "-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAjgFzRbnUK/Djk4f02oV+\n\
qMqKnO3R7s5chVlbdlByqP68X0JGVDJgsbmZecyWNu0Cv9VqLLgJchVFPBWhJecV\n\
SGH123LiFhhgYQgKHvh74QrH20fR8lGM4QYGei23zNP179CNhC5TpBFNoN+UmrZt\n\
MFQxuuxW2fyJw8atC07RNPuVXhzhpUfczzlKogcO+815fj+nKpa6qONv4vh1a2O2\n\
WbiN2/G1L0jCAXy6oIsFtQNfTU2VMfJJ7x1WFPmH3q21s9ogZJ7APy9L9Duqmn7c\n\
fJn1BLXr8c9YYBRKRKw65TzmwUphBzpqFWW1vMQJ7mQcnzoZtzwKwsdOGZXQVPda\n\
YwIDAQAB\n\
-----END PUBLIC KEY-----\n\
";

/// The signature of the RSA key over [`FILE`] with PSS padding.
const PSS: &str = "04208b2b4dd6ae7294927298ace1d6fdcc835efcfc5c42eed4e686d67280ab93972455cc0f3f0de184ffa18ffc8bc5c0b2c42a0b1bbe620030438ef4bdd15b388840018c0a6f111853adcf998102111d524f16905776616d7a31ea2410c4d661397d763fd6c608db3dfd7a67c2b941a0ee21bbcfad5ff27384f4ac9d09d38086cc55d157411312ce8d6218281fe5affafa86846ccb98deecb6d2eed65daca2d86674db1127e868557db94dec90692fdd5e7f73292d3d514e53f1b862f5c5e336561df3594263cfe27ddeb431a92631d998329e2a0567149283b7edd4798f06444948aa76de049a64760bb0656f7ee015c7747b5cfc9c54a1d1ea122830921a49";

/// The signature of the RSA key over [`FILE`] with PKCS #1 v1.5 padding.
const PKCS1: &str = "4f06d3798b8123e2a9051673a626997ae7a70b295d85675ab2135e9858ff3db93806664f4456f98f1a488301379320bc136f64d216e79b6b8dcc9658ce68f2ed9a87bcd312d8047752fc0cfdb95c5856b8529b8e5130c18da59a94fbe2846e60a68a5188f94f8198154cec6ecf756e30bb6cd6712dde792c9ab7a058f8e34533232790b7324ceed7800b7e63797194394f05e994fe4f93ef8423356a8fc2cb1cb70804c998d7862be2b87e751054c6e05986fe12647d0bdabd3b9352ccd6aee189c8de6160efce061bc34782630fec315de26f269721c9c29a6dc2984c0efede25eeb97568b74ac8060c86fcab8f75d4b1875c79ce69b113693250395da2bf88";

fn key(scheme: &str) -> PublicKey {
    PublicKey::from_tuf("rsa", scheme, RSA).unwrap()
}

fn verify_logged(signature: &str, key: &PublicKey) -> Result<Signed, Rejection> {
    let signature = base64(hex::decode(signature).unwrap());
    let hash = json!({ "algorithm": "sha256", "value": sha256(FILE) });
    let logged = json!({ "content": signature, "publicKey": { "content": base64(RSA) } });
    let spec = json!({ "data": { "hash": hash }, "signature": logged });
    let body = json!({ "apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec }).to_string();
    let log = Log::new(9);
    let entries: Vec<Value> = log.record(&[&body], Promise::Signed);
    let bundle = bundle(("messageSignature", json!({ "signature": signature })), &entries).to_string();
    let root = generated::root(&[&log]);
    let trust = Trust { root: &root, demands: TrustDemands::default() };
    let evidence = Evidence::parse(bundle.as_bytes()).unwrap();
    evidence.items()[0].verify_key(&artifact(&sha256(FILE)), key, Some(&trust), now())
}

#[test]
fn a_cosign_signature_with_an_rsa_key_is_accepted_only_under_the_scheme_of_the_key() {
    for (signature, scheme, is_accepted) in [
        (PKCS1, "rsa-pkcs1v15-sha256", true),
        (PSS, "rsassa-pss-sha256", true),
        (PKCS1, "rsassa-pss-sha256", false),
        (PSS, "rsa-pkcs1v15-sha256", false),
    ] {
        let evidence = Evidence::parse(base64(hex::decode(signature).unwrap()).as_bytes()).unwrap();
        let verified = evidence.items()[0].verify_key(&artifact(&sha256(FILE)), &key(scheme), None, now());
        assert_eq!(verified.is_ok(), is_accepted, "{scheme}: {verified:?}");
    }
}

#[test]
fn an_rsa_key_in_a_log_must_use_pkcs1() {
    assert_eq!(verify_logged(PKCS1, &key("rsa-pkcs1v15-sha256")).unwrap().logs.len(), 1);
    let rejection = verify_logged(PSS, &key("rsassa-pss-sha256")).unwrap_err();
    let text = "log entries for rsa keys can be verified only with the scheme rsa-pkcs1v15-sha256";
    assert_eq!(rejection.to_string(), text);
    // `sigstore-verify` alone would accept this signature, although the scheme in the policy requires another padding.
    assert_eq!(verify_logged(PKCS1, &key("rsassa-pss-sha256")).unwrap_err(), Rejection::Signature);
}
