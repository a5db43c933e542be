//! Tests with other programs that create and verify evidence. The programs `cosign` and `sigstore-go` come from Debian's
//! newest suites. Where they cannot be installed, the tests that need them print `NOT CHECKED`.

mod disagreements;
mod keyless;
mod keys;
mod made_by_cosign;
mod made_by_us;
mod others;
mod workshop;
