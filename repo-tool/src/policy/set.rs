//! Sets the policy of a role, after checking the trust roots that the policy names.

use lastmile_metadata::{Json, RoleName, TargetFile, TargetPath};

use crate::draft::Draft;
use crate::edit::policy::read_policy;
use crate::policy::contents::TargetContents;
use crate::{Edit, Error, PolicyError, Repository};

impl Repository {
    /// Adds a policy to the draft. The policy replaces any earlier policy of the role. Checks each trust root that the
    /// policy names, if the file of the trust root is on this machine.
    ///
    /// # Errors
    /// [`Error::Policy`] if the role cannot have this policy, or if a checked trust root cannot be used.
    pub fn set_policy(&mut self, draft: Draft, role: &RoleName, policy: &Json) -> Result<Draft, Error> {
        let contents = TargetContents::new(&self.layout, self.target_names(), &draft.files);
        let mut edit = self.edit(draft);
        edit.set_policy(role, policy)?;
        for (_, source) in read_policy(role, policy)?.trust_sources() {
            let listed = edit.view(role)?.target(source.path());
            let Some(target) = listed.map_or_else(|| find(&mut edit, source.path()), |target| Ok(Some(target)))? else {
                continue;
            };
            let Some(content) = contents.read(&target)? else { continue };
            if let Err(problem) = source.read_root(&content) {
                return Err(PolicyError::TrustRoot { path: source.path().clone(), problem }.into());
            }
        }
        edit.finish()
    }
}

/// Finds a published target in any role.
fn find(edit: &mut Edit<'_>, path: &TargetPath) -> Result<Option<TargetFile>, Error> {
    Ok(edit.published().find(path)?.map(|found| found.target))
}
