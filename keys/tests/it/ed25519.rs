//! Tests of strict Ed25519 verification (RFC 8032).

use lastmile_keys::{KeyError, PublicKey};

use crate::unhex;
use crate::vectors::*;

fn key(public: &str) -> PublicKey {
    PublicKey::from_tuf("ed25519", "ed25519", public).unwrap()
}

#[track_caller]
fn refused(public: &str) {
    let key = PublicKey::from_tuf("ed25519", "ed25519", public);
    assert!(matches!(key, Err(KeyError::Invalid(_))), "{public:?}: {key:?}");
}

#[test]
fn a_signature_made_by_another_program_verifies() {
    assert!(key(ED25519).verify(MESSAGE, &unhex(ED25519_SIGNATURE)));
}

#[test]
fn rfc_8032_test_vectors_verify() {
    for (public, message, signature) in [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ] {
        assert!(key(public).verify(&unhex(message), &unhex(signature)));
    }
}

#[test]
fn another_message_or_another_key_does_not_verify() {
    let signature = unhex(ED25519_SIGNATURE);
    assert!(!key(ED25519).verify(b"lastmilf", &signature));
    assert!(!key(ED25519).verify(b"", &signature));
    assert!(!key(ED25519_CANONICAL).verify(MESSAGE, &signature));
}

#[test]
fn no_changed_bit_of_a_signature_verifies() {
    let key = key(ED25519);
    for bit in 0..512 {
        let mut signature = unhex(ED25519_SIGNATURE);
        signature[bit / 8] ^= 1 << (bit % 8);
        assert!(!key.verify(MESSAGE, &signature), "bit {bit}");
    }
}

#[test]
fn a_signature_of_another_length_does_not_verify() {
    let key = key(ED25519);
    let signature = unhex(ED25519_SIGNATURE);
    for length in 0..64 {
        assert!(!key.verify(MESSAGE, &signature[..length]), "{length} bytes");
    }
    assert!(!key.verify(MESSAGE, &[&signature[..], &[0]].concat()));
    assert!(!key.verify(MESSAGE, &vec![0; 1 << 20]));
}

#[test]
fn s_of_the_group_order_or_more_is_refused() {
    assert!(!key(ED25519).verify(MESSAGE, &unhex(ED25519_LARGE_S)));
}

#[test]
fn r_of_small_order_is_refused() {
    assert!(!key(ED25519).verify(MESSAGE, &unhex(ED25519_SMALL_R)));
}

#[test]
fn a_signature_valid_only_up_to_the_cofactor_is_refused() {
    assert!(!key(ED25519).verify(MESSAGE, &unhex(ED25519_MIXED_R)));
    assert!(!key(ED25519_MIXED).verify(MESSAGE, &unhex(ED25519_MIXED_SIGNATURE)));
}

#[test]
fn keys_of_small_order_are_refused_in_every_encoding() {
    for public in ED25519_SMALL_ORDER {
        refused(public);
    }
}

#[test]
fn a_point_has_one_encoding() {
    refused(ED25519_NON_CANONICAL);
    assert_eq!(key(ED25519_CANONICAL).public(), ED25519_CANONICAL);
}

#[test]
fn f_4_2_2_4_an_ed25519_key_without_64_digits_is_refused_without_panic() {
    for bytes in [0, 1, 31, 33, 64, 1 << 16] {
        refused(&"d7".repeat(bytes));
    }
    refused(&ED25519[..63]);
    refused(&format!("{ED25519}0"));
}

#[test]
fn f_4_2_2_4_an_ed25519_key_with_other_characters_is_refused() {
    refused(&format!("{}g", &ED25519[..63]));
    refused(&format!("0x{}", &ED25519[..62]));
    refused(&format!("{ED25519}\n"));
    refused(&format!(" {ED25519}"));
    refused(&"é".repeat(32));
    refused(ED25519_PEM);
}

#[test]
fn f_4_2_2_4_a_value_that_is_not_a_point_is_refused() {
    refused(&format!("02{}", "00".repeat(31)));
}

#[test]
fn f_4_2_2_4_upper_case_is_the_same_key_and_written_back_in_lower_case() {
    let upper = key(&ED25519.to_uppercase());
    assert_eq!(upper, key(ED25519));
    assert_eq!(upper.public(), ED25519);
}
