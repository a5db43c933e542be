//! A target that a session has found, with the requirements that must be satisfied before the target is downloaded.

use std::ops::Deref;

use lastmile_metadata::{Found, TargetFile};

use crate::error::Error;
#[cfg(feature = "attest")]
use crate::judge::Demanded;
use crate::policies::Policies;

/// A target that a session has found, with the requirements of the policies that apply to the target. Only
/// [`Session::find`](crate::Session::find) and its variants create a `Target`, and only a `Target` can be downloaded,
/// so a program cannot bypass the policies by accident.
///
/// A `Target` dereferences to the [`TargetFile`] that a role lists, with the length, the hashes and the custom data. A
/// `TargetFile` alone cannot be downloaded:
///
/// ```compile_fail,E0308
/// # async fn f(session: &lastmile_client::Session, listed: &lastmile_client::metadata::TargetFile) {
/// session.read(listed).await;
/// # }
/// ```
///
/// ```
/// # async fn f(session: &lastmile_client::Session, found: &lastmile_client::Target) {
/// session.read(found).await;
/// # }
/// ```
///
/// Download a target with the same session that found it, because the policies in another session may differ.
#[derive(Clone, Debug)]
pub struct Target {
    file: TargetFile,
    /// `None` if no rule applies to the target.
    #[cfg(feature = "attest")]
    pub(crate) demanded: Option<Box<Demanded>>,
}

impl Target {
    /// Collects the requirements for a target from the local policy and from the policies of the roles on the
    /// delegation chain of the target.
    #[cfg(feature = "attest")]
    pub(crate) fn of(mut found: Found, policies: &Policies) -> Result<Target, Error> {
        if policies.are_ignored {
            found.chain.clear();
        }
        let demanded = Demanded::on(&found, &policies.local)?;
        Ok(Target { file: found.target, demanded: demanded.map(Box::new) })
    }

    /// Returns an error if a role on the delegation chain of the target has a policy, because this build cannot
    /// evaluate evidence.
    #[cfg(not(feature = "attest"))]
    pub(crate) fn of(found: Found, policies: &Policies) -> Result<Target, Error> {
        let mut chain = found.chain.iter();
        let role = chain.find(|(_, targets)| targets.header().unknown.contains_key(crate::policies::MEMBER));
        match role {
            Some((role, _)) if !policies.are_ignored => Err(Error::PoliciesNotSupported(role.clone())),
            _ => Ok(Target { file: found.target }),
        }
    }

    /// Returns the entry for this target in the role that lists it: the path, the length, the hashes and the custom
    /// data.
    #[must_use]
    pub fn file(&self) -> &TargetFile {
        &self.file
    }

    #[cfg(test)]
    pub(crate) fn without_demands(file: TargetFile) -> Target {
        Target {
            file,
            #[cfg(feature = "attest")]
            demanded: None,
        }
    }
}

impl Deref for Target {
    type Target = TargetFile;

    fn deref(&self) -> &TargetFile {
        &self.file
    }
}
