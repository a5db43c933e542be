//! Tests of supported keytypes and schemes, and of the equality of keys.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};

use lastmile_keys::{KeyError, PublicKey};

use crate::unhex;
use crate::vectors::*;

const SCHEMES: [(&str, &str, &str); 7] = [
    ("ed25519", "ed25519", ED25519),
    ("ecdsa", "ecdsa-sha2-nistp256", P256),
    ("ecdsa", "ecdsa-sha2-nistp384", P384),
    ("rsa", "rsassa-pss-sha256", RSA),
    ("rsa", "rsassa-pss-sha384", RSA),
    ("rsa", "rsassa-pss-sha512", RSA),
    ("rsa", "rsa-pkcs1v15-sha256", RSA),
];

fn read((keytype, scheme, public): (&str, &str, &str)) -> PublicKey {
    PublicKey::from_tuf(keytype, scheme, public).unwrap()
}

#[track_caller]
fn assert_one_key(spellings: &[(&str, &str, &str)]) {
    let keys: Vec<PublicKey> = spellings.iter().copied().map(read).collect();
    for key in &keys {
        assert_eq!(key, &keys[0]);
        assert_eq!(key.cmp(&keys[0]), Ordering::Equal);
        assert_eq!(key.material(), keys[0].material());
    }
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 1);
}

#[test]
fn f_4_2_2_2_every_supported_name_is_kept_and_written_back() {
    for (keytype, scheme, public) in SCHEMES {
        let key = read((keytype, scheme, public));
        assert_eq!((key.keytype(), key.scheme(), &*key.public()), (keytype, scheme, public));
        assert_eq!(read((key.keytype(), key.scheme(), &key.public())), key);
    }
}

#[test]
fn f_4_2_2_2_legacy_keytypes_are_read_and_written_back_as_ecdsa() {
    for (scheme, public, signature) in
        [("ecdsa-sha2-nistp256", P256, P256_SIGNATURE), ("ecdsa-sha2-nistp384", P384, P384_SIGNATURE)]
    {
        let key = read((scheme, scheme, public));
        assert_eq!((key.keytype(), key.scheme()), ("ecdsa", scheme));
        assert!(key.verify(MESSAGE, &unhex(signature)));
    }
}

#[test]
fn f_4_2_2_6_names_that_do_not_belong_together_are_unsupported() {
    for (keytype, scheme, public) in [
        ("ed25519", "ecdsa-sha2-nistp256", ED25519),
        ("ed25519", "rsassa-pss-sha256", ED25519),
        ("ecdsa", "ed25519", P256),
        ("ecdsa", "rsassa-pss-sha256", P256),
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", P384),
        ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp256", P256),
        ("rsa", "ed25519", RSA),
        ("rsa", "ecdsa-sha2-nistp256", RSA),
        ("rsa", "rsa", RSA),
        ("rsassa-pss-sha256", "rsassa-pss-sha256", RSA),
    ] {
        let unsupported = KeyError::Unsupported { keytype: keytype.to_owned(), scheme: scheme.to_owned() };
        assert_eq!(PublicKey::from_tuf(keytype, scheme, public), Err(unsupported));
    }
}

#[test]
fn f_4_2_2_7_unknown_names_are_distinguished_from_invalid_keys() {
    for (keytype, scheme) in [
        ("", ""),
        ("ed448", "ed448"),
        ("ED25519", "ed25519"),
        ("ed25519 ", "ed25519"),
        ("ed25519", "Ed25519"),
        ("ed25519", ""),
        ("ecdsa", "ecdsa-sha2-nistp521"),
        ("ecdsa", "ecdsa-sha2-secp256k1"),
        ("rsa", "rsassa-pss-sha1"),
        ("rsa", "rsassa-pss-md5"),
        ("rsa", "rsa-pkcs1v15-sha1"),
        ("ml-dsa", "ml-dsa-65/1"),
        ("sigstore-oidc", "Fulcio"),
    ] {
        let key = PublicKey::from_tuf(keytype, scheme, ED25519);
        assert!(matches!(key, Err(KeyError::Unsupported { .. })), "{keytype} {scheme}: {key:?}");
    }
}

#[test]
fn a3_an_ecdsa_key_is_the_same_key_in_every_encoding() {
    let scheme = "ecdsa-sha2-nistp256";
    let narrow = P256.replace('\n', "\r\n");
    assert_one_key(&[
        ("ecdsa", scheme, P256),
        (scheme, scheme, P256),
        ("ecdsa", scheme, &narrow),
        ("ecdsa", scheme, P256_POINT),
        (scheme, scheme, P256_POINT),
        (scheme, scheme, &P256_POINT.to_uppercase()),
        ("ecdsa", scheme, P256_COMPRESSED),
        ("ecdsa", scheme, P256_COMPRESSED_PEM),
    ]);
    let scheme = "ecdsa-sha2-nistp384";
    assert_one_key(&[
        ("ecdsa", scheme, P384),
        (scheme, scheme, P384_POINT),
        ("ecdsa", scheme, P384_COMPRESSED),
        ("ecdsa", scheme, P384_COMPRESSED_PEM),
    ]);
}

