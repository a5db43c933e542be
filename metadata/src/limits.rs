//! The limits that a client sets for one update. They include the limits W, X, Y and Z of the TUF specification.

use alloc::collections::BTreeMap;

use crate::{Error, ErrorKind, Key, KeyId, Limit, RoleName};

/// The limits of one client update. Fields whose names end in `_length` are in bytes. The other numbers count items.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The maximum length of a root file (W in TUF specification 5.3.3).
    pub root_length: u64,
    /// The maximum length of the timestamp file (X in TUF specification 5.4.1).
    pub timestamp_length: u64,
    /// The maximum length of a snapshot whose length the timestamp does not list (TUF specification 5.5.1).
    pub snapshot_length: u64,
    /// The maximum length of a targets file whose length the snapshot does not list (Z in TUF specification 5.6.1).
    pub targets_length: u64,
    /// The maximum length of a snapshot or targets file whose length is listed. This limit bounds how much data an
    /// attacker with a stolen timestamp or snapshot key can make a client read and hold in memory.
    pub listed_length: u64,
    /// The maximum number of new roots in one update (Y in TUF specification 5.3.3). If an update reaches this limit,
    /// the next update continues from the last accepted root.
    pub root_updates: u32,
    /// The maximum number of delegated roles that one search for a target visits (TUF specification 5.6.7.1).
    pub roles_visited: u32,
    /// The maximum number of delegated roles that a listing of all targets reads.
    pub roles_listed: u32,
    /// The maximum number of steps that a listing of all targets takes. Each of the following takes at least one step:
    /// listing a target, listing a delegation, visiting a role in the search for a target, comparing a path with a
    /// pattern, and verifying 256 bytes of a role. Long paths and roles with many keys take additional steps.
    pub list_steps: u64,
    /// The maximum number of delegations in a chain from the top-level targets role to a delegated role.
    pub delegation_depth: u32,
    /// The maximum number of signatures in one file, valid or not.
    pub signatures: u32,
    /// The maximum number of keys in a root or in the delegations of a targets role.
    pub keys: u32,
    /// Whether every key must be listed under the ID that TUF specification 4.3 defines. The default is `false`,
    /// because some existing repositories use different IDs. Accepting other IDs is safe, because an ID is looked up
    /// only within the file that lists it, and thresholds count keys, not IDs.
    pub strict_key_ids: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            root_length: 512_000,
            // Spec 4.6: a timestamp is a small file.
            timestamp_length: 16_384,
            snapshot_length: 16_000_000,
            targets_length: 64_000_000,
            // A targets file that lists one million targets is about 140 MB long.
            listed_length: 256_000_000,
            root_updates: 256,
            roles_visited: 32,
            roles_listed: 100_000,
            // This number of steps is enough for several million targets in bins, at about ten steps per target. A
            // listing that uses all steps takes a few seconds at most.
            list_steps: 50_000_000,
            delegation_depth: 32,
            signatures: 1_024,
            keys: 65_536,
            strict_key_ids: false,
        }
    }
}

impl Limits {
    /// Compares the listed length of a file with [`Limits::listed_length`]. Call this before requesting the file.
    pub(crate) fn check_listed(&self, role: &RoleName, listed: Option<u64>) -> Result<(), Error> {
        match listed {
            Some(listed) if listed > self.listed_length => {
                let kind = ErrorKind::ListedTooLong { listed, limit: Limit::ListedLength, value: self.listed_length };
                Err(kind.of(role))
            }
            _ => Ok(()),
        }
    }

    /// Checks the number of keys in the file of `role`, and their IDs if [`Limits::strict_key_ids`] is on.
    pub(crate) fn check_keys(&self, role: &RoleName, keys: &BTreeMap<KeyId, Key>) -> Result<(), Error> {
        at_most(Limit::Keys, self.keys, keys.len()).map_err(|kind| kind.of(role))?;
        let wrong = |(id, key): &(&KeyId, &Key)| self.strict_key_ids && key.keyid() != **id;
        match keys.iter().find(wrong) {
            None => Ok(()),
            Some((found, key)) => Err(ErrorKind::WrongKeyId { expected: key.keyid(), found: found.clone() }.of(role)),
        }
    }
}

fn at_most(limit: Limit, most: u32, found: usize) -> Result<(), ErrorKind> {
    if found > most as usize {
        return Err(ErrorKind::LimitReached { limit, value: most.into() });
    }
    Ok(())
}

/// The number of steps that an operation may still take.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    limit: Limit,
    value: u64,
    left: u64,
}

impl Budget {
    pub(crate) fn new(limit: Limit, value: u64) -> Self {
        Self { limit, value, left: value }
    }

    /// Returns an error if no steps are left. Does not use a step.
    pub(crate) fn check(&self) -> Result<(), ErrorKind> {
        if self.left == 0 {
            return Err(ErrorKind::LimitReached { limit: self.limit, value: self.value });
        }
        Ok(())
    }

    pub(crate) fn left(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    pub(crate) fn spend(&mut self) -> Result<(), ErrorKind> {
        self.spend_many(1)
    }

    /// Uses several steps at once. If fewer steps are left, uses up the budget and returns an error.
    pub(crate) fn spend_many(&mut self, steps: usize) -> Result<(), ErrorKind> {
        let Some(left) = self.left.checked_sub(steps as u64) else {
            self.left = 0;
            return Err(ErrorKind::LimitReached { limit: self.limit, value: self.value });
        };
        self.left = left;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn the_name_of_each_limit_is_that_of_its_field() {
        let fields = format!("{:?}", Limits::default());
        for (limit, name) in [
            (Limit::RootLength, "root_length"),
            (Limit::TimestampLength, "timestamp_length"),
            (Limit::SnapshotLength, "snapshot_length"),
            (Limit::TargetsLength, "targets_length"),
            (Limit::ListedLength, "listed_length"),
            (Limit::RootUpdates, "root_updates"),
            (Limit::RolesVisited, "roles_visited"),
            (Limit::RolesListed, "roles_listed"),
            (Limit::ListSteps, "list_steps"),
            (Limit::DelegationDepth, "delegation_depth"),
            (Limit::Signatures, "signatures"),
            (Limit::Keys, "keys"),
        ] {
            assert_eq!(limit.name(), name);
            assert!(fields.contains(&format!(" {name}: ")), "{fields}");
        }
    }
}
