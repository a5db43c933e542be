//! Tests that private keys in PEM are compatible with `openssl` and Python's `cryptography`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lastmile_keys::{PemError, PrivateKey, PublicKey, Scheme, SignError, Signer};

use crate::der::{integer, pem, raw_integer, sequence, unpem, value};
use crate::vectors::*;

const PASS_PHRASE: &[u8] = b"correct horse";

const KEYS: [(Scheme, &str, &str, &str); 3] = [
    (Scheme::Ed25519, PRIVATE_ED25519, PRIVATE_ED25519_ENCRYPTED, PRIVATE_ED25519_PUBLIC),
    (Scheme::EcdsaP256, PRIVATE_P256, PRIVATE_P256_ENCRYPTED, PRIVATE_P256_PUBLIC),
    (Scheme::EcdsaP384, PRIVATE_P384, PRIVATE_P384_ENCRYPTED, PRIVATE_P384_PUBLIC),
];

fn openssl(arguments: &[&str], input: &str) -> String {
    let mut program = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    program.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = program.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn public_pem(key: &PublicKey) -> String {
    pem("PUBLIC KEY", key.material())
}

#[track_caller]
fn unsupported(pem: &str) -> String {
    match PrivateKey::from_pem(pem, Some(PASS_PHRASE)) {
        Err(PemError::Unsupported(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn malformed(pem: &str) {
    let key = PrivateKey::from_pem(pem, Some(PASS_PHRASE));
    assert!(matches!(key, Err(PemError::Malformed(_))), "{pem}: {key:?}");
}

#[test]
fn keys_written_by_other_programs_are_read() {
    for (scheme, plain, encrypted, public) in KEYS {
        for (pem, pass_phrase) in [(plain, None), (encrypted, Some(PASS_PHRASE))] {
            let key = PrivateKey::from_pem(pem, pass_phrase).unwrap();
            assert_eq!(key.scheme(), scheme);
            assert_eq!(public_pem(key.public_key()), public);
            assert!(key.public_key().verify(MESSAGE, &key.sign(MESSAGE).unwrap()));
        }
    }
}

#[test]
fn scrypt_and_pbkdf2_of_openssl_are_read() {
    for pem in [PRIVATE_SCRYPT, PRIVATE_FEW_ROUNDS] {
        let key = PrivateKey::from_pem(pem, Some(PASS_PHRASE)).unwrap();
        assert_eq!(public_pem(key.public_key()), PRIVATE_ED25519_PUBLIC);
    }
}

#[test]
fn keys_encrypted_by_the_installed_openssl_are_read() {
    for how in [&["-scrypt"][..], &[], &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"]] {
        for (_, plain, _, public) in KEYS {
            let command = [&["pkcs8", "-topk8", "-passout", "pass:a b"], how].concat();
            let encrypted = openssl(&command, plain);
            let key = PrivateKey::from_pem(&encrypted, Some(b"a b")).unwrap();
            assert_eq!(public_pem(key.public_key()), public);
        }
    }
}

#[test]
fn written_keys_can_be_read_again() {
    for scheme in Scheme::ALL {
        let key = PrivateKey::from_seed(scheme, &[7; 32]).unwrap();
        let plain = key.to_pem().unwrap();
        let read = PrivateKey::from_pem(&plain, None).unwrap();
        assert_eq!(read.public_key(), key.public_key());
        assert_eq!(read.sign(MESSAGE), key.sign(MESSAGE));

        let encrypted = key.to_encrypted_pem(PASS_PHRASE).unwrap();
        assert!(encrypted.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        let read = PrivateKey::from_pem(&encrypted, Some(PASS_PHRASE)).unwrap();
        assert_eq!(read.sign(MESSAGE), key.sign(MESSAGE));
    }
}

#[test]
fn openssl_reads_written_keys() {
    for scheme in Scheme::ALL {
        let key = PrivateKey::from_seed(scheme, &[7; 32]).unwrap();
        let public = openssl(&["pkey", "-pubout"], &key.to_pem().unwrap());
        assert_eq!(public, public_pem(key.public_key()), "{scheme}");
        let encrypted = key.to_encrypted_pem(PASS_PHRASE).unwrap();
        let command = ["pkey", "-pubout", "-passin", "pass:correct horse"];
        assert_eq!(openssl(&command, &encrypted), public_pem(key.public_key()), "{scheme}");
    }
}

#[test]
fn openssl_verifies_signatures() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("keys-openssl-verifies");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, content: &[u8]| -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    for (scheme, digest) in [
        (Scheme::Ed25519, &[][..]),
        (Scheme::EcdsaP256, &["-digest", "sha256"]),
        (Scheme::EcdsaP384, &["-digest", "sha384"]),
    ] {
        let key = PrivateKey::from_seed(scheme, &[7; 32]).unwrap();
        let message = write(&format!("{scheme}.message"), MESSAGE);
        let public = write(&format!("{scheme}.pem"), public_pem(key.public_key()).as_bytes());
        let signature = write(&format!("{scheme}.signature"), &key.sign(MESSAGE).unwrap());
        let [message, public, signature] = [&message, &public, &signature].map(|path| path.to_str().unwrap());
        let command = ["pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin"];
        let files = ["-in", message, "-sigfile", signature];
        openssl(&[&command[..], digest, &files].concat(), "");
    }
}

#[test]
fn new_files_have_the_promised_encryption_and_fresh_salt() {
    let key = PrivateKey::from_seed(Scheme::Ed25519, &[7; 32]).unwrap();
    let one = key.to_encrypted_pem(PASS_PHRASE).unwrap();
    let other = key.to_encrypted_pem(PASS_PHRASE).unwrap();
    assert_ne!(one, other);
    let parsed = openssl(&["asn1parse"], &one);
    assert!(parsed.contains(":scrypt") && parsed.contains("aes-256-cbc"), "{parsed}");
    // The scrypt parameters N, r and p.
    for number in [":4000", ":08", ":05"] {
        assert!(parsed.lines().any(|line| line.contains("INTEGER") && line.ends_with(number)));
    }
}

#[test]
fn a_wrong_pass_phrase_is_reported() {
    for pem in [PRIVATE_P256_ENCRYPTED, PRIVATE_SCRYPT] {
        for wrong in [&b"correct hors"[..], b"correct horse\n", b"", b"\0", &[0xff; 1000]] {
            let key = PrivateKey::from_pem(pem, Some(wrong));
            assert!(matches!(key, Err(PemError::WrongPassPhrase)), "{key:?}");
        }
        let key = PrivateKey::from_pem(pem, None);
        assert!(matches!(key, Err(PemError::PassPhraseNeeded)), "{key:?}");
    }
}

#[test]
fn a_wrong_pass_phrase_is_reported_even_if_the_padding_is_valid_by_chance() {
    for number in 0..2000 {
        let wrong = format!("wrong {number}");
        let key = PrivateKey::from_pem(PRIVATE_FEW_ROUNDS, Some(wrong.as_bytes()));
        assert!(matches!(key, Err(PemError::WrongPassPhrase)), "{number}: {key:?}");
    }
}

#[test]
fn an_unneeded_pass_phrase_is_ignored_and_an_empty_one_is_refused() {
    let key = PrivateKey::from_pem(PRIVATE_ED25519, Some(b"any")).unwrap();
    assert_eq!(key.to_encrypted_pem(b"").unwrap_err(), SignError::EmptyPassPhrase);
}

#[test]
fn white_space_around_a_private_key_does_not_matter() {
    for text in [PRIVATE_P256.replace('\n', "\r\n"), format!("\n  {PRIVATE_P256}\n\n"), PRIVATE_P256.trim().to_owned()]
    {
        assert!(PrivateKey::from_pem(&text, None).is_ok());
    }
}

#[test]
fn other_kinds_of_private_keys_are_unsupported() {
    assert!(unsupported(PRIVATE_RSA).contains("1.2.840.113549.1.1.1"));
    assert!(unsupported(PRIVATE_SECP256K1).contains("1.3.132.0.10"));
    assert!(unsupported(PRIVATE_SEC1).contains("openssl pkcs8 -topk8"));
    let openssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    unsupported(openssh);
    let ed448 = openssl(&["genpkey", "-algorithm", "ed448"], "");
    assert!(unsupported(&ed448).contains("1.3.101.113"));
}

#[test]
fn weak_encryption_is_unsupported() {
    unsupported(PRIVATE_HMAC_SHA1);
    unsupported(PRIVATE_TRIPLE_DES);
    unsupported(PRIVATE_PBES1);
}

/// `n`, `r` and `p` are INTEGERs in DER.
fn with_scrypt(n: Vec<u8>, r: Vec<u8>, p: Vec<u8>) -> String {
    let scrypt = value(0x06, &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x04, 0x0b]);
    let kdf = sequence(&[scrypt, sequence(&[value(0x04, &[7; 16]), n, r, p])]);
    encrypted(kdf)
}

/// Uses PBKDF2 with HMAC-SHA-256. `rounds` is an INTEGER in DER.
fn with_rounds(rounds: Vec<u8>) -> String {
    let pbkdf2 = value(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c]);
    let hmac = value(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09]);
    let hmac = sequence(&[hmac, vec![5, 0]]);
    let kdf = sequence(&[pbkdf2, sequence(&[value(0x04, &[7; 16]), rounds, hmac])]);
    encrypted(kdf)
}

fn encrypted(kdf: Vec<u8>) -> String {
    let pbes2 = value(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d]);
    let aes = value(0x06, &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a]);
    let cipher = sequence(&[aes, value(0x04, &[7; 16])]);
    let algorithm = sequence(&[pbes2, sequence(&[kdf, cipher])]);
    pem("ENCRYPTED PRIVATE KEY", &sequence(&[algorithm, value(0x04, &[7; 64])]))
}

