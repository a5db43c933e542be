//! How an updater treats policies: those of the repository, that of the user, and the decision of the application.

#[cfg(feature = "attest")]
use lastmile_attest::{LocalPolicy, Verdict};
#[cfg(feature = "attest")]
use lastmile_metadata::TargetFile;

/// The name of the member of a targets role that contains a policy.
#[cfg(any(test, not(feature = "attest")))]
pub(crate) const MEMBER: &str = "x-lastmile-policy";

/// The settings of an updater for policies.
#[derive(Default)]
pub(crate) struct Policies {
    /// Whether the policies of the repository are ignored.
    pub(crate) are_ignored: bool,
    #[cfg(feature = "attest")]
    pub(crate) local: LocalPolicy,
    #[cfg(feature = "attest")]
    pub(crate) approve: Option<Box<dyn Approve>>,
}

/// Decides for the application whether a target may be downloaded, after all policies have been satisfied.
///
/// The session calls it before each download, with the verdict of the policies. The verdict has no rules if no policy
/// applies to the target.
#[cfg(feature = "attest")]
pub trait Approve: Send + Sync + 'static {
    /// Approves the download of a target.
    ///
    /// # Errors
    ///
    /// The reason why the target must not be downloaded. The session then refuses it with
    /// [`Refusal::NotApproved`](crate::Refusal::NotApproved), and makes no request for it.
    fn approve(&self, target: &TargetFile, verdict: &Verdict) -> Result<(), String>;
}

/// Asks a closure such as `|target: &TargetFile, verdict: &Verdict| …`.
#[cfg(feature = "attest")]
impl<F: Fn(&TargetFile, &Verdict) -> Result<(), String> + Send + Sync + 'static> Approve for F {
    fn approve(&self, target: &TargetFile, verdict: &Verdict) -> Result<(), String> {
        self(target, verdict)
    }
}

#[cfg(all(test, feature = "attest"))]
mod tests {
    #[test]
    fn the_member_has_the_name_that_attest_reads() {
        assert_eq!(super::MEMBER, lastmile_attest::policy::MEMBER);
    }
}
