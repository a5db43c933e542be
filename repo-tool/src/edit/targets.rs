//! Adds and removes targets of a role (spec 6.3.1).

use std::borrow::Cow;
use std::collections::BTreeSet;

use lastmile_metadata::{RoleName, TargetFile, TargetPath};

use super::Edit;
use crate::{Error, NotFound};

impl Edit<'_> {
    /// Adds `target` to `role` or, if `role` has bins, to the bin for the path of `target`. Returns the role that lists
    /// the target.
    ///
    /// # Errors
    /// Returns an error if the role does not exist, or if the metadata of a role does not verify.
    pub fn add_target(&mut self, role: &RoleName, target: TargetFile) -> Result<RoleName, Error> {
        let role = self.bin_for(role, &target.path)?;
        self.draft().touched.insert(target.path.clone());
        self.targets(&role)?.insert(target);
        Ok(role)
    }

    /// Removes the target `path` from `role` or, if `role` has bins, from the bin for the path. If `role` is `None`,
    /// removes the target from the role that lists it. Returns the changed role.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the target is not found.
    pub fn remove_target(&mut self, role: Option<&RoleName>, path: &TargetPath) -> Result<RoleName, Error> {
        let holder = match role {
            Some(role) => Some(self.bin_for(role, path)?),
            None => self.holder(path)?,
        };
        let missing = || NotFound::Target { path: path.clone() };
        let holder = holder.ok_or_else(missing)?;
        if self.view(&holder)?.target(path).is_none() {
            return Err(missing().into());
        }
        self.draft().touched.insert(path.clone());
        self.targets(&holder)?.remove(path);
        Ok(holder)
    }

    /// Returns the role in which clients will find `path` after the draft is published. If clients will not find `path`
    /// in any role, returns the role in which they find it now.
    pub(super) fn holder(&mut self, path: &TargetPath) -> Result<Option<RoleName>, Error> {
        if let Some(holder) = self.find(path)? {
            return Ok(Some(holder));
        }
        Ok(self.published.find(path)?.and_then(|found| found.chain.into_iter().last()).map(|(role, _)| role))
    }

    /// Searches for `path` in the draft in the order of priority (TUF specification 5.6.7).
    fn find(&mut self, path: &TargetPath) -> Result<Option<RoleName>, Error> {
        let mut to_visit = vec![RoleName::TARGETS];
        let mut visited = BTreeSet::new();
        while let Some(role) = to_visit.pop() {
            if !visited.insert(role.clone()) {
                continue;
            }
            let view = match self.draft.targets.get(&role) {
                Some(content) => content.read()?,
                None => Cow::Borrowed(&**self.published.role(&role)?),
            };
            if view.target(path).is_some() {
                return Ok(Some(role));
            }
            let covering = view.delegations.as_ref().map(|delegations| delegations.covering(path)).unwrap_or_default();
            let last = covering.iter().position(|(_, terminating)| *terminating);
            if last.is_some() {
                to_visit.clear();
            }
            let count = last.map_or(covering.len(), |last| last + 1);
            to_visit.extend(covering.into_iter().take(count).rev().map(|(role, _)| role));
        }
        Ok(None)
    }

    /// Returns `role` itself or, if `role` has bins, the bin for `path`. A bin may itself have bins.
    pub(crate) fn bin_for(&mut self, role: &RoleName, path: &TargetPath) -> Result<RoleName, Error> {
        let mut role = role.clone();
        while let Some(bin) = self.view(&role)?.delegations.as_ref().and_then(|delegations| delegations.bin_for(path)) {
            role = bin;
        }
        Ok(role)
    }
}
