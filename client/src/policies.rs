//! The policy settings of an updater: whether to ignore the policies of the repository, the local policy, and the
//! callback that decides for the application.

#[cfg(feature = "attest")]
use lastmile_attest::{LocalPolicy, Verdict};
#[cfg(feature = "attest")]
use lastmile_metadata::TargetFile;

/// The member in which a targets role contains its policy.
#[cfg(any(test, not(feature = "attest")))]
pub(crate) const MEMBER: &str = "x-lastmile-policy";

#[derive(Default)]
pub(crate) struct Policies {
    /// Whether to ignore the policies of the repository.
    pub(crate) are_ignored: bool,
    #[cfg(feature = "attest")]
    pub(crate) local: LocalPolicy,
    #[cfg(feature = "attest")]
    pub(crate) approve: Option<Box<dyn Approve>>,
}

/// Decides for the application whether a target may be downloaded. Called only for targets that all policies allow.
///
/// The session calls [`approve`](Approve::approve) before each download. The verdict contains one result for each
/// policy rule that applies to the target. If no rule applies, the verdict contains no results.
#[cfg(feature = "attest")]
pub trait Approve: Send + Sync + 'static {
    /// Approves or refuses the download of a target.
    ///
    /// # Errors
    ///
    /// The reason why the target must not be downloaded. The session then refuses the target with
    /// [`Refusal::NotApproved`](crate::Refusal::NotApproved), and does not request the target.
    fn approve(&self, target: &TargetFile, verdict: &Verdict) -> Result<(), String>;
}

/// Calls a closure such as `|target: &TargetFile, verdict: &Verdict| …` to make the decision.
#[cfg(feature = "attest")]
impl<F: Fn(&TargetFile, &Verdict) -> Result<(), String> + Send + Sync + 'static> Approve for F {
    fn approve(&self, target: &TargetFile, verdict: &Verdict) -> Result<(), String> {
        self(target, verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "attest")]
    #[test]
    fn the_member_has_the_name_that_attest_reads() {
        assert_eq!(MEMBER, lastmile_attest::policy::MEMBER);
    }

    #[cfg(not(feature = "attest"))]
    #[tokio::test]
    async fn without_attest_a_target_with_a_policy_is_found_only_by_choice() {
        use lastmile_metadata::{TargetNames, TargetPath};

        use crate::error::Error;
        use crate::test_repository::{TestRepository, now};

        for (role, name) in [("targets", "x"), ("targets", "docs/y"), ("docs", "docs/y")] {
            let repository = TestRepository::new();
            repository.set_member(role, MEMBER, &serde_json::json!({ "version": 1, "require": [] }));
            repository.put(&format!("t/{name}"), b"1");
            let updater = || repository.updater().target_names(TargetNames::Plain);
            let mut session = updater().build().unwrap().refresh_at(now()).await.unwrap();
            repository.take_requests();
            let refused = |error: &Error| matches!(error, Error::PoliciesNotSupported(of) if of.as_str() == role);
            assert!(refused(&session.target(name).await.unwrap_err()), "{role} {name}");
            let path = TargetPath::new(name).unwrap();
            assert!(refused(&session.find(&path).await.unwrap_err()));
            let error = session.find_all(&[path]).await.unwrap_err();
            assert!(refused(&error) && error.to_string().contains("built without the feature `attest`"), "{error}");
            let is_metadata = |url: &String| !url.contains("/t/");
            assert!(repository.take_requests().iter().all(is_metadata), "no target may be requested");
            let updater = updater().ignore_policies().build().unwrap();
            let mut session = updater.refresh_at(now()).await.unwrap();
            let target = session.target(name).await.unwrap();
            assert_eq!(session.read(&target).await.unwrap(), b"1");
        }
        // The policy of a role that is not on the delegation chain has no effect.
        let repository = TestRepository::new();
        repository.set_member("docs", MEMBER, &serde_json::json!({}));
        let mut session = repository.updater().build().unwrap().refresh_at(now()).await.unwrap();
        session.target("x").await.unwrap();
    }
}
