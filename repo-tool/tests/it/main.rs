//! Tests of the repository tool as a library: section 6 of the TUF specification, and the rules in
//! `tests/spec-rows.txt` that concern the tool.
//!
//! If a test checks a rule, the name of the test starts with the ID of the rule. Most keys in these tests are
//! unencrypted, because encryption with a pass-phrase is slow by design (scrypt).

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]
#![expect(clippy::disallowed_methods, reason = "tests create the files that they need")]

mod advice;
mod advisories;
mod batch;
mod bulk;
mod catch_up;
mod clock;
mod compressed;
mod conversions;
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
mod listen;
mod many_roots;
mod names;
mod pending;
mod pins;
mod planted;
mod planted_keys;
mod planted_members;
mod policies;
mod polling;
mod private_keys;
mod proportion;
mod push;
mod revert;
mod revocation;
mod rotation;
mod served;
mod shown;
mod simultaneous_attest;
mod snapshot;
mod unusable_keys;
mod users;
mod watch;
mod world;
