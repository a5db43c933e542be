//! Evidence that other programs make and verify. `cosign` and `sigstore-go` are in Debian's newest suites only; on machines
//! that cannot have them, these tests print `NOT CHECKED`.

mod disagreements;
mod keyless;
mod keys;
mod made_by_cosign;
mod made_by_us;
mod others;
mod workshop;
