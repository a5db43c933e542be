//! Finds the newest state that the folder and the destination have in common. A merge compares the
//! folder with this state to find the changes of the folder.
//!
//! If a merge used an older state, it would publish changes again that the destination has already served, even changes
//! that another machine has reverted. If it used a newer state, it would lose changes that the destination has never
//! served.

use lastmile_metadata::{RoleName, Snapshot, Verified, Version};

use crate::files::access::MAX_METADATA_LENGTH;
use crate::published::Published;
use crate::push::destination::Destination;
use crate::push::merge::{copies, verified};
use crate::push::settings::{DestinationSettings, ServedSnapshot};
use crate::served::Served;
use crate::{Error, names};

pub(super) type Base = (ServedSnapshot, Verified<Snapshot>);

/// The search for a common snapshot gives up after this many versions.
const VERSIONS: usize = 1000;

/// Returns the newest snapshot that both the folder and the destination have.
///
/// A destination can hide a snapshot that it has served, but it cannot forge a valid one. The user's configuration
/// records a snapshot that the destination has served. If the destination has no valid snapshot with the recorded
/// version, this function returns the recorded snapshot. If the destination has a different valid snapshot with that
/// version, the search continues with older versions. The snapshots can differ, for example, because a website's
/// checkout was reset to an older commit.
///
/// If the names of snapshots contain no versions, the destination has only the current snapshot. In
/// that case, this function returns a snapshot that the user's configuration records; see
/// [`recorded`].
pub(super) fn find(
    ours: &Published,
    destination: &dyn Destination,
    served: &Served,
    settings: &DestinationSettings,
) -> Result<Option<Base>, Error> {
    let role = RoleName::SNAPSHOT;
    let current = served.trusted().snapshot();
    if served.trusted().root().version_in_name(&role, current.version).is_none() {
        return recorded(ours, current, settings);
    }
    for version in versions(ours, current).take(VERSIONS) {
        let name = names::metadata_file(&role, Some(version));
        let ours_then = copies(ours.layout(), &name)?;
        if ours_then.is_empty() {
            continue;
        }
        let theirs = read(destination, current, version, &name)?;
        if let Some(common) = ours_then.into_iter().find(|bytes| Some(bytes) == theirs.as_ref()) {
            return Ok(verified(ours, &role, common).map(|state| (ServedSnapshot::of(&state), state)));
        }
        if let Some(known) = settings.served.as_ref().filter(|known| known.version == version) {
            let other: Option<Verified<Snapshot>> = theirs.and_then(|bytes| verified(ours, &role, bytes));
            if other.is_none_or(|other| other.version != version) {
                return Ok(find_snapshot(ours, known)?.map(|state| (known.clone(), state)));
            }
        }
    }
    Ok(None)
}

/// Returns the versions that both the folder and the destination can have, from the newest to the
/// oldest.
fn versions(ours: &Published, current: &Verified<Snapshot>) -> impl Iterator<Item = Version> {
    let newest = ours.snapshot.version.min(current.version).get();
    (1..=newest).rev().filter_map(Version::new)
}

fn read(
    destination: &dyn Destination,
    current: &Verified<Snapshot>,
    version: Version,
    name: &str,
) -> Result<Option<Vec<u8>>, Error> {
    if version == current.version {
        return Ok(Some(current.bytes().to_vec()));
    }
    // Each push replaces or discards the snapshots that interrupted pushes left behind. Therefore a
    // snapshot that is older than the current one has been served.
    let read = destination.read(&format!("metadata/{name}"), MAX_METADATA_LENGTH)?;
    Ok(read.map(|found| found.bytes))
}

/// Returns the snapshot that the destination serves now, if [`DestinationSettings::intended`] contains it. Otherwise,
/// returns the snapshot that the destination served when this user last pushed or pulled. Returns `None` if the folder
/// does not have that snapshot.
fn recorded(
    ours: &Published,
    current: &Verified<Snapshot>,
    settings: &DestinationSettings,
) -> Result<Option<Base>, Error> {
    let current = ServedSnapshot::of(current);
    let is_intended = settings.intended.contains(&current);
    let Some(known) = (if is_intended { Some(&current) } else { settings.served.as_ref() }) else { return Ok(None) };
    Ok(find_snapshot(ours, known)?.map(|state| (known.clone(), state)))
}

/// Finds a snapshot in the folder by its digest. Returns `None` if the folder no longer has the
/// snapshot, or if the current snapshot keys have not signed it.
pub(super) fn find_snapshot(
    published: &Published,
    wanted: &ServedSnapshot,
) -> Result<Option<Verified<Snapshot>>, Error> {
    let role = RoleName::SNAPSHOT;
    let name = names::metadata_file(&role, published.root.version_in_name(&role, wanted.version));
    let found = copies(published.layout(), &name)?.into_iter().find(|bytes| wanted.is(bytes));
    Ok(found.and_then(|bytes| verified(published, &role, bytes)))
}
