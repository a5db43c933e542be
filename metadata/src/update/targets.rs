//! The update of the targets role (TUF specification 5.6.1 to 5.6.6). The function [`verify_targets`] verifies both
//! this role and delegated roles.

use alloc::sync::Arc;

use super::{Request, Stage, Update, most_bytes};
use crate::key::Fingerprint;
use crate::trusted::Edge;
use crate::verify::Required;
use crate::{
    Accepted, Error, ErrorKind, FileContent, Floors, KeyRing, Limit, RoleName, Snapshot, Targets, Timestamp,
    TrustedMetadata, Verified, VerifiedTargets,
};

/// Fetches the top-level targets role that the snapshot lists, unless that version is already stored.
#[derive(Clone, Debug)]
pub struct UpdateTargets {
    update: Update,
    timestamp: Verified<Timestamp>,
    snapshot: Verified<Snapshot>,
    targets: Option<VerifiedTargets>,
}

impl UpdateTargets {
    pub(crate) fn start(update: Update, timestamp: Verified<Timestamp>, snapshot: Verified<Snapshot>) -> Self {
        Self { update, timestamp, snapshot, targets: None }
    }

    /// Returns the trusted snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Verified<Snapshot> {
        &self.snapshot
    }

    fn verified(&self, file: FileContent) -> Result<VerifiedTargets, Error> {
        // Spec 1.5: verify with the keys that the root lists for targets. An attacker who has only the online keys
        // cannot add targets.
        let role = &RoleName::TARGETS;
        verify_targets(&self.update, &self.snapshot, role, &self.update.root.key_ring(role)?, file, None)
    }
}

impl Stage for UpdateTargets {
    type Next = TrustedMetadata;

    fn request(&self) -> Option<Request> {
        match self.targets {
            Some(_) => None,
            None => request_targets(&self.update, &self.snapshot, &RoleName::TARGETS),
        }
    }

    fn recall(&mut self, stored: FileContent) -> bool {
        self.targets = self.verified(stored).ok();
        self.targets.is_some()
    }

    fn apply(&mut self, fetched: Option<FileContent>) -> Result<Option<Accepted>, Error> {
        let file = fetched.ok_or_else(|| ErrorKind::Absent.of(&RoleName::TARGETS))?;
        // Spec 5.6.6: return the role so that the caller stores it.
        let targets = self.targets.insert(self.verified(file)?);
        Ok(Some(targets.to_store()))
    }

    fn floors(&self) -> Option<&Floors> {
        Some(&self.update.floors)
    }

    fn finish(self) -> Result<TrustedMetadata, Error> {
        let missing = || missing_targets(&self.update, &self.snapshot, &RoleName::TARGETS);
        let targets = self.targets.ok_or_else(missing)?;
        let Self { update, timestamp, snapshot, .. } = self;
        Ok(TrustedMetadata::new(update, timestamp, snapshot, targets))
    }
}

impl TrustedMetadata {
    /// Returns the request for the file of a delegated role (TUF specification 5.6.1).
    /// [`TrustedMetadata::verify_delegated`] verifies the fetched file.
    ///
    /// # Errors
    /// Returns [`ErrorKind::NotListed`] if the snapshot does not list the role, or [`ErrorKind::ListedTooLong`] if the
    /// listed length exceeds a limit.
    pub fn delegated_request(&self, role: &RoleName) -> Result<Request, Error> {
        let request = request_targets(&self.update, &self.snapshot, role);
        request.ok_or_else(|| missing_targets(&self.update, &self.snapshot, role))
    }

    /// Verifies the file of a delegated role (TUF specification 5.6.1 to 5.6.6). `ring` must be the key ring that a
    /// delegator lists for the role, as returned by [`Delegations::rings`](crate::Delegations::rings).
    ///
    /// # Errors
    /// Returns an error if the file is refused.
    pub fn verify_delegated(
        &self,
        role: &RoleName,
        ring: &KeyRing,
        file: FileContent,
    ) -> Result<VerifiedTargets, Error> {
        verify_targets(&self.update, &self.snapshot, role, ring, file, None)
    }

    /// Verifies the file of a delegated role with the keys that its delegator lists (TUF specification 5.6.1 to 5.6.6).
    pub(crate) fn verify(&self, edge: &Edge, file: FileContent) -> Result<VerifiedTargets, Error> {
        // Reuse the parsed content if the same bytes have already been verified with other keys.
        let next = self.delegated.range((edge.role().clone(), Fingerprint::default())..).next();
        let same = next.filter(|((role, _), _)| role == edge.role()).and_then(|(_, targets)| targets.held());
        // Spec 3.1.2.1: only the keys that the direct delegator lists count.
        verify_targets(&self.update, &self.snapshot, edge.role(), edge.ring(), file, same)
    }
}

/// Returns the request for the file of a targets role (TUF specification 5.6.1). Returns `None` if the snapshot does
/// not list the role, or if the listed length exceeds a limit.
pub(crate) fn request_targets(update: &Update, snapshot: &Snapshot, role: &RoleName) -> Option<Request> {
    let listed = snapshot.meta(role)?;
    update.limits.check_listed(role, listed.length).ok()?;
    let (max_length, limit) = most_bytes(listed.length, Limit::TargetsLength, update.limits.targets_length);
    Some(Request { role: role.clone(), version: update.prefix(listed.version), max_length, limit })
}

pub(crate) fn missing_targets(update: &Update, snapshot: &Snapshot, role: &RoleName) -> Error {
    match snapshot.meta(role) {
        Some(listed) => {
            update.limits.check_listed(role, listed.length).err().unwrap_or_else(|| ErrorKind::Absent.of(role))
        }
        None => ErrorKind::NotListed.of(role),
    }
}

/// Verifies the file of a top-level or delegated targets role. A targets role is trusted only after this check (TUF
/// specification 4.5). If this role was already verified in this update with other keys, `same` is the result.
fn verify_targets(
    update: &Update,
    snapshot: &Snapshot,
    role: &RoleName,
    ring: &KeyRing,
    file: FileContent,
    same: Option<&Arc<Verified<Targets>>>,
) -> Result<VerifiedTargets, Error> {
    // Spec 4.4: the snapshot lists every targets role.
    let listed = snapshot.meta(role).ok_or_else(|| ErrorKind::NotListed.of(role))?;
    // Spec 5.6.2, 5.6.3: check the listed hashes, and the signatures by the keys that the delegator lists.
    let required = Required { role, ring, listed: Some(&listed), limits: &update.limits };
    let targets = VerifiedTargets::verify(update.known.as_ref(), same, &required, file)?;
    // Spec 5.6.4: the role must have the listed version.
    if targets.version() != listed.version {
        return Err(ErrorKind::WrongVersion { expected: listed.version, found: targets.version() }.of(role));
    }
    if let Some(delegations) = targets.delegations() {
        update.limits.check_keys(role, &delegations.keys)?;
    }
    // Spec 5.6.5: the role must not have expired.
    update.check_expiry(role, targets.expires())?;
    Ok(targets)
}
