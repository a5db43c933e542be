//! Checks that the new state is served at the URL that clients use.

use std::time::{Duration, Instant};

use lastmile_client::BaseUrl;
use lastmile_metadata::Version;

use crate::error::chain;
use crate::served::Served;
use crate::{Error, NetworkError};

/// The pause after the first attempt. It doubles after each attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The state at the URL that clients use.
#[derive(Debug)]
pub(crate) enum PublicState {
    Current,
    /// Clients still get this older timestamp version, for example from a cache.
    Stale(Version),
    /// The state cannot be read or cannot be verified.
    Unreadable(Error),
}

impl PublicState {
    pub(crate) fn error(&self) -> Option<String> {
        match self {
            Self::Unreadable(error) => Some(chain(error)),
            Self::Current | Self::Stale(_) => None,
        }
    }
}

/// Waits for at most `limit` until a new client gets the timestamp version `expected` or a later
/// version from `url`. Each attempt refreshes a client that trusts `root`. Returns the result of
/// the last attempt.
pub(crate) fn wait_until_public(url: &BaseUrl, root: &[u8], expected: Version, limit: Duration) -> PublicState {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let state = match Served::fetch(url, root.to_vec()) {
            Err(error) => PublicState::Unreadable(NetworkError::of_reading(error)),
            Ok(served) if served.trusted().timestamp().version >= expected => return PublicState::Current,
            Ok(served) => PublicState::Stale(served.trusted().timestamp().version),
        };
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            return state;
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
