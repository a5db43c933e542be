//! Checks packages against the published policies, and against the policies of the pending change.

use std::collections::BTreeSet;

use lastmile_attest::Refused;
use lastmile_metadata::{TargetFile, TargetPath};

use crate::check::policies::{all_evidence, trust_roots_of};
use crate::check::simulated_client::from_client;
use crate::draft::Draft;
use crate::policy::contents::TargetContents;
use crate::policy::judge::{Judged, PackageJudge};
use crate::policy::pending::PendingJudge;
use crate::{Error, NotFound, Repository};

pub(crate) struct Judgements {
    /// The number of packages that were checked.
    pub(crate) judged: usize,
    /// The packages that clients refuse.
    pub(crate) published: Vec<Refused>,
    /// The packages that clients would refuse once the pending change is published, or `None` if no change is pending.
    pub(crate) pending: Option<Vec<Refused>>,
}

impl Repository {
    pub(crate) fn judge_published<'a>(&self, contents: &'a TargetContents) -> Result<PackageJudge<'a>, Error> {
        PackageJudge::of_published(&self.published, contents, self.now())
    }

    /// Returns the targets that are packages, which are all targets except evidence and trust roots.
    fn packages(&self, targets: &[TargetFile], draft: &Draft) -> Result<Vec<TargetPath>, Error> {
        let mut auxiliary = all_evidence(targets);
        auxiliary.extend(self.published.read_roles().flat_map(|(_, targets)| trust_roots_of(targets)));
        for content in draft.targets.values() {
            auxiliary.extend(trust_roots_of(&*content.read()?));
        }
        let packages = targets.iter().filter(|target| !auxiliary.contains(&target.path));
        Ok(packages.map(|target| target.path.clone()).collect())
    }

    /// Checks the packages in `paths` against the policies, or all packages if `paths` is empty.
    ///
    /// # Errors
    /// [`Error::NotFound`] if clients find no package at one of `paths`, neither now nor once the pending change is
    /// published.
    pub(crate) fn judge_packages(
        &self,
        draft: &Draft,
        paths: &[TargetPath],
        contents: &TargetContents,
    ) -> Result<Judgements, Error> {
        let mut judge = self.judge_published(contents)?;
        let mut pending_judge = PendingJudge::new(&self.published, draft, contents, self.now());
        let all: BTreeSet<TargetPath> = match paths {
            [] => {
                let mut listed = judge.session().list().map_err(from_client)?;
                for content in draft.targets.values() {
                    listed.extend(content.read()?.targets());
                }
                self.packages(&listed, draft)?.into_iter().collect()
            }
            some => some.iter().cloned().collect(),
        };
        let mut judgements =
            Judgements { judged: all.len(), published: Vec::new(), pending: draft.from_staged.then(Vec::new) };
        for path in &all {
            let published = judge.judge(path)?;
            let pending = if draft.from_staged { pending_judge.judge(path)? } else { Judged::NotFound };
            if matches!((&published, &pending), (Judged::NotFound, Judged::NotFound)) && !paths.is_empty() {
                return Err(NotFound::Target { path: path.clone() }.into());
            }
            judgements.published.extend(published.refusal());
            if let Some(refused) = &mut judgements.pending {
                refused.extend(pending.refusal());
            }
        }
        Ok(judgements)
    }
}
