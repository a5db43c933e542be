//! Public keys and signers (TUF specification 4.2.2). Other crates of this project use signature libraries only through
//! this crate.
//!
//! A [`PublicKey`] is read from the members of a key in TUF metadata. The signature algorithm depends only on the key,
//! never on the signature. Two keys are equal if their key material is equal, even if metadata encodes them
//! differently.
//!
//! The feature `sign` adds private keys ([`PrivateKey`]) and the trait [`Signer`] for anything that can sign, such as a
//! hardware token. An update client does not need this feature.

#![no_std]

extern crate alloc;

mod check;
mod digest;
mod ecdsa;
mod ed25519;
mod error;
mod material;
mod pem;
mod public;
mod rsa;
mod sha512;

#[cfg(feature = "sign")]
mod private;
#[cfg(feature = "sign")]
mod private_pem;
#[cfg(feature = "sign")]
mod public_text;
#[cfg(feature = "sign")]
mod sealed;
#[cfg(feature = "sign")]
mod sign;

#[cfg(feature = "sign")]
pub use zeroize::Zeroizing;

pub use check::SignatureChecks;
pub use digest::MessageDigest;
pub use error::KeyError;
pub use material::KeyMaterial;
#[cfg(feature = "sign")]
pub use private::{PrivateKey, Scheme, UnknownScheme};
#[cfg(feature = "sign")]
pub use private_pem::PemError;
pub use public::PublicKey;
#[cfg(feature = "sign")]
pub use sealed::SealedKey;
#[cfg(feature = "sign")]
pub use sign::{SignError, Signer};

/// Runs the examples in the README as tests.
#[cfg(all(doctest, feature = "sign"))]
#[doc = include_str!("../README.md")]
struct Readme;
