//! Tests of RSA: size limits, and the padding and digest of each scheme.

use lastmile_keys::{KeyError, PublicKey};

use crate::der::{NULL, RSA_ENCRYPTION, bits, integer, pem, raw_integer, sequence, unpem};
use crate::unhex;
use crate::vectors::*;

const PSS_256: &str = "rsassa-pss-sha256";
const SCHEMES: [&str; 4] = [PSS_256, "rsassa-pss-sha384", "rsassa-pss-sha512", "rsa-pkcs1v15-sha256"];

fn key(scheme: &str) -> PublicKey {
    PublicKey::from_tuf("rsa", scheme, RSA).unwrap()
}

fn read(public: &str) -> Result<PublicKey, KeyError> {
    PublicKey::from_tuf("rsa", PSS_256, public)
}

#[track_caller]
fn refused(public: &str) -> String {
    match read(public) {
        Err(KeyError::Invalid(reason)) => reason,
        other => panic!("{public}: {other:?}"),
    }
}

/// The modulus and the exponent are INTEGERs in DER.
fn spki(modulus: Vec<u8>, exponent: Vec<u8>) -> String {
    let algorithm = sequence(&[RSA_ENCRYPTION.to_vec(), NULL.to_vec()]);
    let key = sequence(&[modulus, exponent]);
    pem("PUBLIC KEY", &sequence(&[algorithm, bits(&key)]))
}

/// Returns an odd number with `bits` bits.
fn modulus(bits: usize) -> Vec<u8> {
    let mut bytes = vec![0xa5; bits.div_ceil(8)];
    let top = (bits - 1) % 8;
    bytes[0] = 1 << top | (0xa5 & ((1 << top) - 1));
    bytes
}

fn with_exponent(exponent: &[u8]) -> String {
    spki(integer(&modulus(2048)), integer(exponent))
}

#[test]
fn f_4_2_2_8_pss_accepts_salts_of_every_length() {
    for signature in [PSS_SHA256_SALT_0, PSS_SHA256_SALT_20, PSS_SHA256_SALT_32, PSS_SHA256_SALT_222] {
        assert!(key(PSS_256).verify(MESSAGE, &unhex(signature)));
        assert!(!key(PSS_256).verify(b"lastmilf", &unhex(signature)));
    }
}

#[test]
fn f_4_2_2_8_pss_makes_its_mask_with_the_same_hash() {
    assert!(!key(PSS_256).verify(MESSAGE, &unhex(PSS_MGF1_SHA1)));
}

#[test]
fn f_4_2_2_6_each_scheme_verifies_only_its_own_signatures() {
    let signatures = [PSS_SHA256_SALT_32, PSS_SHA384, PSS_SHA512, PKCS1V15_SHA256];
    for (scheme, own) in SCHEMES.into_iter().zip(signatures) {
        for signature in signatures {
            assert_eq!(key(scheme).verify(MESSAGE, &unhex(signature)), signature == own, "{scheme}");
        }
        assert!(!key(scheme).verify(MESSAGE, &unhex(PKCS1V15_SHA512)), "{scheme}");
    }
}

#[test]
fn f_4_2_2_6_a_pkcs1_v1_5_signature_is_refused_under_every_pss_scheme() {
    for scheme in &SCHEMES[..3] {
        assert!(!key(scheme).verify(MESSAGE, &unhex(PKCS1V15_SHA256)), "{scheme}");
        assert!(!key(scheme).verify(MESSAGE, &unhex(PKCS1V15_SHA512)), "{scheme}");
    }
}

#[test]
fn moduli_that_do_not_fill_whole_bytes_verify() {
    for (public, pss, pkcs1v15) in
        [(RSA_2049, RSA_2049_PSS, RSA_2049_PKCS1V15), (RSA_4096, RSA_4096_PSS, RSA_4096_PKCS1V15)]
    {
        assert!(read(public).unwrap().verify(MESSAGE, &unhex(pss)));
        let key = PublicKey::from_tuf("rsa", "rsa-pkcs1v15-sha256", public).unwrap();
        assert!(key.verify(MESSAGE, &unhex(pkcs1v15)));
        assert!(!key.verify(MESSAGE, &unhex(pss)));
    }
}

#[test]
fn a_signature_has_the_length_of_the_modulus_and_is_below_it() {
    let good = unhex(PSS_SHA256_SALT_32);
    for scheme in SCHEMES {
        let key = key(scheme);
        for length in [0, 1, 128, 255] {
            assert!(!key.verify(MESSAGE, &good[..length]));
        }
        assert!(!key.verify(MESSAGE, &[&[0], &good[..]].concat()));
        assert!(!key.verify(MESSAGE, &[&good[..], &[0]].concat()));
        assert!(!key.verify(MESSAGE, &unhex(PSS_PLUS_MODULUS)));
        for byte in [0, 1, 0xff] {
            assert!(!key.verify(MESSAGE, &[byte; 256]));
        }
        assert!(!key.verify(MESSAGE, &vec![1; 1 << 20]));
    }
}

