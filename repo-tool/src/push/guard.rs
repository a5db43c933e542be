//! Checks, before anything is uploaded, that the destination serves the state of the folder or an earlier one.
//!
//! The client library verifies the state at the destination, starting from the oldest root of the folder. The pinned
//! root must be part of the chain of roots. A push is refused unless this folder has published the metadata at the
//! destination, or has adopted it ([`crate::served::catch_up`]).

use lastmile_client::{BoxFuture, Fetch, FetchError, Response};
use lastmile_metadata::{RoleName, Version};

use crate::config::Config;
use crate::files::access::{self, MAX_METADATA_LENGTH};
use crate::published::Published;
use crate::push::destination::{Destination, Object};
use crate::push::settings::{DestinationSettings, ServedSnapshot};
use crate::served::Served;
use crate::served::catch_up::{check_pin, check_root, foreign_roles};
use crate::served::transport::Transport;
use crate::{Error, NetworkError, PushError, Repository, ServedError, names};

/// Replacing this object makes a new state visible to clients.
pub(crate) const TIMESTAMP: &str = "metadata/timestamp.json";

/// The maximum length of a timestamp, in bytes.
pub(super) const MAX_TIMESTAMP_LENGTH: u64 = 1 << 20;

/// The state of a destination, compared with the folder.
pub(crate) enum Standing {
    /// The destination serves nothing yet.
    Empty,
    /// The destination serves the state of the folder.
    Same,
    /// The destination serves an earlier state of the folder.
    Behind(Box<Earlier>),
}

pub(crate) struct Earlier {
    pub(crate) served: Served,
    /// The timestamp that the destination served before the push. The push replaces the timestamp at the destination
    /// only if that timestamp is still equal to this one.
    pub(crate) timestamp: Object,
}

/// Reads and verifies the state of the destination, and compares it with the folder. `ours` is the state of the folder,
/// which was verified starting from the oldest root.
///
/// # Errors
/// [`PushError::Newer`] or [`PushError::Fork`] if the destination serves neither the state of the folder nor an earlier
/// one.
pub(crate) fn standing(
    destination: &dyn Destination,
    repository: &Repository,
    ours: &Published,
    settings: &DestinationSettings,
) -> Result<Standing, Error> {
    let Some(timestamp) = destination.read(TIMESTAMP, MAX_TIMESTAMP_LENGTH)? else { return Ok(Standing::Empty) };
    let served = read(destination, &repository.config, ours)?;
    if **served.trusted().timestamp().bytes() != *timestamp.bytes {
        return Err(PushError::Changed { url: destination.url().clone() }.into());
    }
    let (layout, invocation) = (&repository.layout, &repository.invocation);
    check_pin(layout, invocation, repository.digest, ours.shipped(), &served)?;
    let fork = |role, version| Error::from(PushError::Fork { url: destination.url().clone(), role, version });
    if let Err(Error::Served(ServedError::OtherRoot { version })) = check_root(ours, &served) {
        return Err(fork(RoleName::ROOT, version));
    }
    if let Some(version) = foreign_root(repository, ours, &served)? {
        return Err(fork(RoleName::ROOT, version));
    }
    let mut is_same = true;
    for (role, theirs, published, same_bytes) in served.versions_of_both(ours) {
        if theirs > published {
            let url = destination.url().clone();
            return Err(PushError::Newer { url, role, served: theirs, published }.into());
        }
        if theirs == published && !same_bytes {
            return Err(fork(role, published));
        }
        is_same = is_same && same_bytes;
    }
    if is_same {
        return Ok(Standing::Same);
    }
    if let Some((role, version)) = unknown_role(repository, ours, &served, settings)? {
        return Err(fork(role, version));
    }
    Ok(Standing::Behind(Box::new(Earlier { served, timestamp })))
}

/// Returns the version of the newest root at the destination, if this root is older than the newest root of the folder
/// and is not in the folder. Two machines can publish different roots with the same version. A client that has one of
/// these roots may refuse the successors of the other root.
fn foreign_root(repository: &Repository, ours: &Published, served: &Served) -> Result<Option<Version>, Error> {
    let theirs = served.trusted().root();
    if theirs.version >= ours.root.version {
        return Ok(None);
    }
    let name = names::metadata_file(&RoleName::ROOT, Some(theirs.version));
    let here = access::read_if_there(&repository.layout.metadata().join(name))?;
    let is_ours = here.is_some_and(|here| *here == **theirs.bytes());
    Ok((!is_ours).then_some(theirs.version))
}

