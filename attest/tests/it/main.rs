//! Tests of the verification of evidence, with real and with generated bundles. The names begin with the number of the
//! attack in `tests/attack-rows.txt`, if there is one.

mod model;
mod packages;
mod policies;
#[path = "../../../metadata/tests/repository/mod.rs"]
mod repository;
