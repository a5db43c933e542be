//! Tests that verify signatures with the digest of a message instead of the message.

use lastmile_keys::{MessageDigest, PublicKey};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::unhex;
use crate::vectors::*;

fn key(keytype: &str, scheme: &str, public: &str) -> PublicKey {
    PublicKey::from_tuf(keytype, scheme, public).unwrap()
}

fn digest(algorithm: MessageDigest) -> Vec<u8> {
    match algorithm {
        MessageDigest::Sha256 => Sha256::digest(MESSAGE).to_vec(),
        MessageDigest::Sha384 => Sha384::digest(MESSAGE).to_vec(),
        MessageDigest::Sha512 => Sha512::digest(MESSAGE).to_vec(),
    }
}

const ALL: [MessageDigest; 3] = [MessageDigest::Sha256, MessageDigest::Sha384, MessageDigest::Sha512];

fn verified(key: &PublicKey, signature: &str) -> Vec<MessageDigest> {
    let verifies = |algorithm: &MessageDigest| key.verify_digest(*algorithm, &digest(*algorithm), &unhex(signature));
    ALL.into_iter().filter(verifies).collect()
}

#[test]
fn a_signature_verifies_from_the_digest_alone() {
    let p256 = key("ecdsa", "ecdsa-sha2-nistp256", P256);
    let p384 = key("ecdsa", "ecdsa-sha2-nistp384", P384);
    assert_eq!(verified(&p256, P256_SIGNATURE), [MessageDigest::Sha256]);
    assert_eq!(verified(&p384, P384_SIGNATURE), [MessageDigest::Sha384]);
    for (scheme, signature, algorithm) in [
        ("rsassa-pss-sha256", PSS_SHA256_SALT_32, MessageDigest::Sha256),
        ("rsassa-pss-sha384", PSS_SHA384, MessageDigest::Sha384),
        ("rsassa-pss-sha512", PSS_SHA512, MessageDigest::Sha512),
        ("rsa-pkcs1v15-sha256", PKCS1V15_SHA256, MessageDigest::Sha256),
    ] {
        assert_eq!(verified(&key("rsa", scheme, RSA), signature), [algorithm], "{scheme}");
    }
}

#[test]
fn p_384_also_verifies_sha_256_but_p_256_verifies_no_other_digest() {
    let p384 = key("ecdsa", "ecdsa-sha2-nistp384", P384);
    assert_eq!(verified(&p384, P384_OTHER_HASH), [MessageDigest::Sha256]);
    assert_eq!(verified(&key("ecdsa", "ecdsa-sha2-nistp256", P256), P256_OTHER_HASH), []);
}

#[test]
fn ed25519_verifies_no_digest() {
    let key = key("ed25519", "ed25519", ED25519);
    assert_eq!(key.message_digests(), []);
    assert_eq!(verified(&key, ED25519_SIGNATURE), []);
}

#[test]
fn another_digest_or_a_digest_of_another_length_is_refused() {
    let p256 = key("ecdsa", "ecdsa-sha2-nistp256", P256);
    let signature = unhex(P256_SIGNATURE);
    let mut other = digest(MessageDigest::Sha256);
    other[31] ^= 1;
    assert!(!p256.verify_digest(MessageDigest::Sha256, &other, &signature));
    let longer = [&digest(MessageDigest::Sha256)[..], &[0]].concat();
    // ECDSA on P-256 uses only the first 32 bytes of a digest, so only the check of the length refuses the longer
    // digest.
    assert!(!p256.verify_digest(MessageDigest::Sha256, &longer, &signature));
}
