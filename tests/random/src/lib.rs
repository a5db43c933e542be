//! What chance finds: a random adversary against the client.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a mistake in the play must stop it where it is made"
)]

pub mod adversary;
