//! Interoperability in both directions with other implementations: `tuf` from PyPI, `tuf-js` from npm and the crate `tough`.
//!
//! `cargo xtask setup` installs the first two below `target/interop`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test stops where it goes wrong, also in the functions that its tests share"
)]

mod from_python_tuf;
mod from_tough;
mod ours;
mod programs;
mod to_others;
mod tough;
