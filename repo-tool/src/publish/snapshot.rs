//! The snapshot's entries for targets roles (spec 4.4), which contain version, length and SHA-256.
//!
//! The hash binds the content of a role to the snapshot. Without the hash, anyone with the role's keys could replace
//! the role's file with another file of the same version. Clients would accept that file together with the genuine
//! snapshot and timestamp.
//!
//! Two kinds of bins are listed by version only:
//!
//! * Bins for which any keys that reach the threshold are also enough to sign snapshot and timestamp. A hash would not
//!   add security, because anyone who can sign a false bin can also sign a false snapshot.
//! * Bins of sets with more than 2^13 bins, which an earlier version of this tool created. With hashes for these bins,
//!   the snapshot would exceed the limits of other clients.

use std::collections::{BTreeMap, BTreeSet};

use lastmile_keys::PublicKey;
use lastmile_metadata::{
    Algorithm, DelegatedRoles, Delegations, Hashes, KeyRing, MetaFile, Paths, RoleName, Root, Version,
};

use crate::Error;
use crate::document::Document;
use crate::draft::Draft;
use crate::edit::bins::Bins;
use crate::edit::same_ring;
use crate::published::Published;

/// If a set of bins already exists, hashes of its bins are added to the snapshot only up to this `bit_length`. The
/// entries of 2^14 bins with hashes take 2.16 MB, but python-tuf accepts at most 2,000,000 bytes by default.
pub(crate) const MAX_BITS_WITH_HASHES: u32 = 13;

/// Returns a snapshot entry with version, length and SHA-256.
pub(crate) fn list_with_hash(version: Version, bytes: &[u8]) -> MetaFile {
    let mut file = MetaFile::new(version);
    file.length = Some(bytes.len() as u64);
    file.hashes = Hashes::of(bytes, &[Algorithm::Sha256]);
    file
}

/// The reason why bins are listed by version only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionOnly {
    /// Anyone who can sign for the bins can also sign snapshot and timestamp.
    SignedByOnlineKeys,
    /// An earlier version of this tool created more bins than can be listed with hashes.
    TooMany,
}

#[derive(Debug, Default)]
pub(crate) struct VersionOnlyBins(Vec<(Bins, VersionOnly)>);

impl VersionOnlyBins {
    /// Finds the sets of bins that the snapshot will list by version only. Considers the delegations of roles in the
    /// draft, and of published roles that have already been read.
    pub(crate) fn of(published: Option<&Published>, draft: &Draft) -> Self {
        let Some(root) = draft.root.as_ref().or(published.map(|published| &*published.root)) else {
            return Self::default();
        };
        let before = |role: &RoleName| published.and_then(|published| published.known(role)?.delegations.as_ref());
        let unchanged = published.into_iter().flat_map(Published::read_roles);
        let unchanged = unchanged.filter(|(role, _)| !draft.targets.contains_key(*role));
        let unchanged = unchanged.map(|(role, view)| (role, view.delegations.as_ref()));
        let changed = draft.targets.iter().map(|(role, content)| (role, content.delegations()));
        let sets = unchanged.chain(changed).filter_map(|(role, delegations)| {
            let delegations = delegations?;
            let first = first_bin(delegations)?;
            let ring = delegations.key_ring(role, &first).ok()?;
            if is_signed_by_online_keys(&ring, root) {
                return Some((Bins::of(delegations)?, VersionOnly::SignedByOnlineKeys));
            }
            let listed = published?.snapshot.meta(&first).filter(|listed| !is_complete(listed));
            let bins = listed.and_then(|_| Bins::of(delegations))?;
            let is_old = before(role).and_then(Bins::of).is_some_and(|old| old.is_the_same_set_as(&bins));
            (is_old && bins.bit_length > MAX_BITS_WITH_HASHES).then_some((bins, VersionOnly::TooMany))
        });
        Self(sets.collect())
    }

    pub(crate) fn sets(&self) -> impl Iterator<Item = (&Bins, VersionOnly)> {
        self.0.iter().map(|(bins, why)| (bins, *why))
    }

    fn contains(&self, role: &RoleName) -> bool {
        self.0.iter().any(|(bins, _)| bins.contains(role))
    }

    /// Returns the snapshot entry of a document that is published together with the snapshot.
    ///
    /// # Errors
    /// [`Error::File`] if the text of the document is on disk and cannot be read.
    pub(crate) fn entry(&self, document: &Document, root: &Root) -> Result<MetaFile, Error> {
        let set = self.0.iter().find(|(bins, _)| bins.contains(&document.role));
        let by_version = set.is_some_and(|(_, why)| match why {
            // Check all key rings, because another role may also delegate to the bin, with different keys.
            VersionOnly::SignedByOnlineKeys => {
                document.rings().required.iter().all(|ring| is_signed_by_online_keys(ring, root))
            }
            VersionOnly::TooMany => true,
        });
        if by_version {
            Ok(MetaFile::new(document.version))
        } else {
            Ok(list_with_hash(document.version, &document.file()?))
        }
    }
}

