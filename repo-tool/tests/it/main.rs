//! The repository tool as a library: spec 6 and the checklist's rows for it.
//!
//! Test names start with the row that they test. Keys are unencrypted here, because scrypt is slow on purpose.

#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]
#![expect(clippy::disallowed_methods, reason = "tests make the files that they need")]

mod advice;
mod advisories;
mod batch;
mod bulk;
mod catch_up;
mod clock;
mod compressed;
mod crash;
mod custom_data;
mod custom_signers;
mod delegations;
mod disks;
mod earlier;
mod files;
mod findings;
mod formats;
mod gate;
mod http;
mod immutable;
mod many_roots;
mod names;
mod pending;
mod pins;
mod planted;
mod planted_keys;
mod planted_members;
mod polling;
mod private_keys;
mod proportion;
mod revert;
mod revocation;
mod rotation;
mod served;
mod shown;
mod snapshot;
mod unusable_keys;
mod users;
mod world;
