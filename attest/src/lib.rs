//! Attestations and policy: the second judge, beside `lastmile-metadata`.
//!
//! The targets role, and every delegated role for its own paths, signs a [`Policy`]: who must have signed a package, and
//! which builder must have built it from which source. Evidence for a package is a list of ordinary targets. This crate
//! takes the delegation chain of a package, its evidence and a time, and returns a [`Verdict`]. It uses no files and no
//! network, and reads no clock; only the library for Sigstore reads one (see `sigstore`).

mod artifact;
mod bundle;
mod dsse;
mod evidence;
mod fields;
pub mod json;
mod key_signature;
mod log_entry;
mod npm;
mod pep740;
mod rejection;
mod signed;
mod sigstore;
mod statement;
mod trust;

pub use artifact::Artifact;
pub use evidence::{Evidence, EvidenceError, Item};
pub use rejection::Rejection;
pub use signed::{Certificate, Claim, Content, Signed, SignedBy, Subject};
pub use sigstore::{TrustRoot, TrustRootError};
pub use statement::{PAYLOAD_TYPE, Statement, StatementError};
pub use trust::{LogDemand, SctDemand, Trust, TrustDemands};