#[test]
fn no_changed_byte_of_a_signature_verifies() {
    let key = key(PSS_256);
    for at in 0..256 {
        let mut signature = unhex(PSS_SHA256_SALT_32);
        signature[at] ^= 0x10;
        assert!(!key.verify(MESSAGE, &signature), "byte {at}");
    }
}

#[test]
fn f_4_2_2_3_rsa_modulus_below_2048_bits_is_refused() {
    for size in [8, 512, 1024, 2040, 2047] {
        let reason = refused(&spki(integer(&modulus(size)), integer(&[1, 0, 1])));
        assert!(reason.contains(&format!("{size} bits")), "{reason}");
    }
}

#[test]
fn f_4_2_2_3_rsa_modulus_of_2048_to_8192_bits_is_accepted() {
    for size in [2048, 2049, 3072, 4096, 8191, 8192] {
        assert!(read(&spki(integer(&modulus(size)), integer(&[1, 0, 1]))).is_ok(), "{size}");
    }
}

#[test]
fn f_4_2_2_3_rsa_modulus_above_8192_bits_is_refused() {
    for size in [8193, 15360, 16384, 1 << 18] {
        let reason = refused(&spki(integer(&modulus(size)), integer(&[1, 0, 1])));
        assert!(reason.contains(&format!("{size} bits")), "{reason}");
    }
}

#[test]
fn f_4_2_2_3_rsa_exponent_is_odd_and_at_least_3_and_has_at_most_33_bits() {
    for good in [&[3][..], &[17], &[1, 0, 1], &[0xff; 4], &[1, 0xff, 0xff, 0xff, 0xff]] {
        assert!(read(&with_exponent(good)).is_ok(), "{good:?}");
    }
    let as_the_modulus = modulus(2048);
    for bad in [&[0][..], &[1], &[2], &[4], &[1, 0, 0], &[2, 0, 0, 0, 1], &as_the_modulus] {
        refused(&with_exponent(bad));
    }
}

#[test]
fn f_4_2_2_5_numbers_of_an_rsa_key_are_positive_and_without_leading_zeros() {
    let exponent = integer(&[1, 0, 1]);
    let n = modulus(2048);
    refused(&spki(raw_integer(&n), exponent.clone()));
    refused(&spki(raw_integer(&[&[0, 0], &n[..]].concat()), exponent.clone()));
    refused(&spki(integer(&[0]), exponent.clone()));
    refused(&spki(raw_integer(&[]), exponent));
    refused(&spki(integer(&n), raw_integer(&[0, 3])));
    refused(&spki(integer(&n), raw_integer(&[0xff])));
    let mut even = n;
    even[255] ^= 1;
    refused(&spki(integer(&even), integer(&[1, 0, 1])));
}

#[test]
fn f_4_2_2_5_a_key_restricted_to_pss_by_its_object_identifier_is_refused() {
    assert!(refused(RSA_PSS_OID).contains("RSASSA-PSS"));
}

#[test]
fn f_4_2_2_5_the_parameters_of_rsa_encryption_are_null() {
    let der = unpem(RSA);
    let key = &der[24..];
    let pem_of = |algorithm: &[Vec<u8>]| pem("PUBLIC KEY", &sequence(&[sequence(algorithm), bits(key)]));
    let oid = RSA_ENCRYPTION.to_vec();
    assert!(read(&pem_of(&[oid.clone(), NULL.to_vec()])).is_ok());
    refused(&pem_of(std::slice::from_ref(&oid)));
    refused(&pem_of(&[oid, integer(&[1])]));
    refused(&pem_of(&[]));
}

#[test]
fn f_4_2_2_5_pkcs1_is_refused() {
    assert!(refused(RSA_PKCS1).contains("RSA PUBLIC KEY"));
    // The key is also refused under the label `PUBLIC KEY`.
    refused(&pem("PUBLIC KEY", &unpem(RSA_PKCS1)));
}

#[test]
fn f_4_2_2_6_an_rsa_keytype_with_another_key_is_refused() {
    refused(P256);
    refused(ED25519_PEM);
    refused(ED25519);
    for scheme in ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384"] {
        let key = PublicKey::from_tuf("ecdsa", scheme, RSA);
        assert!(matches!(key, Err(KeyError::Invalid(_))), "{key:?}");
    }
}

#[test]
fn a_key_that_ends_inside_a_byte_is_refused() {
    let algorithm = sequence(&[RSA_ENCRYPTION.to_vec(), NULL.to_vec()]);
    let mut key = bits(&sequence(&[integer(&modulus(2048)), integer(&[1, 0, 1])]));
    // The first byte in a BIT STRING is the number of unused bits in the last byte. DER requires unused bits to be
    // zero.
    let at = key.len() - sequence(&[integer(&modulus(2048)), integer(&[1, 0, 1])]).len() - 1;
    key[at] = 1;
    *key.last_mut().unwrap() &= 0xfe;
    let reason = refused(&pem("PUBLIC KEY", &sequence(&[algorithm, key])));
    assert!(reason.contains("whole number of bytes"), "{reason}");
}
