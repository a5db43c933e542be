//! Sources from which many targets are added at once.

use lastmile_metadata::{TargetFile, TargetPath, hash_start};

use super::add::DelegatedPaths;
use crate::immutable::Immutable;
use crate::{EditError, Error, NotFound};

/// If a command adds more targets than this to a role, only their paths are kept in memory while the role is written.
const MAX_IN_MEMORY: usize = 1 << 14;

/// A source of many targets, each of which is identified by a number. Targets are parsed on demand, to save memory.
pub trait TargetSource: Sync {
    /// Returns the number of targets.
    fn len(&self) -> usize;

    /// Returns whether there are no targets.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the [`hash_start`] of the path of a target.
    fn hash_start(&self, number: usize) -> u64;

    /// Returns the path of a target.
    ///
    /// # Errors
    /// Returns an error if the target can no longer be read.
    fn path(&self, number: usize) -> Result<TargetPath, Error> {
        self.target(number).map(|target| target.path)
    }

    /// Returns a target.
    ///
    /// # Errors
    /// Returns an error if the target can no longer be read.
    fn target(&self, number: usize) -> Result<TargetFile, Error>;

    /// Returns whether the targets are kept on disk instead of in memory. If so, the roles that list these targets are
    /// also kept on disk.
    fn is_on_disk(&self) -> bool {
        false
    }

    /// Returns whether a new target without custom data inherits the custom data of the target that it replaces.
    fn keeps_custom(&self) -> bool;

    /// Returns whether a target may be added to a role that delegates the path of the target to another role.
    fn delegated_paths(&self) -> DelegatedPaths;

    /// Returns the patterns that match the names of immutable targets, or `None` if the source may replace every
    /// target.
    fn immutable(&self) -> Option<&Immutable> {
        None
    }

    /// Called if two different targets, `one` and `other`, have the same path. If this function returns `Ok`, the
    /// target `one` is added, and the target `other` is ignored.
    ///
    /// # Errors
    /// [`Error::Edit`] if the source must not contain different targets with the same path.
    fn clash(&self, one: usize, other: usize) -> Result<(), Error>;
}

impl TargetSource for Vec<TargetFile> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn hash_start(&self, number: usize) -> u64 {
        self.get(number).map_or(0, |target| hash_start(target.path.as_str()))
    }

    fn target(&self, number: usize) -> Result<TargetFile, Error> {
        self.get(number).cloned().ok_or_else(lost)
    }

    fn keeps_custom(&self) -> bool {
        false
    }

    fn delegated_paths(&self) -> DelegatedPaths {
        DelegatedPaths::Hide
    }

    fn clash(&self, one: usize, _: usize) -> Result<(), Error> {
        let path = self.target(one)?.path;
        Err(EditError::DifferentTargets { path: path.clone() }.into())
    }
}

/// A target from a [`TargetSource`], with the path by which it is sorted.
pub(super) struct NamedTarget {
    pub(super) path: TargetPath,
    pub(super) number: u32,
    /// The target, or `None` if only its path is kept in memory.
    target: Option<TargetFile>,
}

impl NamedTarget {
    /// Reads the target `number`. `count` is the number of targets that are added to the same role. Keeps only the path
    /// if `count` exceeds [`MAX_IN_MEMORY`].
    pub(super) fn read(source: &dyn TargetSource, number: u32, count: usize) -> Result<Self, Error> {
        if count > MAX_IN_MEMORY {
            return Ok(Self { path: source.path(number as usize)?, number, target: None });
        }
        let target = source.target(number as usize)?;
        Ok(Self { path: target.path.clone(), number, target: Some(target) })
    }

    /// Reads the target from `source` if it is not in memory.
    pub(super) fn target(&self, source: &dyn TargetSource) -> Result<TargetFile, Error> {
        self.target.clone().map_or_else(|| source.target(self.number as usize), Ok)
    }
}

pub(super) fn lost() -> Error {
    NotFound::DistributedTarget.into()
}
