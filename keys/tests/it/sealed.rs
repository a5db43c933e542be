//! Tests of private keys that cosign has encrypted. The test vector is a key that cosign 3.1.1 generated with the
//! pass-phrase `secret`.

use lastmile_keys::{PemError, PublicKey, SealedKey, Signer as _};

use crate::der::unpem;

const PASS_PHRASE: &[u8] = b"secret";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDPByJ2nH8VLqwBb95loI/IMxhHMF\n\
    DT4miNZFMdVvLOa/rcu62jAQZ2KpaSa5qZ7ArkUQNvd7UG3fWvyU/aghKg==\n\
    -----END PUBLIC KEY-----\n";
const SALT: &str = "94412166aa382ad1817b08374d8c4633466f29a14b03cf46772a0d89fc5b23b1";
const NONCE: &str = "798f5bde248c96d7917e2916337f750b0a0124b12a32abc0";
const SECRETBOX: &str = "bfe40922b37a63769df0aeb8b852f2c24e1e0db66a00b3e4c2a18cfa0a4407b3a078276564aea52b4d90f330806b14ce\
    a5886cabd8bf4554f2609cdd5f5cddc5a089e83da3fe493c50e333db2fa7301336a660d3034ef3a63ab66d07a085ee60\
    411c36f7f1695be67a7b007c6251491cbf70b39017a98f5669154076ba7667588569f1c35aa55d6583ef39a4807cebad\
    a1f455c909a2d92bf519";

fn sealed() -> SealedKey {
    SealedKey {
        cost: 65536,
        block_size: 8,
        parallelization: 1,
        salt: hex::decode(SALT).unwrap(),
        nonce: hex::decode(NONCE).unwrap().try_into().unwrap(),
        secretbox: hex::decode(SECRETBOX).unwrap(),
    }
}

#[test]
fn a_key_of_cosign_is_read_with_its_pass_phrase() {
    let key = sealed().open(PASS_PHRASE).unwrap();
    let public = PublicKey::from_text(PUBLIC).unwrap();
    assert_eq!(unpem(PUBLIC), public.material());
    assert_eq!(*key.public_key(), public);
    assert!(public.verify(b"message", &key.sign(b"message").unwrap()));
}

#[test]
fn a_wrong_pass_phrase_and_a_changed_byte_are_refused() {
    assert_eq!(sealed().open(b"Secret").unwrap_err(), PemError::WrongPassPhrase);
    let last = sealed().secretbox.len() - 1;
    for at in [0, last] {
        let mut damaged = sealed();
        damaged.secretbox[at] ^= 1;
        assert_eq!(damaged.open(PASS_PHRASE).unwrap_err(), PemError::WrongPassPhrase, "byte {at}");
    }
    let short = SealedKey { secretbox: vec![0; 15], ..sealed() };
    assert_eq!(short.open(PASS_PHRASE).unwrap_err(), PemError::WrongPassPhrase);
}

#[test]
fn a_key_derivation_out_of_range_is_refused_before_it_runs() {
    let out_of_range = [
        SealedKey { cost: 0, ..sealed() },
        SealedKey { cost: 1, ..sealed() },
        SealedKey { cost: 65535, ..sealed() },
        SealedKey { cost: 1 << 40, ..sealed() },
        SealedKey { cost: u64::MAX, ..sealed() },
        SealedKey { block_size: 0, ..sealed() },
        SealedKey { block_size: u32::MAX, ..sealed() },
        SealedKey { parallelization: 0, ..sealed() },
        SealedKey { parallelization: 17, ..sealed() },
    ];
    for sealed in out_of_range {
        assert!(matches!(sealed.open(PASS_PHRASE), Err(PemError::Unsupported(_))), "{sealed:?}");
    }
}
