//! A policy's requirements for evidence from a Sigstore instance: log entries, times and certificate timestamps.

use std::collections::BTreeSet;

use crate::rejection::Rejection;
use crate::sigstore::TrustRoot;

/// A Sigstore instance that a policy trusts, and the policy's requirements for evidence from this instance.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// The certificate authorities, logs and timestamp authorities of the instance.
    pub root: &'a TrustRoot,
    /// The requirements of the policy.
    pub demands: TrustDemands,
}

/// The requirements of a policy for evidence from a Sigstore instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustDemands {
    /// Whether a transparency log must have recorded the signature.
    pub log: LogDemand,
    /// The required number of distinct logs; 0 is treated as 1. Ignored if `log` is [`LogDemand::None`].
    pub logs: u32,
    /// The required number of distinct sources of time. A source is a log that signed the time of its entry, or a
    /// timestamp authority. Evidence with a certificate always needs at least one source, even if this number is 0.
    pub times: u32,
    /// Whether a certificate transparency log must have recorded the certificate.
    pub sct: SctDemand,
}

/// Whether a transparency log must have recorded a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogDemand {
    /// A log entry is required.
    Required,
    /// A log entry is not required. For example, GitHub's Sigstore instance for private repositories has no log. Any
    /// log entries in the evidence are still verified.
    None,
}

/// Whether a certificate must contain a signed certificate timestamp (RFC 6962).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SctDemand {
    /// A signed certificate timestamp is required.
    Required,
    /// A signed certificate timestamp is not required. For example, the certificates of GitHub's Sigstore instance for
    /// private repositories contain none.
    None,
}

impl Default for TrustDemands {
    fn default() -> Self {
        Self { log: LogDemand::Required, logs: 1, times: 1, sct: SctDemand::Required }
    }
}

impl TrustDemands {
    pub(crate) fn check_entries(&self, has_entries: bool) -> Result<(), Rejection> {
        match self.log {
            LogDemand::Required if !has_entries => Err(Rejection::TooFewLogs { found: 0, expected: self.logs.max(1) }),
            _ => Ok(()),
        }
    }

    /// Checks that `logs` and `sources` contain at least as many logs and sources of time as the policy requires.
    pub(crate) fn check<T>(&self, logs: &BTreeSet<String>, sources: &BTreeSet<T>) -> Result<(), Rejection> {
        let expected = match self.log {
            LogDemand::Required => self.logs.max(1),
            LogDemand::None => 0,
        };
        if !is_reached(logs.len(), expected) {
            return Err(Rejection::TooFewLogs { found: logs.len(), expected });
        }
        if !is_reached(sources.len(), self.times) {
            return Err(Rejection::TooFewTimes { found: sources.len(), expected: self.times });
        }
        Ok(())
    }
}

fn is_reached(found: usize, expected: u32) -> bool {
    usize::try_from(expected).is_ok_and(|expected| found >= expected)
}
