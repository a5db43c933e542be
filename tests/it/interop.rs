//! Both ways against the other implementations: PyPI `tuf`, npm `tuf-js` and the `tough` crate.
//!
//! `cargo xtask setup` installs the first two below `target/interop`.

mod from_python_tuf;
mod from_tough;
mod ours;
mod programs;

mod tough;
