//! Tests of evidence that other programs make and verify. Only Debian's newest suites have `cosign` and `sigstore-go`.
//! If these programs cannot be installed on a machine, the tests print `NOT CHECKED`.

mod disagreements;
mod keyless;
mod keys;
mod made_by_cosign;
mod made_by_us;
mod others;
mod workshop;
