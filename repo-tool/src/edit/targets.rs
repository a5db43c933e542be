//! Which targets a role lists (spec 6.3.1).

use lastmile_metadata::{RoleName, TargetFile, TargetPath};

use super::Edit;
use crate::{Error, NotFound};

impl Edit<'_> {
    /// Lists `target` in `role`, or in the bin that `role` leads it to. Returns where.
    ///
    /// # Errors
    /// When there is no such role, or what is on the way does not verify.
    pub fn add_target(&mut self, role: &RoleName, target: TargetFile) -> Result<RoleName, Error> {
        let role = self.bin_for(role, &target.path)?;
        self.draft().touched.insert(target.path.clone());
        self.targets(&role)?.insert(target);
        Ok(role)
    }

    /// Lists `path` no more: in `role` or its bin, or wherever clients find it.
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

    /// The role that lists `path`, the draft's changes included.
    fn holder(&mut self, path: &TargetPath) -> Result<Option<RoleName>, Error> {
        let in_draft = self.draft.targets.iter().find(|(_, targets)| targets.target(path).is_some());
        match in_draft {
            Some((role, _)) => Ok(Some(role.clone())),
            None => {
                Ok(self.published.find(path)?.and_then(|found| found.chain.into_iter().last()).map(|(role, _)| role))
            }
        }
    }

    /// Follows bins from `role` on to the one that `path` falls into.
    fn bin_for(&mut self, role: &RoleName, path: &TargetPath) -> Result<RoleName, Error> {
        let mut role = role.clone();
        while let Some(bin) = self.view(&role)?.delegations.as_ref().and_then(|delegations| delegations.bin_for(path)) {
            role = bin;
        }
        Ok(role)
    }
}
