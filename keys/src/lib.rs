//! Public keys verify, signers sign (spec 4.2.2): the only crate that names a signature library.
//!
//! [`PublicKey`] is a key as TUF metadata spells it. Which algorithm checks a signature follows from the key
//! alone, and two keys are equal when their material is, however they were spelled.
//!
//! With the feature `sign` there are private keys too ([`PrivateKey`]) and the trait that anything able to sign
//! implements ([`Signer`]), a hardware token as well. An update client never enables it.

#![no_std]

extern crate alloc;

mod check;
mod ecdsa;
mod ed25519;
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
mod sign;

pub use check::SignatureChecks;
pub use material::KeyMaterial;
pub use public::{KeyError, PublicKey};

#[cfg(feature = "sign")]
pub use private::{PrivateKey, Scheme, UnknownScheme};
#[cfg(feature = "sign")]
pub use private_pem::PemError;
#[cfg(feature = "sign")]
pub use sign::{SignError, Signer};
#[cfg(feature = "sign")]
pub use zeroize::Zeroizing;

/// The examples of the README are tests.
#[cfg(all(doctest, feature = "sign"))]
#[doc = include_str!("../README.md")]
struct Readme;
