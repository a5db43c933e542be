//! Helpers for tests: functions that extract an expected error from a result, and a function that parses a time.

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use lastmile_client::{Error, FetchError, Refusal};

/// Parses an RFC 3339 date-time such as `2030-01-01T00:00:00Z`.
///
/// # Panics
///
/// Panics if `text` is not a date-time.
#[must_use]
pub fn time(text: &str) -> DateTime<Utc> {
    text.parse().expect("an RFC 3339 date-time")
}

/// Returns the reason why metadata was refused.
///
/// # Panics
///
/// Panics if `result` is not an error, or is an error of another kind.
#[track_caller]
pub fn refused<T: Debug>(result: Result<T, Error>) -> lastmile_metadata::Error {
    match result {
        Err(Error::State(verdict)) => verdict,
        Err(Error::Refused(error) | Error::Limit(error)) => match error.refusal {
            Refusal::Metadata(verdict) => verdict,
            other => panic!("refused for another reason: {other}"),
        },
        other => panic!("not refused: {other:?}"),
    }
}

/// Returns the length limit, in bytes, that the refused file exceeded.
///
/// # Panics
///
/// Panics if `result` is not an error, or is an error of another kind.
#[track_caller]
pub fn too_long<T: Debug>(result: Result<T, Error>) -> u64 {
    match result {
        Err(Error::Refused(error) | Error::Limit(error)) => match error.refusal {
            Refusal::TooLong { max_length, .. } => max_length,
            other => panic!("refused for another reason: {other}"),
        },
        other => panic!("not refused: {other:?}"),
    }
}

/// Returns the network error that made an update or a download fail.
///
/// # Panics
///
/// Panics if `result` is not an error, or is an error of another kind.
#[track_caller]
pub fn network_error<T: Debug>(result: Result<T, Error>) -> FetchError {
    match result {
        Err(Error::Network(error)) => error.cause,
        other => panic!("not a network failure: {other:?}"),
    }
}
