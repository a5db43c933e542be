//! Policies. A policy specifies who must sign the packages of a role, and which builders must build them. The crate
//! `lastmile-attest` compares evidence with policies. This module reads the files that the crate needs.

pub(crate) mod contents;
pub(crate) mod evidence;
pub(crate) mod judge;
mod pending;
pub(crate) mod published;
pub(crate) mod report;
mod set;
pub(crate) mod text;
#[cfg(feature = "http")]
pub(crate) mod trust_root;
