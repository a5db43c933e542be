//! Finds the state that the folder and the destination have in common, from which a merge determines the changes of the
//! folder.
//!
//! If this state were too old, the changes would include some that the destination has served already. If another
//! machine has undone such a change since, the merge would publish the change again. If the state were too new, changes
//! that the destination has never served would be lost.

use lastmile_metadata::{RoleName, Snapshot, Verified, Version};

use crate::files::access::LONGEST_METADATA;
use crate::published::Published;
use crate::push::destination::Destination;
use crate::push::merge::{copies, verified};
use crate::push::settings::{DestinationSettings, ServedSnapshot};
use crate::served::Served;
use crate::{Error, names};

/// A snapshot, and its verified content.
pub(super) type Base = (ServedSnapshot, Verified<Snapshot>);

/// The maximum number of versions in which a common snapshot is searched.
const VERSIONS: usize = 1000;

/// Returns the newest snapshot that both the folder and the destination have.
///
/// A destination can hide a snapshot that it has served, but it cannot make a client accept another one with the same
/// version. Therefore the result is never older than the snapshot that this user has recorded, unless the destination
/// has another valid snapshot with this version, as after the reset of a checkout.
///
/// If the names of snapshots contain no versions, the destination has only the current snapshot. Then this returns the
/// newest snapshot that this user has recorded, that the folder has, and that the destination serves or has served.
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

/// Returns the versions that both sides can have, from the newest to the oldest.
fn versions(ours: &Published, current: &Verified<Snapshot>) -> impl Iterator<Item = Version> {
    let newest = ours.snapshot.version.min(current.version).get();
    (1..=newest).rev().filter_map(Version::new)
}

/// Reads the snapshot with this version from the destination.
fn read(
    destination: &dyn Destination,
    current: &Verified<Snapshot>,
    version: Version,
    name: &str,
) -> Result<Option<Vec<u8>>, Error> {
    if version == current.version {
        return Ok(Some(current.bytes().to_vec()));
    }
    // Each push replaces or removes the snapshots that interrupted pushes have uploaded, so an older one was served.
    let read = destination.read(&format!("metadata/{name}"), LONGEST_METADATA)?;
    Ok(read.map(|found| found.bytes))
}

/// Returns the newest recorded snapshot that the folder has and that the destination serves. If it serves none of them,
/// returns the one that it served when this user last pushed or pulled.
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

/// Finds a snapshot in the folder by its digest. Returns `None` if the folder no longer has it, or if its keys were
/// replaced.
pub(super) fn find_snapshot(
    published: &Published,
    wanted: &ServedSnapshot,
) -> Result<Option<Verified<Snapshot>>, Error> {
    let role = RoleName::SNAPSHOT;
    let name = names::metadata_file(&role, published.root.version_in_name(&role, wanted.version));
    let found = copies(published.layout(), &name)?.into_iter().find(|bytes| wanted.is(bytes));
    Ok(found.and_then(|bytes| verified(published, &role, bytes)))
}
