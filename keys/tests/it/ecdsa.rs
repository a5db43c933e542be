//! Tests of ECDSA: curves, digests, and signatures in strict DER.

use lastmile_keys::{KeyError, PublicKey};

use crate::der::{integer, raw_integer, sequence, value};
use crate::unhex;
use crate::vectors::*;

const SCHEME_256: &str = "ecdsa-sha2-nistp256";
const SCHEME_384: &str = "ecdsa-sha2-nistp384";
/// The order of P-256.
const ORDER_256: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

fn p256() -> PublicKey {
    PublicKey::from_tuf("ecdsa", SCHEME_256, P256).unwrap()
}

fn p384() -> PublicKey {
    PublicKey::from_tuf("ecdsa", SCHEME_384, P384).unwrap()
}

#[track_caller]
fn refused(scheme: &str, public: &str) {
    let key = PublicKey::from_tuf("ecdsa", scheme, public);
    assert!(matches!(key, Err(KeyError::Invalid(_))), "{public}: {key:?}");
}

/// The numbers r and s of [`P256_P1363`].
fn r_and_s() -> (Vec<u8>, Vec<u8>) {
    let both = unhex(P256_P1363);
    (both[..32].to_vec(), both[32..].to_vec())
}

#[test]
fn signatures_made_by_another_program_verify() {
    assert!(p256().verify(MESSAGE, &unhex(P256_SIGNATURE)));
    assert!(p384().verify(MESSAGE, &unhex(P384_SIGNATURE)));
}

#[test]
fn both_values_of_s_verify() {
    assert!(p256().verify(MESSAGE, &unhex(P256_HIGH_S)));
    assert!(p384().verify(MESSAGE, &unhex(P384_HIGH_S)));
}

#[test]
fn p_256_requires_sha_256_and_p_384_requires_sha_384() {
    assert!(!p256().verify(MESSAGE, &unhex(P256_OTHER_HASH)));
    assert!(!p384().verify(MESSAGE, &unhex(P384_OTHER_HASH)));
}

#[test]
fn another_message_or_another_key_does_not_verify() {
    assert!(!p256().verify(b"lastmilf", &unhex(P256_SIGNATURE)));
    assert!(!p384().verify(b"lastmilf", &unhex(P384_SIGNATURE)));
    assert!(!p384().verify(MESSAGE, &unhex(P256_SIGNATURE)));
    assert!(!p256().verify(MESSAGE, &unhex(P384_SIGNATURE)));
}

#[test]
fn no_changed_bit_of_a_signature_verifies() {
    let key = p256();
    let good = unhex(P256_SIGNATURE);
    for bit in 0..good.len() * 8 {
        let mut signature = good.clone();
        signature[bit / 8] ^= 1 << (bit % 8);
        assert!(!key.verify(MESSAGE, &signature), "bit {bit}");
    }
}

#[test]
fn f_4_2_2_5_an_ecdsa_signature_is_der_and_not_the_concatenation_of_r_and_s() {
    assert!(!p256().verify(MESSAGE, &unhex(P256_P1363)));
    assert!(!p384().verify(MESSAGE, &unhex(P384_P1363)));
}

#[test]
fn f_4_2_2_5_the_der_that_the_tests_write_is_valid() {
    let (r, s) = r_and_s();
    assert!(p256().verify(MESSAGE, &sequence(&[integer(&r), integer(&s)])));
}

#[test]
fn f_4_2_2_5_bytes_after_a_signature_or_in_it_are_refused() {
    let (r, s) = r_and_s();
    let good = unhex(P256_SIGNATURE);
    assert!(!p256().verify(MESSAGE, &[&good[..], &[0]].concat()));
    assert!(!p256().verify(MESSAGE, &[&good[..], &good[..]].concat()));
    let three = sequence(&[integer(&r), integer(&s), integer(&[1])]);
    assert!(!p256().verify(MESSAGE, &three));
    for length in 0..good.len() {
        assert!(!p256().verify(MESSAGE, &good[..length]), "{length} bytes");
    }
    assert!(!p256().verify(MESSAGE, &vec![0x30; 1 << 20]));
}

