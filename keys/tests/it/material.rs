//! Tests that key material does not depend on the encoding, the keytype or the scheme.

use lastmile_keys::{KeyMaterial, PublicKey};

use crate::der::{bits, integer, pem, raw_integer, sequence, unpem};
use crate::vectors::*;

fn base64_of(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with('-')).collect()
}

#[track_caller]
fn assert_one_material(spellings: &[&str]) {
    let all: Vec<KeyMaterial> = spellings.iter().map(|text| KeyMaterial::of_text(text)).collect();
    for (material, text) in all.iter().zip(spellings) {
        assert_eq!(material, &all[0], "{text}");
    }
}

fn lines_of(text: &str, width: usize, end: &str) -> String {
    let base64 = base64_of(text);
    let lines: Vec<&str> = base64.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----{end}{}{end}-----END PUBLIC KEY-----{end}", lines.join(end))
}

#[test]
fn pem_with_any_line_length_and_line_ending_is_the_same_key() {
    for text in [ED25519_PEM, P256, P384, RSA] {
        let whole = base64_of(text);
        let url = whole.replace('+', "-").replace('/', "_");
        assert_one_material(&[
            text,
            &text.replace('\n', "\r\n"),
            &lines_of(text, 76, "\n"),
            &lines_of(text, 1, "\r\n"),
            &format!(" \n{text}\n\n"),
            &format!("a comment\n{text}"),
            &whole,
            url.trim_end_matches('='),
            &hex::encode(unpem(text)),
            &hex::encode_upper(unpem(text)),
        ]);
    }
}

#[test]
fn a_point_is_the_same_key_in_every_form_case_and_encoding() {
    assert_one_material(&[
        P256,
        P256_POINT,
        &P256_POINT.to_uppercase(),
        P256_COMPRESSED,
        P256_COMPRESSED_PEM,
        // The same key, with the parameters of the curve instead of the name of the curve.
        P256_EXPLICIT_PEM,
    ]);
    assert_one_material(&[P384, P384_POINT, P384_COMPRESSED, P384_COMPRESSED_PEM]);
}

#[test]
fn an_ed25519_key_is_the_same_key_in_hexadecimal_and_pem() {
    let colons: Vec<&str> = ED25519.as_bytes().chunks(2).map(|byte| std::str::from_utf8(byte).unwrap()).collect();
    assert_one_material(&[ED25519, &ED25519.to_uppercase(), ED25519_PEM, &colons.join(":"), &format!("0x{ED25519}")]);
}

#[test]
fn an_rsa_key_is_identified_by_its_modulus() {
    let info = unpem(RSA_PKCS1);
    // The modulus (256 bytes) follows the header of the SEQUENCE (4 bytes), the header of the INTEGER (4 bytes) and a
    // leading zero.
    let modulus = &info[9..265];
    let zeros = [&[0, 0, 0], modulus].concat();
    let padded = sequence(&[raw_integer(&zeros), integer(&[1, 0, 1])]);
    let other_exponent = sequence(&[integer(modulus), integer(&[3])]);
    assert_one_material(&[
        RSA,
        RSA_PKCS1,
        &pem("RSA PUBLIC KEY", &padded),
        &pem("PUBLIC KEY", &sequence(&[sequence(&[]), bits(&padded)])),
        &pem("RSA PUBLIC KEY", &other_exponent),
        &hex::encode(info),
    ]);
    assert_ne!(KeyMaterial::of_text(RSA), KeyMaterial::of_text(RSA_2049));
    assert_ne!(KeyMaterial::of_text(RSA), KeyMaterial::of_text(RSA_4096));
    // A key with the algorithm RSASSA-PSS is identified by its modulus too, not by its whole encoding.
    assert_ne!(KeyMaterial::of_text(RSA_PSS_OID).to_string(), hex::encode(unpem(RSA_PSS_OID)));
}

#[test]
fn a_public_key_and_its_metadata_text_are_the_same_key() {
    for (keytype, scheme, public) in [
        ("ed25519", "ed25519", ED25519),
        ("ecdsa", "ecdsa-sha2-nistp256", P256_COMPRESSED),
        ("ecdsa", "ecdsa-sha2-nistp384", P384),
        ("rsa", "rsassa-pss-sha256", RSA),
        ("rsa", "rsa-pkcs1v15-sha256", RSA),
    ] {
        let key = PublicKey::from_tuf(keytype, scheme, public).unwrap();
        assert_eq!(KeyMaterial::from(&key), KeyMaterial::of_text(public));
        assert_eq!(KeyMaterial::from(&key), KeyMaterial::of_text(&key.public()));
    }
}

#[test]
fn different_keys_and_texts_without_a_key_are_distinct() {
    let texts = [
        ED25519,
        ED25519_CANONICAL,
        P256,
        P384,
        RSA,
        RSA_2049,
        RSA_4096,
        "",
        "-",
        "not a key",
        "not  a key",
        "zz",
        "é",
        "-----BEGIN PUBLIC KEY-----",
        "30",
        "3000",
        "0400",
        "020100",
    ];
    for (at, one) in texts.iter().enumerate() {
        for other in &texts[at + 1..] {
            assert_ne!(KeyMaterial::of_text(one), KeyMaterial::of_text(other), "{one} {other}");
        }
    }
    assert_eq!(KeyMaterial::of_text(" not a key\n"), KeyMaterial::of_text("not a key"));
    // The point with the same x and the opposite y is a different key.
    let negative = P256_COMPRESSED.replacen("03", "02", 1);
    assert_ne!(KeyMaterial::of_text(&negative), KeyMaterial::of_text(P256));
}

#[test]
fn truncated_or_changed_text_never_panics() {
    for text in [ED25519_PEM, P256, RSA, RSA_PKCS1, CERTIFICATE, ED25519] {
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            _ = KeyMaterial::of_text(&text[..at]);
            _ = KeyMaterial::of_text(&text[at..]);
        }
        let der = if text == ED25519 { hex::decode(text).unwrap() } else { unpem(text) };
        for at in 0..der.len() {
            for byte in [0, 1, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = der.clone();
                changed[at] = byte;
                _ = KeyMaterial::of_text(&hex::encode(changed));
            }
        }
    }
}