/// Finds a role whose file at the destination was not published from this folder. Returns the name of the role and the
/// version at the destination.
fn unknown_role(
    repository: &Repository,
    ours: &Published,
    served: &Served,
    settings: &DestinationSettings,
) -> Result<Option<(RoleName, Version)>, Error> {
    let theirs = served.trusted().snapshot();
    // A snapshot is published together with the roles that it lists. Therefore, if the folder still has its snapshot of
    // this version, comparing the snapshots is enough.
    if let Some(version) = ours.root.version_in_name(&RoleName::SNAPSHOT, theirs.version) {
        let file = repository.layout.metadata().join(names::metadata_file(&RoleName::SNAPSHOT, Some(version)));
        match access::read_small(&file, MAX_METADATA_LENGTH)? {
            Some(bytes) if *bytes == **theirs.bytes() => return Ok(None),
            Some(_) => return Ok(Some((RoleName::SNAPSHOT, version))),
            None => {}
        }
    }
    // Without versions in its file names, the folder has only its newest metadata.
    if settings.has_seen(&ServedSnapshot::of(theirs)) {
        return Ok(None);
    }
    let foreign = foreign_roles(&repository.layout, ours, served)?.into_iter().next();
    Ok(foreign.map(|role| {
        let version = theirs.meta(&role).map_or(Version::ONE, |listed| listed.version);
        (role, version)
    }))
}

/// Reads the state of the destination and verifies it, starting from the oldest root of the folder.
///
/// An earlier push may have been interrupted after it uploaded a new root and before it uploaded the matching
/// timestamp. No client can verify such a state. In that case, this function hides the newest root at the destination,
/// then the two newest roots, and so on, until the state is valid. The function hides a root only if the folder has an
/// identical copy of this root.
pub(super) fn read(destination: &dyn Destination, config: &Config, ours: &Published) -> Result<Served, Error> {
    let fetch = |transport: &Transport| {
        let url = destination.url().folder("metadata");
        Served::fetch_with(transport, &url, ours.shipped().to_vec(), config.target_names())
    };
    let transport = destination.transport()?;
    let failed = match fetch(&transport).map_err(NetworkError::of_reading) {
        Err(error @ Error::Network(_)) => return Err(error),
        Err(error) => error,
        Ok(served) => return Ok(served),
    };
    let mut newest = ours.root.version;
    while newest > Version::ONE && is_there(destination, ours, newest)?.is_none() {
        newest = before(newest);
    }
    while is_there(destination, ours, newest)? == Some(true) && newest > Version::ONE {
        newest = before(newest);
        let hidden = WithoutRoots { transport: transport.clone(), after: newest };
        if let Ok(served) = fetch(&Transport::new(hidden)) {
            return Ok(served);
        }
    }
    Err(failed)
}

fn before(version: Version) -> Version {
    Version::new(version.get().saturating_sub(1)).unwrap_or(Version::ONE)
}

/// Returns whether the destination and the folder have the same root with this version, or `None`
/// if the destination has no root with this version.
fn is_there(destination: &dyn Destination, ours: &Published, version: Version) -> Result<Option<bool>, Error> {
    let name = names::metadata_file(&RoleName::ROOT, Some(version));
    let Some(there) = destination.read(&format!("metadata/{name}"), MAX_METADATA_LENGTH)? else { return Ok(None) };
    let here = access::read_if_there(&ours.layout().metadata().join(name))?;
    Ok(Some(here.is_some_and(|here| here == there.bytes)))
}

/// A transport that reports the roots with versions above `after` as missing.
struct WithoutRoots {
    transport: Transport,
    after: Version,
}

impl WithoutRoots {
    fn is_hidden(&self, url: &str) -> bool {
        let name = url.rsplit('/').next().unwrap_or_default();
        let version = name.strip_suffix(".root.json").and_then(|version| version.parse::<u64>().ok());
        version.is_some_and(|version| version > self.after.get())
    }
}

impl Fetch for WithoutRoots {
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        if self.is_hidden(url) {
            return Box::pin(std::future::ready(Err(FetchError::NotFound)));
        }
        self.transport.fetch(url, offset)
    }
}
