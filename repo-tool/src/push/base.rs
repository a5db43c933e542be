//! Finds the state of the folder that a destination has served, from which a merge determines the changes of the folder.
//!
//! If this state were too old, the changes would include some that the destination has served already. If another
//! machine has undone such a change since, the merge would publish the change again. If the state were too new, changes
//! that the destination has never served would be lost. An interrupted command leaves several candidates: the snapshot
//! that the destination served before the command, and the one that the command was about to upload or to adopt.

use lastmile_metadata::{RoleName, Snapshot, Verified};

use crate::files::access::LONGEST_METADATA;
use crate::published::Published;
use crate::push::destination::Destination;
use crate::push::merge::{copies, verified};
use crate::push::settings::{DestinationSettings, ServedSnapshot};
use crate::served::Served;
use crate::{Error, names};

/// Returns the newest snapshot that this user has recorded, that the folder has, and that the destination serves or has
/// served.
pub(super) fn find(
    ours: &Published,
    destination: &dyn Destination,
    served: &Served,
    settings: &DestinationSettings,
) -> Result<Option<(ServedSnapshot, Verified<Snapshot>)>, Error> {
    for intended in settings.intended.iter().rev() {
        if let Some(state) = find_snapshot(ours, intended)?
            && was_served(destination, served, intended)?
        {
            return Ok(Some((intended.clone(), state)));
        }
    }
    let Some(known) = &settings.served else { return Ok(None) };
    Ok(find_snapshot(ours, known)?.map(|state| (known.clone(), state)))
}

/// Returns whether the destination serves or has served this snapshot.
fn was_served(destination: &dyn Destination, served: &Served, wanted: &ServedSnapshot) -> Result<bool, Error> {
    let current = served.trusted().snapshot();
    // An interrupted push may have uploaded a newer snapshot, which was not served.
    if current.version <= wanted.version {
        return Ok(ServedSnapshot::of(current) == *wanted);
    }
    // Each push replaces or removes the newer snapshots of interrupted pushes, so the older ones were served. A snapshot
    // without its version in its name was replaced by the current one, so nothing is known about it.
    let role = RoleName::SNAPSHOT;
    let Some(version) = served.trusted().root().version_in_name(&role, wanted.version) else { return Ok(false) };
    let name = format!("metadata/{}", names::metadata_file(&role, Some(version)));
    Ok(destination.read(&name, LONGEST_METADATA)?.is_some_and(|found| wanted.is(&found.bytes)))
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
