//! Makes, changes, signs and publishes TUF repositories (spec 6), and checks its own work by being a client.
//!
//! A repository is a folder of standard TUF files and one configuration file, `repo.toml`. Every change goes the same way:
//! [`Repository::open_for_change`] reads what is published as a client would, an [`edit::Edit`] changes a draft, and
//! [`Repository::conclude`] publishes it after two simulated clients have accepted it, or stages it for those whose keys
//! sit elsewhere.

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests make the files that they need"))]

pub mod check;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod document;
pub mod draft;
pub mod edit;
mod error;
pub mod files;
pub mod init;
mod invocation;
pub mod key_store;
mod named_signer;
pub mod names;
mod parallel;
pub mod pin;
pub mod publish;
pub mod published;
pub mod report;
mod repository;
pub mod revoke;
#[cfg(feature = "http")]
pub mod served;
pub mod sign;
pub mod trusting;
pub mod user;

pub use error::{
    ConfigError, DraftError, EditError, Error, InvalidDigest, InvalidInput, InvalidKeyUri, KeyReason, LackingKeys,
    NetworkError, NotFound, NotFoundReason, PathError, PendingError, PinError, PublicationError, RevokeError,
    RoleNameError, ServedError, VersionError,
};
pub use files::layout::Sharing;
pub use invocation::{Invocation, LockWait, ServedState};
pub use named_signer::NamedSigner;
pub use repository::{Outcome, Plan, Repository, Signing};

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
