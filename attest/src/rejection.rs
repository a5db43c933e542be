//! The reasons why a piece of evidence is rejected.

use chrono::{DateTime, Utc};

use crate::statement::StatementError;

/// The reason why a piece of evidence does not prove that a signer signed a file or a statement about the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// An identity is required, but the evidence contains no certificate.
    #[error("the evidence has no certificate, so it proves no identity")]
    NoCertificate,
    /// A key is required, but the evidence is signed with the key of a certificate.
    #[error("the evidence is signed with a certificate, not with a key in the policy")]
    Certificate,
    /// The signature was not made with the key.
    #[error("the signature is not valid for this key")]
    Signature,
    /// The signature is over a file with another digest.
    #[error("the signature is over a file with another digest")]
    OtherFile,
    /// The metadata does not list the digest that is needed to verify the signature.
    #[error("the signature can be verified only with a digest that the metadata does not list: {0}")]
    UnlistedDigest(String),
    /// This version cannot verify this kind of signature, or cannot verify it without the file.
    #[error("{0}")]
    Unsupported(String),
    /// The payload is not a statement about the file.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The signature, the certificate or its chain is not valid.
    #[error("{0}")]
    Invalid(String),
    /// A log entry is not valid, or belongs to another signature.
    #[error("{0}")]
    Log(String),
    /// A signing time cannot be authenticated.
    #[error("{0}")]
    Timestamp(String),
    /// An authenticated signing time is later than the start of the update.
    #[error("the authenticated signing time {time} is later than the start of the update, {now}")]
    Future {
        /// The authenticated time.
        time: DateTime<Utc>,
        /// The start time of the update.
        now: DateTime<Utc>,
    },
    /// The certificate, or the key of a log, was not valid when the signature was made.
    #[error("{what} was not valid at the authenticated time {time}")]
    NotValidAt {
        /// What was not valid, as a phrase for the error message, such as "the certificate".
        what: String,
        /// The authenticated time.
        time: DateTime<Utc>,
    },
    /// The signature is recorded in fewer distinct logs than the policy requires.
    #[error("{found} distinct logs recorded the signature, expected at least {expected}")]
    TooFewLogs {
        /// The number of distinct logs.
        found: usize,
        /// The number of logs that the policy requires.
        expected: u32,
    },
    /// Fewer distinct sources attest to the signing time than the policy requires.
    #[error("{found} distinct sources attest to the signing time, expected at least {expected}")]
    TooFewTimes {
        /// The number of distinct sources that attest to the signing time.
        found: usize,
        /// The number of sources that the policy requires.
        expected: u32,
    },
}
