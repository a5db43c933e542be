//! Makes, changes, signs and publishes TUF repositories (spec 6), and checks its own work by being a client.
//!
//! A repository is a folder of standard TUF files and one policy file, `repo.toml`. Every change goes the same way:
//! [`Repository::open_for_change`] reads what is published as a client would, an [`edit::Edit`] changes a draft, and
//! [`Repository::conclude`] publishes it after two simulated clients have accepted it, or stages it for those whose keys
//! sit elsewhere.

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests make the files that they need"))]

#[cfg(feature = "http")]
mod adoption;
#[cfg(feature = "http")]
pub mod catch_up;
mod check;
mod check_filled;
#[cfg(feature = "cli")]
pub mod cli;
pub mod compress;
mod der;
pub mod diff;
pub mod digest;
pub mod document;
pub mod draft;
pub mod edit;
mod error;
mod folder;
mod gate;
pub mod git_ignore;
pub mod group;
pub mod ingest;
pub mod init;
mod journal;
mod key_material;
pub mod key_store;
pub mod layout;
pub mod lint;
pub mod list;
mod named_signer;
pub mod names;
pub mod overlay;
pub mod own_files;
mod parallel;
pub mod pin;
pub mod policy;
pub mod proof;
pub mod publication;
mod publish;
pub mod published;
pub mod queue;
mod repository;
pub mod review;
pub mod revoke;
pub mod scale;
#[cfg(feature = "http")]
pub mod serve;
#[cfg(feature = "http")]
mod served;
mod setting;
mod signing;
pub mod snapshot;
pub mod staged;
pub mod status;
mod superseded;
pub mod trusting;
pub mod user;
pub mod verify;
mod versions;

pub use error::{
    ConfigError, DraftError, EditError, Error, InvalidDigest, InvalidInput, InvalidKeyUri, KeyReason, LackingKeys,
    NetworkError, NotFound, NotFoundReason, PathError, PendingError, PinError, PublicationError, RevokeError,
    RoleNameError, ServedError, VersionError,
};
pub use layout::Sharing;
pub use named_signer::NamedSigner;
pub use repository::{Outcome, Plan, Repository, Signing};
pub use setting::{Patience, ServedState, Setting};

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
