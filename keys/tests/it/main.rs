//! Tests of the public API of `lastmile-keys`: signatures made by other programs, hostile keys, and private keys.

#![expect(clippy::disallowed_methods, reason = "tests create the files that they need")]

#[cfg(test)]
mod der;
#[cfg(test)]
mod digest;
#[cfg(test)]
mod ecdsa;
#[cfg(test)]
mod ed25519;
#[cfg(test)]
mod material;
#[cfg(test)]
mod pem;
#[cfg(test)]
#[cfg(feature = "sign")]
mod private;
#[cfg(test)]
#[cfg(feature = "sign")]
mod private_pem;
#[cfg(test)]
mod public;
#[cfg(test)]
#[cfg(feature = "sign")]
mod public_text;
#[cfg(test)]
mod rsa;
#[cfg(test)]
#[cfg(feature = "sign")]
mod sealed;
#[cfg(test)]
mod vectors;

/// Decodes a hexadecimal constant.
#[cfg(test)]
fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}