#[test]
fn f_4_2_2_5_ber_is_refused() {
    let (r, s) = r_and_s();
    let both = [integer(&r), integer(&s)].concat();
    let length = both.len() as u8;
    let long_length = [&[0x30, 0x81, length], &both[..]].concat();
    let longer_length = [&[0x30, 0x82, 0, length], &both[..]].concat();
    let no_length = [&[0x30, 0x80], &both[..], &[0, 0]].concat();
    let zero_before = sequence(&[raw_integer(&[&[0, 0], &r[..]].concat()), integer(&s)]);
    let zero_before_s = sequence(&[integer(&r), raw_integer(&[&[0, 0], &s[..]].concat())]);
    for (name, signature) in [
        ("one unnecessary length byte", long_length),
        ("two unnecessary length bytes", longer_length),
        ("indefinite length", no_length),
        ("zeros before r", zero_before),
        ("zeros before s", zero_before_s),
        ("a set", value(0x31, &both)),
        ("octet strings", sequence(&[value(0x04, &r), value(0x04, &s)])),
    ] {
        assert!(!p256().verify(MESSAGE, &signature), "{name}");
    }
}

#[test]
fn f_4_2_2_5_r_and_s_are_at_least_1_and_below_the_order() {
    let (r, s) = r_and_s();
    let order = unhex(ORDER_256);
    let huge = [&[1], &r[..]].concat();
    for (name, signature) in [
        ("r = 0", sequence(&[integer(&[0]), integer(&s)])),
        ("s = 0", sequence(&[integer(&r), integer(&[0])])),
        ("both 0", sequence(&[integer(&[0]), integer(&[0])])),
        ("both 1", sequence(&[integer(&[1]), integer(&[1])])),
        ("r = n", sequence(&[integer(&order), integer(&s)])),
        ("s = n", sequence(&[integer(&r), integer(&order)])),
        ("r of 33 bytes", sequence(&[integer(&huge), integer(&s)])),
        ("s of 33 bytes", sequence(&[integer(&r), integer(&huge)])),
        ("no numbers", sequence(&[])),
        ("empty numbers", sequence(&[raw_integer(&[]), raw_integer(&[])])),
        ("negative", sequence(&[raw_integer(&[0xff]), integer(&s)])),
    ] {
        assert!(!p256().verify(MESSAGE, &signature), "{name}");
    }
}

#[test]
fn f_4_2_2_6_a_key_on_another_curve_than_the_scheme_says_is_refused() {
    refused(SCHEME_256, P384);
    refused(SCHEME_384, P256);
    refused(SCHEME_256, SECP256K1);
    refused(SCHEME_256, P384_POINT);
    refused(SCHEME_384, P256_POINT);
}

#[test]
fn f_4_2_2_6_a_curve_given_by_its_parameters_is_refused() {
    refused(SCHEME_256, P256_EXPLICIT_PEM);
    refused(SCHEME_384, P384_EXPLICIT_PEM);
}

#[test]
fn f_4_2_2_2_a_point_in_hexadecimal_is_a_key_under_every_keytype() {
    for keytype in ["ecdsa", SCHEME_256] {
        let key = PublicKey::from_tuf(keytype, SCHEME_256, P256_POINT).unwrap();
        assert!(key.verify(MESSAGE, &unhex(P256_SIGNATURE)));
        assert_eq!(key.public(), P256);
    }
    for keytype in ["ecdsa", SCHEME_384] {
        let key = PublicKey::from_tuf(keytype, SCHEME_384, P384_POINT).unwrap();
        assert!(key.verify(MESSAGE, &unhex(P384_SIGNATURE)));
        assert_eq!(key.public(), P384);
    }
}

#[test]
fn f_4_2_2_2_a_key_of_the_first_sigstore_root_is_read() {
    let public = "04cbc5cab2684160323c25cd06c3307178a6b1d1c9b949328453ae473c5ba7527e\
                  35b13f298b41633382241f3fd8526c262d43b45adee5c618fa0642c82b8a9803";
    let key = PublicKey::from_tuf(SCHEME_256, SCHEME_256, public).unwrap();
    assert_eq!((key.keytype(), key.scheme()), ("ecdsa", SCHEME_256));
}

#[test]
fn values_that_are_not_points_are_refused() {
    let point = unhex(P256_POINT);
    let with = |tag: u8, body: &[u8]| hex::encode([&[tag], body].concat());
    let mut off_the_curve = point.clone();
    off_the_curve[64] ^= 1;
    for public in [
        String::new(),
        "00".to_owned(),
        "04".to_owned(),
        with(0x05, &point[1..33]),
        with(0x06, &point[1..]),
        with(0x07, &point[1..]),
        with(0x02, &[0xff; 32]),
        with(0x04, &[0; 64]),
        with(0x04, &point[1..64]),
        with(0x04, &[&point[1..], &[0]].concat()),
        hex::encode(off_the_curve),
        P256_POINT[1..].to_owned(),
        format!("{P256_POINT}\n"),
        hex::encode("04".repeat(1 << 16)),
    ] {
        refused(SCHEME_256, &public);
        refused(SCHEME_384, &public);
    }
}