#[test]
fn a3_an_rsa_key_is_the_same_key_under_every_scheme() {
    assert_one_key(&SCHEMES[3..]);
}

#[test]
fn a3_an_ed25519_key_is_the_same_key_in_either_case() {
    let upper = ED25519.to_uppercase();
    assert_one_key(&[("ed25519", "ed25519", ED25519), ("ed25519", "ed25519", &upper)]);
}

#[test]
fn a3_different_keys_are_different() {
    let keys: BTreeSet<PublicKey> = [
        ("ed25519", "ed25519", ED25519),
        ("ed25519", "ed25519", ED25519_CANONICAL),
        ("ecdsa", "ecdsa-sha2-nistp256", P256),
        ("ecdsa", "ecdsa-sha2-nistp384", P384),
        ("rsa", "rsassa-pss-sha256", RSA),
        ("rsa", "rsassa-pss-sha256", RSA_2049),
        ("rsa", "rsassa-pss-sha256", RSA_4096),
    ]
    .into_iter()
    .map(read)
    .collect();
    assert_eq!(keys.len(), 7);
}

#[test]
fn a3_material_equals_the_public_key_of_other_programs() {
    for ((keytype, scheme, public), spki) in
        [(SCHEMES[0], ED25519_PEM), (SCHEMES[1], P256), (SCHEMES[2], P384), (SCHEMES[3], RSA)]
    {
        let key = read((keytype, scheme, public));
        assert_eq!(key.material(), crate::der::unpem(spki));
    }
}

#[test]
fn f_4_2_2_6_a_signature_of_one_key_verifies_under_no_other() {
    let signatures = [ED25519_SIGNATURE, P256_SIGNATURE, P384_SIGNATURE, PSS_SHA256_SALT_32, PKCS1V15_SHA256];
    for (at, name) in SCHEMES.into_iter().enumerate() {
        let good: Vec<usize> = (0..5).filter(|i| read(name).verify(MESSAGE, &unhex(signatures[*i]))).collect();
        let expected = match at {
            0..=3 => vec![at],
            6 => vec![4],
            _ => vec![],
        };
        assert_eq!(good, expected, "{name:?}");
    }
}

#[test]
fn changed_or_truncated_key_text_never_panics() {
    for (keytype, scheme, public) in SCHEMES {
        for at in 0..public.len() {
            _ = PublicKey::from_tuf(keytype, scheme, &public[..at]);
            _ = PublicKey::from_tuf(keytype, scheme, &public[at..]);
            for with in ["", "A", "f", "\n", "-", "\0", "é"] {
                let changed = format!("{}{with}{}", &public[..at], &public[at + 1..]);
                if let Ok(key) = PublicKey::from_tuf(keytype, scheme, &changed) {
                    // If the changed text is accepted, using and writing the key must not panic.
                    assert_eq!(read((key.keytype(), key.scheme(), &key.public())), key);
                }
            }
        }
    }
}

#[test]
fn a_changed_bit_of_a_key_never_panics() {
    for (keytype, scheme, public) in [SCHEMES[1], SCHEMES[3], ("ecdsa", SCHEMES[1].1, P256_EXPLICIT_PEM)] {
        let der = crate::der::unpem(public);
        for bit in 0..der.len() * 8 {
            let mut changed = der.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let public = crate::der::pem("PUBLIC KEY", &changed);
            if let Ok(key) = PublicKey::from_tuf(keytype, scheme, &public) {
                assert_eq!(key.material(), changed);
                assert!(!key.verify(MESSAGE, &unhex(P256_SIGNATURE)));
            }
        }
    }
}

#[test]
fn messages_of_any_length_are_accepted() {
    for name in SCHEMES {
        assert!(!read(name).verify(&vec![0; 1 << 20], &[]));
        assert!(!read(name).verify(b"", &[]));
    }
}

#[test]
fn debug_shows_scheme_and_material() {
    let shown = format!("{:?}", read(SCHEMES[0]));
    assert!(shown.contains("ed25519") && shown.contains(ED25519), "{shown}");
}

#[test]
fn errors_escape_the_found_text() {
    let error = PublicKey::from_tuf("\u{1b}[31m", "x\ny", "").unwrap_err().to_string();
    assert_eq!(error, r#"keys of keytype "\u{1b}[31m" with scheme "x\ny" are not supported"#);
    let public = "-----BEGIN \u{1b}[31m-----\nAAAA\n-----END \u{1b}[31m-----";
    let error = PublicKey::from_tuf("rsa", "rsassa-pss-sha256", public).unwrap_err().to_string();
    assert!(!error.contains('\u{1b}'), "{error:?}");
}
