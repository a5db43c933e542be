//! The check of one signature, for a message that comes in parts.

use alloc::boxed::Box;
use alloc::vec::Vec;

use sha2::digest::DynDigest;

use crate::ed25519::Ed25519Check;
use crate::public::Algorithm;

/// Checks one signature of one key, as [`PublicKey::verify`](crate::PublicKey::verify) does, over a message that comes
/// in parts.
pub struct SignatureCheck(State);

enum State {
    /// No message fits the signature.
    Hopeless,
    Ed25519(Box<Ed25519Check>),
    /// The other algorithms sign a digest of the message.
    Digested(Box<dyn DynDigest + Send>, Box<Fits>),
}

/// Whether a digest is the one that was signed.
type Fits = dyn FnOnce(&[u8]) -> bool + Send;

impl SignatureCheck {
    pub(crate) fn new(key: &Algorithm, signature: &[u8]) -> Self {
        let signature: Vec<u8> = signature.to_vec();
        Self(match key.clone() {
            Algorithm::Ed25519(key) => {
                key.check(&signature).map_or(State::Hopeless, |check| State::Ed25519(Box::new(check)))
            }
            Algorithm::Ecdsa(key) => {
                State::Digested(key.hasher(), Box::new(move |digest| key.fits(digest, &signature)))
            }
            Algorithm::Rsa(key) => State::Digested(key.hasher(), Box::new(move |digest| key.fits(digest, &signature))),
        })
    }

    /// Takes the next part of the message.
    pub fn update(&mut self, part: &[u8]) {
        match &mut self.0 {
            State::Hopeless => {}
            State::Ed25519(check) => check.update(part),
            State::Digested(hasher, _) => hasher.update(part),
        }
    }

    /// Whether the signature is the key's over the message that was taken.
    #[must_use]
    pub fn finish(self) -> bool {
        match self.0 {
            State::Hopeless => false,
            State::Ed25519(check) => check.fits(),
            State::Digested(hasher, fits) => fits(&hasher.finalize()),
        }
    }
}
