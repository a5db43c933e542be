//! Tests of PEM in `keyval.public`: exactly one block, with any white space.

use lastmile_keys::{KeyError, PublicKey};

use crate::der::{pem, unpem};
use crate::vectors::*;

fn read(public: &str) -> Result<PublicKey, KeyError> {
    PublicKey::from_tuf("ecdsa", "ecdsa-sha2-nistp256", public)
}

#[track_caller]
fn refused(public: &str) {
    for key in [read(public), PublicKey::from_tuf("rsa", "rsassa-pss-sha256", public)] {
        assert!(matches!(key, Err(KeyError::Invalid(_))), "{public:?}: {key:?}");
    }
}

fn base64() -> String {
    P256.lines().filter(|line| !line.starts_with('-')).collect()
}

fn block(content: &str) -> String {
    format!("-----BEGIN PUBLIC KEY-----\n{content}\n-----END PUBLIC KEY-----\n")
}

#[test]
fn a3_pem_with_other_white_space_is_the_same_key() {
    let key = read(P256).unwrap();
    let narrow: Vec<String> =
        base64().as_bytes().chunks(7).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
    for public in [
        P256.trim_end().to_owned(),
        P256.replace('\n', "\r\n"),
        P256.replace('\n', "\r"),
        format!("{P256}\n\n"),
        format!("\n \t{P256} \r\n"),
        block(&base64()),
        block(&narrow.join("\n")),
        block(&format!("\n{}\n", base64())),
        P256.replace('\n', " \n"),
    ] {
        assert_eq!(read(&public), Ok(key.clone()), "{public:?}");
    }
}

#[test]
fn f_4_2_2_5_anything_before_or_after_the_block_is_refused() {
    for public in [
        format!("{P256}#"),
        format!("{P256}\0"),
        format!("# my key\n{P256}"),
        format!("\u{feff}{P256}"),
        format!("{P256}{P256}"),
        format!("{P256}\n{P384}"),
        format!("{P256}{RSA}"),
        format!("{P256}{CERTIFICATE}"),
        format!("{}-----", P256.trim_end()),
    ] {
        refused(&public);
    }
}

#[test]
fn f_4_2_2_5_an_invalid_block_is_refused() {
    for public in [
        String::new(),
        "-----".to_owned(),
        "-----BEGIN ".to_owned(),
        "-----BEGIN PUBLIC KEY-----".to_owned(),
        "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n".to_owned(),
        "-----BEGIN PUBLIC KEY----------END PUBLIC KEY-----".to_owned(),
        "-----BEGIN -----\n-----END -----".to_owned(),
        "-----BEGIN PUBLIC KEY-----END PUBLIC KEY-----".to_owned(),
        P256.replace("END PUBLIC KEY", "END PRIVATE KEY"),
        P256.replace("PUBLIC KEY", "public key"),
        P256.replace("PUBLIC KEY", ""),
        P256.replace("-----\n", "-----"),
        P256.replace("-----END PUBLIC KEY-----\n", ""),
        P256.replace("-----BEGIN PUBLIC KEY-----\n", ""),
        block(&format!("Proc-Type: 4,ENCRYPTED\n\n{}", base64())),
        block(&base64()[1..]),
        block(base64().trim_end_matches('=').get(1..).unwrap()),
        block(&format!("{}=", base64())),
        block(&base64().replace('A', "-")),
        block(&base64().replace('A', "é")),
    ] {
        refused(&public);
    }
}

#[test]
fn f_4_2_2_5_other_kinds_of_blocks_are_refused() {
    for public in [CERTIFICATE, RSA_PKCS1, PRIVATE_SEC1, PRIVATE_P256, PRIVATE_RSA, PRIVATE_SCRYPT] {
        refused(public);
    }
    // The content of these blocks is also refused under the label `PUBLIC KEY`.
    for public in [CERTIFICATE, RSA_PKCS1, PRIVATE_SEC1, PRIVATE_P256, PRIVATE_RSA, PRIVATE_SCRYPT] {
        refused(&pem("PUBLIC KEY", &unpem(public)));
    }
    let Err(KeyError::Invalid(reason)) = read(PRIVATE_P256) else { panic!() };
    assert!(reason.contains("private"), "{reason}");
}

#[test]
fn f_4_2_2_5_truncated_der_and_trailing_bytes_are_refused() {
    for public in [P256, RSA] {
        let der = unpem(public);
        refused(&pem("PUBLIC KEY", &[&der[..], &[0]].concat()));
        refused(&pem("PUBLIC KEY", &[&der[..], &der[..]].concat()));
        for length in 0..der.len() {
            refused(&pem("PUBLIC KEY", &der[..length]));
        }
    }
}

#[test]
fn f_4_2_2_5_ber_is_refused() {
    let der = unpem(P256);
    let content = &der[2..];
    let length = content.len() as u8;
    refused(&pem("PUBLIC KEY", &[&[0x30, 0x81, length], content].concat()));
    refused(&pem("PUBLIC KEY", &[&[0x30, 0x80], content, &[0, 0]].concat()));
}

#[test]
fn public_keys_are_written_in_the_form_of_other_programs() {
    assert_eq!(read(P256).unwrap().public(), P256);
    assert_eq!(PublicKey::from_tuf("rsa", "rsassa-pss-sha256", RSA).unwrap().public(), RSA);
}
