//! Policies: who must have signed the packages of a role, and what must have built them. The crate `lastmile-attest`
//! judges; this module reads the files that it needs.

pub(crate) mod contents;
pub(crate) mod evidence;
pub(crate) mod judge;
pub(crate) mod published;
pub(crate) mod report;
mod set;
pub(crate) mod text;
#[cfg(feature = "http")]
pub(crate) mod trust_root;
