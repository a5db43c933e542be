//! Why a piece of evidence proves nothing about a file.

use chrono::{DateTime, Utc};

use crate::statement::StatementError;

/// Why a piece of evidence does not prove that a signer signed for a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// An identity is demanded, but the evidence has no certificate.
    #[error("the evidence has no certificate, so it proves no identity")]
    NoCertificate,
    /// A key is demanded, but the evidence is signed with the key of a certificate.
    #[error("the evidence is signed with a certificate, not with a key of the policy")]
    Certificate,
    /// The signature is not one of the key.
    #[error("the signature is not valid for this key")]
    Signature,
    /// The evidence has the digest of another file.
    #[error("the signature is over a file with another digest")]
    OtherFile,
    /// The metadata lists no digest with which the signature can be verified.
    #[error("the signature can be verified only with a digest that the metadata does not list: {0}")]
    UnlistedDigest(String),
    /// The signature cannot be verified without the file, or not by this version.
    #[error("{0}")]
    Unsupported(String),
    /// The payload is not a statement about the file.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The signature, the certificate or its chain is not valid.
    #[error("{0}")]
    Invalid(String),
    /// A log entry is not valid, or not one of this signature.
    #[error("{0}")]
    Log(String),
    /// A time is not authenticated, or there is none.
    #[error("{0}")]
    Timestamp(String),
    /// The time of the signature is later than the time of the update.
    #[error("the authenticated time {time} is after the time of the update, {now}")]
    Future {
        /// The authenticated time.
        time: DateTime<Utc>,
        /// The time of the update.
        now: DateTime<Utc>,
    },
    /// The certificate, or the key of a log, was not valid when the signature was made.
    #[error("{what} was not valid at the authenticated time {time}")]
    NotValidAt {
        /// What was not valid.
        what: String,
        /// The authenticated time.
        time: DateTime<Utc>,
    },
    /// Fewer distinct logs recorded the signature than the policy demands.
    #[error("{found} distinct logs recorded the signature, expected at least {expected}")]
    TooFewLogs {
        /// The number of distinct logs.
        found: usize,
        /// The number that the policy demands.
        expected: u32,
    },
    /// Fewer distinct sources authenticated a time of the signature than the policy demands.
    #[error("{found} distinct sources authenticated a time of the signature, expected at least {expected}")]
    TooFewTimes {
        /// The number of distinct sources.
        found: usize,
        /// The number that the policy demands.
        expected: u32,
    },
}
