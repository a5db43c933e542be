//! Adds and removes targets of a role (spec 6.3.1).

use lastmile_metadata::{RoleName, TargetFile, TargetPath};

use super::Edit;
use crate::{Error, NotFound};

impl Edit<'_> {
    /// Adds `target` to `role`. If `role` has bins, adds `target` to the bin for the path of the target instead.
    /// Returns the role that lists the target.
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

    /// Returns a role of the draft that lists `path`. If the draft has no such role, returns the published role in
    /// which clients currently find `path`. The draft may already have removed the target from that role.
    pub(super) fn holder(&mut self, path: &TargetPath) -> Result<Option<RoleName>, Error> {
        for (role, content) in &self.draft.targets {
            if content.read()?.target(path).is_some() {
                return Ok(Some(role.clone()));
            }
        }
        Ok(self.published.find(path)?.and_then(|found| found.chain.into_iter().last()).map(|(role, _)| role))
    }

    /// Returns the role that must list a target with this path. This is `role` itself or, if `role` has bins, the bin
    /// for the path. A bin may itself have bins.
    pub(crate) fn bin_for(&mut self, role: &RoleName, path: &TargetPath) -> Result<RoleName, Error> {
        let mut role = role.clone();
        while let Some(bin) = self.view(&role)?.delegations.as_ref().and_then(|delegations| delegations.bin_for(path)) {
            role = bin;
        }
        Ok(role)
    }
}
