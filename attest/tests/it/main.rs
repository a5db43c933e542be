//! Tests of policies, and of the verification of real and generated evidence. A test whose name begins with `c_7_`
//! tests attack 7 in `attest/tests/attacks.md`, and so on.

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
