//! Verifies one or more signatures over a message (TUF specification 4.2.2). The caller may pass the message in parts.
//! For ecdsa and rsa, the message is hashed once for each digest algorithm. For ed25519, it is hashed once for each
//! signature, as RFC 8032 requires.

use alloc::boxed::Box;
use alloc::vec::Vec;

use sha2::digest::DynDigest;

use crate::digest::MessageDigest;
use crate::ed25519::Ed25519Check;
use crate::public::{Algorithm, PublicKey};

/// Verifies several signatures over one message.
#[derive(Default)]
pub struct SignatureChecks {
    checks: Vec<Check>,
    digests: Vec<(MessageDigest, Box<dyn DynDigest + Send>)>,
}

enum Check {
    /// The signature is malformed, so it is not valid for any message.
    Invalid,
    Ed25519(Box<Ed25519Check>),
    Digested {
        key: PublicKey,
        digest: MessageDigest,
        signature: Vec<u8>,
    },
}

impl SignatureChecks {
    /// Adds a signature. All signatures must be added before the first part of the message.
    pub fn add(&mut self, key: &PublicKey, signature: &[u8]) {
        // Spec 4.2.2: the trusted key alone determines the algorithm.
        let digest = match key.algorithm() {
            Algorithm::Ed25519(key) => {
                let check = key.check(signature);
                self.checks.push(check.map_or(Check::Invalid, |check| Check::Ed25519(Box::new(check))));
                return;
            }
            Algorithm::Ecdsa(key) => key.digest(),
            Algorithm::Rsa(key) => key.digest(),
        };
        if self.digests.iter().all(|(known, _)| *known != digest) {
            self.digests.push((digest, digest.hasher()));
        }
        self.checks.push(Check::Digested { key: key.clone(), digest, signature: signature.to_vec() });
    }

    /// Processes the next part of the message.
    pub fn update(&mut self, part: &[u8]) {
        self.digests.iter_mut().for_each(|(_, hasher)| hasher.update(part));
        for check in &mut self.checks {
            if let Check::Ed25519(check) = check {
                check.update(part);
            }
        }
    }

    /// Returns whether each signature is valid, in the order in which the signatures were added.
    #[must_use]
    pub fn finish(self) -> Vec<bool> {
        let digests: Vec<(MessageDigest, Box<[u8]>)> =
            self.digests.into_iter().map(|(digest, hasher)| (digest, hasher.finalize())).collect();
        let is_valid = |key: &PublicKey, digest: MessageDigest, signature: &[u8]| {
            let found = digests.iter().find(|(known, _)| *known == digest);
            found.is_some_and(|(_, message)| match key.algorithm() {
                Algorithm::Ed25519(_) => false,
                Algorithm::Ecdsa(key) => key.is_valid(message, signature),
                Algorithm::Rsa(key) => key.is_valid(message, signature),
            })
        };
        let checked = self.checks.into_iter().map(|check| match check {
            Check::Invalid => false,
            Check::Ed25519(check) => check.finish(),
            Check::Digested { key, digest, signature } => is_valid(&key, digest, &signature),
        });
        checked.collect()
    }
}

impl PublicKey {
    /// Returns whether `signature` is a valid signature by this key over `message`. The algorithm depends only on the
    /// key, never on the signature.
    ///
    /// A signature has 64 bytes for ed25519, is in DER (RFC 3279) for ecdsa, and is as long as the modulus for rsa.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let mut checks = SignatureChecks::default();
        checks.add(self, signature);
        checks.update(message);
        checks.finish() == [true]
    }
}
