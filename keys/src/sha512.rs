//! SHA-512, which ed25519 takes of whole messages (RFC 8032, 5.1.7): most of the work where a message is large.

use sha2::digest::{FixedOutput, HashMarker, Output, OutputSizeUser, Update};

#[cfg(not(feature = "fast-sha512"))]
pub(crate) use sha2::Sha512;

/// SHA-512 by AWS-LC.
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

/// A digest that was computed before: it gives the last 64 bytes that it takes at once.
#[derive(Default)]
pub(crate) struct Computed(Output<Self>);

impl OutputSizeUser for Computed {
    type OutputSize = <Sha512 as OutputSizeUser>::OutputSize;
}

impl Update for Computed {
    fn update(&mut self, data: &[u8]) {
        if let Ok(digest) = data.try_into() {
            self.0 = digest;
        }
    }
}

impl FixedOutput for Computed {
    fn finalize_into(self, out: &mut Output<Self>) {
        *out = self.0;
    }
}

impl HashMarker for Computed {}
