//! Tests of policies, and tests that verify real and generated evidence. Tests of attack 7 in `attest/tests/attacks.md`
//! have names that begin with `c_7_`.

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
