//! Decides whether a package may be installed. To do so, this crate checks signatures, attestations and build
//! provenance against policies in signed TUF metadata.
//!
//! The targets role signs a [`Policy`]. The policy states who must have signed a package, which builder must have built
//! it, and from which source. Each delegated role can also sign a policy for its own paths. The evidence for a package
//! consists of ordinary targets. The `custom` member of the package's entry lists the paths of these targets. This
//! crate takes the delegation chain of a package, its evidence, trust roots and a time, and returns a [`Verdict`]. It
//! does not use files, the network or the clock, except that its dependency `sigstore-verify` reads the system clock
//! (see the module `sigstore`).
//!
//! ```text
//! Found ──► Demands::on ──► Demands::judge (evidence, trust roots, time) ──► Verdict::check
//! ```

mod artifact;
mod bundle;
mod demands;
mod dsse;
mod evidence;
mod evidence_file;
mod evidence_list;
mod fields;
pub mod json;
mod judge;
mod key_signature;
mod local;
mod log_entry;
#[cfg(feature = "sign")]
pub mod make;
mod matching;
mod npm;
mod pep740;
pub mod policy;
mod rejection;
mod signed;
mod sigstore;
mod slsa;
mod statement;
mod trust;
mod verdict;
mod wanted;

pub use artifact::Artifact;
pub use demands::{
    ChainRole, Demands, DemandsError, ListTarget, Origin, TrustRootLoadError, TrustRootRequest, TrustRoots,
};
pub use evidence::{Evidence, EvidenceError, Item, MAX_EVIDENCE_LENGTH};
pub use evidence_file::{EvidenceContent, EvidenceFile};
pub use evidence_list::{EvidenceListError, MAX_EVIDENCE_FILES, evidence_paths};
pub use local::LocalPolicy;
pub use policy::{Policy, PolicyError};
pub use rejection::Rejection;
pub use signed::{Certificate, Claim, Content, Signed, SignedBy, Subject};
pub use sigstore::{MAX_TRUST_ROOT_LENGTH, TrustRoot, TrustRootError};
pub use statement::{PAYLOAD_TYPE, Statement, StatementError};
pub use trust::{LogDemand, SctDemand, Trust, TrustDemands};
pub use verdict::{Outcome, Proof, Refused, RuleVerdict, Verdict};