#[test]
fn a_key_file_cannot_exhaust_memory_or_time() {
    let small = || integer(&[1]);
    let n = |log: usize| integer(&[&[1 << (log % 8)][..], &vec![0; log / 8]].concat());
    // Files with moderate parameters are accepted, so the only error is the wrong pass-phrase.
    for good in [with_scrypt(n(4), integer(&[8]), small()), with_rounds(small())] {
        let key = PrivateKey::from_pem(&good, Some(b"x"));
        assert!(matches!(key, Err(PemError::WrongPassPhrase)), "{key:?}");
    }
    for bad in [
        with_scrypt(n(30), integer(&[8]), small()),
        with_scrypt(n(63), integer(&[8]), small()),
        with_scrypt(n(62), integer(&[0xff, 0xff]), integer(&[0xff, 0xff])),
        with_scrypt(n(14), integer(&[8]), integer(&[0xff, 0xff])),
        with_scrypt(integer(&[0]), integer(&[8]), small()),
        with_scrypt(integer(&[1]), integer(&[8]), small()),
        with_scrypt(integer(&[3]), integer(&[8]), small()),
        with_scrypt(n(4), integer(&[0]), small()),
        with_scrypt(n(4), integer(&[8]), integer(&[0])),
        with_scrypt(n(4), raw_integer(&[0xff]), small()),
        with_scrypt(n(64), integer(&[8]), small()),
        with_rounds(integer(&[0])),
        with_rounds(integer(&[0xff; 4])),
        with_rounds(integer(&[0xff; 8])),
    ] {
        let key = PrivateKey::from_pem(&bad, Some(b"x"));
        assert!(matches!(key, Err(PemError::Unsupported(_) | PemError::Malformed(_))), "{bad}: {key:?}");
    }
}

