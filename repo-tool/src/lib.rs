//! Creates, changes, signs and publishes TUF repositories (TUF specification 6). Simulated clients check each change
//! before it is published.
//!
//! A repository is a folder with standard TUF files and one configuration file, `repo.toml`. Every change takes three
//! steps: [`Repository::open_for_change`] reads and verifies the published files as a client would, an [`Edit`] makes
//! changes in a [`Draft`], and [`Repository::conclude`] publishes the draft after two simulated clients have accepted
//! it. If signatures are missing, `conclude` stores the draft as a pending change in `staged/`.

// Some internal functions are called only by the commands, so they are unused without the feature `cli`.
#![cfg_attr(not(feature = "cli"), allow(dead_code))]
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests create the files that they need"))]

mod check;
#[cfg(feature = "cli")]
mod cli;
mod config;
mod cosign_key;
mod document;
mod draft;
mod edit;
mod error;
#[cfg(feature = "cli")]
mod evidence_file;
mod files;
mod immutable;
mod init;
#[doc(hidden)]
pub mod internal;
mod invocation;
mod key_formats;
mod key_store;
mod key_uri;
mod named_signer;
mod names;
mod parallel;
mod pass_phrases;
mod pin;
mod policy;
mod publish;
mod published;
#[cfg(feature = "cli")]
mod push;
mod remember;
mod renewal;
mod report;
mod repository;
mod revoke;
mod role_content;
mod root_digest;
#[cfg(feature = "http")]
mod served;
mod shell;
mod sign;
mod trusting;
mod user;
#[cfg(feature = "cli")]
mod watch;
#[cfg(feature = "http")]
mod workers;

pub use check::damage::{Damage, DamagedFile};
pub use check::finding::{Finding, Rule, Severity};
pub use check::policies::FailingPackages;
pub use config::{Config, KeyUri, RoleConfig};
pub use document::{Document, Missing};
pub use draft::Draft;
pub use edit::Edit;
pub use edit::add::{AddOptions, Custom, DelegatedPaths, PublishedTargets};
pub use edit::bins::{Bins, NewBins};
pub use edit::delegation_change::{DelegationChange, HolderChange, Position};
pub use edit::delegations::{NewDelegation, Trust, hash_prefixes};
pub use edit::evidence::PackageEvidence;
pub use edit::intake::Source;
pub use edit::path_patterns::{pattern_warnings, patterns};
pub use edit::revert::RemovedKeys;
pub use error::{
    ConfigError, DraftError, EditError, Error, Hidden, InvalidDigest, InvalidInput, InvalidKeyUri, JournalFault,
    KeyReason, LackingKeys, LineFault, NetworkError, NotFound, NotFoundReason, PathError, PendingError, PinError,
    PolicyError, PublicationError, PushError, RecordFault, RevertError, RevokeError, RoleNameError, ServedError,
    VersionError,
};
pub use files::sharing::Sharing;
pub use immutable::Immutable;
pub use init::NewRepository;
pub use invocation::{ClockCheck, Invocation, LockWait, ServedState};
pub use key_store::{KeyStore, Protection};
pub use named_signer::NamedSigner;
pub use names::target_path;
pub use pass_phrases::{NoPassPhrases, PassPhrases};
pub use pin::GivenRoot;
pub use publish::completed::Completed;
pub use publish::compress::Coding;
pub use publish::observer::{Observer, PublishEvent, Unobserved};
pub use publish::plan::{Outcome, Plan, Signing};
pub use published::Published;
pub use renewal::Renewal;
pub use report::diff::RoleDiff;
pub use repository::Repository;
pub use root_digest::RootDigest;
pub use sign::review::Accepted;
pub use user::{PinnedRoot, UserConfig};

/// Compiles the example in the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
