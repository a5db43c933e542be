//! Tests interoperability with other implementations, in both directions. The other implementations of TUF are `tuf`
//! from PyPI, `tuf-js` from npm and the crate `tough`. The other programs that make or verify evidence are cosign,
//! sigstore-go, `sigstore` from PyPI and `@sigstore/verify` from npm.
//!
//! `cargo xtask setup` installs these programs below `target/interop`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic fails the test, even in a helper function"
)]

mod from_python_tuf;
mod from_tough;
mod ours;
mod policies;
mod programs;
mod sigstore;
mod to_others;
mod tough;
