//! Tests of private keys: generation and signing, and that secrets are not displayed.

use lastmile_keys::{PrivateKey, PublicKey, Scheme, Signer, UnknownScheme};
use pkcs8::EncodePrivateKey as _;

use crate::der::pem;
use crate::unhex;
use crate::vectors::MESSAGE;

#[test]
fn a_signature_verifies_with_the_public_key() {
    for scheme in Scheme::ALL {
        let key = PrivateKey::generate(scheme).unwrap();
        let signature = key.sign(MESSAGE).unwrap();
        assert!(key.public_key().verify(MESSAGE, &signature), "{scheme}");
        assert!(!key.public_key().verify(b"lastmilf", &signature), "{scheme}");
    }
}

#[test]
fn a_public_key_survives_writing_to_metadata() {
    for scheme in Scheme::ALL {
        let key = PrivateKey::generate(scheme).unwrap();
        let public = key.public_key();
        let read = PublicKey::from_tuf(public.keytype(), public.scheme(), &public.public()).unwrap();
        assert_eq!(&read, public);
        assert!(read.verify(MESSAGE, &key.sign(MESSAGE).unwrap()), "{scheme}");
    }
}

#[test]
fn generated_keys_differ() {
    for scheme in Scheme::ALL {
        let one = PrivateKey::generate(scheme).unwrap();
        let other = PrivateKey::generate(scheme).unwrap();
        assert_ne!(one.public_key(), other.public_key());
    }
}

#[test]
fn a_seed_gives_the_same_key_in_every_version() {
    for (scheme, material) in [
        (Scheme::Ed25519, "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"),
        (
            Scheme::EcdsaP256,
            "4d1866a553506b03d0b46a3203dad8594c56d2feb1a20f8b23e3a21bfa51d467aaa97a60bc5c64c50160df62e59fb520accd4fb308b62081bef80c745c11bce5",
        ),
        (
            Scheme::EcdsaP384,
            "457419e3ad2dfc1966a79b3fa24761339073de838ca8ab3822667796e7cb9bdf64615afecd91c5424ccd5e4b0923efff9da356333a805c1b0e17c94f9e008a5deaa0be6854fd00916fbc7707b39ed3b0003e9294bc492e30f6084084c4b72f21",
        ),
    ] {
        let key = PrivateKey::from_seed(scheme, &[1; 32]).unwrap();
        let found = hex::encode(key.public_key().material());
        assert!(found.ends_with(material), "{scheme}: {found}");
        let again = PrivateKey::from_seed(scheme, &[1; 32]).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        let other = PrivateKey::from_seed(scheme, &[2; 32]).unwrap();
        assert_ne!(other.public_key(), key.public_key());
    }
}

#[test]
fn signatures_are_deterministic() {
    for scheme in Scheme::ALL {
        let key = PrivateKey::from_seed(scheme, &[1; 32]).unwrap();
        assert_eq!(key.sign(MESSAGE), key.sign(MESSAGE));
        assert_ne!(key.sign(MESSAGE), key.sign(b"lastmilf"));
    }
}

#[test]
fn ed25519_signs_as_rfc_8032_says() {
    let seed = unhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
    let key = PrivateKey::from_seed(Scheme::Ed25519, &seed.try_into().unwrap()).unwrap();
    let signature = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";
    assert_eq!(hex::encode(key.sign(&[0xaf, 0x82]).unwrap()), signature);
}

#[test]
fn p_256_signs_as_rfc_6979_says() {
    let scalar = unhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
    let der = p256::SecretKey::from_slice(&scalar).unwrap().to_pkcs8_der().unwrap();
    let key = PrivateKey::from_pem(&pem("PRIVATE KEY", der.as_bytes()), None).unwrap();
    let signature = p256::ecdsa::Signature::from_der(&key.sign(b"sample").unwrap()).unwrap();
    assert_eq!(
        hex::encode(signature.to_bytes()),
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
         f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
    );
}

#[test]
fn p_384_signs_as_rfc_6979_says() {
    let scalar = unhex(
        "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d8\
         96d5724e4c70a825f872c9ea60d2edf5",
    );
    let der = p384::SecretKey::from_slice(&scalar).unwrap().to_pkcs8_der().unwrap();
    let key = PrivateKey::from_pem(&pem("PRIVATE KEY", der.as_bytes()), None).unwrap();
    let signature = p384::ecdsa::Signature::from_der(&key.sign(b"sample").unwrap()).unwrap();
    assert_eq!(
        hex::encode(signature.to_bytes()),
        "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c\
         81a648152e44acf96e36dd1e80fabe46\
         99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94f\
         a329c145786e679e7b82c71a38628ac8"
    );
}

#[test]
fn debug_shows_no_secret() {
    let key = PrivateKey::from_seed(Scheme::Ed25519, &[0xab; 32]).unwrap();
    for shown in [format!("{key:?}"), format!("{key:#?}")] {
        assert!(shown.contains(&key.public_key().public()), "{shown}");
        assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
    }
    // For the ecdsa keys, read the secret scalar from the PKCS#8 encoding.
    for scheme in [Scheme::EcdsaP256, Scheme::EcdsaP384] {
        let key = PrivateKey::from_seed(scheme, &[0xab; 32]).unwrap();
        let der = crate::der::unpem(&key.to_pem().unwrap());
        let at = der.windows(3).position(|w| matches!(w, [0x04, 0x20 | 0x30, _])).unwrap();
        let secret = hex::encode(&der[at + 2..at + 34]);
        assert!(!format!("{key:?}").contains(&secret), "{scheme}");
    }
}

#[test]
fn the_names_of_schemes_survive_writing_and_reading() {
    for (scheme, text) in
        [(Scheme::Ed25519, "ed25519"), (Scheme::EcdsaP256, "ecdsa-p256"), (Scheme::EcdsaP384, "ecdsa-p384")]
    {
        assert_eq!(scheme.to_string(), text);
        assert_eq!(text.parse(), Ok(scheme));
        assert_eq!(PrivateKey::from_seed(scheme, &[1; 32]).unwrap().scheme(), scheme);
    }
    assert_eq!("rsa".parse::<Scheme>(), Err(UnknownScheme));
    assert_eq!("Ed25519".parse::<Scheme>(), Err(UnknownScheme));
}

#[test]
fn signers_of_all_kinds_can_be_mixed_and_sent_between_threads() {
    let signers: Vec<Box<dyn Signer>> = Scheme::ALL
        .into_iter()
        .map(|scheme| Box::new(PrivateKey::from_seed(scheme, &[1; 32]).unwrap()) as Box<dyn Signer>)
        .collect();
    std::thread::scope(|scope| {
        for signer in &signers {
            scope.spawn(move || assert!(signer.public_key().verify(b"x", &signer.sign(b"x").unwrap())));
        }
    });
}
