//! The identity of a store: its format version, and the repository to which the store belongs. The identity is stored
//! as `stamp.json`, and prevents the metadata of two repositories from being mixed.

use chrono::{DateTime, Utc};
use lastmile_metadata::{Envelope, RoleName, Root, Version};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, LocalError};
use crate::store::shared::LockedStore;
use crate::store::{Store, StoredFile};

/// The format version of stores that this program writes. The program refuses to use a store with another format
/// version, and leaves the store unchanged.
const FORMAT: u32 = 1;

const MAX_LENGTH: u64 = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreIdentity {
    format: u32,
    /// The SHA-256 hashes of all shipped roots with which this store has been used.
    shipped_roots: Vec<String>,
    /// The time of the last refresh, according to this machine's clock.
    pub(crate) refreshed: Option<DateTime<Utc>>,
    /// The number of refreshes started so far. Because of this number, the identity changes with every refresh. Before
    /// a refresh writes its changes, it compares the stored identity with its own. If they differ, another process has
    /// changed the store. Earlier versions of the program do not write this field.
    #[serde(default)]
    pub(crate) starts: u64,
}

#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

impl StoreIdentity {
    /// Returns `None` if the store has no identity yet.
    pub(crate) fn read(store: &dyn Store) -> Result<Option<StoreIdentity>, LocalError> {
        let Some(bytes) = store.read(&StoredFile::Identity, MAX_LENGTH)? else { return Ok(None) };
        let unreadable = |error: serde_json::Error| {
            LocalError::invalid("read the identity of", store.description(), error.to_string())
                .with_hint("start again from the shipped root with `lastmile trust reset NAME`")
        };
        let AnyFormat { format } = serde_json::from_slice(&bytes).map_err(unreadable)?;
        if format != FORMAT {
            let problem =
                format!("it has format {format}, but this version of the program supports only format {FORMAT}");
            return Err(LocalError::invalid("use", store.description(), problem)
                .with_hint("use the version of the program that wrote the store, or choose another directory"));
        }
        Ok(Some(serde_json::from_slice(&bytes).map_err(unreadable)?))
    }

    /// Checks that `store` belongs to the repository of the shipped root `shipped`. Returns the identity with which the
    /// store must be initialized.
    ///
    /// A store without an identity can be used with any shipped root. A store with an identity can be used with the
    /// shipped roots that it records. Any other shipped root must share a root key with the newest stored root, or with
    /// a stored root whose version differs from the version of the shipped root by at most one.
    pub(crate) fn check_belongs(
        existing: Option<StoreIdentity>,
        store: &dyn Store,
        shipped: &[u8],
        max_length: u64,
    ) -> Result<StoreIdentity, Error> {
        let id = hex::encode(Sha256::digest(shipped));
        let Some(mut identity) = existing else {
            return Ok(StoreIdentity { format: FORMAT, shipped_roots: vec![id], refreshed: None, starts: 0 });
        };
        if identity.shipped_roots.contains(&id) {
            return Ok(identity);
        }
        let shipped = Envelope::<Root>::parse(&RoleName::ROOT, shipped.to_vec())?;
        // A store never contains files of two repositories (G-3-1 in tests/spec-rows.txt).
        if !is_of_this_chain(store, &shipped.unverified(&RoleName::ROOT)?, max_length)? {
            let problem = "it belongs to another repository: its roots and the shipped root have \
                           no key in common";
            return Err(LocalError::invalid("use", store.description(), problem)
                .with_hint("use a separate directory for each repository")
                .into());
        }
        identity.shipped_roots.push(id);
        Ok(identity)
    }

    pub(crate) fn write(&self, store: &LockedStore<'_>) -> Result<(), LocalError> {
        let bytes = serde_json::to_vec(self)
            .map_err(|error| LocalError::invalid("write the identity of", store.description(), error.to_string()))?;
        store.write(&StoredFile::Identity, &bytes)
    }
}

fn is_of_this_chain(store: &dyn Store, shipped: &Root, max_length: u64) -> Result<bool, Error> {
    let files = [StoredFile::Role(RoleName::ROOT), StoredFile::Root(shipped.version)];
    let before = Version::new(shipped.version.get() - 1).map(StoredFile::Root);
    let after = shipped.version.next().map(StoredFile::Root);
    for file in files.into_iter().chain(before).chain(after) {
        let Some(bytes) = store.read(&file, max_length)? else { continue };
        let stored = Envelope::<Root>::parse(&RoleName::ROOT, bytes);
        if let Ok(stored) = stored.and_then(|stored| stored.unverified(&RoleName::ROOT))
            && share_a_root_key(&stored, shipped)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn share_a_root_key(one: &Root, other: &Root) -> bool {
    let (Ok(one), Ok(other)) = (one.key_ring(&RoleName::ROOT), other.key_ring(&RoleName::ROOT)) else {
        return false;
    };
    one.keys().any(|(_, key)| other.keys().any(|(_, same)| key == same))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::test_repository::root;

    #[test]
    fn a_shipped_root_must_share_a_key_with_the_newest_root_or_a_neighbour() {
        let newest = StoredFile::Role(RoleName::ROOT);
        let history = |number| StoredFile::Root(Version::new(number).unwrap());
        let shipped = root(4, "ours", "online");
        let known =
            StoreIdentity { format: FORMAT, shipped_roots: vec!["another".to_owned()], refreshed: None, starts: 0 };
        for (file, version, key, belongs) in [
            (newest.clone(), 9, "ours", true),
            (history(3), 3, "ours", true),
            (history(4), 4, "ours", true),
            (history(5), 5, "ours", true),
            (history(2), 2, "ours", false),
            (history(6), 6, "ours", false),
            (history(3), 3, "theirs", false),
        ] {
            let store = MemoryStore::default();
            store.write(&newest, &root(9, "theirs", "online")).unwrap();
            store.write(&file, &root(version, key, "online")).unwrap();
            let checked = StoreIdentity::check_belongs(Some(known.clone()), &store, &shipped, 9_999);
            assert_eq!(checked.is_ok(), belongs, "{file:?} {key}");
        }
    }
}
