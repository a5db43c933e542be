//! SHA-512 for the verification of ed25519 signatures. Verification hashes the whole message (RFC 8032, 5.1.7). For
//! large messages, hashing takes most of the verification time.
//!
//! `ed25519-dalek` has a streaming verifier, but it always uses `sha2`, which reaches only two thirds of the speed of
//! AWS-LC. So this module hashes the message, and [`Precomputed`] passes the result to the library. The library may
//! pass the input to `Precomputed` in any number of calls. A test records this input, and fails if it is not the input
//! that RFC 8032 specifies.

use alloc::vec::Vec;

use sha2::digest::{Digest as _, FixedOutput, HashMarker, Output, OutputSizeUser, Update};

#[cfg(not(feature = "fast-sha512"))]
pub(crate) use sha2::Sha512;

#[cfg(feature = "fast-sha512")]
#[derive(Clone)]
pub(crate) struct Sha512(aws_lc_rs::digest::Context);

#[cfg(feature = "fast-sha512")]
impl Default for Sha512 {
    fn default() -> Self {
        Self(aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA512))
    }
}

#[cfg(feature = "fast-sha512")]
impl OutputSizeUser for Sha512 {
    type OutputSize = <sha2::Sha512 as OutputSizeUser>::OutputSize;
}

#[cfg(feature = "fast-sha512")]
impl Update for Sha512 {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }
}

#[cfg(feature = "fast-sha512")]
impl FixedOutput for Sha512 {
    fn finalize_into(self, out: &mut Output<Self>) {
        out.copy_from_slice(self.0.finish().as_ref());
    }
}

#[cfg(feature = "fast-sha512")]
impl HashMarker for Sha512 {}

/// A hash function that only passes on a digest that was computed earlier: the SHA-512 digest of R, the key and the
/// message (RFC 8032, 5.1.7).
///
/// `ed25519-dalek` receives the precomputed digest in place of the message. It passes 128 bytes to the hash function: R
/// (32 bytes), the key (32 bytes) and this digest (64 bytes). The output of the hash function is the digest, without
/// any further hashing. If a later release of the library passes a different number of bytes, these bytes are hashed
/// with SHA-512. The library then refuses genuine signatures, and does not accept forged ones.
#[derive(Default)]
pub(crate) struct Precomputed(Vec<u8>);

/// The total length of R and the key, in bytes.
const PREFIX: usize = 64;

impl OutputSizeUser for Precomputed {
    type OutputSize = <Sha512 as OutputSizeUser>::OutputSize;
}

impl Update for Precomputed {
    fn update(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }
}

impl FixedOutput for Precomputed {
    fn finalize_into(self, out: &mut Output<Self>) {
        let digest = self.0.get(PREFIX..).and_then(|rest| Output::<Self>::try_from(rest).ok());
        *out = digest.unwrap_or_else(|| Sha512::digest(&self.0));
    }
}

impl HashMarker for Precomputed {}

#[cfg(test)]
mod tests {
    #[cfg(test)]
    extern crate std;

    use std::cell::RefCell;
    use std::vec;

    use ed25519_dalek::{Signer as _, SigningKey, hazmat};

    use super::*;

    fn hashed(parts: &[&[u8]]) -> Output<Precomputed> {
        let mut digest = Precomputed::default();
        parts.iter().for_each(|part| Update::update(&mut digest, part));
        digest.finalize_fixed()
    }

    #[test]
    fn the_precomputed_digest_is_returned_for_input_in_any_number_of_parts() {
        let r = [1; 32];
        let key = [2; 32];
        let digest = [3; 64];
        let all = [&r[..], &key, &digest].concat();
        assert_eq!(hashed(&[&r, &key, &digest])[..], digest);
        assert_eq!(hashed(&[&all])[..], digest);
        assert_eq!(hashed(&all.iter().map(core::slice::from_ref).collect::<Vec<_>>())[..], digest);
    }

    #[test]
    fn any_other_input_is_hashed() {
        let r = [1; 32];
        let key = [2; 32];
        let digest = [3; 64];
        let inputs: [&[&[u8]]; 5] =
            [&[], &[&digest], &[&r, &key], &[&r, &key, &digest[..63]], &[&[0], &r, &key, &digest]];
        for parts in inputs {
            assert_eq!(hashed(parts), Sha512::digest(parts.concat()), "{parts:?}");
        }
    }

    std::thread_local! {
        static INPUTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    }

    #[derive(Default)]
    struct Recording(Sha512);

    impl OutputSizeUser for Recording {
        type OutputSize = <Sha512 as OutputSizeUser>::OutputSize;
    }

    impl Update for Recording {
        fn update(&mut self, data: &[u8]) {
            INPUTS.with_borrow_mut(|inputs| inputs.push(data.to_vec()));
            Update::update(&mut self.0, data);
        }
    }

    impl FixedOutput for Recording {
        fn finalize_into(self, out: &mut Output<Self>) {
            FixedOutput::finalize_into(self.0, out);
        }
    }

    impl HashMarker for Recording {}

    #[test]
    fn the_library_hashes_exactly_r_the_key_and_the_message() {
        let pair = SigningKey::from_bytes(&[7; 32]);
        let signature = pair.sign(b"message");
        hazmat::raw_verify::<Recording>(&pair.verifying_key(), b"message", &signature).unwrap();
        let expected =
            vec![signature.r_bytes().to_vec(), pair.verifying_key().to_bytes().to_vec(), b"message".to_vec()];
        assert_eq!(INPUTS.take(), expected);
    }
}
