//! Adds and removes targets of a role (spec 6.3.1).

use lastmile_metadata::{RoleName, TargetFile, TargetPath};

use super::Edit;
use crate::{Error, NotFound};

impl Edit<'_> {
    /// Lists `target` in `role`, or in its bin for that path. Returns the role that lists it.
    ///
    /// # Errors
    /// When there is no such role, or a role on the way does not verify.
    pub fn add_target(&mut self, role: &RoleName, target: TargetFile) -> Result<RoleName, Error> {
        let role = self.bin_for(role, &target.path)?;
        self.draft().touched.insert(target.path.clone());
        self.targets(&role)?.insert(target);
        Ok(role)
    }

    /// Removes `path` from `role` or its bin, or from the role in which clients find it. Returns that role.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is not listed there.
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

    /// Returns the role that lists `path`, including changes of the draft.
    pub(super) fn holder(&mut self, path: &TargetPath) -> Result<Option<RoleName>, Error> {
        let in_draft = self.draft.targets.iter().find(|(_, targets)| targets.target(path).is_some());
        match in_draft {
            Some((role, _)) => Ok(Some(role.clone())),
            None => {
                Ok(self.published.find(path)?.and_then(|found| found.chain.into_iter().last()).map(|(role, _)| role))
            }
        }
    }

    /// Follows bins from `role` to the one for `path`.
    pub(super) fn bin_for(&mut self, role: &RoleName, path: &TargetPath) -> Result<RoleName, Error> {
        let mut role = role.clone();
        while let Some(bin) = self.view(&role)?.delegations.as_ref().and_then(|delegations| delegations.bin_for(path)) {
            role = bin;
        }
        Ok(role)
    }
}
