//! Tests of policies, and of the verification of evidence with real and with generated bundles. A test of an attack has
//! a name that starts with the number of the attack in `attest/tests/attacks.md`.

#[cfg(test)]
mod envelopes;
#[cfg(test)]
mod files;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod generated;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod model;
#[cfg(test)]
mod packages;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod real;
#[cfg(test)]
#[path = "../../../metadata/tests/repository/mod.rs"]
mod repository;
#[cfg(test)]
mod rsa;
#[cfg(test)]
mod shape;
#[cfg(test)]
mod times;
#[cfg(test)]
mod unusable;
