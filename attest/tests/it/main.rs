//! Tests of policies, and of the verification of evidence with real and with generated bundles. The names begin with the
//! number of the attack in `attest/tests/attacks.md`, if there is one.

#[cfg(test)]
mod model;
#[cfg(test)]
mod packages;
#[cfg(test)]
mod policies;
#[cfg(test)]
#[path = "../../../metadata/tests/repository/mod.rs"]
mod repository;