/// Returns whether a snapshot entry has a length and a hash of a known algorithm.
pub(crate) fn is_complete(listed: &MetaFile) -> bool {
    listed.length.is_some() && listed.hashes.as_ref().is_some_and(|hashes| hashes.known().next().is_some())
}

/// Returns new snapshot entries for unchanged roles whose entries lack a length or hash. If the tool was upgraded,
/// or if the keys of bins or of online roles change, reads all roles to find these entries.
///
/// # Errors
/// Returns an error if a published role does not verify.
pub(crate) fn entries_to_complete(
    published: &mut Published,
    draft: &Draft,
) -> Result<BTreeMap<RoleName, MetaFile>, Error> {
    if !may_be_incomplete(published, draft) {
        return Ok(BTreeMap::new());
    }
    let roles: BTreeSet<RoleName> = published.read_all()?.into_iter().map(|(role, _)| role).collect();
    let by_version = VersionOnlyBins::of(Some(published), draft);
    let mut entries = BTreeMap::new();
    for role in roles.into_iter().filter(|role| !draft.targets.contains_key(role) && !by_version.contains(role)) {
        if published.snapshot.meta(&role).is_some_and(|listed| !is_complete(&listed)) {
            let targets = published.role(&role)?;
            let entry = list_with_hash(targets.version, targets.bytes());
            entries.insert(role, entry);
        }
    }
    Ok(entries)
}

/// Returns whether entries may lack a length or hash. This is possible after a change of the keys of snapshot,
/// timestamp or bins. It is also possible after an upgrade from a version of this tool that wrote no hashes: in this
/// case, the entry of the top-level targets role lacks a hash too.
fn may_be_incomplete(published: &Published, draft: &Draft) -> bool {
    let is_upgrade = published.snapshot.meta(&RoleName::TARGETS).is_some_and(|listed| !is_complete(&listed));
    let online_keys_change = draft.root.as_ref().is_some_and(|root| !has_same_online_keys(&published.root, root));
    let bins_keys_change = || {
        draft.targets.iter().any(|(role, after)| {
            let ring = |delegations: &Delegations| delegations.key_ring(role, &first_bin(delegations)?).ok();
            let before = published.known(role).and_then(|before| before.delegations.as_ref()).and_then(ring);
            let after = after.delegations().and_then(ring);
            before.zip(after).is_some_and(|(before, after)| {
                is_signed_by_online_keys(&before, &published.root) && !same_ring(&before, &after)
            })
        })
    };
    is_upgrade || online_keys_change || bins_keys_change()
}

/// Returns whether both roots list the same keys and thresholds for snapshot and timestamp.
pub(crate) fn has_same_online_keys(one: &Root, other: &Root) -> bool {
    RoleName::ONLINE.iter().all(|role| {
        let rings = one.key_ring(role).ok().zip(other.key_ring(role).ok());
        rings.is_some_and(|(one, other)| same_ring(&one, &other))
    })
}

/// Returns bin 0 of a succinct delegation, or else the first role that is delegated by hash prefixes.
fn first_bin(delegations: &Delegations) -> Option<RoleName> {
    match &delegations.roles {
        DelegatedRoles::Succinct(bins) => Some(bins.bin(0)),
        DelegatedRoles::Listed(roles) => {
            roles.iter().find(|role| matches!(role.paths, Paths::HashPrefixes(_))).map(|role| role.name.clone())
        }
    }
}

/// Returns whether anyone who can sign with `ring` can also sign snapshot and timestamp.
fn is_signed_by_online_keys(ring: &KeyRing, root: &Root) -> bool {
    need_online_keys(ring.keys().map(|(_, key)| key), ring.threshold().get(), root)
}

/// Returns whether every set of `threshold` keys out of `keys` contains enough keys to sign snapshot and timestamp.
pub(crate) fn need_online_keys<'k>(keys: impl IntoIterator<Item = &'k PublicKey>, threshold: u32, root: &Root) -> bool {
    let keys: BTreeSet<&PublicKey> = keys.into_iter().collect();
    RoleName::ONLINE.iter().all(|role| {
        let Ok(online) = root.key_ring(role) else { return false };
        let online_keys: BTreeSet<&PublicKey> = online.keys().map(|(_, key)| key).collect();
        // `others` keys are not online keys. Even if all of them sign, at least `threshold - others` online keys must
        // sign as well. These must be enough for the threshold of the online role.
        let others = keys.difference(&online_keys).count() as u64;
        u64::from(threshold).saturating_sub(others) >= u64::from(online.threshold().get())
    })
}
