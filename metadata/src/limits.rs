//! The specification's W, X, Y and Z: how much a client reads and follows before it gives up.

use alloc::collections::BTreeMap;
use core::fmt;

use crate::{Error, ErrorKind, Key, KeyId, RoleName};

/// Limits of one update, in bytes and in counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most bytes of a root file (W, 5.3.3).
    pub root_length: u64,
    /// Most bytes of the timestamp file (X, 5.4.1).
    pub timestamp_length: u64,
    /// Most bytes of a snapshot whose length the timestamp does not list (5.5.1).
    pub snapshot_length: u64,
    /// Most bytes of a targets file whose length the snapshot does not list (Z, 5.6.1).
    pub targets_length: u64,
    /// Most bytes of a snapshot or targets file whose length is listed: what whoever has stolen the keys of timestamp or
    /// snapshot can make a client read, and hold while it judges.
    pub listed_length: u64,
    /// Most new roots followed in one update (Y, 5.3.3); the next update goes on from there.
    pub root_updates: u32,
    /// Most delegated roles visited in one search (5.6.7.1).
    pub roles_visited: u32,
    /// Most delegated roles read to list all targets.
    pub roles_listed: u32,
    /// Most delegations on the way from the top-level targets role to another one.
    pub delegation_depth: u32,
    /// Most signatures in one file, valid or not.
    pub signatures: u32,
    /// Most keys in one file: those of a root, or those of one role's delegations.
    pub keys: u32,
    /// Whether every key must stand under the id that the specification computes (4.3). Off, because repositories in the
    /// field do not all keep to it, and nothing is lost by it: ids are looked up in one file, and keys are counted.
    pub strict_key_ids: bool,
}

/// One of the [`Limits`]: the field that an error is about. It displays as the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::root_length`].
    RootLength,
    /// [`Limits::timestamp_length`].
    TimestampLength,
    /// [`Limits::snapshot_length`].
    SnapshotLength,
    /// [`Limits::targets_length`].
    TargetsLength,
    /// [`Limits::listed_length`].
    ListedLength,
    /// [`Limits::root_updates`].
    RootUpdates,
    /// [`Limits::roles_visited`].
    RolesVisited,
    /// [`Limits::roles_listed`].
    RolesListed,
    /// [`Limits::delegation_depth`].
    DelegationDepth,
    /// [`Limits::signatures`].
    Signatures,
    /// [`Limits::keys`].
    Keys,
}

impl Limit {
    /// The name of the field.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RootLength => "root_length",
            Self::TimestampLength => "timestamp_length",
            Self::SnapshotLength => "snapshot_length",
            Self::TargetsLength => "targets_length",
            Self::ListedLength => "listed_length",
            Self::RootUpdates => "root_updates",
            Self::RolesVisited => "roles_visited",
            Self::RolesListed => "roles_listed",
            Self::DelegationDepth => "delegation_depth",
            Self::Signatures => "signatures",
            Self::Keys => "keys",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            root_length: 512_000,
            timestamp_length: 16_384,
            snapshot_length: 16_000_000,
            targets_length: 64_000_000,
            // A million targets in one file are about 140 million bytes.
            listed_length: 256_000_000,
            root_updates: 256,
            roles_visited: 32,
            roles_listed: 100_000,
            delegation_depth: 32,
            signatures: 1_024,
            keys: 65_536,
            strict_key_ids: false,
        }
    }
}

impl Limits {
    /// Judges a length that is listed for `role`, before anything of the file is asked for.
    pub(crate) fn check_listed(&self, role: &RoleName, listed: Option<u64>) -> Result<(), Error> {
        match listed {
            Some(listed) if listed > self.listed_length => {
                let (limit, value) = (Limit::ListedLength, self.listed_length);
                Err(ErrorKind::ListedTooLong { listed, limit, value }.of(role))
            }
            _ => Ok(()),
        }
    }

    /// Judges how many keys there are in `role`'s file, and their ids, if that is asked for.
    pub(crate) fn check_keys(&self, role: &RoleName, keys: &BTreeMap<KeyId, Key>) -> Result<(), Error> {
        at_most(Limit::Keys, self.keys, keys.len()).map_err(|kind| kind.of(role))?;
        let wrong = |(id, key): &(&KeyId, &Key)| self.strict_key_ids && key.keyid() != **id;
        match keys.iter().find(wrong) {
            None => Ok(()),
            Some((found, key)) => Err(ErrorKind::WrongKeyId { expected: key.keyid(), found: found.clone() }.of(role)),
        }
    }
}

/// An error when there are more than the limit called `limit` allows.
fn at_most(limit: Limit, most: u32, found: usize) -> Result<(), ErrorKind> {
    if found > most as usize {
        return Err(ErrorKind::LimitReached { limit, value: most.into() });
    }
    Ok(())
}

/// A limit that is spent step by step.
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

    /// An error when there is none left.
    pub(crate) fn check(&self) -> Result<(), ErrorKind> {
        if self.left == 0 {
            return Err(ErrorKind::LimitReached { limit: self.limit, value: self.value });
        }
        Ok(())
    }

    /// How often it can still be spent.
    pub(crate) fn left(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    /// Spends one; an error when there is none left.
    pub(crate) fn spend(&mut self) -> Result<(), ErrorKind> {
        self.check()?;
        self.left -= 1;
        Ok(())
    }
}