#[test]
fn files_that_are_not_private_keys_are_malformed() {
    for text in [
        "",
        "-----BEGIN PRIVATE KEY-----",
        P256,
        CERTIFICATE,
        &format!("{PRIVATE_ED25519}{PRIVATE_ED25519}"),
        &format!("{PRIVATE_ED25519}x"),
        &PRIVATE_ED25519.replace("PRIVATE KEY", "TEST"),
        &pem("PRIVATE KEY", &[]),
        &pem("ENCRYPTED PRIVATE KEY", &[]),
        &pem("ENCRYPTED PRIVATE KEY", &unpem(PRIVATE_P256)),
        &pem("ENCRYPTED PRIVATE KEY", &[&unpem(PRIVATE_SCRYPT)[..], &[0]].concat()),
        &pem("PRIVATE KEY", &unpem(PRIVATE_SCRYPT)),
        &pem("PRIVATE KEY", &unpem(P256)),
        &pem("PRIVATE KEY", &[&unpem(PRIVATE_P256)[..], &[0]].concat()),
    ] {
        malformed(text);
    }
}

#[test]
fn a_private_key_with_the_public_key_of_another_is_malformed() {
    let mut der = unpem(PRIVATE_P256);
    let public = unpem(P256);
    let length = der.len();
    der[length - 64..].copy_from_slice(&public[public.len() - 64..]);
    malformed(&pem("PRIVATE KEY", &der));

    // Version 2 of PKCS#8 also contains the public key (RFC 8410, 10.3).
    let seed = &unpem(PRIVATE_ED25519)[16..];
    let version_2 = |public: &[u8]| {
        let algorithm = sequence(&[value(0x06, &[0x2b, 0x65, 0x70])]);
        let secret = value(0x04, &value(0x04, seed));
        let public = value(0x81, &[&[0], public].concat());
        pem("PRIVATE KEY", &sequence(&[integer(&[1]), algorithm, secret, public]))
    };
    let own = unpem(PRIVATE_ED25519_PUBLIC);
    let key = PrivateKey::from_pem(&version_2(&own[12..]), None).unwrap();
    assert_eq!(public_pem(key.public_key()), PRIVATE_ED25519_PUBLIC);
    malformed(&version_2(&crate::unhex(ED25519)));
    malformed(&version_2(&own[13..]));
}

#[test]
fn ed25519_keys_of_another_length_are_malformed() {
    for length in [0, 31, 33, 64] {
        let algorithm = sequence(&[value(0x06, &[0x2b, 0x65, 0x70])]);
        let secret = value(0x04, &value(0x04, &vec![7; length]));
        malformed(&pem("PRIVATE KEY", &sequence(&[integer(&[0]), algorithm, secret])));
    }
}

#[test]
fn a_changed_private_key_never_panics() {
    for original in [PRIVATE_ED25519, PRIVATE_P256, PRIVATE_FEW_ROUNDS] {
        let der = unpem(original);
        let label = if original == PRIVATE_FEW_ROUNDS { "ENCRYPTED PRIVATE KEY" } else { "PRIVATE KEY" };
        for at in 0..der.len() {
            _ = PrivateKey::from_pem(&pem(label, &der[..at]), Some(PASS_PHRASE));
            for bit in 0..8 {
                let mut changed = der.clone();
                changed[at] ^= 1 << bit;
                _ = PrivateKey::from_pem(&pem(label, &changed), Some(PASS_PHRASE));
            }
        }
    }
}
