//! A client that reads a repository from memory or from a folder, without using the network.

use chrono::{DateTime, Utc};
use lastmile_client::{Error as ClientError, MemoryStore, Refusal, Updater, blocking};
use lastmile_metadata::{ErrorKind, Limit, Limits, ReusableTargets, RoleName};

use crate::check::overlay::{METADATA_URL, Overlay, TARGETS_URL};
use crate::files::access;
use crate::{DraftError, Error, NetworkError, PublicationError};

/// Only a server with an endless chain of roots reaches this limit.
const MAX_REFRESHES: u64 = 4096;

pub(crate) fn client(
    shipped_root: Vec<u8>,
    overlay: Overlay,
    store: MemoryStore,
    limits: Limits,
    known: Option<ReusableTargets>,
) -> Result<blocking::Updater, Error> {
    let updater: Updater = Updater::builder(shipped_root)
        .mirror(METADATA_URL, TARGETS_URL)
        .fetch(overlay)
        .store(store)
        .limits(limits)
        .reusable_targets(known)
        // This client only checks metadata and installs nothing, so it needs no evidence.
        .ignore_policies()
        .build()
        .map_err(|error| PublicationError::Client(error.into()))?;
    blocking::Updater::new(updater).map_err(from_client)
}

/// Refreshes repeatedly until the client has the newest root. In one refresh, a client follows a limited number of root
/// updates, and the next refresh continues from the stored root.
pub(crate) fn refresh(client: &blocking::Updater, now: DateTime<Utc>) -> Result<blocking::Session, ClientError> {
    let at_once = u64::from(Limits::default().root_updates);
    let mut before = None;
    for round in 1..MAX_REFRESHES {
        match client.refresh_at(now) {
            Ok(session) => {
                let reached = session.trusted().root().version;
                // One refresh follows at most `at_once` root updates. If every refresh so far stopped at this limit,
                // the root version is above `at_once * round`. Otherwise, there is no newer root.
                if reached.get() <= at_once * round || before == Some(reached) {
                    return Ok(session);
                }
                before = Some(reached);
            }
            Err(error) if is_behind(&error) => {}
            Err(error) => return Err(error),
        }
    }
    client.refresh_at(now)
}

/// Returns whether the client stopped because it reached the limit of root updates in one refresh.
fn is_behind(error: &ClientError) -> bool {
    let ClientError::Limit(refused) = error else { return false };
    let Refusal::Metadata(verdict) = &refused.refusal else { return false };
    verdict.role == RoleName::ROOT && matches!(verdict.kind, ErrorKind::LimitReached { limit: Limit::RootUpdates, .. })
}

/// Returns limits for reading the user's own repository, which may exceed the default limits of clients.
pub(crate) fn reading_limits() -> Limits {
    let mut limits = Limits::default();
    (limits.snapshot_length, limits.targets_length, limits.listed_length) =
        (1 << 30, access::MAX_METADATA_LENGTH, access::MAX_METADATA_LENGTH);
    limits.list_steps = u64::MAX;
    (limits.root_updates, limits.roles_visited, limits.roles_listed) = (u32::MAX, u32::MAX, u32::MAX);
    (limits.delegation_depth, limits.signatures, limits.keys) = (u32::MAX, u32::MAX, u32::MAX);
    limits
}

pub(crate) fn from_client(error: ClientError) -> Error {
    match error {
        ClientError::Refused(refused) | ClientError::Limit(refused) => match refused.refusal {
            Refusal::Metadata(error) => Error::Untrusted(error),
            other => DraftError::Refused(other.into()).into(),
        },
        ClientError::State(error) => Error::Untrusted(error),
        ClientError::Network(_) => NetworkError::Client(error.into()).into(),
        other => PublicationError::Client(other.into()).into(),
    }
}
